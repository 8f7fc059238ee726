//! Every way in which a request can fail, and its one mapping to `application/problem+json` (RFC 9457).
//!
//! A problem is told to two audiences: the caller gets a stable `type` and a sentence that helps; the
//! operator finds the same code in the log line. Nothing internal is ever part of either.

use serde_json::{Value, json};

use crate::access::slots::FULL_RETRY_AFTER_MS;
use crate::access::{Rate, RatePolicy};
use crate::overrides::snapshot::etag;
use crate::platform::StorageUnavailable;
use crate::run::state::Conflict;
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
    /// An operator has switched the agent off.
    AgentDisabled,
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
    /// The callback's URL is not one that may be called.
    CallbackNotAllowed {
        /// Why.
        reason: String,
    },
    /// An id in the path, or the query, is none.
    PathInvalid {
        /// What is wrong with it.
        reason: String,
    },
    /// No run of this id, of this caller's.
    RunUnknown,
    /// No step of this id in the run.
    StepUnknown,
    /// Nothing is kept of this conversation.
    ConversationUnknown,
    /// No dead letter of this id.
    DeliveryUnknown,
    /// No event was given up under this name.
    OutboxLetterUnknown,
    /// The run has no such state.
    StateUnknown,
    /// The version was dropped from the history.
    StateGone,
    /// Another version of the state is current.
    StateConflict(Conflict),
    /// A write must say what it replaces.
    PreconditionRequired,
    /// `If-Match` or `If-None-Match` is not one that is understood.
    PreconditionInvalid,
    /// The run has as many attempts or handoffs as a run may have.
    RunFull,
    /// As many attempts as may be are under way in the background.
    RunBusy,
    /// The orchestrator declines a direct call.
    Declined {
        /// Its HTTP status: 400, 403, 404, 409 or 422.
        status: u16,
        /// Its problem's code.
        code: String,
        /// Its problem in a sentence.
        detail: String,
    },
    /// The orchestrator does not answer, and the gateway is not to answer in its place.
    OrchestratorUnavailable {
        /// Why it does not answer.
        reason: &'static str,
    },
    /// The router finds no agent for a text.
    NoAgentFits,
    /// A call that names no agent has no text to choose one by.
    TextRequired,
    /// The agent does not say how text becomes its input.
    TextNotTaken,
    /// The gateway coordinates the run in the place of its orchestrator.
    RunTakenOver,
    /// As many steps of the orchestrator as may be are under way.
    TooManySteps {
        /// How many may be.
        limit: u32,
    },
    /// The call belongs to a lease that a later one has overtaken.
    GenerationOutdated {
        /// The highest generation that is known.
        known: u64,
    },
    /// The storage did not answer.
    StorageUnavailable,
    /// The gateway's own configuration is wrong; the log says how.
    Misconfigured,
    /// A fault of ours.
    Internal,
    /// A browser's session is not good, or not any more.
    SessionInvalid,
    /// A call by a browser's session that no page of the gateway made.
    OriginNotAllowed,
    /// The call needs an API key and has none.
    ApiKeyMissing,
    /// The API key is not known, or not good any more.
    ApiKeyInvalid,
    /// `/metrics` is open to nobody: there is no token.
    MetricsClosed,
    /// Not the token of `/metrics`.
    MetricsTokenInvalid,
    /// No API key of this id.
    ApiKeyUnknown,
    /// The gateway has nowhere to keep overrides.
    OverridesOff,
    /// A change of the overrides does not say which version it is made of.
    OverridesVersionRequired,
    /// Another version of the overrides is the current one.
    OverridesConflict {
        /// The number of the current version.
        current: u64,
    },
    /// No version of the overrides of this number is kept.
    OverridesVersionUnknown,
    /// No orchestrator of this id.
    OrchestratorUnknown,
    /// The API key is not for this agent.
    AgentNotAllowed,
    /// Too many calls of an API key or of a client address.
    RateLimited {
        /// What it has left.
        rate: Rate,
        /// When to ask again.
        retry_after_ms: u64,
    },
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
            Self::AgentDisabled => "agent-disabled",
            Self::IdempotencyMismatch => "idempotency-key-reused",
            Self::StepMismatch => "step-reused",
            Self::AttemptOutdated { .. } => "attempt-outdated",
            Self::InFlight { .. } => "step-in-flight",
            Self::DeadlineExceeded { .. } => "deadline-exceeded",
            Self::ClaimLost => "claim-lost",
            Self::CallbackNotAllowed { .. } => "callback-not-allowed",
            Self::PathInvalid { .. } => "path-invalid",
            Self::RunUnknown => "run-unknown",
            Self::StepUnknown => "step-unknown",
            Self::ConversationUnknown => "conversation-unknown",
            Self::DeliveryUnknown => "delivery-unknown",
            Self::OutboxLetterUnknown => "outbox-letter-unknown",
            Self::StateUnknown => "state-unknown",
            Self::StateGone => "state-version-gone",
            Self::StateConflict(_) => "state-conflict",
            Self::PreconditionRequired => "precondition-required",
            Self::PreconditionInvalid => "precondition-invalid",
            Self::RunFull => "run-full",
            Self::RunBusy => "run-busy",
            Self::Declined { .. } => "orchestrator-declined",
            Self::OrchestratorUnavailable { .. } => "orchestrator-unavailable",
            Self::NoAgentFits => "agent-not-found-for-text",
            Self::TextRequired => "text-required",
            Self::TextNotTaken => "text-not-taken",
            Self::RunTakenOver => "run-taken-over",
            Self::TooManySteps { .. } => "steps-too-many",
            Self::GenerationOutdated { .. } => "generation-outdated",
            Self::StorageUnavailable => "storage-unavailable",
            Self::Misconfigured => "gateway-misconfigured",
            Self::Internal => "internal",
            Self::SessionInvalid => "session-invalid",
            Self::OriginNotAllowed => "origin-not-allowed",
            Self::ApiKeyMissing => "api-key-missing",
            Self::ApiKeyInvalid => "api-key-invalid",
            Self::MetricsClosed => "metrics-closed",
            Self::MetricsTokenInvalid => "metrics-token-invalid",
            Self::ApiKeyUnknown => "api-key-unknown",
            Self::OverridesOff => "overrides-off",
            Self::OverridesVersionRequired => "overrides-version-required",
            Self::OverridesConflict { .. } => "overrides-conflict",
            Self::OverridesVersionUnknown => "overrides-version-unknown",
            Self::OrchestratorUnknown => "orchestrator-unknown",
            Self::AgentNotAllowed => "agent-not-allowed",
            Self::RateLimited { .. } => "rate-limited",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::NotFound
            | Self::UnknownAgent
            | Self::RunUnknown
            | Self::StepUnknown
            | Self::ConversationUnknown
            | Self::DeliveryUnknown
            | Self::OutboxLetterUnknown
            | Self::StateUnknown
            | Self::ApiKeyUnknown
            | Self::OverridesVersionUnknown
            | Self::MetricsClosed
            | Self::OrchestratorUnknown => 404,
            Self::ApiKeyMissing | Self::ApiKeyInvalid | Self::SessionInvalid | Self::MetricsTokenInvalid => 401,
            Self::AgentNotAllowed | Self::AgentDisabled | Self::OriginNotAllowed => 403,
            Self::StateGone => 410,
            Self::StateConflict(_) | Self::OverridesConflict { .. } => 412,
            Self::PreconditionRequired | Self::OverridesVersionRequired => 428,
            Self::Declined { status, .. } => *status,
            Self::RunBusy | Self::TooManySteps { .. } | Self::RateLimited { .. } => 429,
            Self::MethodNotAllowed { .. } => 405,
            Self::UnsupportedMediaType => 415,
            Self::BodyTooLarge { .. } => 413,
            Self::Rejected(rejection) => rejection.status(),
            Self::MalformedJson { .. } | Self::PathInvalid { .. } | Self::PreconditionInvalid => 400,
            Self::SchemaViolated { .. }
            | Self::IdempotencyMismatch
            | Self::StepMismatch
            | Self::NoAgentFits
            | Self::TextRequired
            | Self::TextNotTaken
            | Self::CallbackNotAllowed { .. } => 422,
            Self::AttemptOutdated { .. }
            | Self::InFlight { .. }
            | Self::ClaimLost
            | Self::RunFull
            | Self::RunTakenOver
            | Self::GenerationOutdated { .. } => 409,
            Self::DeadlineExceeded { .. } => 504,
            Self::StorageUnavailable | Self::Misconfigured | Self::OrchestratorUnavailable { .. } => 503,
            Self::Internal => 500,
            Self::OverridesOff => 501,
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
                | Self::RunBusy
                | Self::TooManySteps { .. }
                | Self::OrchestratorUnavailable { .. }
                | Self::RateLimited { .. }
                | Self::StorageUnavailable
                | Self::Misconfigured
                | Self::Internal
        )
    }

    /// How long to wait before a retry, where we know it.
    #[must_use]
    pub const fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::InFlight { retry_after_ms } | Self::RateLimited { retry_after_ms, .. } => Some(*retry_after_ms),
            Self::StorageUnavailable | Self::ClaimLost | Self::RunBusy => Some(1_000),
            Self::TooManySteps { .. } => Some(FULL_RETRY_AFTER_MS),
            Self::OrchestratorUnavailable { .. } => Some(5_000),
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
            Self::AgentDisabled => "Agent switched off",
            Self::IdempotencyMismatch => "Idempotency key reused",
            Self::StepMismatch => "Step reused",
            Self::AttemptOutdated { .. } => "Attempt outdated",
            Self::InFlight { .. } => "Step in flight",
            Self::DeadlineExceeded { .. } => "Deadline exceeded",
            Self::ClaimLost => "Claim lost",
            Self::CallbackNotAllowed { .. } => "Callback not allowed",
            Self::PathInvalid { .. } => "Path or query invalid",
            Self::RunUnknown => "Unknown run",
            Self::StepUnknown => "Unknown step",
            Self::ConversationUnknown => "Unknown conversation",
            Self::DeliveryUnknown => "Unknown delivery",
            Self::OutboxLetterUnknown => "Unknown event",
            Self::StateUnknown => "No such state",
            Self::StateGone => "State version gone",
            Self::StateConflict(_) => "State conflict",
            Self::PreconditionRequired => "Precondition required",
            Self::PreconditionInvalid => "Precondition invalid",
            Self::RunFull => "Run full",
            Self::RunBusy => "Run busy",
            Self::Declined { .. } => "Declined by the orchestrator",
            Self::OrchestratorUnavailable { .. } => "Orchestrator unavailable",
            Self::NoAgentFits => "No agent found",
            Self::TextRequired => "Text required",
            Self::TextNotTaken => "Text not taken",
            Self::RunTakenOver => "Run taken over",
            Self::TooManySteps { .. } => "Too many steps",
            Self::GenerationOutdated { .. } => "Generation outdated",
            Self::StorageUnavailable => "Storage unavailable",
            Self::Misconfigured => "Gateway misconfigured",
            Self::Internal => "Internal error",
            Self::SessionInvalid => "Session over",
            Self::OriginNotAllowed => "Origin not allowed",
            Self::ApiKeyMissing => "API key missing",
            Self::ApiKeyInvalid => "API key refused",
            Self::MetricsClosed => "Metrics closed",
            Self::MetricsTokenInvalid => "Metrics token refused",
            Self::ApiKeyUnknown => "Unknown API key",
            Self::OverridesOff => "No live configuration",
            Self::OverridesVersionRequired => "Version required",
            Self::OverridesConflict { .. } => "Overrides changed meanwhile",
            Self::OverridesVersionUnknown => "Unknown version",
            Self::OrchestratorUnknown => "Unknown orchestrator",
            Self::AgentNotAllowed => "Agent not allowed",
            Self::RateLimited { .. } => "Too many calls",
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
            Self::AgentDisabled => {
                "an operator has switched this agent off: /.well-known/baton.json lists those that are there".into()
            }
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
            Self::CallbackNotAllowed { reason } => format!("callback.url: {reason}"),
            Self::PathInvalid { reason } => reason.clone(),
            Self::RunUnknown => "no run of this id is kept for this caller".into(),
            Self::StepUnknown => "the run has no step of this id, or the run is not kept".into(),
            Self::OutboxLetterUnknown => {
                "no event of this name was given up: it was sent again, or is older than the history is kept".into()
            }
            Self::ConversationUnknown => {
                "nothing is kept of this conversation: nothing was said in it, or it has expired, or it was erased".into()
            }
            Self::DeliveryUnknown => "no dead letter of this id: it was sent again, or its run was forgotten".into(),
            Self::StateUnknown => "the run has no state, or never had this version of it".into(),
            Self::StateGone => "this version was dropped from the history: GET /runs/{run} lists those that are kept".into(),
            Self::StateConflict(Conflict { current_version: 0, .. }) => {
                "the run has no state: write its first version with If-None-Match: *".into()
            }
            Self::StateConflict(Conflict { current_version, .. }) => format!(
                "version {current_version} is current: read it, and write on top of it with If-Match and its ETag"
            ),
            Self::PreconditionRequired => {
                "say what is replaced: If-None-Match: * for the first version, If-Match with the current ETag for the next one"
                    .into()
            }
            Self::PreconditionInvalid => {
                "send either If-None-Match: * or If-Match with strong entity tags, such as \"3-…\", or *".into()
            }
            Self::RunFull => "the run has as many attempts or handoffs as a run may have: begin a new run".into(),
            Self::RunBusy => {
                "as many steps of the run as may be are under way in the background: ask again after Retry-After".into()
            }
            Self::Declined { code, detail, .. } => format!("the orchestrator declines the call ({code}): {detail}"),
            Self::OrchestratorUnavailable { reason } => format!(
                "the orchestrator does not answer ({reason}), and this call is not answered without it: try again"
            ),
            Self::NoAgentFits => {
                "no agent was found for this text: say more, or name an agent with POST /agents/{agent}/query".into()
            }
            Self::TextRequired => {
                "an agent is chosen by `text`: send it, or name an agent with POST /agents/{agent}/query".into()
            }
            Self::TextNotTaken => {
                "the agent does not say how text becomes its input: send `input`, by the agent's input schema".into()
            }
            Self::RunTakenOver => {
                "the gateway answered this run in the orchestrator's place and settles it, or passed it on to another one: nothing more of it is executed for this one"
                    .into()
            }
            Self::TooManySteps { limit } => format!(
                "{limit} steps of this orchestrator are under way, which is as many as may be: ask again after Retry-After"
            ),
            Self::GenerationOutdated { known } => format!(
                "Baton-Generation is older than {known}, which is known: send the generation of the lease that the gateway holds now"
            ),
            Self::StorageUnavailable => "the storage did not answer: nothing is lost, try again".into(),
            Self::Misconfigured => {
                "the gateway cannot serve this call: its operator finds the reason in the log".into()
            }
            Self::Internal => "an internal fault: the operator finds it under the request id".into(),
            Self::SessionInvalid => "the session has ended, or its key is not good any more: sign in again".into(),
            Self::OriginNotAllowed => {
                "a call by cookie that changes something must come from the gateway's own page: send Sec-Fetch-Site: same-origin, or Origin with the gateway's own".into()
            }
            Self::ApiKeyMissing => "send one field Authorization: Bearer and an API key of yours".into(),
            Self::ApiKeyInvalid => {
                "this API key is not known, or was revoked, or has expired: ask the gateway's operator for another".into()
            }
            Self::MetricsClosed => {
                "nobody may scrape this gateway: its operator opens it with the secret BATON_METRICS_TOKEN".into()
            }
            Self::MetricsTokenInvalid => {
                "send one field Authorization: Bearer and what the operator has set as BATON_METRICS_TOKEN".into()
            }
            Self::ApiKeyUnknown => "no API key of this id: GET /operator/api-keys lists them".into(),
            Self::OverridesOff => {
                "this gateway keeps no overrides: bind a KV namespace as OVERRIDES in wrangler.toml and deploy it (docs/live-configuration.md)".into()
            }
            Self::OverridesVersionRequired => {
                "say which version you change: If-Match with the one ETag of GET /operator/overrides, such as \"7\". `*` is not taken: a captured call could be sent again".into()
            }
            Self::OverridesConflict { current } => format!(
                "version {current} is the current one: read it with GET /operator/overrides, and change it with If-Match and its ETag"
            ),
            Self::OverridesVersionUnknown => {
                "no version of this number is kept: GET /operator/overrides/versions lists those that are".into()
            }
            Self::OrchestratorUnknown => {
                "no orchestrator of this id is configured: GET /operator/links lists those that are".into()
            }
            Self::AgentNotAllowed => {
                "this API key is not for this agent: its operator can make one that is".into()
            }
            Self::RateLimited { rate, .. } => format!(
                "too many calls of this {}: at most {} at once, and as many in {} s. Ask again after Retry-After",
                match rate.policy {
                    RatePolicy::Key => "API key",
                    RatePolicy::Address => "client address",
                },
                rate.limit,
                rate.window_s
            ),
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
        if let Self::StateConflict(conflict) = self {
            body["current_version"] = conflict.current_version.into();
            if let Some(etag) = &conflict.current_etag {
                body["current_etag"] = etag.as_str().into();
            }
        }
        if let Self::OverridesConflict { current } = self {
            body["current_version"] = (*current).into();
            body["current_etag"] = etag(*current).into();
        }
        if let Self::GenerationOutdated { known } = self {
            body["known_generation"] = (*known).into();
        }
        if let Some(retry_after_ms) = self.retry_after_ms() {
            body["retry_after_ms"] = retry_after_ms.into();
        }
        body
    }
}

impl From<StorageUnavailable> for Problem {
    fn from(_: StorageUnavailable) -> Self {
        Self::StorageUnavailable
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}
