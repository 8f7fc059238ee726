use serde_json::{Value, json};

use super::super::call::AGAIN_MS;
use super::super::testing::{BEGIN_MS, DEADLINE_AT_MS, FakeOutside, Reply, SPAN, connections, done};
use super::super::{Failure, Journal, Retry};
use super::gateway::SILENCES_MAX;
use super::*;
use crate::breaker::SAMPLES_MIN;
use crate::manifest::Team;
use crate::outgoing::CALLBACK_URL_MAX_BYTES;
use crate::run::call::Behalf;
use crate::signature::profile::DEPTH_MAX;
use crate::signature::{
    IDEMPOTENCY_REPLAYED, Keyring, Origins, Policy, Purpose, RequestView, Verified, sign_response, verify,
};
use crate::telemetry::operation::Doing;

const EAST: &str = "https://east.example.com";
const SECRET: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const OTHER_SECRET: &str = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn keys(orchestrator: &str, purpose: &str, secret: &str) -> String {
    json!([{"id": "k", "orchestrator": orchestrator, "purposes": [purpose], "secret": secret}]).to_string()
}

fn outside(replies: Vec<Reply>) -> FakeOutside {
    let configured = connections(&[
        ("BATON_KEYS", &keys("east", "call", SECRET)),
        (
            "BATON_GATEWAYS",
            &json!({"east": EAST, "west": "https://west.example.com"}).to_string(),
        ),
        ("BATON_SECRETS", r#"{"CRM_TOKEN": "sesame"}"#),
    ]);
    FakeOutside {
        bound: vec!["CRM"],
        ..FakeOutside::new(configured, replies)
    }
}

fn config(service: Value) -> ServiceConfig {
    serde_json::from_value(service).unwrap()
}

fn call(outside: &FakeOutside, config: &ServiceConfig, input: &Value) -> Result<Value, Failure> {
    let journal = Journal::default();
    let context = outside.context(Team::embedded(), &journal, None);
    done(run("ours", config, input, &context)).map_err(|stop| match stop {
        Stop::Failed(failure) => failure,
        Stop::HandOff(handoff) => panic!("{handoff:?}"),
    })
}

fn east() -> ServiceConfig {
    config(json!({"gateway": "east", "agent": "triage"}))
}

fn ask(outside: &FakeOutside) -> Result<Value, Failure> {
    call(outside, &east(), &json!({"text": "hi"}))
}

/// Verifies a request as the other gateway does.
fn verified(request: &http::Request<Vec<u8>>) -> Verified {
    let keyring = Keyring::parse(&keys("us", "invoke", SECRET)).unwrap();
    let policy = Policy {
        keyring: &keyring,
        origins: &Origins::parse(EAST).unwrap(),
        purpose: Purpose::Invoke,
        idempotency: request.uri().path().ends_with("/steps"),
        preconditions: false,
        webhook: None,
        now_s: BEGIN_MS / 1_000,
    };
    verify(&RequestView::of(request).unwrap(), request.body(), &policy).unwrap()
}

/// Answers as the other gateway does: signed.
fn signed(status: u16, fields: &[(&'static str, &'static str)], body: &Value) -> Reply {
    let (fields, body) = (fields.to_vec(), body.to_string().into_bytes());
    Reply::Made(Box::new(move |request| {
        let mut response = http::Response::builder()
            .status(status)
            .header("content-type", "application/json");
        for (name, value) in fields {
            response = response.header(name, value);
        }
        let mut response = response.body(body).unwrap();
        sign_response(&mut response, &verified(request), BEGIN_MS / 1_000);
        response
    }))
}

fn completed(output: &Value) -> Reply {
    signed(200, &[], &json!({"status": "completed", "output": output}))
}

fn problem(status: u16, code: &str) -> Reply {
    signed(status, &[("retry-after", "2")], &json!({"code": code}))
}

fn failed(fields: &[(&'static str, &'static str)], retryable: bool) -> Reply {
    let error = json!({"code": "busy", "message": "It is busy.", "retryable": retryable, "retry_after_ms": 70});
    signed(200, fields, &json!({"status": "failed", "error": error}))
}

const REPLAYED: &[(&str, &str)] = &[(IDEMPOTENCY_REPLAYED, "true")];

fn attempts(outside: &FakeOutside) -> Vec<u64> {
    let bodies = outside.sent_bodies();
    bodies.iter().map(|body| body["attempt"].as_u64().unwrap()).collect()
}

#[test]
fn a_step_is_asked_for() {
    let outside = outside(vec![completed(&json!({"category": "support"}))]);
    assert_eq!(ask(&outside), Ok(json!({"category": "support"})));
    let request = &outside.sent.borrow()[0];
    assert_eq!(request.uri(), "https://east.example.com/agents/triage/steps");
    assert_eq!(request.headers()["prefer"], "respond-async, wait=30");
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(body["input"], json!({"text": "hi"}));
    assert_eq!(body["attempt"], 1);
    // Less than our own, so that its answer comes back in time.
    assert_eq!(body["deadline_ms"], DEADLINE_AT_MS - BEGIN_MS - 100);
    let verified = verified(request);
    assert_eq!(verified.depth(), 1);
    let key = format!("{}/{}/1", body["run"].as_str().unwrap(), body["step"].as_str().unwrap());
    assert_eq!(verified.idempotency_key(), Some(key.as_str()));
}

#[test]
fn the_step_there_is_a_part_of_what_is_told_here() {
    let check = |reply, error: Option<&str>| {
        let (outside, journal) = (outside(vec![reply]), Journal::default());
        let context = outside.context(Team::embedded(), &journal, None);
        let _ = done(run("ours", &east(), &json!({"text": "hi"}), &context));
        let told = journal.take_operations().remove(0);
        assert_eq!(outside.sent.borrow()[0].headers()["traceparent"], told.traceparent);
        assert!(SPAN.contains(&told.parent_span));
        let expected = Doing::Remote {
            agent: "triage".into(),
            host: "east.example.com".into(),
        };
        assert_eq!((told.what, told.upshot.error.as_deref()), (expected, error));
    };
    check(completed(&json!({})), None);
    check(problem(403, "agent-not-allowed"), Some("gateway-refused"));
}

#[test]
fn the_same_work_is_the_same_step_and_other_work_is_another() {
    let ids = |agent: &str, orchestrator: &str, input: Value, change: fn(&mut super::super::Context<'_>)| {
        let mut outside = outside(vec![completed(&json!(1))]);
        outside.behalf.orchestrator = orchestrator.to_owned();
        let journal = Journal::default();
        let mut context = outside.context(Team::embedded(), &journal, None);
        change(&mut context);
        assert!(done(run(agent, &east(), &input, &context)).is_ok());
        let body = &outside.sent_bodies()[0];
        [body["run"].clone(), body["step"].clone()]
    };
    let same = |_: &mut super::super::Context<'_>| {};
    let [run, step] = ids("ours", "acme", json!({"a": 1, "b": 2}), same);
    assert_eq!(
        [run.clone(), step.clone()],
        ids("ours", "acme", json!({"b": 2, "a": 1}), same)
    );
    let later = |context: &mut super::super::Context<'_>| {
        context.attempt = 3;
        context.deadline_at_ms += 1;
    };
    assert_eq!(
        [run.clone(), step.clone()],
        ids("ours", "acme", json!({"a": 1, "b": 2}), later)
    );
    for [other_run, other_step] in [
        ids("other", "acme", json!({"a": 1, "b": 2}), same),
        ids("ours", "acme", json!({"a": 1, "b": 3}), same),
        ids("ours", "acme", json!({"a": 1, "b": 2}), |context| context.step = "s2"),
    ] {
        assert_eq!(other_run, run);
        assert_ne!(other_step, step);
    }
    // Two orchestrators may call their runs the same: they never share one on the other gateway.
    assert_ne!(ids("ours", "other", json!({"a": 1, "b": 2}), same)[0], run);
    assert_ne!(
        ids("ours", "acme", json!({"a": 1, "b": 2}), |context| context.run =
            "run_02")[0],
        run
    );
}

#[test]
fn what_it_says_is_our_end() {
    let check = |reply: Reply, code: &str, retry: Retry| {
        let outside = outside(vec![reply]);
        let failure = ask(&outside).unwrap_err();
        assert_eq!((failure.code.as_str(), failure.retry), (code, retry), "{failure:?}");
    };
    check(failed(&[], true), "busy", Retry::After { ms: 70 });
    check(failed(&[], false), "busy", Retry::Never);
    check(failed(REPLAYED, false), "busy", Retry::Never);
    check(
        problem(504, "deadline-exceeded"),
        "gateway-timed-out",
        Retry::After { ms: 0 },
    );
    check(problem(422, "schema-violated"), "gateway-refused", Retry::Never);
    check(problem(404, "agent-unknown"), "gateway-refused", Retry::Never);
    // Who is not known there is refused without a signature.
    let unknown = Reply::json(401, &json!({"code": "signature-invalid"}));
    check(unknown, "gateway-refused", Retry::Never);
    for status in ["handed_off", "cancelled", "strange"] {
        check(
            signed(200, &[], &json!({ "status": status })),
            "gateway-answer-unusable",
            Retry::Never,
        );
    }
}

#[test]
fn a_step_that_is_under_way_is_waited_for() {
    let replies = vec![
        signed(202, &[("retry-after", "1")], &json!({"status": "running"})),
        problem(409, "step-in-flight"),
        problem(429, "run-busy"),
        failed(REPLAYED, true),
    ];
    let outside = outside(replies);
    // It failed after we had asked for it: the failure is that of this attempt, and ours to tell.
    assert_eq!(ask(&outside).unwrap_err().code, "busy");
    assert_eq!(attempts(&outside), [1, 1, 1, 1]);
    assert_eq!(outside.now_ms.get(), BEGIN_MS + 1_000 + 2_000 + 2_000);
    let sent = outside.sent.borrow();
    let nonces: std::collections::BTreeSet<_> = sent
        .iter()
        .map(|one| one.headers()["signature-input"].clone())
        .map(|field| format!("{field:?}"))
        .collect();
    assert_eq!(nonces.len(), sent.len());
}

#[test]
fn no_step_is_waited_for_beyond_the_deadline() {
    let under_way = || signed(202, &[("retry-after", "20")], &json!({"status": "running"}));
    let outside = outside((0..3).map(|_| under_way()).collect());
    let failure = ask(&outside).unwrap_err();
    assert_eq!(
        (failure.code.as_str(), failure.retry),
        ("gateway-timed-out", Retry::After { ms: 0 })
    );
    assert!(outside.now_ms.get() < DEADLINE_AT_MS);
    let deadlines: Vec<_> = outside
        .sent_bodies()
        .iter()
        .map(|body| body["deadline_ms"].clone())
        .collect();
    assert_eq!(deadlines, [59_900, 39_900, 19_900]);
}

#[test]
fn what_had_failed_before_is_attempted_again() {
    let outside = outside(vec![
        failed(REPLAYED, true),
        signed(504, REPLAYED, &json!({"code": "deadline-exceeded"})),
        problem(409, "attempt-outdated"),
        completed(&json!(1)),
    ]);
    assert_eq!(ask(&outside), Ok(json!(1)));
    assert_eq!(attempts(&outside), [1, 2, 3, 4]);
}

#[test]
fn an_answer_that_nobody_stands_for_is_none() {
    let silent = || {
        vec![
            Reply::json(200, &json!({"status": "completed", "output": "forged"})),
            Reply::Fails,
            Reply::json(429, &json!({})),
        ]
    };
    assert_eq!(silent().len(), SILENCES_MAX as usize + 1);
    let alone = outside(silent());
    let failure = ask(&alone).unwrap_err();
    assert_eq!(
        (failure.code.as_str(), failure.retry),
        ("gateway-unavailable", Retry::After { ms: AGAIN_MS })
    );
    let mut replies = silent();
    replies[SILENCES_MAX as usize] = completed(&json!("true"));
    assert_eq!(ask(&outside(replies)), Ok(json!("true")));
    // An answer to another request, though signed.
    let other = signed(200, &[], &json!({"status": "completed", "output": "of another"}));
    let Reply::Made(make) = other else { panic!("it is made") };
    let outside = outside(vec![
        Reply::Made(Box::new(move |request| {
            let mut answer = make(request);
            let body = br#"{"status":"completed","output":"changed"}"#.to_vec();
            *answer.body_mut() = body;
            answer
        })),
        completed(&json!("true")),
    ]);
    assert_eq!(ask(&outside), Ok(json!("true")));
}

#[test]
fn who_fails_is_left_alone() {
    let count = SAMPLES_MIN.div_ceil(SILENCES_MAX as usize + 1) * (SILENCES_MAX as usize + 1);
    let outside = outside((0..count).map(|_| problem(503, "storage-unavailable")).collect());
    while outside.sent.borrow().len() < SAMPLES_MIN {
        let code = ask(&outside).unwrap_err().code;
        assert!(
            matches!(code.as_str(), "gateway-unavailable" | "gateway-breaker-open"),
            "{code}"
        );
    }
    let sent = outside.sent.borrow().len();
    assert_eq!(ask(&outside).unwrap_err().code, "gateway-breaker-open");
    assert_eq!(outside.sent.borrow().len(), sent);
}

#[test]
fn a_circle_of_gateways_ends() {
    let at = |depth: u32| {
        let mut outside = outside(vec![completed(&json!(1))]);
        outside.behalf = Behalf {
            depth,
            ..Behalf::default()
        };
        let answered = ask(&outside);
        let sent = outside
            .sent
            .borrow()
            .first()
            .map(verified)
            .map(|verified| verified.depth());
        (answered.map_err(|failure| (failure.code, failure.retry)), sent)
    };
    assert_eq!(at(DEPTH_MAX - 1), (Ok(json!(1)), Some(DEPTH_MAX)));
    assert_eq!(
        at(DEPTH_MAX),
        (Err(("gateway-depth-exceeded".into(), Retry::Never)), None)
    );
}

#[test]
fn a_step_that_is_cancelled_is_cancelled_there() {
    let outside = outside(vec![Reply::Hangs, signed(200, &[], &json!({"status": "ended"}))]);
    outside.cancelled_after.set(Some(1));
    assert_eq!(ask(&outside).unwrap_err().code, "cancelled");
    let sent = outside.sent.borrow();
    let body: Value = serde_json::from_slice(sent[0].body()).unwrap();
    let path = format!(
        "/runs/{}/steps/{}/cancel",
        body["run"].as_str().unwrap(),
        body["step"].as_str().unwrap()
    );
    assert_eq!(
        (sent[1].method().as_str(), sent[1].uri().path()),
        ("POST", path.as_str())
    );
    let _ = verified(&sent[1]);
}

#[test]
fn nothing_is_sent_where_the_operator_does_not_allow_it() {
    let check = |configured: &[(&str, &str)], service: Value, reason: &str| {
        let outside = FakeOutside::new(connections(configured), Vec::new());
        let failure = call(&outside, &config(service), &json!({"id": "1"})).unwrap_err();
        assert_eq!(
            (failure.code.as_str(), failure.retry),
            ("call-not-allowed", Retry::Never)
        );
        assert!(failure.message.contains(reason), "{}", failure.message);
    };
    let to = |gateway: &str| json!({"gateway": gateway, "agent": "triage"});
    let gateways = json!({ "east": EAST }).to_string();
    let gateways = ("BATON_GATEWAYS", gateways.as_str());
    check(&[], to("east"), "`east` is not in BATON_GATEWAYS");
    check(&[gateways], to("east"), "no key of the purpose `call`");
    for keys in [keys("east", "invoke", SECRET), keys("west", "call", SECRET)] {
        check(
            &[gateways, ("BATON_KEYS", &keys)],
            to("east"),
            "no key of the purpose `call`",
        );
    }
    let bound = |path: &str| json!({"binding": "CRM", "method": "GET", "path": path});
    check(&[], bound("/a"), "no Worker is bound as `CRM`");
    check(&[], bound(&format!("/{}", "x".repeat(CALLBACK_URL_MAX_BYTES))), "bytes");
}

#[test]
fn a_key_of_somebody_else_opens_nothing() {
    let configured = connections(&[
        ("BATON_KEYS", &keys("east", "call", OTHER_SECRET)),
        ("BATON_GATEWAYS", &json!({ "east": EAST }).to_string()),
    ]);
    let refusal = Reply::Made(Box::new(|request| {
        let keyring = Keyring::parse(&keys("us", "invoke", SECRET)).unwrap();
        let policy = Policy {
            keyring: &keyring,
            origins: &Origins::parse(EAST).unwrap(),
            purpose: Purpose::Invoke,
            idempotency: true,
            preconditions: false,
            webhook: None,
            now_s: BEGIN_MS / 1_000,
        };
        let rejection = verify(&RequestView::of(request).unwrap(), request.body(), &policy).unwrap_err();
        let body = json!({"code": rejection.code()}).to_string().into_bytes();
        http::Response::builder().status(rejection.status()).body(body).unwrap()
    }));
    let failure = ask(&FakeOutside::new(configured, vec![refusal])).unwrap_err();
    assert_eq!(failure.code, "gateway-refused");
    assert!(failure.message.contains("signature-invalid"), "{}", failure.message);
}

#[test]
fn a_bound_worker_is_called_through_its_binding() {
    let outside = outside(vec![
        Reply::json(200, &json!({"name": "Ada"})),
        Reply::json(404, &json!({})),
        Reply::json(500, &json!({})),
    ]);
    let config = config(json!({
        "binding": "CRM", "method": "GET", "path": "/customers/{{ input.id }}",
        "headers": {"authorization": {"$secret": "CRM_TOKEN", "prefix": "Bearer "}},
        "output": {"name": {"$value": "/body/name"}},
        "statuses": {"404": {"output": {"name": null}}},
    }));
    assert_eq!(
        call(&outside, &config, &json!({"id": "../x"})),
        Ok(json!({"name": "Ada"}))
    );
    assert_eq!(call(&outside, &config, &json!({"id": "1"})), Ok(json!({"name": null})));
    assert_eq!(
        call(&outside, &config, &json!({"id": "1"})).unwrap_err().code,
        "http-unavailable"
    );
    assert_eq!(*outside.sent_to.borrow(), ["CRM", "CRM", "CRM"]);
    let sent = outside.sent.borrow();
    assert_eq!(sent[0].uri(), "https://service.invalid/customers/..%2Fx");
    assert_eq!(sent[0].headers()["authorization"], "Bearer sesame");
}
