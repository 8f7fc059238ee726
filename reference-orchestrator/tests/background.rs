//! Steps that a gateway accepts first and ends later, and the state that a run carries, against a fake gateway.

mod support;

use baton::signature::webhook::TOLERANCE_S;
use serde_json::{Value, json};
use support::background::{Delivery, Poll, Put};
use support::stage::Stage;
use support::{Step, assert_fits, plain};

/// A run of one step in the background, with the id `r1`.
fn in_background() -> Value {
    json!({ "run": "r1", "agent": "triage", "input": { "text": "hi" }, "mode": "async" })
}

/// A stage with a registered gateway that answers so.
fn ready(stage: Stage, steps: &[Step], polls: &[Poll]) -> Stage {
    stage.registered();
    stage.fake.steps.lock().expect("the script").extend(steps);
    stage.fake.polls.lock().expect("the script").extend(polls);
    stage
}

#[test]
fn a_callback_ends_a_step_that_waits() {
    let stage = ready(Stage::new(), &[Step::Accept], &[]);
    let request = json!({ "run": "r1", "steps": [
        { "agent": "triage", "input": { "text": "hi" }, "mode": "async" },
        { "agent": "redact", "input": { "text": "hi" } },
    ]});
    let run = stage.begin(request);
    let sent = stage.sent();
    assert_eq!(sent.prefer.as_deref(), Some("respond-async"));
    assert_eq!(sent.callback_url(), format!("{}/callbacks", stage.origin));
    let waiting = stage.until("r1", 0, "waiting");
    assert_eq!(
        (&waiting["status"], &waiting["steps"][0]["outcome"]),
        (&json!("running"), &Value::Null)
    );
    let page = stage.page();
    assert!(page.contains(">waiting<"), "{page}");

    let body = sent.delivery("step.completed", 200, &sent.outcome());
    for again in 1..=2 {
        let answer = Delivery::new("msg_1").send(&sent.callback_url(), &body);
        assert_eq!(answer, (204, Value::Null), "delivery {again}");
    }
    let (status, run) = run.join().expect("an answer");
    assert_eq!((status, &run["status"]), (200, &json!("completed")));
    let (first, second) = (&run["steps"][0], &run["steps"][1]);
    assert_eq!((&first["outcome"], &first["verified"]), (&sent.outcome(), &json!(true)));
    assert_eq!((&first["via"], &second["via"]), (&json!("callback"), &json!("answer")));
    assert_eq!((&first["mode"], &second["mode"]), (&json!("async"), &json!("sync")));
    let calls = first["invocations"].as_array().expect("calls");
    assert_eq!((calls.len(), &calls[0]["http_status"]), (1, &json!(202)));

    let (_, run) = plain("GET", &format!("{}/runs/r1", stage.origin), None);
    let callbacks = run["steps"][0]["callbacks"].as_array().expect("deliveries");
    assert_eq!(callbacks.len(), 1, "{callbacks:?}");
    assert_eq!(
        (&callbacks[0]["id"], &callbacks[0]["type"], &callbacks[0]["receipts"]),
        (&json!("msg_1"), &json!("step.completed"), &json!(2))
    );
    let second = stage.sent();
    assert_eq!((second.prefer, second.body.get("callback")), (None, None));
    assert!(stage.page().contains("by callback"));
}

#[test]
fn a_delivery_counts_if_it_is_signed_and_somebody_waits_for_it() {
    let stage = ready(Stage::new(), &[Step::Accept], &[]);
    let run = stage.begin(in_background());
    let sent = stage.sent();
    stage.until("r1", 0, "waiting");
    let (url, body) = (
        sent.callback_url(),
        sent.delivery("step.completed", 200, &sent.outcome()),
    );
    let right = || Delivery::new("msg_1");
    let check = |delivery: Delivery<'_>, body: &Value, expected: (u16, &str)| {
        let (status, problem) = delivery.send(&url, body);
        assert_eq!((status, problem["code"].as_str()), (expected.0, Some(expected.1)));
        assert_fits("problem", &problem);
    };
    let by = |keys| Delivery { keys, ..right() };
    check(by(&[]), &body, (401, "signature-missing"));
    check(by(&["foreign-callback"]), &body, (401, "signature-invalid"));
    // The right orchestrator's, but for another purpose.
    check(by(&["register"]), &body, (401, "signature-invalid"));
    let late = Delivery {
        timestamp_s: right().timestamp_s - TOLERANCE_S - 60,
        ..right()
    };
    check(late, &body, (401, "signature-expired"));

    let with = |pointer: &str, value: Value| {
        let mut body = body.clone();
        *body.pointer_mut(pointer).expect("the member") = value;
        body
    };
    for (pointer, value, expected) in [
        ("/data/run", json!("other"), (410, "callback-unwanted")),
        ("/data/step", json!("s2"), (410, "callback-unwanted")),
        ("/data/attempt", json!(2), (410, "callback-unwanted")),
        ("/data/agent", json!("redact"), (410, "callback-unwanted")),
        ("/data/idempotency_key", json!("r1/s1/2"), (410, "callback-unwanted")),
        ("/data/answer", json!({ "status": 200 }), (422, "schema-violated")),
        ("/data/answer/body/run", json!("other"), (422, "schema-violated")),
        ("/data/answer/status", json!(202), (422, "schema-violated")),
        ("/data", json!({}), (422, "schema-violated")),
    ] {
        check(right(), &with(pointer, value), expected);
    }
    stage.until("r1", 0, "waiting");

    // The gateway signs with every valid key while one is being replaced.
    let rotating = by(&["foreign-callback", "callback-next"]);
    assert_eq!(rotating.send(&url, &body).0, 204);
    assert_eq!(run.join().expect("an answer").1["status"], "completed");
}

#[test]
fn callbacks_can_be_refused_for_a_test() {
    let stage = ready(Stage::refusing(2), &[Step::Accept], &[]);
    let run = stage.begin(in_background());
    let sent = stage.sent();
    let body = sent.delivery("step.completed", 200, &sent.outcome());
    let answers: Vec<_> = (0..3)
        .map(|_| Delivery::new("msg_1").send(&sent.callback_url(), &body).0)
        .collect();
    assert_eq!(answers, [503, 503, 204]);
    assert_eq!(run.join().expect("an answer").1["steps"][0]["via"], "callback");
}

#[test]
fn a_callback_counts_even_where_the_acceptance_was_lost() {
    let stage = ready(Stage::new(), &[Step::AcceptUnsigned, Step::Accept], &[]);
    let run = stage.begin(in_background());
    let sent = stage.sent();
    let body = sent.delivery("step.completed", 200, &sent.outcome());
    assert_eq!(Delivery::new("msg_1").send(&sent.callback_url(), &body).0, 204);
    let (_, run) = run.join().expect("an answer");
    assert_eq!(
        (&run["status"], &run["steps"][0]["via"]),
        (&json!("completed"), &json!("callback"))
    );
}

#[test]
fn a_lost_callback_does_not_hang_the_step() {
    let polls = [Poll::Running, Poll::EndedUnsigned, Poll::Fault, Poll::Ended];
    let stage = ready(Stage::polling(), &[Step::Accept], &polls);
    let (status, run) = stage.begin(in_background()).join().expect("an answer");
    let step = &run["steps"][0];
    assert_eq!(
        (status, &run["status"], &step["via"]),
        (200, &json!("completed"), &json!("poll"))
    );
    let calls: Vec<_> = step["invocations"]
        .as_array()
        .expect("calls")
        .iter()
        .map(|call| {
            json!([
                call["call"],
                call["http_status"],
                call["verified"],
                call["problem"],
                call["outcome"]
            ])
        })
        .collect();
    assert_eq!(
        calls,
        [
            json!(["invoke", 202, true, null, null]),
            json!(["poll", 200, true, null, null]),
            json!(["poll", 200, false, "answer-unverified", null]),
            json!(["poll", 503, true, "storage-unavailable", null]),
            json!(["poll", 200, true, null, "completed"]),
        ]
    );

    // The callback comes late, and changes nothing but the list of what came.
    let sent = stage.sent();
    let error = json!({ "code": "c", "message": "m", "retryable": true });
    let mut other = sent.outcome();
    (other["status"], other["error"]) = ("failed".into(), error);
    let late = sent.delivery("step.failed", 200, &other);
    assert_eq!(Delivery::new("msg_1").send(&sent.callback_url(), &late).0, 204);
    let (_, after) = plain("GET", &format!("{}/runs/r1", stage.origin), None);
    assert_eq!(
        (&after["steps"][0]["outcome"], &after["steps"][0]["via"]),
        (&step["outcome"], &json!("poll"))
    );
    assert_eq!(after["steps"][0]["callbacks"][0]["type"], "step.failed");
}

#[test]
fn an_answer_that_came_late_is_decided_like_one_that_came_at_once() {
    let stage = ready(Stage::new(), &[Step::Accept; 3], &[]);
    let run = stage.begin(in_background());
    let first = stage.sent();
    let mut failed = first.outcome();
    failed["status"] = "failed".into();
    failed["error"] = json!({ "code": "busy", "message": "busy", "retryable": true });
    let body = first.delivery("step.failed", 200, &failed);
    assert_eq!(Delivery::new("msg_1").send(&first.callback_url(), &body).0, 204);

    let second = stage.sent();
    assert_eq!(
        (second.idempotency_key.as_str(), &second.body["attempt"]),
        ("r1/s1/2", &json!(2))
    );
    let problem = json!({ "code": "deadline-exceeded", "detail": "late", "retryable": true });
    let body = second.delivery("step.failed", 504, &problem);
    assert_eq!(Delivery::new("msg_2").send(&second.callback_url(), &body).0, 204);

    let third = stage.sent();
    assert_eq!(third.idempotency_key, "r1/s1/3");
    let mut cancelled = third.outcome();
    cancelled["status"] = "cancelled".into();
    let body = third.delivery("step.cancelled", 200, &cancelled);
    assert_eq!(Delivery::new("msg_3").send(&third.callback_url(), &body).0, 204);
    let (_, run) = run.join().expect("an answer");
    assert_eq!(
        (&run["status"], &run["steps"][0]["outcome"]["status"]),
        (&json!("failed"), &json!("cancelled"))
    );
}

#[test]
fn a_step_that_timed_out_or_is_forgotten_is_not_asked_for_again() {
    let stage = ready(
        Stage::polling(),
        &[Step::Accept, Step::Accept],
        &[Poll::TimedOut, Poll::Unknown],
    );
    let (_, run) = stage.begin(in_background()).join().expect("an answer");
    let step = &run["steps"][0];
    assert_eq!((&step["status"], &step["attempt"]), (&json!("failed"), &json!(2)));
    assert_eq!(
        (&step["outcome"]["error"]["code"], &step["via"]),
        (&json!("step-unknown"), &json!("poll"))
    );
}

#[test]
fn a_gateway_may_answer_at_once() {
    let stage = ready(Stage::new(), &[Step::Complete], &[]);
    let (_, run) = stage.begin(in_background()).join().expect("an answer");
    assert_eq!(
        (&run["status"], &run["steps"][0]["via"]),
        (&json!("completed"), &json!("answer"))
    );
}

#[test]
fn a_step_waits_no_longer_than_its_run_may_take() {
    let stage = ready(Stage::new(), &[Step::Accept], &[]);
    let mut request = in_background();
    request["deadline_ms"] = 300.into();
    let (_, run) = stage.begin(request).join().expect("an answer");
    let step = &run["steps"][0];
    assert_eq!(step["outcome"]["error"]["code"], "run-deadline-passed");
    assert_eq!(
        (&step["status"], &step["verified"], &step["via"]),
        (&json!("failed"), &json!(false), &Value::Null)
    );
}

#[test]
fn a_run_brings_its_state_along() {
    let stage = ready(Stage::new(), &[], &[]);
    let puts = [Put::KeepUnsigned, Put::Keep];
    stage.fake.puts.lock().expect("the script").extend(puts);
    let request = json!({ "run": "r1", "agent": "triage", "input": 1, "state": { "b": 0.1, "a": [null] } });
    let (_, run) = stage.begin(request).join().expect("an answer");
    assert_eq!(run["status"], "completed");
    assert_eq!(run["state"], json!({ "version": 1, "digest": "sha-256=:x:" }));
    assert_eq!(run["steps"][0]["state_version"], 2);
    let calls: Vec<_> = run["steps"][0]["invocations"]
        .as_array()
        .expect("calls")
        .iter()
        .map(|call| call["call"].clone())
        .collect();
    assert_eq!(calls, ["state", "state", "invoke"]);

    let seen = stage.fake.seen_puts.lock().expect("the states").clone();
    assert_eq!(
        (
            seen[0].path.as_str(),
            seen[0].idempotency_key.as_str(),
            seen[0].if_none_match.as_str()
        ),
        ("/runs/r1/state", "r1/state", "*")
    );
    assert_eq!((seen[0].body.as_str(), seen.len()), (r#"{"b":0.1,"a":[null]}"#, 2));
    assert_eq!(seen[0], seen[1]);
    assert_eq!(stage.sent().body.get("state"), None);
    assert!(stage.page().contains("State version 2"));
}

#[test]
fn without_its_state_a_run_fails() {
    let stage = ready(Stage::new(), &[], &[]);
    stage.fake.puts.lock().expect("the script").push_back(Put::Conflict);
    let request = json!({ "run": "r1", "state": 1, "steps": [{ "agent": "triage", "input": 1 }, { "agent": "redact", "input": 2 }] });
    let (_, run) = stage.begin(request).join().expect("an answer");
    assert_eq!((&run["status"], &run["state"]), (&json!("failed"), &Value::Null));
    assert_eq!(run["steps"][0]["outcome"]["error"]["code"], "state-conflict");
    assert_eq!(run["steps"][1]["status"], "skipped");
    assert_eq!(stage.fake.seen.lock().expect("the steps").try_iter().count(), 0);
}
