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

use serde_json::{Value, json};

pub use self::coordinate::{Call, Coordinator, Listener};
pub use self::hand_on::{Handed, Reason};
pub use self::local::Local;
pub use self::route::{Route, Tried};
pub use self::step::Steps;
pub use crate::manifest::{BUDGET_MS, budget_ms};
pub use crate::run::outcome::Failed;

/// The id of a direct call's first step.
pub const STEP: &str = "query";
/// The owner of runs that no orchestrator plans. No orchestrator can have this id.
pub const NOBODY: &str = ":gateway";

/// What of an outcome is told to a customer.
const TOLD: [&str; 10] = [
    "step",
    "agent",
    "status",
    "output",
    "error",
    "stand_in",
    "stand_ins",
    "failed",
    "usage",
    "trace",
];

/// What a direct call came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The outcome of the step that counts.
    Outcome(Value),
    /// The answer that an agent's manifest has ready, where no step of the run has one.
    StandIn {
        /// Whose it is.
        agent: String,
        /// The answer itself.
        output: Value,
        /// Why it is needed.
        failed: Failed,
    },
}

impl Answer {
    /// The message `query-answer`.
    #[must_use]
    pub fn to_json(&self, run: &str, route: &Route) -> Value {
        let mut body = match self {
            Self::Outcome(outcome) => {
                let told = TOLD.iter().filter_map(|member| Some((*member, outcome.get(member)?)));
                let mut body: Value = told.map(|(member, value)| (member.to_owned(), value.clone())).collect();
                if let Some(agent) = outcome.get("answered_by") {
                    body["agent"] = agent.clone();
                }
                body
            }
            Self::StandIn { agent, output, failed } => {
                json!({"agent": agent, "status": "completed", "output": output, "stand_in": true, "failed": [failed]})
            }
        };
        body["run"] = run.into();
        body["route"] = route.to_json();
        body
    }
}
