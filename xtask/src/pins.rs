//! The exact versions of the tools that Cargo installs. npm's are in `package.json`, Python's in
//! `xtask/requirements.txt`.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::paths::Paths;

/// Turns the crate into a Worker.
pub const WORKER_BUILD: &str = "0.8.7";

/// Makes the JavaScript side of the Worker; refuses a crate `wasm-bindgen` of any other version.
pub const WASM_BINDGEN: &str = "0.2.129";

/// The oldest Rust that compiles Baton (`rust-version` in Cargo.toml).
pub const RUST_MINIMUM: &str = env!("CARGO_PKG_RUST_VERSION");

/// Fails unless `Cargo.lock` has the `wasm-bindgen` that the pinned tool accepts.
pub fn check_lock(paths: &Paths) -> Result<()> {
    let file = paths.root.join("Cargo.lock");
    let lock = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let locked = locked_version(&lock, "wasm-bindgen").context("Cargo.lock")?;
    if locked != WASM_BINDGEN {
        bail!(
            "Cargo.lock has wasm-bindgen {locked}, but the pinned tool is {WASM_BINDGEN}, and they must be equal: \
             run `cargo update -p wasm-bindgen --precise {WASM_BINDGEN}`, or change WASM_BINDGEN in xtask/src/pins.rs"
        );
    }
    Ok(())
}

fn locked_version(lock: &str, package: &str) -> Result<String> {
    let lock: toml::Table = lock.parse()?;
    let packages = lock
        .get("package")
        .and_then(toml::Value::as_array)
        .context("no packages")?;
    let mut versions = packages
        .iter()
        .filter(|entry| entry.get("name").and_then(toml::Value::as_str) == Some(package))
        .filter_map(|entry| entry.get("version").and_then(toml::Value::as_str));
    match (versions.next(), versions.next()) {
        (Some(version), None) => Ok(version.to_owned()),
        (None, _) => bail!("no package {package}"),
        (Some(first), Some(second)) => bail!("two versions of {package}: {first} and {second}"),
    }
}

/// The version in the output of `rustc --version`, as numbers that compare.
pub fn rust_version(output: &str) -> Option<(u32, u32)> {
    let version = output.strip_prefix("rustc ")?;
    let mut numbers = version.split(['.', ' ', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether the Rust with this `rustc --version` compiles Baton.
pub fn is_rust_new_enough(output: &str) -> bool {
    rust_version(output) >= rust_version(&format!("rustc {RUST_MINIMUM}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_version_names_what_is_wrong() {
        let one = "[[package]]\nname = \"a\"\nversion = \"1.2.3\"\n";
        assert_eq!(locked_version(one, "a").ok().as_deref(), Some("1.2.3"));
        let check = |lock: &str, expected: &str| {
            let error = locked_version(lock, "a").map_err(|error| error.to_string());
            assert_eq!(error, Err(expected.to_owned()));
        };
        check("", "no packages");
        check("[[package]]\nname = \"b\"\nversion = \"1.0.0\"\n", "no package a");
        check(
            &format!("{one}{}", one.replace("1.2.3", "2.0.0")),
            "two versions of a: 1.2.3 and 2.0.0",
        );
    }

    #[test]
    fn rust_versions_compare_as_numbers() {
        assert_eq!(rust_version("rustc 1.96.0 (ac68faa20 2026-05-25)"), Some((1, 96)));
        assert!(is_rust_new_enough("rustc 1.100.0-nightly (x)"));
        assert!(!is_rust_new_enough("rustc 1.63.0"));
        assert!(!is_rust_new_enough("no rustc"));
    }
}
