//! A Chromium for the tests of the operator's page: the machine's own where it has one, else Debian's package.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::apt::Packages;
use crate::{command, paths::Paths};

/// Names the browser to take, by its path.
const VARIABLE: &str = "BATON_CHROMIUM";

/// Names under which a Chromium is in PATH.
const PROGRAMS: [&str; 4] = ["chromium", "google-chrome", "google-chrome-stable", "chromium-browser"];

/// Where it is on macOS.
const APPLICATIONS: [&str; 2] = [
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
];

/// The browser, and letters to write with.
const PACKAGES: Packages<'static> = Packages {
    names: &["chromium", "fonts-dejavu-core"],
    what: "Chromium, in which the operator's page is tested",
    otherwise: "a browser for the tests of the operator's page is missing: install Chromium or Google Chrome, or set \
        BATON_CHROMIUM to the path of one",
};

/// Finds one, or installs it.
pub fn ensure(paths: &Paths) -> Result<PathBuf> {
    if let Some(named) = env::var_os(VARIABLE).map(PathBuf::from) {
        if !named.is_file() {
            bail!("{VARIABLE} names {}, where there is no program", named.display());
        }
        return Ok(named);
    }
    if let Some(found) = find() {
        return Ok(found);
    }
    PACKAGES.install(paths)?;
    find().context("Chromium was installed, and is not in PATH")
}

fn find() -> Option<PathBuf> {
    let applications = APPLICATIONS.iter().map(PathBuf::from).filter(|path| path.is_file());
    PROGRAMS
        .iter()
        .find_map(|name| command::find(name))
        .or_else(|| applications.into_iter().next())
}
