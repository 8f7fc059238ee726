//! Installs into the cache: whole or not at all, one process at a time.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{files, paths::Paths};

const UNFINISHED: &str = "unfinished-";

/// The cache folder `name`, which has its versions in its name. Where it is missing, `install` fills a folder that
/// takes its place in one move, so an interrupted install leaves nothing behind that looks finished.
///
/// `install` gets the folder to fill, and the path it will have in the end.
pub fn ensure(paths: &Paths, name: &str, install: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<PathBuf> {
    let finished = paths.cache.join(name);
    if finished.is_dir() {
        return Ok(finished);
    }
    let _lock = files::lock(
        &paths.cache.join("lock"),
        "another process installs tools into the same cache; waiting for it to end ...",
    )?;
    if finished.is_dir() {
        return Ok(finished);
    }
    remove_unfinished(&paths.cache)?;
    let unfinished = paths.cache.join(format!("{UNFINISHED}{name}"));
    fs::create_dir_all(&unfinished).with_context(|| format!("cannot create {}", unfinished.display()))?;
    let installed = install(&unfinished, &finished).and_then(|()| {
        fs::rename(&unfinished, &finished).with_context(|| format!("cannot create {}", finished.display()))
    });
    if installed.is_err() {
        fs::remove_dir_all(&unfinished).ok();
    }
    installed.map(|()| finished)
}

/// The log of an install step: outside the folder being filled, since it is to be read after a failure.
pub fn log(paths: &Paths, step: &str) -> PathBuf {
    paths.cache.join("logs").join(format!("{step}.log"))
}

/// Removes what a killed install left. The lock is held, so none of it is in use.
fn remove_unfinished(cache: &Path) -> Result<()> {
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn an_install_is_whole_or_absent_and_done_once() -> Result<()> {
        let folder = std::env::temp_dir().join(format!("baton-cache-{}", std::process::id()));
        let paths = Paths {
            root: folder.clone(),
            cache: folder.join("cache"),
        };

        let failed = ensure(&paths, "tool-1", |unfinished, _| {
            fs::write(unfinished.join("half"), "")?;
            bail!("no network")
        });
        assert_eq!(failed.map_err(|error| error.to_string()), Err("no network".to_owned()));
        assert!(!paths.cache.join("tool-1").exists());

        fs::create_dir_all(paths.cache.join("unfinished-of-a-killed-one"))?;
        let tool = ensure(&paths, "tool-1", |unfinished, finished| {
            assert_eq!(finished, paths.cache.join("tool-1"));
            Ok(fs::write(unfinished.join("binary"), "")?)
        })?;
        assert!(tool.join("binary").is_file());
        assert!(!paths.cache.join("unfinished-of-a-killed-one").exists());

        ensure(&paths, "tool-1", |_, _| bail!("installed twice"))?;
        fs::remove_dir_all(folder)?;
        Ok(())
    }
}
