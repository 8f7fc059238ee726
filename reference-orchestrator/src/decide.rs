//! What a reply means for a step: the end, the same call again, a further attempt, or waiting.
//!
//! The same call is made again with the same idempotency key and the same bytes, signed anew: the gateway has one effect per
//! key.

use serde_json::{Value, json};

use crate::invoke::Reply;

/// A step has at most this many attempts.
pub const ATTEMPTS_MAX: u32 = 3;
/// The transport may fail this often in a row before a step is given up.
pub const TRANSPORT_FAILURES_MAX: u32 = 12;
/// The first pause before a retry, in milliseconds; each further one is twice as long.
const BACKOFF_FIRST_MS: u64 = 100;
/// The longest pause between retries, in milliseconds.
const BACKOFF_MAX_MS: u64 = 5_000;

/// What to do next for a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The step ended.
    End {
        /// Whether it completed.
        completed: bool,
        /// Whether the outcome came with a signature that holds.
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
    /// Wait until the gateway calls back, or until it is time to ask.
    Wait,
    /// A further attempt, under a new idempotency key.
    NextAttempt {
        /// After this pause, in milliseconds.
        after_ms: u64,
    },
}

/// What a reply means, for the given attempt and after so many failures of the transport in a row.
/// `jitter_permille` is random, 0 to 999.
#[must_use]
pub fn decide(reply: Reply, attempt: u32, failures: u32, jitter_permille: u64) -> Decision {
    match reply {
        Reply::Accepted => Decision::Wait,
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
            let waits = !replayed && (status == 409 || status == 429) && (retryable || retry_after_ms.is_some());
            // Such an answer is, or may be, the stored one of this key: only a new attempt can come to another.
            let spent = retryable && (replayed || status == 504);
            // The gateway registered anew meanwhile: the next call is made under the lease that is live by then.
            let outdated = code == "generation-outdated" && failures < TRANSPORT_FAILURES_MAX;
            if outdated {
                let after_ms = backoff_ms(failures, jitter_permille);
                Decision::Again {
                    after_ms,
                    failure: true,
                }
            } else if waits {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invoke::transport;

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
            Decision::Wait => "wait".into(),
            Decision::NextAttempt { after_ms } => format!("next {after_ms}"),
        };
        assert_eq!(found, expected, "{reply:?}, attempt {attempt}, {failures} failures");
    }

    #[test]
    fn what_was_accepted_is_waited_for() {
        check(Reply::Accepted, 1, 0, "wait");
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
        check(refused(409, true, Some(1_000), true), 1, 0, "next 1000");
        check(
            refused(409, false, None, true),
            1,
            0,
            "end completed=false verified=true",
        );
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
    fn an_outdated_generation_is_tried_again_under_the_lease_that_is_live() {
        let outdated = || Reply::Refused {
            status: 409,
            code: "generation-outdated".into(),
            detail: String::new(),
            retryable: false,
            retry_after_ms: None,
            replayed: false,
        };
        check(outdated(), 1, 0, "again 99 failure=true");
        check(
            outdated(),
            1,
            TRANSPORT_FAILURES_MAX,
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
    }
}
