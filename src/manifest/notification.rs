//! Notifications: what is told to a channel when a step of the agent has ended.

use serde::{Deserialize, Serialize};

use super::workflow::Condition;

/// An agent has at most this many notifications.
pub const NOTIFICATIONS_MAX: usize = 8;
/// A message is at most this long, as a template, in characters.
pub const MESSAGE_MAX_CHARS: usize = 2_000;

/// What a notification's condition and message can see.
pub const NOTIFICATION_NAMES: &[&str] = &["output", "error", "outcome", "agent", "run", "step", "attempt"];

/// One rule: if an attempt ended so, the channel is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notification {
    /// A name for people and for the receiver.
    pub name: String,
    /// One of the gateway's channels.
    pub channel: String,
    /// How the attempt must have ended.
    pub outcomes: Vec<NotifiedOutcome>,
    /// What must hold besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// A template of the text that is sent.
    pub message: String,
}

/// How an attempt ended, as far as it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifiedOutcome {
    /// There is an `output`.
    Completed,
    /// The run went to another agent.
    HandedOff,
    /// There is an `error`.
    Failed,
    /// Somebody wanted no answer any more.
    Cancelled,
}

impl NotifiedOutcome {
    /// As an outcome's `status` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::HandedOff => "handed_off",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}
