//! Where things are: the checkout and the cache.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The two roots that every command works in.
#[derive(Debug)]
pub struct Paths {
    /// The checkout: where the workspace's `Cargo.toml` is.
    pub root: PathBuf,
    /// Tools that all checkouts of a user share.
    pub cache: PathBuf,
}

impl Paths {
    /// Finds both. The cache is `$BATON_CACHE`, else `$XDG_CACHE_HOME/baton`, else `~/.cache/baton`.
    pub fn find() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .context("CARGO_MANIFEST_DIR is not set: run this as `cargo xtask ...`")?;
        let root = Path::new(&package)
            .parent()
            .context("the xtask package has no parent folder")?
            .to_path_buf();
        Ok(Self {
            root,
            cache: cache_folder(|name| env::var_os(name).map(PathBuf::from))?,
        })
    }

    /// Cargo's target folder of the native builds.
    pub fn target(&self) -> PathBuf {
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), |folder| self.root.join(folder))
    }

    /// What the commands make from the sources: Workers for development and tests, derived configurations.
    pub fn made(&self) -> PathBuf {
        self.target().join("baton")
    }

    /// A native binary of this workspace, built with the `dev` profile.
    pub fn binary(&self, name: &str) -> PathBuf {
        self.target().join("debug").join(name)
    }

    /// State of `cargo xtask dev` in this checkout.
    pub fn dev_state(&self) -> PathBuf {
        self.root.join(".dev")
    }

    /// `path` as seen from the checkout, for messages.
    pub fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}

fn cache_folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.as_os_str().is_empty());
    let folder = if let Some(folder) = set("BATON_CACHE") {
        folder
    } else if let Some(folder) = set("XDG_CACHE_HOME") {
        folder.join("baton")
    } else if let Some(home) = set("HOME") {
        home.join(".cache/baton")
    } else {
        bail!("no place for the tools: set BATON_CACHE to a folder, or HOME");
    };
    std::path::absolute(&folder).with_context(|| format!("{} is no usable path", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], expected: Option<&str>) {
        let found = cache_folder(|name| {
            let (_, value) = variables.iter().find(|(key, _)| *key == name)?;
            Some(PathBuf::from(value))
        });
        assert_eq!(found.ok(), expected.map(PathBuf::from));
    }

    #[test]
    fn the_most_specific_variable_names_the_cache() {
        check(&[("HOME", "/h")], Some("/h/.cache/baton"));
        check(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")], Some("/x/baton"));
        check(&[("XDG_CACHE_HOME", "/x"), ("BATON_CACHE", "/b")], Some("/b"));
        check(&[("HOME", "/h"), ("BATON_CACHE", "")], Some("/h/.cache/baton"));
        check(&[], None);
    }
}
