//! Direct calls: a customer asks, and gets an answer within its deadline, whether the orchestrator answers or not.
//!
//! A direct call is a run. Its first step has the id [`STEP`], whoever invokes it: the orchestrator, when the call was
//! handed on to it ([`hand_on`]), or the gateway itself ([`local`]). [`coordinate`] says who it is, and when. Both ask the same ledger for the same step, so that
//! it has one effect, also where the gateway gave the orchestrator up and the orchestrator went on.

pub mod coordinate;
pub mod hand_on;
mod hedge;
pub mod local;
pub mod route;
pub mod step;

use serde::Serialize;
use serde_json::{Value, json};

pub use self::coordinate::{Call, Coordinator, Listener};
pub use self::hand_on::{Handed, Reason};
pub use self::local::Local;
pub use self::route::{Route, Tried};
pub use self::step::Steps;
pub use crate::manifest::{BUDGET_MS, budget_ms};

/// The id of a direct call's first step.
pub const STEP: &str = "query";
/// The owner of runs that no orchestrator plans. No orchestrator can have this id.
pub const NOBODY: &str = ":gateway";

/// An agent that was tried and did not give the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Who.
    pub agent: String,
    /// Why, for programs.
    pub code: String,
    /// Why, for people.
    pub message: String,
}

/// What a direct call came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The outcome of the step that counts; nothing where a static answer stands in for it.
    pub outcome: Option<Value>,
    /// The static answer, and whose it is.
    pub stand_in: Option<(String, Value)>,
    /// The agents that were tried before.
    pub failed: Vec<Failed>,
}

impl Answer {
    /// The answer of an outcome alone.
    #[must_use]
    pub const fn of(outcome: Value) -> Self {
        Self {
            outcome: Some(outcome),
            stand_in: None,
            failed: Vec::new(),
        }
    }

    /// The message `query-answer`.
    #[must_use]
    pub fn to_json(&self, run: &str, route: &Route) -> Value {
        let mut body = json!({"run": run});
        if let Some((agent, output)) = &self.stand_in {
            body["agent"] = agent.as_str().into();
            body["status"] = "completed".into();
            body["output"] = output.clone();
            body["stand_in"] = true.into();
        } else if let Some(outcome) = &self.outcome {
            for member in ["step", "agent", "status", "output", "error", "usage", "trace"] {
                if let Some(value) = outcome.get(member) {
                    body[member] = value.clone();
                }
            }
        }
        body["route"] = route.to_json();
        if !self.failed.is_empty() {
            body["failed"] = json!(self.failed);
        }
        body
    }
}
