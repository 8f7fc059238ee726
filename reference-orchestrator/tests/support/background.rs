//! What the fake gateway does for steps in the background, and for state; and the callbacks that a gateway sends.

use baton::signature::{Keyring, Verified, sign_response, webhook};
use baton::wire;
use http::Response;
use http::request::Parts;
use reference_orchestrator::outside;
use serde_json::{Value, json};

use super::{Fake, SeenStep, assert_fits, exchange, json_of, keys, response};

/// How the fake gateway answers when it is asked how far the step is that it accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    Running,
    Ended,
    EndedUnsigned,
    TimedOut,
    Fault,
    Unknown,
}

/// How the fake gateway takes a run's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Keep,
    KeepUnsigned,
    Conflict,
}

/// What the fake gateway was sent as a run's state.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenPut {
    pub path: String,
    pub idempotency_key: String,
    pub if_none_match: String,
    pub body: String,
}

impl SeenStep {
    /// How the step ends well.
    pub fn outcome(&self) -> Value {
        let body = &self.body;
        json!({
            "status": "completed", "run": body["run"], "step": body["step"], "attempt": body["attempt"],
            "agent": self.agent, "output": { "echo": body["input"] },
        })
    }

    /// The step-status.
    pub fn status(&self, status: &str) -> Value {
        let body = &self.body;
        json!({
            "status": status, "run": body["run"], "step": body["step"], "attempt": body["attempt"], "agent": self.agent,
            "idempotency_key": self.idempotency_key, "executions": 1, "accepted_at_ms": 1, "background": true,
        })
    }

    /// A callback's body.
    pub fn delivery(&self, kind: &str, status: u16, answer: &Value) -> Value {
        let body = &self.body;
        json!({
            "type": kind,
            "timestamp": "2026-01-01T00:00:00Z",
            "data": {
                "run": body["run"], "step": body["step"], "attempt": body["attempt"], "agent": self.agent,
                "idempotency_key": self.idempotency_key, "answer": { "status": status, "body": answer },
            },
        })
    }

    /// Where its callback goes.
    pub fn callback_url(&self) -> String {
        self.body["callback"]["url"].as_str().expect("a callback").to_owned()
    }
}

impl Fake {
    /// Whether it keeps state for the run.
    pub fn keeps(&self, run: &Value) -> bool {
        let kept = self.kept.lock().expect("the states");
        run.as_str().is_some_and(|run| kept.contains(run))
    }

    pub(super) fn answer_poll(&self, caller: &Verified, path: &str) -> Response<Vec<u8>> {
        let how = self.polls.lock().expect("the script").pop_front();
        let how = how.unwrap_or(Poll::Running);
        let step = self
            .accepted
            .lock()
            .expect("the step")
            .clone()
            .expect("an accepted step");
        let run = step.body["run"].as_str().expect("a run");
        let id = step.body["step"].as_str().expect("a step");
        assert_eq!(path, format!("/runs/{run}/steps/{id}"));
        let ended = |status: u16, body: Value| {
            let mut ended = step.status("ended");
            ended["answer"] = json!({ "status": status, "body": body });
            response(200, &ended)
        };
        let problem = |status: u16, code: &str, retryable: bool| {
            response(
                status,
                &json!({ "code": code, "detail": "told so", "retryable": retryable }),
            )
        };
        let mut response = match how {
            Poll::Running => response(200, &step.status("running")),
            Poll::Ended | Poll::EndedUnsigned => ended(200, step.outcome()),
            Poll::TimedOut => ended(
                504,
                json!({ "code": "deadline-exceeded", "detail": "late", "retryable": true }),
            ),
            Poll::Fault => problem(503, "storage-unavailable", true),
            Poll::Unknown => problem(404, "step-unknown", false),
        };
        if how != Poll::EndedUnsigned {
            sign_response(&mut response, caller, outside::now_ms() / 1_000);
        }
        response
    }

    pub(super) fn answer_put(&self, caller: &Verified, parts: &Parts, body: &[u8]) -> Response<Vec<u8>> {
        let path = parts.uri.path();
        let run = path.split('/').nth(2).unwrap_or_default().to_owned();
        self.seen_puts.lock().expect("the states").push(SeenPut {
            path: path.to_owned(),
            idempotency_key: caller.idempotency_key().unwrap_or_default().to_owned(),
            if_none_match: parts.headers["if-none-match"].to_str().expect("text").to_owned(),
            body: String::from_utf8(body.to_vec()).expect("text"),
        });
        let how = self.puts.lock().expect("the script").pop_front().unwrap_or(Put::Keep);
        let mut response = if how == Put::Conflict {
            let problem =
                json!({ "code": "state-conflict", "detail": "told so", "retryable": false, "current_version": 1 });
            response(412, &problem)
        } else {
            let receipt = json!({ "run": run, "version": 1, "digest": "sha-256=:x:", "bytes": body.len() });
            self.kept.lock().expect("the states").insert(run);
            response(201, &receipt)
        };
        if how != Put::KeepUnsigned {
            sign_response(&mut response, caller, outside::now_ms() / 1_000);
        }
        response
    }
}

/// Checks an invocation against the wire's schema, in which `callback` is known or not known yet.
pub fn assert_fits_invocation(invocation: &Value) {
    let schema = wire::schema("step-invocation").expect("the schema");
    let mut invocation = invocation.clone();
    if schema["properties"].get("callback").is_none() {
        invocation.as_object_mut().expect("an object").remove("callback");
    }
    assert_fits("step-invocation", &invocation);
}

/// A delivery by Standard Webhooks.
pub struct Delivery<'a> {
    pub id: &'a str,
    /// The keys that it is signed with.
    pub keys: &'a [&'a str],
    pub timestamp_s: u64,
}

impl<'a> Delivery<'a> {
    /// One with the right key, of now.
    pub fn new(id: &'a str) -> Self {
        Self {
            id,
            keys: &["callback"],
            timestamp_s: outside::now_ms() / 1_000,
        }
    }

    /// Signs and sends; gives status and body.
    pub fn send(&self, url: &str, body: &Value) -> (u16, Value) {
        let keyring = Keyring::parse(&keys()).expect("keys");
        let body = body.to_string().into_bytes();
        let secrets = self
            .keys
            .iter()
            .map(|key| keyring.get(key).expect("a key").secret.bytes());
        let signatures = webhook::sign_all(secrets, self.id, self.timestamp_s, &body);
        let mut request = http::Request::post(url)
            .header("content-type", "application/json")
            .header("webhook-id", self.id)
            .header("webhook-timestamp", self.timestamp_s.to_string());
        if !signatures.is_empty() {
            request = request.header("webhook-signature", signatures);
        }
        let response = exchange(request.body(body).expect("a request"));
        (response.status().as_u16(), json_of(&response))
    }
}
