//! Direct calls: a customer asks, and gets an answer within its deadline, whether the orchestrator answers or not.
//!
//! A direct call is a run. Its first step has the id [`STEP`], whoever invokes it: the orchestrator, when the call was
//! handed on to it ([`hand_on`]), or the gateway itself ([`local`]). Both ask the same ledger for the same step, so that
//! it has one effect, also where the gateway gave the orchestrator up and the orchestrator went on.

pub mod hand_on;
pub mod local;

use serde::Serialize;
use serde_json::{Value, json};

pub use self::hand_on::{Handed, Reason};
pub use self::local::Local;

/// The id of a direct call's first step.
pub const STEP: &str = "query";
/// How long the orchestrator may take where the agent's manifest says nothing, in milliseconds; and never more than half
/// of the caller's deadline.
pub const BUDGET_MS: u64 = 5_000;
/// The owner of runs that no orchestrator plans. No orchestrator can have this id.
pub const NOBODY: &str = ":gateway";

/// How long the orchestrator may take, of the time that the caller gives, in milliseconds. `declared` is the manifest's.
#[must_use]
pub fn budget_ms(declared: Option<u64>, deadline_ms: u64) -> u64 {
    declared.unwrap_or(BUDGET_MS).min(deadline_ms / 2)
}

/// How a call was routed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The orchestrator coordinated it.
    Orchestrated {
        /// Which one.
        orchestrator: String,
    },
    /// The gateway did, in the place of the orchestrator.
    Fallback {
        /// Which one did not answer.
        orchestrator: String,
        /// Why not.
        reason: Reason,
        /// The same for people.
        detail: String,
    },
    /// The gateway did: no orchestrator is configured.
    Local,
    /// Nobody: the same call was answered before.
    Stored,
}

impl Route {
    /// The route in a word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Orchestrated { .. } => "orchestrated",
            Self::Fallback { .. } => "fallback",
            Self::Local => "local",
            Self::Stored => "stored",
        }
    }

    /// The value of the header field `Baton-Route`: a structured item.
    #[must_use]
    pub fn field(&self) -> String {
        match self {
            Self::Fallback { reason, .. } => format!("fallback;reason={}", reason.code()),
            other => other.name().to_owned(),
        }
    }

    /// As it stands in an answer.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut route = json!({"by": self.name()});
        match self {
            Self::Orchestrated { orchestrator } => route["orchestrator"] = orchestrator.as_str().into(),
            Self::Fallback {
                orchestrator,
                reason,
                detail,
            } => {
                route["orchestrator"] = orchestrator.as_str().into();
                route["reason"] = reason.code().into();
                route["detail"] = detail.as_str().into();
                // The operator has to act: until then no answer is what it should be.
                route["degraded"] = (*reason == Reason::Refused).into();
            }
            Self::Local | Self::Stored => {}
        }
        route
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_path_keeps_half_of_the_deadline() {
        let check = |declared, deadline_ms, expected| assert_eq!(budget_ms(declared, deadline_ms), expected);
        check(None, 30_000, BUDGET_MS);
        check(None, 8_000, 4_000);
        check(Some(200), 8_000, 200);
        check(Some(60_000), 8_000, 4_000);
        check(None, 1, 0);
    }

    #[test]
    fn answers_say_how_they_came() {
        let outcome =
            json!({"run": "r", "step": "query", "attempt": 1, "agent": "a", "status": "completed", "output": 1});
        let route = Route::Fallback {
            orchestrator: "acme".into(),
            reason: Reason::Refused,
            detail: "why".into(),
        };
        assert_eq!(
            Answer::of(outcome).to_json("r", &route),
            json!({
                "run": "r", "step": "query", "agent": "a", "status": "completed", "output": 1,
                "route": {"by": "fallback", "orchestrator": "acme", "reason": "refused", "detail": "why", "degraded": true},
            })
        );
        assert_eq!(route.field(), "fallback;reason=refused");
        assert_eq!(Route::Local.to_json(), json!({"by": "local"}));
    }
}
