//! Runs that a gateway hands on, settlements, and every way in which the orchestrator can be told to misbehave.

mod support;

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::stage::Stage;
use support::{Caller, Fake, Step, assert_fits, exchange, plain};

/// What a gateway hands on.
fn handed(run: &str) -> Value {
    json!({
        "run": run, "gateway": "fake", "agent": "triage", "step": "ask", "input": { "b": 0.1, "a": [null] },
        "deadline_ms": 20_000,
    })
}

fn keyed(stage: &Stage, key: &str) -> Caller {
    Caller {
        idempotency_key: Some(key.into()),
        ..stage.caller()
    }
}

/// Hands a run on: status, body, and whether the answer's signature holds.
fn hand_on(stage: &Stage, body: &Value) -> (u16, Value, bool) {
    let run = body["run"].as_str().expect("a run");
    keyed(stage, run).send("POST", "/runs", Some(body))
}

fn settlement(run: &str, output: &Value) -> Value {
    let outcome = json!({
        "status": "completed", "run": run, "step": "ask", "attempt": 1, "agent": "triage", "output": output,
    });
    json!({
        "run": run, "gateway": "fake", "reason": "circuit-open", "routed_at_ms": 1_764_000_000_000_u64,
        "steps": [{
            "step": "ask", "attempt": 1, "agent": "triage", "call_digest": "sha-256=:x:",
            "answer": { "status": 200, "body": outcome },
        }],
        "state": [{ "version": 1, "digest": "sha-256=:y:" }],
    })
}

fn settle(stage: &Stage, number: u32, body: &Value) -> (u16, Value, bool) {
    assert_fits("settlement", body);
    let run = body["run"].as_str().expect("a run");
    let path = format!("/runs/{run}/settlement");
    keyed(stage, &format!("{run}/settlement/{number}")).send("POST", &path, Some(body))
}

fn shown(stage: &Stage, run: &str) -> Value {
    let (status, run) = plain("GET", &format!("{}/runs/{run}", stage.origin), None);
    assert_eq!(status, 200, "{run}");
    run
}

/// Tells the orchestrator how to be.
fn tell(stage: &Stage, behaviour: &Value) {
    let url = format!("{}/admin/behaviour", stage.origin);
    let (status, told) = plain("POST", &url, Some(behaviour));
    assert_eq!(status, 200, "{told}");
    assert_eq!(plain("GET", &url, None), (200, told));
}

/// How many steps the gateway was sent since this was asked last.
fn steps_sent(stage: &Stage) -> usize {
    stage.fake.seen.lock().expect("the steps").try_iter().count()
}

fn assert_refused(found: (u16, Value, bool), status: u16, code: &str) {
    let (found_status, problem, signed) = found;
    assert_eq!(
        (found_status, problem["code"].as_str()),
        (status, Some(code)),
        "{problem}"
    );
    assert!(signed, "{problem}");
    assert_fits("problem", &problem);
}

#[test]
fn a_run_handed_on_is_one_step_there_and_answered_alike() {
    let stage = Stage::new();
    stage.registered();
    let body = handed("r1");
    assert_fits("run-request", &body);
    let (status, answer, signed) = hand_on(&stage, &body);
    assert_eq!((status, signed), (200, true), "{answer}");
    assert_fits("run-answer", &answer);
    assert_eq!(
        (&answer["status"], &answer["verified"]),
        (&json!("completed"), &json!(true))
    );

    let step = stage.sent();
    assert_eq!(step.idempotency_key, "r1/ask/1");
    assert_eq!(step.agent, "triage");
    assert_eq!(
        step.bytes,
        br#"{"attempt":1,"run":"r1","step":"ask","input":{"b":0.1,"a":[null]},"deadline_ms":20000}"#
    );
    assert_eq!(answer["outcome"], step.outcome());

    assert_eq!(hand_on(&stage, &body), (200, answer, true));
    assert_eq!(steps_sent(&stage), 0);
    let mut other = body.clone();
    other["input"] = json!(2);
    assert_refused(hand_on(&stage, &other), 409, "idempotency-mismatch");
    assert_eq!(shown(&stage, "r1")["handed_on_by"], "fake");
    assert!(stage.page().contains("Handed on by fake"));
}

#[test]
fn a_repetition_waits_for_the_same_end() {
    let stage = Stage::new();
    stage.registered();
    stage.fake.steps.lock().expect("the script").extend([Step::InFlight; 3]);
    let body = handed("r1");
    let answers: Vec<_> = thread::scope(|scope| {
        let calls: Vec<_> = (0..3).map(|_| scope.spawn(|| hand_on(&stage, &body))).collect();
        calls.into_iter().map(|call| call.join().expect("an answer")).collect()
    });
    assert_eq!(answers[0].0, 200, "{answers:?}");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    // Three refusals and the outcome, of one attempt.
    assert_eq!(steps_sent(&stage), 4);
}

#[test]
fn a_run_stays_on_the_gateway_that_handed_it_on() {
    let stage = Stage::new();
    stage.registered();
    let other = Fake::start(&stage.runtime);
    other.manifest.lock().expect("the manifest")["gateway"]["id"] = "newer".into();
    let mut registration = other.registration();
    registration["gateway"] = "newer".into();
    let (status, lease, _) = stage.caller().send("POST", "/gateways", Some(&registration));
    assert_eq!(status, 201, "{lease}");
    assert_eq!(hand_on(&stage, &handed("r1")).0, 200);
    assert_eq!(shown(&stage, "r1")["steps"][0]["invocations"][0]["gateway"], "fake");
    assert_eq!(steps_sent(&stage), 1);
}

#[test]
fn a_gateway_that_drains_hands_nothing_on() {
    let stage = Stage::new();
    let lease = format!("/gateways/{}/lease", stage.registered());
    let digest = stage.fake.registration()["manifest"]["digest"].clone();
    let says = |health: &str| {
        let renewal = json!({ "manifest_digest": digest, "generation": 1, "health": { "status": health } });
        assert_eq!(stage.caller().send("PUT", &lease, Some(&renewal)).0, 200);
    };
    says("draining");
    assert_refused(hand_on(&stage, &handed("r1")), 409, "gateway-not-registered");
    says("ok");
    assert_eq!(hand_on(&stage, &handed("r1")).0, 200);
}

#[test]
fn what_cannot_be_taken_is_refused_under_a_signature() {
    let stage = Stage::new();
    assert_refused(hand_on(&stage, &handed("r1")), 409, "gateway-not-registered");
    stage.registered();
    let with = |name: &str, value: Value| {
        let mut body = handed("r1");
        body[name] = value;
        body
    };
    assert_refused(
        hand_on(&stage, &with("gateway", json!("other"))),
        409,
        "gateway-not-registered",
    );
    assert_refused(hand_on(&stage, &with("agent", json!("none"))), 422, "agent-unknown");
    assert_refused(hand_on(&stage, &with("deadline_ms", json!(0))), 422, "schema-violated");
    assert_refused(
        hand_on(&stage, &with("deadline_ms", json!(300_001))),
        422,
        "schema-violated",
    );
    assert_refused(hand_on(&stage, &with("more", json!(1))), 422, "schema-violated");
    let other_key = keyed(&stage, "r2").send("POST", "/runs", Some(&handed("r1")));
    assert_refused(other_key, 422, "schema-violated");
    let limited = Caller {
        key: "limited-register",
        ..keyed(&stage, "r1")
    };
    assert_refused(
        limited.send("POST", "/runs", Some(&handed("r1"))),
        403,
        "key-not-allowed",
    );
    let operators = json!({ "run": "r1", "agent": "triage", "input": 1 });
    assert_eq!(
        plain("POST", &format!("{}/runs", stage.origin), Some(&operators)).0,
        200
    );
    assert_refused(hand_on(&stage, &handed("r1")), 409, "run-exists");
    // An invoke key is the orchestrator's own: who calls with it is not answered under a signature.
    let foreign = Caller {
        key: "invoke",
        ..keyed(&stage, "r2")
    };
    let (status, problem, signed) = foreign.send("POST", "/runs", Some(&handed("r2")));
    assert_eq!(
        (status, &problem["code"], signed),
        (403, &json!("key-not-allowed"), false)
    );
}

#[test]
fn a_failure_is_an_answer_and_a_deadline_is_a_problem() {
    let stage = Stage::new();
    stage.registered();
    stage.fake.steps.lock().expect("the script").push_back(Step::Refuse);
    let (status, answer, _) = hand_on(&stage, &handed("r1"));
    assert_eq!((status, &answer["status"]), (200, &json!("failed")), "{answer}");
    assert_fits("run-answer", &answer);
    assert_eq!(answer["outcome"]["error"]["code"], "schema-violated");

    stage.fake.steps.lock().expect("the script").push_back(Step::Hang);
    let mut late = handed("r2");
    late["deadline_ms"] = json!(300);
    assert_refused(hand_on(&stage, &late), 504, "deadline-exceeded");
    assert_refused(hand_on(&stage, &late), 504, "deadline-exceeded");
}

#[test]
fn a_settlement_of_an_unknown_run_is_written_down_once() {
    let stage = Stage::new();
    let body = settlement("r1", &json!(1));
    let (status, answer, signed) = settle(&stage, 1, &body);
    assert_eq!((status, signed), (200, true), "{answer}");
    assert_fits("settlement-answer", &answer);
    assert_eq!(settle(&stage, 1, &body), (200, answer.clone(), true));
    assert_refused(
        settle(&stage, 1, &settlement("r1", &json!(2))),
        409,
        "idempotency-mismatch",
    );
    assert_refused(settle(&stage, 2, &settlement("r1", &json!(2))), 409, "run-conflict");
    assert_eq!(settle(&stage, 3, &body), (200, answer, true));

    let run = shown(&stage, "r1");
    assert_eq!(run["status"], "settled");
    assert_eq!(
        (&run["steps"][0]["status"], &run["steps"][0]["outcome"]["output"]),
        (&json!("completed"), &json!(1))
    );
    let facts: Vec<_> = run["settlements"].as_array().expect("settlements").iter().collect();
    assert_eq!(facts.len(), 3);
    assert_eq!(
        (&facts[0]["reason"], &facts[0]["settled"]),
        (&json!("circuit-open"), &json!(true))
    );
    assert_eq!(
        (&facts[0]["steps"], &facts[0]["state"]),
        (&body["steps"], &body["state"])
    );
    assert_eq!(facts[1]["settled"], false);
    assert!(stage.page().contains("routed it by itself (circuit-open)"));
}

#[test]
fn a_settlement_agrees_with_an_equal_outcome_and_not_with_another() {
    let stage = Stage::new();
    stage.registered();
    let body = handed("r1");
    let (_, answer, _) = hand_on(&stage, &body);
    let other = settlement("r1", &json!("another"));
    assert_refused(settle(&stage, 1, &other), 409, "run-conflict");
    assert_refused(settle(&stage, 1, &other), 409, "run-conflict");
    assert_eq!(shown(&stage, "r1")["status"], "completed");
    assert_eq!(
        settle(&stage, 2, &settlement("r1", &answer["outcome"]["output"])).0,
        200
    );
    assert_eq!(shown(&stage, "r1")["status"], "settled");
    assert_eq!(hand_on(&stage, &body), (200, answer, true));

    // A gateway does not settle what another one handed on.
    let mut foreign = settlement("r1", &json!(1));
    foreign["gateway"] = "other".into();
    assert_refused(settle(&stage, 3, &foreign), 409, "run-conflict");
}

#[test]
fn a_settlement_ends_a_run_that_is_under_way() {
    let stage = Stage::new();
    stage.registered();
    // Refused for longer than the test takes.
    stage
        .fake
        .steps
        .lock()
        .expect("the script")
        .extend([Step::InFlight; 200]);
    let body = handed("r1");
    let answer = thread::scope(|scope| {
        let call = scope.spawn(|| hand_on(&stage, &body));
        stage.sent();
        assert_eq!(settle(&stage, 1, &settlement("r1", &json!(7))).0, 200);
        let settled_at = Instant::now();
        let answer = call.join().expect("an answer");
        // Long before the refusals are over.
        assert!(settled_at.elapsed() < Duration::from_secs(5), "it was driven on");
        answer
    });
    assert_eq!(
        (answer.0, &answer.1["outcome"]["output"]),
        (200, &json!(7)),
        "{answer:?}"
    );
    steps_sent(&stage);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(steps_sent(&stage), 0, "it is driven no more");
}

#[test]
fn a_settlement_without_the_step_ends_it_without_an_outcome() {
    let stage = Stage::new();
    stage.registered();
    stage
        .fake
        .steps
        .lock()
        .expect("the script")
        .extend([Step::InFlight; 200]);
    let body = handed("r1");
    let (status, answer, _) = thread::scope(|scope| {
        let call = scope.spawn(|| hand_on(&stage, &body));
        stage.sent();
        let mut empty = settlement("r1", &json!(7));
        empty["steps"] = json!([]);
        assert_eq!(settle(&stage, 1, &empty).0, 200);
        call.join().expect("an answer")
    });
    assert_eq!(
        (status, &answer["status"], &answer["verified"]),
        (200, &json!("failed"), &json!(false))
    );
    assert_fits("run-answer", &answer);
    assert_eq!(answer["outcome"]["error"]["code"], "run-settled");
}

#[test]
fn an_own_word_is_no_outcome() {
    let stage = Stage::new();
    stage.registered();
    stage.fake.steps.lock().expect("the script").push_back(Step::Hang);
    let mut body = handed("r1");
    body["deadline_ms"] = json!(200);
    assert_refused(hand_on(&stage, &body), 504, "deadline-exceeded");
    assert_eq!(settle(&stage, 1, &settlement("r1", &json!(7))).0, 200);
    let (status, answer, _) = hand_on(&stage, &body);
    assert_eq!((status, &answer["outcome"]["output"]), (200, &json!(7)));
}

#[test]
fn malformed_settlements() {
    let stage = Stage::new();
    let good = settlement("r1", &json!(1));
    let check = |key: &str, path: &str, body: &Value| {
        let found = keyed(&stage, key).send("POST", path, Some(body));
        assert_refused(found, 422, "schema-violated");
    };
    let (key, path) = ("r1/settlement/1", "/runs/r1/settlement");
    check("r1/settlement/", path, &good);
    check("r1/settlement/x", path, &good);
    check("r2/settlement/1", path, &good);
    check("r1", path, &good);
    check(key, "/runs/r2/settlement", &good);
    for (pointer, value) in [
        ("/reason", json!("")),
        ("/reason", json!("x".repeat(513))),
        ("/gateway", json!("")),
        ("/routed_at_ms", json!(u64::MAX)),
        ("/routed_at_ms", json!(-1)),
        ("/steps/0/attempt", json!(0)),
        ("/steps/0/step", json!("")),
        ("/steps/0/answer", json!({ "status": 200 })),
        ("/steps", json!(vec![good["steps"][0].clone(); 257])),
    ] {
        let mut body = good.clone();
        *body.pointer_mut(pointer).expect("a member") = value;
        check(key, path, &body);
    }
    let (status, _) = plain("GET", &format!("{}/runs/r1", stage.origin), None);
    assert_eq!(status, 404);
}

#[test]
fn misbehaviour_of_the_answer() {
    let stage = Stage::new();
    stage.registered();
    for (number, (behaviour, status, signed)) in [
        (json!({ "runs": "garbage" }), 200, true),
        (json!({ "runs": "status", "status": 401 }), 401, true),
        (json!({ "runs": "status", "status": 403 }), 403, true),
        (json!({ "runs": "status", "status": 409 }), 409, true),
        (json!({ "runs": "status", "status": 500 }), 500, true),
    ]
    .into_iter()
    .enumerate()
    {
        tell(&stage, &behaviour);
        let (found, body, is_signed) = hand_on(&stage, &handed(&format!("r{number}")));
        assert_eq!((found, is_signed), (status, signed), "{behaviour}: {body}");
        if status == 200 {
            assert_eq!(body, Value::Null, "no JSON");
        } else {
            assert_fits("problem", &body);
        }
        assert_eq!(steps_sent(&stage), 0, "{behaviour}");
    }
    for way in ["wrongly_signed", "unsigned"] {
        tell(&stage, &json!({ "runs": way }));
        let (status, body, signed) = hand_on(&stage, &handed(way));
        assert_eq!((status, signed), (200, false), "{body}");
        assert_fits("run-answer", &body);
        assert_eq!(steps_sent(&stage), 1, "{way}");
    }
    tell(&stage, &json!({ "runs": "slow", "delay_ms": 300 }));
    let begun = Instant::now();
    let (status, _, signed) = hand_on(&stage, &handed("slow"));
    assert_eq!((status, signed), (200, true));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    tell(&stage, &json!({}));
    assert_eq!(hand_on(&stage, &handed("r0")).0, 200);
}

#[test]
fn a_run_begun_behind_a_wrong_answer_has_one_effect() {
    let stage = Stage::new();
    stage.registered();
    for behaviour in [
        json!({ "runs": "status", "status": 503, "start_run": true }),
        json!({ "runs": "garbage", "start_run": true }),
    ] {
        tell(&stage, &behaviour);
        let body = handed(&format!("r-{}", behaviour["runs"].as_str().expect("text")));
        hand_on(&stage, &body);
        hand_on(&stage, &body);
        let step = stage.sent();
        tell(&stage, &json!({}));
        let (status, answer, signed) = hand_on(&stage, &body);
        assert_eq!((status, signed), (200, true), "{answer}");
        assert_eq!(answer["outcome"], step.outcome());
        assert_eq!(steps_sent(&stage), 0);
    }
}

#[test]
fn hanging_ends_with_the_process() {
    let stage = Stage::new();
    stage.registered();
    tell(&stage, &json!({ "runs": "hang", "start_run": true }));
    let body = handed("r1");
    let (status, ..) = thread::scope(|scope| {
        let call = scope.spawn(|| hand_on(&stage, &body));
        let step = stage.sent();
        stage.until("r1", 0, "completed");
        assert_eq!(step.body["run"], "r1");
        thread::sleep(Duration::from_millis(200));
        assert!(!call.is_finished(), "it answers");
        stage.app.stop.request();
        call.join().expect("an answer")
    });
    assert_eq!(status, 503);
}

#[test]
fn registrations_that_are_refused_and_all_calls() {
    let stage = Stage::new();
    let registration = stage.fake.registration();
    for status in [410, 401, 503] {
        tell(
            &stage,
            &json!({ "registration": "status", "registration_status": status }),
        );
        let (found, problem, signed) = stage.caller().send("POST", "/gateways", Some(&registration));
        assert_eq!((found, signed), (status, true), "{problem}");
        assert_fits("problem", &problem);
    }
    tell(&stage, &json!({ "runs": "status", "status": 500, "calls": "all" }));
    assert_eq!(stage.caller().send("POST", "/gateways", Some(&registration)).0, 500);
    assert_eq!(settle(&stage, 1, &settlement("r1", &json!(1))).0, 500);
    tell(&stage, &json!({ "runs": "status", "status": 500 }));
    assert_eq!(stage.caller().send("POST", "/gateways", Some(&registration)).0, 201);
    assert_eq!(settle(&stage, 1, &settlement("r1", &json!(1))).0, 200);
    // Whoever does not sign as a gateway sees the ordinary refusal.
    let request = http::Request::post(format!("{}/runs", stage.origin))
        .header("content-type", "application/json")
        .header("signature-input", "x")
        .body(b"{}".to_vec());
    assert_eq!(exchange(request.expect("a request")).status(), 401);
    let url = format!("{}/admin/behaviour", stage.origin);
    let (status, problem) = plain("POST", &url, Some(&json!({ "runs": "odd" })));
    assert_eq!((status, &problem["code"]), (422, &json!("schema-violated")));
    assert_eq!(plain("POST", &url, None).1["code"], "media-type-unsupported");
}
