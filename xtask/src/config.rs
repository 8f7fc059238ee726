//! The configuration of a Worker that is already built, derived from wrangler.toml.
//!
//! `wrangler dev` would run wrangler.toml's `[build]`, which is for deployments, and take the deployed entry file. The
//! derived configuration has the same bindings and neither of the two.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::{files, paths::Paths};

/// What differs from wrangler.toml.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The entry file; absolute.
    pub main: PathBuf,
    /// Value of `BATON_ORIGINS`; left as it is when empty.
    pub origins: Vec<String>,
    /// Value of `BATON_ORCHESTRATORS`, a JSON array; left as it is when `None`.
    pub orchestrators: Option<String>,
}

/// Derives a configuration and writes it to `out`, as JSON. A file that says the same already is left alone.
pub fn write(paths: &Paths, out: &Path, changes: &Changes) -> Result<()> {
    let file = paths.root.join("wrangler.toml");
    let toml = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let derived = derive(&toml, &paths.root, changes).context("wrangler.toml")?;
    let mut json = serde_json::to_string_pretty(&derived)?;
    json.push('\n');
    if files::is_stamped(out, &json) {
        return Ok(());
    }
    files::write_whole(out, json.as_bytes(), 0o644)
}

fn derive(toml: &str, root: &Path, changes: &Changes) -> Result<Value> {
    let mut config: Map<String, Value> = toml::from_str(toml)?;
    config.remove("build");
    // Other environments are for deployments, and repeat the bindings.
    config.remove("env");
    config.insert("main".into(), path_value(&changes.main)?);

    // Paths in a configuration are relative to it, and this one lives elsewhere.
    for database in config
        .get_mut("d1_databases")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(folder) = database.get_mut("migrations_dir") {
            *folder = path_value(&root.join(folder.as_str().unwrap_or("migrations")))?;
        }
    }

    let vars = config.entry("vars").or_insert_with(|| Value::Object(Map::new()));
    let vars = vars.as_object_mut().context("`vars` is no table")?;
    if !changes.origins.is_empty() {
        vars.insert("BATON_ORIGINS".into(), changes.origins.join(",").into());
    }
    if let Some(orchestrators) = &changes.orchestrators {
        serde_json::from_str::<Vec<Value>>(orchestrators)
            .context("the orchestrators are no JSON array: write [{\"id\":\"...\",\"url\":\"...\"}]")?;
        vars.insert("BATON_ORCHESTRATORS".into(), orchestrators.as_str().into());
    }
    Ok(Value::Object(config))
}

fn path_value(path: &Path) -> Result<Value> {
    Ok(path
        .to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))?
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TOML: &str = r#"
name = "baton"
main = "build/index.js"
[build]
command = "cargo xtask build --release"
[vars]
BATON_ENVIRONMENT = "development"
BATON_ORIGINS = "http://127.0.0.1:8787"
[[d1_databases]]
binding = "HISTORY"
migrations_dir = "migrations"
[env.staging]
name = "baton-staging"
"#;

    #[test]
    fn the_bindings_stay_and_the_build_goes() -> Result<()> {
        let changes = Changes {
            main: "/w/index.js".into(),
            origins: vec!["http://127.0.0.1:1".into(), "http://localhost:1".into()],
            orchestrators: Some("[]".into()),
        };
        assert_eq!(
            derive(TOML, Path::new("/checkout"), &changes)?,
            json!({
                "name": "baton",
                "main": "/w/index.js",
                "vars": {
                    "BATON_ENVIRONMENT": "development",
                    "BATON_ORIGINS": "http://127.0.0.1:1,http://localhost:1",
                    "BATON_ORCHESTRATORS": "[]",
                },
                "d1_databases": [{ "binding": "HISTORY", "migrations_dir": "/checkout/migrations" }],
            })
        );
        Ok(())
    }

    #[test]
    fn what_is_not_changed_stays() -> Result<()> {
        let derived = derive(TOML, Path::new("/checkout"), &Changes::default())?;
        assert_eq!(derived["vars"]["BATON_ORIGINS"], "http://127.0.0.1:8787");
        Ok(())
    }

    #[test]
    fn orchestrators_that_are_no_array_are_refused() {
        let changes = Changes {
            orchestrators: Some("{}".into()),
            ..Changes::default()
        };
        assert!(derive(TOML, Path::new("/"), &changes).is_err());
    }
}
