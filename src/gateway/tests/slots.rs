//! How many steps of an orchestrator are under way at once.

use super::*;
use crate::config::Orchestrator;

/// A gateway whose orchestrator may have so many.
fn limited(max: u32) -> Bench {
    let mut bench = Bench::new();
    bench.config.orchestrators = vec![Orchestrator {
        id: "o".into(),
        url: "https://o.example".into(),
        callback_origins: Vec::new(),
        fallback_when_refused: false,
        telemetry_url: None,
        max_concurrent_steps: Some(max),
    }];
    bench
}

fn of_step(id: &str) -> Call {
    Call::step(json!({"run": "r", "step": id, "input": {"text": "I cannot log in"}}))
}

fn in_background(call: Call) -> Call {
    call.with(HeaderName::from_static("prefer"), "respond-async")
}

fn handoff() -> Call {
    let body = json!({"run": "r", "from": "me", "reason": "why", "step": {"step": "h", "input": {"text": "x"}}});
    Call {
        body: body.to_string(),
        key: "h".into(),
        ..Call::new("POST", "/agents/triage/handoffs")
    }
}

#[test]
fn a_step_too_many_is_refused_before_its_run_is_asked() {
    let bench = limited(2);
    for id in ["a", "b"] {
        assert_eq!(bench.call(&in_background(of_step(id))).0, 202);
    }
    let asked = bench.platform.asked.borrow().len();
    let (response, record) = bench.send(&of_step("c"));
    assert_eq!(
        (response.status().as_u16(), record.problem),
        (429, Some("steps-too-many"))
    );
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["ratelimit"], "\"steps\";r=0;t=1");
    assert_eq!(
        response.headers()["ratelimit-policy"],
        "\"steps\";q=2;qu=\"concurrent-requests\""
    );
    assert_eq!(bench.platform.asked.borrow().len(), asked);
    bench.check(&handoff(), 429, "steps-too-many");
    // The same step again takes no further slot.
    assert_eq!(bench.call(&in_background(of_step("a"))).0, 202);
    // One that is cancelled has ended, also where nobody had begun it.
    let cancel = Call::new("POST", "/runs/r/steps/b/cancel");
    assert_eq!(bench.call(&cancel).1["status"], "ended");
    assert_eq!(bench.call(&in_background(of_step("d"))).0, 202);
    bench.check(&of_step("c"), 429, "steps-too-many");
    // A slot whose step is never heard of again ends with its claim.
    let now_ms = bench.platform.now_ms.get();
    bench.platform.now_ms.set(now_ms + 60_000);
    assert_eq!(bench.call(&of_step("c")).0, 200);
}

#[test]
fn whatever_ends_in_the_request_gives_its_slot_back() {
    let bench = limited(1);
    // Executed, stored, refused by the run.
    assert_eq!(bench.call(&of_step("a")).0, 200);
    assert_eq!(bench.call(&of_step("a")).0, 200);
    let mut reused = of_step("b");
    reused.key = "r/a".into();
    bench.check(&reused, 422, "idempotency-key-reused");
    // The storage fails.
    bench.platform.faults.replace(vec![Fault::BeforeDoing]);
    bench.check(&of_step("b"), 503, "storage-unavailable");
    // A handoff that is refused, and one that was accepted before.
    let mut conflict = handoff();
    conflict.body = conflict.body.replace("\"run\"", "\"version\":7,\"run\"");
    bench.check(&conflict, 412, "state-conflict");
    assert_eq!(bench.call(&of_step("b")).0, 200);
    assert_eq!(bench.call(&handoff()).0, 201);
    bench.check(&of_step("c"), 429, "steps-too-many");
    assert_eq!(bench.call(&handoff()).0, 200);
    bench.check(&of_step("c"), 429, "steps-too-many");
}

#[test]
fn without_a_limit_nothing_is_counted() {
    let bench = Bench::new();
    assert_eq!(bench.call(&in_background(of_step("a"))).0, 202);
    assert!(bench.platform.slots.borrow().is_empty());
}
