//! The gateway's log: one JSON line per request, and nothing in it that should not be.

use std::fs;

use contract_tests::answer::Answer;
use contract_tests::environment::repository;
use contract_tests::gateway::{Configured, Gateway, Options, shared};
use contract_tests::keys::{Key, Keys};
use contract_tests::mac::base64;
use contract_tests::message::Message;
use contract_tests::orchestrator::Orchestrator;
use contract_tests::outside::{fresh, wait_for};
use contract_tests::receiver::{Reaction, Receiver};
use serde_json::{Value, json};

use crate::support::{body, invoke, key, signed, step};

/// The fields of a line of this event: those that the operator's page documents, in the table below its name, and no other.
#[track_caller]
fn documented_fields(event: &str) -> Vec<String> {
    let page = fs::read_to_string(repository().join("docs/operations.md")).expect("the operator's page");
    let section = page.split("\n`\"event\":\"").find_map(|section| {
        let rest = section.strip_prefix(event)?;
        rest.strip_prefix("\"`")
    });
    let section = section.unwrap_or_else(|| panic!("the page does not document the line of `{event}`"));
    let rows = section.lines().skip_while(|line| !line.starts_with("| `"));
    let cells = rows.map_while(|row| row.strip_prefix("| ")?.split(" |").next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.chain(["event"]).map(str::to_owned).collect()
}

/// Checks that a line has the documented fields of its event.
#[track_caller]
fn assert_is_documented(line: &Value) {
    let mut names: Vec<_> = line.as_object().expect("an object").keys().cloned().collect();
    let mut fields = documented_fields(line["event"].as_str().expect("text"));
    names.sort_unstable();
    fields.sort_unstable();
    assert_eq!(names, fields, "{line}");
}

/// Waits for a line of this event in the log of a gateway, all of whose lines have the documented fields.
#[track_caller]
pub fn assert_logs(gateway: &Gateway, event: &str) {
    let lines = wait_for(event, || {
        let lines = gateway.events();
        lines.iter().any(|line| line["event"] == event).then_some(lines)
    });
    lines.iter().for_each(assert_is_documented);
}

#[track_caller]
fn check(answer: &Answer, expected: Value) {
    let request_id = answer.header("x-request-id").expect("a request id");
    let line = shared().log_line(request_id);
    assert_is_documented(&line);
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
fn a_step_that_calls_back_is_logged_as_documented_and_its_deliveries_with_its_trace() {
    let receiver = Receiver::start();
    receiver.plan("/done", [Reaction::Status(503), Reaction::Status(410)]);
    let keys = Keys::new([
        Key::new("first", "acme", "invoke"),
        Key::new("register", "acme", "register"),
        Key::new("callback", "acme", "callback"),
    ]);
    let mut orchestrator = Orchestrator::new("acme", &keys, 600_000);
    orchestrator.start();
    let gateway = Gateway::start(Options {
        keys,
        orchestrators: vec![Configured::new("acme", &orchestrator.url()).calling_back([receiver.origin()])],
        variables: vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.origin()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json".to_owned()),
        ],
        history: true,
        ..Options::default()
    });
    let _ = orchestrator.wait_for_live();
    let trace_id = "0af7651916cd43dd8448eb211c80319e";
    let mut body = body(json!({ "name": "Ada", "language": "de" }));
    body["callback"] = json!({ "url": receiver.url("/done") });
    let step = Message::step(&gateway, "greet", &body)
        .header("traceparent", &format!("00-{trace_id}-b7ad6b7169203331-01"))
        .header("prefer", "respond-async")
        .signed_by_baton(gateway.key("first"));
    let accepted = step.send();
    assert_eq!(accepted.status(), 202, "{}", accepted.text());
    for event in [
        "request",
        "execution",
        "agent",
        "delivery",
        "alarm",
        "export",
        "link",
        "link-change",
    ] {
        assert_logs(&gateway, event);
    }
    let lines = gateway.events();
    let execution = lines.iter().find(|line| line["event"] == "execution").expect("a line");
    let deliveries: Vec<_> = lines.iter().filter(|line| line["event"] == "delivery").collect();
    let received = receiver.wait_for("/done", 2);
    for (number, (line, result)) in deliveries.iter().zip(["failed", "refused"]).enumerate() {
        assert_eq!(
            (&line["delivery"], &line["orchestrator"], &line["try"]),
            (&json!(received[number].id()), &json!("acme"), &json!(number + 1))
        );
        assert_eq!((&line["result"], &line["trace_id"]), (&json!(result), &json!(trace_id)));
        let reason = line["reason"].as_str().expect("a reason");
        assert!(reason.contains(["503", "410"][number]), "{line}");
        assert!(is_span_id(&line["span_id"]) && line["duration_ms"].is_u64(), "{line}");
        assert_eq!(line["span_id"], execution["span_id"], "the span of the step");
    }
    assert_eq!(deliveries.len(), 2);
    assert!(
        !gateway.log().contains(receiver.url("/done").as_str()),
        "an address is in the log"
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
