//! Brings the machine to the state a command needs. Everything is checked first; where nothing is missing,
//! nothing is said.
//!
//! What is shared by all checkouts is in the cache ([`Paths::cache`]), in one folder per tool whose name has the
//! versions in it. `node_modules` is the checkout's own.

mod apt;
mod cache;
mod chromium;
mod debian;
mod npm;
mod python;
mod rust_tools;
mod rustup;
mod sysroot;
mod wasm;

use std::path::PathBuf;

use anyhow::Result;

pub use npm::Node;
pub use python::Python;
pub use rust_tools::RustTools;
pub use wasm::{TARGET as WASM_TARGET, WasmToolchain};

use crate::{paths::Paths, pins};

/// What a build of the Worker needs.
#[derive(Debug)]
pub struct WorkerTools {
    /// Compiles to wasm32.
    pub wasm: WasmToolchain,
    /// worker-build and wasm-bindgen.
    pub rust: RustTools,
    /// esbuild and wasm-opt, beside wrangler.
    pub node: Node,
}

/// Installs what is missing of everything.
pub fn everything(paths: &Paths) -> Result<()> {
    for_worker(paths)?;
    for_tests(paths)?;
    eprintln!("Everything is in place.");
    Ok(())
}

/// What a build of the Worker needs.
pub fn for_worker(paths: &Paths) -> Result<WorkerTools> {
    pins::check_lock(paths)?;
    Ok(WorkerTools {
        wasm: for_wasm(paths)?,
        rust: rust_tools::ensure(paths)?,
        node: for_wrangler(paths)?,
    })
}

/// What compiles to wasm32.
pub fn for_wasm(paths: &Paths) -> Result<WasmToolchain> {
    wasm::ensure(paths)
}

/// What wrangler needs.
pub fn for_wrangler(paths: &Paths) -> Result<Node> {
    npm::ensure(paths)
}

/// What the contract tests need beside the Worker.
#[derive(Debug)]
pub struct TestTools {
    /// With the libraries that they check Baton against.
    pub python: Python,
    /// The browser that opens the operator's page.
    pub chromium: PathBuf,
}

/// What the contract tests need beside the Worker.
pub fn for_tests(paths: &Paths) -> Result<TestTools> {
    Ok(TestTools {
        python: python::ensure(paths)?,
        chromium: chromium::ensure(paths)?,
    })
}
