//! wrangler, Node 22, esbuild, binaryen, playwright: what package.json pins, in the checkout's node_modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cache;
use crate::{command, files, paths::Paths, progress::Step};

/// The tools that come from npm.
#[derive(Debug)]
pub struct Node {
    /// The checkout's node_modules.
    pub modules: PathBuf,
}

impl Node {
    /// The pinned Node, whatever the machine's own is.
    pub fn node(&self) -> PathBuf {
        self.modules.join("node/bin/node")
    }

    /// wrangler's entry file, to be run with [`Node::node`].
    pub fn wrangler_script(&self) -> PathBuf {
        self.modules.join("wrangler/bin/wrangler.js")
    }

    /// Programs of all packages; first in PATH, scripts find the pinned Node there too.
    pub fn bin(&self) -> PathBuf {
        self.modules.join(".bin")
    }

    /// A command that runs the pinned wrangler with the pinned Node, and sends no usage statistics.
    pub fn wrangler(&self) -> Result<Command> {
        let mut command = Command::new(self.node());
        command
            .arg(self.wrangler_script())
            .env("PATH", command::path_with([self.bin()])?)
            .env("WRANGLER_SEND_METRICS", "false")
            .env("WRANGLER_SEND_ERROR_REPORTS", "false")
            // Would ask the network for sample values of `Request.cf`, and warn where there is none.
            .env("CLOUDFLARE_CF_FETCH_ENABLED", "false");
        Ok(command)
    }
}

/// Checks node_modules against package.json, or fills it.
pub fn ensure(paths: &Paths) -> Result<Node> {
    let node = Node {
        modules: paths.root.join("node_modules"),
    };
    let expected = fingerprint(&paths.root)?;
    // Inside node_modules, so that whoever removes that folder removes the claim that it is complete.
    let stamp = node.modules.join(".baton-installed");
    if files::is_stamped(&stamp, &expected) {
        return Ok(node);
    }
    let Some(npm) = command::find("npm") else {
        bail!(
            "npm is missing: install Node.js 20 or later with its npm (Debian: `apt-get install npm`, \
             macOS: `brew install node`)"
        );
    };
    let _lock = files::lock(
        &paths.made().join("npm.lock"),
        "another process installs npm packages into this checkout; waiting for it to end ...",
    )?;
    if files::is_stamped(&stamp, &expected) {
        return Ok(node);
    }
    let mut command = Command::new(npm);
    command.args(["ci", "--no-audit", "--no-fund"]).current_dir(&paths.root);
    Step::new(
        "Installing wrangler, Node 22, esbuild, binaryen and playwright from npm",
        cache::log(paths, "npm"),
    )
    .run(&mut command)?;
    if !node.node().is_file() {
        bail!(
            "npm ran, but the package `node` has no binary: its install script did not run. Allow install scripts \
             (`npm config get ignore-scripts` must be false), remove node_modules and try again"
        );
    }
    files::write_whole(&stamp, expected.as_bytes(), 0o644)?;
    Ok(node)
}

fn fingerprint(root: &Path) -> Result<String> {
    let read = |name| fs::read_to_string(root.join(name)).with_context(|| format!("cannot read {name}"));
    Ok(files::fingerprint(&(read("package.json")?, read("package-lock.json")?)))
}
