//! Failures of agents: the invocation worked, so they are outcomes.

use serde_json::json;

use crate::support::{body, invoke};

#[test]
fn an_output_that_breaks_its_schema_is_the_agents_failure() {
    let answer = invoke("bad-output", &body(json!({})));
    let outcome = answer.outcome();
    assert_eq!(outcome["status"], "failed");
    assert_eq!(outcome["error"]["code"], "output-schema-violated");
    assert_eq!(outcome["error"]["retryable"], false);
    assert_eq!(outcome.get("output"), None, "what broke the schema is not handed out");
}

#[test]
fn an_output_that_is_too_large_is_the_agents_failure() {
    // Input and outcome may each have 1 MiB; the echo of almost so much has a little more than its input.
    let text = "x".repeat(1024 * 1024 - 200);
    let body = body(json!(text));
    let outcome = invoke("echo", &body).outcome();
    assert_eq!(outcome["status"], "failed");
    assert_eq!(outcome["error"]["code"], "output-too-large");
    assert!(invoke("echo", &body).is_replayed());
}

#[test]
fn a_large_output_comes_back_whole_also_from_the_ledger() {
    let text = "ä".repeat(400 * 1024);
    let body = body(json!(text));
    let first = invoke("echo", &body);
    assert_eq!(first.completed()["output"]["input"], body["input"]);
    let stored = invoke("echo", &body);
    assert!(stored.is_replayed());
    assert_eq!(stored.response.body, first.response.body);
}

#[test]
fn an_agents_failure_is_an_outcome_and_not_a_problem() {
    let outcome = invoke("fail", &body(json!({ "code": "no-luck" }))).outcome();
    assert_eq!(outcome["status"], "failed");
    assert_eq!(outcome["error"]["code"], "no-luck");
    assert_eq!(outcome["error"]["retryable"], false);
    assert_eq!(outcome["error"].get("retry_after_ms"), None);
}
