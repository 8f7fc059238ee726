//! Which gateway and which key: a flag, else the environment (clap reads both), else `.dev/baton.json`.

use std::path::{Path, PathBuf};

use baton::signature::keys::{Scheme, Validity};
use baton::signature::{KeyRecord, Keyring, Origins, Purpose};
use serde_json::{Value, json};

use crate::input::read_text;
use crate::output::Failure;

/// What `cargo xtask dev` leaves for this command, relative to the repository.
const DEVELOPMENT_FILE: &str = ".dev/baton.json";

/// The gateway's origin, without a trailing slash.
pub fn gateway(given: Option<&str>) -> Result<String, Failure> {
    let development;
    let (origin, whence) = match given {
        Some(given) => (given, "--gateway or BATON_GATEWAY".to_owned()),
        None => {
            let (path, file) = development_file("gateway", "--gateway URL or BATON_GATEWAY")?;
            let Some(origin) = file.get("gateway").and_then(Value::as_str) else {
                return Err(Failure::usage(format!(
                    "{}: `gateway` must be a URL: start `cargo xtask dev` again, or give --gateway",
                    path.display()
                )));
            };
            development = origin.to_owned();
            (development.as_str(), path.display().to_string())
        }
    };
    // A list would be read as well, but one gateway is what is asked for.
    match Origins::parse(origin) {
        Ok(origins) if !origin.contains(',') => Ok(origins.primary().to_owned()),
        _ => Err(Failure::usage(format!(
            "{whence}: `{origin}` is no gateway's address: write scheme and host without a path, such as https://agents.example.com"
        ))),
    }
}

/// The keys of a file, or the development key.
pub fn keyring(given: Option<&Path>) -> Result<Keyring, Failure> {
    match given {
        Some(path) => read_keyring(path),
        None => {
            let (path, file) = development_file("key", "--key FILE or BATON_KEY_FILE")?;
            let mut records = Vec::new();
            for name in ["key", "operator_key"] {
                let Some(record) = file.get(name) else { continue };
                let wrong = |error| Failure::usage(format!("{}: `{name}`: {error}", path.display()));
                parse_keyring(&record.to_string()).map_err(wrong)?;
                match record {
                    Value::Array(several) => records.extend(several.iter().cloned()),
                    record => records.push(record.clone()),
                }
            }
            parse_keyring(&json!(records).to_string())
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
        }
    }
}

fn read_keyring(path: &Path) -> Result<Keyring, Failure> {
    let text = read_text(path)?;
    parse_keyring(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// One record, as `baton keys new` prints it, or an array of them, as in `BATON_KEYS`.
fn parse_keyring(text: &str) -> Result<Keyring, String> {
    if text.trim_start().starts_with('[') {
        return Keyring::parse(text).map_err(|error| error.to_string());
    }
    // Parsed alone first: an error then names the file's own line and column.
    match Keyring::parse_record(text) {
        Ok(_) => Keyring::parse(&format!("[{text}]")).map_err(|error| error.to_string()),
        Err(error) => Err(error
            .to_string()
            .replace("a JSON array of key records", "a key record or an array of them")),
    }
}

/// The key to sign with: of those that may, the one that became valid last.
pub fn signing_key<'a>(
    keyring: &'a Keyring,
    purpose: Purpose,
    agent: Option<&str>,
    now_s: u64,
) -> Result<&'a KeyRecord, Failure> {
    let name = purpose_name(purpose);
    let problem = |record: &KeyRecord| {
        if record.scheme != Scheme::Baton {
            Some("it is for Standard Webhooks senders".to_owned())
        } else if !record.allows(purpose) {
            Some(format!("its purposes do not include `{name}`"))
        } else if agent.is_some_and(|agent| !record.allows_agent(agent)) {
            Some(format!("it may invoke only: {}", record.agents.join(", ")))
        } else {
            match record.validity(now_s) {
                Validity::Valid => None,
                Validity::Expired => Some("it has expired".to_owned()),
                Validity::NotYetValid => Some("it is not valid yet".to_owned()),
            }
        }
    };
    let usable = keyring.iter().filter(|record| problem(record).is_none());
    usable.max_by_key(|record| record.not_before).ok_or_else(|| {
        let reasons: Vec<_> = keyring
            .iter()
            .filter_map(|record| problem(record).map(|problem| format!("\n  {}: {problem}", record.id)))
            .collect();
        let what = agent.map_or_else(|| "this call".to_owned(), |agent| format!("a call to `{agent}`"));
        Failure::usage(format!(
            "no key can sign {what}: make one with `baton keys new --purpose {name}`, or give another --key{}",
            reasons.concat()
        ))
    })
}

/// The name of a purpose, as key records and `baton keys new --purpose` have it.
pub fn purpose_name(purpose: Purpose) -> String {
    serde_json::to_value(purpose)
        .ok()
        .and_then(|name| name.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// Finds `.dev/baton.json` from the current directory upwards.
fn development_file(what: &str, instead: &str) -> Result<(PathBuf, Value), Failure> {
    let here = std::env::current_dir().unwrap_or_default();
    let found = here
        .ancestors()
        .map(|folder| folder.join(DEVELOPMENT_FILE))
        .find(|path| path.is_file());
    let Some(path) = found else {
        return Err(Failure::usage(format!(
            "no {what} is known: give {instead}, or run `cargo xtask dev`, which writes {DEVELOPMENT_FILE} (looked for it in {} and above)",
            here.display()
        )));
    };
    let text = read_text(&path)?;
    let value = serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{} is not JSON: {error}", path.display())))?;
    Ok((path, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, more: &str) -> String {
        let secret = "A".repeat(43);
        format!(r#"{{"id":"{id}","orchestrator":"o","purposes":["invoke"],"secret":"{secret}="{more}}}"#)
    }

    #[test]
    fn gateways() {
        let check = |given: &str, expected: Option<&str>| {
            assert_eq!(gateway(Some(given)).ok().as_deref(), expected, "{given}");
        };
        check("http://127.0.0.1:8787/", Some("http://127.0.0.1:8787"));
        check("https://GW.example.com", Some("https://gw.example.com"));
        check("gw.example.com", None);
        check("https://gw.example.com/base", None);
        check("https://a,https://b", None);
    }

    #[test]
    fn a_record_or_an_array() {
        assert_eq!(parse_keyring(&record("a", "")).map(|ring| ring.iter().count()), Ok(1));
        assert_eq!(
            parse_keyring(&format!("[{},{}]", record("a", ""), record("b", ""))).map(|ring| ring.iter().count()),
            Ok(2)
        );
        let error = parse_keyring("{\n  \"id\": 1}").expect_err("no record");
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn the_key_that_may() {
        let list = [
            record("old", r#","not_before":1"#),
            record("new", r#","not_before":5"#),
            record("later", r#","not_before":50"#),
            record("other", r#","not_before":9,"agents":["redact"]"#),
        ];
        let ring = parse_keyring(&format!("[{}]", list.join(","))).expect("keys");
        let check = |agent, now_s, expected: &str| match signing_key(&ring, Purpose::Invoke, Some(agent), now_s) {
            Ok(key) => assert_eq!(key.id, expected),
            Err(failure) => assert!(failure.to_string().contains(expected), "{failure}"),
        };
        check("triage", 10, "new");
        check("redact", 10, "other");
        check("triage", 60, "later");
        check("triage", 0, "old: it is not valid yet");
        check("triage", 0, "other: it may invoke only: redact");
        let any = signing_key(&ring, Purpose::Invoke, None, 10).expect("a key");
        assert_eq!(any.id, "other", "a call that invokes no agent takes any");
        let error = signing_key(&ring, Purpose::Register, None, 10).expect_err("no such key");
        let said = error.to_string();
        assert!(said.contains("baton keys new --purpose register"), "{said}");
        assert!(said.contains("old: its purposes do not include `register`"), "{said}");
    }
}
