//! One signed invocation of a step, and what its answer means for the step.
//!
//! An outcome is believed only in an answer whose signature holds. Everything else says that the transport failed, and is
//! tried again with the same idempotency key and the same bytes, signed anew: the gateway has one effect per key.

use std::time::Duration;

use baton::json::parse_strict;
use baton::signature::{IDEMPOTENCY_REPLAYED, KeyRecord};
use serde_json::{Value, json};

use crate::client::{Answer, CallError, Client};
use crate::json::JSON_DEPTH_MAX;
use crate::model::{Invocation, Registration};
use crate::store::Pending;

/// A step has at most this many attempts.
pub const ATTEMPTS_MAX: u32 = 3;
/// The transport may fail this often in a row before a step is given up.
pub const TRANSPORT_FAILURES_MAX: u32 = 12;
/// The first pause before a retry, in milliseconds; each further one is twice as long.
const BACKOFF_FIRST_MS: u64 = 100;
/// The longest pause between retries, in milliseconds.
const BACKOFF_MAX_MS: u64 = 5_000;

/// What an answer says, once it is known whether it is the gateway's.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The step ended in some way.
    Outcome(Value),
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

/// What to do next for a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The step ended.
    End {
        /// Whether it completed.
        completed: bool,
        /// Whether the outcome came in a verified answer.
        verified: bool,
        /// The outcome.
        outcome: Value,
    },
    /// The same call again, signed anew.
    Again {
        /// After this pause, in milliseconds.
        after_ms: u64,
        /// Whether it counts as a failure of the transport.
        failure: bool,
    },
    /// A further attempt, under a new idempotency key.
    NextAttempt {
        /// After this pause, in milliseconds.
        after_ms: u64,
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
    let answer = client.post_signed(&url, &step.body(), Some(&idempotency_key), key, time_out);
    let (mut invocation, reply) = understand(&answer, run, step);
    invocation.gateway = Some(gateway.gateway.clone());
    (invocation, reply)
}

/// Reads an answer: first whether it is the gateway's, and only then what it says.
fn understand(answer: &Result<Answer, CallError>, run: &str, step: &Pending) -> (Invocation, Reply) {
    let mut invocation = Invocation::default();
    let reply = match answer {
        Err(error) => transport("no-answer", error.to_string()),
        Ok(Answer { response, verified }) => {
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            let status = response.status().as_u16();
            invocation.http_status = Some(status);
            invocation.request_id = header("x-request-id").map(str::to_owned);
            match verified {
                Err(rejection) => {
                    let detail = format!("status {status}, not verified ({}): {rejection}", rejection.code());
                    transport("answer-unverified", detail)
                }
                Ok(()) => {
                    invocation.verified = true;
                    invocation.replayed = header(IDEMPOTENCY_REPLAYED) == Some("true");
                    let retry_after_ms = header("retry-after").and_then(retry_after_ms);
                    let body = parse_strict(response.body(), JSON_DEPTH_MAX).unwrap_or_default();
                    if let Some(request_id) = body["request_id"].as_str() {
                        invocation.request_id = Some(request_id.to_owned());
                    }
                    read_verified(status, body, retry_after_ms, invocation.replayed, run, step)
                }
            }
        }
    };
    match &reply {
        Reply::Outcome(outcome) => {
            invocation.outcome = outcome["status"].as_str().map(str::to_owned);
            invocation.problem = outcome["error"]["code"].as_str().map(str::to_owned);
        }
        Reply::Refused { code, detail, .. } | Reply::Transport { code, detail } => {
            invocation.problem = Some(code.clone());
            invocation.detail = Some(detail.clone());
        }
    }
    (invocation, reply)
}

fn read_verified(
    status: u16,
    body: Value,
    retry_after_ms: Option<u64>,
    replayed: bool,
    run: &str,
    step: &Pending,
) -> Reply {
    if status == 200 {
        let ours = body["run"] == run
            && body["step"] == step.step.as_str()
            && body["attempt"] == step.attempt
            && body["agent"] == step.agent.as_str()
            && body["status"].is_string();
        if ours {
            return Reply::Outcome(body);
        }
        return transport(
            "answer-invalid",
            "the outcome names another run, step, attempt or agent".into(),
        );
    }
    match body["code"].as_str() {
        Some(code) => Reply::Refused {
            status,
            code: code.to_owned(),
            detail: body["detail"].as_str().unwrap_or_default().to_owned(),
            retryable: body["retryable"] == true,
            retry_after_ms: body["retry_after_ms"].as_u64().or(retry_after_ms),
            replayed,
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

/// What a reply means, for the given attempt and after so many failures of the transport in a row.
/// `jitter_permille` is random, 0 to 999.
#[must_use]
pub fn decide(reply: Reply, attempt: u32, failures: u32, jitter_permille: u64) -> Decision {
    match reply {
        Reply::Outcome(outcome) => {
            let retryable = outcome["status"] == "failed" && outcome["error"]["retryable"] == true;
            if retryable && attempt < ATTEMPTS_MAX {
                let asked_ms = outcome["error"]["retry_after_ms"].as_u64().unwrap_or(0);
                let after_ms = backoff_ms(attempt - 1, jitter_permille).max(asked_ms);
                return Decision::NextAttempt { after_ms };
            }
            Decision::End {
                completed: outcome["status"] == "completed",
                verified: true,
                outcome,
            }
        }
        Reply::Refused {
            status,
            code,
            detail,
            retryable,
            retry_after_ms,
            replayed,
        } => {
            let asked_ms = retry_after_ms.unwrap_or(0);
            let waits = (status == 409 || status == 429) && (retryable || retry_after_ms.is_some());
            // Such an answer is, or may be, the stored one of this key: only a new attempt can come to another.
            let spent = retryable && (replayed || status == 504);
            if waits {
                let after_ms = backoff_ms(failures, jitter_permille).max(asked_ms);
                Decision::Again {
                    after_ms,
                    failure: false,
                }
            } else if spent && attempt < ATTEMPTS_MAX {
                let after_ms = backoff_ms(attempt - 1, jitter_permille).max(asked_ms);
                Decision::NextAttempt { after_ms }
            } else if retryable && !spent && failures < TRANSPORT_FAILURES_MAX {
                let after_ms = backoff_ms(failures, jitter_permille).max(asked_ms);
                Decision::Again {
                    after_ms,
                    failure: true,
                }
            } else {
                give_up(&code, &detail, true)
            }
        }
        Reply::Transport { code, detail } => {
            if failures < TRANSPORT_FAILURES_MAX {
                let after_ms = backoff_ms(failures, jitter_permille);
                Decision::Again {
                    after_ms,
                    failure: true,
                }
            } else {
                give_up(&code, &detail, false)
            }
        }
    }
}

/// The orchestrator's own word on a step that it does not go on with.
#[must_use]
pub fn give_up(code: &str, message: &str, verified: bool) -> Decision {
    let error = json!({ "code": code, "message": message, "retryable": false });
    Decision::End {
        completed: false,
        verified,
        outcome: json!({ "status": "failed", "error": error }),
    }
}

/// An exponential pause, of which the upper half is random: callers that failed together do not return together.
fn backoff_ms(failures: u32, jitter_permille: u64) -> u64 {
    let full_ms = BACKOFF_FIRST_MS
        .saturating_mul(1 << failures.min(16))
        .min(BACKOFF_MAX_MS);
    full_ms / 2 + full_ms / 2 * jitter_permille / 1_000
}

/// `Retry-After` in seconds. Its other form, a date, is not used between gateway and orchestrator.
fn retry_after_ms(field: &str) -> Option<u64> {
    field.parse::<u64>().ok().map(|seconds| seconds.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use baton::signature::Rejection;
    use http::Response;

    use super::*;

    fn step() -> Pending {
        Pending {
            step: "s1".into(),
            agent: "triage".into(),
            attempt: 2,
            members: String::new(),
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

    fn refused(status: u16, retryable: bool, retry_after_ms: Option<u64>, replayed: bool) -> Reply {
        Reply::Refused {
            status,
            code: "code".into(),
            detail: "detail".into(),
            retryable,
            retry_after_ms,
            replayed,
        }
    }

    fn check(reply: Reply, attempt: u32, failures: u32, expected: &str) {
        let found = match decide(reply.clone(), attempt, failures, 999) {
            Decision::End {
                completed, verified, ..
            } => format!("end completed={completed} verified={verified}"),
            Decision::Again { after_ms, failure } => format!("again {after_ms} failure={failure}"),
            Decision::NextAttempt { after_ms } => format!("next {after_ms}"),
        };
        assert_eq!(found, expected, "{reply:?}, attempt {attempt}, {failures} failures");
    }

    #[test]
    fn outcomes() {
        let failed = |retryable: bool, more: Value| {
            let mut error = json!({ "code": "c", "message": "m", "retryable": retryable });
            if let Some(retry_after_ms) = more.as_u64() {
                error["retry_after_ms"] = retry_after_ms.into();
            }
            Reply::Outcome(json!({ "status": "failed", "error": error }))
        };
        check(
            Reply::Outcome(json!({ "status": "completed" })),
            1,
            0,
            "end completed=true verified=true",
        );
        check(
            Reply::Outcome(json!({ "status": "cancelled" })),
            1,
            0,
            "end completed=false verified=true",
        );
        check(failed(false, Value::Null), 1, 0, "end completed=false verified=true");
        check(failed(true, Value::Null), 1, 0, "next 99");
        check(failed(true, Value::Null), 2, 0, "next 199");
        check(failed(true, json!(1_500)), 1, 0, "next 1500");
        check(
            failed(true, Value::Null),
            ATTEMPTS_MAX,
            0,
            "end completed=false verified=true",
        );
    }

    #[test]
    fn refusals() {
        check(refused(409, true, Some(1_000), false), 1, 0, "again 1000 failure=false");
        check(refused(409, true, None, false), 1, 2, "again 399 failure=false");
        check(
            refused(409, false, None, false),
            1,
            0,
            "end completed=false verified=true",
        );
        check(
            refused(429, false, Some(3_000), false),
            1,
            0,
            "again 3000 failure=false",
        );
        check(
            refused(422, false, None, false),
            1,
            0,
            "end completed=false verified=true",
        );
        check(
            refused(401, false, None, false),
            1,
            0,
            "end completed=false verified=true",
        );
        check(refused(503, true, Some(1_000), false), 1, 0, "again 1000 failure=true");
        check(
            refused(503, true, None, false),
            1,
            TRANSPORT_FAILURES_MAX,
            "end completed=false verified=true",
        );
        check(refused(504, true, None, false), 1, 0, "next 99");
        check(refused(500, true, None, true), 1, 0, "next 99");
        check(
            refused(504, true, None, true),
            ATTEMPTS_MAX,
            0,
            "end completed=false verified=true",
        );
    }

    #[test]
    fn failures_of_the_transport() {
        let failure = || transport("no-answer", "timeout".into());
        check(failure(), 1, 0, "again 99 failure=true");
        check(failure(), 1, 3, "again 799 failure=true");
        check(failure(), 1, TRANSPORT_FAILURES_MAX - 1, "again 4997 failure=true");
        check(
            failure(),
            1,
            TRANSPORT_FAILURES_MAX,
            "end completed=false verified=false",
        );
    }

    #[test]
    fn pauses_grow_and_stay_bounded() {
        for failures in 0..100 {
            assert!(backoff_ms(failures, 0) >= BACKOFF_FIRST_MS / 2);
            assert!(backoff_ms(failures, 999) <= BACKOFF_MAX_MS);
        }
        assert_eq!(retry_after_ms("2"), Some(2_000));
        assert_eq!(retry_after_ms("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
