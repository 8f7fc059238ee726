//! Executing a step: its agent, and those that it hands off to, under one deadline.

use serde_json::Value;

use super::before;
use super::containment::{Either, contained, either};
use super::turn::TurnTaker;
use crate::agent::{self, Cancellation, Context, Failure, HandOff, Host, Journal, Spent, StateChange, Stop};
use crate::conversation::{ConversationName, History};
use crate::manifest::{AgentManifest, Implementation, Memory, Team, WorkflowConfig};
use crate::problem::Problem;
use crate::run::StoredAnswer;
use crate::run::call::{Call, StateSource};
use crate::run::ledger::{CommitRequest, StateWrite};
use crate::run::outcome::{About, Hop, NewState, Outcome, outdated};
use crate::run::state::{Kept, STATE_MAX_BYTES};
use crate::run::work::Execution;
use crate::schema::LazySchema;
use crate::signature::digest::content_digest;
use crate::workflow::{self, Halt};

/// So often an execution goes on with the next agent.
pub const HOPS_MAX: usize = 8;
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
    /// Whose state schema the new state must satisfy: the last agent's.
    state_schema: Option<&'a LazySchema>,
    ending: Ending,
    /// What the agents did to the state, in their order.
    changes: Vec<StateChange>,
    hops: Vec<Hop>,
    duration_ms: u64,
    /// What models took, whatever came of it.
    spent: Option<Spent>,
}

#[derive(Debug, Clone, PartialEq)]
enum Ending {
    Output(Value),
    HandOff(HandOff),
    Failed(Failure),
    DeadlineExceeded,
    Cancelled,
}

/// Why an execution did not come to its own end.
enum Interruption {
    Deadline,
    Cancelled,
}

impl<'a> Executor<'a> {
    /// Runs the agent under the deadline. Whatever comes of it is an answer.
    pub async fn execute(&self, execution: Execution) -> Executed<'a> {
        let started_at_ms = self.host.now_ms();
        let deadline_ms = execution.call.deadline_ms.saturating_sub(execution.used_ms);
        let mut relay = Relay::new(self, &execution, started_at_ms, deadline_ms);
        let interrupted = async {
            let cancelled = async {
                self.cancellation.cancelled().await;
                Interruption::Cancelled
            };
            let passed = before(cancelled, self.host.sleep_ms(deadline_ms)).await;
            passed.unwrap_or(Interruption::Deadline)
        };
        let ending = {
            let mut work = std::pin::pin!(contained(relay.relay()));
            match either(work.as_mut(), interrupted).await {
                Either::Left(ended) => ended.unwrap_or_else(Ending::Failed),
                Either::Right(Interruption::Deadline) => Ending::DeadlineExceeded,
                Either::Right(Interruption::Cancelled) => {
                    let late = before(work, self.host.sleep_ms(CANCEL_GRACE_MS)).await;
                    late.map_or(Ending::Cancelled, |ended| ended.unwrap_or_else(Ending::Failed))
                }
            }
        };
        if let Some(turn) = relay.turn.take() {
            turn.release().await;
        }
        Executed {
            agent: self.team.agent(&execution.call.agent),
            state_schema: relay.agent.and_then(|agent| agent.state.as_ref()),
            ending,
            changes: relay.changes,
            hops: relay.hops,
            duration_ms: self.host.now_ms().saturating_sub(started_at_ms),
            spent: self.journal.take_spent(),
            execution,
        }
    }
}

/// The agents of one execution, one after the other.
struct Relay<'a, 'e> {
    executor: &'e Executor<'a>,
    execution: &'e Execution,
    deadline_at_ms: u64,
    /// When the one who is at work began, in Unix milliseconds.
    since_ms: u64,
    /// Who is at work.
    agent: Option<&'a AgentManifest>,
    changes: Vec<StateChange>,
    hops: Vec<Hop>,
    /// The turn of a conversation that is under way: to be given back where the execution is interrupted.
    turn: Option<TurnTaker<'e>>,
}

impl<'a, 'e> Relay<'a, 'e> {
    fn new(executor: &'e Executor<'a>, execution: &'e Execution, now_ms: u64, deadline_ms: u64) -> Self {
        Self {
            executor,
            execution,
            deadline_at_ms: now_ms + deadline_ms,
            since_ms: now_ms,
            agent: executor.team.agent(&execution.call.agent),
            changes: Vec::new(),
            hops: Vec::new(),
            turn: None,
        }
    }

    async fn relay(&mut self) -> Result<Ending, Failure> {
        let call = &self.execution.call;
        let mut input = call.input.clone();
        let mut state = kept_value(&self.execution.kept);
        if let StateSource::Inline(inline) = &call.state {
            state = Some(inline.clone());
        } else if let (Some(kept), Some(agent)) = (&state, self.agent) {
            require(
                agent.state.as_ref(),
                kept,
                "state-schema-violated",
                "the state that the run keeps",
            )?;
        }
        loop {
            // A gateway of another version may have accepted it.
            let agent = self
                .agent
                .ok_or_else(|| Failure::terminal("agent-unknown", "this version of the gateway has no such agent"))?;
            let span = self.execution.agent_span(self.hops.len());
            let context = Context {
                agent: &agent.id,
                run: &call.run,
                step: &call.step,
                attempt: call.attempt,
                deadline_at_ms: self.deadline_at_ms,
                // What the run keeps is for agents that declare a state. What the caller brought along is for all.
                state: state
                    .as_ref()
                    .filter(|_| agent.state.is_some() || !call.state.is_kept()),
                history: History::none(),
                traceparent: Some(&span),
                team: self.executor.team,
                host: self.executor.host,
                cancellation: self.executor.cancellation,
                journal: self.executor.journal,
            };
            let result = match &agent.implementation {
                Implementation::Workflow { workflow } => {
                    self.workflow(workflow, &input, &span).await.map_err(Stop::from)
                }
                _ => match (&agent.memory, &call.conversation) {
                    (Some(memory), Some(name)) => {
                        // On the heap: what is remembered comes on top of all that an agent is.
                        Box::pin(self.converse((agent, memory), name, &input, &context)).await
                    }
                    _ => agent::execute(agent, &input, &context).await,
                },
            };
            let change = self.executor.journal.take_state();
            let handoff = match result {
                Ok(output) => {
                    self.changed(agent, change)?;
                    require(
                        Some(&agent.output),
                        &output,
                        "output-schema-violated",
                        "the agent's output",
                    )?;
                    return Ok(Ending::Output(output));
                }
                Err(Stop::Failed(failure)) => return Err(failure),
                Err(Stop::HandOff(handoff)) => handoff,
            };
            if let Some(change) = &change {
                state = Some(change.apply(state.as_ref()));
            }
            self.changed(agent, change)?;
            if !agent.handoffs.contains(&handoff.agent) {
                let message = format!(
                    "the agent hands off to `{}`, which its manifest's `handoffs` do not name",
                    handoff.agent
                );
                return Err(Failure::terminal("handoff-not-declared", message));
            }
            let next_is_workflow = self.executor.team.agent(&handoff.agent).is_some_and(is_workflow);
            if !call.follow_handoffs || next_is_workflow {
                // A workflow is a step of its own, with its own place in the ledger.
                return Ok(Ending::HandOff(handoff));
            }
            let next = self.next(agent, &handoff, span)?;
            if let Some(new) = handoff.input {
                input = new;
            }
            require(
                Some(&next.input),
                &input,
                "handoff-input-violated",
                "the input that was handed off",
            )?;
            if let Some(state) = &state {
                require(
                    next.state.as_ref(),
                    state,
                    "handoff-state-violated",
                    "the state that was handed off",
                )?;
            }
            self.agent = Some(next);
        }
    }

    /// Runs an agent that remembers, as a turn of the conversation.
    async fn converse(
        &mut self,
        (agent, memory): (&AgentManifest, &Memory),
        name: &ConversationName,
        input: &Value,
        context: &Context<'_>,
    ) -> Result<Value, Stop> {
        let turn = TurnTaker::new(self.executor.host, name.clone(), self.execution, (agent, memory));
        let ended = self.turn.insert(turn).take(agent, input, context).await;
        // Whoever it hands off to waits for this very place. One that was committed has none to give back.
        if let Some(turn) = self.turn.take()
            && ended.is_err()
        {
            turn.release().await;
        }
        ended
    }

    /// Does a workflow's work.
    async fn workflow(&self, workflow: &WorkflowConfig, input: &Value, span: &str) -> Result<Value, Failure> {
        let Some(ledger) = self.executor.ledger else {
            let message = "a workflow is executed where its run is kept, and not in a Worker";
            return Err(Failure::terminal("agent-misconfigured", message));
        };
        let running = workflow::Running {
            executor: self.executor,
            ledger,
            execution: self.execution,
            deadline_at_ms: self.deadline_at_ms,
            span,
        };
        match workflow::run(workflow, input, &running).await {
            Ok(output) => Ok(output),
            Err(Halt::Failed(failure)) => Err(failure),
            // Whoever executes this has seen it, and lets go of it: nothing may be said of it any more.
            Err(Halt::Interrupted) => std::future::pending().await,
        }
    }

    /// Takes down what an agent did to the state.
    fn changed(&mut self, agent: &AgentManifest, change: Option<StateChange>) -> Result<(), Failure> {
        let Some(change) = change else { return Ok(()) };
        if agent.state.is_none() {
            let message = "the agent changes the state, and its manifest declares no `state`";
            return Err(Failure::terminal("agent-misconfigured", message));
        }
        self.changes.push(change);
        Ok(())
    }

    /// Who goes on, if it may.
    fn next(&mut self, agent: &AgentManifest, handoff: &HandOff, span: String) -> Result<&'a AgentManifest, Failure> {
        let now_ms = self.executor.host.now_ms();
        if self.hops.len() >= HOPS_MAX {
            let message = format!("the run was handed off {HOPS_MAX} times within one step, which is the most");
            return Err(Failure::terminal("handoff-hops-exceeded", message));
        }
        self.hops.push(Hop {
            agent: agent.id.clone(),
            reason: handoff.reason.clone(),
            traceparent: span,
            to: handoff.agent.clone(),
            duration_ms: now_ms.saturating_sub(self.since_ms),
        });
        self.since_ms = now_ms;
        if self.hops.iter().any(|hop| hop.agent == handoff.agent) {
            let way: Vec<_> = self.hops.iter().map(|hop| hop.agent.as_str()).collect();
            let message = format!("the handoffs go in a circle: {} -> {}", way.join(" -> "), handoff.agent);
            return Err(Failure::terminal("handoff-cycle", message));
        }
        let next = self.executor.team.agent(&handoff.agent);
        next.ok_or_else(|| Failure::terminal("handoff-not-declared", "there is no agent of that name"))
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
        );
        let (state, write) = match &self.ending {
            Ending::Failed(_) | Ending::Cancelled | Ending::DeadlineExceeded => (NewState::default(), None),
            Ending::Output(_) | Ending::HandOff(_) => match self.new_state() {
                Ok(new) => new,
                Err(failure) => return (outcome.failed(failure), None),
            },
        };
        let outcome = match &self.ending {
            Ending::Output(output) => outcome.completed(output.clone(), state),
            Ending::HandOff(handoff) => outcome.handed_off(handoff.clone(), state),
            Ending::Failed(failure) => outcome.failed(failure.clone()),
            Ending::Cancelled | Ending::DeadlineExceeded => outcome,
        };
        let bounded = outcome.bounded();
        // What is too large fails, and then writes nothing.
        let write = write.filter(|_| !bounded.is_failed());
        (bounded, write)
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
        require(self.state_schema, &state, "output-schema-violated", "the agent's state")?;
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

fn is_workflow(agent: &AgentManifest) -> bool {
    matches!(agent.implementation, Implementation::Workflow { .. })
}

fn kept_value(kept: &Option<Box<Kept>>) -> Option<Value> {
    let kept = kept.as_ref()?;
    serde_json::from_str(&kept.content).ok()
}

/// Checks what an agent made, or was to be given by another one. That it does not fit is a fault of the agents, not of the
/// caller.
pub(super) fn require(schema: Option<&LazySchema>, value: &Value, code: &str, what: &str) -> Result<(), Failure> {
    let Some(schema) = schema else { return Ok(()) };
    let schema = schema
        .get()
        .map_err(|_| Failure::terminal("schema-unusable", format!("the schema of {what} does not compile")))?;
    match schema.violations(value, 1).into_iter().next() {
        None => Ok(()),
        Some(violation) => {
            let message = format!(
                "{what} breaks the schema that it has to satisfy at `{}`: {}",
                violation.instance, violation.message
            );
            Err(Failure::terminal(code, message))
        }
    }
}
