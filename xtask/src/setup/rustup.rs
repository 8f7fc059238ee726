//! The toolchain that runs this program, with the source of its library out of rustup's component `rust-src`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::cache;
use super::sysroot::Compiler;
use crate::{command, paths::Paths, progress::Step};

/// How long `rustup component add` may take: behind some firewalls it waits for ever.
const LIMIT: Duration = Duration::from_secs(40);

/// The compiler in use, if the source of its library is there.
pub fn compiler() -> Option<Compiler> {
    // Cargo says where it is; rustup's proxies of the same names take longer to start.
    let cargo = PathBuf::from(env::var_os("CARGO")?);
    let bin = cargo.parent()?;
    let sysroot = command::output(Command::new(bin.join("rustc")).args(["--print", "sysroot"]))?;
    // rustup's proxies choose the toolchain by this variable; without it a `+toolchain` would be lost on the way.
    let variables = env::var_os("RUSTUP_TOOLCHAIN").map(|toolchain| ("RUSTUP_TOOLCHAIN", toolchain));
    Compiler::find(
        "rustup",
        bin,
        &Path::new(&sysroot).join("lib/rustlib"),
        variables.into_iter().collect(),
    )
}

/// The compiler in use; has rustup fetch the source of its library. Nothing where rustup cannot.
pub fn ensure(paths: &Paths) -> Result<Option<Compiler>> {
    if let Some(compiler) = compiler() {
        return Ok(Some(compiler));
    }
    if command::find("rustup").is_none() {
        return Ok(None);
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["component", "add", "rust-src"]);
    let added = Step::new(
        "Adding the source of Rust's library with rustup",
        cache::log(paths, "rustup"),
    )
    .limit(LIMIT)
    .run(&mut rustup);
    if added.is_err() {
        if crate::signals::stop_requested() {
            added?;
        }
        eprintln!("  rustup cannot fetch it from here: Debian's Rust will do");
    }
    Ok(compiler())
}
