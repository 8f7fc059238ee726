//! Rust with the source of its library out of Debian's packages, for machines that reach a Debian mirror but not
//! rustup's servers.

use std::path::Path;

use anyhow::{Context, Result};

use super::apt::Packages;
use super::sysroot::Compiler;
use crate::{paths::Paths, pins};

const PACKAGES: Packages<'static> = Packages {
    names: &["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy", "lld-22"],
    what: "Debian's Rust, which has the source of its library",
    otherwise: "the source of Rust's library is missing: run `rustup component add rust-src`",
};
const LINKER: &str = "wasm-ld-22";

/// Debian's compiler, if it is installed whole and new enough.
pub fn compiler() -> Option<Compiler> {
    if !Path::new("/usr/bin").join(LINKER).is_file() {
        return None;
    }
    let variables = vec![("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", LINKER.into())];
    Compiler::find(
        "debian",
        Path::new("/usr/bin"),
        Path::new("/usr/lib/rustlib"),
        variables,
    )
    .filter(|compiler| pins::is_rust_new_enough(&compiler.version))
}

/// Installs Debian's compiler where it is missing.
pub fn ensure(paths: &Paths) -> Result<Compiler> {
    if let Some(compiler) = compiler() {
        return Ok(compiler);
    }
    PACKAGES.install(paths)?;
    compiler().with_context(|| {
        format!(
            "Debian's Rust is older than {} after installing {}",
            pins::RUST_MINIMUM,
            PACKAGES.names.join(", ")
        )
    })
}
