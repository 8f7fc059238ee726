//! `baton step` and `baton discover`, against nothing and against a gateway of one answer.

mod common;

use std::net::TcpListener;

use common::gateway::{Gateway, Part, Reply};
use common::{Run, baton, baton_in, baton_with, file, folder, key};
use http::Response;

const COMPLETED: &str = r#"{"status":"completed","run":"run_01","step":"s1","attempt":1,"agent":"triage","agent_version":"1.0.0","output":{"team":"support"},"usage":{"duration_ms":3},"trace":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}"#;
const FAILED: &str = r#"{"status":"failed","run":"run_01","step":"s1","attempt":1,"agent":"triage","error":{"code":"no-rule-matched","message":"No rule fits.","retryable":false},"usage":{"duration_ms":3}}"#;
const PROBLEM: &str = r#"{"type":"urn:baton:problem:input-invalid","title":"Input invalid","status":422,"code":"input-invalid","detail":"The input does not fit.","retryable":false,"request_id":"q1","errors":[{"instance":"/text","schema":"/properties/text/type","message":"not a string"}]}"#;

fn step(key: &str, name: &str, gateway: &str, more: &[&str]) -> Run {
    let key = file(&folder(name), "key.json", key);
    let arguments = ["step", "triage", "--key", &key, "--gateway", gateway];
    let input: &[&str] = if more.contains(&"--input") {
        &[]
    } else {
        &["--input", r#"{"text":"hi"}"#]
    };
    baton(&[&arguments, input, more].concat())
}

#[test]
fn a_step_is_signed_sent_verified_and_shown() {
    let key = key();
    let gateway = Gateway::one(&key, 200, COMPLETED, |_| ());
    step(
        &key,
        "step-done",
        &gateway.origin,
        &[
            "--run",
            "run_01",
            "--step",
            "s1",
            "--deadline-ms",
            "500",
            "--state",
            "[1]",
        ],
    )
    .expect(
        0,
        &[
            "completed  triage  run run_01  step s1  attempt 1  3 ms",
            "\"team\": \"support\"",
            "stored answer",
            "signature verified with key k1",
        ],
    );
    let request = gateway.request();
    assert_eq!(request.uri().path(), "/agents/triage/steps");
    assert_eq!(request.headers()["idempotency-key"], "\"run_01/s1\"");
    assert_eq!(
        String::from_utf8_lossy(request.body()),
        r#"{"run":"run_01","step":"s1","attempt":1,"input":{"text":"hi"},"state":[1],"deadline_ms":500}"#
    );
}

#[test]
fn json_is_the_answer_as_it_came() {
    let key = key();
    let gateway = Gateway::one(&key, 200, FAILED, |_| ());
    let run = step(&key, "step-json", &gateway.origin, &["--json"]).expect(1, &[]);
    assert_eq!(run.stdout, format!("{FAILED}\n"));
    assert_eq!(run.stderr, "");
}

#[test]
fn a_refusal_is_shown_with_its_places() {
    let key = key();
    let gateway = Gateway::one(&key, 422, PROBLEM, |_| ());
    step(&key, "step-refused", &gateway.origin, &[]).expect(
        3,
        &[
            "refused  422 input-invalid",
            "/text: not a string",
            "signature verified with key k1",
            "request id q1",
        ],
    );

    let gateway = Gateway::one(&key, 401, PROBLEM, |response| {
        response.headers_mut().remove("signature");
        response.headers_mut().insert(
            "accept-signature",
            http::HeaderValue::from_static("baton=(\"@method\")"),
        );
    });
    step(&key, "step-unknown", &gateway.origin, &[]).expect(
        3,
        &[
            "the answer is not signed",
            "the gateway asks for the signature: baton=(\"@method\")",
        ],
    );
}

#[test]
fn an_answer_that_proves_nothing_is_no_outcome() {
    let key = key();
    let check = |name: &str, change: fn(&mut Response<Vec<u8>>), said: &str| {
        let gateway = Gateway::one(&key, 200, COMPLETED, change);
        let run = step(&key, name, &gateway.origin, &["--json"]).expect(4, &[said]);
        assert_eq!(run.stdout, "", "nothing that a script could take for an outcome");
    };
    check(
        "step-body",
        |response| *response.body_mut() = FAILED.as_bytes().to_vec(),
        "content-digest-invalid",
    );
    check(
        "step-status",
        |response| *response.status_mut() = http::StatusCode::CREATED,
        "signature-invalid",
    );
    check(
        "step-unsigned",
        |response| {
            response.headers_mut().remove("signature");
        },
        "is not signed",
    );
    check(
        "step-replayed",
        |response| {
            response.headers_mut().remove("idempotency-replayed");
        },
        "signature-coverage",
    );
}

#[test]
fn an_exchange_can_be_captured_and_verified() {
    let key = key();
    let gateway = Gateway::one(&key, 200, COMPLETED, |_| ());
    let folder = folder("step-capture");
    let key_file = file(&folder, "key.json", &key);
    let at = |name: &str| folder.join(name).to_str().expect("a path").to_owned();
    baton(&[
        "step",
        "triage",
        "--input",
        "{}",
        "--key",
        &key_file,
        "--gateway",
        &gateway.origin,
        "--capture",
        &at("."),
        "--show-request",
    ])
    .expect(0, &["POST /agents/triage/steps HTTP/1.1", "signature-input: baton=("]);
    baton(&["verify", "--key", &key_file, &at("request.http")]).expect(0, &["all rules hold"]);
    baton(&[
        "verify",
        "--key",
        &key_file,
        "--request",
        &at("request.http"),
        &at("response.http"),
    ])
    .expect(0, &["all rules hold"]);
}

#[test]
fn gateway_and_key_come_from_the_development_file_of_a_folder_above() {
    let key = key();
    let gateway = Gateway::one(&key, 200, COMPLETED, |_| ());
    let folder = folder("step-development");
    let inner = folder.join("a/b");
    std::fs::create_dir_all(&inner).expect("folders");
    std::fs::create_dir(folder.join(".dev")).expect("a folder");
    let development = format!(r#"{{"gateway":"{}","key":{key}}}"#, gateway.origin);
    file(&folder, ".dev/baton.json", development);
    baton_in(&inner, &["step", "triage", "--input", "{}"], "").expect(0, &["signature verified with key k1"]);
    file(
        &folder,
        ".dev/baton.json",
        r#"{"gateway":"http://127.0.0.1:1","key":{}}"#,
    );
    baton_in(&inner, &["step", "triage", "--input", "{}"], "").expect(2, &["baton.json: `key`: not a key record"]);
    file(&folder, ".dev/baton.json", "{");
    baton_in(&inner, &["discover"], "").expect(2, &["baton.json is not JSON"]);
}

#[test]
fn nothing_listens() {
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr()
        .expect("an address");
    step(
        &key(),
        "step-nothing",
        &format!("http://{free}"),
        &["--run", "r 1", "--step", "s1"],
    )
    .expect(
        4,
        &[
            "nothing listens at http://127.0.0.1:",
            "cargo xtask dev",
            "--run 'r 1' --step s1",
        ],
    );
    baton(&["discover", &format!("http://{free}")]).expect(4, &["nothing listens"]);
}

#[test]
fn wrong_arguments_are_explained() {
    let key = key();
    let gateway = "http://127.0.0.1:1";
    let check = |name: &str, more: &[&str], said: &[&str]| {
        step(&key, name, gateway, more).expect(2, said);
    };
    check(
        "step-input-1",
        &["--input", "{\"a\":\n tru}"],
        &["--input", "line 2, column"],
    );
    check(
        "step-input-2",
        &["--input", "missing.json"],
        &["missing.json", "there is no such file", "or the JSON itself"],
    );
    check("step-input-3", &["--input", "[1", "--run", "r"], &["--input", "line 1"]);
    check("step-deadline", &["--deadline-ms", "300001"], &["--deadline-ms"]);
    check("step-key", &["--idempotency-key", "ä"], &["printable ASCII"]);
    check("step-dots", &["--run", ".."], &["`.` and `..` are no ids"]);
    check("step-control", &["--step", "a\nb"], &["without control characters"]);
    check("step-wait", &["--wait", "5"], &["--async"]);
    check("step-both", &["--async", "--stream"], &["cannot be used with"]);
    check(
        "step-states",
        &["--state", "{}", "--state-version", "1"],
        &["cannot be used with"],
    );
    baton(&["step", "triage", "--input", "{}"]).expect(2, &["--gateway URL or BATON_GATEWAY"]);
    baton(&["step", "triage", "--input", "{}", "--gateway", gateway]).expect(2, &["--key FILE or BATON_KEY_FILE"]);
    baton(&["step", "triage", "--input", "{}", "--gateway", "gw"]).expect(2, &["`gw` is no gateway's address"]);
    baton(&["step", "triage"]).expect(2, &["--input"]);
    let file = file(&folder("step-agent"), "key.json", &key);
    baton(&["step", "../x", "--input", "{}", "--gateway", gateway, "--key", &file]).expect(2, &["no agent's id"]);
    baton_with(
        &["step", "x", "--input", "-", "--gateway", gateway, "--key", &file],
        "{,",
    )
    .expect(2, &["standard input", "line 1, column 2"]);
}

#[test]
fn a_step_in_the_background_says_how_to_follow_it() {
    const ACCEPTED: &str = r#"{"run":"run_01","step":"s1","attempt":1,"agent":"triage","status":"accepted","executions":0,"background":true}"#;
    let key = key();
    let accepted = || {
        let headers = vec![("retry-after", "1"), ("location", "/runs/run_01/steps/s1")];
        vec![Reply::Plain(202, headers, ACCEPTED, |_| ())]
    };
    let gateway = Gateway::new(&key, accepted());
    let more = [
        "--run",
        "run_01",
        "--step",
        "s1",
        "--async",
        "--wait",
        "5",
        "--state-version",
        "3",
        "--callback",
        "https://o.example.com/done",
        "--follow-handoffs",
    ];
    step(&key, "step-async", &gateway.origin, &more).expect(
        0,
        &[
            "accepted  triage  run run_01  step s1  attempt 1",
            "in the background",
            "to follow it: baton run watch run_01 s1",
            "signature verified with key k1",
        ],
    );
    let request = gateway.request();
    assert_eq!(request.headers()["prefer"], "respond-async, wait=5");
    assert_eq!(
        String::from_utf8_lossy(request.body()),
        r#"{"run":"run_01","step":"s1","attempt":1,"input":{"text":"hi"},"state_version":3,"callback":{"url":"https://o.example.com/done"},"follow_handoffs":true}"#
    );

    let gateway = Gateway::new(&key, accepted());
    let run = step(&key, "step-async-json", &gateway.origin, &["--async", "--json"]).expect(0, &[]);
    assert_eq!((run.stdout, run.stderr), (format!("{ACCEPTED}\n"), String::new()));
    assert_eq!(gateway.request().headers()["prefer"], "respond-async");

    let gateway = Gateway::one(&key, 200, COMPLETED, |_| ());
    step(&key, "step-async-done", &gateway.origin, &["--async", "--wait", "30"]).expect(0, &["completed  triage"]);
}

#[test]
fn how_a_step_ended_is_the_exit() {
    let key = key();
    let check = |name: &str, body: &'static str, code: i32, said: &[&str]| {
        let gateway = Gateway::one(&key, 200, body, |_| ());
        step(&key, name, &gateway.origin, &[]).expect(code, said);
    };
    check(
        "step-cancelled",
        r#"{"status":"cancelled","run":"r","step":"s","attempt":1,"agent":"triage"}"#,
        1,
        &["cancelled  triage"],
    );
    check(
        "step-handed-off",
        r#"{"status":"handed_off","run":"r","step":"s","attempt":1,"agent":"triage","handoff":{"agent":"redact","reason":"It has names."}}"#,
        0,
        &["hands off to redact: It has names."],
    );
}

#[test]
fn a_streamed_step_that_breaks_is_asked_for_again() {
    let key = key();
    let first = "retry: 1\n\n: keep-alive\n\nid: 1.1\nevent: started\ndata: {\"execution\":1}\n\n";
    let gateway = Gateway::new(
        &key,
        vec![
            Reply::Stream(vec![Part::Text(first)]),
            Reply::Stream(vec![Part::Outcome(200, COMPLETED, |_| ())]),
        ],
    );
    let capture = folder("step-stream-capture");
    let capture_path = capture.to_str().expect("a path");
    let more = ["--run", "run_01", "--step", "s1", "--stream", "--capture", capture_path];
    let run =
        step(&key, "step-stream", &gateway.origin, &more).expect(0, &["completed  triage", "verified with key k1"]);
    assert!(run.stderr.starts_with("begun\nthe stream broke"), "{}", run.stderr);
    let requests = gateway.requests();
    let ids: Vec<_> = requests
        .iter()
        .map(|request| request.headers().get("last-event-id"))
        .collect();
    assert_eq!(ids, [None, Some(&http::HeaderValue::from_static("1.1"))]);
    for request in &requests {
        assert_eq!(
            (request.method().as_str(), request.uri().path()),
            ("POST", "/agents/triage/steps")
        );
        assert_eq!(request.headers()["accept"], "text/event-stream");
        assert_eq!(request.headers()["idempotency-key"], "\"run_01/s1\"");
    }
    // The outcome of a stream is captured as the response that it is.
    let key_file = file(&capture, "key.json", &key);
    let at = |name: &str| capture.join(name).to_str().expect("a path").to_owned();
    baton(&[
        "verify",
        "--key",
        &key_file,
        "--request",
        &at("request.http"),
        &at("response.http"),
    ])
    .expect(0, &["all rules hold"]);
}

#[test]
fn a_streamed_step_may_be_refused() {
    let key = key();
    let gateway = Gateway::one(&key, 422, PROBLEM, |_| ());
    step(&key, "step-stream-refused", &gateway.origin, &["--stream"]).expect(3, &["refused  422 input-invalid"]);
    step(&key, "step-stream-nothing", "http://127.0.0.1:1", &["--stream"])
        .expect(4, &["nothing listens", "--run run_"]);
}

#[test]
fn a_gateway_is_described() {
    const MANIFEST: &str = r#"{"protocol":"baton/1","gateway":{"id":"desk","title":"Desk","version":"1.0.0","origin":"http://gw"},"signature":{},"limits":{"body_max_bytes":1048576},"endpoints":[],"agents":[{"id":"triage","version":"1.0.0","title":"Triage","description":"Sorts.","steps":"/agents/triage/steps","input":{"type":"object","required":["text"],"properties":{"text":{"type":"string"}}},"output":true,"deadline_ms":5000}]}"#;
    let key = key();
    let gateway = Gateway::one(&key, 200, MANIFEST, |_| ());
    baton(&["discover", &gateway.origin]).expect(
        0,
        &["Desk 1.0.0", "triage 1.0.0 · Triage", "text: string", "body_max_bytes"],
    );
    let gateway = Gateway::one(&key, 200, MANIFEST, |_| ());
    assert_eq!(
        baton(&["discover", &gateway.origin, "--json"]).stdout,
        format!("{MANIFEST}\n")
    );
    let gateway = Gateway::one(&key, 404, "{}", |_| ());
    baton(&["discover", &gateway.origin]).expect(3, &["answered 404"]);
}
