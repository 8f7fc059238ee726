//! The agents of one execution, one after the other: the one that was asked, those that are handed off to, and those that
//! stand in for one that failed.

use std::cell::{Cell, RefCell};

use serde_json::Value;

use super::containment::contained;
use super::execution::{Ending, Executor};
use super::turn::TurnTaker;
use crate::agent::{self, Context, Failure, HandOff, Retry, StateChange, Stop};
use crate::conversation::{ConversationName, History};
use crate::manifest::{AgentManifest, Fallback, Implementation, Memory, WorkflowConfig, input_of};
use crate::run::call::StateSource;
use crate::run::outcome::{Failed, Hop, StandIn};
use crate::run::state::Kept;
use crate::run::work::Execution;
use crate::schema::LazySchema;
use crate::workflow::{self, Halt};

/// So often an execution goes on with the agent that is handed off to.
pub const HOPS_MAX: usize = 8;

/// The agents of one execution.
pub(super) struct Relay<'a, 'e> {
    executor: &'e Executor<'a>,
    execution: &'e Execution,
    deadline_at_ms: u64,
    /// Whether the step was cancelled: then nobody stands in any more.
    cancelled: &'e Cell<bool>,
    /// When the one who is at work began, in Unix milliseconds.
    since_ms: u64,
    /// Who is at work.
    pub(super) agent: Option<&'a AgentManifest>,
    /// What the agents did to the state, in their order.
    pub(super) changes: Vec<StateChange>,
    /// Who was at work before.
    pub(super) hops: Vec<Hop>,
    /// Who failed, where somebody was to stand in.
    pub(super) failed: Vec<Failed>,
    /// The calls of a workflow that somebody stood in for.
    pub(super) stand_ins: Vec<StandIn>,
    /// The turn of a conversation that is under way.
    turn: Option<TurnTaker<'e>>,
}

impl<'a, 'e> Relay<'a, 'e> {
    pub(super) fn new(
        executor: &'e Executor<'a>,
        execution: &'e Execution,
        cancelled: &'e Cell<bool>,
        (now_ms, deadline_at_ms): (u64, u64),
    ) -> Self {
        Self {
            executor,
            execution,
            deadline_at_ms,
            cancelled,
            since_ms: now_ms,
            agent: executor.team.agent(&execution.call.agent),
            changes: Vec::new(),
            hops: Vec::new(),
            failed: Vec::new(),
            stand_ins: Vec::new(),
            turn: None,
        }
    }

    /// Has the agent do its work, and those that stand in for it where it fails for good.
    pub(super) async fn relay(&mut self) -> Result<Ending, Failure> {
        let fallback = self.fallback();
        let mut stand_ins = fallback.map(|fallback| fallback.agents.iter()).unwrap_or_default();
        let mut input = self.execution.call.input.clone();
        // Whether a further try would help the agent that was asked.
        let mut first = None;
        loop {
            // On the heap: whatever agent it is, its future is part of this one.
            let failure = match Box::pin(contained(self.work(input))).await {
                Ok(ending) => return Ok(ending),
                Err(failure) => failure,
            };
            let is_over = self.cancelled.get() || fallback.is_none();
            // Once somebody stands in, the agent that was asked has failed for good: a further try would begin with it.
            if is_over || self.failed.is_empty() && !self.is_for_good(&failure) {
                return Err(failure);
            }
            self.fails(&failure);
            first.get_or_insert(failure.retry);
            let next = stand_ins.by_ref().find_map(|id| self.stand_in(id));
            let (Some((next, its_input)), Some(agent)) = (next, self.agent) else {
                let answer = fallback.and_then(|fallback| fallback.answer.clone());
                let failure = Failure {
                    retry: first.unwrap_or(failure.retry),
                    ..failure
                };
                return answer.map(Ending::StandIn).ok_or(failure);
            };
            let told = format!("{}: `{}`; {} stands in", agent.id, failure.code, next.id);
            self.executor.journal.progress(told, None);
            self.hop(agent, next, failure.message, Some(failure.code));
            // What it did to the state does not count.
            self.executor.journal.take_state();
            self.changes.clear();
            self.agent = Some(next);
            input = its_input;
        }
    }

    /// The deadline has passed while an agent was at work. The answer that stands ready needs no time.
    pub(super) fn out_of_time(&mut self) -> Ending {
        let answer = self.fallback().and_then(|fallback| fallback.answer.clone());
        match answer.filter(|_| self.is_last_try()) {
            Some(answer) => {
                self.fails(&Failure::terminal(
                    "deadline-exceeded",
                    "the agent did not finish in time",
                ));
                Ending::StandIn(answer)
            }
            None => Ending::DeadlineExceeded,
        }
    }

    /// Who stands in for the agent that was asked, where somebody does.
    fn fallback(&self) -> Option<&'a Fallback> {
        let asked = self.executor.team.agent(&self.execution.call.agent)?;
        Some(&asked.fallback).filter(|fallback| !fallback.is_empty())
    }

    fn is_for_good(&self, failure: &Failure) -> bool {
        failure.retry == Retry::Never || self.is_last_try()
    }

    fn is_last_try(&self) -> bool {
        let Execution { call, generation, .. } = self.execution;
        // The first execution of an attempt has generation 1.
        call.attempt + generation.saturating_sub(1) >= call.tries_max
    }

    fn fails(&mut self, failure: &Failure) {
        let agent = self.agent.map_or(&self.execution.call.agent, |agent| &agent.id).clone();
        self.failed.push(Failed::new(agent, failure));
    }

    /// The agent that stands in next, with its input: made of the caller's text where the agent says how, else what the
    /// agent got that was asked. One that takes neither is passed over.
    fn stand_in(&mut self, id: &str) -> Option<(&'a AgentManifest, Value)> {
        let call = &self.execution.call;
        let agent = self.executor.team.agent(id)?;
        let wrapped = call.text.as_deref().and_then(|text| input_of(agent, text)?.ok());
        let input = wrapped.unwrap_or_else(|| call.input.clone());
        if !agent.input.get().is_ok_and(|schema| schema.accepts(&input)) {
            let message = "the agent takes another input than the one that it was to stand in for";
            let failure = Failure::terminal("input-not-accepted", message);
            self.failed.push(Failed::new(id.to_owned(), &failure));
            return None;
        }
        Some((agent, input))
    }

    /// An agent does its work, and those that it hands off to.
    async fn work(&mut self, mut input: Value) -> Result<Ending, Failure> {
        let call = &self.execution.call;
        let mut state = kept_value(&self.execution.kept);
        let whose = match &call.state {
            StateSource::Inline(inline) => {
                state = Some(inline.clone());
                "the state that came with the step"
            }
            _ => "the state that the run keeps",
        };
        if let (Some(state), Some(agent)) = (&state, self.agent) {
            require(agent.state.as_ref(), state, "state-schema-violated", whose)?;
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
                behalf: &call.behalf,
                depth: 0,
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
            let next_is_workflow = self
                .executor
                .team
                .agent(&handoff.agent)
                .is_some_and(AgentManifest::is_workflow);
            if !call.follow_handoffs || next_is_workflow {
                // A workflow is a step of its own, with its own place in the ledger.
                return Ok(Ending::HandOff(handoff));
            }
            let next = self.next(agent, &handoff)?;
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
        // That of an agent which panicked, and which this one stands in for.
        self.give_turn_back().await;
        let of = (self.execution, self.deadline_at_ms);
        let turn = TurnTaker::new(self.executor.host, name.clone(), of, (agent, memory));
        let ended = self.turn.insert(turn).take(agent, input, context).await;
        if ended.is_ok() {
            // It was committed, and has no place to give back.
            self.turn = None;
        }
        // Whoever it hands off to, or stands in for it, waits for this very place.
        self.give_turn_back().await;
        ended
    }

    /// Gives the place of a turn back that was interrupted, so that the next one begins at once.
    pub(super) async fn give_turn_back(&mut self) {
        if let Some(turn) = self.turn.take() {
            turn.release().await;
        }
    }

    /// Does a workflow's work.
    async fn workflow(&mut self, workflow: &WorkflowConfig, input: &Value, span: &str) -> Result<Value, Failure> {
        let Some(ledger) = self.executor.ledger else {
            let message = "a workflow is executed where its run is kept, and not in a Worker";
            return Err(Failure::terminal("agent-misconfigured", message));
        };
        let stand_ins = RefCell::default();
        let running = workflow::Running {
            executor: self.executor,
            ledger,
            execution: self.execution,
            deadline_at_ms: self.deadline_at_ms,
            span,
            stand_ins: &stand_ins,
        };
        let ended = workflow::run(workflow, input, &running).await;
        self.stand_ins = stand_ins.into_inner();
        // Branches end in any order.
        self.stand_ins.sort();
        match ended {
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
    fn next(&mut self, agent: &AgentManifest, handoff: &HandOff) -> Result<&'a AgentManifest, Failure> {
        let followed = self.hops.iter().filter(|hop| hop.error.is_none()).count();
        if followed >= HOPS_MAX {
            let message = format!("the run was handed off {HOPS_MAX} times within one step, which is the most");
            return Err(Failure::terminal("handoff-hops-exceeded", message));
        }
        let next = self.executor.team.agent(&handoff.agent);
        let next = next.ok_or_else(|| Failure::terminal("handoff-not-declared", "there is no agent of that name"))?;
        self.hop(agent, next, handoff.reason.clone(), None);
        if self.hops.iter().any(|hop| hop.agent == handoff.agent) {
            let way: Vec<_> = self.hops.iter().map(|hop| hop.agent.as_str()).collect();
            let message = format!("the handoffs go in a circle: {} -> {}", way.join(" -> "), handoff.agent);
            return Err(Failure::terminal("handoff-cycle", message));
        }
        Ok(next)
    }

    /// Takes down that the next one goes on, because it was handed off to or because the one before failed.
    fn hop(&mut self, agent: &AgentManifest, next: &AgentManifest, reason: String, error: Option<String>) {
        let now_ms = self.executor.host.now_ms();
        self.hops.push(Hop {
            agent: agent.id.clone(),
            reason,
            error,
            traceparent: self.execution.agent_span(self.hops.len()),
            to: next.id.clone(),
            duration_ms: now_ms.saturating_sub(self.since_ms),
        });
        self.since_ms = now_ms;
    }
}

pub(super) fn kept_value(kept: &Option<Box<Kept>>) -> Option<Value> {
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
