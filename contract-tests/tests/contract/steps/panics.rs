//! A panic in an agent.

use std::thread;

use contract_tests::gateway::shared;
use contract_tests::outside::{now_ms, wait_for};
use serde_json::json;

use crate::log::assert_logs;
use crate::support::{body, invoke};

/// How long the steps sleep that are under way when another one panics, in milliseconds: just within their deadline.
const SLEEP_MS: u64 = 1_900;
/// How many of them there are.
const SLEEPERS: usize = 6;

#[test]
fn a_panic_is_the_failure_of_its_own_step() {
    let body = body(json!({ "panic": true }));
    let answer = invoke("panic", &body);
    let outcome = answer.outcome();
    assert_eq!(outcome["status"], "failed");
    assert_eq!(outcome["error"]["code"], "agent-panicked");
    assert_eq!(outcome["error"]["retryable"], false);
    // Nothing of the message, which may hold a caller's data.
    assert!(!answer.text().contains("told the agent"), "{}", answer.text());
    // It is kept like any other.
    assert!(invoke("panic", &body).is_replayed());
    // The operator finds the place.
    wait_for("the panic's place in the log", || {
        let events = shared().events();
        let place = events.iter().find(|event| event["event"] == "panic")?["place"].clone();
        place.as_str()?.starts_with("src/agent/fixtures.rs:").then_some(())
    });
    assert_logs(&shared(), "panic");
}

#[test]
fn a_panic_harms_no_other_step() {
    let panic = || {
        let began_ms = now_ms();
        let outcome = invoke("panic", &body(json!({ "panic": true }))).outcome();
        assert_eq!(outcome["error"]["code"], "agent-panicked");
        (began_ms, now_ms())
    };
    let (panicked, slept) = thread::scope(|scope| {
        let sleepers: Vec<_> = (0..SLEEPERS)
            .map(|_| scope.spawn(|| invoke("sleep", &body(json!({ "ms": SLEEP_MS }))).completed()))
            .collect();
        // Until all have begun, and beyond: panics before, during and after.
        let panicked: Vec<_> = (0..12).map(|_| panic()).collect();
        let slept: Vec<_> = sleepers
            .into_iter()
            .map(|sleeper| sleeper.join().expect("a sleeper completes"))
            .collect();
        (panicked, slept)
    });
    let disturbed = slept.iter().any(|outcome| {
        let began_ms = outcome["output"]["executed_at_ms"].as_u64().expect("a time");
        panicked
            .iter()
            .any(|(from_ms, to_ms)| began_ms <= *from_ms && *to_ms <= began_ms + SLEEP_MS)
    });
    assert!(
        disturbed,
        "no panic came while a step was under way: {panicked:?} {slept:?}"
    );

    // The gateway goes on as if nothing had been.
    let _ = invoke("echo", &body(json!({}))).completed();
    assert_eq!(
        invoke("panic", &body(json!({ "panic": false }))).completed()["output"],
        json!({ "panicked": false })
    );
}
