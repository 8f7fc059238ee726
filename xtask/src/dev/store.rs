//! The local D1 database gets its tables.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::progress::Step;
use crate::setup::Node;
use crate::{files, paths::Paths};

/// As wrangler.toml names it.
const DATABASE: &str = "baton-history";

/// Applies the migrations to the local state; does nothing where they are the same as last time.
pub fn migrate(paths: &Paths, node: &Node, config: &Path) -> Result<()> {
    let state = paths.dev_state().join("state");
    // Within the state, so that whoever removes it has the tables made anew.
    let stamp = state.join("migrated");
    let expected = fingerprint(&paths.root.join("migrations"))?;
    if files::is_stamped(&stamp, &expected) {
        return Ok(());
    }
    let mut command = node.wrangler()?;
    command
        .args(["d1", "migrations", "apply", DATABASE, "--local", "--config"])
        .arg(config)
        .arg("--persist-to")
        .arg(&state)
        .current_dir(&paths.root)
        // Asks for no confirmation.
        .env("CI", "true");
    Step::new(
        "Making the tables of the local database",
        paths.dev_state().join("migrations.log"),
    )
    .run(&mut command)?;
    files::write_whole(&stamp, expected.as_bytes(), 0o644)
}

fn fingerprint(folder: &Path) -> Result<String> {
    let read = || -> Result<Vec<_>> {
        let mut migrations = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            migrations.push((path.file_name().map(ToOwned::to_owned), fs::read(&path)?));
        }
        migrations.sort();
        Ok(migrations)
    };
    let migrations = read().with_context(|| format!("cannot read {}", folder.display()))?;
    Ok(files::fingerprint(&migrations))
}
