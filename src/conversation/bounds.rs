//! How much of a conversation is kept and shown: a number of messages, and an estimate of tokens.

use serde::{Deserialize, Serialize};

use super::Turn;
use crate::manifest::Memory;

/// A token is estimated as so many bytes of UTF-8. No provider's own count is asked for: it would cost a request.
pub const TOKEN_BYTES: usize = 4;
/// A turn is two messages: what was said, and what was answered.
const TURN_MESSAGES: usize = 2;

/// The estimated tokens of a text.
#[must_use]
pub const fn tokens(text: &str) -> usize {
    text.len().div_ceil(TOKEN_BYTES)
}

/// How much an agent remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// How long after its last turn the conversation is kept, in milliseconds.
    pub ttl_ms: u64,
    /// The most messages.
    pub max_messages: usize,
    /// The most estimated tokens.
    pub max_tokens: usize,
    /// Whether what does not fit is summarised. It is kept up to twice the bounds until it is.
    pub summarised: bool,
}

impl From<&Memory> for Bounds {
    fn from(memory: &Memory) -> Self {
        Self {
            ttl_ms: memory.ttl_s * 1_000,
            max_messages: memory.max_messages,
            max_tokens: memory.max_tokens,
            summarised: memory.summarise_with.is_some(),
        }
    }
}

impl Bounds {
    /// How many of these turns, the oldest first, do not fit beside a summary: the newest that fit are those behind them.
    #[must_use]
    pub fn overflow(&self, summary: Option<&str>, turns: &[Turn]) -> usize {
        let mut tokens_left = self.max_tokens.saturating_sub(summary.map_or(0, tokens));
        let most = self.max_messages / TURN_MESSAGES;
        let mut fitting = 0;
        for turn in turns.iter().rev().take(most) {
            let size = tokens(&turn.said) + tokens(&turn.answer());
            if size > tokens_left {
                break;
            }
            tokens_left -= size;
            fitting += 1;
        }
        turns.len() - fitting
    }

    /// The bounds of what is kept.
    #[must_use]
    pub const fn kept(mut self) -> Self {
        if self.summarised {
            self.max_messages *= 2;
            self.max_tokens *= 2;
        }
        self
    }

    /// A summary, cut to half of the tokens, so that there is room for what follows it.
    #[must_use]
    pub fn cut(&self, mut summary: String) -> String {
        summary.truncate(summary.floor_char_boundary(self.max_tokens / 2 * TOKEN_BYTES));
        summary
    }
}
