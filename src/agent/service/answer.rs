//! What another gateway answers about a step, and what that means for ours.

use serde_json::Value;

use super::super::Failure;
use super::super::call::{asked_to_wait_ms, is_passing};
use crate::json::parse_strict;
use crate::manifest::JSON_DEPTH_MAX;
use crate::signature::{IDEMPOTENCY_REPLAYED, Rejection};
use crate::signed_call::problem_code;

/// An answer that somebody stands for by a signature; or one that nobody does.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// The step completed.
    Output(Value),
    /// The attempt failed. `known` says that it had before it was asked for.
    Failed { failure: Failure, known: bool },
    /// There is a later attempt than the one that was asked for.
    Overtaken,
    /// It is under way, or cannot begin now. Perhaps with how long to wait, in milliseconds.
    NotYet(Option<u64>),
    /// It is refused: the same call will be refused again.
    Refused { status: u16, code: String },
    /// The gateway has trouble of its own.
    Troubled { status: u16, asked_ms: Option<u64> },
    /// Nobody knows who said it.
    Unverified { status: u16, rejection: &'static str },
    /// It is signed, and none that can be used: why.
    Unusable(&'static str),
}

impl Said {
    /// Reads an answer that came at `now_ms`. `verified` says whether its signature holds.
    pub(super) fn read(response: &http::Response<Vec<u8>>, verified: Result<(), Rejection>, now_ms: u64) -> Self {
        let status = response.status().as_u16();
        let refused = || Self::Refused {
            status,
            code: problem_code(response.body()),
        };
        match verified {
            Ok(()) => {}
            // Who is not known to the other gateway gets its refusal unsigned.
            Err(Rejection::Missing) if matches!(status, 400..=499) && !is_passing(status) => return refused(),
            Err(rejection) => {
                let rejection = rejection.code();
                return Self::Unverified { status, rejection };
            }
        }
        let known = response.headers().contains_key(IDEMPOTENCY_REPLAYED);
        let asked_ms = asked_to_wait_ms(response.headers(), now_ms);
        match (status, problem_code(response.body()).as_str()) {
            (200, _) => outcome(response.body(), known),
            (202, _) | (409, "step-in-flight" | "claim-lost") | (429, _) => Self::NotYet(asked_ms),
            (401, "signature-replayed") => Self::NotYet(asked_ms),
            (409, "attempt-outdated") => Self::Overtaken,
            (504, "deadline-exceeded") => {
                let message = "the agent of the other gateway did not finish in time";
                let failure = Failure::retryable("gateway-timed-out", message, 0);
                Self::Failed { failure, known }
            }
            (500..=599, _) => Self::Troubled { status, asked_ms },
            _ => refused(),
        }
    }

    /// Whether the other gateway is to blame for it.
    pub(super) const fn is_fault(&self) -> bool {
        matches!(self, Self::Troubled { .. } | Self::Unverified { .. })
    }
}

fn outcome(body: &[u8], known: bool) -> Said {
    let Ok(mut outcome) = parse_strict(body, JSON_DEPTH_MAX) else {
        return Said::Unusable("its answer is no JSON");
    };
    match outcome["status"].as_str() {
        Some("completed") => Said::Output(outcome["output"].take()),
        Some("failed") => Said::Failed {
            failure: failure(&outcome["error"]),
            known,
        },
        Some("handed_off") => Said::Unusable("its agent handed off to a workflow, which is a step of its own"),
        Some("cancelled") => Said::Unusable("the step was cancelled there"),
        _ => Said::Unusable("its answer is no outcome"),
    }
}

fn failure(error: &Value) -> Failure {
    let text = |member: &str| error[member].as_str().unwrap_or("unknown").to_owned();
    match error["retryable"] == true {
        true => Failure::retryable(
            &text("code"),
            text("message"),
            error["retry_after_ms"].as_u64().unwrap_or(0),
        ),
        false => Failure::terminal(&text("code"), text("message")),
    }
}
