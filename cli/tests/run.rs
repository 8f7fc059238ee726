//! `baton run` and `baton dead-letters`, against a gateway of prepared answers.

mod common;

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

fn key_of(agents: &str) -> String {
    record("k1", "invoke", agents)
}

fn record(id: &str, purpose: &str, agents: &str) -> String {
    let secret = "A".repeat(43);
    format!(r#"{{"id":"{id}","orchestrator":"o","purposes":["{purpose}"],"agents":{agents},"secret":"{secret}="}}"#)
}

const BEGINNING: &str = "retry: 1\r\n\r\nid: 1.1\r\nevent: started\r\ndata: {\"execution\":1}\r\n\r\n: keep-alive\r\n\r\nid: 1.2\r\nevent: progress\r\ndata: {\"message\":\"halfway\",\r\ndata: \"fraction\":0.5}\r\n\r\n";
const WATCH: [&str; 4] = ["run", "watch", "run_01", "s1"];

#[test]
fn a_broken_stream_is_taken_up_where_it_broke() {
    let replies = vec![
        // It breaks within an event, which comes again then.
        Reply::Stream(vec![
            Part::Text(BEGINNING),
            Part::Text("id: 1.3\ndata: {\"text\":\"lost"),
        ]),
        Reply::Stream(vec![
            Part::Text("id: 1.3\nevent: delta\ndata: {\"text\":\"one \"}\n\n"),
            Part::Text("id: 1.4\nevent: delta\ndata: {\"text\":\"two\\u001b\"}\n\nid: 1.5\nevent: new\ndata: x\n\n"),
            Part::Outcome(200, COMPLETED, NONE),
        ]),
    ];
    let (run, requests) = against("watch", replies, &WATCH);
    let run = run.expect(
        0,
        &[
            "completed  triage  run run_01  step s1",
            "signature verified with key k1",
        ],
    );
    assert!(
        run.stderr.starts_with("begun\n 50 %  halfway\nthe stream broke ("),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.ends_with("taking it up again\none two\u{fffd}\n"),
        "{}",
        run.stderr
    );
    assert!(run.stdout.starts_with("completed"), "{}", run.stdout);
    let header = |index: usize, name: &str| {
        requests[index]
            .headers()
            .get(name)
            .map(|value| value.to_str().expect("text"))
    };
    assert_eq!(
        (header(0, "last-event-id"), header(1, "last-event-id")),
        (None, Some("1.2"))
    );
    assert_eq!(header(0, "accept"), Some("text/event-stream"));
    assert_ne!(
        header(0, "signature"),
        header(1, "signature"),
        "each request is signed anew"
    );
    assert_eq!(requests[0].uri().path(), "/runs/run_01/steps/s1");
}

#[test]
fn watching_begins_where_one_says_and_prints_the_outcome_alone() {
    let replies = vec![Reply::Stream(vec![
        Part::Text(BEGINNING),
        Part::Outcome(200, COMPLETED, NONE),
    ])];
    let (run, requests) = against(
        "watch-json",
        replies,
        &[&WATCH[..], &["--json", "--last-event-id", "1.0"]].concat(),
    );
    assert_eq!(run.expect(0, &[]).stdout, format!("{COMPLETED}\n"));
    assert_eq!(requests[0].headers()["last-event-id"], "1.0");
}

#[test]
fn what_comes_is_shown_as_it_comes() {
    let key = key();
    let (go_on, test) = mpsc::channel();
    let parts = vec![
        Part::Text(BEGINNING),
        Part::Wait(test),
        Part::Outcome(200, COMPLETED, NONE),
    ];
    let gateway = Gateway::new(&key, vec![Reply::Stream(parts)]);
    let key = file(&folder("watch-live"), "key.json", &key);
    let arguments = [&WATCH[..], &["--key", &key, "--gateway", &gateway.origin]].concat();
    let mut child = start(&std::env::temp_dir(), &arguments);
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let mut line = || lines.next().expect("a line").expect("text");
    assert_eq!((line(), line()), ("begun".to_owned(), " 50 %  halfway".to_owned()));
    // Only now does the gateway send the outcome.
    go_on.send(()).expect("the gateway waits");
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .expect("a pipe")
        .read_to_string(&mut stdout)
        .expect("text");
    assert!(stdout.starts_with("completed"), "{stdout}");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn an_outcome_that_proves_nothing_is_none() {
    let check = |name: &str, change: Change, said: &str| {
        let replies = vec![Reply::Stream(vec![
            Part::Text(BEGINNING),
            Part::Outcome(200, COMPLETED, change),
        ])];
        let (run, _) = against(name, replies, &WATCH);
        assert_eq!(
            run.expect(4, &[said]).stdout,
            "",
            "nothing that a script could take for an outcome"
        );
    };
    check(
        "watch-forged",
        |response| *response.body_mut() = CANCELLED.as_bytes().to_vec(),
        "content-digest-invalid",
    );
    check(
        "watch-status",
        |response| *response.status_mut() = http::StatusCode::CREATED,
        "signature-invalid",
    );
    let unsign: Change = |response| {
        response.headers_mut().remove("signature");
    };
    check("watch-unsigned", unsign, "is not signed");
    // A plain refusal may come unsigned, by a gateway that does not know the caller. This one knew it.
    let replies = vec![Reply::Stream(vec![Part::Outcome(404, UNKNOWN, unsign)])];
    let (run, _) = against("watch-unsigned-404", replies, &WATCH);
    run.expect(4, &["is not signed"]);
    let replies = vec![Reply::Stream(vec![Part::Text("event: outcome\ndata: {}\n\n")])];
    let (run, _) = against("watch-no-answer", replies, &WATCH);
    run.expect(4, &["the stream's last event is no answer"]);
}

#[test]
fn how_the_watched_step_ended_is_the_exit() {
    let check = |name: &str, status: u16, body: &'static str, code: i32, said: &str| {
        let replies = vec![Reply::Stream(vec![Part::Outcome(status, body, NONE)])];
        let (run, _) = against(name, replies, &WATCH);
        run.expect(code, &[said, "signature verified"]);
    };
    check("watch-cancelled", 200, CANCELLED, 1, "cancelled  triage");
    let failed = r#"{"status":"failed","error":{"code":"attempt-lost","message":"Gone.","retryable":true}}"#;
    check("watch-failed", 200, failed, 1, "attempt-lost: Gone.");
    let handed_off = r#"{"status":"handed_off","handoff":{"agent":"redact","reason":"Names."}}"#;
    check("watch-handed-off", 200, handed_off, 0, "hands off to redact: Names.");
    let problem = r#"{"title":"Too late","status":504,"code":"deadline-exceeded"}"#;
    check("watch-problem", 504, problem, 3, "refused  504 deadline-exceeded");
    let (run, _) = against("watch-unknown", plain(404, UNKNOWN), &WATCH);
    run.expect(3, &["refused  404 step-unknown"]);
}

#[test]
fn a_stream_that_only_breaks_is_given_up() {
    let mut replies = vec![Reply::Stream(vec![Part::Text(BEGINNING)])];
    replies.extend((0..4).map(|_| Reply::Stream(vec![])));
    let (run, requests) = against("watch-broken", replies, &WATCH);
    let run = run.expect(
        4,
        &[
            "the stream broke 5 times in a row",
            "baton run watch run_01 s1 --last-event-id 1.2",
        ],
    );
    assert_eq!((run.stdout.as_str(), requests.len()), ("", 5));
    // The gateway may be refused, or gone for a moment: that counts as a break of what had worked.
    let replies = vec![
        Reply::Stream(vec![Part::Text(BEGINNING)]),
        Reply::Plain(502, vec![], "bad gateway", |response| {
            response.headers_mut().remove("signature");
        }),
        Reply::Plain(503, vec![], r#"{"title":"Busy","status":503,"code":"busy"}"#, NONE),
        Reply::Stream(vec![Part::Outcome(200, COMPLETED, NONE)]),
    ];
    let (run, _) = against("watch-gone-for-a-moment", replies, &WATCH);
    let said = [
        "502 Bad Gateway is not signed",
        "the gateway answered 503 Service Unavailable",
        "completed",
    ];
    run.expect(0, &said);
}

#[test]
fn dead_letters_take_an_operators_key() {
    const LIST: &str = r#"{"dead_letters":[{"delivery":"msg_1","orchestrator":"acme","run":"run_01","step":"s1","url":"https://o.example.com/done","tries":42,"last_error":"503","dead_at_ms":1764000010000}],"next":"abc"}"#;
    let keys = format!(
        "[{},{}]",
        record("caller", "invoke", "[\"*\"]"),
        record("operator", "operate", "[\"*\"]")
    );
    let ask = |name: &str, replies, arguments: &[&str]| {
        let gateway = Gateway::new(&keys, replies);
        let key = file(&folder(name), "keys.json", &keys);
        let run = baton(
            &[
                &["dead-letters"],
                arguments,
                &["--key", &key, "--gateway", &gateway.origin],
            ]
            .concat(),
        );
        let request = gateway.request();
        let asked = format!(
            "{} {}",
            request.method(),
            request.uri().path_and_query().expect("a target")
        );
        (run, asked)
    };
    let (run, asked) = ask(
        "dead-list",
        plain(200, LIST),
        &["list", "--limit", "5", "--cursor", "a/b"],
    );
    let said = [
        "msg_1",
        "42 tries, the last: 503",
        "--cursor abc",
        "signature verified with key operator",
    ];
    run.expect(0, &said);
    assert_eq!(asked, "GET /operator/dead-letters?limit=5&cursor=a%2Fb");

    let (run, asked) = ask("dead-list-plain", plain(200, LIST), &["list", "--json"]);
    assert_eq!(run.expect(0, &[]).stdout, format!("{LIST}\n"));
    assert_eq!(asked, "GET /operator/dead-letters");

    let resent = r#"{"delivery":"msg_1","status":"pending"}"#;
    let (run, asked) = ask("dead-resend", plain(200, resent), &["resend", "msg_1"]);
    run.expect(0, &["pending  msg_1"]);
    assert_eq!(asked, "POST /operator/dead-letters/msg_1/resend");

    let unknown = r#"{"title":"No such delivery","status":404,"code":"delivery-unknown"}"#;
    let (run, _) = ask("dead-unknown", plain(404, unknown), &["resend", "msg_2"]);
    run.expect(3, &["delivery-unknown"]);

    let key = file(&folder("dead-key"), "key.json", key());
    baton(&["dead-letters", "list", "--gateway", "http://127.0.0.1:1", "--key", &key]).expect(
        2,
        &[
            "baton keys new --purpose operate",
            "k1: its purposes do not include `operate`",
        ],
    );
    baton(&["dead-letters", "list", "--limit", "101"]).expect(2, &["--limit"]);
}

#[test]
fn an_operator_looks_at_any_run() {
    let keys = format!("[{}]", record("operator", "operate", "[\"*\"]"));
    for (name, orchestrator, asked) in [
        ("run-of-acme", "acme", "/operator/runs/acme/run_01"),
        ("run-of-nobody", ":gateway", "/operator/runs/%3Agateway/run_01"),
    ] {
        let gateway = Gateway::new(&keys, plain(200, RUN));
        let key = file(&folder(name), "keys.json", &keys);
        let arguments = ["run", "show", "run_01", "--operator", orchestrator];
        let run = baton(&[&arguments, &["--key", &key, "--gateway", &gateway.origin][..]].concat());
        run.expect(0, &["run run_01", "signature verified with key operator"]);
        assert_eq!(gateway.request().uri().path(), asked);
    }
}

#[test]
fn api_keys_take_an_operators_key() {
    const KEY: &str = r#"{"id":"0123456789abcdef","name":"Acme","agents":["triage"],"created_at_ms":1764000010000,"rate":{"burst":10,"per_minute":20},"api_key":"baton_0123456789abcdef_secret"}"#;
    const LIST: &str = r#"{"api_keys":[{"id":"0123456789abcdef","name":"Acme","agents":["*"],"created_at_ms":1764000010000,"revoked_at_ms":1764000011000,"rate":{"burst":10,"per_minute":20}}]}"#;
    let keys = format!("[{}]", record("operator", "operate", "[\"*\"]"));
    let ask = |name: &str, replies, arguments: &[&str]| {
        let gateway = Gateway::new(&keys, replies);
        let key = file(&folder(name), "keys.json", &keys);
        let options = ["--key", &key, "--gateway", &gateway.origin];
        let run = baton(&[&["api-keys"], arguments, &options].concat());
        let request = gateway.request();
        let asked = format!(
            "{} {} {}",
            request.method(),
            request.uri().path_and_query().expect("a target"),
            String::from_utf8_lossy(request.body())
        );
        (run, asked)
    };
    let create = [
        "create",
        "Acme",
        "--agent",
        "triage",
        "--burst",
        "10",
        "--per-minute",
        "20",
    ];
    let (run, asked) = ask("key-create", plain(201, KEY), &create);
    run.expect(
        0,
        &[
            "baton_0123456789abcdef_secret\n",
            "shown once",
            "signature verified with key operator",
        ],
    );
    assert_eq!(
        asked,
        r#"POST /operator/api-keys {"name":"Acme","agents":["triage"],"rate":{"burst":10,"per_minute":20}}"#
    );

    let (run, asked) = ask("key-list", plain(200, LIST), &["list", "--limit", "5"]);
    run.expect(
        0,
        &["0123456789abcdef  Acme", "revoked 2025-11-24T16:00:11Z", "all agents"],
    );
    assert_eq!(asked, "GET /operator/api-keys?limit=5 ");

    let (run, asked) = ask("key-revoke", plain(204, ""), &["revoke", "0123456789abcdef"]);
    run.expect(0, &["the API key 0123456789abcdef is revoked"]);
    assert_eq!(asked, "DELETE /operator/api-keys/0123456789abcdef ");

    let unknown = r#"{"title":"Unknown API key","status":404,"code":"api-key-unknown"}"#;
    let (run, _) = ask("key-unknown", plain(404, unknown), &["revoke", "0123456789abcdef"]);
    run.expect(3, &["api-key-unknown"]);
    // Of a whole key its id is taken; nothing that may be most of one is repeated.
    let whole = format!("baton_0123456789abcdef_{}", "A".repeat(43));
    let (run, asked) = ask("key-whole", plain(204, ""), &["revoke", &whole]);
    let run = run.expect(0, &["the API key 0123456789abcdef is revoked"]);
    assert!(!format!("{}{}", run.stdout, run.stderr).contains("AAA"));
    assert_eq!(asked, "DELETE /operator/api-keys/0123456789abcdef ");
    let run = baton(&["api-keys", "revoke", "baton_0123456789abcdef_secret"]);
    let run = run.expect(2, &["16 hexadecimal digits"]);
    assert!(!format!("{}{}", run.stdout, run.stderr).contains("secret"));
}

#[test]
fn the_history_and_the_outbox_take_an_operators_key() {
    const EXECUTIONS: &str = r#"{"executions":[{"id":"exe_1","orchestrator":"acme","run":"run_01","step":"s1","attempt":1,"execution":1,"agent":"triage","agent_version":"1.0.0","route":"fallback","outcome":"failed","error_code":"boom","started_at_ms":1764000010000,"duration_ms":7,"claimed_until_ms":1764000020000,"input_tokens":null,"output_tokens":null,"trace_id":"","span_id":""}]}"#;
    const OUTBOX: &str = r#"{"waiting":[],"dead_letters":[]}"#;
    const DEAD: &str = r#"{"letter":"evt_1.otlp","status":"dead","reason":"status 400"}"#;
    let keys = format!("[{}]", record("operator", "operate", "[\"*\"]"));
    let check = |name: &str, body: &'static str, arguments: &[&str], exit: i32, said: &str, asked: &str| {
        let gateway = Gateway::new(&keys, plain(200, body));
        let key = file(&folder(name), "keys.json", &keys);
        let run = baton(&[arguments, &["--key", &key, "--gateway", &gateway.origin]].concat());
        run.expect(exit, &[said]);
        let request = gateway.request();
        let target = request.uri().path_and_query().expect("a target");
        assert_eq!(format!("{} {target}", request.method()), asked);
    };
    check(
        "executions",
        EXECUTIONS,
        &["executions", "--outcome", "failed", "--run", "a/b", "--limit", "5"],
        0,
        "triage  failed  boom  7 ms  run run_01",
        "GET /executions?run=a%2Fb&outcome=failed&limit=5",
    );
    check(
        "executions-csv",
        "id,orchestrator",
        &["executions", "--format", "csv"],
        0,
        "id,orchestrator",
        "GET /executions",
    );
    check(
        "metrics",
        r#"{"agent":"triage","count":0}"#,
        &["metrics", "triage", "--window", "7d"],
        0,
        "executions  0 ended",
        "GET /agents/triage/metrics?window=7d",
    );
    check(
        "outbox",
        OUTBOX,
        &["outbox", "list"],
        0,
        "no event was given up",
        "GET /operator/outbox",
    );
    check(
        "outbox-resend",
        DEAD,
        &["outbox", "resend", "evt_1.otlp"],
        1,
        "evt_1.otlp: status 400",
        "POST /operator/outbox/evt_1.otlp/resend",
    );
}
