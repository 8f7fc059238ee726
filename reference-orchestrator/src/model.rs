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

impl Registration {
    /// Whether the gateway said that it takes no new steps.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.health.as_deref() == Some("draining")
    }
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
    /// A step that a gateway has accepted and executes in the background: its outcome comes by a callback, or by a poll.
    Waiting,
    /// Ended well.
    Completed,
    /// Ended otherwise.
    Failed,
    /// A step that was never invoked, since one before it failed; or that a settlement of its run does not know.
    Skipped,
    /// A run that its gateway brought to its end by itself, and told so.
    Settled,
}

impl Progress {
    /// As in the JSON surface and, but for a step that waits and a run that is settled, in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Settled => "settled",
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
    /// The state that the run brought along, once the gateway keeps it.
    pub state: Option<KeptState>,
    /// The gateway that handed the run on, where one did: its steps are invoked there.
    pub handed_on_by: Option<String>,
    /// In the order in which they are invoked.
    pub steps: Vec<Step>,
    /// What gateways told of it afterwards, the oldest first.
    pub settlements: Vec<Settlement>,
}

/// What a gateway told of a run that it routed by itself, while it could not reach the orchestrator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settlement {
    /// The call's idempotency key.
    pub idempotency_key: String,
    /// The gateway.
    pub gateway: String,
    /// Why it routed the run by itself.
    pub reason: String,
    /// When it did, by its own clock, in Unix milliseconds.
    pub routed_at_ms: u64,
    /// Unix milliseconds.
    pub received_at_ms: u64,
    /// Whether the orchestrator agreed.
    pub settled: bool,
    /// Why it did not.
    pub conflict: Option<String>,
    /// The steps, as they came.
    pub steps: Value,
    /// The versions of the state, as they came.
    pub state: Value,
}

/// What a gateway says of the state that it was given to keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptState {
    /// Its version, from 1.
    pub version: u64,
    /// Its digest, as in `Content-Digest`.
    pub digest: Option<String>,
}

/// How a step is invoked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The answer to the call is the outcome.
    #[default]
    Sync,
    /// With `Prefer: respond-async`: the gateway accepts the step, and tells its outcome by a callback.
    Async,
}

/// How a verified outcome came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// As the answer to the invocation.
    Answer,
    /// The gateway called back.
    Callback,
    /// The orchestrator asked for it.
    Poll,
}

impl Via {
    /// As in the JSON surface and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Callback => "callback",
            Self::Poll => "poll",
        }
    }
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
    /// How it is invoked.
    pub mode: Mode,
    /// The number of the latest attempt, from 1.
    pub attempt: u32,
    /// How far it has come.
    pub status: Progress,
    /// Whether `outcome` came in an answer or a callback whose signature holds. An outcome without is the orchestrator's own
    /// word.
    pub verified: bool,
    /// How a verified outcome came.
    pub via: Option<Via>,
    /// The version of the kept state that the step wrote, where it did.
    pub state_version: Option<u64>,
    /// The gateway's outcome; or `{"status":"failed","error":{...}}` where the orchestrator gave up.
    pub outcome: Option<Value>,
    /// Every call that was made for this step, oldest first.
    pub invocations: Vec<Invocation>,
    /// Every delivery that came for this step, oldest first.
    pub callbacks: Vec<Callback>,
}

/// A delivery of a gateway whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callback {
    /// Its `webhook-id`, the same over retries.
    pub id: String,
    /// The attempt that ended.
    pub attempt: u32,
    /// What happened, such as `step.completed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status that a plain call would have been answered with.
    pub http_status: u16,
    /// Unix milliseconds of its first receipt.
    pub received_at_ms: u64,
    /// How often it came.
    pub receipts: u32,
}

/// What a call of a gateway is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Call {
    /// To invoke the step.
    #[default]
    Invoke,
    /// To ask how far the step has come.
    Poll,
    /// To put the run's state, before its first step.
    State,
}

impl Call {
    /// As in the JSON surface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Poll => "poll",
            Self::State => "state",
        }
    }
}

/// One call of a gateway for a step, whatever came of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Invocation {
    /// What it is for.
    #[serde(default)]
    pub call: Call,
    /// The attempt that it belongs to. Invocations of one attempt share idempotency key and body.
    pub attempt: u32,
    /// The idempotency key that was sent; empty for a poll, which needs none.
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
