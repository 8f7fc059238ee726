//! The operator's page in a real Chromium. What is done there is in `contract-tests/browser/`, in `scenarios.mjs` and
//! `history.mjs`; it goes through playwright, which waits for what a person would wait for, and finds things by the names that
//! a screen reader says.

use std::fs;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;

use contract_tests::command_line::Run;
use contract_tests::environment::{Environment, chromium, repository, screenshots};
use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::orchestrator::Orchestrator;
use contract_tests::outside::{fresh, wait_for};
use contract_tests::receiver::{Reaction, Receiver};
use serde_json::{Value, json};

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
    play_at(gateway(), scenario, &Value::Null);
}

/// Has it played at this gateway's page, with what the test has prepared for it.
#[track_caller]
fn play_at(gateway: &Gateway, scenario: &str, story: &Value) {
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
        "story": story,
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
    play_at(&gateway, "an_event_that_is_refused_again", &Value::Null);
    receiver.plan(TRACES, [Reaction::Status(200)]);
    let before = receiver.received(TRACES).len();
    play_at(&gateway, "events_that_are_sent_again", &Value::Null);
    let received = receiver.received(TRACES);
    assert_eq!(received.len(), before + 2, "each was sent once");
    for event in &received[before..] {
        assert!(String::from_utf8_lossy(&event.body).contains(POISON));
    }
}

/// A step of the fixture `script`.
fn script(gateway: &Gateway, body: &Value) -> Message {
    Message::step(gateway, "script", body).signed(gateway.key("invoke-1"))
}

#[test]
fn a_callback_that_was_given_up() {
    let receiver = Receiver::start();
    let gateway = Gateway::start(Options {
        keys: Keys::new([
            Key::new("invoke-1", "acme", "invoke"),
            Key::new("callback-1", "acme", "callback"),
            Key::new("operator-1", "acme", "operate"),
        ]),
        orchestrators: vec![Configured::new("acme", "http://127.0.0.1:1").calling_back([receiver.origin()])],
        history: true,
        ..Options::default()
    });
    let (run, target) = (fresh(), "/done");
    receiver.plan(target, [Reaction::Status(410), Reaction::Status(204)]);
    let body = json!({
        "run": run, "step": "s1", "input": { "actions": [] }, "callback": { "url": receiver.url(target) },
    });
    let _ = script(&gateway, &body).send().completed();
    let delivery = receiver.wait_for(target, 1)[0].id().to_owned();
    wait_for("the dead letter", || {
        let letters = Message::new(&gateway, "GET", "/operator/dead-letters").signed(gateway.key("operator-1"));
        let letters = letters.send().message(200, "dead-letters");
        (letters["dead_letters"].as_array()?.len() == 1).then_some(())
    });
    let story = json!({ "run": run, "delivery": delivery, "url": receiver.url(target) });
    play_at(&gateway, "a_callback_that_is_sent_again", &story);
    let received = receiver.wait_for(target, 2);
    assert_eq!(received[1].id(), delivery);
    let callback = received[1].callback(&[gateway.key("callback-1")]);
    assert_eq!(callback["data"]["run"], run.as_str());
}

/// So many executions of earlier that day, in the run `past`: more than a list has at once.
const OLD: usize = 600;
const FAILED: usize = 2;

/// A gateway and a run that has two versions of its state and was handed off, by an agent that has a past.
fn gateway_with_a_past(run: &str) -> Gateway {
    let mut gateway = Gateway::start(Options {
        keys: Keys::new([
            Key::new("invoke-1", "acme", "invoke"),
            Key::new("operator-1", "acme", "operate"),
        ]),
        history: true,
        ..Options::default()
    });
    let next = json!({ "agent": "script-again", "reason": "it takes longer" });
    for (step, actions) in [
        ("s1", json!([{ "replace_state": { "count": 1 } }, { "sleep_ms": 40 }])),
        ("s2", json!([{ "merge_state": { "count": 2 } }, { "hand_off": next }])),
    ] {
        let body = json!({ "run": run, "step": step, "input": { "actions": actions } });
        let _ = script(&gateway, &body).send().outcome();
    }
    for _ in 0..FAILED {
        let body = json!({ "run": fresh(), "step": "s1", "input": { "actions": [{ "fail": { "code": "no" } }] } });
        let _ = script(&gateway, &body).send().outcome();
    }
    wait_for("the history", || {
        let page = Message::new(&gateway, "GET", "/executions").signed(gateway.key("operator-1"));
        let page = page.send().message(200, "executions");
        let rows = page["executions"].as_array()?;
        (rows.len() == 2 + FAILED && rows.iter().all(|row| !row["outcome"].is_null())).then_some(())
    });
    gateway.kill_hard();
    gateway.change_history(&format!(
        "WITH RECURSIVE past (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM past WHERE number < {OLD})
         INSERT INTO executions (id, orchestrator, run, step, attempt, execution, agent, agent_version, route, outcome,
           started_at_ms, duration_ms, claimed_until_ms, trace_id, span_id)
         SELECT 'exe_past_' || number, orchestrator, 'past', 's' || number, attempt, execution, agent, agent_version,
           route, outcome, started_at_ms - 7200000 - number * 60000, number, claimed_until_ms, trace_id, span_id
         FROM executions, past WHERE run = '{run}' AND step = 's1'"
    ));
    gateway.restart();
    gateway
}

#[test]
fn a_run_as_it_goes_on() {
    let run = fresh();
    let gateway = gateway_with_a_past(&run);
    let receiver = Receiver::start();
    let story = json!({
        "run": run, "orchestrator": "acme", "agent": "script-again", "failed": FAILED, "old": OLD, "told": receiver.origin(),
    });
    thread::scope(|scope| {
        // Whoever looks says when the run is to go on, and when it has been seen at work.
        let page = scope.spawn(|| play_at(&gateway, "a_run_as_it_goes_on", &story));
        let told = |what: &str| {
            wait_for(what, || {
                (page.is_finished() || !receiver.received(what).is_empty()).then_some(())
            });
        };
        told("/begin");
        let step = json!({ "step": "s3", "input": { "actions": ["await_cancellation"] } });
        let body = json!({ "run": run, "from": "script", "reason": "it takes longer", "step": step });
        let handoff = Message::post(&gateway, "/agents/script-again/handoffs", &body).idempotency_key("h1");
        let _ = handoff
            .signed(gateway.key("invoke-1"))
            .send()
            .message(201, "handoff-receipt");
        told("/end");
        let cancel = Message::new(&gateway, "POST", &format!("/runs/{run}/steps/s3/cancel"));
        let cancelled = cancel.signed(gateway.key("invoke-1")).send();
        assert_eq!(cancelled.json()["answer"]["body"]["status"], "cancelled");
    });
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
