//! A gateway that misbehaves as it is told to, and a caller that signs as a gateway does.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod background;
pub mod stage;

use std::collections::{HashSet, VecDeque};
use std::future::pending;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use baton::schema::Schema;
use baton::signature::{
    IDEMPOTENCY_REPLAYED, Keyring, Origins, Policy, Purpose, RequestView, Stamp, Verified, digest, sign_request,
    sign_response, verify,
};
use baton::wire;
use http::Response;
use reference_orchestrator::outside;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// All keys, as a gateway and its orchestrator share them.
pub fn keys() -> String {
    let key = |id: &str, orchestrator: &str, purpose: &str, letter: &str| {
        let secret = format!("{}=", letter.repeat(43));
        json!({ "id": id, "orchestrator": orchestrator, "purposes": [purpose], "secret": secret })
    };
    // Letters whose last bits are zero, as base64 wants them at the end.
    let mut limited = key("limited-register", "reference", "register", "M");
    limited["agents"] = json!(["redact"]);
    json!([
        key("invoke", "reference", "invoke", "A"),
        key("register", "reference", "register", "E"),
        key("foreign-register", "other", "register", "I"),
        key("callback", "reference", "callback", "Q"),
        key("callback-next", "reference", "callback", "U"),
        key("foreign-callback", "other", "callback", "Y"),
        limited,
    ])
    .to_string()
}

/// How the fake gateway answers the challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    Honest,
    OtherEcho,
    OtherGateway,
    OtherDigest,
    Unsigned,
    SignedByAnotherKey,
    Refused,
    Redirect,
    NoJson,
    Silent,
}

/// How the fake gateway serves its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manifest {
    Honest,
    OtherBytes,
    Redirect,
    Missing,
    Silent,
}

/// How the fake gateway answers a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Complete,
    CompleteReplayed,
    CompleteUnsigned,
    CompleteForAnotherRun,
    UnsignedFault,
    Accept,
    AcceptUnsigned,
    InFlight,
    FailRetryably,
    Refuse,
    Hang,
}

/// What the fake gateway was sent for a step.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenStep {
    pub idempotency_key: String,
    pub nonce: String,
    pub prefer: Option<String>,
    pub agent: String,
    pub body: Value,
    pub bytes: Vec<u8>,
}

/// The fake gateway.
pub struct Fake {
    pub origin: String,
    pub manifest: Mutex<Value>,
    pub challenge: Mutex<Challenge>,
    pub serves: Mutex<Manifest>,
    pub steps: Mutex<VecDeque<Step>>,
    pub polls: Mutex<VecDeque<background::Poll>>,
    pub puts: Mutex<VecDeque<background::Put>>,
    pub seen_puts: Mutex<Vec<background::SeenPut>>,
    pub seen: Mutex<Receiver<SeenStep>>,
    see: Sender<SeenStep>,
    /// The latest step that it accepted, for polls.
    accepted: Mutex<Option<SeenStep>>,
    /// The runs that it keeps state for.
    kept: Mutex<HashSet<String>>,
    keyring: Keyring,
}

impl Fake {
    /// Starts a fake gateway with the agents `triage` and `redact`.
    pub fn start(runtime: &Runtime) -> Arc<Self> {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a listener");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let (see, seen) = channel();
        let fake = Arc::new(Self {
            manifest: Mutex::new(json!({
                "gateway": { "id": "fake", "origin": origin },
                "agents": [{ "id": "triage" }, { "id": "redact" }],
            })),
            origin,
            challenge: Mutex::new(Challenge::Honest),
            serves: Mutex::new(Manifest::Honest),
            steps: Mutex::default(),
            polls: Mutex::default(),
            puts: Mutex::default(),
            seen_puts: Mutex::default(),
            accepted: Mutex::default(),
            kept: Mutex::default(),
            seen: Mutex::new(seen),
            see,
            keyring: Keyring::parse(&keys()).expect("keys"),
        });
        let router = Router::new().fallback(serve).with_state(Arc::clone(&fake));
        runtime.spawn(async { axum::serve(listener, router).await });
        fake
    }

    /// A registration of this gateway that is all true.
    pub fn registration(&self) -> Value {
        let manifest = self.manifest.lock().expect("the manifest").to_string();
        json!({
            "gateway": "fake",
            "origin": self.origin,
            "manifest": {
                "url": format!("{}/.well-known/baton.json", self.origin),
                "digest": digest::content_digest(manifest.as_bytes()),
            },
            "agents": ["triage", "redact"],
        })
    }

    fn verified(&self, request: &http::request::Parts, body: &[u8]) -> Verified {
        let view = RequestView {
            method: request.method.as_str(),
            authority: request.headers["host"].to_str().expect("a host"),
            path: request.uri.path(),
            query: request.uri.query(),
            headers: &request.headers,
        };
        let policy = Policy {
            keyring: &self.keyring,
            origins: &Origins::parse(&self.origin).expect("an origin"),
            purpose: Purpose::Invoke,
            idempotency: request.method != "GET" && !request.uri.path().starts_with("/link/"),
            preconditions: true,
            webhook: None,
            now_s: outside::now_ms() / 1_000,
        };
        verify(&view, body, &policy).expect("the orchestrator signs by the profile")
    }

    fn answer_challenge(&self, how: Challenge, caller: &Verified, question: &Value) -> Response<Vec<u8>> {
        let manifest = self.manifest.lock().expect("the manifest").to_string();
        let mut answer = json!({
            "gateway": question["gateway"],
            "challenge": question["challenge"],
            "manifest_digest": digest::content_digest(manifest.as_bytes()),
        });
        match how {
            Challenge::OtherEcho => answer["challenge"] = "another".into(),
            Challenge::OtherGateway => answer["gateway"] = "another".into(),
            Challenge::OtherDigest => answer["manifest_digest"] = digest::content_digest(b"another").into(),
            Challenge::NoJson => answer = json!("no object"),
            _ => {}
        }
        let mut response = response(200, &answer);
        match how {
            Challenge::Refused => *response.status_mut() = http::StatusCode::FORBIDDEN,
            Challenge::Redirect => {
                // The place that it leads to would answer honestly.
                *response.status_mut() = http::StatusCode::TEMPORARY_REDIRECT;
                let honest = format!("{}/elsewhere", self.origin).parse().expect("a value");
                response.headers_mut().insert("location", honest);
            }
            _ => {}
        }
        if how != Challenge::Unsigned {
            sign_response(&mut response, caller, outside::now_ms() / 1_000);
        }
        if how == Challenge::SignedByAnotherKey {
            let field = response.headers()["signature"].to_str().expect("text");
            let (label, _) = field.split_once('=').expect("a label");
            let forged = format!("{label}=:{}=:", "A".repeat(43)).parse().expect("a value");
            response.headers_mut().insert("signature", forged);
        }
        response
    }

    fn answer_step(&self, how: Step, caller: &Verified, step: &SeenStep) -> Response<Vec<u8>> {
        let problem = |status: u16, code: &str, retryable: bool| {
            response(
                status,
                &json!({ "code": code, "detail": "told so", "retryable": retryable, "request_id": "req_fake" }),
            )
        };
        let mut outcome = step.outcome();
        if self.keeps(&step.body["run"]) {
            outcome["state_version"] = 2.into();
        }
        let mut response = match how {
            Step::UnsignedFault => return problem(500, "internal", true),
            Step::InFlight => {
                let mut response = problem(409, "step-in-flight", true);
                response
                    .headers_mut()
                    .insert("retry-after", "0".parse().expect("a value"));
                response
            }
            Step::Accept | Step::AcceptUnsigned => {
                *self.accepted.lock().expect("the step") = Some(step.clone());
                response(202, &step.status("accepted"))
            }
            Step::Refuse => problem(422, "schema-violated", false),
            Step::FailRetryably => {
                outcome["status"] = "failed".into();
                outcome["error"] = json!({ "code": "busy", "message": "busy", "retryable": true });
                response(200, &outcome)
            }
            Step::CompleteForAnotherRun => {
                outcome["run"] = "another".into();
                response(200, &outcome)
            }
            _ => response(200, &outcome),
        };
        if how == Step::CompleteReplayed {
            response
                .headers_mut()
                .insert(IDEMPOTENCY_REPLAYED, "true".parse().expect("a value"));
        }
        if how != Step::CompleteUnsigned && how != Step::AcceptUnsigned {
            sign_response(&mut response, caller, outside::now_ms() / 1_000);
        }
        response
    }
}

async fn serve(State(fake): State<Arc<Fake>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1_000_000).await.expect("a body");
    let path = parts.uri.path();
    let answer = if path == "/.well-known/baton.json" {
        let how = *fake.serves.lock().expect("the behaviour");
        let manifest = fake.manifest.lock().expect("the manifest").clone();
        match how {
            Manifest::Honest => response(200, &manifest),
            // It names all that it should: only its digest tells.
            Manifest::OtherBytes => {
                let mut other = manifest;
                other["more"] = true.into();
                response(200, &other)
            }
            Manifest::Missing => response(404, &manifest),
            Manifest::Redirect => {
                let mut response = response(302, &manifest);
                let honest = "/elsewhere.json".parse().expect("a value");
                response.headers_mut().insert("location", honest);
                response
            }
            Manifest::Silent => pending().await,
        }
    } else if path == "/elsewhere.json" {
        response(200, &fake.manifest.lock().expect("the manifest"))
    } else {
        let caller = fake.verified(&parts, &body);
        let question: Value = serde_json::from_slice(&body).unwrap_or_default();
        if path == "/link/challenge" {
            assert_fits("challenge", &question);
            let how = *fake.challenge.lock().expect("the behaviour");
            if how == Challenge::Silent {
                pending::<()>().await;
            }
            fake.answer_challenge(how, &caller, &question)
        } else if parts.method == "GET" {
            fake.answer_poll(&caller, path)
        } else if parts.method == "PUT" {
            fake.answer_put(&caller, &parts, &body)
        } else {
            background::assert_fits_invocation(&question);
            let how = fake
                .steps
                .lock()
                .expect("the behaviour")
                .pop_front()
                .unwrap_or(Step::Complete);
            let seen = SeenStep {
                idempotency_key: caller.idempotency_key().unwrap_or_default().to_owned(),
                nonce: caller.nonce().map(|(nonce, _)| nonce.to_owned()).unwrap_or_default(),
                prefer: parts
                    .headers
                    .get("prefer")
                    .map(|prefer| prefer.to_str().expect("text").to_owned()),
                agent: path.split('/').nth(2).unwrap_or_default().to_owned(),
                body: question,
                bytes: body.to_vec(),
            };
            fake.see.send(seen.clone()).expect("the test listens");
            if how == Step::Hang {
                pending::<()>().await;
            }
            fake.answer_step(how, &caller, &seen)
        }
    };
    answer.map(Body::from)
}

fn response(status: u16, body: &Value) -> Response<Vec<u8>> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .expect("a response")
}

/// Checks a message against its schema of the wire.
pub fn assert_fits(message: &str, value: &Value) {
    let schema = wire::schema(message).unwrap_or_else(|| panic!("no schema {message}"));
    let violations = Schema::compile(&schema).expect("a schema").violations(value, 8);
    assert_eq!(violations, [], "{message}: {value}");
}

/// What a gateway sends, signed.
pub struct Caller {
    pub orchestrator: String,
    pub key: &'static str,
    pub nonce: Option<String>,
    pub idempotency_key: Option<String>,
}

impl Caller {
    /// One with the right key.
    pub fn new(orchestrator: &str) -> Self {
        Self {
            orchestrator: orchestrator.to_owned(),
            key: "register",
            nonce: None,
            idempotency_key: None,
        }
    }

    /// Signs and sends; gives status, body, and whether the answer is signed for this request.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value, bool) {
        let keyring = Keyring::parse(&keys()).expect("keys");
        let idempotency_key = self.idempotency_key.clone().unwrap_or_else(outside::token);
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.orchestrator))
            .header("idempotency-key", format!("\"{idempotency_key}\""));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let bytes = body.map_or(Vec::new(), |body| body.to_string().into_bytes());
        let mut request = request.body(bytes).expect("a request");
        let stamp = Stamp {
            created_s: outside::now_ms() / 1_000,
            nonce: self.nonce.clone().unwrap_or_else(outside::token),
        };
        let sent = sign_request(&mut request, keyring.get(self.key).expect("a key"), stamp).expect("signed");
        let response = exchange(request);
        let signed = sent.verify(&response, outside::now_ms() / 1_000).is_ok();
        (response.status().as_u16(), json_of(&response), signed)
    }
}

/// Sends a request as it is.
pub fn exchange(request: http::Request<Vec<u8>>) -> Response<Vec<u8>> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into();
    let answer = if request.body().is_empty() {
        agent.run(request.map(|_| ()))
    } else {
        agent.run(request)
    };
    let (parts, mut body) = answer.expect("an answer").into_parts();
    Response::from_parts(parts, body.read_to_vec().expect("a body"))
}

/// Asks for a run until it is as it should be.
pub fn until(origin: &str, run: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually("the run comes to it", || {
        let (_, run) = plain("GET", &format!("{origin}/runs/{run}"), None);
        is(&run).then_some(run)
    })
}

/// Looks until something is found. `what` says in a failure what was waited for.
pub fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let found = (0..PATIENCE.as_millis() / 20).find_map(|_| {
        let found = look();
        if found.is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        found
    });
    found.unwrap_or_else(|| panic!("waited in vain: {what}"))
}

/// Sends an unsigned request.
pub fn plain(method: &str, url: &str, body: Option<&Value>) -> (u16, Value) {
    let mut request = http::Request::builder().method(method).uri(url);
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let bytes = body.map_or(Vec::new(), |body| body.to_string().into_bytes());
    let response = exchange(request.body(bytes).expect("a request"));
    (response.status().as_u16(), json_of(&response))
}

fn json_of(response: &Response<Vec<u8>>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_default()
}
