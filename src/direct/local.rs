//! The local path: the gateway coordinates a call by itself. The agent, then those that stand in for it, then the answer
//! that its manifest gives; handoffs are followed. Each is a step of the run, in its ledger.

use serde_json::Value;

use super::step::{Ended, Steps};
use super::{Answer, Failed, STEP};
use crate::invocation::HOPS_MAX;
use crate::manifest::{AgentManifest, input_of};
use crate::platform::Platform;
use crate::problem::Problem;

/// A call that the gateway coordinates.
pub struct Local<'a, P> {
    /// Executes its steps.
    pub steps: Steps<'a, P>,
    /// What the customer wrote, where it wrote text: whoever stands in may take it in another form.
    pub text: Option<&'a str>,
}

impl<P: Platform> Local<'_, P> {
    /// Coordinates the call to its answer.
    ///
    /// # Errors
    /// When the run is another call's, or its ledger does not answer; and 504 where no agent answered in time and none
    /// has a static answer.
    pub async fn answer(&self, agent: &AgentManifest, input: Value) -> Result<Answer, Problem> {
        let mut failed = Vec::new();
        let mut last = None;
        let stand_ins = agent.fallback.agents.iter();
        let stand_ins = stand_ins.filter_map(|id| self.steps.team.agent(id));
        for (place, agent) in std::iter::once(agent).chain(stand_ins).enumerate() {
            let input = match self.input_for(agent, &input, place) {
                Ok(input) => input,
                Err(reason) => {
                    failed.push(reason);
                    continue;
                }
            };
            let step = match place {
                0 => STEP.to_owned(),
                place => format!("{STEP}-fallback-{place}"),
            };
            let outcome = match self.relay(agent, &step, input).await? {
                Ended::Outcome(outcome) => outcome,
                Ended::DeadlineExceeded => {
                    failed.push(Failed {
                        agent: agent.id.clone(),
                        code: "deadline-exceeded".into(),
                        message: "the agent did not finish in time".into(),
                    });
                    // Nobody else has time either.
                    break;
                }
            };
            if outcome["status"] == "completed" {
                return Ok(Answer {
                    failed,
                    ..Answer::of(outcome)
                });
            }
            failed.push(reason_of(agent, &outcome));
            last = Some(outcome);
        }
        let stand_in = agent.fallback.answer.clone();
        if let Some(output) = stand_in {
            return Ok(Answer {
                outcome: None,
                stand_in: Some((agent.id.clone(), output)),
                failed,
            });
        }
        match last {
            Some(outcome) => Ok(Answer {
                failed,
                ..Answer::of(outcome)
            }),
            None => Err(Problem::DeadlineExceeded {
                deadline_ms: agent.deadline_ms.min(self.steps.team.gateway.limits.deadline_max_ms),
            }),
        }
    }

    /// The input of an agent: the call's own for the first one, made of the text for whoever stands in, where it says how.
    fn input_for(&self, agent: &AgentManifest, input: &Value, place: usize) -> Result<Value, Failed> {
        if place == 0 {
            return Ok(input.clone());
        }
        let wrapped = self.text.and_then(|text| input_of(agent, text)?.ok());
        let input = wrapped.unwrap_or_else(|| input.clone());
        let fits = agent.input.get().is_ok_and(|schema| schema.accepts(&input));
        if fits {
            return Ok(input);
        }
        Err(Failed {
            agent: agent.id.clone(),
            code: "input-not-accepted".into(),
            message: "the agent takes another input than the one that it was to stand in for".into(),
        })
    }

    /// A step, and those that it is handed off to.
    async fn relay(&self, first: &AgentManifest, step: &str, input: Value) -> Result<Ended, Problem> {
        let mut agent = first;
        let mut input = input;
        for hop in 0..=HOPS_MAX {
            let id = match hop {
                0 => step.to_owned(),
                hop => format!("{step}-hop-{hop}"),
            };
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

fn reason_of(agent: &AgentManifest, outcome: &Value) -> Failed {
    let text = |pointer: &str| outcome.pointer(pointer).and_then(Value::as_str);
    let status = text("/status").unwrap_or("failed").replace('_', "-");
    Failed {
        agent: agent.id.clone(),
        code: text("/error/code").map_or(status, str::to_owned),
        message: text("/error/message").unwrap_or("the agent gave no output").to_owned(),
    }
}
