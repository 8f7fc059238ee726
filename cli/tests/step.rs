//! `baton step` and `baton discover`, against nothing and against a gateway of one answer.

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use baton::signature::{Keyring, Origins, Policy, Purpose, RequestView, sign_response, verify};
use common::{Run, baton, baton_in, baton_with, file, folder};
use http::{Request, Response};

const COMPLETED: &str = r#"{"status":"completed","run":"run_01","step":"s1","attempt":1,"agent":"triage","agent_version":"1.0.0","output":{"team":"support"},"usage":{"duration_ms":3},"trace":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}"#;
const FAILED: &str = r#"{"status":"failed","run":"run_01","step":"s1","attempt":1,"agent":"triage","error":{"code":"no-rule-matched","message":"No rule fits.","retryable":false},"usage":{"duration_ms":3}}"#;
const PROBLEM: &str = r#"{"type":"urn:baton:problem:input-invalid","title":"Input invalid","status":422,"code":"input-invalid","detail":"The input does not fit.","retryable":false,"request_id":"q1","errors":[{"instance":"/text","schema":"/properties/text/type","message":"not a string"}]}"#;

/// Answers one request on a free port, signed as the gateway does, after `change` had its way.
struct OneAnswer {
    origin: String,
    thread: JoinHandle<Request<Vec<u8>>>,
}

impl OneAnswer {
    fn new(key: &str, status: u16, body: &'static str, change: fn(&mut Response<Vec<u8>>)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let keyring = Keyring::parse(&format!("[{key}]")).expect("a key");
        let served = origin.clone();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a connection");
            let mut reader = BufReader::new(stream);
            let request = read_request(&mut reader, &served);
            let mut response = Response::builder()
                .status(status)
                .header("content-type", "application/json")
                .header("idempotency-replayed", "true")
                .body(body.as_bytes().to_vec())
                .expect("a response");
            let origins = Origins::parse(&served).expect("an origin");
            let now_s = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .expect("a time")
                .as_secs();
            let policy = Policy {
                keyring: &keyring,
                origins: &origins,
                purpose: Purpose::Invoke,
                idempotency: true,
                webhook: None,
                now_s,
            };
            if request.method() == "POST" {
                let view = RequestView::of(&request).expect("a view");
                let caller = verify(&view, request.body(), &policy).expect("the request is signed");
                sign_response(&mut response, &caller, now_s);
            }
            change(&mut response);
            let mut text = format!(
                "HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: {}\r\n",
                response.status(),
                response.body().len()
            );
            for (name, value) in response.headers() {
                text.push_str(&format!("{name}: {}\r\n", value.to_str().expect("text")));
            }
            let stream = reader.get_mut();
            stream
                .write_all(format!("{text}\r\n").as_bytes())
                .expect("the head is sent");
            stream.write_all(response.body()).expect("the body is sent");
            request
        });
        Self { origin, thread }
    }

    fn request(self) -> Request<Vec<u8>> {
        self.thread.join().expect("a request came")
    }
}

fn read_request(reader: &mut impl std::io::BufRead, origin: &str) -> Request<Vec<u8>> {
    let mut lines = reader
        .by_ref()
        .lines()
        .map(|line| line.expect("a line"))
        .take_while(|line| !line.is_empty());
    let start = lines.next().expect("a request line");
    let mut words = start.split(' ');
    let mut builder = Request::builder()
        .method(words.next().expect("a method"))
        .uri(format!("{origin}{}", words.next().expect("a target")));
    let mut length = 0;
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a field");
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().expect("a length");
        }
        builder = builder.header(name, value);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body");
    builder.body(body).expect("a request")
}

fn key() -> String {
    baton(&["keys", "new", "--id", "k1", "--json"]).stdout
}

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
    let gateway = OneAnswer::new(&key, 200, COMPLETED, |_| ());
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
    let gateway = OneAnswer::new(&key, 200, FAILED, |_| ());
    let run = step(&key, "step-json", &gateway.origin, &["--json"]).expect(1, &[]);
    assert_eq!(run.stdout, format!("{FAILED}\n"));
    assert_eq!(run.stderr, "");
}

#[test]
fn a_refusal_is_shown_with_its_places() {
    let key = key();
    let gateway = OneAnswer::new(&key, 422, PROBLEM, |_| ());
    step(&key, "step-refused", &gateway.origin, &[]).expect(
        3,
        &[
            "refused  422 input-invalid",
            "/text: not a string",
            "signature verified with key k1",
            "request id q1",
        ],
    );

    let gateway = OneAnswer::new(&key, 401, PROBLEM, |response| {
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
        let gateway = OneAnswer::new(&key, 200, COMPLETED, change);
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
    let gateway = OneAnswer::new(&key, 200, COMPLETED, |_| ());
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
    let gateway = OneAnswer::new(&key, 200, COMPLETED, |_| ());
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
fn a_gateway_is_described() {
    const MANIFEST: &str = r#"{"protocol":"baton/1","gateway":{"id":"desk","title":"Desk","version":"1.0.0","origin":"http://gw"},"signature":{},"limits":{"body_max_bytes":1048576},"endpoints":[],"agents":[{"id":"triage","version":"1.0.0","title":"Triage","description":"Sorts.","steps":"/agents/triage/steps","input":{"type":"object","required":["text"],"properties":{"text":{"type":"string"}}},"output":true,"deadline_ms":5000}]}"#;
    let key = key();
    let gateway = OneAnswer::new(&key, 200, MANIFEST, |_| ());
    baton(&["discover", &gateway.origin]).expect(
        0,
        &["Desk 1.0.0", "triage 1.0.0 · Triage", "text: string", "body_max_bytes"],
    );
    let gateway = OneAnswer::new(&key, 200, MANIFEST, |_| ());
    assert_eq!(
        baton(&["discover", &gateway.origin, "--json"]).stdout,
        format!("{MANIFEST}\n")
    );
    let gateway = OneAnswer::new(&key, 404, "{}", |_| ());
    baton(&["discover", &gateway.origin]).expect(3, &["answered 404"]);
}
