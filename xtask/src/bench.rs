//! Benchmarks: what the open state of the breaker costs.
//!
//! None of them is a test: they need a machine that has nothing else to do. They say what they measured, and fail where a
//! goal is missed.

use std::process::ExitCode;

use anyhow::Result;

use crate::build::Variant;
use crate::cli::BenchOptions;
use crate::test::{CONTRACT_TESTS, prepare_contract_tests};
use crate::{command, paths::Paths};

/// Runs a benchmark on the Worker as it is deployed, or on the one for tests.
pub fn run(paths: &Paths, options: &BenchOptions) -> Result<ExitCode> {
    let variant = if options.fixtures {
        Variant::Fixtures
    } else {
        Variant::Release
    };
    let mut cargo = command::cargo();
    cargo
        .args([
            "bench",
            "--locked",
            "--profile",
            "dev",
            "--package",
            CONTRACT_TESTS,
            "--bench",
        ])
        .arg(options.name.name())
        .current_dir(&paths.root);
    if options.gone {
        cargo.args(["--", "gone"]);
    }
    prepare_contract_tests(paths, &mut cargo, variant)?;
    let ended = command::wait(&mut command::spawn(&mut cargo)?, None, |_| ())?;
    Ok(if ended.is_success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
