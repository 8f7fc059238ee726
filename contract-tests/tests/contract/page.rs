//! The operator's page in a real Chromium. What is done there is in `contract-tests/browser/scenarios.mjs`; it goes through
//! playwright, which waits for what a person would wait for, and finds things by the names that a screen reader says.

use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use contract_tests::command_line::Run;
use contract_tests::environment::{Environment, chromium, repository, screenshots};
use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::orchestrator::Orchestrator;
use contract_tests::outside::{fresh, wait_for};
use contract_tests::receiver::{Reaction, Receiver};
use serde_json::json;

/// Longer than these tests take.
const LEASE_MS: u64 = 600_000;

/// A gateway that is registered, with its orchestrator.
fn gateway() -> &'static Gateway {
    static GATEWAY: OnceLock<(Gateway, Orchestrator)> = OnceLock::new();
    let (gateway, _) = GATEWAY.get_or_init(|| {
        let keys = Keys::new([
            Key::new("invoke-1", "acme", "invoke"),
            Key::new("register-1", "acme", "register"),
            Key::new("operator-1", "acme", "operate"),
        ]);
        let mut orchestrator = Orchestrator::new("acme", &keys, LEASE_MS);
        orchestrator.start();
        let gateway = Gateway::start(Options {
            keys,
            orchestrators: vec![Configured::new("acme", &orchestrator.url())],
            history: true,
            ..Options::default()
        });
        let _ = orchestrator.wait_for_live();
        (gateway, orchestrator)
    });
    gateway
}

/// Has a scenario of this name played.
#[track_caller]
fn play(scenario: &str) {
    play_at(gateway(), scenario);
}

/// Has it played at this gateway's page.
#[track_caller]
fn play_at(gateway: &Gateway, scenario: &str) {
    let key = |id: &str| {
        let record = gateway.key(id).record();
        json!({ "id": id, "secret": record["secret"] })
    };
    fs::create_dir_all(screenshots()).expect("a folder for screenshots");
    let settings = json!({
        "origin": gateway.origin(),
        "chromium": chromium(),
        "screenshots": screenshots(),
        "keys": { "operator": key("operator-1"), "invoke": key("invoke-1") },
    });
    let folder = repository().join("contract-tests/browser");
    let mut command = Command::new(&Environment::get().node);
    command
        .args(["run.mjs", scenario])
        .env("BATON_TEST_PAGE", settings.to_string());
    let _ = Run::of(&mut command, &folder).expect(0);
}

#[test]
fn signing_in() {
    play("signing_in");
}

#[test]
fn an_agent_by_keyboard() {
    play("an_agent_by_keyboard");
}

#[test]
fn mistakes_in_a_form() {
    play("mistakes_in_a_form");
}

#[test]
fn every_kind_of_field() {
    play("every_kind_of_field");
}

#[test]
fn a_session_that_ends() {
    play("a_session_that_ends");
}

#[test]
fn api_keys() {
    play("api_keys");
}

#[test]
fn holding_a_breaker() {
    play("holding_a_breaker");
}

#[test]
fn every_view() {
    play("every_view");
}

/// A real receiver refuses the events of one step, a real gateway gives them up, and an operator sends them again.
#[test]
fn events_that_were_given_up() {
    const TRACES: &str = "/v1/traces";
    const POISON: &str = "poison-step";
    let receiver = Receiver::start();
    receiver.plan(TRACES, [Reaction::StatusIfBodyHas(400, POISON.to_owned())]);
    let gateway = Gateway::start(Options {
        keys: Keys::new([
            Key::new("invoke-1", "acme", "invoke"),
            Key::new("operator-1", "acme", "operate"),
        ]),
        variables: vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.origin()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json".to_owned()),
        ],
        history: true,
        ..Options::default()
    });
    for step in ["well", POISON] {
        let body = json!({ "run": fresh(), "step": step, "input": { "actions": [] } });
        let message = Message::step(&gateway, "script", &body).signed(gateway.key("invoke-1"));
        let _ = message.send().completed();
    }
    wait_for("the events on the operator's list", || {
        let outbox = Message::new(&gateway, "GET", "/operator/outbox").signed(gateway.key("operator-1"));
        let outbox = outbox.send().message(200, "outbox");
        (outbox["dead_letters"].as_array()?.len() == 2).then_some(())
    });
    play_at(&gateway, "an_event_that_is_refused_again");
    receiver.plan(TRACES, [Reaction::Status(200)]);
    let before = receiver.received(TRACES).len();
    play_at(&gateway, "events_that_are_sent_again");
    let received = receiver.received(TRACES);
    assert_eq!(received.len(), before + 2, "each was sent once");
    for event in &received[before..] {
        assert!(String::from_utf8_lossy(&event.body).contains(POISON));
    }
}

#[test]
fn files_are_asked_for_again_and_not_sent_again() {
    let page = Message::new(gateway(), "GET", "/").send();
    assert_eq!(page.status(), 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    let etag = page.header("etag").expect("an entity tag");
    let again = Message::new(gateway(), "GET", "/").line("if-none-match", etag).send();
    assert_eq!((again.status(), again.text().as_str()), (304, ""));
}
