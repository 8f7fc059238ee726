//! What is to be executed: a step as it was asked for, complete enough to be executed by somebody else, later.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::conversation::ConversationName;

/// On whose behalf a step is executed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behalf {
    /// The orchestrator that the run belongs to: those of others may have the same id.
    pub orchestrator: String,
    /// How many gateways the call went through before this one, each calling the next.
    pub depth: u32,
}

/// A step to execute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The run's id.
    pub run: String,
    /// The step's id.
    pub step: String,
    /// Which attempt of the step.
    pub attempt: u32,
    /// Who is to work on it.
    pub agent: String,
    /// Valid for the agent's input schema.
    pub input: Value,
    /// Where its state comes from.
    pub state: StateSource,
    /// The conversation that it belongs to, if it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationName>,
    /// How long it may take, in milliseconds from when its execution begins.
    pub deadline_ms: u64,
    /// Whether the gateway itself goes on where an agent hands off.
    pub follow_handoffs: bool,
    /// After so many tries, attempts and executions, nobody tries again: whoever stands in for the agent does so then, and
    /// before only for a failure that no further try would mend.
    #[serde(default)]
    pub tries_max: u32,
    /// What the caller wrote, where the input was made of a text: whoever stands in may take it in another form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The step's own span.
    pub traceparent: String,
    /// The request that asked for it.
    pub request_id: String,
    /// On whose behalf.
    #[serde(default)]
    pub behalf: Behalf,
}

impl Call {
    /// The same without what the ledger has no use for where it keeps no call: the input, the text and a state that was brought
    /// along. All may be large.
    #[must_use]
    pub fn bare(&self) -> Self {
        let state = match self.state {
            StateSource::Inline(_) | StateSource::None => StateSource::None,
            StateSource::Kept => StateSource::Kept,
            StateSource::Version(version) => StateSource::Version(version),
        };
        Self {
            run: self.run.clone(),
            step: self.step.clone(),
            attempt: self.attempt,
            agent: self.agent.clone(),
            input: Value::Null,
            state,
            conversation: self.conversation.clone(),
            deadline_ms: self.deadline_ms,
            follow_handoffs: self.follow_handoffs,
            tries_max: self.tries_max,
            text: None,
            traceparent: self.traceparent.clone(),
            request_id: self.request_id.clone(),
            behalf: self.behalf.clone(),
        }
    }
}

/// Where a step's state comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateSource {
    /// The agent knows none.
    None,
    /// The caller brought it along, and gets the new one back: the gateway keeps nothing of it.
    Inline(Value),
    /// What the run keeps, in whatever version.
    Kept,
    /// What the run keeps, in this version and no other.
    Version(u64),
}

impl StateSource {
    /// Whether the state is kept with the run.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        matches!(self, Self::Kept | Self::Version(_))
    }
}
