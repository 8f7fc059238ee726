//! Every way in which a request can fail, and its one mapping to `application/problem+json` (RFC 9457).
//!
//! A problem is told to two audiences: the caller gets a stable `type` and a sentence that helps; the
//! operator finds the same code in the log line. Nothing internal is ever part of either.

use serde_json::{Value, json};

use crate::schema::Violation;
use crate::signature::Rejection;

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request failed.
#[derive(Debug, Clone, PartialEq)]
pub enum Problem {
    /// No such resource.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed {
        /// What `Allow` says.
        allow: String,
    },
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// The body is larger than the route's cap.
    BodyTooLarge {
        /// The cap.
        max_bytes: usize,
    },
    /// The signature, or what surrounds it, was refused.
    Rejected(Rejection),
    /// The body is not JSON as we accept it.
    MalformedJson {
        /// What was wrong and where.
        reason: String,
    },
    /// The body breaks the schema of its message, or the agent's input or state schema.
    SchemaViolated {
        /// Every violation, up to a bound.
        violations: Vec<Violation>,
    },
    /// No agent of this name.
    UnknownAgent,
    /// The idempotency key was used for another body.
    IdempotencyMismatch,
    /// The step was invoked before, with another input.
    StepMismatch,
    /// A later attempt of this step is known.
    AttemptOutdated {
        /// The latest attempt.
        latest: u32,
    },
    /// The step is being executed by another request.
    InFlight {
        /// When to ask again.
        retry_after_ms: u64,
    },
    /// The agent did not answer within the deadline.
    DeadlineExceeded {
        /// The deadline that held.
        deadline_ms: u64,
    },
    /// The claim was taken over: the answer of its new owner counts.
    ClaimLost,
    /// The run's storage did not answer.
    StorageUnavailable,
    /// The gateway's own configuration is wrong; the log says how.
    Misconfigured,
    /// A fault of ours.
    Internal,
}

impl Problem {
    /// The stable code; the `type` is `urn:baton:problem:` and this.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::MethodNotAllowed { .. } => "method-not-allowed",
            Self::UnsupportedMediaType => "media-type-unsupported",
            Self::BodyTooLarge { .. } => "body-too-large",
            Self::Rejected(rejection) => rejection.code(),
            Self::MalformedJson { .. } => "json-malformed",
            Self::SchemaViolated { .. } => "schema-violated",
            Self::UnknownAgent => "agent-unknown",
            Self::IdempotencyMismatch => "idempotency-key-reused",
            Self::StepMismatch => "step-reused",
            Self::AttemptOutdated { .. } => "attempt-outdated",
            Self::InFlight { .. } => "step-in-flight",
            Self::DeadlineExceeded { .. } => "deadline-exceeded",
            Self::ClaimLost => "claim-lost",
            Self::StorageUnavailable => "storage-unavailable",
            Self::Misconfigured => "gateway-misconfigured",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::NotFound | Self::UnknownAgent => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::UnsupportedMediaType => 415,
            Self::BodyTooLarge { .. } => 413,
            Self::Rejected(rejection) => rejection.status(),
            Self::MalformedJson { .. } => 400,
            Self::SchemaViolated { .. } | Self::IdempotencyMismatch | Self::StepMismatch => 422,
            Self::AttemptOutdated { .. } | Self::InFlight { .. } | Self::ClaimLost => 409,
            Self::DeadlineExceeded { .. } => 504,
            Self::StorageUnavailable | Self::Misconfigured => 503,
            Self::Internal => 500,
        }
    }

    /// Whether the same call, signed anew, may succeed later.
    #[must_use]
    pub const fn retryable(&self) -> bool {
        matches!(
            self,
            Self::Rejected(Rejection::Expired | Rejection::Replayed)
                | Self::InFlight { .. }
                | Self::DeadlineExceeded { .. }
                | Self::ClaimLost
                | Self::StorageUnavailable
                | Self::Misconfigured
                | Self::Internal
        )
    }

    /// How long to wait before a retry, where we know it.
    #[must_use]
    pub const fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::InFlight { retry_after_ms } => Some(*retry_after_ms),
            Self::StorageUnavailable | Self::ClaimLost => Some(1_000),
            _ => None,
        }
    }

    const fn title(&self) -> &'static str {
        match self {
            Self::NotFound => "No such resource",
            Self::MethodNotAllowed { .. } => "Method not allowed",
            Self::UnsupportedMediaType => "Unsupported media type",
            Self::BodyTooLarge { .. } => "Body too large",
            Self::Rejected(Rejection::KeyNotAllowed) => "Not allowed",
            Self::Rejected(_) => "Signature refused",
            Self::MalformedJson { .. } => "Malformed JSON",
            Self::SchemaViolated { .. } => "Schema violated",
            Self::UnknownAgent => "Unknown agent",
            Self::IdempotencyMismatch => "Idempotency key reused",
            Self::StepMismatch => "Step reused",
            Self::AttemptOutdated { .. } => "Attempt outdated",
            Self::InFlight { .. } => "Step in flight",
            Self::DeadlineExceeded { .. } => "Deadline exceeded",
            Self::ClaimLost => "Claim lost",
            Self::StorageUnavailable => "Storage unavailable",
            Self::Misconfigured => "Gateway misconfigured",
            Self::Internal => "Internal error",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NotFound => "nothing is served at this path: /openapi.json lists what is".into(),
            Self::MethodNotAllowed { allow } => format!("this path answers to {allow}"),
            Self::UnsupportedMediaType => "send the body as Content-Type: application/json".into(),
            Self::BodyTooLarge { max_bytes } => {
                format!("the body must not be larger than {max_bytes} bytes")
            }
            Self::Rejected(rejection) => rejection.to_string(),
            Self::MalformedJson { reason } => reason.clone(),
            Self::SchemaViolated { violations } => format!(
                "{} violation(s), each named in `errors` with the place in the body and in the schema",
                violations.len()
            ),
            Self::UnknownAgent => "no such agent: /.well-known/baton.json lists those that there are".into(),
            Self::IdempotencyMismatch => {
                "this idempotency key was used for another step, attempt or input: a new call needs a new key".into()
            }
            Self::StepMismatch => {
                "this step of the run was invoked with another agent, input or state: a new call needs a new step id"
                    .into()
            }
            Self::AttemptOutdated { latest } => {
                format!("attempt {latest} of this step is known: a new attempt must have a higher number")
            }
            Self::InFlight { .. } => {
                "the step is being executed: ask again after Retry-After, with the same idempotency key".into()
            }
            Self::DeadlineExceeded { deadline_ms } => {
                format!("the agent did not finish within {deadline_ms} ms")
            }
            Self::ClaimLost => {
                "the step was taken over while it was executed: ask again for the answer that counts".into()
            }
            Self::StorageUnavailable => "the run's storage did not answer: nothing is lost, try again".into(),
            Self::Misconfigured => {
                "the gateway cannot serve this call: its operator finds the reason in the log".into()
            }
            Self::Internal => "an internal fault: the operator finds it under the request id".into(),
        }
    }

    /// The problem as a body.
    #[must_use]
    pub fn to_json(&self, request_id: &str) -> Value {
        let mut body = json!({
            "type": format!("urn:baton:problem:{}", self.code()),
            "title": self.title(),
            "status": self.status(),
            "code": self.code(),
            "detail": self.detail(),
            "retryable": self.retryable(),
            "request_id": request_id,
        });
        if let Self::SchemaViolated { violations } = self {
            body["errors"] = violations
                .iter()
                .map(|violation| {
                    json!({
                        "instance": violation.instance,
                        "schema": violation.schema,
                        "message": violation.message,
                    })
                })
                .collect();
        }
        if let Some(retry_after_ms) = self.retry_after_ms() {
            body["retry_after_ms"] = retry_after_ms.into();
        }
        body
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}
