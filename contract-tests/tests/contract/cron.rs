//! The cron trigger, fired by the runtime itself.

use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::orchestrator::Orchestrator;
use contract_tests::outside::{fresh, wait_for};
use contract_tests::receiver::{Reaction, Receiver};
use serde_json::{Value, json};

#[test]
fn the_cron_trigger_wakes_the_link_of_a_gateway_that_nobody_calls() {
    let keys = Keys::new([
        Key::new("invoke", "reference", "invoke"),
        Key::new("register", "reference", "register"),
    ]);
    let mut orchestrator = Orchestrator::new("reference", &keys, 60_000);
    orchestrator.start();
    let gateway = Gateway::start_uncalled(Options {
        keys,
        orchestrators: vec![Configured::new("reference", &orchestrator.url())],
        ..Options::default()
    });
    assert_eq!(orchestrator.registrations(), Vec::<Value>::new());
    gateway.fire_cron();
    let live = orchestrator.wait_for_live();
    assert_eq!(live["generation"], 1);
}

#[test]
fn the_cron_trigger_ends_the_historys_oldest_days() {
    let mut gateway = Gateway::start(Options {
        variables: vec![("BATON_HISTORY_DAYS", "1".to_owned())],
        ..Options::with_operator()
    });
    let executions = |gateway: &Gateway| -> Vec<Value> {
        let message = Message::new(gateway, "GET", "/executions");
        let page = message.signed(gateway.key("operator")).send().json();
        page["executions"].as_array().cloned().unwrap_or_default()
    };
    let runs = [fresh(), fresh()];
    for run in &runs {
        let body = json!({ "run": run, "step": "s1", "input": {} });
        let answer = Message::step(&gateway, "echo", &body)
            .signed(gateway.key("first"))
            .send();
        assert_eq!(answer.completed()["status"], "completed");
    }
    wait_for("the history", || (executions(&gateway).len() == 2).then_some(()));
    // One of them was two days ago.
    gateway.kill_hard();
    gateway.change_history(&format!(
        "UPDATE executions SET started_at_ms = started_at_ms - 172800000 WHERE run = '{}'",
        runs[0]
    ));
    gateway.restart();
    assert_eq!(executions(&gateway).len(), 2);
    gateway.fire_cron();
    let left = executions(&gateway);
    assert_eq!((left.len(), &left[0]["run"]), (1, &json!(runs[1])));
}

#[test]
fn the_cron_trigger_removes_letters_that_are_older_than_history_and_runs() {
    let receiver = Receiver::start();
    let mut gateway = Gateway::start(Options {
        keys: Keys::new([
            Key::new("first", "acme", "invoke"),
            Key::new("callback", "acme", "callback"),
            Key::new("operator", "acme", "operate"),
        ]),
        orchestrators: vec![Configured::new("acme", "http://127.0.0.1:1").calling_back([receiver.origin()])],
        // The longer of the two counts.
        variables: vec![
            ("BATON_HISTORY_DAYS", "1".to_owned()),
            ("BATON_RUN_RETENTION_S", (3 * 86_400).to_string()),
        ],
        history: true,
        ..Options::default()
    });
    let letters = |gateway: &Gateway| -> Vec<Value> {
        let message = Message::new(gateway, "GET", "/operator/dead-letters");
        let page = message
            .signed(gateway.key("operator"))
            .send()
            .message(200, "dead-letters");
        page["dead_letters"].as_array().cloned().unwrap_or_default()
    };
    // Given up two days ago, and four.
    let runs = [(fresh(), 2), (fresh(), 4)];
    for (run, _) in &runs {
        let target = format!("/{run}");
        receiver.plan(&target, [Reaction::Status(410)]);
        let body = json!({
            "run": run, "step": "s1", "input": {}, "callback": { "url": receiver.url(&target) },
        });
        let step = Message::step(&gateway, "echo", &body).signed(gateway.key("first"));
        assert_eq!(step.send().completed()["status"], "completed");
    }
    wait_for("both letters", || (letters(&gateway).len() == 2).then_some(()));
    gateway.kill_hard();
    for (run, days) in &runs {
        gateway.change_history(&format!(
            "UPDATE dead_letters SET dead_at_ms = dead_at_ms - {days} * 86400000 WHERE run = '{run}'"
        ));
    }
    gateway.restart();
    assert_eq!(letters(&gateway).len(), 2);
    gateway.fire_cron();
    let left = letters(&gateway);
    assert_eq!((left.len(), &left[0]["run"]), (1, &json!(runs[0].0)));
}
