//! Rust with the source of its library out of Debian's packages, for machines that reach a Debian mirror but not
//! rustup's servers.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cache;
use super::sysroot::Compiler;
use crate::{command, paths::Paths, pins, progress::Step};

const PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy", "lld-22"];
const LINKER: &str = "wasm-ld-22";

/// Debian's compiler, if it is installed whole and new enough.
pub fn compiler() -> Option<Compiler> {
    if !Path::new("/usr/bin").join(LINKER).is_file() {
        return None;
    }
    let variables = vec![("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", LINKER.into())];
    Compiler::find(
        "debian",
        Path::new("/usr/bin"),
        Path::new("/usr/lib/rustlib"),
        variables,
    )
    .filter(|compiler| pins::is_rust_new_enough(&compiler.version))
}

/// Installs Debian's compiler where it is missing.
pub fn ensure(paths: &Paths) -> Result<Compiler> {
    if let Some(compiler) = compiler() {
        return Ok(compiler);
    }
    install_packages(paths)?;
    compiler().with_context(|| {
        format!(
            "Debian's Rust is older than {} after installing {}",
            pins::RUST_MINIMUM,
            PACKAGES.join(", ")
        )
    })
}

fn install_packages(paths: &Paths) -> Result<()> {
    let by_hand = format!(
        "apt-get update && apt-get install --no-install-recommends {}",
        PACKAGES.join(" ")
    );
    if command::find("apt-get").is_none() {
        bail!("the source of Rust's library is missing: run `rustup component add rust-src`");
    }
    let root = nix::unistd::geteuid().is_root();
    if !root && command::output(Command::new("sudo").args(["-n", "true"])).is_none() {
        bail!(
            "the source of Rust's library is missing: run `rustup component add rust-src`, \
             or install Debian's Rust as root: `{by_hand}`"
        );
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
    let arguments = [&["install", "--no-install-recommends"], PACKAGES.as_slice()].concat();
    Step::new(
        "Installing Debian's Rust, which has the source of its library",
        cache::log(paths, "apt-install"),
    )
    .run(&mut apt_get(&arguments))
    .context("the source of Rust's library is missing, and Debian's Rust cannot be installed")
}
