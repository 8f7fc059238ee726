//! The calls of a workflow: attempts of the same run, for which the workflow's own attempt answers.
//!
//! A call is a step of its own, a child of the workflow's step, and its answer is kept like any other. So a workflow that
//! was interrupted is executed again from its beginning: a child that has an answer is answered at once, and one that was
//! under way is taken over under a higher generation. What cannot be told from the answers alone, which branches of a
//! parallel were the first, is kept beside them as a [`Decision`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::attempt::{self, ATTEMPTS_MAX, Attempt, EXECUTIONS_MAX, Phase, StoredAnswer};
use super::call::{Behalf, Call, StateSource};
use super::ledger::kept_for;
use super::question::Moment;
use super::record;
use super::storage::{Storage, Table};
use super::telling;
use super::work::{COMMIT_GRACE_MS, Execution};
use crate::agent::Failure;
use crate::conversation::ConversationName;
use crate::manifest::{Notification, RetryPolicy};

/// What was decided, by the workflow's step and the node.
const DECISIONS: Table<Decision> = Table::new(DECISION);
pub(super) const DECISION: &str = "decision/";

/// An attempt that is executed, and the generation that it is executed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// The attempt's place in its run.
    pub ordinal: u32,
    /// The generation.
    pub generation: u32,
}

impl Hold {
    /// The attempt, as long as it is held.
    fn attempt<S: Storage>(self, storage: &S) -> Result<Option<Attempt>, S::Error> {
        attempt::owned(storage, self.ordinal, self.generation)
    }
}

/// Asks for a call of a workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildClaim {
    /// The workflow's own attempt.
    pub parent: Hold,
    /// The step's id: that of the workflow's step, a slash, and the call's place in the workflow.
    pub step: String,
    /// Which try of the call this is, from 1, within the workflow's attempt.
    pub number: u32,
    /// Whether it is the last one: then whoever stands in for the agent does so.
    pub is_last: bool,
    /// Who is called.
    pub agent: String,
    /// In which version.
    pub agent_version: String,
    /// Whether that is a workflow itself.
    pub workflow: bool,
    /// What channels are told when the call has ended.
    pub notifications: Vec<Notification>,
    /// Valid for the agent's input schema.
    pub input: Value,
    /// Digest of agent and input.
    pub fingerprint: String,
    /// The conversation that the workflow belongs to, if it belongs to one.
    pub conversation: Option<ConversationName>,
    /// When the workflow was taken on, in Unix milliseconds.
    pub accepted_at_ms: Option<u64>,
    /// How long it may take, in milliseconds.
    pub deadline_ms: u64,
    /// The call's own span.
    pub traceparent: String,
    /// The span of the workflow's execution, in 16 hexadecimal digits.
    pub parent_span: Option<String>,
    /// The request that asked for the workflow.
    pub request_id: String,
    /// On whose behalf.
    pub behalf: Behalf,
}

/// What a claim of a call came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Child {
    /// Execute it, then commit under its generation.
    Granted(Box<Execution>),
    /// It was executed before.
    Answered(StoredAnswer),
    /// It failed, and a later try of it was begun already.
    Overtaken,
    /// It cannot be.
    Refused(Failure),
    /// The workflow's attempt has ended, or has another owner by now.
    Over,
}

/// Which branches of a parallel, or which item of a map, decided how it went on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Enough branches completed: these, in their order.
    Joined(Vec<usize>),
    /// Too many failed, the last of them this one. It holds for the attempt of the workflow that met it.
    Failed {
        /// The number of the workflow's attempt.
        attempt: u32,
        /// The branch.
        branch: usize,
    },
}

impl ChildClaim {
    /// Decides about the claim.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn answer<S: Storage>(&self, storage: &S, moment: Moment<'_>) -> Result<Child, S::Error> {
        let Some(parent) = self.parent.attempt(storage)? else {
            return Ok(Child::Over);
        };
        let key = |number: u32| format!("{}#{}.{number}", self.step, parent.attempt);
        let latest = attempt::latest(storage, &self.step)?;
        let known = attempt::by_key(storage, &key(self.number))?;
        for found in latest.iter().chain(&known) {
            if let Some(failure) = self.mismatch(&parent, found) {
                return Ok(Child::Refused(failure));
            }
        }
        if let Some(known) = known {
            if attempt::by_key(storage, &key(self.number + 1))?.is_some() {
                return Ok(Child::Overtaken);
            }
            return self.again(storage, known, moment);
        }
        if let Some(latest) = &latest
            && !latest.retryable
            && let Some(answer) = attempt::answer(storage, latest.ordinal)?
        {
            return Ok(Child::Answered(answer));
        }
        let Some(mut run) = record::find(storage)? else {
            return Ok(Child::Over);
        };
        if run.attempts >= ATTEMPTS_MAX {
            let message =
                format!("the run has {ATTEMPTS_MAX} attempts, which is the most: the workflow cannot go on in it");
            return Ok(Child::Refused(Failure::terminal("run-full", message)));
        }
        run.attempts += 1;
        run.touched_at_ms = run.touched_at_ms.max(moment.now_ms);
        record::save(storage, &run)?;
        let attempt = Attempt {
            ordinal: attempt::next_ordinal(storage)?,
            idempotency_key: key(self.number),
            step: self.step.clone(),
            attempt: latest.map_or(1, |latest| latest.attempt + 1),
            agent: self.agent.clone(),
            agent_version: self.agent_version.clone(),
            traceparent: self.traceparent.clone(),
            parent_span: self.parent_span.clone(),
            route: parent.route,
            fingerprint: self.fingerprint.clone(),
            claimant: moment.claimant.to_owned(),
            generation: 0,
            claimed_until_ms: 0,
            phase: Phase::Accepted,
            background: true,
            parent: Some(parent.step),
            workflow: self.workflow,
            hedge: false,
            // The workflow itself tries again.
            retry: RetryPolicy::default(),
            notifications: self.notifications.clone(),
            retryable: false,
            cancelled: false,
            callback_url: None,
            accepted_at_ms: moment.now_ms,
            started_at_ms: None,
            ended_at_ms: None,
            events: 0,
            event_bytes: 0,
            tells: 0,
        };
        attempt::insert(storage, &attempt)?;
        self.begin(storage, attempt, moment)
    }

    /// The same try of the same call: its answer, or another execution of what was interrupted.
    fn again<S: Storage>(&self, storage: &S, mut known: Attempt, moment: Moment<'_>) -> Result<Child, S::Error> {
        if known.phase != Phase::Ended && known.generation >= EXECUTIONS_MAX {
            attempt::lost(storage, &mut known, moment)?;
        }
        match attempt::answer(storage, known.ordinal)? {
            Some(answer) => Ok(Child::Answered(answer)),
            None => self.begin(storage, known, moment),
        }
    }

    fn begin<S: Storage>(&self, storage: &S, mut attempt: Attempt, moment: Moment<'_>) -> Result<Child, S::Error> {
        telling::taken_from_the_dead(storage, &attempt, moment.now_ms)?;
        let hold_ms = self.deadline_ms + COMMIT_GRACE_MS;
        attempt::begin(storage, &mut attempt, moment.claimant, hold_ms, moment.now_ms)?;
        attempt::save(storage, &attempt)?;
        let run = record::find(storage)?;
        let call = Call {
            run: run.map(|run| run.name.run).unwrap_or_default(),
            step: self.step.clone(),
            attempt: attempt.attempt,
            agent: self.agent.clone(),
            input: self.input.clone(),
            state: StateSource::Kept,
            conversation: self.conversation.clone(),
            deadline_ms: self.deadline_ms,
            follow_handoffs: true,
            tries_max: if self.is_last { 1 } else { u32::MAX },
            text: None,
            traceparent: attempt.traceparent.clone(),
            request_id: self.request_id.clone(),
            behalf: self.behalf.clone(),
        };
        Ok(Child::Granted(Box::new(Execution {
            ordinal: attempt.ordinal,
            generation: attempt.generation,
            kept: kept_for(storage, &call)?,
            call,
            used_ms: 0,
            accepted_at_ms: self.accepted_at_ms,
        })))
    }

    /// Why an attempt of the step's id is none of this call.
    fn mismatch(&self, parent: &Attempt, found: &Attempt) -> Option<Failure> {
        if found.parent.as_ref() != Some(&parent.step) {
            let message = format!("the run has a step `{}` that is no call of this workflow", self.step);
            return Some(Failure::terminal("workflow-step-taken", message));
        }
        if found.fingerprint != self.fingerprint {
            let message = format!("`{}` was called with another input before", self.step);
            return Some(changed(&message));
        }
        None
    }
}

/// What is kept of an execution does not fit the workflow as it is now.
#[must_use]
pub fn changed(what: &str) -> Failure {
    let message = format!("{what}: the workflow's manifest was changed while it was under way; invoke a new step");
    Failure::terminal("workflow-changed", message)
}

/// What was decided at this place of a workflow.
///
/// # Errors
/// When the storage fails.
pub fn decision<S: Storage>(storage: &S, parent: Hold, place: &str) -> Result<Option<Decision>, S::Error> {
    let Some(attempt) = parent.attempt(storage)? else {
        return Ok(None);
    };
    let decision = DECISIONS.get(storage, &format!("{}/{place}", attempt.step))?;
    Ok(decision.filter(|decision| match decision {
        Decision::Joined(_) => true,
        Decision::Failed { attempt: number, .. } => *number == attempt.attempt,
    }))
}

/// Keeps what was decided at this place. Answers whether the workflow's attempt is still held: else nothing is kept.
///
/// # Errors
/// When the storage fails.
pub fn decide<S: Storage>(storage: &S, parent: Hold, place: &str, decision: &Decision) -> Result<bool, S::Error> {
    let Some(attempt) = parent.attempt(storage)? else {
        return Ok(false);
    };
    DECISIONS.put(storage, &format!("{}/{place}", attempt.step), decision)?;
    Ok(true)
}

/// Cancels a call that its workflow does not wait for any more.
///
/// # Errors
/// When the storage fails.
pub fn abandon<S: Storage>(storage: &S, parent: Hold, child: Hold, now_ms: u64) -> Result<(), S::Error> {
    if parent.attempt(storage)?.is_none() {
        // Another execution of the workflow may be waiting for it.
        return Ok(());
    }
    match child.attempt(storage)? {
        Some(attempt) => cancel(storage, attempt, now_ms),
        None => Ok(()),
    }
}

/// Cancels what a workflow's attempt leaves behind when it ends.
pub(super) fn end_all<S: Storage>(storage: &S, parent: &Attempt, now_ms: u64) -> Result<(), S::Error> {
    for child in attempt::latest_under(storage, &parent.step)? {
        if child.parent.as_ref() == Some(&parent.step) && child.phase != Phase::Ended {
            cancel(storage, child, now_ms)?;
        }
    }
    Ok(())
}

/// A later attempt of the workflow may call it again.
fn cancel<S: Storage>(storage: &S, mut child: Attempt, now_ms: u64) -> Result<(), S::Error> {
    child.cancelled = true;
    attempt::end_with(storage, &mut child, |outcome| outcome, true, now_ms)
}
