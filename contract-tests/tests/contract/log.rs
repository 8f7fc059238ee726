//! The gateway's log: one JSON line per request, and nothing in it that should not be.

use std::fs;

use contract_tests::answer::Answer;
use contract_tests::environment::repository;
use contract_tests::gateway::shared;
use contract_tests::mac::base64;
use contract_tests::message::Message;
use contract_tests::outside::{fresh, wait_for};
use serde_json::{Value, json};

use crate::support::{body, invoke, key, signed, step};

/// The fields of a request's line: those that the operator's page documents, and no other.
fn documented_fields() -> Vec<String> {
    let page = fs::read_to_string(repository().join("docs/operations.md")).expect("the operator's page");
    let (_, table) = page
        .split_once("`\"event\":\"request\"`")
        .expect("the page documents a request's line");
    let rows = table.lines().skip_while(|line| !line.starts_with("| `"));
    let names = rows
        .take_while(|line| line.starts_with('|'))
        .filter_map(|row| row.strip_prefix("| `")?.split_once('`'));
    let fields = names.map(|(name, _)| name.to_owned());
    fields.chain(["event".to_owned()]).collect()
}

#[track_caller]
fn check(answer: &Answer, expected: Value) {
    let request_id = answer.header("x-request-id").expect("a request id");
    let line = shared().log_line(request_id);
    let mut names: Vec<_> = line
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    let mut fields = documented_fields();
    names.sort_unstable();
    fields.sort_unstable();
    assert_eq!(names, fields);
    assert!(line["duration_ms"].is_u64(), "{line}");
    assert_eq!(line["status"], answer.status(), "{line}");
    assert_eq!(line["method"], answer.request.method.as_str(), "{line}");
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(line[name], *value, "{name} of {line}");
    }
}

#[test]
fn an_agents_own_line_says_where_it_comes_from() {
    let trace_id = "0af7651916cd43dd8448eb211c80319c";
    let mut body = body(json!({ "name": "Ada", "language": "de" }));
    assert_eq!(invoke("greet", &body).completed()["output"]["visit"], 1);
    body["step"] = "s2".into();
    let step = Message::step(&shared(), "greet", &body)
        .header("traceparent", &format!("00-{trace_id}-b7ad6b7169203331-01"))
        .signed_by_baton(key("first"));
    let output = &step.send().completed()["output"];
    assert_eq!(*output, json!({ "text": "Guten Tag, Ada!", "visit": 2 }));
    let mut line = wait_for("the agent's line", || {
        let mut events = shared().events().into_iter();
        events.find(|event| event["event"] == "agent" && event["step"] == "s2" && event["run"] == body["run"])
    });
    let expected = json!({
        "event": "agent", "agent": "greet", "run": body["run"], "step": "s2", "attempt": 1, "trace_id": trace_id,
        "message": "greeted", "fields": { "language": "de", "visit": 2 }, "fields_left_out": false,
    });
    let span_id = line.as_object_mut().and_then(|line| line.remove("span_id"));
    assert!(is_span_id(&span_id.unwrap_or_default()), "{line}");
    assert_eq!(line, expected);
}

fn is_span_id(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A request is a span of its caller's trace, once its caller is proved; nobody else puts a trace into the log.
#[test]
fn a_request_is_logged_with_its_span() {
    let (trace_id, parent) = ("0af7651916cd43dd8448eb211c80319d", "b7ad6b7169203331");
    let traceparent = format!("00-{trace_id}-{parent}-01");
    let line_of = |answer: &Answer| shared().log_line(answer.header("x-request-id").expect("a request id"));
    let mine = body(json!({ "text": "hi" }));
    let step = |path: &str| Message::step(&shared(), path, &mine).header("traceparent", &traceparent);
    let line = line_of(&step("echo").signed_by_baton(key("first")).send());
    assert_eq!(line["trace_id"], trace_id, "{line}");
    assert!(is_span_id(&line["span_id"]) && line["span_id"] != parent, "{line}");
    let unproved = Message::step(&shared(), "echo", &mine)
        .line("traceparent", &traceparent)
        .send();
    let line = line_of(&unproved);
    assert_eq!(
        (&line["trace_id"], &line["span_id"]),
        (&Value::Null, &Value::Null),
        "{line}"
    );
}

#[test]
fn a_step_is_logged_with_how_it_ended() {
    let body = body(json!({ "text": "hi" }));
    let route = "/agents/{agent}/steps";
    let mut expected = json!({
        "route": route, "agent": "echo", "outcome": "completed", "problem": null, "key_id": "first", "replayed": false,
    });
    check(&invoke("echo", &body), expected.clone());
    expected["replayed"] = true.into();
    check(&invoke("echo", &body), expected);
    check(
        &invoke("bad-output", &crate::support::body(json!({}))),
        json!({ "route": route, "agent": "bad-output", "outcome": "failed", "problem": null, "key_id": "first" }),
    );
}

#[test]
fn a_deadline_that_passed_is_logged_with_its_code_each_time_it_is_told() {
    let mut body = body(json!({ "ms": 1_000 }));
    body["deadline_ms"] = 1.into();
    for replayed in [false, true] {
        check(
            &invoke("sleep", &body),
            json!({ "agent": "sleep", "status": 504, "problem": "deadline-exceeded", "replayed": replayed }),
        );
    }
}

#[test]
fn a_refusal_is_logged_with_its_code() {
    let route = "/agents/{agent}/steps";
    // Who claims to be somebody is nobody until that is proved.
    check(
        &signed().body(b"{}").send(),
        json!({ "route": route, "agent": null, "outcome": null, "problem": "content-digest-invalid", "key_id": null }),
    );
    check(
        &step().signed(key("narrow")).send(),
        json!({ "route": route, "agent": null, "problem": "key-not-allowed", "key_id": "narrow" }),
    );
    check(
        &invoke("triage", &body(json!({}))),
        json!({ "route": route, "agent": "triage", "problem": "schema-violated", "key_id": "first" }),
    );
    check(
        &Message::new(&shared(), "GET", "/healthz").send(),
        json!({ "route": "/healthz", "problem": null, "key_id": null, "outcome": null }),
    );
    check(
        &Message::new(&shared(), "GET", "/nothing").send(),
        json!({ "route": null, "problem": "not-found", "key_id": null }),
    );
}

/// What must not be in the log is looked for in all of it, whatever the other tests did meanwhile.
#[test]
fn the_log_has_no_secret_no_body_and_no_signature() {
    let words = [fresh(), fresh(), fresh(), fresh()];
    let answers = [
        invoke("echo", &body(json!({ "text": words[0] }))),
        invoke("redact", &body(json!({ "text": { "wrong": words[1] } }))),
        Message::new(&shared(), "POST", "/agents/echo/steps")
            .with_json(format!("{{\"{}\": nil}}", words[2]).as_bytes())
            .idempotency_key("k")
            .signed(key("first"))
            .send(),
        step().line("x-more", &words[3]).signed(key("first")).send(),
    ];
    for answer in &answers {
        let _ = shared().log_line(answer.header("x-request-id").expect("a request id"));
    }
    let log = shared().log();
    for word in &words {
        assert!(!log.contains(word.as_str()), "a body or a header is in the log: {word}");
    }
    for answer in &answers {
        for name in ["signature", "signature-input", "content-digest"] {
            assert!(!log.contains(answer.request.get(name)), "{name} is in the log");
        }
        let nonce = &answer.request.signer.as_ref().expect("signed").nonce;
        assert!(!log.contains(nonce.as_str()), "a nonce is in the log");
    }
    for id in [
        "first", "second", "narrow", "expired", "future", "register", "hooks", "other",
    ] {
        assert!(
            !log.contains(&base64(&key(id).secret)),
            "the secret of {id} is in the log"
        );
    }
}
