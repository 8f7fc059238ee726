//! Duplicates, and requests that arrive together. After a restart: see `restarts.rs`.

use std::thread;

use contract_tests::answer::Answer;
use contract_tests::gateway::shared;
use contract_tests::message::Message;
use contract_tests::outside::fresh;
use serde_json::{Value, json};

use crate::support::{body, invoke, invoke_as, key};

#[test]
fn a_completed_step_says_what_was_asked_and_what_came_of_it() {
    let mut body = body(json!({ "text": "hi", "nested": [1, 2.5, null, "ä"] }));
    body["attempt"] = 1.into();
    let answer = invoke("echo", &body);
    let outcome = answer.completed();
    for member in ["run", "step", "attempt"] {
        assert_eq!(outcome[member], body[member], "{member}");
        assert_eq!(outcome["output"][member], body[member], "{member}, as the agent saw it");
    }
    assert_eq!(outcome["agent"], "echo");
    assert_eq!(outcome["output"]["input"], body["input"]);
    assert_eq!(outcome["output"]["state"], Value::Null);
    assert!(!answer.is_replayed());
    assert_eq!(answer.header("cache-control"), Some("no-store, no-transform"));
}

#[test]
fn a_duplicate_gets_the_stored_answer_to_the_byte() {
    let body = body(json!({ "text": "hi" }));
    let first = invoke("echo", &body);
    let second = invoke("echo", &body);
    assert_eq!(first.completed(), second.completed());
    assert_eq!(first.response.body, second.response.body);
    assert_eq!((first.is_replayed(), second.is_replayed()), (false, true));
    // Each request has an id of its own, the stored answer has not.
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
}

/// The same call in other words: neither the order of members nor white space makes it another one.
#[test]
fn a_duplicate_may_be_spelled_otherwise() {
    let run = fresh();
    let send = |text: &str| {
        Message::new(&shared(), "POST", "/agents/echo/steps")
            .with_json(text.as_bytes())
            .idempotency_key(&format!("{run}/s1"))
            .signed(key("first"))
            .send()
    };
    let first = send(&format!(r#"{{"run":"{run}","step":"s1","input":{{"a":1,"b":[2]}}}}"#));
    let second = send(&format!(
        r#"{{ "input": {{"b": [2], "a": 1}}, "step": "s1", "attempt": 1, "run": "{run}", "deadline_ms": 900 }}"#
    ));
    assert_eq!(first.completed(), second.completed());
    assert!(second.is_replayed());
}

#[test]
fn an_idempotency_key_serves_no_other_call() {
    let first = body(json!({ "text": "hi" }));
    let _ = invoke_as("k", "echo", &first).completed();
    let with = |member: &str, value: Value| {
        let mut other = first.clone();
        other[member] = value;
        other
    };
    for (agent, other) in [
        ("echo", with("input", json!({ "text": "ho" }))),
        ("echo", with("step", "s2".into())),
        ("echo", with("attempt", 2.into())),
        ("echo", with("state", json!({}))),
        ("fail", with("input", json!({ "code": "x" }))),
    ] {
        let answer = invoke_as("k", agent, &other);
        let problem = answer.problem(422, "idempotency-key-reused");
        assert_eq!(problem["retryable"], false);
        assert!(answer.is_signed());
    }
    // What was stored still is.
    assert!(invoke_as("k", "echo", &first).is_replayed());
}

#[test]
fn a_step_serves_no_other_call_under_another_key() {
    let first = body(json!({ "text": "hi" }));
    let _ = invoke_as("one", "echo", &first).completed();
    let mut other = first.clone();
    other["input"] = json!({ "text": "ho" });
    invoke_as("two", "echo", &other).problem(422, "step-reused");
    // The same call under another key is the same step: its answer is final.
    let again = invoke_as("three", "echo", &first);
    assert!(again.is_replayed());
}

/// Sends the same step several times at once, each signed by itself.
fn together(count: usize, agent: &str, body: &Value) -> Vec<Answer> {
    thread::scope(|scope| {
        let calls: Vec<_> = (0..count).map(|_| scope.spawn(|| invoke(agent, body))).collect();
        calls.into_iter().map(|call| call.join().expect("an answer")).collect()
    })
}

#[test]
fn while_a_step_is_in_flight_its_duplicates_are_told_to_wait() {
    let body = body(json!({ "ms": 1_800 }));
    let answers = together(3, "sleep", &body);
    let (executed, waiting): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status() == 200);
    assert_eq!(executed.len(), 1, "{answers:#?}");
    let outcome = executed[0].completed();
    assert!(!executed[0].is_replayed());
    for answer in waiting {
        let problem = answer.problem(409, "step-in-flight");
        assert_eq!(problem["retryable"], true);
        let seconds: u64 = answer
            .header("retry-after")
            .and_then(|text| text.parse().ok())
            .expect("Retry-After in seconds");
        let milliseconds = problem["retry_after_ms"].as_u64().expect("the same in milliseconds");
        assert!((1..=5).contains(&seconds), "{seconds}");
        assert_eq!(milliseconds.div_ceil(1_000).max(1), seconds);
        assert!(answer.is_signed());
    }
    // Who asks again gets the answer.
    let again = invoke("sleep", &body);
    assert!(again.is_replayed());
    assert_eq!(again.completed(), outcome);
}

#[test]
fn of_many_duplicates_at_once_one_is_executed() {
    let body = body(json!({ "text": "hi" }));
    let answers = together(12, "echo", &body);
    let executed = answers
        .iter()
        .filter(|answer| answer.status() == 200 && !answer.is_replayed());
    assert_eq!(executed.count(), 1, "{answers:#?}");
    for answer in &answers {
        match answer.status() {
            200 => assert_eq!(answer.completed(), invoke("echo", &body).completed()),
            _ => drop(answer.problem(409, "step-in-flight")),
        }
    }
}

#[test]
fn steps_of_one_run_are_executed_each() {
    let run = fresh();
    let step = |step: &str| {
        let answer = invoke("echo", &json!({ "run": run, "step": step, "input": {} }));
        assert!(!answer.is_replayed());
        answer.completed()
    };
    assert_eq!(step("a")["step"], "a");
    assert_eq!(step("b")["step"], "b");
}

#[test]
fn a_step_continues_its_callers_trace() {
    let trace_id = "0af7651916cd43dd8448eb211c80319c";
    let answer = Message::step(&shared(), "echo", &body(json!({})))
        .line("traceparent", &format!("00-{trace_id}-b7ad6b7169203331-01"))
        .signed(key("first"))
        .send();
    let traceparent = answer.completed()["trace"]["traceparent"].clone();
    let parts: Vec<_> = traceparent
        .as_str()
        .expect("text")
        .split('-')
        .map(str::to_owned)
        .collect();
    assert_eq!((parts[0].as_str(), parts[1].as_str()), ("00", trace_id));
    assert_ne!(parts[2], "b7ad6b7169203331", "a span of its own");
}
