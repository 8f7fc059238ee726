//! A virtual environment with the Python libraries that the contract tests check Baton against.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cache;
use crate::{command, files, paths::Paths, progress::Step};

/// The virtual environment.
#[derive(Debug)]
pub struct Python {
    /// Its interpreter.
    pub interpreter: PathBuf,
}

/// Finds it in the cache, or makes it.
pub fn ensure(paths: &Paths) -> Result<Python> {
    let requirements = paths.root.join("xtask/requirements.txt");
    let content =
        fs::read_to_string(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let name = format!("python-{}", files::fingerprint(content.as_str()));
    let interpreter = paths.cache.join(&name).join("bin/python");
    if !interpreter.exists() {
        // Gone with the Python it was made from: a link that points nowhere.
        fs::remove_dir_all(paths.cache.join(&name)).ok();
    }
    cache::ensure(paths, &name, |unfinished, _| {
        let Some(python) = command::find("python3") else {
            bail!("python3 is missing: install Python 3.10 or later (Debian: `apt-get install python3 python3-venv`)");
        };
        let mut venv = Command::new(python);
        venv.args(["-m", "venv"]).arg(unfinished);
        Step::new(
            "Making a Python environment for the contract tests",
            cache::log(paths, "venv"),
        )
        .run(&mut venv)
        .context("python3 cannot make a virtual environment: on Debian, `apt-get install python3-venv`")?;
        let mut pip = Command::new(unfinished.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-input",
            "--requirement",
        ])
        .arg(&requirements);
        Step::new(
            "Installing the Python libraries of the contract tests",
            cache::log(paths, "pip"),
        )
        .run(&mut pip)
    })?;
    Ok(Python { interpreter })
}
