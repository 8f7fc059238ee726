//! What `cargo xtask test` built, and where it is.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Programs and files that the tests start.
#[derive(Debug)]
pub struct Environment {
    /// Node 22.
    pub node: PathBuf,
    /// wrangler's entry file, to be run with `node`.
    pub wrangler: PathBuf,
    /// The checkout's node_modules.
    pub node_modules: PathBuf,
    /// wrangler's configuration, as JSON, of the Worker that was built with the fixture agents.
    pub config: PathBuf,
    /// The reference orchestrator.
    pub orchestrator: PathBuf,
    /// The command line `baton`.
    pub cli: PathBuf,
    /// A Python that has the libraries of `xtask/requirements.txt`.
    pub python: PathBuf,
}

impl Environment {
    /// The environment of this test run.
    ///
    /// # Panics
    /// When the tests were not started by `cargo xtask test`.
    #[must_use]
    pub fn get() -> &'static Self {
        static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| Environment {
            node: path("BATON_TEST_NODE"),
            wrangler: path("BATON_TEST_WRANGLER"),
            node_modules: path("BATON_TEST_NODE_MODULES"),
            config: path("BATON_TEST_CONFIG"),
            orchestrator: path("BATON_TEST_ORCHESTRATOR"),
            cli: path("BATON_TEST_CLI"),
            python: path("BATON_TEST_PYTHON"),
        });
        assert!(
            env::var_os("BATON_TEST_NODE").is_some(),
            "these tests need a Worker and tools that are built first: run `cargo xtask test`"
        );
        &ENVIRONMENT
    }
}

/// A Chromium, for the tests of the operator's page.
///
/// # Panics
/// When the tests were not started by `cargo xtask test`.
#[must_use]
pub fn chromium() -> PathBuf {
    path("BATON_TEST_CHROMIUM")
}

/// Where screenshots are kept.
///
/// # Panics
/// When the tests were not started by `cargo xtask test`.
#[must_use]
pub fn screenshots() -> PathBuf {
    path("BATON_TEST_SCREENSHOTS")
}

fn path(name: &str) -> PathBuf {
    let value = env::var_os(name);
    PathBuf::from(value.unwrap_or_else(|| panic!("{name} is not set: run `cargo xtask test`, which sets it")))
}

/// The repository's root.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace")
}
