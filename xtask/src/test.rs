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
pub const CONTRACT_TESTS: &str = "contract-tests";

/// The package of the Worker.
const CORE: &str = "baton";

/// Runs the tests; fails when one failed, when they do not compile, or when none ran.
pub fn run(paths: &Paths, options: &TestOptions) -> Result<ExitCode> {
    let wanted = |package: &str| options.package.is_empty() || options.package.iter().any(|wanted| wanted == package);
    let mut commands = Vec::new();
    if wanted(CORE) {
        // With the agents that fail on purpose: how the core takes that is tested natively, too.
        commands.push(cargo_test(
            paths,
            options,
            &["--package", CORE, "--features", "fixtures"],
        ));
    }
    if options.package.iter().any(|package| package != CORE) || options.package.is_empty() {
        let mut arguments = Vec::new();
        if options.package.is_empty() {
            arguments.extend(["--workspace", "--exclude", CORE]);
        }
        for package in options.package.iter().filter(|package| *package != CORE) {
            arguments.extend(["--package", package]);
        }
        if options.native_only {
            arguments.extend(["--exclude", CONTRACT_TESTS]);
        }
        let mut cargo = cargo_test(paths, options, &arguments);
        if wanted(CONTRACT_TESTS) && !options.native_only {
            prepare_contract_tests(paths, &mut cargo, Variant::Fixtures)?;
        }
        commands.push(cargo);
    }

    let mut summary = Summary::default();
    let mut all_succeeded = true;
    for mut command in commands {
        all_succeeded &= stream(&mut command, &mut summary)?;
        if crate::signals::stop_requested() {
            break;
        }
    }
    println!();
    if !all_succeeded && summary.failed == 0 {
        println!("cargo test failed before or beside the tests: see above");
    } else if summary.is_empty() {
        println!("no test ran");
    }
    println!("{summary}");
    let good = all_succeeded && summary.failed == 0 && !summary.is_empty();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cargo_test(paths: &Paths, options: &TestOptions, arguments: &[&str]) -> Command {
    let mut cargo = command::cargo();
    cargo
        .args(["test", "--locked", "--no-fail-fast"])
        .args(arguments)
        .args(&options.filter)
        .current_dir(&paths.root);
    cargo
}

/// Builds what the contract tests talk to, and tells them where it is.
pub fn prepare_contract_tests(paths: &Paths, cargo: &mut Command, variant: Variant) -> Result<()> {
    let tools = setup::for_worker(paths)?;
    let python = setup::for_tests(paths)?;
    let main = build::worker_with(paths, &tools, variant)?;
    let config = paths.made().join(variant.name()).join("wrangler.json");
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

/// Runs the command, shows its output as it comes, and adds up the results in it. Answers whether it succeeded.
fn stream(cargo: &mut Command, summary: &mut Summary) -> Result<bool> {
    let mut child = command::spawn(cargo.stdout(Stdio::piped()))?;
    let output = child.stdout.take().context("no output to read")?;
    let mut total = *summary;
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            total.add(&line);
        }
        total
    });
    let ended = command::wait(&mut child, None, |_| ())?;
    *summary = reader.join().ok().context("the output could not be read to its end")?;
    Ok(ended.is_success())
}
