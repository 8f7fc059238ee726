//! The step ledger: who may execute an attempt, and which answer counts.
//!
//! A step has one effect. The idempotency key names an attempt, and a repeated one gets the stored answer. A step whose
//! answer is final is never executed again, whatever the attempt's number. A claim whose owner died ends at its deadline:
//! then the next request takes it over under a higher generation, or, for what runs in the background, the run's object
//! itself ([`super::work`]). A late commit of the first owner is refused.

use serde::{Deserialize, Serialize};

use super::attempt::{self, ATTEMPTS_MAX, Attempt, EXECUTIONS_MAX, Phase, StoredAnswer};
use super::call::{Call, StateSource};
use super::conversing;
use super::coordination;
use super::listening;
use super::question::{Moment, Question};
use super::record::{self, Use};
use super::settlement::{self, Takeover};
use super::state::{self, Conflict, Expected, Kept};
use super::status::{self, StepStatus};
use super::storage::Storage;
use super::telling::{self, Work};
use crate::conversation::ConversationName;
use crate::direct::NOBODY;
use crate::manifest::{Notification, RetryPolicy};
use crate::telemetry::event::Route;
use crate::telemetry::operation::Operation;

/// A caller is never told to wait longer than this before it asks again, in milliseconds.
pub const RETRY_AFTER_MAX_MS: u64 = 5_000;
/// So many attempts of a run may be under way in the background at once.
pub const BACKGROUND_MAX: usize = 32;

/// Asks for an attempt to be executed: by the one who asks, or in the background.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClaimRequest {
    /// The run.
    pub using: Use,
    /// The caller's idempotency key.
    pub idempotency_key: String,
    /// Digest of agent, input and state: what must be the same for it to be the same call.
    pub fingerprint: String,
    /// The step.
    pub call: Call,
    /// The agent's version.
    pub agent_version: String,
    /// The agent's retry policy.
    pub retry: RetryPolicy,
    /// What channels are told when the attempt has ended.
    #[serde(default)]
    pub notifications: Vec<Notification>,
    /// How long the claim is held, in milliseconds: the deadline and a grace for the commit.
    pub hold_ms: u64,
    /// Whether the run's object is to execute it, and not the one who asks.
    pub background: bool,
    /// Whether the agent is a workflow. The run's object executes it then.
    #[serde(default)]
    pub workflow: bool,
    /// Where its end is to be told, if anywhere.
    pub callback_url: Option<String>,
    /// Whether the gateway asks for it beside the run's orchestrator, which then gets the answer as its own attempt's.
    #[serde(default)]
    pub hedge: bool,
    /// The caller's span, in 16 hexadecimal digits, where it named one.
    #[serde(default)]
    pub parent_span: Option<String>,
    /// Why the gateway itself asks for it, in the place of the run's orchestrator.
    #[serde(default)]
    pub takeover: Option<Takeover>,
}

/// What a claim came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// Execute, then commit under this generation.
    Granted {
        /// The attempt's place in the run.
        ordinal: u32,
        /// Grows with each owner of the attempt: the fence against a late one.
        generation: u32,
        /// The state that the run keeps, where the call is to work on it.
        kept: Option<Box<Kept>>,
        /// Whether what the agent tells is to be told to the run: see [`super::listening`].
        #[serde(default)]
        listened: bool,
        /// The conversation that the run belongs to: see [`super::conversing`].
        #[serde(default)]
        conversation: Option<ConversationName>,
    },
    /// It is, or will be, executed in the background.
    Accepted(Box<StepStatus>),
    /// Executed before: this is the answer.
    Answered(StoredAnswer),
    /// Another request executes it.
    InFlight {
        /// When its claim ends at the latest, in milliseconds from now.
        retry_after_ms: u64,
    },
    /// The idempotency key belongs to another call.
    KeyMismatch,
    /// The step belongs to another call.
    StepMismatch,
    /// A later attempt is known.
    AttemptOutdated {
        /// Its number.
        latest: u32,
    },
    /// The state that the call asks for is not the current one.
    StateConflict(Conflict),
    /// The run has as many attempts as a run may have.
    RunFull,
    /// As many attempts as may be are under way in the background.
    RunBusy,
    /// The gateway coordinates the run in its orchestrator's place, or passed it on to another one: nothing of it is executed
    /// any more but what the gateway asks for.
    TakenOver,
}

impl Question for ClaimRequest {
    const NAME: &'static str = "claim";
    const USES_NONCE: bool = true;
    type Answer = Claim;

    fn answer<S: Storage>(&self, storage: &S, moment: Moment<'_>) -> Result<Claim, S::Error> {
        let claim = self.claim(storage, moment)?;
        // A claim that is refused is no reason to take a run from whoever coordinates it.
        let goes_on = matches!(
            claim,
            Claim::Granted { .. } | Claim::Accepted(_) | Claim::Answered(_) | Claim::InFlight { .. }
        );
        if let Some(takeover) = &self.takeover
            && goes_on
            && record::find(storage)?.is_some()
        {
            let place = (self.call.traceparent.as_str(), self.parent_span.as_deref());
            settlement::take_over(storage, takeover, place, moment)?;
        }
        Ok(claim)
    }

    fn answered_before<S: Storage>(&self, storage: &S) -> Result<Option<Claim>, S::Error> {
        let known = attempt::by_key(storage, &self.idempotency_key)?;
        match known.filter(|known| self.is_same(known)) {
            Some(known) => Ok(attempt::answer(storage, known.ordinal)?.map(Claim::Answered)),
            None => Ok(None),
        }
    }
}

impl ClaimRequest {
    fn claim<S: Storage>(&self, storage: &S, moment: Moment<'_>) -> Result<Claim, S::Error> {
        if let Some(known) = attempt::by_key(storage, &self.idempotency_key)? {
            return self.again(storage, known, moment);
        }
        match attempt::latest(storage, &self.call.step)? {
            // A call of a workflow is the workflow's alone.
            Some(latest) if latest.parent.is_some() => Ok(Claim::StepMismatch),
            Some(latest) => self.next(storage, &latest, moment),
            None => self.first(storage, moment),
        }
    }

    /// Whether the attempt of this idempotency key is this very call.
    fn is_same(&self, known: &Attempt) -> bool {
        known.parent.is_none()
            && known.step == self.call.step
            && known.attempt == self.call.attempt
            && known.fingerprint == self.fingerprint
    }

    /// The idempotency key is known: the same attempt, or a mistake.
    fn again<S: Storage>(&self, storage: &S, mut known: Attempt, moment: Moment<'_>) -> Result<Claim, S::Error> {
        if !self.is_same(&known) {
            return Ok(Claim::KeyMismatch);
        }
        if let Some(answer) = attempt::answer(storage, known.ordinal)? {
            return Ok(Claim::Answered(answer));
        }
        if known.background {
            return self.under_way(storage, &known, moment);
        }
        // An attempt that a later one has overtaken must not come back to life.
        if let Some(latest) = attempt::latest(storage, &known.step)?
            && latest.attempt > known.attempt
        {
            return Ok(Claim::AttemptOutdated { latest: latest.attempt });
        }
        if known.claimant == moment.claimant {
            return self.granted(storage, &known);
        }
        if known.claimed_until_ms > moment.now_ms {
            return Ok(in_flight(&known, moment.now_ms));
        }
        // What the gateway took over it executes by itself, under keys of its own.
        if self.takeover.is_none() && settlement::find(storage)?.is_some() {
            return Ok(Claim::TakenOver);
        }
        if known.generation >= EXECUTIONS_MAX {
            // Its owners die again and again: that is its answer.
            attempt::lost(storage, &mut known, moment)?;
            let answer = attempt::answer(storage, known.ordinal)?;
            return Ok(answer.map_or(Claim::RunFull, Claim::Answered));
        }
        if let Some(conflict) = conflict_of(storage, &self.call)? {
            return Ok(Claim::StateConflict(conflict));
        }
        if self.background && is_busy(storage)? {
            return Ok(Claim::RunBusy);
        }
        self.hand_out(storage, known, moment)
    }

    /// The step is known under another idempotency key: a further attempt.
    fn next<S: Storage>(&self, storage: &S, latest: &Attempt, moment: Moment<'_>) -> Result<Claim, S::Error> {
        if latest.fingerprint != self.fingerprint {
            return Ok(Claim::StepMismatch);
        }
        match attempt::answer(storage, latest.ordinal)? {
            Some(answer) if !latest.retryable => return Ok(Claim::Answered(answer)),
            // The orchestrator's attempt of this number is the one that was begun beside it.
            Some(answer) if latest.hedge && self.call.attempt == latest.attempt => return Ok(Claim::Answered(answer)),
            None if latest.background || latest.claimed_until_ms > moment.now_ms => {
                return self.under_way(storage, latest, moment);
            }
            _ => {}
        }
        if self.call.attempt <= latest.attempt {
            return Ok(Claim::AttemptOutdated { latest: latest.attempt });
        }
        self.first(storage, moment)
    }

    /// The step is executed, or waits for it. Who would wait for its end elsewhere may do so; who wants the answer now may
    /// not.
    fn under_way<S: Storage>(&self, storage: &S, known: &Attempt, moment: Moment<'_>) -> Result<Claim, S::Error> {
        if self.background && known.background && known.idempotency_key == self.idempotency_key {
            return Ok(Claim::Accepted(Box::new(status::of(storage, known)?)));
        }
        Ok(in_flight(known, moment.now_ms))
    }

    /// A new attempt.
    fn first<S: Storage>(&self, storage: &S, moment: Moment<'_>) -> Result<Claim, S::Error> {
        let taken_over = self.takeover.is_none() && settlement::find(storage)?.is_some();
        if taken_over || coordination::is_passed_on(storage)? {
            return Ok(Claim::TakenOver);
        }
        let mut run = record::touch(storage, &self.using, moment.now_ms)?;
        if run.attempts >= ATTEMPTS_MAX {
            return Ok(Claim::RunFull);
        }
        if self.background && is_busy(storage)? {
            return Ok(Claim::RunBusy);
        }
        if let Some(conflict) = conflict_of(storage, &self.call)? {
            return Ok(Claim::StateConflict(conflict));
        }
        run.attempts += 1;
        record::save(storage, &run)?;
        let attempt = Attempt {
            ordinal: attempt::next_ordinal(storage)?,
            idempotency_key: self.idempotency_key.clone(),
            step: self.call.step.clone(),
            attempt: self.call.attempt,
            agent: self.call.agent.clone(),
            agent_version: self.agent_version.clone(),
            traceparent: self.call.traceparent.clone(),
            parent_span: self.parent_span.clone(),
            route: self.route(),
            fingerprint: self.fingerprint.clone(),
            claimant: moment.claimant.to_owned(),
            generation: 0,
            claimed_until_ms: 0,
            phase: Phase::Accepted,
            background: self.background,
            parent: None,
            workflow: self.workflow,
            hedge: self.hedge,
            retry: self.retry.clone(),
            notifications: self.notifications.clone(),
            retryable: false,
            cancelled: false,
            callback_url: self.callback_url.clone(),
            accepted_at_ms: moment.now_ms,
            started_at_ms: None,
            ended_at_ms: None,
            events: 0,
            event_bytes: 0,
            tells: 0,
        };
        attempt::insert(storage, &attempt)?;
        self.hand_out(storage, attempt, moment)
    }

    /// Who coordinates what is claimed.
    fn route(&self) -> Route {
        match self.takeover {
            Some(_) => Route::Fallback,
            None if self.using.name.orchestrator == NOBODY => Route::Local,
            None => Route::Orchestrated,
        }
    }

    /// To the run's object, or to the one who asks. What one of them lost the other may take over.
    fn hand_out<S: Storage>(&self, storage: &S, mut attempt: Attempt, moment: Moment<'_>) -> Result<Claim, S::Error> {
        telling::taken_from_the_dead(storage, &attempt, moment.now_ms)?;
        if self.background {
            attempt.background = true;
            attempt.phase = Phase::Accepted;
            attempt::save(storage, &attempt)?;
            attempt::open(storage, &attempt, &self.call, moment.now_ms)?;
            return Ok(Claim::Accepted(Box::new(status::of(storage, &attempt)?)));
        }
        attempt::begin(storage, &mut attempt, moment.claimant, self.hold_ms, moment.now_ms)?;
        attempt::save(storage, &attempt)?;
        self.granted(storage, &attempt)
    }

    fn granted<S: Storage>(&self, storage: &S, attempt: &Attempt) -> Result<Claim, S::Error> {
        Ok(Claim::Granted {
            ordinal: attempt.ordinal,
            generation: attempt.generation,
            kept: kept_for(storage, &self.call)?,
            listened: listening::is_listened(storage)?,
            conversation: conversing::of(storage)?,
        })
    }
}

/// Whether as many attempts as may be are under way in the background.
fn is_busy<S: Storage>(storage: &S) -> Result<bool, S::Error> {
    Ok(attempt::opened(storage)?.len() >= BACKGROUND_MAX)
}

/// What stands in the way of a call that is to work on one version of the state and no other.
pub(super) fn conflict_of<S: Storage>(storage: &S, call: &Call) -> Result<Option<Conflict>, S::Error> {
    let StateSource::Version(version) = call.state else {
        return Ok(None);
    };
    match record::find(storage)? {
        Some(run) => Ok(state::check(storage, &run, &Expected::Version(version))?.err()),
        None => Ok(Some(Conflict::default())),
    }
}

/// The state that the run keeps, where the call is to work on it.
pub(super) fn kept_for<S: Storage>(storage: &S, call: &Call) -> Result<Option<Box<Kept>>, S::Error> {
    if !call.state.is_kept() {
        return Ok(None);
    }
    match record::find(storage)? {
        Some(run) => {
            // As it was when the step was claimed: somebody else may have written meanwhile.
            let version = match call.state {
                StateSource::Version(version) => version,
                _ => run.version,
            };
            Ok(state::kept(storage, version)?.map(Box::new))
        }
        None => Ok(None),
    }
}

fn in_flight(attempt: &Attempt, now_ms: u64) -> Claim {
    // An attempt that waits for its execution has no claim whose end could be told.
    let retry_after_ms = match attempt.claimed_until_ms.saturating_sub(now_ms) {
        0 => RETRY_AFTER_MAX_MS,
        left_ms => left_ms.min(RETRY_AFTER_MAX_MS),
    };
    Claim::InFlight { retry_after_ms }
}

/// Writes an attempt's answer, and the new state with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRequest {
    /// Which attempt, by its place in the run.
    pub ordinal: u32,
    /// The generation that the claim gave.
    pub generation: u32,
    /// The answer.
    pub answer: StoredAnswer,
    /// Whether a later attempt may execute the step again.
    pub retryable: bool,
    /// When at the earliest, in milliseconds from now.
    pub retry_after_ms: u64,
    /// The new state, where the run keeps it.
    pub state: Option<StateWrite>,
    /// What the agents had others do. A gateway of an earlier version says nothing of it.
    #[serde(default)]
    pub operations: Vec<Operation>,
}

/// A new state, and the version that it was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateWrite {
    /// The version that the execution saw; 0 is none.
    pub base: u64,
    /// JSON text.
    pub content: String,
}

/// What a commit came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
// Not tagged within: JSON would have no place for a conflict with nothing.
#[serde(rename_all = "snake_case")]
pub enum Commit {
    /// The answer is stored, now or by an earlier try of the same commit.
    Stored,
    /// The agent's policy has it executed again: this answer does not count.
    Again,
    /// The claim has another owner by now: the answer does not count.
    Lost,
    /// The step was cancelled meanwhile: this is its answer, and the late one is kept beside it.
    Cancelled(StoredAnswer),
    /// Another writer was faster: this is the state now. Nothing is written.
    StateConflict(Option<Box<Kept>>),
}

impl Commit {
    /// In one word, for the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Again => "again",
            Self::Lost => "lost",
            Self::Cancelled(_) => "cancelled",
            Self::StateConflict(_) => "state-conflict",
        }
    }
}

impl Question for CommitRequest {
    const NAME: &'static str = "commit";
    const USES_NONCE: bool = false;
    type Answer = Commit;

    fn answer<S: Storage>(&self, storage: &S, moment: Moment<'_>) -> Result<Commit, S::Error> {
        let Some(mut attempt) = attempt::get(storage, self.ordinal)? else {
            return Ok(Commit::Lost);
        };
        // Who claimed it says how that ended, and nobody else: also where the whole storage was removed in between, and the
        // places and generations were given anew.
        if attempt.generation != self.generation || attempt.claimant != moment.claimant {
            return Ok(Commit::Lost);
        }
        if attempt.phase == Phase::Ended {
            return self.after_the_end(storage, &attempt);
        }
        if attempt.phase == Phase::Accepted {
            // An earlier try of this commit had it executed again, or its owner was given up.
            return Ok(Commit::Again);
        }
        let overtaken = attempt::latest(storage, &attempt.step)?.is_some_and(|latest| latest.attempt > attempt.attempt);
        if overtaken {
            return Ok(Commit::Lost);
        }
        if self.retryable && attempt::again(storage, &mut attempt, self.retry_after_ms, moment)? {
            telling::execution_ended(storage, &attempt, Some(self.work()), moment.now_ms)?;
            return Ok(Commit::Again);
        }
        let Some(mut run) = record::find(storage)? else {
            return Ok(Commit::Lost);
        };
        if let Some(write) = &self.state {
            if write.base != run.version {
                let current = state::current(storage, &run)?;
                return Ok(Commit::StateConflict(current.map(Box::new)));
            }
            let what = state::Write {
                content: &write.content,
                by: format!("step {}", attempt.step),
                idempotency_key: None,
            };
            state::write(storage, &mut run, what, moment)?;
        }
        run.touched_at_ms = run.touched_at_ms.max(moment.now_ms);
        record::save(storage, &run)?;
        attempt::end(storage, &mut attempt, self.work(), self.retryable, moment.now_ms)?;
        Ok(Commit::Stored)
    }
}

impl CommitRequest {
    fn work(&self) -> Work<'_> {
        Work {
            answer: &self.answer,
            operations: &self.operations,
        }
    }

    fn after_the_end<S: Storage>(&self, storage: &S, attempt: &Attempt) -> Result<Commit, S::Error> {
        let answer = attempt::answer(storage, attempt.ordinal)?;
        match answer {
            Some(answer) if answer == self.answer => Ok(Commit::Stored),
            Some(answer) if attempt.cancelled => {
                // An agent that was dropped has nothing to say.
                if self.answer.ending() != "cancelled" {
                    attempt::keep_late(storage, attempt.ordinal, &self.answer)?;
                }
                Ok(Commit::Cancelled(answer))
            }
            // Given up, and answered by the ledger's own word.
            _ => Ok(Commit::Lost),
        }
    }
}

#[cfg(test)]
mod tests;
