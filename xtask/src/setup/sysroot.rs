//! A standard library for wasm32 that unwinds, built once from source into a sysroot in the cache.
//!
//! The ready-made one aborts on a panic, and an abort ends the whole Wasm instance: every other request that the
//! isolate has in flight dies with it. With unwinding a panic in an agent stays in its own request. No distribution of
//! Rust has that library ready, so it is built from the source that every one of them offers.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cache;
use super::wasm::{TARGET, WasmToolchain, slug};
use crate::{command, paths::Paths, progress::Step};

/// A compiler with the source of its standard library.
#[derive(Debug)]
pub struct Compiler {
    /// Where it comes from, for names of folders.
    pub origin: &'static str,
    /// Folder of `rustc`, `cargo` and `cargo-clippy`.
    pub bin: PathBuf,
    /// Its `lib/rustlib`, with `src/rust/library` in it.
    pub rustlib: PathBuf,
    /// What `rustc --version` says.
    pub version: String,
    /// More variables that it needs.
    pub variables: Vec<(&'static str, OsString)>,
}

impl Compiler {
    /// The compiler in this folder, if it is there with the source of its library.
    pub fn find(
        origin: &'static str,
        bin: &Path,
        rustlib: &Path,
        variables: Vec<(&'static str, OsString)>,
    ) -> Option<Self> {
        let programs = ["rustc", "cargo", "cargo-clippy"]
            .iter()
            .all(|name| bin.join(name).is_file());
        if !programs || !rustlib.join("src/rust/library/std/Cargo.toml").is_file() {
            return None;
        }
        let version = command::output(
            Command::new(bin.join("rustc"))
                .arg("--version")
                .env_remove("LD_LIBRARY_PATH"),
        )?;
        Some(Self {
            origin,
            bin: bin.to_owned(),
            rustlib: rustlib.to_owned(),
            version,
            variables,
        })
    }

    /// The toolchain, if its library is built already.
    pub fn ready(&self, paths: &Paths) -> Option<WasmToolchain> {
        let folder = paths.cache.join(self.folder_name());
        folder.is_dir().then(|| self.toolchain(&folder))
    }

    /// The toolchain; builds its library where that is missing.
    pub fn with_std(&self, paths: &Paths) -> Result<WasmToolchain> {
        let folder = cache::ensure(paths, &self.folder_name(), |unfinished, finished| {
            self.link_sysroot(&unfinished.join("sysroot"))?;
            self.build_std(paths, unfinished)?;
            self.write_wrappers(&unfinished.join("bin"), &finished.join("sysroot"))
        })?;
        Ok(self.toolchain(&folder))
    }

    fn folder_name(&self) -> String {
        format!("{}-rust-wasm-unwind-{}", self.origin, slug(&self.version))
    }

    fn toolchain(&self, folder: &Path) -> WasmToolchain {
        let bin = folder.join("bin");
        let mut variables = self.variables.clone();
        variables.extend([
            ("RUSTC", bin.join("rustc").into()),
            ("SYSROOT", folder.join("sysroot").into()), // for clippy
            // The target's default is to abort.
            ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", "-Cpanic=unwind".into()),
        ]);
        WasmToolchain {
            bin,
            clippy: self.bin.join("cargo-clippy"),
            variables,
            version: slug(&self.version),
        }
    }

    /// A sysroot with links to all that the compiler's own has.
    fn link_sysroot(&self, sysroot: &Path) -> Result<()> {
        let rustlib = sysroot.join("lib/rustlib");
        fs::create_dir_all(&rustlib)?;
        for entry in fs::read_dir(&self.rustlib)? {
            let entry = entry?;
            if entry.file_name() != TARGET {
                symlink(entry.path(), rustlib.join(entry.file_name()))?;
            }
        }
        Ok(())
    }

    /// Builds an empty crate together with the standard library, and keeps the latter.
    fn build_std(&self, paths: &Paths, unfinished: &Path) -> Result<()> {
        let package = unfinished.join("empty");
        fs::create_dir_all(package.join("src"))?;
        fs::write(
            package.join("Cargo.toml"),
            "[package]\nname = \"empty\"\nedition = \"2021\"\n\n[workspace]\n",
        )?;
        fs::write(package.join("src/lib.rs"), "")?;

        let mut variables = self.variables.clone();
        variables.push(("RUSTC", self.bin.join("rustc").into()));
        let toolchain = WasmToolchain {
            bin: self.bin.clone(),
            clippy: PathBuf::new(),
            variables,
            version: String::new(),
        };
        let mut cargo = Command::new(self.bin.join("cargo"));
        toolchain.apply(paths, &mut cargo, &[])?;
        cargo
            .args(["build", "--release", "-Zbuild-std=std,panic_unwind", "--target", TARGET])
            .current_dir(&package)
            .env("CARGO_TARGET_DIR", package.join("target"))
            // A released compiler takes -Z only with this.
            .env("RUSTC_BOOTSTRAP", "1")
            // Without the bitcode, a later build with LTO fails: "Can't find section .llvmbc".
            .env("RUSTFLAGS", "-Cpanic=unwind -Cembed-bitcode=yes");
        Step::new(
            "Building Rust's standard library for wasm32 (once, about a minute)",
            cache::log(paths, "std"),
        )
        .run(&mut cargo)?;

        let library = unfinished.join("sysroot/lib/rustlib").join(TARGET).join("lib");
        fs::create_dir_all(&library)?;
        for entry in fs::read_dir(package.join("target").join(TARGET).join("release/deps"))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(".rlib") && !name.starts_with("libempty") {
                fs::copy(&path, library.join(&*name)).with_context(|| format!("cannot copy {name}"))?;
            }
        }
        fs::remove_dir_all(package)?;
        Ok(())
    }

    /// worker-build calls `rustc` and `cargo` by name: these are found first, and know the sysroot.
    fn write_wrappers(&self, bin: &Path, sysroot: &Path) -> Result<()> {
        fs::create_dir_all(bin)?;
        let rustc = shell_quoted(&self.bin.join("rustc").to_string_lossy());
        let cargo = shell_quoted(&self.bin.join("cargo").to_string_lossy());
        let sysroot = shell_quoted(&sysroot.to_string_lossy());
        for (name, command) in [("rustc", format!("{rustc} --sysroot {sysroot}")), ("cargo", cargo)] {
            let path = bin.join(name);
            fs::write(&path, format!("#!/bin/sh\nexec {command} \"$@\"\n"))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_survives_a_quote() {
        assert_eq!(shell_quoted("/a b"), "'/a b'");
        assert_eq!(shell_quoted("it's"), r"'it'\''s'");
    }
}
