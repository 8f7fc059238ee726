//! Further attempts, and deadlines.

use serde_json::{Value, json};

use crate::support::{body, invoke, invoke_as};

fn attempt(body: &Value, number: u32) -> Value {
    let mut body = body.clone();
    body["attempt"] = number.into();
    body
}

#[test]
fn a_retryable_failure_lets_a_further_attempt_run() {
    let body = body(json!({ "code": "busy", "retry_after_ms": 70, "until_attempt": 2 }));
    let first = invoke_as("k1", "fail", &attempt(&body, 1));
    let outcome = first.outcome();
    assert_eq!(outcome["status"], "failed");
    assert_eq!(outcome["error"]["code"], "busy");
    assert_eq!(outcome["error"]["retryable"], true);
    assert_eq!(outcome["error"]["retry_after_ms"], 70);
    assert_eq!(outcome.get("output"), None);

    // An attempt that is not a further one is a mistake, whatever its key.
    let problem = invoke_as("k1b", "fail", &attempt(&body, 1)).problem(409, "attempt-outdated");
    assert_eq!(problem["retryable"], false);

    let second = invoke_as("k2", "fail", &attempt(&body, 2));
    assert!(!second.is_replayed());
    assert_eq!(second.completed()["attempt"], 2);
    assert_eq!(second.completed()["output"]["attempt"], 2);

    // Each attempt keeps its own answer.
    let again = invoke_as("k1", "fail", &attempt(&body, 1));
    assert!(again.is_replayed());
    assert_eq!(again.response.body, first.response.body);
}

#[test]
fn a_final_answer_is_given_to_every_further_attempt() {
    let completed = body(json!({ "text": "hi" }));
    let first = invoke_as("k1", "echo", &attempt(&completed, 1));
    let second = invoke_as("k2", "echo", &attempt(&completed, 2));
    assert_eq!(first.completed(), second.completed());
    assert!(second.is_replayed());

    let failed = body(json!({ "code": "no-luck" }));
    let first = invoke_as("k1", "fail", &attempt(&failed, 1));
    assert_eq!(first.outcome()["error"]["retryable"], false);
    let second = invoke_as("k2", "fail", &attempt(&failed, 2));
    assert!(second.is_replayed());
    assert_eq!(first.response.body, second.response.body);
}

#[test]
fn a_deadline_that_passes_is_a_504_and_the_next_attempt_may_have_longer() {
    let body = body(json!({ "ms": 400 }));
    let within = |number: u32, deadline_ms: u64| {
        let mut body = attempt(&body, number);
        body["deadline_ms"] = deadline_ms.into();
        invoke_as(&format!("k{number}"), "sleep", &body)
    };
    let first = within(1, 100);
    let problem = first.problem(504, "deadline-exceeded");
    assert_eq!(problem["retryable"], true);
    assert!(first.is_signed());
    assert!(
        problem["detail"].as_str().expect("text").contains("100 ms"),
        "{problem}"
    );

    // The same attempt gets the same answer, also when it has more time now.
    let again = within(1, 2_000);
    again.problem_of_stored(504, "deadline-exceeded");
    assert_eq!(again.response.body, first.response.body);

    let second = within(2, 2_000);
    assert!(!second.is_replayed());
    assert_eq!(second.completed()["output"]["slept_ms"], 400);
}

#[test]
fn the_agents_own_deadline_caps_the_callers() {
    let mut body = body(json!({ "ms": 600_000 }));
    body["deadline_ms"] = 300_000.into();
    let problem = invoke("sleep", &body).problem(504, "deadline-exceeded");
    let detail = problem["detail"].as_str().expect("text");
    assert!(detail.contains("2000 ms"), "{detail}");
}

#[test]
fn an_overtaken_attempt_is_outdated() {
    let body = body(json!({ "code": "busy", "retry_after_ms": 1, "until_attempt": 9 }));
    let _ = invoke_as("k3", "fail", &attempt(&body, 3)).outcome();
    invoke_as("k2", "fail", &attempt(&body, 2)).problem(409, "attempt-outdated");
    let outcome = invoke_as("k4", "fail", &attempt(&body, 4)).outcome();
    assert_eq!(outcome["attempt"], 4);
}
