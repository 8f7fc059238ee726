//! worker-build and wasm-bindgen, built from their crates.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cache;
use crate::{command, paths::Paths, pins, progress::Step};

/// How the tools are compiled. Part of the folder's name: a change installs anew.
const PROFILE: &str = "hot2";

/// The packages that read and write wasm. Optimised, wasm-bindgen takes 1.5 s for a Worker of 10 MB instead of 6.5 s,
/// and that at every build; optimising all the rest too would triple the time of the install for nothing.
const HOT_PACKAGES: [&str; 5] = [
    "walrus",
    "wasmparser",
    "wasm-encoder",
    "wasm-bindgen-cli-support",
    "wasm-bindgen-cli",
];

/// Tools that turn the compiled crate into a Worker.
#[derive(Debug)]
pub struct RustTools {
    /// The folder of the binaries.
    pub bin: PathBuf,
}

impl RustTools {
    /// The program that drives the build.
    pub fn worker_build(&self) -> PathBuf {
        self.bin.join("worker-build")
    }

    /// The program that worker-build calls for the JavaScript side.
    pub fn wasm_bindgen(&self) -> PathBuf {
        self.bin.join("wasm-bindgen")
    }
}

/// Finds them in the cache, or builds them.
pub fn ensure(paths: &Paths) -> Result<RustTools> {
    let name = format!(
        "worker-build-{}-wasm-bindgen-{}-{PROFILE}",
        pins::WORKER_BUILD,
        pins::WASM_BINDGEN
    );
    let folder = cache::ensure(paths, &name, |unfinished, _| {
        install(paths, unfinished, "worker-build", "worker-build", pins::WORKER_BUILD)?;
        install(
            paths,
            unfinished,
            "wasm-bindgen-cli",
            "wasm-bindgen",
            pins::WASM_BINDGEN,
        )?;
        let target = target(unfinished);
        fs::remove_dir_all(&target).with_context(|| format!("cannot remove {}", target.display()))
    })?;
    Ok(RustTools {
        bin: folder.join("bin"),
    })
}

/// One folder for both: they share most of their dependencies.
fn target(unfinished: &Path) -> PathBuf {
    unfinished.join("target")
}

fn install(paths: &Paths, unfinished: &Path, package: &str, binary: &str, version: &str) -> Result<()> {
    let mut cargo = command::cargo();
    for hot in HOT_PACKAGES {
        cargo.args(["--config", &format!("profile.dev.package.{hot}.opt-level=2")]);
    }
    cargo
        .args([
            "install",
            "--locked",
            "--debug",
            "--bin",
            binary,
            "--version",
            version,
            "--root",
        ])
        .arg(unfinished)
        .arg(package)
        // Unpacked elsewhere, so that the workspace's own configuration does not apply.
        .current_dir(unfinished)
        .env("CARGO_TARGET_DIR", target(unfinished))
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .env("CARGO_INCREMENTAL", "0")
        .env_remove("RUSTFLAGS");
    Step::new(
        format!("Building {package} {version}, which makes a Worker of the crate (once, some minutes)"),
        cache::log(paths, package),
    )
    .run(&mut cargo)
}
