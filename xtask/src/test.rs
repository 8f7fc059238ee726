//! Every test, with one closing line.

mod summary;

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::build::{self, Variant};
use crate::cli::TestOptions;
use crate::config::{self, Changes};
use crate::{command, paths::Paths, setup};
use summary::Summary;

/// The package of the black-box tests over HTTP.
const CONTRACT_TESTS: &str = "contract-tests";

/// Runs the tests; fails when one failed, when they do not compile, or when none ran.
pub fn run(paths: &Paths, options: &TestOptions) -> Result<ExitCode> {
    let mut cargo = command::cargo();
    cargo
        .args(["test", "--locked", "--no-fail-fast"])
        .current_dir(&paths.root);
    if options.package.is_empty() {
        cargo.arg("--workspace");
    }
    for package in &options.package {
        cargo.args(["--package", package]);
    }
    if options.native_only {
        cargo.args(["--exclude", CONTRACT_TESTS]);
    } else if options.package.is_empty() || options.package.iter().any(|package| package == CONTRACT_TESTS) {
        prepare_contract_tests(paths, &mut cargo)?;
    }
    cargo.args(&options.filter);

    let (summary, succeeded) = stream(&mut cargo)?;
    println!();
    if !succeeded && summary.failed == 0 {
        println!("cargo test failed before or beside the tests: see above");
    } else if summary.is_empty() {
        println!("no test ran");
    }
    println!("{summary}");
    let good = succeeded && summary.failed == 0 && !summary.is_empty();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds what the contract tests talk to, and tells them where it is.
fn prepare_contract_tests(paths: &Paths, cargo: &mut Command) -> Result<()> {
    let tools = setup::for_worker(paths)?;
    let python = setup::for_tests(paths)?;
    let main = build::worker_with(paths, &tools, Variant::Fixtures)?;
    let config = paths.made().join("fixtures/wrangler.json");
    config::write(
        paths,
        &config,
        &Changes {
            main,
            ..Changes::default()
        },
    )?;
    build::native(paths)?;
    cargo
        .env("BATON_TEST_NODE", tools.node.node())
        .env("BATON_TEST_WRANGLER", tools.node.wrangler_script())
        .env("BATON_TEST_NODE_MODULES", &tools.node.modules)
        .env("BATON_TEST_CONFIG", config)
        .env("BATON_TEST_ORCHESTRATOR", paths.binary("reference-orchestrator"))
        .env("BATON_TEST_CLI", paths.binary("baton"))
        .env("BATON_TEST_PYTHON", python.interpreter)
        .env("WRANGLER_SEND_METRICS", "false");
    Ok(())
}

/// Runs the command, shows its output as it comes, and adds up the results in it.
fn stream(cargo: &mut Command) -> Result<(Summary, bool)> {
    let mut child = command::spawn(cargo.stdout(Stdio::piped()))?;
    let output = child.stdout.take().context("no output to read")?;
    let reader = std::thread::spawn(move || {
        let mut summary = Summary::default();
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            summary.add(&line);
        }
        summary
    });
    let ended = command::wait(&mut child, None, |_| ())?;
    let summary = reader.join().ok().context("the output could not be read to its end")?;
    Ok((summary, ended.is_success()))
}
