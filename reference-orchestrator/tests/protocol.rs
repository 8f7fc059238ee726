//! The orchestrator against a gateway that misbehaves. With a real gateway it is tested in `contract-tests`.

mod support;

use std::time::Duration;

use reference_orchestrator::{outside, server};
use serde_json::{Value, json};
use support::stage::Stage;
use support::{Caller, Challenge, Fake, Manifest, Step, assert_fits, exchange, plain};

#[test]
fn a_challenge_that_is_not_met_registers_nothing() {
    for (how, code) in [
        (Challenge::OtherEcho, "challenge-failed"),
        (Challenge::OtherGateway, "challenge-failed"),
        (Challenge::OtherDigest, "manifest-mismatch"),
        (Challenge::Unsigned, "challenge-failed"),
        (Challenge::SignedByAnotherKey, "challenge-failed"),
        (Challenge::Refused, "challenge-failed"),
        (Challenge::Redirect, "challenge-failed"),
        (Challenge::NoJson, "challenge-failed"),
    ] {
        let stage = Stage::new();
        *stage.fake.challenge.lock().expect("the behaviour") = how;
        stage.refused(&stage.caller(), &stage.fake.registration(), (422, code));
    }
}

#[test]
fn a_manifest_that_is_not_the_one_stated_registers_nothing() {
    for how in [Manifest::OtherBytes, Manifest::Redirect, Manifest::Missing] {
        let stage = Stage::new();
        *stage.fake.serves.lock().expect("the behaviour") = how;
        stage.refused(&stage.caller(), &stage.fake.registration(), (422, "manifest-mismatch"));
    }
    let stage = Stage::new();
    stage.fake.manifest.lock().expect("the manifest")["agents"] = json!([{ "id": "triage" }]);
    stage.refused(&stage.caller(), &stage.fake.registration(), (422, "manifest-mismatch"));
}

#[test]
fn nobody_is_waited_for_longer_than_the_proof_may_take() {
    let stage = Stage::with_proof_max(Duration::from_millis(200));
    *stage.fake.challenge.lock().expect("the behaviour") = Challenge::Silent;
    stage.refused(&stage.caller(), &stage.fake.registration(), (422, "challenge-failed"));
    *stage.fake.challenge.lock().expect("the behaviour") = Challenge::Honest;
    *stage.fake.serves.lock().expect("the behaviour") = Manifest::Silent;
    stage.refused(&stage.caller(), &stage.fake.registration(), (422, "manifest-mismatch"));
}

#[test]
fn what_can_be_refused_without_asking_is() {
    let stage = Stage::new();
    let mut registration = stage.fake.registration();
    registration["manifest"]["url"] = format!("{}/.well-known/baton.json", stage.origin).into();
    stage.refused(&stage.caller(), &registration, (422, "schema-violated"));
    registration["unknown"] = true.into();
    stage.refused(&stage.caller(), &registration, (422, "schema-violated"));
    let limited = Caller {
        key: "limited-register",
        ..stage.caller()
    };
    stage.refused(&limited, &stage.fake.registration(), (403, "key-not-allowed"));
}

#[test]
fn who_is_not_known_gets_no_signed_answer() {
    let stage = Stage::new();
    for (key, expected) in [
        ("foreign-register", (403, "key-not-allowed")),
        ("invoke", (403, "key-not-allowed")),
    ] {
        let caller = Caller { key, ..stage.caller() };
        let (status, problem, signed) = caller.send("POST", "/gateways", Some(&stage.fake.registration()));
        assert_eq!((status, problem["code"].as_str()), (expected.0, Some(expected.1)));
        assert!(!signed);
    }
    let url = format!("{}/gateways", stage.origin);
    let request = http::Request::post(url)
        .header("content-type", "application/json")
        .body(b"{}".to_vec());
    let response = exchange(request.expect("a request"));
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Signature realm=\"baton\"");
    let accepted = response.headers()["accept-signature"].to_str().expect("text");
    assert!(
        accepted.contains("\"idempotency-key\"") && accepted.contains("\"content-digest\""),
        "{accepted}"
    );
}

#[test]
fn a_nonce_is_good_once() {
    let stage = Stage::new();
    let caller = Caller {
        nonce: Some(outside::token()),
        ..stage.caller()
    };
    assert_eq!(
        caller.send("DELETE", "/gateways/reg_none", None),
        (204, Value::Null, true)
    );
    let (status, problem, signed) = caller.send("DELETE", "/gateways/reg_none", None);
    assert_eq!(
        (status, &problem["code"], signed),
        (401, &json!("signature-replayed"), false)
    );
}

#[test]
fn a_lease_from_its_beginning_to_its_end() {
    let stage = Stage::new();
    let registration = stage.registered();
    let lease = format!("/gateways/{registration}/lease");
    let digest = stage.fake.registration()["manifest"]["digest"].clone();
    let renewal = |digest: &Value, generation: u64| json!({ "manifest_digest": digest, "generation": generation, "health": { "status": "ok", "more": 1 } });
    let check = |path: &str, body: &Value, expected: (u16, Option<&str>)| {
        let (status, answer, signed) = stage.caller().send("PUT", path, Some(body));
        assert_eq!((status, answer["code"].as_str()), expected, "{answer}");
        assert!(signed);
    };
    check(&lease, &renewal(&digest, 1), (200, None));
    check(&lease, &renewal(&digest, 2), (409, Some("registration-changed")));
    check(
        &lease,
        &renewal(&json!("sha-256=:x:"), 1),
        (409, Some("registration-changed")),
    );
    check(
        "/gateways/reg_none/lease",
        &renewal(&digest, 1),
        (404, Some("registration-unknown")),
    );

    let listed = plain("GET", &format!("{}/gateways", stage.origin), None).1;
    assert_eq!(
        (&listed[0]["status"], &listed[0]["health"]),
        (&json!("live"), &json!("ok"))
    );
    assert_eq!(
        plain("POST", &format!("{}/admin/forget/{registration}", stage.origin), None).0,
        204
    );
    check(&lease, &renewal(&digest, 1), (404, Some("registration-unknown")));

    let second = stage.registered();
    assert_eq!(
        stage.caller().send("DELETE", &format!("/gateways/{second}"), None),
        (204, Value::Null, true)
    );
    check(
        &format!("/gateways/{second}/lease"),
        &renewal(&digest, 2),
        (410, Some("registration-ended")),
    );
    let listed = plain("GET", &format!("{}/gateways", stage.origin), None).1;
    assert_eq!(
        (&listed[0]["status"], &listed[0]["generation"]),
        (&json!("deregistered"), &json!(2))
    );
}

#[test]
fn a_registration_whose_answer_was_lost_is_the_same_one() {
    let stage = Stage::new();
    let caller = Caller {
        idempotency_key: Some("fake/1".into()),
        ..stage.caller()
    };
    let (_, first, _) = caller.send("POST", "/gateways", Some(&stage.fake.registration()));
    let (status, again, _) = caller.send("POST", "/gateways", Some(&stage.fake.registration()));
    assert_eq!((status, &again["registration"]), (200, &first["registration"]));
    assert_eq!(again["generation"], 1);
    let second = stage.registered();
    assert_ne!(first["registration"], second.as_str());
}

#[test]
fn a_gateway_that_is_live_elsewhere_is_not_taken_over() {
    let stage = Stage::new();
    stage.registered();
    let other = Fake::start(&stage.runtime);
    let (status, problem, signed) = stage.caller().send("POST", "/gateways", Some(&other.registration()));
    assert_eq!(
        (status, &problem["code"], signed),
        (409, &json!("gateway-elsewhere"), true)
    );
}

#[test]
fn only_signed_answers_count_and_retries_repeat_the_same_call() {
    let stage = Stage::new();
    stage.registered();
    let script = [
        Step::CompleteUnsigned,
        Step::UnsignedFault,
        Step::CompleteForAnotherRun,
        Step::InFlight,
        Step::CompleteReplayed,
    ];
    let (run, seen) = stage.run(&script);
    assert_eq!(
        (&run["status"], &run["steps"][0]["verified"]),
        (&json!("completed"), &json!(true))
    );
    let calls = run["steps"][0]["invocations"].as_array().expect("calls");
    let facts: Vec<_> = calls
        .iter()
        .map(|call| {
            json!([
                call["http_status"],
                call["verified"],
                call["outcome"],
                call["problem"],
                call["replayed"]
            ])
        })
        .collect();
    assert_eq!(
        facts,
        [
            json!([200, false, null, "answer-unverified", false]),
            json!([500, false, null, "answer-unverified", false]),
            json!([200, true, null, "answer-invalid", false]),
            json!([409, true, null, "step-in-flight", false]),
            json!([200, true, "completed", null, true]),
        ]
    );
    assert_eq!(seen.len(), script.len());
    for pair in seen.windows(2) {
        assert_eq!(pair[0].bytes, pair[1].bytes);
        assert_eq!(pair[0].idempotency_key, pair[1].idempotency_key);
        assert_ne!(pair[0].nonce, pair[1].nonce);
    }
}

#[test]
fn a_retryable_failure_makes_a_new_attempt() {
    let stage = Stage::new();
    stage.registered();
    let (run, seen) = stage.run(&[Step::FailRetryably]);
    assert_eq!(
        (&run["status"], &run["steps"][0]["attempt"]),
        (&json!("completed"), &json!(2))
    );
    let id = run["run"].as_str().expect("an id");
    let keys: Vec<_> = seen.iter().map(|step| step.idempotency_key.as_str()).collect();
    assert_eq!(keys, [format!("{id}/s1/1"), format!("{id}/s1/2")]);
    assert_eq!(
        (&seen[0].body["attempt"], &seen[1].body["attempt"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(seen[0].body["input"], seen[1].body["input"]);

    let (run, _) = stage.run(&[Step::FailRetryably; 3]);
    assert_eq!(
        (&run["status"], &run["steps"][0]["outcome"]["error"]["code"]),
        (&json!("failed"), &json!("busy"))
    );
}

#[test]
fn a_refusal_ends_the_run() {
    let stage = Stage::new();
    stage.registered();
    stage.fake.steps.lock().expect("the script").push_back(Step::Refuse);
    let steps = json!({ "run": "r1", "steps": [{ "agent": "triage", "input": 1 }, { "agent": "redact", "input": 2 }] });
    let url = format!("{}/runs", stage.origin);
    let (status, run) = plain("POST", &url, Some(&steps));
    assert_eq!((status, &run["status"]), (200, &json!("failed")));
    assert_eq!(run["steps"][0]["outcome"]["error"]["code"], "schema-violated");
    assert_eq!(
        (&run["steps"][1]["status"], &run["steps"][1]["invocations"]),
        (&json!("skipped"), &json!([]))
    );
    let (status, problem) = plain("POST", &url, Some(&steps));
    assert_eq!((status, &problem["code"]), (409, &json!("run-exists")));
}

#[test]
fn a_run_ends_at_its_deadline() {
    let stage = Stage::new();
    stage.registered();
    stage.fake.steps.lock().expect("the script").push_back(Step::Hang);
    let request = json!({ "agent": "triage", "input": 1, "deadline_ms": 300 });
    let (status, run) = plain("POST", &format!("{}/runs", stage.origin), Some(&request));
    assert_eq!((status, &run["status"]), (200, &json!("failed")));
    assert_eq!(run["steps"][0]["outcome"]["error"]["code"], "run-deadline-passed");
    assert_eq!(run["steps"][0]["verified"], false);
}

#[test]
fn a_run_that_the_stop_interrupts_is_not_finished() {
    let stage = Stage::new();
    stage.registered();
    stage.app.stop.request();
    let request = json!({ "agent": "triage", "input": 1 });
    let (status, run) = plain("POST", &format!("{}/runs", stage.origin), Some(&request));
    assert_eq!((status, &run["status"]), (202, &json!("running")));
}

#[test]
fn the_operators_surface() {
    let stage = Stage::new();
    let at = |path: &str| format!("{}{path}", stage.origin);
    assert_eq!(plain("GET", &at("/healthz"), None), (200, json!({ "status": "ok" })));
    for (method, path, body, expected) in [
        ("GET", "/runs/none", None, (404, "run-unknown")),
        ("GET", "/none", None, (404, "not-found")),
        ("PUT", "/runs", None, (405, "method-not-allowed")),
        ("POST", "/runs", None, (415, "media-type-unsupported")),
        (
            "POST",
            "/runs",
            Some(json!({ "agent": "none", "input": 1 })),
            (422, "agent-unknown"),
        ),
        ("POST", "/admin/forget/none", None, (404, "registration-unknown")),
    ] {
        let (status, problem) = plain(method, &at(path), body.as_ref());
        assert_eq!(
            (status, problem["code"].as_str()),
            (expected.0, Some(expected.1)),
            "{method} {path}"
        );
        assert_fits("problem", &problem);
    }
    let big = json!({ "agent": "x".repeat(server::BODY_MAX_BYTES) });
    assert_eq!(plain("POST", &at("/runs"), Some(&big)).1["code"], "body-too-large");

    let get = |path: &str, name: &str, value: &str| {
        exchange(
            http::Request::get(at(path))
                .header(name, value)
                .body(Vec::new())
                .expect("a request"),
        )
    };
    assert_eq!(get("/runs", "origin", "http://evil.example").status(), 403);
    assert_eq!(get("/runs", "host", "evil.example").status(), 403);
    assert_eq!(get("/runs", "origin", &stage.origin).status(), 200);
    let page = get("/", "accept", "text/html");
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(String::from_utf8_lossy(page.body()).contains("No gateway is registered"));
    let response = exchange(http::Request::delete(at("/runs")).body(Vec::new()).expect("a request"));
    let allow = response.headers()["allow"].to_str().expect("text");
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
}
