//! `baton keys`, `baton completions` and the help.

mod common;

use baton::signature::Keyring;
use common::{baton, file, folder};

#[test]
fn a_new_key_is_a_record_that_the_gateway_reads() {
    let run = baton(&[
        "keys",
        "new",
        "--orchestrator",
        "acme",
        "--agents",
        "triage",
        "--valid-for",
        "90d",
    ])
    .expect(0, &["wrangler secret put BATON_KEYS"]);
    let keyring = Keyring::parse(&format!("[{}]", run.stdout)).expect("a key record");
    let key = keyring.iter().next().expect("one key");
    assert_eq!(key.secret.bytes().len(), 32);
    assert_eq!(
        (
            key.orchestrator.as_str(),
            key.allows_agent("triage"),
            key.allows_agent("redact")
        ),
        ("acme", true, false)
    );
    assert_eq!(
        key.not_after.zip(key.not_before).map(|(end, start)| end - start),
        Some(90 * 86_400)
    );

    let other = baton(&["keys", "new", "--orchestrator", "acme", "--json"]).expect(0, &[]);
    assert_eq!(other.stdout.lines().count(), 1);
    assert_eq!(other.stderr, "");
    let other = Keyring::parse_record(&other.stdout).expect("a key record");
    assert_ne!(other.secret, key.secret);
    assert_ne!(other.id, key.id);
}

#[test]
fn a_webhook_secret_is_bound_to_its_agent() {
    let folder = folder("webhook");
    let record = baton(&[
        "keys",
        "new",
        "--id",
        "forms-1",
        "--scheme",
        "standard-webhooks",
        "--agents",
        "triage",
    ])
    .stdout;
    let key = file(&folder, "key.json", record);
    let secret = |agent: &str| {
        baton(&[
            "keys",
            "webhook-secret",
            agent,
            "--key",
            &key,
            "--gateway",
            "https://gw.example.com",
        ])
    };
    let run = secret("triage").expect(
        0,
        &["whsec_", "https://gw.example.com/agents/triage/steps?key_id=forms-1"],
    );
    assert_eq!(run.stdout, secret("triage").stdout, "derived, not random");
    secret("redact").expect(2, &["may not invoke `redact`"]);

    let plain = file(&folder, "plain.json", baton(&["keys", "new"]).stdout);
    baton(&["keys", "webhook-secret", "triage", "--key", &plain]).expect(2, &["--scheme standard-webhooks"]);
}

#[test]
fn wrong_arguments_are_explained() {
    baton(&["keys", "new", "--valid-for", "soon"]).expect(2, &["`soon` is no duration", "90d"]);
    baton(&["keys", "new", "--id", "a b"]).expect(2, &["letters, digits, hyphens"]);
    baton(&["keys", "webhook-secret", "triage", "--key", "missing.json"]).expect(2, &["missing.json", "no such file"]);
}

#[test]
fn help_has_examples_and_exit_codes() {
    baton(&["--help"]).expect(0, &["Examples:", "Exit codes:"]);
    for command in ["step", "verify", "discover"] {
        baton(&[command, "--help"]).expect(0, &["Examples:"]);
    }
    baton(&["completions", "bash"]).expect(0, &["webhook-secret"]);
}
