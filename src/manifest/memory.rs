//! What an agent remembers of a conversation.

use serde::{Deserialize, Serialize};

/// How long a conversation is kept after its last turn, in seconds, unless a manifest says otherwise: 7 days.
pub const MEMORY_TTL_S: u64 = 7 * 24 * 60 * 60;
/// The longest time that a manifest may ask for, in seconds: 365 days.
pub const MEMORY_TTL_MAX_S: u64 = 365 * 24 * 60 * 60;
/// The most messages that an agent is told, unless its manifest says otherwise.
pub const MEMORY_MESSAGES: usize = 100;
/// The most messages that a manifest may ask for.
pub const MEMORY_MESSAGES_MAX: usize = 1_000;
/// The most tokens, as they are estimated, that an agent is told, unless its manifest says otherwise.
pub const MEMORY_TOKENS: usize = 8_000;
/// The most tokens that a manifest may ask for.
pub const MEMORY_TOKENS_MAX: usize = 100_000;

/// Says that an agent remembers conversations, and how much of them. The schema of manifests holds the limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// How long a conversation is kept after its last turn, in seconds; at most [`MEMORY_TTL_MAX_S`].
    pub ttl_s: u64,
    /// The most messages that the agent is told, two for each turn; at most [`MEMORY_MESSAGES_MAX`].
    pub max_messages: usize,
    /// The most tokens that the agent is told, estimated as 4 bytes each; at most [`MEMORY_TOKENS_MAX`].
    pub max_tokens: usize,
    /// The agent that summarises what does not fit. It is dropped where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summarise_with: Option<String>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            ttl_s: MEMORY_TTL_S,
            max_messages: MEMORY_MESSAGES,
            max_tokens: MEMORY_TOKENS,
            summarise_with: None,
        }
    }
}
