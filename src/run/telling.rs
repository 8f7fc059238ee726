//! The run's changes as events: one function per change, called in its transaction.

use serde::Deserialize;
use serde_json::Value;

use super::attempt::{self, Attempt, Phase, StoredAnswer};
use super::handoff::Handoff;
use super::outbox::tell;
use super::storage::Storage;
use crate::telemetry::event::{Ending, Hop, Subject, Usage, What};
use crate::telemetry::operation::Operation;

/// What an answer says of itself, and nothing of its content.
#[derive(Deserialize)]
struct Answer {
    /// A word, or a number where it is a problem.
    status: Value,
    /// A problem's code.
    code: Option<String>,
    error: Option<Failed>,
    /// The version of the agent that was executed: an override may have changed it since the step was accepted.
    agent_version: Option<String>,
    /// Who failed, where somebody was to stand in.
    #[serde(default)]
    failed: Vec<Failed>,
    /// Whether nobody answered, and what stood ready did.
    #[serde(default)]
    stand_in: bool,
    #[serde(default)]
    hops: Vec<Hop>,
    #[serde(default)]
    usage: Usage,
}

#[derive(Deserialize)]
struct Failed {
    /// Who; empty for the step itself.
    #[serde(default)]
    agent: String,
    code: String,
}

impl Answer {
    fn read(answer: &StoredAnswer) -> Self {
        // All answers are ours; one of another version may say less.
        serde_json::from_str(&answer.body).unwrap_or(Self {
            status: Value::Null,
            code: None,
            error: None,
            agent_version: None,
            failed: Vec::new(),
            stand_in: false,
            hops: Vec::new(),
            usage: Usage::default(),
        })
    }

    /// How the work of the agent ended that was at work last, whatever the answer is. `asked` is the one that was asked.
    fn end_of_work(&self, asked: &str) -> Ending {
        if !self.stand_in {
            return self.ending();
        }
        let last = self.hops.last().map_or(asked, |hop| hop.to.as_str());
        // Who was passed over has failed as well, and did not work.
        let failed = self.failed.iter().rfind(|failed| failed.agent == last);
        Ending {
            outcome: "failed".to_owned(),
            error_code: failed.map(|failed| failed.code.clone()),
        }
    }

    fn ending(&self) -> Ending {
        Ending {
            outcome: self.status.as_str().unwrap_or("failed").to_owned(),
            error_code: self
                .error
                .as_ref()
                .map(|error| error.code.clone())
                .or_else(|| self.code.clone()),
        }
    }
}

/// What an execution came to, as it is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work<'a> {
    /// Its answer.
    pub(super) answer: &'a StoredAnswer,
    /// What its agents had others do.
    pub(super) operations: &'a [Operation],
}

impl<'a> Work<'a> {
    /// An answer that is the ledger's own word: what was done is not known.
    pub(super) const fn of(answer: &'a StoredAnswer) -> Self {
        Self {
            answer,
            operations: &[],
        }
    }
}

fn of<S: Storage>(storage: &S, attempt: &Attempt, what: What, now_ms: u64) -> Result<(), S::Error> {
    let place = (attempt.traceparent.as_str(), attempt.parent_span.as_deref());
    tell(storage, place, what, now_ms)
}

fn subject(attempt: &Attempt) -> Subject {
    Subject {
        ordinal: attempt.ordinal,
        step: attempt.step.clone(),
        attempt: attempt.attempt,
        agent: attempt.agent.clone(),
        agent_version: attempt.agent_version.clone(),
        parent: attempt.parent.clone(),
        route: attempt.route,
        background: attempt.background,
    }
}

/// The same of what was executed.
fn subject_of(attempt: &Attempt, answer: &Answer) -> Subject {
    let known = subject(attempt);
    let agent_version = answer.agent_version.clone().unwrap_or(known.agent_version);
    Subject { agent_version, ..known }
}

/// An execution began.
pub(super) fn execution_began<S: Storage>(storage: &S, attempt: &Attempt, now_ms: u64) -> Result<(), S::Error> {
    let began = What::ExecutionBegan {
        subject: subject(attempt),
        execution: attempt.generation,
        claimed_until_ms: attempt.claimed_until_ms,
    };
    of(storage, attempt, began, now_ms)
}

/// An execution ended with this; without it its owner died.
pub(super) fn execution_ended<S: Storage>(
    storage: &S,
    attempt: &Attempt,
    work: Option<Work<'_>>,
    now_ms: u64,
) -> Result<(), S::Error> {
    let read = work.map(|work| Answer::read(work.answer));
    let ending = read
        .as_ref()
        .map_or_else(Ending::lost, |answer| answer.end_of_work(&attempt.agent));
    let lost = ending.error_code == Ending::lost().error_code;
    let subject = read
        .as_ref()
        .map_or_else(|| subject(attempt), |read| subject_of(attempt, read));
    let (hops, usage) = read.map(|read| (read.hops, read.usage)).unwrap_or_default();
    let ended = What::ExecutionEnded {
        subject,
        execution: attempt.generation,
        claimed_until_ms: attempt.claimed_until_ms,
        started_at_ms: attempt.started_at_ms.unwrap_or(now_ms),
        ending: if lost { Ending::lost() } else { ending },
        hops,
        usage,
        operations: work.map_or_else(Vec::new, |work| work.operations.to_vec()),
    };
    of(storage, attempt, ended, now_ms)
}

/// An attempt is about to be executed by somebody else: where it was under way, its execution came to nothing.
pub(super) fn taken_from_the_dead<S: Storage>(storage: &S, attempt: &Attempt, now_ms: u64) -> Result<(), S::Error> {
    match attempt.phase {
        Phase::Running => execution_ended(storage, attempt, None, now_ms),
        Phase::Accepted | Phase::Ended => Ok(()),
    }
}

/// An attempt is about to end with this answer; and with it the execution that is under way, if one is.
pub(super) fn attempt_ended<S: Storage>(
    storage: &S,
    attempt: &Attempt,
    work: Work<'_>,
    now_ms: u64,
) -> Result<(), S::Error> {
    if attempt.phase == Phase::Running {
        execution_ended(storage, attempt, Some(work), now_ms)?;
    }
    let read = Answer::read(work.answer);
    let ended = What::AttemptEnded {
        subject: subject_of(attempt, &read),
        accepted_at_ms: attempt.accepted_at_ms,
        executions: attempt.generation,
        status: work.answer.status,
        ending: read.ending(),
    };
    of(storage, attempt, ended, now_ms)
}

/// The run went to another agent. `after` is the last attempt before that.
pub(super) fn handed_off<S: Storage>(
    storage: &S,
    handoff: &Handoff,
    parent_span: Option<&str>,
    (after, with_step): (Option<&Attempt>, bool),
) -> Result<(), S::Error> {
    let what = What::HandedOff {
        handoff: handoff.handoff.clone(),
        agent: handoff.agent.clone(),
        from: handoff.from.clone(),
        after: after.map(|attempt| attempt.traceparent.clone()),
        with_step,
    };
    tell(
        storage,
        (&handoff.traceparent, parent_span),
        what,
        handoff.accepted_at_ms,
    )
}

/// What became of a callback.
pub(super) struct CallbackEnd<'a> {
    pub(super) ordinal: u32,
    pub(super) delivery: &'a str,
    pub(super) url: &'a str,
    pub(super) tries: u32,
    pub(super) since_ms: u64,
    pub(super) delivered: bool,
}

/// A callback arrived, or was given up.
pub(super) fn callback_ended<S: Storage>(storage: &S, end: &CallbackEnd<'_>, now_ms: u64) -> Result<(), S::Error> {
    let Some(attempt) = attempt::get(storage, end.ordinal)? else {
        return Ok(());
    };
    // The host alone: what stands behind it may be a secret of the receiver's.
    let host = end.url.parse::<http::Uri>().ok();
    let ended = What::CallbackEnded {
        delivery: end.delivery.to_owned(),
        host: host.as_ref().and_then(http::Uri::host).unwrap_or_default().to_owned(),
        tries: end.tries,
        since_ms: end.since_ms,
        delivered: end.delivered,
    };
    of(storage, &attempt, ended, now_ms)
}

/// A settlement was acknowledged, or given up.
pub(super) fn settlement_ended<S: Storage>(
    storage: &S,
    (tries, since_ms, status): (u32, u64, &str),
    now_ms: u64,
) -> Result<(), S::Error> {
    // In the trace of what was settled: the last of it.
    let Some(attempt) = attempt::last(storage)? else {
        return Ok(());
    };
    let ended = What::SettlementEnded {
        tries,
        since_ms,
        status: status.to_owned(),
    };
    of(storage, &attempt, ended, now_ms)
}

#[cfg(test)]
mod tests;
