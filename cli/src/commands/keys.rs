//! `baton keys`: new keys, and the secrets derived from them.

use baton::signature::keys::{Scheme, Secret, check_purposes, record_to_json};
use baton::signature::{KeyRecord, Purpose, webhook};

use crate::args::{NewKey, WebhookSecret};
use crate::output::{Exit, Failure, Report};
use crate::{config, environment};

/// A new key has this many random bytes.
const SECRET_BYTES: usize = 32;

/// Makes a key and prints its record.
pub fn new(args: &NewKey) -> Result<Report, Failure> {
    let secret = environment::random::<SECRET_BYTES>()?;
    let suffix: String = environment::random_id()?.chars().take(6).collect();
    let record = record(args, secret.to_vec(), &suffix, environment::now_s())?;
    let json = record_to_json(&record);
    if args.json {
        return Ok(Report::new(Exit::Done, format!("{json}\n")));
    }
    Ok(Report::new(Exit::Done, format!("{json:#}\n")).note(note(&record)))
}

/// What to do with a new record.
fn note(record: &KeyRecord) -> String {
    let mut note = "Put this record into the JSON array of the secret BATON_KEYS with `wrangler secret put BATON_KEYS`, beside the key that it replaces until nobody signs with that one; whoever has this text can sign.".to_owned();
    if record.allows(Purpose::Callback) {
        note.push_str("\nGive the receiver of the callbacks this secret: ");
        note.push_str(&webhook::given_secret(record.secret.bytes()));
    }
    note
}

fn record(args: &NewKey, secret: Vec<u8>, suffix: &str, now_s: u64) -> Result<KeyRecord, Failure> {
    let mut purposes: Vec<Purpose> = Vec::new();
    for purpose in args.purpose.iter().copied().map(Purpose::from) {
        if !purposes.contains(&purpose) {
            purposes.push(purpose);
        }
    }
    let scheme = Scheme::from(args.scheme);
    if scheme == Scheme::StandardWebhooks && purposes != [Purpose::Invoke] {
        return Err(Failure::usage(
            "--scheme standard-webhooks is for calls to agents: it goes with --purpose invoke alone",
        ));
    }
    check_purposes(&purposes).map_err(|error| Failure::usage(format!("--purpose: {error}")))?;
    if args.orchestrator.is_empty() || args.agents.iter().any(String::is_empty) {
        return Err(Failure::usage(
            "--orchestrator and --agents take names, not empty strings",
        ));
    }
    let secret = Secret::new(secret).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(KeyRecord {
        id: args
            .id
            .clone()
            .unwrap_or_else(|| default_id(&args.orchestrator, &purposes, suffix)),
        orchestrator: args.orchestrator.clone(),
        purposes,
        agents: args.agents.clone(),
        scheme,
        // From two keys that are both valid the one that became so last is signed with: so every key has a beginning.
        not_before: Some(now_s),
        not_after: args.valid_for.map(|seconds| now_s.saturating_add(seconds)),
        secret,
    })
}

fn default_id(orchestrator: &str, purposes: &[Purpose], suffix: &str) -> String {
    let orchestrator: String = orchestrator
        .chars()
        .take(64)
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let purpose = match purposes {
        [Purpose::Register] => "register",
        [Purpose::Callback] => "callback",
        [Purpose::Operate] => "operate",
        [Purpose::Call] => "call",
        _ => "invoke",
    };
    format!("{orchestrator}-{purpose}-{suffix}")
}

/// Prints the derived secret and the URL for a Standard Webhooks sender.
pub fn webhook_secret(args: &WebhookSecret) -> Result<Report, Failure> {
    let keyring = config::keyring(args.key.as_deref())?;
    let mut records = keyring
        .iter()
        .filter(|record| record.scheme == Scheme::StandardWebhooks);
    let Some(record) = records.next() else {
        return Err(Failure::usage(
            "the key is not for Standard Webhooks, so no such secret opens anything: make one with `baton keys new --scheme standard-webhooks`",
        ));
    };
    if records.next().is_some() {
        return Err(Failure::usage(
            "the file has more than one key for Standard Webhooks: give a file with the one to derive from",
        ));
    }
    if !record.allows_agent(&args.agent) {
        return Err(Failure::usage(format!(
            "key {} may not invoke `{}`, only: {}",
            record.id,
            args.agent,
            record.agents.join(", ")
        )));
    }
    let gateway = match config::gateway(args.gateway.as_deref()) {
        Ok(gateway) => gateway,
        Err(failure) if args.gateway.is_some() => return Err(failure),
        // The secret does not depend on it.
        Err(_) => "https://<gateway>".to_owned(),
    };
    let secret = webhook::derived_secret(record.secret.bytes(), &record.orchestrator, &args.agent, &args.action);
    let text = format!(
        "secret  {}\nurl     {gateway}/agents/{}/{}?{}={}\n",
        webhook::given_secret(&secret),
        args.agent,
        args.action,
        webhook::KEY_ID_PARAMETER,
        record.id,
    );
    Ok(Report::new(Exit::Done, text)
        .note("Give both to the sender. The secret opens this one address and no other; it changes with the key."))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command, Keys};

    fn check(arguments: &[&str], expected: &str) {
        let command = ["baton", "keys", "new"].iter().chain(arguments);
        let Command::Keys(Keys::New(args)) = Args::parse_from(command).command else {
            panic!("keys new");
        };
        let found = match record(&args, vec![0; SECRET_BYTES], "abc", 1000) {
            Ok(record) => record_to_json(&record).to_string(),
            Err(failure) => failure.to_string(),
        };
        assert!(found.contains(expected), "{arguments:?}: {found}");
    }

    #[test]
    fn records() {
        check(
            &[],
            r#""id":"reference-invoke-abc","orchestrator":"reference","purposes":["invoke"],"agents":["*"]"#,
        );
        check(&[], r#""not_before":1000}"#);
        check(&["--valid-for", "1h"], r#""not_before":1000,"not_after":4600}"#);
        check(
            &["--orchestrator", "acme", "--purpose", "register"],
            r#""id":"acme-register-abc""#,
        );
        check(
            &["--agents", "triage,redact", "--id", "k1"],
            r#""agents":["triage","redact"]"#,
        );
        check(
            &["--purpose", "invoke,register,invoke"],
            r#""purposes":["invoke","register"]"#,
        );
        check(&["--scheme", "standard-webhooks"], r#""scheme":"standard-webhooks""#);
        check(
            &["--scheme", "standard-webhooks", "--purpose", "register"],
            "goes with --purpose invoke alone",
        );
        check(&["--agents", "a,,b"], "not empty strings");
        check(&["--purpose", "callback"], r#""id":"reference-callback-abc""#);
        check(&["--purpose", "operate"], r#""id":"reference-operate-abc""#);
        check(
            &["--purpose", "call", "--orchestrator", "east"],
            r#""id":"east-call-abc","orchestrator":"east","purposes":["call"]"#,
        );
        check(&["--purpose", "invoke,callback"], "stands beside another purpose");
    }

    #[test]
    fn the_receiver_of_callbacks_gets_its_secret() {
        let note_for = |purpose: &str| {
            let args = Args::parse_from(["baton", "keys", "new", "--purpose", purpose]);
            let Command::Keys(Keys::New(args)) = args.command else {
                panic!("keys new");
            };
            note(&record(&args, vec![0; SECRET_BYTES], "abc", 1000).expect("a record"))
        };
        assert!(note_for("callback").contains("whsec_AAAA"));
        assert!(!note_for("invoke").contains("whsec_"));
    }
}
