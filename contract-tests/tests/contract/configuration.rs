//! Gateways without keys, or with a configuration that is wrong: they fail closed.

use contract_tests::gateway::{Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::outside::wait_for;
use serde_json::json;

use crate::support::body;

#[test]
fn without_keys_nobody_can_sign_and_the_documents_are_there() {
    let gateway = Gateway::start(Options::default());
    let key = Key::new("first", "acme", "invoke");
    let step = Message::step(&gateway, "echo", &body(json!({})));
    step.send().problem(401, "signature-missing");
    step.signed(&key).send().problem(401, "signature-invalid");
    let manifest = Message::new(&gateway, "GET", "/.well-known/baton.json").send();
    assert_eq!(manifest.status(), 200);
}

#[test]
fn a_wrong_key_record_closes_the_gateway_and_tells_the_operator_alone() {
    let secret = "c2hvcnQgYW5kIHNlY3JldA==";
    let key = Key::new("first", "acme", "invoke").with("secret", secret);
    let gateway = Gateway::start_misconfigured(Options {
        keys: Keys::new([key.clone()]),
        ..Options::default()
    });
    let step = Message::step(&gateway, "echo", &body(json!({}))).signed(&key);
    for message in [step, Message::new(&gateway, "GET", "/healthz")] {
        let answer = message.send();
        let problem = answer.problem(503, "gateway-misconfigured");
        assert_eq!(problem["retryable"], true);
        assert!(!answer.text().contains("BATON_KEYS"), "{}", answer.text());
    }
    let alarm = wait_for("an alarm", || {
        let mut events = gateway.events().into_iter();
        events.find(|event| event["event"] == "alarm" && event["subject"] == "configuration")
    });
    let message = alarm["message"].as_str().expect("text");
    assert!(message.contains("BATON_KEYS") && message.contains("first"), "{message}");
    assert!(!gateway.log().contains(secret));
}
