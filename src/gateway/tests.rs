//! The whole core, natively: a signed request in, a signed response out, over a platform that can fail.

use std::cell::Cell;

use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

mod alerts;
mod api_keys;
#[cfg(feature = "fixtures")]
mod conversations;
mod coordination;
mod direct;
mod fence;
mod history;
mod links;
mod live;
mod object;
mod overrides;
mod platform;
mod runs;
mod scrape;
mod session;
mod slots;
#[cfg(feature = "fixtures")]
mod stand_ins;

use self::platform::{FakePlatform, Fault};
use super::*;
use crate::agent::Host as _;
use crate::signature::keys::Keyring;
use crate::signature::{KeyRecord, Sent, Stamp, sign_request};

const NOW_S: u64 = 1_800_000_000;
const ORIGIN: &str = "https://gw.example.com";

/// An orchestrator that calls a gateway over a fake platform.
struct Bench {
    /// The agents as operators have changed them.
    team: Team,
    config: Config,
    platform: FakePlatform,
    nonces: Cell<u32>,
    /// The key that signs.
    signer: Cell<&'static str>,
}

#[derive(Clone)]
struct Call {
    method: &'static str,
    path: String,
    body: String,
    /// The idempotency key; none where it is empty.
    key: String,
    fields: Vec<(HeaderName, String)>,
}

impl Call {
    /// A call without body and idempotency key.
    fn new(method: &'static str, path: &str) -> Self {
        Self {
            method,
            path: path.into(),
            body: String::new(),
            key: String::new(),
            fields: Vec::new(),
        }
    }

    fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    fn step(body: Value) -> Self {
        Self {
            method: "POST",
            fields: Vec::new(),
            key: format!(
                "{}/{}",
                body["run"].as_str().unwrap_or_default(),
                body["step"].as_str().unwrap_or_default()
            ),
            body: body.to_string(),
            path: "/agents/triage/steps".into(),
        }
    }
}

fn step() -> Value {
    json!({"run": "r", "step": "s", "input": {"text": "I cannot log in"}})
}

impl Bench {
    fn new() -> Self {
        let secret = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        let keys = json!([
            {"id": "k", "orchestrator": "o", "purposes": ["invoke"], "secret": secret},
            {"id": "operator", "orchestrator": "o", "purposes": ["operate"], "secret": secret},
            {"id": "narrow", "orchestrator": "o", "purposes": ["invoke"], "secret": secret, "agents": ["redact"]},
        ])
        .to_string();
        let config = Config::read(|name| match name {
            "BATON_KEYS" => Some(keys.clone()),
            "BATON_ORIGINS" => Some(ORIGIN.to_owned()),
            _ => None,
        });
        Self {
            team: Team::embedded().clone(),
            config: config.expect("a configuration"),
            platform: FakePlatform::new(),
            nonces: Cell::new(0),
            signer: Cell::new("k"),
        }
    }

    fn gateway(&self) -> Gateway<'_> {
        let is_changed = self.team.overridden.version > 0;
        Gateway {
            team: &self.team,
            declared: if is_changed { Team::embedded() } else { &self.team },
            config: &self.config,
        }
    }

    fn key(&self) -> &KeyRecord {
        self.config.keyring.get(self.signer.get()).expect("the key")
    }

    fn sign(&self, call: &Call) -> (http::Request<Vec<u8>>, Sent) {
        self.nonces.set(self.nonces.get() + 1);
        let mut request = http::Request::builder()
            .method(call.method)
            .uri(format!("{ORIGIN}{}", call.path))
            .body(call.body.clone().into_bytes())
            .expect("a request");
        let mut field = |name: HeaderName, value: String| {
            request.headers_mut().insert(name, value.parse().expect("a field"));
        };
        if !call.body.is_empty() {
            field(CONTENT_TYPE, "application/json".into());
        }
        if !call.key.is_empty() {
            field(HeaderName::from_static("idempotency-key"), format!("\"{}\"", call.key));
        }
        for (name, value) in &call.fields {
            field(name.clone(), value.clone());
        }
        let stamp = Stamp {
            created_s: self.platform.now_ms() / 1_000,
            nonce: format!("nonce-{:016}", self.nonces.get()),
        };
        let sent = sign_request(&mut request, self.key(), stamp).expect("signed");
        (request, sent)
    }

    fn handle(&self, request: &http::Request<Vec<u8>>) -> (http::Response<Vec<u8>>, Record) {
        let (response, record) = self.handle_any(request);
        let whole = response.map(|body| match body {
            Body::Whole(body) => body,
            Body::Stream(_) | Body::Live(_) => panic!("a stream"),
        });
        (whole, record)
    }

    fn handle_any(&self, request: &http::Request<Vec<u8>>) -> Handled {
        block_on(self.handling(request))
    }

    async fn handling(&self, request: &http::Request<Vec<u8>>) -> Handled {
        let gateway = self.gateway();
        self.nonces.set(self.nonces.get() + 1);
        let occasion = Occasion {
            request_id: format!("request-{:016}", self.nonces.get()),
            random: [7; 24],
            trace: None,
            address: "203.0.113.7".into(),
        };
        match gateway.admit(request.method(), request.uri().path(), request.headers()) {
            Ok(admitted) => gateway.handle(&admitted, request, &occasion, &self.platform).await,
            Err(problem) => Gateway::refuse(&problem, &occasion.request_id),
        }
    }

    /// Signs, calls, and verifies the answer's signature.
    fn send(&self, call: &Call) -> (http::Response<Vec<u8>>, Record) {
        let (request, sent) = self.sign(call);
        let (response, record) = self.handle(&request);
        let held = sent.verify(&response, self.platform.now_ms() / 1_000);
        assert_eq!(held, Ok(()), "the answer to {} {} is not signed", call.path, call.body);
        (response, record)
    }

    fn call(&self, call: &Call) -> (u16, Value, Record) {
        let (response, record) = self.send(call);
        let body = serde_json::from_slice(response.body()).expect("JSON");
        (response.status().as_u16(), body, record)
    }

    fn check(&self, call: &Call, status: u16, code: &str) {
        let (found, body, record) = self.call(call);
        assert_eq!((found, body["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(record.problem, Some(code));
    }
}

/// Nothing here waits for anything: a future that is not ready at once is a fault of the test.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("the core waited for something other than the platform"),
    }
}

#[test]
fn a_step_is_completed_and_its_duplicate_gets_the_stored_answer() {
    let bench = Bench::new();
    let (status, first, record) = bench.call(&Call::step(step()));
    assert_eq!((status, first["status"].as_str()), (200, Some("completed")));
    assert_eq!(first["output"]["category"], "support");
    assert_eq!(
        (record.agent.as_deref(), record.key_id.as_deref()),
        (Some("triage"), Some("k"))
    );
    let schema = crate::wire::compiled("step-outcome").expect("the schema");
    assert_eq!(schema.get().expect("compiles").violations(&first, 9), []);
    let (_, second, record) = bench.call(&Call::step(step()));
    assert_eq!(second, first);
    assert!(record.replayed);
}

#[test]
fn a_retry_may_have_less_time_and_other_white_space() {
    let bench = Bench::new();
    let (_, first, _) = bench.call(&Call::step(step()));
    let mut retry = Call::step(step());
    retry.body = r#"{ "step": "s", "run": "r", "deadline_ms": 5, "input": {"text": "I cannot log in"} }"#.into();
    assert_eq!(bench.call(&retry).1, first);
}

#[test]
fn another_call_under_the_same_key_or_step_is_refused() {
    let bench = Bench::new();
    bench.call(&Call::step(step()));
    let mut other = step();
    other["input"]["text"] = "Something else".into();
    bench.check(&Call::step(other.clone()), 422, "idempotency-key-reused");
    let mut other = Call::step(other);
    other.key = "new".into();
    bench.check(&other, 422, "step-reused");
    let mut agent = Call::step(step());
    agent.path = "/agents/summarize/steps".into();
    bench.check(&agent, 422, "idempotency-key-reused");
}

#[test]
fn a_captured_request_is_refused() {
    let bench = Bench::new();
    let (request, _) = bench.sign(&Call::step(step()));
    assert_eq!(bench.handle(&request).0.status(), 200);
    let (response, record) = bench.handle(&request);
    assert_eq!(
        (response.status().as_u16(), record.problem),
        (401, Some("signature-replayed"))
    );
    assert!(
        !response.headers().contains_key("signature"),
        "a captor gets nothing signed"
    );
}

#[test]
fn what_is_wrong_with_a_body_is_said_with_its_place() {
    let bench = Bench::new();
    let body = |body: &str| Call {
        body: body.into(),
        ..Call::step(step())
    };
    bench.check(&body("{"), 400, "json-malformed");
    bench.check(&body(r#"{"run":"r","run":"r"}"#), 400, "json-malformed");
    bench.check(&body(r#"{"run":"r"}"#), 422, "schema-violated");
    let (_, problem, _) = bench.call(&body(r#"{"run":"r","step":"s","input":{"text":7}}"#));
    assert_eq!(problem["errors"][0]["instance"], "/input/text");
    assert_eq!(problem["errors"][0]["schema"], "/properties/text/type");
}

#[test]
fn json_depth_at_and_over_the_limit() {
    let bench = Bench::new();
    let depth_max = bench.team.gateway.limits.json_depth_max;
    let nested = |depth: usize| Call {
        body: format!(
            r#"{{"run":"r","step":"s","input":{}{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        ),
        ..Call::step(step())
    };
    // The object around the input is a level of its own.
    bench.check(&nested(depth_max - 1), 422, "schema-violated");
    bench.check(&nested(depth_max), 400, "json-malformed");
}

#[test]
fn body_size_at_and_over_the_limit() {
    let bench = Bench::new();
    let gateway = bench.gateway();
    let admit = |bytes: u64| {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
        gateway
            .admit(&Method::POST, "/agents/prioritize/steps", &headers)
            .map(|_| ())
    };
    let max_bytes = bench.team.gateway.limits.body_max_bytes;
    assert_eq!(admit(max_bytes), Ok(()));
    assert!(matches!(admit(max_bytes + 1), Err(Problem::BodyTooLarge { .. })));
}

#[test]
fn unknown_and_internal_agents_are_not_found() {
    let mut bench = Bench::new();
    let mut unknown = Call::step(step());
    unknown.path = "/agents/nobody/steps".into();
    bench.check(&unknown, 404, "agent-unknown");
    for agent in &mut bench.team.agents {
        agent.visibility = Visibility::Internal;
    }
    bench.check(&Call::step(step()), 404, "agent-unknown");
}

#[test]
fn closed_documents_are_for_callers_whose_signature_holds() {
    let mut bench = Bench::new();
    let open = http::Request::get(format!("{ORIGIN}/.well-known/baton.json"))
        .body(Vec::new())
        .expect("a request");
    assert_eq!(bench.handle(&open).0.status(), 200);
    bench.team.gateway.discovery.public = false;
    assert_eq!(bench.handle(&open).0.status(), 401);
    let mut signed = open;
    let stamp = Stamp {
        created_s: NOW_S,
        nonce: "a-nonce-of-16-and-more".into(),
    };
    let sent = sign_request(&mut signed, bench.key(), stamp).expect("signed");
    let (response, _) = bench.handle(&signed);
    assert_eq!(
        (response.status().as_u16(), sent.verify(&response, NOW_S)),
        (200, Ok(()))
    );
    signed
        .headers_mut()
        .insert(IF_NONE_MATCH, response.headers()[ETAG].clone());
    let (response, _) = bench.handle(&signed);
    assert_eq!(
        (response.status().as_u16(), sent.verify(&response, NOW_S)),
        (304, Ok(()))
    );
}

#[test]
fn the_challenge_is_answered_for_this_gateway_alone() {
    let bench = Bench::new();
    let challenge = |gateway: &str| Call {
        body: json!({"gateway": gateway, "challenge": "0123456789abcdef"}).to_string(),
        key: "any".into(),
        ..Call::new("POST", "/link/challenge")
    };
    let (status, answer, _) = bench.call(&challenge(&bench.team.gateway.id));
    assert_eq!((status, answer["challenge"].as_str()), (200, Some("0123456789abcdef")));
    bench.check(&challenge("another"), 404, "not-found");
}

#[test]
fn without_keys_every_signed_call_is_refused() {
    let mut bench = Bench::new();
    let (request, _) = bench.sign(&Call::step(step()));
    bench.config.keyring = Keyring::default();
    let (response, record) = bench.handle(&request);
    assert_eq!(
        (response.status().as_u16(), record.problem),
        (401, Some("signature-invalid"))
    );
    assert!(response.headers().contains_key("accept-signature"));
    assert!(response.headers().contains_key(WWW_AUTHENTICATE));
}

#[cfg(feature = "fixtures")]
#[test]
fn a_panic_is_the_agents_failure() {
    let bench = Bench::new();
    let mut call = Call::step(json!({"run": "r", "step": "s", "input": {"panic": true}}));
    call.path = "/agents/panic/steps".into();
    let (status, outcome, _) = bench.call(&call);
    assert_eq!(
        (status, outcome["error"]["code"].as_str()),
        (200, Some("agent-panicked"))
    );
}

#[cfg(feature = "fixtures")]
#[test]
fn an_output_that_breaks_its_schema_is_the_agents_failure() {
    let bench = Bench::new();
    let mut call = Call::step(json!({"run": "r", "step": "s", "input": {}}));
    call.path = "/agents/bad-output/steps".into();
    let (status, outcome, _) = bench.call(&call);
    assert_eq!(
        (status, outcome["error"]["code"].as_str()),
        (200, Some("output-schema-violated"))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Storage that fails, before or after it did what it was asked: the caller repeats its call until it is answered, and
    /// all answers it ever gets are the same.
    #[test]
    fn one_answer_whatever_fails(faults in proptest::collection::vec(0..3_u8, 0..12)) {
        let bench = Bench::new();
        let faults = faults.into_iter().map(|fault| [Fault::None, Fault::BeforeDoing, Fault::AfterDoing][usize::from(fault)]);
        bench.platform.faults.replace(faults.collect());
        let mut answer = None;
        for _ in 0..40 {
            let (status, body, _) = bench.call(&Call::step(step()));
            match status {
                200 => {
                    let first = answer.get_or_insert_with(|| body.clone());
                    prop_assert_eq!(&*first, &body);
                }
                // In flight: its owner lost its commit. The claim ends in time.
                409 => bench.platform.now_ms.set(bench.platform.now_ms.get() + 10_000),
                503 => {}
                other => prop_assert!(false, "{other}: {body}"),
            }
        }
        prop_assert!(answer.is_some());
    }
}
