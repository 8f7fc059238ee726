//! Conversations: what a caller and the agents with a `memory` said to each other, as a state machine over rows.
//!
//! A conversation belongs to one caller, and is kept in a Durable Object of its own. Its messages come in **turns**: what was
//! said to an agent, and what it answered. The object gives each turn a number as it comes, and lets one at a time work, so
//! that every agent sees all that was said before, and no turn is lost to another. A turn counts with its answer: one that
//! failed, or whose owner died, leaves nothing behind.
//!
//! Time is an argument here; [`crate::invocation`] takes the turns, and `src/edge` keeps the rows.

mod bounds;
mod machine;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::agent::LocalBoxFuture;
use crate::manifest::DEADLINE_MAX_MS;
use crate::platform::StorageUnavailable;
use crate::run::attempt::{EXECUTIONS_MAX, WAIT_MAX_MS};
use crate::run::work::COMMIT_GRACE_MS;

pub use bounds::{Bounds, TOKEN_BYTES, tokens};
pub use machine::{Expiry, decide, expire, wake_at_ms};

/// So many turns of a conversation may be under way or wait at once.
pub const TURNS_WAITING_MAX: usize = 64;
/// A turn whose owner has not been heard of for so long is given up where another one waits, in milliseconds.
pub const TURN_LEASE_MS: u64 = 15_000;
/// How long an erasure holds against what was sent before it, in milliseconds: a step in the background may be executed so
/// often, with the longest wait after each execution.
pub const ERASURE_FENCE_MS: u64 = EXECUTIONS_MAX as u64 * (DEADLINE_MAX_MS + COMMIT_GRACE_MS + WAIT_MAX_MS);

/// Names a conversation: a caller never reaches another's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationName {
    /// Whose it is: `key:` and the id of an API key, or `orchestrator:` and the id of an orchestrator.
    pub owner: String,
    /// The id that its owner gave it.
    pub id: String,
}

impl ConversationName {
    /// A conversation of the customer with this API key.
    #[must_use]
    pub fn of_key(key: &str, id: &str) -> Self {
        Self {
            owner: format!("key:{key}"),
            id: id.to_owned(),
        }
    }

    /// A conversation of this orchestrator.
    #[must_use]
    pub fn of_orchestrator(orchestrator: &str, id: &str) -> Self {
        Self {
            owner: format!("orchestrator:{orchestrator}"),
            id: id.to_owned(),
        }
    }

    /// The name that the Durable Object's id is made from. The length keeps ("a", "b/c") and ("a/b", "c") apart.
    #[must_use]
    pub fn object(&self) -> String {
        format!("{}:{}/{}", self.owner.len(), self.owner, self.id)
    }
}

/// A turn that ended with an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Its number in the conversation. Numbers of turns that left nothing behind are missing.
    pub number: u64,
    /// Who answered.
    pub agent: String,
    /// What was said to the agent.
    pub said: String,
    /// The agent's output.
    pub output: Value,
    /// When it ended, in Unix milliseconds.
    pub at_ms: u64,
    /// Names the step that it belongs to.
    pub key: String,
}

impl Turn {
    /// The output as a message: a text as it is, anything else as JSON.
    #[must_use]
    pub fn answer(&self) -> String {
        text_of(&self.output)
    }
}

/// An output as text.
#[must_use]
pub fn text_of(output: &Value) -> String {
    output.as_str().map_or_else(|| output.to_string(), str::to_owned)
}

/// What an agent is told of what was said before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// What became of turns that do not fit any more, where the agent's `memory` has them summarised.
    pub summary: Option<String>,
    /// The turns, the oldest first.
    pub turns: Vec<Turn>,
}

impl History {
    /// That of an agent that remembers nothing.
    #[must_use]
    pub fn none() -> &'static Self {
        static NONE: History = History {
            summary: None,
            turns: Vec::new(),
        };
        &NONE
    }
}

/// A turn, and who holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Names the step that the turn belongs to: whoever executes the step again goes on with the same turn.
    pub key: String,
    /// Names this execution of the step: one that was overtaken writes nothing any more.
    pub holder: String,
    /// How often the conversation had been erased when the turn got its place; nothing before the object has said so. Who
    /// says it has had a place, and does not get another one.
    pub epoch: Option<u32>,
    /// When the run's object took the step on, in Unix milliseconds, where it executes it and maybe again: an erasure since
    /// then holds for it. A step that a Worker executes begins at once.
    pub accepted_at_ms: Option<u64>,
    /// The step's deadline, in Unix milliseconds: no turn is held any longer.
    pub deadline_at_ms: u64,
}

/// What may be asked of a conversation. Each is one transaction, and safe to repeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Takes a place in the order of turns, or looks whether it is this one's turn.
    Open(Seat, Bounds),
    /// Says that the holder is still at work.
    Renew(Seat),
    /// Replaces the turns up to this number by a summary of them.
    Summarise(Seat, u64, String),
    /// Ends a turn with what the agent answered.
    Commit(Seat, Said, Bounds),
    /// Ends a turn that leaves nothing behind.
    Release(Seat),
    /// Removes everything, also what turns under way would still add.
    Erase,
    /// What is kept.
    Show,
}

impl Ask {
    /// What is to be asked next after this answer: a turn that waits asks whether it is its time, from the place that it has
    /// by now. So one that has lost its place, or was erased, is told so. Nothing where there is nothing to wait for.
    #[must_use]
    pub fn next(&self, answer: &Answer) -> Option<Self> {
        match (self, answer) {
            (Self::Open(seat, bounds), Answer::Waiting { epoch }) => {
                let epoch = Some(*epoch);
                let seat = Seat { epoch, ..seat.clone() };
                Some(Self::Open(seat, *bounds))
            }
            _ => None,
        }
    }
}

/// What a turn adds to the conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// Who answered.
    pub agent: String,
    /// What was said to the agent.
    pub said: String,
    /// Its output.
    pub output: Value,
}

/// What a conversation answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is this one's turn.
    Granted {
        /// How often the conversation was erased.
        epoch: u32,
        /// What was said before, as far as it fits.
        history: History,
        /// What does not fit, and is to be summarised; the oldest first.
        overflow: Vec<Turn>,
    },
    /// Other turns come first.
    Waiting {
        /// How often the conversation was erased.
        epoch: u32,
    },
    /// This turn ended before, with this output.
    Ended(Value),
    /// [`TURNS_WAITING_MAX`] turns wait already.
    Full,
    /// It is done.
    Done,
    /// The turn has another holder, was given up, or its deadline has passed.
    Lost,
    /// The conversation was erased after what is said was sent: nothing of it is kept.
    Erased,
    /// What is kept; nothing where there is no such conversation.
    Kept(Option<Kept>),
}

/// A conversation as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// What was said.
    #[serde(flatten)]
    pub history: History,
    /// So many turns are under way or wait.
    pub waiting: usize,
    /// When it is forgotten if nothing more is said, in Unix milliseconds.
    pub expires_at_ms: u64,
}

/// The way to the conversations' objects.
pub trait Conversations {
    /// Asks a conversation. [`Ask::Open`] may be answered a little later, when it is the turn's time.
    fn ask<'a>(
        &'a self,
        name: &'a ConversationName,
        ask: &'a Ask,
    ) -> LocalBoxFuture<'a, Result<Answer, StorageUnavailable>>;
}

/// Where there are no conversations.
pub struct Nowhere;

impl Conversations for Nowhere {
    fn ask<'a>(
        &'a self,
        _: &'a ConversationName,
        _: &'a Ask,
    ) -> LocalBoxFuture<'a, Result<Answer, StorageUnavailable>> {
        Box::pin(std::future::ready(Err(StorageUnavailable)))
    }
}
