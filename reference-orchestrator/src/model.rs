//! What the orchestrator keeps, as its JSON surface shows it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A gateway's registration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// The registration's id; each new registration of a gateway gets another.
    pub registration: String,
    /// The gateway's id.
    pub gateway: String,
    /// Where the gateway is reached: proved by the challenge.
    pub origin: String,
    /// Digest of the discovery manifest, as in `Content-Digest`.
    pub manifest_digest: String,
    /// Fencing number: grows by one with each registration of the gateway.
    pub generation: u64,
    /// The agents that the gateway offers.
    pub agents: Vec<String>,
    /// What the gateway said of itself when it renewed last.
    pub health: Option<String>,
    /// Unix milliseconds.
    pub registered_at_ms: u64,
    /// Unix milliseconds.
    pub lease_expires_at_ms: u64,
    /// What became of it.
    pub status: RegistrationStatus,
}

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationStatus {
    /// Its lease holds: steps are invoked on it.
    Live,
    /// Its lease ran out.
    Lapsed,
    /// The gateway deregistered.
    Deregistered,
    /// A newer registration of the same gateway took its place.
    Replaced,
}

impl RegistrationStatus {
    /// As in the JSON surface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Lapsed => "lapsed",
            Self::Deregistered => "deregistered",
            Self::Replaced => "replaced",
        }
    }
}

/// How far a run or a step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// Not at its end yet; taken up again after a restart.
    Running,
    /// Ended well.
    Completed,
    /// Ended otherwise.
    Failed,
    /// A step that was never invoked, since one before it failed.
    Skipped,
}

impl Progress {
    /// As in the JSON surface and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// A run: steps, one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The run's id.
    pub run: String,
    /// Completed when every step is; failed with the first step that fails.
    pub status: Progress,
    /// Unix milliseconds.
    pub created_at_ms: u64,
    /// Unix milliseconds after which the orchestrator gives up.
    pub deadline_at_ms: u64,
    /// Unix milliseconds.
    pub finished_at_ms: Option<u64>,
    /// In the order in which they are invoked.
    pub steps: Vec<Step>,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The step's id within the run: `s1`, `s2` ...
    pub step: String,
    /// The agent that it is for.
    pub agent: String,
    /// The agent's input.
    pub input: Value,
    /// The number of the latest attempt, from 1.
    pub attempt: u32,
    /// How far it has come.
    pub status: Progress,
    /// Whether `outcome` came in an answer whose signature holds. An outcome without is the orchestrator's own word.
    pub verified: bool,
    /// The gateway's outcome; or `{"status":"failed","error":{...}}` where the orchestrator gave up.
    pub outcome: Option<Value>,
    /// Every call that was made for this step, oldest first.
    pub invocations: Vec<Invocation>,
}

/// One call of a gateway for a step, whatever came of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Invocation {
    /// The attempt that it belongs to. Calls of one attempt share idempotency key and body.
    pub attempt: u32,
    /// The idempotency key that was sent.
    pub idempotency_key: String,
    /// The gateway that was called; none where no live one offers the agent.
    pub gateway: Option<String>,
    /// The request id that the gateway answered with.
    pub request_id: Option<String>,
    /// The HTTP status, where there was an answer.
    pub http_status: Option<u16>,
    /// The outcome's status; only ever from a verified answer.
    pub outcome: Option<String>,
    /// Whether the answer's signature holds.
    pub verified: bool,
    /// Whether the gateway marked its answer as a stored one.
    pub replayed: bool,
    /// The problem's code, the gateway's or our own.
    pub problem: Option<String>,
    /// The problem in a sentence.
    pub detail: Option<String>,
    /// Unix milliseconds.
    pub sent_at_ms: u64,
    /// How long the call took, in milliseconds.
    pub duration_ms: u64,
}
