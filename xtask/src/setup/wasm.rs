//! A Rust that compiles to wasm32 with unwinding: the one in use where rustup has its source, else Debian's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{debian, rustup};
use crate::{command, paths::Paths};

/// The target of the Worker.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Variables that steer one toolchain and mislead another.
const TOOLCHAIN_VARIABLES: [&str; 17] = [
    "CARGO",
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "LD_LIBRARY_PATH",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "RUST_RECURSION_COUNT",
    "SYSROOT",
];

/// A cargo and a rustc that have the wasm32 target.
#[derive(Debug)]
pub struct WasmToolchain {
    /// Folder of `cargo` and `rustc`, to be first in PATH.
    pub bin: PathBuf,
    /// Its `cargo-clippy`.
    pub clippy: PathBuf,
    /// More variables that they need.
    pub variables: Vec<(&'static str, OsString)>,
    /// Names the compiler; two compilers must not share a target folder.
    pub version: String,
}

impl WasmToolchain {
    /// Where this toolchain builds.
    pub fn target(&self, paths: &Paths) -> PathBuf {
        paths.target().join(format!("wasm-unwind-{}", self.version))
    }

    /// Gives the command this toolchain's environment, with `folders` first in its PATH.
    pub fn apply(&self, paths: &Paths, command: &mut Command, folders: &[PathBuf]) -> Result<()> {
        command::remove_package_variables(command);
        for name in TOOLCHAIN_VARIABLES {
            command.env_remove(name);
        }
        let bin = std::iter::once(&self.bin).chain(folders).cloned();
        command
            .env("PATH", command::path_with(bin)?)
            .env("CARGO_TARGET_DIR", self.target(paths))
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ok(())
    }

    /// Its cargo, in the checkout.
    pub fn cargo(&self, paths: &Paths) -> Result<Command> {
        self.in_checkout(paths, &self.bin.join("cargo"))
    }

    /// Its `cargo clippy`, in the checkout.
    ///
    /// Cargo looks for subcommands in its home before PATH, and would find rustup's clippy there.
    pub fn cargo_clippy(&self, paths: &Paths) -> Result<Command> {
        let mut command = self.in_checkout(paths, &self.clippy)?;
        command.arg("clippy");
        Ok(command)
    }

    fn in_checkout(&self, paths: &Paths, program: &Path) -> Result<Command> {
        let mut command = Command::new(program);
        self.apply(paths, &mut command, &[])?;
        command.current_dir(&paths.root);
        Ok(command)
    }
}

/// Finds a toolchain whose library for wasm32 is built, or makes one.
pub fn ensure(paths: &Paths) -> Result<WasmToolchain> {
    let known = [rustup::compiler(), debian::compiler()];
    if let Some(ready) = known.iter().flatten().find_map(|compiler| compiler.ready(paths)) {
        return Ok(ready);
    }
    // rustup is asked for a minute at most, and only where Debian's compiler is not there already.
    let [in_use, of_debian] = known;
    let compiler = match in_use.or(of_debian) {
        Some(compiler) => compiler,
        None => match rustup::ensure(paths)? {
            Some(compiler) => compiler,
            None => debian::ensure(paths)?,
        },
    };
    compiler.with_std(paths)
}

/// `rustc 1.96.0 (ac68faa20 2026-05-25) (...)` -> `1.96.0-ac68faa20`.
pub fn slug(version: &str) -> String {
    let words: Vec<&str> = version
        .split([' ', '(', ')'])
        .filter(|word| !word.is_empty())
        .skip(1)
        .take(2)
        .collect();
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_tells_compilers_apart() {
        assert_eq!(
            slug("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"),
            "1.96.0-ac68faa20"
        );
        assert_eq!(slug("rustc 1.97.0-nightly (abc 2026-05-25)"), "1.97.0-nightly-abc");
        assert_eq!(slug("rustc 1.96.0"), "1.96.0");
    }
}
