//! How many steps of an orchestrator may be under way at once: at the limit, over it, and after a SIGKILL.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use contract_tests::answer::Answer;
use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::outside::{fresh, wait_for};
use serde_json::{Value, json};

const LIMIT: u32 = 2;

/// The one gateway; a test has it for itself, and all of its slots.
fn gateway() -> MutexGuard<'static, Gateway> {
    static GATEWAY: OnceLock<Mutex<Gateway>> = OnceLock::new();
    let gateway = GATEWAY.get_or_init(|| {
        Mutex::new(Gateway::start(Options {
            keys: Keys::new([
                Key::new("limited", "acme", "invoke"),
                Key::new("free", "other", "invoke"),
            ]),
            orchestrators: vec![Configured::new("acme", "http://127.0.0.1:1").limited_to(LIMIT)],
            ..Options::default()
        }))
    });
    gateway.lock().unwrap_or_else(PoisonError::into_inner)
}

fn step(agent: &str) -> (String, Value) {
    let input = match agent {
        "script" => json!({ "actions": ["await_cancellation"] }),
        "sleep" => json!({ "ms": 60_000 }),
        _ => json!({ "text": "hi" }),
    };
    let run = fresh();
    (run.clone(), json!({ "run": run, "step": "s1", "input": input }))
}

fn message(gateway: &Gateway, agent: &str, body: &Value, key: &str) -> Message {
    Message::step(gateway, agent, body).signed(gateway.key(key))
}

fn accept(gateway: &Gateway, body: &Value) -> Answer {
    let message = Message::step(gateway, "script", body).header("prefer", "respond-async");
    message.signed(gateway.key("limited")).send()
}

fn cancel(gateway: &Gateway, run: &str) {
    let cancel = Message::new(gateway, "POST", &format!("/runs/{run}/steps/s1/cancel"));
    let _ = cancel.signed(gateway.key("limited")).send().message(200, "step-status");
}

#[track_caller]
fn is_refused(answer: &Answer) {
    let problem = answer.problem(429, "steps-too-many");
    assert_eq!(
        (&problem["retryable"], &problem["retry_after_ms"]),
        (&json!(true), &json!(1_000))
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("ratelimit"), Some("\"steps\";r=0;t=1"));
    let policy = format!("\"steps\";q={LIMIT};qu=\"concurrent-requests\"");
    assert_eq!(answer.header("ratelimit-policy"), Some(policy.as_str()));
}

/// Sends a step until there is a slot for it.
fn completes_in_the_end(gateway: &Gateway) {
    let (_, body) = step("echo");
    let answer = wait_for("a slot", || {
        let answer = message(gateway, "echo", &body, "limited").send();
        (answer.status() == 200).then_some(answer)
    });
    assert!(!answer.is_replayed());
}

#[test]
fn at_the_limit_a_step_is_executed_and_over_it_refused_without_effect() {
    let gateway = gateway();
    let held: Vec<_> = (0..LIMIT).map(|_| step("script")).collect();
    for (_, body) in &held {
        assert_eq!(accept(&gateway, body).status(), 202);
    }
    let (run, refused) = step("echo");
    is_refused(&message(&gateway, "echo", &refused, "limited").send());
    is_refused(&accept(&gateway, &step("script").1));
    let handoff = json!({
        "run": fresh(), "from": "me", "reason": "why", "step": { "step": "s1", "input": { "actions": [] } },
    });
    let handoff = Message::post(&gateway, "/agents/script/handoffs", &handoff).idempotency_key("h");
    is_refused(&handoff.signed(gateway.key("limited")).send());
    let look = Message::new(&gateway, "GET", &format!("/runs/{run}"));
    look.signed(gateway.key("limited")).send().problem(404, "run-unknown");
    // A step that holds a slot needs no second one, and others are not limited.
    assert_eq!(accept(&gateway, &held[0].1).status(), 202);
    let _ = message(&gateway, "echo", &step("echo").1, "free").send().completed();
    // Each that ends makes room for another one.
    for (run, _) in &held {
        cancel(&gateway, run);
        completes_in_the_end(&gateway);
    }
}

#[test]
fn a_step_that_is_waited_for_gives_its_slot_back_before_it_is_answered() {
    let gateway = gateway();
    completes_in_the_end(&gateway);
    for _ in 0..3 * LIMIT {
        let _ = message(&gateway, "echo", &step("echo").1, "limited").send().completed();
    }
    // Also one that is refused, or fails.
    let (_, body) = step("echo");
    let _ = message(&gateway, "echo", &body, "limited").send().completed();
    for _ in 0..3 * LIMIT {
        let mut another = body.clone();
        another["input"] = json!({ "text": "another" });
        let another = Message::step(&gateway, "echo", &another).idempotency_key("another");
        another
            .signed(gateway.key("limited"))
            .send()
            .problem(422, "step-reused");
    }
    let _ = message(&gateway, "echo", &step("echo").1, "limited").send().completed();
}

#[test]
fn slots_of_a_killed_gateway_come_back_by_themselves() {
    let mut gateway = gateway();
    completes_in_the_end(&gateway);
    for _ in 0..LIMIT {
        let message = message(&gateway, "sleep", &step("sleep").1, "limited");
        // It outlives the gateway: its answer never comes.
        thread::spawn(move || message.try_send());
    }
    wait_for("all slots to be taken", || {
        let answer = message(&gateway, "echo", &step("echo").1, "limited").send();
        (answer.status() == 429).then_some(())
    });
    gateway.kill_hard();
    gateway.restart();
    completes_in_the_end(&gateway);
    for _ in 0..3 * LIMIT {
        let _ = message(&gateway, "echo", &step("echo").1, "limited").send().completed();
    }
}
