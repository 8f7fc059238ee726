//! Builds the Worker: cargo for wasm32, then worker-build for the JavaScript around it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail};

use crate::setup::{self, WorkerTools};
use crate::{command, files, paths::Paths, pins};

/// The Workers that can be built. Each has a folder of its own: none overwrites another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// As deployed, in `build/`, where wrangler.toml expects it.
    Release,
    /// For `cargo xtask dev`: quick to build.
    Dev,
    /// For the contract tests: like `Dev`, with the agents of contract-tests/manifests.
    Fixtures,
}

impl Variant {
    /// Its name, which is that of its folder among what is made.
    pub fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "dev",
            Self::Fixtures => "fixtures",
        }
    }

    fn profile(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev | Self::Fixtures => "wasm-dev",
        }
    }

    /// Options of worker-build's own.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Release => &["--release"],
            Self::Dev | Self::Fixtures => &["--profile", "wasm-dev", "--no-opt"],
        }
    }

    /// Options of cargo.
    fn features(self) -> &'static [&'static str] {
        match self {
            Self::Fixtures => &["--features", "fixtures"],
            Self::Release | Self::Dev => &[],
        }
    }

    /// Where the Worker goes.
    pub fn folder(self, paths: &Paths) -> PathBuf {
        match self {
            Self::Release => paths.root.join("build"),
            Self::Dev | Self::Fixtures => paths.made().join(self.name()).join("worker"),
        }
    }
}

/// Installs the tools, builds the Worker, and returns its entry file.
pub fn worker(paths: &Paths, variant: Variant) -> Result<PathBuf> {
    let tools = setup::for_worker(paths)?;
    worker_with(paths, &tools, variant)
}

/// Builds the Worker with these tools, and returns its entry file.
pub fn worker_with(paths: &Paths, tools: &WorkerTools, variant: Variant) -> Result<PathBuf> {
    let folder = variant.folder(paths);
    let main = folder.join("index.js");
    let _lock = files::lock(
        &paths.made().join(format!("{}.lock", variant.name())),
        "another process builds the same Worker; waiting for it to end ...",
    )?;

    // Cargo knows best whether anything changed. If not, the slow rest is as it was, too.
    eprintln!("Building the Worker ({}) ...", variant.name());
    compile(paths, tools, variant)?;
    let wasm = tools
        .wasm
        .target(paths)
        .join(setup::WASM_TARGET)
        .join(variant.profile())
        .join("baton.wasm");
    let expected = stamp(&wasm)?;
    let stamp = paths.made().join(format!("{}.stamp", variant.name()));
    if main.is_file() && files::is_stamped(&stamp, &expected) {
        return Ok(main);
    }
    fs::remove_file(&stamp).ok();
    wrap(paths, tools, variant, &folder)?;
    if !main.is_file() {
        bail!("worker-build made no {}", paths.relative(&main).display());
    }
    files::write_whole(&stamp, expected.as_bytes(), 0o644)?;
    Ok(main)
}

/// Builds the native programs that `dev` and the contract tests start.
pub fn native(paths: &Paths) -> Result<()> {
    let mut cargo = command::cargo();
    cargo
        .args([
            "build",
            "--locked",
            "--package",
            "reference-orchestrator",
            "--package",
            "baton-cli",
        ])
        .current_dir(&paths.root);
    command::run(
        &mut cargo,
        "the build of the reference orchestrator and the `baton` command",
    )
}

/// The same `cargo build` that worker-build runs.
fn compile(paths: &Paths, tools: &WorkerTools, variant: Variant) -> Result<()> {
    let mut cargo = tools.wasm.cargo(paths)?;
    cargo
        .args([
            "build",
            "--lib",
            "--locked",
            "--target",
            setup::WASM_TARGET,
            "--profile",
            variant.profile(),
        ])
        .args(variant.features())
        // worker-build sets it for wasm-bindgen's macro; without it the two builds would undo each other.
        .env("WASM_BINDGEN_USE_JS_SYS", "1");
    command::run(&mut cargo, "the build of the Worker")
}

fn wrap(paths: &Paths, tools: &WorkerTools, variant: Variant, folder: &Path) -> Result<()> {
    let mut build = Command::new(tools.rust.worker_build());
    tools.wasm.apply(paths, &mut build, &[tools.node.bin()])?;
    build
        .current_dir(&paths.root)
        .args(variant.options())
        .arg("--out-dir")
        .arg(relative_to(&paths.root, folder)?)
        .args(variant.features())
        .env("WASM_BINDGEN_BIN", tools.rust.wasm_bindgen())
        .env("ESBUILD_BIN", tools.node.bin().join("esbuild"))
        .env("WASM_OPT_BIN", tools.node.bin().join("wasm-opt"));
    command::run(&mut build, "worker-build")
}

/// worker-build takes the folder relative to the crate.
fn relative_to<'a>(root: &Path, folder: &'a Path) -> Result<&'a Path> {
    folder
        .strip_prefix(root)
        .with_context(|| format!("{} is outside the checkout: unset CARGO_TARGET_DIR", folder.display()))
}

/// Names this build of the crate and the tools that are to wrap it.
fn stamp(wasm: &Path) -> Result<String> {
    let about = fs::metadata(wasm).with_context(|| format!("cargo made no {}", wasm.display()))?;
    let modified = about.modified()?.duration_since(UNIX_EPOCH)?;
    Ok(format!(
        "{} bytes of {} ns, worker-build {}, wasm-bindgen {}\n",
        about.len(),
        modified.as_nanos(),
        pins::WORKER_BUILD,
        pins::WASM_BINDGEN
    ))
}
