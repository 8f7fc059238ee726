//! What a run has to do by itself, without a request: its object's alarm performs it, and tells the ledger how it ended.
//!
//! Everything here is safe to lose. What is begun has a timer that brings it back, so a run's object may die at any point.

use super::attempt::{self, Phase};
use super::call::Call;
use super::conversing;
use super::delivery::{self, DeadLetter, Parcel, Place};
use super::ledger::{conflict_of, kept_for};
use super::outcome::outdated;
use super::question::Moment;
use super::record::{self, Expiry};
use super::settlement::{self, Notice};
use super::state::Kept;
use super::storage::Storage;
use super::timers::{self, Timer};
use crate::telemetry::event::agent_span;
use crate::telemetry::trace_context::TraceContext;

/// How much longer than its deadline a claim is held: time for the commit, in milliseconds.
pub const COMMIT_GRACE_MS: u64 = 5_000;

/// How long until events that were to be sent, and that nobody took, are looked at again, in milliseconds.
const EXPORT_AGAIN_MS: u64 = 30_000;

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Execute this, then commit under its generation.
    Execute(Box<Execution>),
    /// Send a callback or a notice, then say how it ended with [`delivery::sent`].
    Deliver(Box<Parcel>),
    /// Put a dead letter on the operator's list, then say so with [`delivery::reported`].
    Report(Place, Box<DeadLetter>),
    /// Settle the run with its orchestrator, then say how it ended with [`settlement::told`].
    Settle(Box<Notice>),
    /// Send events: take them with [`super::outbox::take`], and what the operator is to be told with
    /// [`super::outbox_report::report`].
    Export,
    /// Nothing has to be kept any more: remove the whole storage.
    RemoveAll,
}

/// An attempt to execute.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// The attempt's place in its run.
    pub ordinal: u32,
    /// The generation to commit under.
    pub generation: u32,
    /// What to do.
    pub call: Call,
    /// The state that the run keeps, where the call is to work on it.
    pub kept: Option<Box<Kept>>,
    /// How much of its deadline is gone already, in milliseconds: a workflow that goes on has what was left.
    pub used_ms: u64,
    /// When the run's object took it on, in Unix milliseconds; a call of a workflow with the workflow. Nothing where a Worker
    /// executes it, which begins at once.
    pub accepted_at_ms: Option<u64>,
}

impl Execution {
    /// The span of the agent that is at work after so many hops.
    #[must_use]
    pub fn agent_span(&self, hops: usize) -> String {
        let own = &self.call.traceparent;
        match TraceContext::parse(own) {
            Some(step) => agent_span(&step, self.generation, hops).traceparent(),
            None => own.clone(),
        }
    }
}

/// Takes the next thing that is due. `executor` names the instance of the run's object, so that what an earlier instance
/// had begun is known to be lost.
///
/// # Errors
/// When the storage fails.
pub fn next<S: Storage>(storage: &S, executor: &str, now_ms: u64, random: u32) -> Result<Option<Work>, S::Error> {
    let moment = Moment {
        now_ms,
        random,
        claimant: executor,
    };
    while let Some(timer) = timers::take_due(storage, now_ms)? {
        let work = match timer {
            Timer::Begin(ordinal) => {
                begin(storage, ordinal, moment)?.map(|execution| Work::Execute(Box::new(execution)))
            }
            Timer::ClaimEnd(ordinal) => {
                claim_ended(storage, ordinal, moment)?;
                None
            }
            Timer::Deliver(place) => {
                delivery::begin(storage, place, now_ms)?.map(|parcel| Work::Deliver(Box::new(parcel)))
            }
            Timer::Report(place) => {
                let letter = delivery::report(storage, place, now_ms)?;
                letter.map(|letter| Work::Report(place, Box::new(letter)))
            }
            Timer::Settle => settlement::begin(storage, now_ms)?.map(|notice| Work::Settle(Box::new(notice))),
            Timer::Export => {
                // Should whoever does it die before it has taken anything.
                timers::set(storage, Timer::Export, now_ms + EXPORT_AGAIN_MS)?;
                Some(Work::Export)
            }
            Timer::Expire => match record::expire(storage, now_ms)? {
                Expiry::Kept => None,
                Expiry::Gone => return Ok(Some(Work::RemoveAll)),
            },
        };
        if work.is_some() {
            return Ok(work);
        }
    }
    Ok(None)
}

/// Gives up what an earlier instance of the run's object was executing when it ended. To be called once, when an instance
/// begins its work: the platform runs one at a time.
///
/// # Errors
/// When the storage fails.
pub fn recover<S: Storage>(storage: &S, executor: &str, now_ms: u64, random: u32) -> Result<(), S::Error> {
    let moment = Moment {
        now_ms,
        random,
        claimant: executor,
    };
    for ordinal in attempt::opened(storage)? {
        if let Some(mut attempt) = attempt::get(storage, ordinal)?
            && attempt.phase == Phase::Running
            && attempt.claimant != executor
        {
            attempt::lost(storage, &mut attempt, moment)?;
        }
    }
    Ok(())
}

/// The run's object lets an execution go that it cannot go on with: it is lost at once, and not only when its claim ends.
///
/// # Errors
/// When the storage fails.
pub fn let_go<S: Storage>(storage: &S, ordinal: u32, generation: u32, moment: Moment<'_>) -> Result<(), S::Error> {
    match attempt::owned(storage, ordinal, generation)? {
        Some(mut attempt) => attempt::lost(storage, &mut attempt, moment),
        None => Ok(()),
    }
}

fn begin<S: Storage>(storage: &S, ordinal: u32, moment: Moment<'_>) -> Result<Option<Execution>, S::Error> {
    let (attempt, call) = (attempt::get(storage, ordinal)?, attempt::call(storage, ordinal)?);
    let (Some(mut attempt), Some(mut call)) = (attempt, call) else {
        return Ok(None);
    };
    if attempt.phase != Phase::Accepted {
        return Ok(None);
    }
    if conflict_of(storage, &call)?.is_some() {
        attempt::end_with(
            storage,
            &mut attempt,
            |outcome| outcome.failed(outdated()),
            false,
            moment.now_ms,
        )?;
        return Ok(None);
    }
    if call.conversation.is_none() {
        call.conversation = conversing::of(storage)?;
    }
    let used_ms = match attempt.workflow {
        true => moment.now_ms.saturating_sub(attempt.accepted_at_ms),
        false => 0,
    };
    let hold_ms = call.deadline_ms.saturating_sub(used_ms) + COMMIT_GRACE_MS;
    attempt::begin(storage, &mut attempt, moment.claimant, hold_ms, moment.now_ms)?;
    Ok(Some(Execution {
        ordinal,
        generation: attempt.generation,
        kept: kept_for(storage, &call)?,
        call,
        used_ms,
        accepted_at_ms: Some(attempt.accepted_at_ms),
    }))
}

fn claim_ended<S: Storage>(storage: &S, ordinal: u32, moment: Moment<'_>) -> Result<(), S::Error> {
    match attempt::get(storage, ordinal)? {
        Some(mut attempt) if attempt.phase == Phase::Running => attempt::lost(storage, &mut attempt, moment),
        _ => Ok(()),
    }
}
