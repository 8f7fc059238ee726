//! Alerts, looked at by the runtime's own cron trigger. The fixture `errors` watches the agent `notify`.

use std::process::Command;
use std::thread;

use contract_tests::command_line::Run;
use contract_tests::environment::Environment;
use contract_tests::folder::Folder;
use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::orchestrator::Orchestrator;
use contract_tests::outside::wait_for;
use contract_tests::receiver::{Reaction, Receiver};
use serde_json::{Value, json};

use crate::log::assert_logs;
use crate::notifications::{HOOK_KEY, options, step};

fn operate(gateway: &Gateway, path: &str, query: &str) -> contract_tests::answer::Answer {
    let message = Message::new(gateway, "GET", path).query(query);
    message.signed(gateway.key("operator")).send()
}

/// Waits until the history has so many executions of the agent.
fn wait_for_history(gateway: &Gateway, count: usize) {
    wait_for("the history", || {
        let page = operate(gateway, "/executions", "agent=notify").json();
        let ended = page["executions"]
            .as_array()?
            .iter()
            .filter(|row| row["outcome"].is_string());
        (ended.count() == count).then_some(())
    });
}

/// What the channel `hook` was told of alerts, the oldest first.
fn told(receiver: &Receiver) -> Vec<Value> {
    let received = receiver.received("/hook");
    let messages = received.iter().map(|received| received.webhook(&[HOOK_KEY], "notice"));
    messages.filter(|message| message["type"] != "notification").collect()
}

fn alert(gateway: &Gateway) -> Value {
    let alerts = operate(gateway, "/operator/alerts", "").message(200, "alerts");
    alerts["alerts"][0].clone()
}

fn baton_alerts(gateway: &Gateway, code: i32) -> String {
    let folder = Folder::new("alerts");
    let key_file = folder.write("key.json", gateway.key("operator").record().to_string());
    let mut command = Command::new(&Environment::get().cli);
    command
        .arg("alerts")
        .env("BATON_GATEWAY", gateway.origin())
        .env("BATON_KEY_FILE", key_file);
    Run::of(&mut command, folder.path()).expect(code).stdout
}

#[test]
fn an_alert_fires_once_is_not_repeated_and_is_over_in_the_end() {
    let receiver = Receiver::start();
    let gateway = Gateway::start(options(&receiver.origin(), "/hook", "/slack"));
    assert_eq!(alert(&gateway)["state"], "well");
    assert!(baton_alerts(&gateway, 0).contains("not looked at yet"));

    // Too few to judge, then enough.
    for failed in 1..=3 {
        gateway.fire_cron();
        assert_eq!(told(&receiver), Vec::<Value>::new(), "after {failed} failures");
        let _ = step(&gateway, &json!({}));
        wait_for_history(&gateway, failed);
    }
    // Two triggers at once, as the platform may fire them, and one more.
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| gateway.fire_cron());
        }
    });
    gateway.fire_cron();
    let firing = told(&receiver);
    assert_eq!(firing.len(), 1, "{firing:#?}");
    assert_eq!(firing[0]["type"], "alert.firing");
    let data = &firing[0]["data"];
    assert_eq!(
        (&data["alert"], &data["value"], &data["firing"]),
        (&json!("errors"), &json!(1.0), &json!(1))
    );
    let slack: Vec<_> = receiver.received("/slack");
    assert_eq!(slack.len(), 1, "{slack:#?}");
    assert!(String::from_utf8_lossy(&slack[0].body).contains("errors is firing"));
    assert_eq!(alert(&gateway)["state"], "firing");
    assert!(baton_alerts(&gateway, 1).starts_with("errors  firing since "));

    // As many that are well: the share is not above one half any more.
    for _ in 0..3 {
        let _ = step(&gateway, &json!({"text": "all well"}));
    }
    wait_for_history(&gateway, 6);
    gateway.fire_cron();
    gateway.fire_cron();
    let told = told(&receiver);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!(told[1]["type"], "alert.resolved");
    assert_eq!(told[1]["data"]["firing"], 1);
    assert_eq!(alert(&gateway)["state"], "well");
    assert_logs(&gateway, "notice");
}

#[test]
fn what_was_told_is_known_after_the_runtime_was_killed() {
    let receiver = Receiver::start();
    let mut gateway = Gateway::start(options(&receiver.origin(), "/hook", "/slack"));
    for _ in 0..3 {
        let _ = step(&gateway, &json!({}));
    }
    wait_for_history(&gateway, 3);
    gateway.fire_cron();
    assert_eq!(told(&receiver).len(), 1);
    gateway.kill_hard();
    gateway.restart();
    gateway.fire_cron();
    assert_eq!(told(&receiver).len(), 1);
    assert_eq!(alert(&gateway)["firings"], 1);
}

#[test]
fn a_lost_lease_is_told_and_that_it_is_held_again() {
    let receiver = Receiver::start();
    let keys = Keys::new([
        Key::new("invoke", "reference", "invoke"),
        Key::new("register", "reference", "register"),
    ]);
    let mut orchestrator = Orchestrator::new("reference", &keys, 60_000);
    let gateway = Gateway::start(Options {
        keys,
        orchestrators: vec![Configured::new("reference", &orchestrator.url())],
        ..options(&receiver.origin(), "/hook", "/slack")
    });
    gateway.fire_cron();
    gateway.fire_cron();
    let lost = told(&receiver);
    assert_eq!(lost.len(), 1, "{lost:#?}");
    assert_eq!(
        (&lost[0]["type"], &lost[0]["data"]["kind"]),
        (&json!("alert.firing"), &json!("lease_lost"))
    );
    orchestrator.start();
    let _ = orchestrator.wait_for_live();
    gateway.fire_cron();
    let held = told(&receiver);
    assert_eq!(held.len(), 2, "{held:#?}");
    assert_eq!(held[1]["type"], "alert.resolved");
}

#[test]
fn an_agent_that_falls_silent_is_told_and_that_it_works_again() {
    let receiver = Receiver::start();
    let mut gateway = Gateway::start(options(&receiver.origin(), "/hook", "/slack"));
    let _ = step(&gateway, &json!({"text": "all well"}));
    wait_for_history(&gateway, 1);
    gateway.fire_cron();
    assert_eq!(told(&receiver), Vec::<Value>::new());
    // Two hours go by.
    gateway.kill_hard();
    gateway.change_history("UPDATE executions SET started_at_ms = started_at_ms - 7200000");
    gateway.restart();
    gateway.fire_cron();
    let silent = told(&receiver);
    assert_eq!(silent.len(), 1, "{silent:#?}");
    let data = &silent[0]["data"];
    assert_eq!(
        (&silent[0]["type"], &data["alert"], &data["kind"]),
        (&json!("alert.firing"), &json!("quiet"), &json!("silence"))
    );
    assert!(data["value"].as_f64().is_some_and(|minutes| minutes >= 120.0), "{data}");
    let _ = step(&gateway, &json!({"text": "all well"}));
    wait_for_history(&gateway, 2);
    gateway.fire_cron();
    let over = told(&receiver);
    assert_eq!(
        (over.len(), &over[1]["type"]),
        (2, &json!("alert.resolved")),
        "{over:#?}"
    );
    assert_eq!(over[1]["data"]["alert"], "quiet");
}

#[test]
fn events_that_wait_for_long_are_told() {
    let receiver = Receiver::start();
    // It is not asked again for minutes: what is written of it here stands.
    receiver.plan("/v1/traces", [Reaction::Status(401)]);
    let mut configured = options(&receiver.origin(), "/hook", "/slack");
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.origin());
    configured.variables.push(endpoint);
    let mut gateway = Gateway::start(configured);
    let _ = step(&gateway, &json!({"text": "all well"}));
    wait_for("the events that wait", || {
        let outbox = operate(&gateway, "/operator/outbox", "").message(200, "outbox");
        (outbox["waiting"].as_array()?.len() == 1).then_some(())
    });
    gateway.fire_cron();
    assert_eq!(told(&receiver), Vec::<Value>::new(), "for seconds only");
    gateway.kill_hard();
    gateway.change_history("UPDATE outbox_lags SET oldest_at_ms = oldest_at_ms - 7200000");
    gateway.restart();
    gateway.fire_cron();
    let stuck = told(&receiver);
    assert_eq!(stuck.len(), 1, "{stuck:#?}");
    let data = &stuck[0]["data"];
    assert_eq!(
        (&stuck[0]["type"], &data["alert"], &data["kind"]),
        (&json!("alert.firing"), &json!("stuck"), &json!("outbox_age"))
    );
    assert!(
        data["text"].as_str().is_some_and(|text| text.contains("`otlp`")),
        "{data}"
    );
}
