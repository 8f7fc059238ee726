//! `baton run` and `baton dead-letters`, against a gateway of prepared answers.

#[path = "../common/mod.rs"]
mod common;
mod operator;
mod watching;

use std::io::{BufRead as _, BufReader, Read as _};
use std::sync::mpsc;

use common::gateway::{Change, Gateway, Part, Reply};
use common::{Run, baton, baton_with, file, folder, key, start};
use http::Request;

const NONE: Change = |_| ();

const RUN: &str = r#"{"run":"run_01","created_at_ms":1764000010000,"touched_at_ms":1764000011000,"expires_at_ms":1764604810000,"agent":"redact","state":{"version":2,"digest":"sha-256=:AA==:","bytes":7,"etag":"\"2-ab\""},"versions":[{"version":1,"digest":"d","bytes":2,"written_at_ms":1764000010000,"by":"put"}],"steps":[{"step":"s1","attempt":1,"agent":"triage","status":"ended","outcome":"completed"}],"handoffs":[{"handoff":"hnd_1","agent":"redact","from":"triage","reason":"It has names.","at_ms":1764000010000}]}"#;

const COMPLETED: &str = r#"{"status":"completed","run":"run_01","step":"s1","attempt":1,"agent":"triage","output":{"team":"support"},"usage":{"duration_ms":3}}"#;

const CANCELLED: &str =
    r#"{"status":"cancelled","run":"run_01","step":"s1","attempt":1,"agent":"triage","usage":{"duration_ms":3}}"#;
const RUNNING: &str = r#"{"run":"run_01","step":"s1","attempt":1,"idempotency_key":"run_01/s1","agent":"triage","status":"running","executions":1,"accepted_at_ms":1764000010000,"background":true}"#;

const ENDED: &str = r#"{"run":"run_01","step":"s1","attempt":1,"agent":"triage","status":"ended","executions":1,"answer":{"status":200,"body":{"status":"completed","run":"run_01","step":"s1","attempt":1,"agent":"triage","output":1}}}"#;

const ENDED_CANCELLED: &str = r#"{"run":"run_01","step":"s1","attempt":1,"agent":"triage","status":"ended","answer":{"status":200,"body":{"status":"cancelled"}}}"#;

const ENDED_TIMEOUT: &str = r#"{"run":"run_01","step":"s1","attempt":1,"agent":"triage","status":"ended","answer":{"status":504,"body":{"code":"deadline-exceeded","title":"Too late","status":504}}}"#;

const UNKNOWN: &str = r#"{"title":"No such step","status":404,"code":"step-unknown","retryable":false}"#;

const CONFLICT: &str = r#"{"title":"Another state","status":412,"code":"state-conflict","retryable":false,"current_version":4,"current_etag":"\"4-cd\""}"#;

const RECEIPT: &str = r#"{"run":"run_01","version":3,"digest":"sha-256=:AA==:","bytes":9}"#;

fn plain(status: u16, body: &'static str) -> Vec<Reply> {
    vec![Reply::Plain(status, vec![], body, NONE)]
}

/// Runs a command against these replies; gives what came there, too.
fn against(name: &str, replies: Vec<Reply>, arguments: &[&str]) -> (Run, Vec<Request<Vec<u8>>>) {
    let key = key();
    let gateway = Gateway::new(&key, replies);
    let key = file(&folder(name), "key.json", &key);
    let run = baton(&[arguments, &["--key", &key, "--gateway", &gateway.origin]].concat());
    (run, gateway.requests())
}

fn key_of(agents: &str) -> String {
    record("k1", "invoke", agents)
}

fn record(id: &str, purpose: &str, agents: &str) -> String {
    let secret = "A".repeat(43);
    format!(r#"{{"id":"{id}","orchestrator":"o","purposes":["{purpose}"],"agents":{agents},"secret":"{secret}="}}"#)
}

#[track_caller]
fn check(name: &str, replies: Vec<Reply>, arguments: &[&str], code: i32, said: &[&str], asked: &str) -> Run {
    let (run, requests) = against(name, replies, arguments);
    let run = run.expect(code, said);
    let request = requests.last().expect("a request");
    assert_eq!(
        format!(
            "{} {}",
            request.method(),
            request.uri().path_and_query().expect("a target")
        ),
        asked
    );
    run
}

#[test]
fn a_run_is_shown() {
    let said = [
        "run run_01  with redact",
        "State  version 2  7 bytes  --if-match 2-ab",
        "s1    1        triage  completed",
        "triage to redact: It has names.",
        "signature verified with key k1",
    ];
    check(
        "run-show",
        plain(200, RUN),
        &["run", "show", "run_01"],
        0,
        &said,
        "GET /runs/run_01",
    );
    let json = ["run", "show", "run_01", "--json"];
    let run = check("run-show-json", plain(200, RUN), &json, 0, &[], "GET /runs/run_01");
    assert_eq!(run.stdout, format!("{RUN}\n"));
    let said = ["step  attempt", "s1    1        triage  completed"];
    check(
        "run-steps",
        plain(200, RUN),
        &["run", "steps", "run_01"],
        0,
        &said,
        "GET /runs/run_01",
    );
    let said = ["refused  404 step-unknown"];
    check(
        "run-unknown",
        plain(404, UNKNOWN),
        &["run", "show", "run_01"],
        3,
        &said,
        "GET /runs/run_01",
    );
    check(
        "run-strange",
        plain(200, "{}"),
        &["run", "steps", "r"],
        4,
        &["has no `steps`"],
        "GET /runs/r",
    );
}

#[test]
fn ids_are_any_text() {
    check(
        "run-ids",
        plain(200, RUNNING),
        &["run", "step", "a/b ü", "..."],
        0,
        &["running"],
        "GET /runs/a%2Fb%20%C3%BC/steps/...",
    );
    for id in [".", "..", "", "a\u{7}"] {
        baton(&["run", "show", id]).expect(2, &["id"]);
    }
}

#[test]
fn a_state_is_printed_byte_by_byte() {
    const STATE: &str = "{ \"a\": 1.0 }\n\n";
    let state = || vec![Reply::Plain(200, vec![("etag", "\"3-ab\"")], STATE, NONE)];
    let run = check("state", state(), &["run", "state", "r"], 0, &[], "GET /runs/r/state");
    assert_eq!(
        (run.stdout.as_str(), run.stderr.as_str()),
        (STATE, "version 3  --if-match 3-ab\n")
    );
    let json = ["run", "state", "r", "--version", "3", "--json"];
    let run = check("state-json", state(), &json, 0, &[], "GET /runs/r/state?version=3");
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), (STATE, ""));
    // Any JSON value is a state.
    let run = check(
        "state-null",
        plain(200, "null"),
        &["run", "state", "r"],
        0,
        &[],
        "GET /runs/r/state",
    );
    assert_eq!(run.stdout, "null");
    let gone = r#"{"title":"Gone","status":410,"code":"state-version-gone"}"#;
    let said = ["410 state-version-gone"];
    check(
        "state-gone",
        plain(410, gone),
        &["run", "state", "r"],
        3,
        &said,
        "GET /runs/r/state",
    );
    let other = vec![Reply::Plain(200, vec![("etag", "\"3-ab\"")], STATE, |response| {
        let etag = http::HeaderValue::from_static("\"4-ab\"");
        response.headers_mut().insert("etag", etag);
    })];
    check(
        "state-etag",
        other,
        &["run", "state", "r"],
        4,
        &["signature-invalid"],
        "GET /runs/r/state",
    );
    let forged = vec![Reply::Plain(200, vec![], STATE, |response| {
        *response.body_mut() = b"{}".to_vec()
    })];
    let run = check(
        "state-forged",
        forged,
        &["run", "state", "r"],
        4,
        &["content-digest-invalid"],
        "GET /runs/r/state",
    );
    assert_eq!(run.stdout, "");
}

#[test]
fn a_state_is_put_under_a_condition() {
    let put = |name: &str, replies, more: &[&str], code, said: &[&str]| {
        let (run, mut requests) = against(name, replies, &[&["run", "put-state", "run_01"], more].concat());
        run.expect(code, said);
        let request = requests.pop().expect("a request");
        assert_eq!(
            format!("{} {}", request.method(), request.uri().path()),
            "PUT /runs/run_01/state"
        );
        assert_eq!(request.headers()["content-type"], "application/json");
        request
    };
    let written = || vec![Reply::Plain(201, vec![("etag", "\"3-ab\"")], RECEIPT, NONE)];
    let said = ["written  run run_01  version 3  9 bytes", "takes --if-match 3-ab"];
    let request = put(
        "put-create",
        written(),
        &["--state", "{\"a\": 1.0}", "--create"],
        0,
        &said,
    );
    assert_eq!(request.headers()["if-none-match"], "*");
    assert!(!request.headers().contains_key("if-match"));
    // As it stands: 1.0 is not 1.
    assert_eq!(request.body(), b"{\"a\": 1.0}");

    let more = ["--state", "[]", "--if-match", "2-ab", "--idempotency-key", "k"];
    let request = put("put-match", written(), &more, 0, &said);
    assert_eq!(request.headers()["if-match"], "\"2-ab\"");
    assert_eq!(request.headers()["idempotency-key"], "\"k\"");

    let said = [
        "refused  412 state-conflict",
        "the current state is version 4, --if-match 4-cd",
    ];
    let request = put(
        "put-conflict",
        plain(412, CONFLICT),
        &["--state", "[]", "--if-match", "*"],
        3,
        &said,
    );
    assert_eq!(request.headers()["if-match"], "*");

    baton(&["run", "put-state", "r", "--state", "{}"]).expect(2, &["--if-match", "--create"]);
    baton(&["run", "put-state", "r", "--state", "{}", "--create", "--if-match", "*"])
        .expect(2, &["cannot be used with"]);
    baton(&["run", "put-state", "r", "--state", "{}", "--if-match", "W/\"3\""]).expect(2, &["no entity tag"]);
    baton_with(&["run", "put-state", "r", "--state", "-", "--create"], "{,").expect(2, &["standard input", "line 1"]);
}

#[test]
fn a_step_is_asked_for() {
    let asked = "GET /runs/run_01/steps/s1";
    let step = ["run", "step", "run_01", "s1"];
    let said = [
        "running  triage  run run_01  step s1",
        "accepted 2025-11-24T16:00:10Z  in the background",
    ];
    check("run-step", plain(200, RUNNING), &step, 0, &said, asked);
    check(
        "run-step-ended",
        plain(200, ENDED),
        &step,
        0,
        &["ended  triage", "completed  triage", "output\n1"],
        asked,
    );
    check(
        "run-step-cancelled",
        plain(200, ENDED_CANCELLED),
        &step,
        1,
        &["cancelled"],
        asked,
    );
    check(
        "run-step-timeout",
        plain(200, ENDED_TIMEOUT),
        &step,
        3,
        &["refused  504 deadline-exceeded"],
        asked,
    );
    check(
        "run-step-unknown",
        plain(404, UNKNOWN),
        &step,
        3,
        &["step-unknown"],
        asked,
    );
    let (run, requests) = against(
        "run-step-wait",
        plain(200, ENDED),
        &[&step[..], &["--wait", "30", "--json"]].concat(),
    );
    assert_eq!(run.expect(0, &[]).stdout, format!("{ENDED}\n"));
    assert_eq!(requests[0].headers()["prefer"], "wait=30");
    assert!(!requests[0].headers().contains_key("idempotency-key"));
    baton(&[&step[..], &["--wait", "31"]].concat()).expect(2, &["--wait"]);
}

#[test]
fn a_step_is_cancelled() {
    let asked = "POST /runs/run_01/steps/s1/cancel";
    let cancel = ["run", "cancel", "run_01", "s1"];
    check("cancel", plain(200, ENDED_CANCELLED), &cancel, 0, &["cancelled"], asked);
    check(
        "cancel-late",
        plain(200, ENDED),
        &cancel,
        1,
        &["nothing was cancelled", "completed"],
        asked,
    );
    check(
        "cancel-unknown",
        plain(404, UNKNOWN),
        &cancel,
        3,
        &["step-unknown"],
        asked,
    );
}

#[test]
fn a_run_is_deleted() {
    let said = ["keeps nothing of run r/1"];
    check(
        "delete",
        plain(204, ""),
        &["run", "delete", "r/1"],
        0,
        &said,
        "DELETE /runs/r%2F1",
    );
    let unsigned = vec![Reply::Plain(204, vec![], "", |response| {
        response.headers_mut().remove("signature");
    })];
    check(
        "delete-unsigned",
        unsigned,
        &["run", "delete", "r"],
        4,
        &["is not signed"],
        "DELETE /runs/r",
    );
    check(
        "delete-strange",
        plain(200, "{}"),
        &["run", "delete", "r"],
        4,
        &["no answer to a deletion"],
        "DELETE /runs/r",
    );
}

#[test]
fn a_run_is_handed_over() {
    const RECEIPT: &str = r#"{"handoff":"hnd_1","run":"run_01","agent":"redact","from":"me","reason":"Go on.","version":3,"digest":"sha-256=:AA==:","accepted_at_ms":1764000010000,"traceparent":"00-a-b-01","step":{"run":"run_01","step":"s2","attempt":1,"agent":"redact","status":"accepted"}}"#;
    let handoff = [
        "run", "handoff", "run_01", "--to", "redact", "--from", "me", "--reason", "Go on.",
    ];
    let more = [
        "--state",
        "{\"a\":1}",
        "--version",
        "2",
        "--step",
        "s2",
        "--input",
        "[]",
        "--follow-handoffs",
    ];
    let (run, mut requests) = against("handoff", plain(201, RECEIPT), &[&handoff[..], &more].concat());
    run.expect(
        0,
        &[
            "handed over  run run_01  from me  to redact  hnd_1",
            "state version 3",
            "accepted  redact  run run_01  step s2",
            "to follow it: baton run watch run_01 s2",
            "trace 00-a-b-01",
        ],
    );
    let request = requests.pop().expect("a request");
    assert_eq!(
        format!("{} {}", request.method(), request.uri().path()),
        "POST /agents/redact/handoffs"
    );
    assert_eq!(request.headers()["idempotency-key"], "\"run_01/s2\"");
    assert_eq!(
        String::from_utf8_lossy(request.body()),
        r#"{"run":"run_01","from":"me","reason":"Go on.","state":{"a":1},"version":2,"step":{"step":"s2","attempt":1,"input":[],"follow_handoffs":true}}"#
    );

    let (run, requests) = against("handoff-alone", plain(412, CONFLICT), &handoff);
    run.expect(3, &["refused  412 state-conflict"]);
    let key = requests[0].headers()["idempotency-key"].to_str().expect("text");
    assert!(key.starts_with("\"handoff_"), "{key}");

    baton(&[&handoff[..], &["--step", "s"]].concat()).expect(2, &["--input"]);
    baton(&[&handoff[..], &["--callback", "https://x"]].concat()).expect(2, &["--step"]);
    let key = file(&folder("handoff-nothing"), "key.json", key_of("[\"redact\"]"));
    baton(
        &[
            &handoff[..],
            &[
                "--key",
                &key,
                "--gateway",
                "http://127.0.0.1:1",
                "--idempotency-key",
                "a b",
            ],
        ]
        .concat(),
    )
    .expect(4, &["nothing listens", "--idempotency-key 'a b'"]);
    let other = file(&folder("handoff-key"), "key.json", key_of("[\"triage\"]"));
    baton(&[&handoff[..], &["--key", &other, "--gateway", "http://127.0.0.1:1"]].concat())
        .expect(2, &["no key can sign a call to `redact`", "it may invoke only: triage"]);
}
