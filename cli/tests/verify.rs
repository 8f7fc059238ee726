//! `baton verify` on the golden vectors: what holds, and what is said about each thing that does not.

mod common;

use common::{Run, baton, baton_with, file, folder};
use serde_json::{Value, json};

const AT: &str = "1764000010";

/// The request and response vectors as captured text, and the key file's path.
struct Vectors {
    request: String,
    response: String,
    key: String,
    folder: std::path::PathBuf,
}

impl Vectors {
    fn new(test: &str) -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../contract-tests/vectors/signature.json");
        let vectors: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("the vectors")).expect("JSON");
        let case = |name: &str| {
            let cases = vectors["cases"].as_array().expect("cases");
            cases.iter().find(|case| case["name"] == name).expect("a case").clone()
        };
        let (request, response) = (case("baton-request-v1"), case("baton-response-v1"));
        let start = format!(
            "POST {} HTTP/1.1\r\nhost: gw.example.com\r\n",
            request["path"].as_str().expect("a path")
        );
        let record = json!({"id": "orch-acme-2026-11", "orchestrator": "acme", "purposes": ["invoke"],
            "secret": vectors["key_base64"]});
        let folder = folder(test);
        Self {
            request: message(&start, &request),
            response: message("HTTP/1.1 200 OK\r\n", &response),
            key: file(&folder, "key.json", record.to_string()),
            folder,
        }
    }

    fn request(&self, text: &str, more: &[&str]) -> Run {
        let arguments = [
            "verify",
            "--key",
            &self.key,
            "--at",
            AT,
            "--origin",
            "http://gw.example.com",
            "-",
        ];
        baton_with(&[&arguments, more].concat(), text)
    }

    fn response(&self, request: &str, response: &str) -> Run {
        let request = file(&self.folder, "request.http", request);
        baton_with(
            &["verify", "--key", &self.key, "--at", AT, "--request", &request, "-"],
            response,
        )
    }
}

fn message(start: &str, case: &Value) -> String {
    let headers = case["headers"].as_object().expect("headers");
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\r\n", value.as_str().expect("text")))
        .collect();
    format!("{start}{lines}\r\n{}", case["body"].as_str().expect("a body"))
}

#[test]
fn the_request_vector_holds() {
    let vectors = Vectors::new("verify-request");
    let run = vectors.request(&vectors.request, &["--show-base"]).expect(
        0,
        &[
            "request POST /agents/summarizer/steps, a step on `summarizer`",
            "signed by orch-acme-2026-11 at 2025-11-24T16:00:00Z",
            "all rules hold",
            "\"@query\": ?\n",
            "only the gateway that received it can tell",
        ],
    );
    assert!(!run.stdout.contains('\u{1b}'), "no colour in a pipe");
    let path = file(&vectors.folder, "request.http", &vectors.request);
    baton(&["verify", "--key", &vectors.key, "--at", AT, &path]).expect(0, &["all rules hold", "give --origin"]);
}

#[test]
fn a_changed_request_is_told_by_its_rule() {
    let vectors = Vectors::new("verify-changed");
    let check = |from: &str, to: &str, said: &[&str]| {
        let changed = vectors.request.replacen(from, to, 1);
        assert_ne!(changed, vectors.request, "{from}");
        vectors.request(&changed, &[]).expect(1, said);
    };
    check(
        "\"text\":\"hi\"",
        "\"text\":\"ho\"",
        &["content-digest-invalid", "expected", "changed after it was signed"],
    );
    check(
        "}}",
        "}}\n",
        &[
            "content-digest-invalid",
            "Without the line end at its end the body fits",
        ],
    );
    check("/summarizer/", "/triage/", &["signature-invalid", "--show-base"]);
    check("POST ", "PUT ", &["signature-invalid"]);
    check(
        "/steps HTTP",
        "/steps?a=b HTTP",
        &["signature-invalid", "without the query that is sent"],
    );
    check(
        "/steps HTTP",
        "/steps/ HTTP",
        &["path-not-canonical", "/agents/summarizer/steps/"],
    );
    check("host: gw", "host: other", &["authority-unknown", "other.example.com"]);
    check(
        " \"idempotency-key\")",
        ")",
        &["signature-coverage", "missing            \"idempotency-key\""],
    );
    check(
        "expires=1764000300",
        "expires=1764000301",
        &["signature-window", "2025-11-24T16:05:01Z"],
    );
    check(
        "created=1764000000;",
        "created=1764000000123;",
        &["signature-window", "these are milliseconds"],
    );
    check(
        ";alg=\"hmac-sha256\"",
        "",
        &["signature-algorithm", "alg=\"hmac-sha256\""],
    );
    check(
        ";nonce=\"b3k2pp5k7z-50gnwp.yemd\"",
        ";nonce=\"short\"",
        &["signature-parameters", "5 characters"],
    );
    check(
        ";tag=",
        ";more=1;tag=",
        &["signature-parameters", "not allowed        more"],
    );
    check(
        "baton-request-v1",
        "baton-response-v1",
        &["signature-tag", "it opens no request"],
    );
    check(
        "orch-acme-2026-11",
        "someone",
        &["signature-invalid", "keys at hand       orch-acme-2026-11"],
    );
    check(
        "signature: sig1",
        "signature: sig2",
        &["signature-malformed", "sig1 in Signature-Input, sig2 in Signature"],
    );
    check(
        "signature-input: sig1=(",
        "signature-input: sig1=((",
        &["signature-malformed", "which"],
    );
    check(
        "content-type: application/json\r\n",
        "content-type: application/json\r\ncontent-type: text/plain\r\n",
        &["header-duplicated", "content-type"],
    );
    check(
        "content-type:",
        "content-encoding: gzip\r\ncontent-type:",
        &["content-encoding-unsupported", "gzip"],
    );
    check(
        "content-type:",
        "webhook-id: m1\r\ncontent-type:",
        &["signature-scheme", "both"],
    );
}

#[test]
fn time_and_key_decide_as_well() {
    let vectors = Vectors::new("verify-time");
    vectors.request(&vectors.request, &["--show-base"]).expect(0, &[]);
    let path = file(&vectors.folder, "request.http", &vectors.request);
    let judge = |key: &str, at: &str| baton(&["verify", "--key", key, "--at", at, &path]);
    judge(&vectors.key, "1764000361").expect(1, &["signature-expired", "--at"]);
    judge(&vectors.key, "1763999939").expect(1, &["signature-not-yet-valid", "61 s after"]);

    let record = std::fs::read_to_string(&vectors.key).expect("the key");
    let other_agent = file(
        &vectors.folder,
        "agent.json",
        record.replace("}", r#","agents":["triage"]}"#),
    );
    judge(&other_agent, AT).expect(1, &["key-not-allowed", "agents             triage"]);
    let expired = file(
        &vectors.folder,
        "expired.json",
        record.replace("}", r#","not_after":1764000000}"#),
    );
    judge(&expired, AT).expect(1, &["key-expired", "2025-11-24T16:00:00Z"]);
}

#[test]
fn the_usual_mistakes_of_signers_are_recognised() {
    use baton::signature::{Keyring, Stamp, sign_request};
    let vectors = Vectors::new("verify-mistakes");
    let record = std::fs::read_to_string(&vectors.key).expect("the key");
    let secret = serde_json::from_str::<Value>(&record).expect("JSON")["secret"]
        .as_str()
        .expect("text")
        .to_owned();
    let as_text = record.replace(&secret, &base64(&secret));
    let key = Keyring::parse_record(&as_text).expect("a key");
    let mut request = http::Request::get("http://gw.example.com/agents/triage/steps")
        .body(Vec::new())
        .expect("a request");
    request
        .headers_mut()
        .insert("idempotency-key", http::HeaderValue::from_static("\"a\""));
    *request.method_mut() = http::Method::POST;
    let stamp = Stamp {
        created_s: 1_764_000_000,
        nonce: "0123456789abcdef".to_owned(),
    };
    sign_request(&mut request, &key, stamp).expect("signed");
    let lines: String = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().expect("text")))
        .collect();
    let text = format!("POST /agents/triage/steps HTTP/1.1\nhost: gw.example.com\n{lines}\n");
    vectors
        .request(&text, &[])
        .expect(1, &["signature-invalid", "the secret as base64 text"]);
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn the_response_vector_holds_for_its_request_alone() {
    let vectors = Vectors::new("verify-response");
    vectors
        .response(&vectors.request, &vectors.response)
        .expect(0, &["response 200 to POST", "all rules hold"]);
    let other = vectors.request.replace("b3k2pp5k7z", "b3k2pp5k70");
    vectors
        .response(&other, &vectors.response)
        .expect(1, &["signature-invalid", "answers another request"]);
    let other = vectors.request.replace("run_01/s1", "run_01/s2");
    vectors
        .response(&other, &vectors.response)
        .expect(1, &["signature-invalid"]);
    let changed = vectors.response.replace("\"summary\":\"hi\"", "\"summary\":\"ho\"");
    vectors
        .response(&vectors.request, &changed)
        .expect(1, &["content-digest-invalid"]);
    let changed = vectors.response.replace("200 OK", "201 Created");
    vectors
        .response(&vectors.request, &changed)
        .expect(1, &["signature-invalid"]);
    let unsigned = "HTTP/1.1 502 Bad Gateway\n\noops";
    vectors
        .response(&vectors.request, unsigned)
        .expect(1, &["signature-missing", "the response is not signed"]);
    let uncovered = vectors.response.replace(" \"@path\";req", "");
    vectors
        .response(&vectors.request, &uncovered)
        .expect(1, &["signature-coverage", "missing            \"@path\";req"]);
}

#[test]
fn an_exchange_of_curl_is_read() {
    let vectors = Vectors::new("verify-curl");
    let mark = |text: &str, mark: &str| -> String {
        text.split_inclusive('\n')
            .map(|line| format!("{mark} {line}"))
            .collect()
    };
    let (request_head, body) = vectors.request.split_once("\r\n\r\n").expect("a body");
    let (response_head, answer) = vectors.response.split_once("\r\n\r\n").expect("a body");
    let exchange = format!(
        "* Connected\n{}{}{answer}\n* Connection left intact\n",
        mark(&format!("{request_head}\r\n\r\n"), ">"),
        mark(
            &format!("{response_head}\r\ncontent-length: {}\r\n\r\n", answer.len()),
            "<"
        ),
    );
    let arguments = ["verify", "--key", &vectors.key, "--at", AT, "-"];
    baton_with(&arguments, &exchange).expect(0, &["response 200", "all rules hold"]);
    baton_with(&[&arguments[..], &["--part", "request"]].concat(), &exchange)
        .expect(1, &["content-digest-invalid", "--body"]);
    let sent = file(&vectors.folder, "sent.json", body);
    baton_with(
        &[&arguments[..], &["--part", "request", "--body", &sent]].concat(),
        &exchange,
    )
    .expect(0, &["all rules hold"]);
}

#[test]
fn what_cannot_be_judged_is_said() {
    let vectors = Vectors::new("verify-usage");
    vectors
        .request("hello", &[])
        .expect(2, &["standard input: line 1: expected a request line"]);
    vectors.request(&vectors.response, &[]).expect(2, &["--request FILE"]);
    vectors
        .request(&vectors.request, &["--part", "response"])
        .expect(2, &["holds no response"]);
    baton(&["verify", "-"]).expect(2, &["--key FILE or BATON_KEY_FILE"]);
    let bad_key = file(&vectors.folder, "bad.json", "{\n \"id\": }");
    baton(&["verify", "--key", &bad_key, "-"]).expect(2, &["bad.json", "line 2"]);
}
