//! Development keys: made once, at random, for this checkout.
//!
//! `.dev.vars` is what counts, and is never overwritten. The orchestrator's and the command line's files are made from
//! it on every start.

use std::fs;

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{files, paths::Paths};

/// Secrets of the Worker in development, in wrangler's form.
pub const SECRETS_FILE: &str = ".dev.vars";

/// Only for the user who runs this.
const SECRET_MODE: u32 = 0o600;

/// Length of a key.
const SECRET_BYTES: usize = 32;

const VARIABLE: &str = "BATON_KEYS";

/// Makes the three files, the first only where it is missing.
pub fn prepare(paths: &Paths, orchestrator: &str, gateway: &str) -> Result<()> {
    let secrets = paths.root.join(SECRETS_FILE);
    if !secrets.exists() {
        let records = json!([
            record("dev-invoke-1", orchestrator, "invoke")?,
            record("dev-register-1", orchestrator, "register")?,
            record("dev-callback-1", orchestrator, "callback")?,
            record("dev-operate-1", orchestrator, "operate")?
        ]);
        files::write_whole(&secrets, format!("{VARIABLE}='{records}'\n").as_bytes(), SECRET_MODE)?;
    }
    let content = fs::read_to_string(&secrets).with_context(|| format!("cannot read {}", secrets.display()))?;
    let records = parse(&content)
        .with_context(|| format!("{SECRETS_FILE} cannot be used: mend it, or remove it and have new keys made"))?;
    let mut client = json!({ "gateway": gateway, "key": invoke_key(&records)? });
    // A file of an earlier version has none.
    if let Some(operator) = key_for(&records, "operate") {
        client["operator_key"] = operator.clone();
    }
    let state = paths.dev_state();
    files::write_whole(
        &state.join("keys.json"),
        pretty(&Value::Array(records))?.as_bytes(),
        SECRET_MODE,
    )?;
    files::write_whole(&state.join("baton.json"), pretty(&client)?.as_bytes(), SECRET_MODE)
}

fn record(id: &str, orchestrator: &str, purpose: &str) -> Result<Value> {
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret).context("the system gives no random bytes")?;
    Ok(json!({
        "id": id,
        "orchestrator": orchestrator,
        "purposes": [purpose],
        "agents": ["*"],
        "secret": STANDARD.encode(secret),
    }))
}

/// The key records in a `.dev.vars` file.
fn parse(content: &str) -> Result<Vec<Value>> {
    let value = content
        .lines()
        .find_map(|line| line.trim().strip_prefix(VARIABLE)?.trim_start().strip_prefix('='))
        .with_context(|| format!("no line {VARIABLE}='[...]'"))?
        .trim();
    let value = value
        .strip_prefix('\'')
        .and_then(|value| value.strip_suffix('\''))
        .unwrap_or(value);
    serde_json::from_str(value).with_context(|| format!("{VARIABLE} is no JSON array"))
}

/// The first key that may invoke agents.
fn invoke_key(records: &[Value]) -> Result<&Value> {
    match key_for(records, "invoke") {
        Some(record) => Ok(record),
        None => bail!("{SECRETS_FILE} has no key with the purpose `invoke`, so no step can be signed: add one"),
    }
}

/// The first key of this purpose.
fn key_for<'a>(records: &'a [Value], purpose: &str) -> Option<&'a Value> {
    let has = |record: &&Value| {
        let purposes = record["purposes"].as_array();
        purposes.is_some_and(|purposes| purposes.iter().any(|own| own == purpose))
    };
    records.iter().find(has)
}

fn pretty(value: &Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_made_once_and_agree_in_all_three_files() -> Result<()> {
        let root = std::env::temp_dir().join(format!("baton-keys-{}", std::process::id()));
        let paths = Paths {
            root: root.clone(),
            cache: root.join("cache"),
        };
        prepare(&paths, "reference", "http://127.0.0.1:1")?;
        let first = fs::read_to_string(root.join(SECRETS_FILE))?;
        prepare(&paths, "reference", "http://127.0.0.1:2")?;
        assert_eq!(fs::read_to_string(root.join(SECRETS_FILE))?, first);

        let records = parse(&first)?;
        let [invoke, register, callback, operate] = records.as_slice() else {
            bail!("not four records: {records:?}")
        };
        for (record, purpose) in [(register, "register"), (callback, "callback"), (operate, "operate")] {
            assert_eq!(record["purposes"], json!([purpose]));
        }
        assert_ne!(invoke["secret"], register["secret"]);
        let secret = STANDARD.decode(invoke["secret"].as_str().unwrap_or_default())?;
        assert_eq!(secret.len(), SECRET_BYTES);

        let read = |name: &str| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(root.join(name))?)?) };
        assert_eq!(read(".dev/keys.json")?, json!(records));
        assert_eq!(
            read(".dev/baton.json")?,
            json!({ "gateway": "http://127.0.0.1:2", "key": invoke, "operator_key": operate })
        );
        for name in [SECRETS_FILE, ".dev/keys.json", ".dev/baton.json"] {
            assert_eq!(
                fs::metadata(root.join(name))?.permissions().mode() & 0o777,
                0o600,
                "{name}"
            );
        }
        fs::remove_dir_all(root)?;
        Ok(())
    }

    #[test]
    fn keys_written_by_hand_are_read() -> Result<()> {
        assert_eq!(parse("OTHER=1\n BATON_KEYS = [1]\n")?, vec![json!(1)]);
        assert_eq!(parse("BATON_KEYS='[]'")?, Vec::<Value>::new());
        assert!(parse("OTHER=1").is_err());
        assert!(parse("BATON_KEYS='{}'").is_err());
        assert!(invoke_key(&[json!({ "purposes": ["register"] })]).is_err());
        Ok(())
    }
}
