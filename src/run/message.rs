//! What the Worker asks of a run's Durable Object, and what that answers.

use serde::{Deserialize, Serialize};

/// A run's id is at most this long.
pub const RUN_ID_MAX_BYTES: usize = 128;

/// Names a run's Durable Object: an orchestrator never reaches another's runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunName(String);

impl RunName {
    /// The run of this id that belongs to this orchestrator.
    #[must_use]
    pub fn new(orchestrator: &str, run: &str) -> Self {
        // The length prefix keeps ("a", "b/c") and ("a/b", "c") apart.
        Self(format!("{}:{orchestrator}/{run}", orchestrator.len()))
    }

    /// The name that the Durable Object's id is made from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Asks for the right to execute an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRequest {
    /// Names this very request, so that a claim whose answer was lost can be asked for again.
    pub claimant: String,
    /// The step's id within its run.
    pub step: String,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// The caller's idempotency key.
    pub idempotency_key: String,
    /// Digest of agent, input and state: what must be the same for it to be the same call.
    pub fingerprint: String,
    /// The signature's nonce, and until when (Unix milliseconds) it must be remembered.
    pub nonce: Option<Nonce>,
    /// How long the claim is held, in milliseconds: the deadline and a grace for the commit.
    pub hold_ms: u64,
}

/// A nonce to remember.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nonce {
    /// Key id and nonce: a nonce is unique under its key.
    pub value: String,
    /// Unix milliseconds.
    pub expires_at_ms: u64,
}

/// What a claim came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "claim", rename_all = "snake_case")]
pub enum Claim {
    /// Execute, then commit under this generation.
    Granted {
        /// Grows with each owner of the attempt: the fence against a late one.
        generation: u32,
    },
    /// Executed before: this is the answer.
    Answered(StoredAnswer),
    /// Another request executes it.
    InFlight {
        /// When its claim ends at the latest, in milliseconds from now.
        retry_after_ms: u64,
    },
    /// The nonce was seen before.
    NonceReplayed,
    /// The idempotency key belongs to another call.
    KeyMismatch,
    /// The step belongs to another call.
    StepMismatch,
    /// A later attempt is known.
    AttemptOutdated {
        /// Its number.
        latest: u32,
    },
}

/// An answer as it was given, to be given again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body: JSON text.
    pub body: String,
}

/// Writes an attempt's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRequest {
    /// Which attempt.
    pub idempotency_key: String,
    /// The generation that the claim gave.
    pub generation: u32,
    /// The answer.
    pub answer: StoredAnswer,
    /// Whether a later attempt may execute the step again.
    pub retryable: bool,
}

/// What a commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "commit", rename_all = "snake_case")]
pub enum Commit {
    /// The answer is stored, now or by an earlier try of the same commit.
    Stored,
    /// The claim has another owner by now: the answer does not count.
    Lost,
}
