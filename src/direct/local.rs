//! The local path: the gateway coordinates a call by itself. The agent does its step, and where it hands off, the next one
//! does; each is a step of the run, in its ledger. Who stands in for an agent that fails does so within its step.

use serde_json::Value;

use super::step::{Ended, Steps};
use super::{Answer, Failed, Listener, STEP};
use crate::invocation::HOPS_MAX;
use crate::manifest::AgentManifest;
use crate::platform::Platform;
use crate::problem::Problem;

/// A call that the gateway coordinates.
pub struct Local<'a, P> {
    /// Executes its steps.
    pub steps: Steps<'a, P>,
    /// Hears which step is under way.
    pub listener: Option<&'a dyn Listener>,
}

impl<P: Platform> Local<'_, P> {
    /// Coordinates the call to its answer. Where it comes to nothing, for an agent that it was handed off to failed or the
    /// time is over, there may be the answer that the called agent has ready.
    ///
    /// # Errors
    /// When the run is another call's, or its ledger does not answer; and 504 where no agent answered in time and none
    /// has a static answer.
    pub async fn answer(&self, agent: &AgentManifest, input: Value) -> Result<Answer, Problem> {
        let ended = self.relay(agent, input).await?;
        let ready = agent.fallback.answer.clone();
        let stand_in = |output, failed| Answer::StandIn {
            agent: agent.id.clone(),
            output,
            failed,
        };
        match (ended, ready) {
            // Nobody stands in for a step that was cancelled.
            (Ended::Outcome(outcome), Some(output))
                if outcome["status"] != "completed" && outcome["status"] != "cancelled" =>
            {
                let failed = reason_of(&outcome);
                Ok(stand_in(output, failed))
            }
            (Ended::Outcome(outcome), _) => Ok(Answer::Outcome(outcome)),
            (Ended::DeadlineExceeded, Some(output)) => {
                let failed = Failed {
                    agent: agent.id.clone(),
                    code: "deadline-exceeded".into(),
                    message: "the agent did not finish in time".into(),
                };
                Ok(stand_in(output, failed))
            }
            (Ended::DeadlineExceeded, None) => Err(Problem::DeadlineExceeded {
                deadline_ms: agent.deadline_ms.min(self.steps.team.gateway.limits.deadline_max_ms),
            }),
        }
    }

    /// A step, and those that it is handed off to.
    async fn relay(&self, first: &AgentManifest, input: Value) -> Result<Ended, Problem> {
        let mut agent = first;
        let mut input = input;
        for hop in 0..=HOPS_MAX {
            let id = match hop {
                0 => STEP.to_owned(),
                hop => format!("{STEP}-hop-{hop}"),
            };
            if let Some(listener) = self.listener {
                listener.goes_on(&id);
            }
            let ended = self.steps.execute(agent, &id, &input).await?;
            let Ended::Outcome(outcome) = &ended else {
                return Ok(ended);
            };
            if outcome["status"] != "handed_off" {
                return Ok(ended);
            }
            let handoff = &outcome["handoff"];
            let Some(next) = handoff["agent"].as_str().and_then(|id| self.steps.team.agent(id)) else {
                return Ok(ended);
            };
            if let Some(given) = handoff.get("input") {
                input = given.clone();
            }
            if !next.input.get().is_ok_and(|schema| schema.accepts(&input)) {
                return Ok(ended);
            }
            agent = next;
        }
        Ok(Ended::DeadlineExceeded)
    }
}

fn reason_of(outcome: &Value) -> Failed {
    let text = |pointer: &str| outcome.pointer(pointer).and_then(Value::as_str);
    let status = text("/status").unwrap_or("failed").replace('_', "-");
    Failed {
        agent: text("/agent").unwrap_or_default().to_owned(),
        code: text("/error/code").map_or(status, str::to_owned),
        message: text("/error/message").unwrap_or("the agent gave no output").to_owned(),
    }
}
