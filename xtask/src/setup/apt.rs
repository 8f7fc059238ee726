//! Debian's packages, installed where a tool can be had no other way.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cache;
use crate::{command, paths::Paths, progress::Step};

/// Packages that are to be installed.
#[derive(Debug)]
pub struct Packages<'a> {
    /// Their names.
    pub names: &'a [&'a str],
    /// What they are, for the screen.
    pub what: &'a str,
    /// What to say where they cannot be installed: what is missing, and how else to get it.
    pub otherwise: &'a str,
}

impl Packages<'_> {
    /// Installs them, as root or by passwordless `sudo`.
    pub fn install(&self, paths: &Paths) -> Result<()> {
        if command::find("apt-get").is_none() {
            bail!("{}", self.otherwise);
        }
        let root = nix::unistd::geteuid().is_root();
        if !root && command::output(Command::new("sudo").args(["-n", "true"])).is_none() {
            bail!("{}, or install as root: `{}`", self.otherwise, self.by_hand());
        }
        let apt_get = |arguments: &[&str]| {
            let mut command = Command::new(if root { "apt-get" } else { "sudo" });
            if !root {
                command.args(["-n", "--preserve-env=DEBIAN_FRONTEND", "apt-get"]);
            }
            // Another apt-get may be at work, such as a machine's own upgrades.
            command
                .args(["-o", "DPkg::Lock::Timeout=300", "-q", "-y"])
                .args(arguments);
            command.env("DEBIAN_FRONTEND", "noninteractive");
            command
        };
        Step::new("Reading Debian's package lists", cache::log(paths, "apt-update")).run(&mut apt_get(&["update"]))?;
        let arguments = [&["install", "--no-install-recommends"], self.names].concat();
        Step::new(format!("Installing {}", self.what), cache::log(paths, "apt-install"))
            .run(&mut apt_get(&arguments))
            .with_context(|| format!("{}; Debian's packages cannot be installed", self.otherwise))
    }

    fn by_hand(&self) -> String {
        format!(
            "apt-get update && apt-get install --no-install-recommends {}",
            self.names.join(" ")
        )
    }
}
