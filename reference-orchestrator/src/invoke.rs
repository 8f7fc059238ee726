//! One signed invocation of a step, and what its answer says.
//!
//! An outcome is believed only in an answer whose signature holds. Everything else says that the transport failed.

use std::time::Duration;

use baton::json::parse_strict;
use baton::signature::profile::GENERATION;
use baton::signature::{IDEMPOTENCY_REPLAYED, KeyRecord};
use serde_json::Value;

use crate::client::{Answer, Call, CallError, Client};
use crate::json::JSON_DEPTH_MAX;
use crate::model::{Invocation, Mode, Registration};
use crate::store::{Pending, StoredAnswer};

/// What an answer says, once it is known whether it is the gateway's.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The step ended in some way.
    Outcome(Value),
    /// The gateway executes the step in the background; it has not ended.
    Accepted,
    /// The gateway refused, and signed it.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The problem's code.
        code: String,
        /// The problem's sentence.
        detail: String,
        /// Whether the same call may succeed later.
        retryable: bool,
        /// What `Retry-After` asks for, in milliseconds.
        retry_after_ms: Option<u64>,
        /// Whether this is a stored answer: the same call will get it every time.
        replayed: bool,
    },
    /// Nobody knows whether the step was executed.
    Transport {
        /// Our own code for what went wrong.
        code: String,
        /// The same in a sentence.
        detail: String,
    },
}

/// The idempotency key of an attempt.
#[must_use]
pub fn idempotency_key(run: &str, step: &str, attempt: u32) -> String {
    format!("{run}/{step}/{attempt}")
}

/// Invokes a step on a gateway: the record of the call as far as it is known here, and what the answer says.
pub fn invoke(
    client: &Client,
    key: &KeyRecord,
    gateway: &Registration,
    (run, step): (&str, &Pending),
    time_out: Duration,
) -> (Invocation, Reply) {
    let url = format!("{}/agents/{}/steps", gateway.origin, step.agent);
    let idempotency_key = idempotency_key(run, &step.step, step.attempt);
    let generation = gateway.generation.to_string();
    let mut headers = vec![(GENERATION, generation.as_str())];
    if step.mode == Mode::Async {
        headers.push(("prefer", "respond-async"));
    }
    if let Some(span) = &step.traceparent {
        headers.push(("traceparent", span));
    }
    let call = Call {
        method: "POST",
        url: &url,
        body: &step.body(),
        idempotency_key: Some(&idempotency_key),
        headers: &headers,
    };
    let (mut invocation, reply) = understand(&client.send_signed(call, key, time_out), run, step);
    invocation.idempotency_key = idempotency_key;
    (invocation, reply)
}

/// A verified answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// The HTTP status.
    pub status: u16,
    /// The body; `null` where it is no JSON.
    pub body: Value,
    /// What `Retry-After` asks for, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// Whether it is a stored answer.
    pub replayed: bool,
}

/// Reads an answer: first whether it is the gateway's, and only then what it says.
fn understand(answer: &Result<Answer, CallError>, run: &str, step: &Pending) -> (Invocation, Reply) {
    let (mut invocation, opened) = open(answer);
    let reply = opened.map_or_else(|reply| reply, |verified| read_verified(verified, run, step));
    note(&mut invocation, &reply);
    (invocation, reply)
}

/// Opens an answer: what it says, if it is the gateway's, and the record of the call as far as it is known by that.
pub fn open(answer: &Result<Answer, CallError>) -> (Invocation, Result<Verified, Reply>) {
    let mut invocation = Invocation::default();
    let opened = match answer {
        Err(error) => Err(transport("no-answer", error.to_string())),
        Ok(Answer { response, verified }) => {
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            let status = response.status().as_u16();
            invocation.http_status = Some(status);
            invocation.request_id = header("x-request-id").map(str::to_owned);
            match verified {
                Err(rejection) => {
                    let detail = format!("status {status}, not verified ({}): {rejection}", rejection.code());
                    Err(transport("answer-unverified", detail))
                }
                Ok(()) => {
                    invocation.verified = true;
                    invocation.replayed = header(IDEMPOTENCY_REPLAYED) == Some("true");
                    let body = parse_strict(response.body(), JSON_DEPTH_MAX).unwrap_or_default();
                    if let Some(request_id) = body["request_id"].as_str() {
                        invocation.request_id = Some(request_id.to_owned());
                    }
                    Ok(Verified {
                        status,
                        body,
                        retry_after_ms: header("retry-after").and_then(retry_after_ms),
                        replayed: invocation.replayed,
                    })
                }
            }
        }
    };
    (invocation, opened)
}

/// Notes in the record of a call what it came to.
pub fn note(invocation: &mut Invocation, reply: &Reply) {
    match reply {
        Reply::Accepted => {}
        Reply::Outcome(outcome) => {
            invocation.outcome = outcome["status"].as_str().map(str::to_owned);
            invocation.problem = outcome["error"]["code"].as_str().map(str::to_owned);
        }
        Reply::Refused { code, detail, .. } | Reply::Transport { code, detail } => {
            invocation.problem = Some(code.clone());
            invocation.detail = Some(detail.clone());
        }
    }
}

/// Reads the answer to a step that ended in the background. It is as good as a replayed one: it will not change.
#[must_use]
pub fn read_stored(answer: StoredAnswer, run: &str, step: &Pending) -> Reply {
    if answer.status == 202 {
        return transport("answer-invalid", "a step does not end with status 202".into());
    }
    let verified = Verified {
        status: answer.status,
        body: answer.body,
        retry_after_ms: None,
        replayed: true,
    };
    read_verified(verified, run, step)
}

/// Whether a message is about the current attempt of a step.
#[must_use]
pub fn is_of_step(body: &Value, run: &str, step: &Pending) -> bool {
    body["run"] == run
        && body["step"] == step.step.as_str()
        && body["attempt"] == step.attempt
        && body["agent"] == step.agent.as_str()
        && body["status"].is_string()
}

fn read_verified(verified: Verified, run: &str, step: &Pending) -> Reply {
    let may_wait = verified.status == 202 && step.mode == Mode::Async;
    if verified.status == 200 || may_wait {
        return match is_of_step(&verified.body, run, step) {
            true if may_wait => Reply::Accepted,
            true => Reply::Outcome(verified.body),
            false => {
                let detail = "the answer names another run, step, attempt or agent";
                transport("answer-invalid", detail.into())
            }
        };
    }
    refused(verified)
}

/// Reads a problem.
#[must_use]
pub fn refused(verified: Verified) -> Reply {
    let Verified { status, body, .. } = verified;
    match body["code"].as_str() {
        Some(code) => Reply::Refused {
            status,
            code: code.to_owned(),
            detail: body["detail"].as_str().unwrap_or_default().to_owned(),
            retryable: body["retryable"] == true,
            retry_after_ms: body["retry_after_ms"].as_u64().or(verified.retry_after_ms),
            replayed: verified.replayed,
        },
        None => transport("answer-invalid", format!("status {status} without a problem's code")),
    }
}

/// A reply that says nothing about the step.
#[must_use]
pub fn transport(code: &str, detail: String) -> Reply {
    Reply::Transport {
        code: code.to_owned(),
        detail,
    }
}

/// `Retry-After` in seconds. Its other form, a date, is not used between gateway and orchestrator.
fn retry_after_ms(field: &str) -> Option<u64> {
    field.parse::<u64>().ok().map(|seconds| seconds.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use baton::signature::Rejection;
    use http::Response;
    use serde_json::json;

    use super::*;

    fn step() -> Pending {
        Pending {
            step: "s1".into(),
            agent: "triage".into(),
            attempt: 2,
            mode: Mode::Sync,
            accepted_by: None,
            members: String::new(),
            traceparent: None,
        }
    }

    fn outcome(more: Value) -> Value {
        let mut outcome = json!({ "run": "r", "step": "s1", "attempt": 2, "agent": "triage", "status": "completed" });
        for (name, value) in more.as_object().into_iter().flatten() {
            outcome[name] = value.clone();
        }
        outcome
    }

    fn answered(status: u16, body: &Value, verified: Result<(), Rejection>) -> (Invocation, Reply) {
        let response = Response::builder()
            .status(status)
            .header("x-request-id", "req_1")
            .header("retry-after", "2")
            .header(IDEMPOTENCY_REPLAYED, "true")
            .body(body.to_string().into_bytes())
            .expect("a response");
        understand(&Ok(Answer { response, verified }), "r", &step())
    }

    fn code(reply: &Reply) -> &str {
        match reply {
            Reply::Outcome(outcome) => outcome["status"].as_str().unwrap_or_default(),
            Reply::Accepted => "accepted",
            Reply::Refused { code, .. } | Reply::Transport { code, .. } => code,
        }
    }

    #[test]
    fn only_a_verified_answer_is_an_outcome() {
        let (invocation, reply) = answered(200, &outcome(json!({})), Ok(()));
        assert_eq!(code(&reply), "completed");
        assert!(invocation.verified && invocation.replayed);
        assert_eq!(invocation.request_id.as_deref(), Some("req_1"));
        assert_eq!(invocation.outcome.as_deref(), Some("completed"));

        for rejection in [Rejection::Missing, Rejection::Invalid, Rejection::Digest] {
            let (invocation, reply) = answered(200, &outcome(json!({})), Err(rejection));
            assert_eq!(code(&reply), "answer-unverified");
            assert!(!invocation.verified && !invocation.replayed);
            assert_eq!((invocation.http_status, invocation.outcome), (Some(200), None));
        }
        let (invocation, reply) = understand(&Err(CallError::Transport("timeout".into())), "r", &step());
        assert_eq!((code(&reply), invocation.http_status), ("no-answer", None));
    }

    #[test]
    fn an_outcome_must_be_that_of_the_step() {
        for more in [
            json!({ "run": "x" }),
            json!({ "step": "s2" }),
            json!({ "attempt": 1 }),
            json!({ "agent": "redact" }),
            json!({ "status": null }),
        ] {
            let (_, reply) = answered(200, &outcome(more.clone()), Ok(()));
            assert_eq!(code(&reply), "answer-invalid", "{more}");
        }
        assert_eq!(code(&answered(204, &Value::Null, Ok(())).1), "answer-invalid");
    }

    #[test]
    fn only_a_step_that_may_wait_is_accepted() {
        let step = Pending {
            mode: Mode::Async,
            ..step()
        };
        let read = |status, body: Value, step: &Pending| {
            let verified = Verified {
                status,
                body,
                retry_after_ms: None,
                replayed: false,
            };
            code(&read_verified(verified, "r", step)).to_owned()
        };
        let accepted = outcome(json!({ "status": "accepted" }));
        assert_eq!(read(202, accepted.clone(), &step), "accepted");
        assert_eq!(read(202, accepted.clone(), &self::step()), "answer-invalid");
        assert_eq!(read(202, outcome(json!({ "run": "x" })), &step), "answer-invalid");
        assert_eq!(read(200, outcome(json!({})), &step), "completed");

        let stored = |status, body| code(&read_stored(StoredAnswer { status, body }, "r", &step)).to_owned();
        assert_eq!(stored(200, outcome(json!({}))), "completed");
        assert_eq!(stored(202, accepted), "answer-invalid");
        assert_eq!(stored(504, json!({ "code": "deadline-exceeded" })), "deadline-exceeded");
    }

    #[test]
    fn a_problem_is_read_whole() {
        let body = json!({ "code": "step-in-flight", "detail": "wait", "retryable": true, "request_id": "req_2" });
        let (invocation, reply) = answered(409, &body, Ok(()));
        assert_eq!(invocation.request_id.as_deref(), Some("req_2"));
        assert_eq!(
            reply,
            Reply::Refused {
                status: 409,
                code: "step-in-flight".into(),
                detail: "wait".into(),
                retryable: true,
                retry_after_ms: Some(2_000),
                replayed: true,
            }
        );
    }

    #[test]
    fn retry_after_is_in_seconds() {
        assert_eq!(retry_after_ms("2"), Some(2_000));
        assert_eq!(retry_after_ms("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
