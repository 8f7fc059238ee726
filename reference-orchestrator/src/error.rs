//! Every way in which a request to the orchestrator fails, and its one mapping to `application/problem+json`.

use baton::signature::Rejection;
use serde_json::{Value, json};

use crate::model::RegistrationStatus;
use crate::store::StoreError;

/// The media type of a problem (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum Problem {
    #[error("nothing is served at this path")]
    NotFound,
    #[error("this path does not answer to the request's method: see Allow")]
    MethodNotAllowed,
    #[error("send the body as Content-Type: application/json")]
    MediaType,
    #[error("the body must not be larger than {max_bytes} bytes")]
    BodyTooLarge { max_bytes: usize },
    #[error("the body did not arrive: {reason}")]
    BodyIncomplete { reason: String },
    #[error("{0}")]
    Rejected(#[from] Rejection),
    #[error("{reason}")]
    MalformedJson { reason: String },
    #[error("{reason}")]
    Invalid { reason: String },
    #[error("the operators' surface is for this machine: call it by its own origin, and not from another site's page")]
    ForeignOrigin,
    #[error(
        "gateway `{gateway}` is registered at {origin} and its lease holds: deregister it there, or wait for the lease to lapse"
    )]
    Elsewhere { gateway: String, origin: String },
    #[error("this idempotency key was used for another registration: a new registration needs a new key")]
    IdempotencyMismatch,
    #[error("{reason}")]
    ChallengeFailed { reason: String },
    #[error("{reason}")]
    ManifestMismatch { reason: String },
    #[error("no such registration: register anew")]
    UnknownRegistration,
    #[error("the registration is {}: register anew", status.as_str())]
    RegistrationEnded { status: RegistrationStatus },
    #[error("{reason}: register anew")]
    RegistrationChanged { reason: String },
    #[error("no registered gateway offers the agent `{agent}`: GET /gateways lists those that are")]
    UnknownAgent { agent: String },
    #[error("no such run")]
    UnknownRun,
    #[error("{reason}: there is nobody to deliver this to, so stop")]
    CallbackUnwanted { reason: String },
    #[error("the delivery is not signed as Standard Webhooks asks, by a valid `callback` key of ours: {}", rejection.code())]
    CallbackUnsigned { rejection: Rejection },
    #[error("told to refuse the first callbacks (--refuse-callbacks)")]
    CallbackRefused,
    #[error("a run with this id exists: GET /runs/{run} shows it")]
    RunExists { run: String },
    #[error("{limit} runs are under way, which is the limit: try again when one of them has finished")]
    TooManyRuns { limit: usize },
    #[error(
        "no live registration of gateway `{gateway}` is known here, or it drains: register, then hand the run on again"
    )]
    GatewayNotRegistered { gateway: String },
    #[error("this idempotency key came with another body before: repeat the same bytes, or take a new run")]
    RunMismatch,
    #[error("the deadline passed before the run ended")]
    DeadlineExceeded,
    #[error("the orchestrator went on by itself: {reason}. People have to look: GET /runs/{{run}} shows both")]
    RunConflict { reason: String },
    #[error("the orchestrator stops; the run goes on with its next start: ask again")]
    Stopping,
    #[error("told to answer {status} (POST /admin/behaviour)")]
    Told { status: u16 },
    #[error("the orchestrator has no valid `invoke` key for itself: add one to its keys file")]
    NoInvokeKey,
    #[error("the orchestrator's database did not answer; nothing is lost, try again")]
    Store(#[from] StoreError),
    #[error("an internal fault: the operator finds it in the log under the request id")]
    Internal,
}

impl Problem {
    /// The stable code; the `type` is `urn:baton:problem:` and this.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.mapping().1
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.mapping().0
    }

    /// Whether the same call, signed anew, may succeed later.
    #[must_use]
    pub const fn retryable(&self) -> bool {
        matches!(
            self,
            Self::BodyIncomplete { .. }
                | Self::Elsewhere { .. }
                | Self::ChallengeFailed { .. }
                | Self::TooManyRuns { .. }
                | Self::NoInvokeKey
                | Self::CallbackRefused
                | Self::Store(_)
                | Self::Internal
                | Self::GatewayNotRegistered { .. }
                | Self::Stopping
                | Self::Told { status: 429 | 500.. }
        )
    }

    /// Status, code and title.
    const fn mapping(&self) -> (u16, &'static str, &'static str) {
        match self {
            Self::NotFound => (404, "not-found", "No such resource"),
            Self::MethodNotAllowed => (405, "method-not-allowed", "Method not allowed"),
            Self::MediaType => (415, "media-type-unsupported", "Unsupported media type"),
            Self::BodyTooLarge { .. } => (413, "body-too-large", "Body too large"),
            Self::BodyIncomplete { .. } => (400, "body-incomplete", "Body incomplete"),
            Self::Rejected(rejection) => (rejection.status(), rejection.code(), "Signature refused"),
            Self::MalformedJson { .. } => (400, "json-malformed", "Malformed JSON"),
            Self::Invalid { .. } => (422, "schema-violated", "Schema violated"),
            Self::ForeignOrigin => (403, "origin-foreign", "Foreign origin"),
            Self::Elsewhere { .. } => (409, "gateway-elsewhere", "Gateway registered elsewhere"),
            Self::IdempotencyMismatch => (422, "idempotency-key-reused", "Idempotency key reused"),
            Self::ChallengeFailed { .. } => (422, "challenge-failed", "Challenge failed"),
            Self::ManifestMismatch { .. } => (422, "manifest-mismatch", "Manifest mismatch"),
            Self::UnknownRegistration => (404, "registration-unknown", "Unknown registration"),
            Self::RegistrationEnded { .. } => (410, "registration-ended", "Registration ended"),
            Self::RegistrationChanged { .. } => (409, "registration-changed", "Registration changed"),
            Self::UnknownAgent { .. } => (422, "agent-unknown", "Unknown agent"),
            Self::UnknownRun => (404, "run-unknown", "Unknown run"),
            Self::CallbackUnwanted { .. } => (410, "callback-unwanted", "Callback unwanted"),
            Self::CallbackUnsigned { rejection } => (rejection.status(), rejection.code(), "Signature refused"),
            Self::CallbackRefused => (503, "callback-refused", "Callback refused"),
            Self::RunExists { .. } => (409, "run-exists", "Run exists"),
            Self::TooManyRuns { .. } => (429, "runs-too-many", "Too many runs"),
            Self::GatewayNotRegistered { .. } => (409, "gateway-not-registered", "Gateway not registered"),
            Self::RunMismatch => (409, "idempotency-mismatch", "Idempotency mismatch"),
            Self::DeadlineExceeded => (504, "deadline-exceeded", "Deadline exceeded"),
            Self::RunConflict { .. } => (409, "run-conflict", "Run conflict"),
            Self::Stopping => (503, "stopping", "Stopping"),
            Self::Told { status } => told(*status),
            Self::NoInvokeKey => (503, "invoke-key-missing", "No invoke key"),
            // A gateway must not take a sick database for a lost lease: 503, never 404 or 410.
            Self::Store(_) => (503, "storage-unavailable", "Storage unavailable"),
            Self::Internal => (500, "internal", "Internal error"),
        }
    }

    /// The problem as a body.
    #[must_use]
    pub fn to_json(&self, request_id: &str) -> Value {
        let (status, code, title) = self.mapping();
        json!({
            "type": format!("urn:baton:problem:{code}"),
            "title": title,
            "status": status,
            "code": code,
            "detail": self.to_string(),
            "retryable": self.retryable(),
            "request_id": request_id,
        })
    }
}

/// A problem that was told is of the class that its status has elsewhere.
const fn told(status: u16) -> (u16, &'static str, &'static str) {
    let (code, title) = match status {
        400 => ("json-malformed", "Malformed JSON"),
        401 => ("signature-invalid", "Signature refused"),
        403 => ("key-not-allowed", "Signature refused"),
        404 => ("not-found", "No such resource"),
        409 => ("gateway-not-registered", "Gateway not registered"),
        410 => ("registration-ended", "Registration ended"),
        422 => ("schema-violated", "Schema violated"),
        429 => ("runs-too-many", "Too many runs"),
        500 => ("internal", "Internal error"),
        503 => ("storage-unavailable", "Storage unavailable"),
        504 => ("deadline-exceeded", "Deadline exceeded"),
        _ => ("told", "Told to fail"),
    };
    (status, code, title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sick_database_is_no_lost_lease() {
        let problem = Problem::Store(StoreError::for_test());
        assert_eq!(problem.status(), 503);
        assert!(problem.retryable());
        let body = problem.to_json("req_1");
        assert_eq!(body["type"], "urn:baton:problem:storage-unavailable");
        assert!(!body["detail"].as_str().unwrap_or_default().contains("disk"), "{body}");
    }

    #[test]
    fn a_rejection_keeps_its_class() {
        let body = Problem::from(Rejection::Replayed).to_json("req_1");
        assert_eq!(
            (&body["status"], &body["code"]),
            (&json!(401), &json!("signature-replayed"))
        );
    }
}
