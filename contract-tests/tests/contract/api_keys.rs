//! API keys of customers, as an operator makes, lists and revokes them.

use std::sync::OnceLock;

use contract_tests::answer::Answer;
use contract_tests::gateway::{Gateway, Options};
use contract_tests::message::Message;
use contract_tests::schemas::assert_fits;
use serde_json::{Value, json};

const PATH: &str = "/operator/api-keys";

fn gateway() -> &'static Gateway {
    static GATEWAY: OnceLock<Gateway> = OnceLock::new();
    GATEWAY.get_or_init(|| Gateway::start(Options::with_operator()))
}

fn creation(body: &Value) -> Message {
    Message::post(gateway(), PATH, body).signed(gateway().key("operator"))
}

/// Makes a key.
#[track_caller]
fn created(body: &Value) -> Value {
    let answer = creation(body).send();
    assert_eq!(answer.status(), 201, "{}", answer.text());
    assert!(answer.is_signed());
    let key = answer.json();
    assert_fits("api-key-created", &key);
    key
}

fn revoke(id: &str) -> Answer {
    let message = Message::new(gateway(), "DELETE", &format!("{PATH}/{id}"));
    message.signed(gateway().key("operator")).send()
}

/// The key of this id, as the operator sees it.
fn listed(id: &str) -> Option<Value> {
    let message = Message::new(gateway(), "GET", PATH).query("limit=100");
    let answer = message.signed(gateway().key("operator")).send();
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let list = answer.json();
    assert_fits("api-keys", &list);
    assert!(!answer.text().contains("baton_"), "no text of a key");
    let keys = list["api_keys"].as_array().expect("keys");
    keys.iter().find(|key| key["id"] == id).cloned()
}

#[test]
fn a_key_is_made_listed_and_revoked() {
    let body = json!({"name": "Acme", "agents": ["echo"], "rate": {"burst": 5, "per_minute": 50}});
    let mut key = created(&body);
    let id = key["id"].as_str().expect("an id").to_owned();
    let text = key
        .as_object_mut()
        .expect("an object")
        .remove("api_key")
        .expect("a text");
    assert!(text.as_str().expect("text").starts_with(&format!("baton_{id}_")));
    assert_eq!(listed(&id), Some(key));
    for _ in 0..2 {
        let answer = revoke(&id);
        assert_eq!((answer.status(), answer.text().as_str()), (204, ""));
        assert!(answer.is_signed());
    }
    let revoked = listed(&id).expect("it stays on the list");
    assert!(revoked["revoked_at_ms"].as_u64() >= revoked["created_at_ms"].as_u64());
}

#[test]
fn a_captured_creation_shows_no_key_again() {
    let message = creation(&json!({"name": "Acme"}));
    assert_eq!(message.send().status(), 201);
    let again = message.send();
    assert!(!again.is_signed());
    again.problem(401, "signature-replayed");
}

#[test]
fn mistakes_are_said() {
    creation(&json!({"name": "Acme", "agents": ["nobody"]}))
        .send()
        .problem(422, "schema-violated");
    creation(&json!({"name": "Acme", "expires_at_ms": 1}))
        .send()
        .problem(422, "schema-violated");
    revoke("0000000000000000").problem(404, "api-key-unknown");
    let first = gateway().key("first");
    let answer = Message::post(gateway(), PATH, &json!({"name": "Acme"}))
        .signed(first)
        .send();
    answer.problem(403, "key-not-allowed");
}
