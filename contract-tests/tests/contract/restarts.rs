//! A gateway that is killed with SIGKILL and started again. Each test looks at another part of one such story.

use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use contract_tests::answer::Answer;
use contract_tests::gateway::{Gateway, Options, keys_of_every_kind};
use contract_tests::message::Message;
use contract_tests::outside::{now_ms, wait_for};
use serde_json::{Value, json};

use crate::signatures::replays::check_replayed;
use crate::support::body;

/// How long a claim on the fixture `sleep` holds: its deadline, and the grace for the commit. In milliseconds.
const CLAIM_MS: u64 = 2_000 + 5_000;

struct Story {
    gateway: Gateway,
    /// A step that completed before the kill.
    completed: Answer,
    /// The body of a step that was under way.
    interrupted: Value,
    /// Before it was sent, in Unix milliseconds.
    interrupted_at_ms: u64,
    /// What was answered to the same step right after the restart, and when that was.
    asked_again: (Answer, u64),
}

fn invoke(gateway: &Gateway, agent: &str, body: &Value) -> Answer {
    signed(gateway, agent, body).send()
}

fn signed(gateway: &Gateway, agent: &str, body: &Value) -> Message {
    Message::step(gateway, agent, body).signed_by_baton(gateway.key("first"))
}

fn story() -> &'static Story {
    static STORY: OnceLock<Story> = OnceLock::new();
    STORY.get_or_init(|| {
        let mut gateway = Gateway::start(Options {
            keys: keys_of_every_kind(),
            ..Options::default()
        });
        let completed = invoke(&gateway, "echo", &body(json!({ "text": "hi" })));
        let _ = completed.completed();

        let interrupted = body(json!({ "ms": 1_900 }));
        let interrupted_at_ms = now_ms();
        begin(&gateway, &interrupted);
        gateway.kill_hard();
        gateway.restart();
        let asked_again = invoke(&gateway, "sleep", &interrupted);
        Story {
            gateway,
            completed,
            interrupted,
            interrupted_at_ms,
            asked_again: (asked_again, now_ms()),
        }
    })
}

/// Returns when the step is under way: one of several requests was told so.
fn begin(gateway: &Gateway, body: &Value) {
    let (tell, told) = mpsc::channel();
    for _ in 0..3 {
        let (message, tell) = (signed(gateway, "sleep", body), tell.clone());
        // It outlives this function: its answer never comes.
        thread::spawn(move || {
            if let Ok(answer) = message.try_send() {
                tell.send(answer.status()).ok();
            }
        });
    }
    let first = told.recv_timeout(Duration::from_secs(60)).expect("an answer");
    assert_eq!(first, 409, "the step ended before its duplicates were answered");
}

#[test]
fn a_captured_request_is_refused_after_a_restart_too() {
    let story = story();
    check_replayed(&story.completed.request.send());
}

#[test]
fn a_duplicate_gets_the_stored_answer_after_a_restart_too() {
    let story = story();
    let body: Value = serde_json::from_slice(&story.completed.request.body).expect("the body");
    let again = invoke(&story.gateway, "echo", &body);
    assert!(again.is_replayed());
    assert_eq!(again.response.body, story.completed.response.body);
    // One effect: it was executed at one time.
    assert_eq!(
        again.completed()["output"]["executed_at_ms"],
        story.completed.completed()["output"]["executed_at_ms"]
    );
}

#[test]
fn a_claim_whose_owner_died_is_taken_over_when_it_ends_and_not_before() {
    let story = story();
    let ends_at_ms = story.interrupted_at_ms + CLAIM_MS;
    let check_waiting = |answer: &Answer, answered_at_ms: u64| {
        answer.problem(409, "step-in-flight");
        assert!(answer.header("retry-after").is_some());
        answered_at_ms
    };
    let (first, answered_at_ms) = &story.asked_again;
    if *answered_at_ms < ends_at_ms {
        check_waiting(first, *answered_at_ms);
    }
    let taken_over = wait_for("the claim to end", || {
        let answer = invoke(&story.gateway, "sleep", &story.interrupted);
        if answer.status() == 200 {
            return Some(answer);
        }
        check_waiting(&answer, now_ms());
        None
    });
    let outcome = taken_over.completed();
    let executed_at_ms = outcome["output"]["executed_at_ms"].as_u64().expect("a time");
    assert!(
        executed_at_ms >= ends_at_ms,
        "executed at {executed_at_ms}, the claim held until {ends_at_ms}"
    );
    // From now on it is an answer like any other.
    let again = invoke(&story.gateway, "sleep", &story.interrupted);
    assert!(again.is_replayed());
    assert_eq!(again.completed(), outcome);
}
