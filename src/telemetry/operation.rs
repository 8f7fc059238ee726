//! What an agent has others do while it works, as its execution's event keeps it: a model that is asked, a tool that is used,
//! a request to somebody else's API, an agent of another gateway. Names and numbers, and never what was said.

use serde::{Deserialize, Serialize};

use super::event::Usage;

/// So many operations of one execution are told, from the first on.
pub const OPERATIONS_MAX: usize = 32;
/// A code is told up to so many characters: an agent may have one of its own.
pub const CODE_MAX_CHARS: usize = 128;

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its span.
    pub traceparent: String,
    /// The span that it is a part of, in 16 hexadecimal digits.
    pub parent_span: String,
    /// What it was.
    pub what: Doing,
    /// When it began, in Unix milliseconds.
    pub started_at_ms: u64,
    /// When it ended, in Unix milliseconds.
    pub ended_at_ms: u64,
    /// What came of it.
    pub upshot: Upshot,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// A model is asked, again where its provider is busy.
    Chat {
        /// Whose API it has: `openai`, `anthropic` and the like.
        provider: String,
        /// The model, by the provider's name for it.
        model: String,
        /// The host that is asked; empty where there is none.
        host: String,
    },
    /// A model uses an agent as its tool.
    Tool {
        /// The agent.
        agent: String,
    },
    /// An agent calls another one within its step.
    Call {
        /// The other one.
        agent: String,
    },
    /// An agent of another gateway works.
    Remote {
        /// The agent, by its name there.
        agent: String,
        /// The host of the gateway.
        host: String,
    },
    /// A request is sent, once.
    Request {
        /// Its method.
        method: String,
        /// The host, or the name under which a Worker is bound.
        host: String,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Upshot {
    /// Why it came to nothing, as a code.
    pub error: Option<String>,
    /// The answer's status, where it is a request's.
    pub status: Option<u16>,
    /// What it used.
    pub usage: Usage,
}

impl Upshot {
    /// It came to nothing.
    #[must_use]
    pub fn failed(code: &str) -> Self {
        Self {
            error: Some(code.chars().take(CODE_MAX_CHARS).collect()),
            ..Self::default()
        }
    }
}
