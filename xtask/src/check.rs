//! What must hold before a change is submitted, beside the tests.

use std::process::Command;

use anyhow::{Result, bail};

use crate::setup::{self, WasmToolchain};
use crate::{command, paths::Paths, pins};

/// Runs all checks, and names all that failed.
pub fn run(paths: &Paths) -> Result<()> {
    let wasm = setup::for_wasm(paths)?;
    let mut failed = Vec::new();
    let mut check = |name: &'static str, result: Result<()>| {
        if let Err(error) = result {
            eprintln!("{name}: {error:#}");
            failed.push(name);
        }
    };
    check("pins", pins::check_lock(paths));
    check(
        "format",
        native(paths, "the format check", &["fmt", "--all", "--check"]),
    );
    check(
        "lints",
        native(
            paths,
            "clippy",
            &[
                "clippy",
                "--locked",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
        ),
    );
    check("lints on wasm32", wasm_clippy(paths, &wasm, &[]));
    check(
        "lints on wasm32 with fixtures",
        wasm_clippy(paths, &wasm, &["--features", "fixtures"]),
    );
    let manifests = [
        "run",
        "--locked",
        "--quiet",
        "--package",
        "baton-cli",
        "--",
        "manifest",
        "check",
        "manifests",
    ];
    check("manifests", native(paths, "the manifest check", &manifests));

    if !failed.is_empty() {
        bail!("these checks failed: {}", failed.join(", "));
    }
    eprintln!("\nAll checks passed.");
    Ok(())
}

fn native(paths: &Paths, what: &str, arguments: &[&str]) -> Result<()> {
    eprintln!("\ncargo {} ...", arguments.join(" "));
    let mut cargo = command::cargo();
    run_in(paths, cargo.args(arguments), what)
}

fn wasm_clippy(paths: &Paths, wasm: &WasmToolchain, features: &[&str]) -> Result<()> {
    eprintln!(
        "\ncargo clippy --package baton --target {} {} ...",
        setup::WASM_TARGET,
        features.join(" ")
    );
    let mut cargo = wasm.cargo_clippy(paths)?;
    cargo.args([
        "--locked",
        "--package",
        "baton",
        "--target",
        setup::WASM_TARGET,
        "--profile",
        "wasm-dev",
    ]);
    run_in(
        paths,
        cargo.args(features).args(["--", "-D", "warnings"]),
        "clippy for wasm32",
    )
}

fn run_in(paths: &Paths, command: &mut Command, what: &str) -> Result<()> {
    command::run(command.current_dir(&paths.root), what)
}
