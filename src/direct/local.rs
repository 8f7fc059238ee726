//! The local path: the gateway coordinates a call by itself. The agent, then those that stand in for it, then the answer
//! that its manifest gives; handoffs are followed. Each is a step of the run, in its ledger.

use serde_json::Value;

use super::{Answer, Failed, STEP};
use crate::config::Config;
use crate::invocation::{Caller, HOPS_MAX, Invocation, Progress, StepBody, ended};
use crate::manifest::{AgentManifest, Team, input_of};
use crate::platform::Platform;
use crate::problem::Problem;

use crate::run::StoredAnswer;
use crate::run::settlement::Takeover;

/// The time that is kept for what comes after the last agent, in milliseconds.
const MARGIN_MS: u64 = 50;

/// A call that the gateway coordinates.
pub struct Local<'a, P> {
    /// The agents.
    pub team: &'a Team,
    /// The configuration.
    pub config: &'a Config,
    /// Who asks.
    pub caller: &'a Caller<'a, P>,
    /// The run's id.
    pub run: &'a str,
    /// What the customer wrote, where it wrote text: whoever stands in may take it in another form.
    pub text: Option<&'a str>,
    /// Why the gateway coordinates it, where that is an orchestrator's to do.
    pub takeover: Option<Takeover>,
    /// When the answer must be there, in Unix milliseconds.
    pub deadline_at_ms: u64,
}

/// How a step ended.
enum Ended {
    /// With this outcome.
    Outcome(Value),
    /// Not in time.
    DeadlineExceeded,
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
        let stand_ins = stand_ins.filter_map(|id| self.team.agent(id));
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
                deadline_ms: agent.deadline_ms.min(self.team.gateway.limits.deadline_max_ms),
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
            let ended = self.step(agent, &id, input.clone()).await?;
            let Ended::Outcome(outcome) = &ended else {
                return Ok(ended);
            };
            if outcome["status"] != "handed_off" {
                return Ok(ended);
            }
            let handoff = &outcome["handoff"];
            let Some(next) = handoff["agent"].as_str().and_then(|id| self.team.agent(id)) else {
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

    /// One step, executed here, or waited for where somebody else executes it already.
    async fn step(&self, agent: &AgentManifest, step: &str, input: Value) -> Result<Ended, Problem> {
        let mut attempt = 1;
        loop {
            let now_ms = self.caller.platform.now_ms();
            let left_ms = self.deadline_at_ms.saturating_sub(now_ms + MARGIN_MS);
            if left_ms == 0 {
                return Ok(Ended::DeadlineExceeded);
            }
            let body = StepBody::direct(step, attempt, input.clone(), left_ms);
            let (team, takeover) = ((self.team, self.config), self.takeover.clone());
            let invocation = Invocation::direct(agent, team, self.caller, (self.run, body), takeover)?;
            let run = invocation.request.using.name.clone();
            let answer = match invocation.claim().await {
                Ok(Progress::Claimed(claimed)) => Some(claimed.execute().await?),
                Ok(Progress::Answered(answer)) => Some(answer),
                Ok(Progress::Accepted(_)) | Err(Problem::InFlight { .. }) => {
                    ended(self.caller, &run, step, None, left_ms).await?
                }
                // It was attempted before, and may be attempted again.
                Err(Problem::AttemptOutdated { latest }) if latest >= attempt => {
                    attempt = latest + 1;
                    continue;
                }
                Err(problem) => return Err(problem),
            };
            return Ok(answer.map_or(Ended::DeadlineExceeded, read));
        }
    }
}

/// A stored answer: an outcome, or the one problem that is kept, a deadline that passed.
fn read(answer: StoredAnswer) -> Ended {
    match answer.status {
        200 => Ended::Outcome(serde_json::from_str(&answer.body).unwrap_or_default()),
        _ => Ended::DeadlineExceeded,
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
