//! Executing a step under its deadline, and what is to be committed of it.

use std::cell::Cell;

use serde_json::Value;

use super::before;
use super::containment::{Either, either};
use super::relay::{Relay, kept_value, require};
use crate::agent::{Cancellation, Failure, HandOff, Host, Journal, LocalBoxFuture, Spent, StateChange};
use crate::manifest::{AgentManifest, Team};
use crate::problem::Problem;
use crate::run::StoredAnswer;
use crate::run::call::{Call, StateSource};
use crate::run::ledger::{CommitRequest, StateWrite};
use crate::run::outcome::{About, Failed, Hop, NewState, Outcome, StandIn, StoodIn, outdated};
use crate::run::state::{Kept, STATE_MAX_BYTES};
use crate::run::work::Execution;
use crate::signature::digest::content_digest;
use crate::telemetry::operation::Operation;
use crate::workflow;

/// How long a cancelled agent may still take to leave things in order, in milliseconds.
pub const CANCEL_GRACE_MS: u64 = 1_000;

/// What executes: the team, and what an agent is given.
#[derive(Clone, Copy)]
pub struct Executor<'a> {
    /// The agents.
    pub team: &'a Team,
    /// The clock and the timer.
    pub host: &'a dyn Host,
    /// Says when the step was cancelled.
    pub cancellation: &'a dyn Cancellation,
    /// Takes down what the agent tells.
    pub journal: &'a Journal,
    /// The run's ledger, where it is at hand: a workflow's calls are claimed there.
    pub ledger: Option<&'a dyn workflow::Ledger>,
}

/// What an execution came to. It counts once it is committed.
#[derive(Debug, Clone)]
pub struct Executed<'a> {
    execution: Execution,
    agent: Option<&'a AgentManifest>,
    /// Who was at work last.
    last: Option<&'a AgentManifest>,
    ending: Ending,
    /// What the agents did to the state, in their order.
    changes: Vec<StateChange>,
    hops: Vec<Hop>,
    failed: Vec<Failed>,
    stand_ins: Vec<StandIn>,
    duration_ms: u64,
    /// What models took, whatever came of it.
    spent: Option<Spent>,
    /// What the agents had others do.
    operations: Vec<Operation>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ending {
    /// An agent's output.
    Output(Value),
    /// The answer that the agent's manifest has ready, since nobody could do the work.
    StandIn(Value),
    /// Another step is to go on.
    HandOff(HandOff),
    /// It failed.
    Failed(Failure),
    /// It did not end in time.
    DeadlineExceeded,
    /// It was cancelled.
    Cancelled,
}

/// Why an execution did not come to its own end.
enum Interruption {
    Deadline,
    Cancelled,
}

/// Takes down that a cancellation was heard of, by whoever heard first.
struct Noted<'a> {
    cancellation: &'a dyn Cancellation,
    is_cancelled: Cell<bool>,
}

impl Cancellation for Noted<'_> {
    fn cancelled(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {
            self.cancellation.cancelled().await;
            self.is_cancelled.set(true);
        })
    }
}

impl<'a> Executor<'a> {
    /// Runs the agent under the deadline. Whatever comes of it is an answer.
    pub async fn execute(&self, execution: Execution) -> Executed<'a> {
        let started_at_ms = self.host.now_ms();
        let deadline_ms = execution.call.deadline_ms.saturating_sub(execution.used_ms);
        let noted = Noted {
            cancellation: self.cancellation,
            is_cancelled: Cell::new(false),
        };
        let executor = Executor {
            cancellation: &noted,
            ..*self
        };
        let times = (started_at_ms, started_at_ms + deadline_ms);
        let mut relay = Relay::new(&executor, &execution, &noted.is_cancelled, times);
        let interrupted = async {
            let cancelled = async {
                noted.cancelled().await;
                Interruption::Cancelled
            };
            let passed = before(cancelled, self.host.sleep_ms(deadline_ms)).await;
            passed.unwrap_or(Interruption::Deadline)
        };
        let mut ending = {
            let mut work = std::pin::pin!(relay.relay());
            match either(work.as_mut(), interrupted).await {
                Either::Left(ended) => ended.unwrap_or_else(Ending::Failed),
                Either::Right(Interruption::Deadline) => Ending::DeadlineExceeded,
                Either::Right(Interruption::Cancelled) => {
                    let late = before(work, self.host.sleep_ms(CANCEL_GRACE_MS)).await;
                    late.map_or(Ending::Cancelled, |ended| ended.unwrap_or_else(Ending::Failed))
                }
            }
        };
        if ending == Ending::DeadlineExceeded {
            ending = relay.out_of_time();
        }
        relay.give_turn_back().await;
        Executed {
            agent: self.team.agent(&execution.call.agent),
            last: relay.agent.and_then(|agent| self.team.agent(&agent.id)),
            ending,
            changes: relay.changes,
            hops: relay.hops,
            failed: relay.failed,
            stand_ins: relay.stand_ins,
            duration_ms: self.host.now_ms().saturating_sub(started_at_ms),
            spent: self.journal.take_spent(),
            operations: self.journal.take_operations(),
            execution,
        }
    }
}

impl Executed<'_> {
    /// What was executed.
    #[must_use]
    pub fn call(&self) -> &Call {
        &self.execution.call
    }

    /// What is to be committed.
    #[must_use]
    pub fn commit_request(&self) -> CommitRequest {
        let commit = |answer, retryable, retry_after_ms, state| CommitRequest {
            ordinal: self.execution.ordinal,
            generation: self.execution.generation,
            answer,
            retryable,
            retry_after_ms,
            state,
            operations: self.operations.clone(),
        };
        if self.ending == Ending::DeadlineExceeded {
            let problem = Problem::DeadlineExceeded {
                deadline_ms: self.execution.call.deadline_ms,
            };
            let answer = StoredAnswer {
                status: problem.status(),
                body: problem.to_json(&self.execution.call.request_id).to_string(),
            };
            return commit(answer, problem.retryable(), 0, None);
        }
        let (outcome, state) = self.outcome();
        let retry_after_ms = outcome.retry_after_ms();
        let answer = StoredAnswer {
            status: 200,
            body: outcome.to_json(),
        };
        commit(answer, retry_after_ms.is_some(), retry_after_ms.unwrap_or(0), state)
    }

    /// The same on top of the state that somebody else wrote meanwhile, where that can be: a patch can be applied to it, a
    /// whole state would undo it.
    #[must_use]
    pub fn rebased(mut self, kept: Option<Box<Kept>>) -> Self {
        let patches = self
            .changes
            .iter()
            .all(|change| matches!(change, StateChange::Merge(_)));
        if self.execution.call.state == StateSource::Kept && patches {
            self.execution.kept = kept;
        } else if matches!(self.execution.call.state, StateSource::Version(_)) {
            self.ending = Ending::Failed(outdated());
        } else {
            let message = "the state was changed by somebody else while the step was executed: nothing was written";
            self.ending = Ending::Failed(Failure::retryable("state-conflict", message, 0));
        }
        self
    }

    fn outcome(&self) -> (Outcome, Option<StateWrite>) {
        let call = &self.execution.call;
        let outcome = Outcome::about(About {
            run: &call.run,
            step: &call.step,
            attempt: call.attempt,
            agent: &call.agent,
            agent_version: self.agent.map_or("", |agent| &agent.version),
            traceparent: &call.traceparent,
            duration_ms: self.duration_ms,
        })
        .with_spent(self.spent.clone())
        .with_hops(
            self.hops.clone(),
            (1..=self.hops.len())
                .map(|place| self.execution.agent_span(place))
                .collect(),
        )
        .with_failed(self.failed.clone())
        .with_stand_ins(self.stand_ins.clone());
        let (state, write) = match &self.ending {
            Ending::StandIn(_) | Ending::Failed(_) | Ending::Cancelled | Ending::DeadlineExceeded => {
                (NewState::default(), None)
            }
            Ending::Output(_) | Ending::HandOff(_) => match self.new_state() {
                Ok(new) => new,
                Err(failure) => return (outcome.failed(failure), None),
            },
        };
        let outcome = match &self.ending {
            Ending::Output(output) => outcome.completed(output.clone(), state).answered_by(self.stood_in()),
            Ending::StandIn(answer) => outcome
                .completed(answer.clone(), state)
                .answered_by(Some(StoodIn::Answer)),
            Ending::HandOff(handoff) => outcome.handed_off(handoff.clone(), state),
            Ending::Failed(failure) => outcome.failed(failure.clone()),
            Ending::Cancelled | Ending::DeadlineExceeded => outcome,
        };
        let bounded = outcome.bounded();
        // What is too large fails, and then writes nothing.
        let write = write.filter(|_| !bounded.is_failed());
        (bounded, write)
    }

    /// Who stood in for the agent that was asked, if that is who answered.
    fn stood_in(&self) -> Option<StoodIn> {
        let agent = self.last.filter(|_| !self.failed.is_empty())?;
        Some(StoodIn::Agent(agent.id.clone()))
    }

    /// The new state: as it is told, and as it is to be written.
    fn new_state(&self) -> Result<(NewState, Option<StateWrite>), Failure> {
        if self.changes.is_empty() {
            return Ok((NewState::default(), None));
        }
        let mut state = match &self.execution.call.state {
            StateSource::Inline(state) => Some(state.clone()),
            _ => kept_value(&self.execution.kept),
        };
        for change in &self.changes {
            state = Some(change.apply(state.as_ref()));
        }
        let state = state.unwrap_or_default();
        let schema = self.last.and_then(|agent| agent.state.as_ref());
        require(schema, &state, "output-schema-violated", "the agent's state")?;
        let content = state.to_string();
        if content.len() > STATE_MAX_BYTES {
            let bytes = content.len();
            let message = format!("the new state has {bytes} bytes, at most {STATE_MAX_BYTES} are allowed");
            return Err(Failure::terminal("state-too-large", message));
        }
        if !self.execution.call.state.is_kept() {
            let told = NewState {
                state: Some(state),
                ..NewState::default()
            };
            return Ok((told, None));
        }
        let base = self.execution.kept.as_ref().map_or(0, |kept| kept.version.version);
        let told = NewState {
            state: None,
            state_version: Some(base + 1),
            state_digest: Some(content_digest(content.as_bytes())),
        };
        Ok((told, Some(StateWrite { base, content })))
    }
}
