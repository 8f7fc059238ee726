//! `baton query`, against nothing and against a gateway of one answer.

mod common;

use std::net::TcpListener;
use std::process::Command;

use common::gateway::Gateway;
use common::{Run, baton, file, folder, key};
use serde_json::{Value, json};

const API_KEY: &str = "baton_0123456789abcdef_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const ORCHESTRATED: &str = r#"{"run":"dir_1","step":"query","agent":"triage","status":"completed","output":{"team":"billing"},"usage":{"duration_ms":3},"route":{"by":"orchestrated","orchestrator":"reference"},"choice":{"agent":"triage","confidence":0.75,"reason":"Found \"charged\"."}}"#;
const FALLBACK: &str = r#"{"run":"dir_1","agent":"summarize","status":"completed","output":"busy","stand_in":true,"route":{"by":"fallback","orchestrator":"reference","reason":"timeout","detail":"no answer within 5000 ms","degraded":false},"failed":[{"agent":"triage","code":"deadline-exceeded","message":"It took too long."}]}"#;
const FAILED: &str = r#"{"run":"dir_1","step":"query","agent":"triage","status":"failed","error":{"code":"no-rule-matched","message":"No rule fits.","retryable":false},"route":{"by":"local"}}"#;
const PROBLEM: &str = r#"{"type":"urn:baton:problem:api-key-invalid","title":"API key invalid","status":401,"code":"api-key-invalid","detail":"No such key.","retryable":false,"request_id":"q1"}"#;
const LIMITED: &str =
    r#"{"title":"Rate limited","status":429,"code":"rate-limited","retryable":true,"retry_after_ms":1000}"#;

/// Whatever is said, the key is not.
fn query(gateway: &str, more: &[&str]) -> Run {
    let run = baton(&[&["query", "--api-key", API_KEY, "--gateway", gateway], more].concat());
    assert_no_key(&run);
    run
}

fn assert_no_key(run: &Run) {
    let secret = &API_KEY[23..];
    let all = format!("{}{}", run.stdout, run.stderr);
    assert!(!all.contains(secret), "{all}");
}

fn serve(status: u16, body: &'static str) -> Gateway {
    Gateway::one(&key(), status, body, |_| ())
}

fn body(request: &http::Request<Vec<u8>>) -> Value {
    serde_json::from_slice(request.body()).expect("JSON")
}

#[test]
fn a_text_is_asked_and_its_answer_shown() {
    let gateway = serve(200, ORCHESTRATED);
    let run = query(&gateway.origin, &["I was charged twice"]).expect(0, &[]);
    assert_eq!(
        run.stdout,
        "completed  triage  run dir_1  3 ms\noutput\n{\n  \"team\": \"billing\"\n}\n\
         route: orchestrated by reference\n\
         chosen by the router: triage, confidence 0.75: Found \"charged\".\n"
    );
    assert_eq!(run.stderr, "");
    let request = gateway.request();
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/query"));
    assert_eq!(request.headers()["authorization"], format!("Bearer {API_KEY}"));
    assert_eq!(request.headers()["content-type"], "application/json");
    assert!(!request.headers().contains_key("signature"));
    assert!(request.headers().contains_key("idempotency-key"));
    assert_eq!(body(&request), json!({"text": "I was charged twice"}));
}

#[test]
fn an_agent_is_given_its_input() {
    let path = file(&folder("query-input"), "in.json", r#"{"text":"hi"}"#);
    for input in [r#"{"text":"hi"}"#, &format!("@{path}"), &path] {
        let gateway = serve(200, FALLBACK);
        let more = ["--agent", "triage", "--input", input, "--deadline", "5s"];
        let run = query(
            &gateway.origin,
            &[&more[..], &["--idempotency-key", "order 17"]].concat(),
        )
        .expect(0, &[]);
        assert_eq!(
            run.stdout,
            "completed  summarize  run dir_1\noutput\n\"busy\"\n\
             route: fallback (timeout: no answer within 5000 ms)\n\
             failed: triage (deadline-exceeded: It took too long.)\n\
             the answer stands in that the agent's manifest has ready\n"
        );
        let request = gateway.request();
        assert_eq!(request.uri().path(), "/agents/triage/query");
        assert_eq!(request.headers()["idempotency-key"], "\"order 17\"");
        assert_eq!(body(&request), json!({"input": {"text": "hi"}, "deadline_ms": 5_000}));
    }
}

#[test]
fn a_text_for_an_agent() {
    let gateway = serve(200, FAILED);
    query(&gateway.origin, &["hello", "--agent", "triage"]).expect(
        1,
        &[
            "failed  triage",
            "no-rule-matched: No rule fits.",
            "will not help",
            "route: local",
        ],
    );
    let request = gateway.request();
    assert_eq!(request.uri().path(), "/agents/triage/query");
    assert_eq!(body(&request), json!({"text": "hello"}));
}

#[test]
fn json_is_the_answer_as_it_came() {
    for (status, body, code) in [(200, ORCHESTRATED, 0), (200, FAILED, 1), (401, PROBLEM, 3)] {
        let gateway = serve(status, body);
        let run = query(&gateway.origin, &["hello", "--json"]).expect(code, &[]);
        assert_eq!((run.stdout, run.stderr), (format!("{body}\n"), String::new()));
        gateway.request();
    }
}

#[test]
fn a_refusal_is_shown() {
    let check = |status, body, said: &[&str]| {
        let gateway = serve(status, body);
        let run = query(&gateway.origin, &["hello"]).expect(3, said);
        assert!(!run.stdout.contains("signed"), "{}", run.stdout);
        gateway.request();
    };
    let invalid = ["refused  401 api-key-invalid", "No such key.", "request id q1"];
    check(401, PROBLEM, &invalid);
    check(429, LIMITED, &["429 rate-limited", "again after 1000 ms"]);
}

#[test]
fn what_is_no_answer_of_a_gateway() {
    let check = |status, body, code, said: &str| {
        let gateway = serve(status, body);
        let run = query(&gateway.origin, &["hello", "--json"]).expect(code, &[said]);
        assert_eq!(run.stdout, "", "nothing that a script could take for an answer");
        gateway.request();
    };
    check(200, "{}", 4, "no answer to a query");
    check(200, "hello", 4, "no JSON object");
    check(502, "", 4, "no JSON object");
    check(307, "{}", 4, "leads elsewhere");
}

#[test]
fn no_answer_says_how_to_ask_again() {
    let origin = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        format!("http://{}", listener.local_addr().expect("an address"))
    };
    query(&origin, &["hello", "--idempotency-key", "order 17"])
        .expect(4, &["nothing listens at", "add: --idempotency-key 'order 17'"]);
    query(&origin, &["hello"]).expect(4, &["add: --idempotency-key "]);
}

#[test]
fn what_is_asked_wrongly_is_not_sent() {
    let check = |more: &[&str], said: &str| {
        query("http://127.0.0.1:1", more).expect(2, &[said]);
    };
    check(&[], "baton query 'I was charged twice'");
    check(&[""], "nothing is asked");
    check(&["--agent", "triage"], "nothing is asked");
    check(&["--input", "{}"], "--agent ID");
    check(&["hello", "--agent", "triage", "--input", "{}"], "cannot be used with");
    check(&["--agent", "triage", "--input", "{"], "--input: ");
    check(
        &["--agent", "triage", "--input", "@no/such.json"],
        "there is no such file",
    );
    check(&["hello", "--agent", "a/b"], "is no agent's id");
    check(&["hello", "--deadline", "6m"], "is no deadline");
    check(&["hello", "--idempotency-key", ""], "1 to 256 bytes");
}

#[test]
fn the_key_is_checked_and_never_shown() {
    let gateway = ["--gateway", "http://127.0.0.1:1", "hello"];
    baton(&[&["query"], &gateway[..]].concat()).expect(2, &["BATON_API_KEY", "baton api-keys create"]);
    for wrong in [&API_KEY[1..], &API_KEY[..60], &format!("{API_KEY}\n")] {
        let run = baton(&[&["query", "--api-key", wrong], &gateway[..]].concat());
        let run = run.expect(2, &["holds no API key"]);
        assert!(!run.stderr.contains(&API_KEY[23..60]), "{}", run.stderr);
    }
}

#[test]
fn the_key_comes_from_the_environment() {
    let gateway = serve(200, ORCHESTRATED);
    let output = Command::new(env!("CARGO_BIN_EXE_baton"))
        .args(["query", "hello", "--gateway", &gateway.origin])
        .env("BATON_API_KEY", API_KEY)
        .output()
        .expect("the binary ends");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        gateway.request().headers()["authorization"],
        format!("Bearer {API_KEY}")
    );

    let help = Command::new(env!("CARGO_BIN_EXE_baton"))
        .args(["query", "--help"])
        .env("BATON_API_KEY", API_KEY)
        .output()
        .expect("the binary ends");
    assert_no_key(&Run {
        code: help.status.code(),
        stdout: String::from_utf8_lossy(&help.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&help.stderr).into_owned(),
    });
}

#[test]
fn a_call_can_be_seen_happening() {
    const STREAM: &str = "retry: 1000\n\nevent: route\ndata: {\"by\":\"orchestrated\",\"orchestrator\":\"reference\",\"run\":\"dir_1\"}\n\nid: 1.1\nevent: started\ndata: {\"execution\":1}\n\nid: 1.2\nevent: delta\ndata: {\"text\":\"Charged \"}\n\n: keep-alive\n\nid: 1.3\nevent: delta\ndata: {\"text\":\"twice.\"}\n\nevent: answer\ndata: {\"run\":\"dir_1\",\"step\":\"query\",\"agent\":\"triage\",\"status\":\"completed\",\"output\":1,\"route\":{\"by\":\"orchestrated\",\"orchestrator\":\"reference\"}}\n\n";
    const DECLINED: &str = "event: problem\ndata: {\"title\":\"Declined\",\"status\":403,\"code\":\"orchestrator-declined\",\"retryable\":false}\n\n";
    let streamed = |body| {
        Gateway::one(&key(), 200, body, |response| {
            let kind = http::HeaderValue::from_static("text/event-stream");
            response.headers_mut().insert("content-type", kind);
        })
    };
    let gateway = streamed(STREAM);
    let run = query(&gateway.origin, &["I was charged twice", "--stream"]).expect(0, &[]);
    assert!(run.stdout.starts_with("completed  triage  run dir_1"), "{}", run.stdout);
    assert_eq!(run.stderr, "reference coordinates\nbegun\nCharged twice.\n");
    assert_eq!(gateway.request().headers()["accept"], "text/event-stream");

    let gateway = streamed(DECLINED);
    query(&gateway.origin, &["hi", "--stream"]).expect(3, &["orchestrator-declined"]);

    let gateway = streamed("event: route\ndata: {\"by\":\"local\"}\n\n");
    let more = ["hi", "--stream", "--idempotency-key", "order-17"];
    query(&gateway.origin, &more).expect(4, &["before the answer", "--idempotency-key order-17"]);

    // What is wrong before the stream begins is an ordinary problem.
    let gateway = serve(401, PROBLEM);
    query(&gateway.origin, &["hi", "--stream"]).expect(3, &["api-key-invalid"]);
}
