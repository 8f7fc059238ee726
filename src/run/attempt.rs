//! Attempts: their rows, and what hangs on them.
//!
//! An attempt has an ordinal within its run; its answer, its call and its events are rows of their own under it, so that
//! looking for an attempt does not read a megabyte.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::Call;
use super::child;
use super::delivery;
use super::events;
use super::listening;
use super::notification;
use super::outbox;
use super::outcome::Outcome;
use super::question::Moment;
use super::record;
use super::settlement;
use super::storage::{Storage, Table};
use super::telling::{self, Work};
use super::timers::{self, Timer};
use crate::agent::Failure;
use crate::backoff::backoff_ms;
use crate::manifest::{Notification, RetryPolicy};
use crate::telemetry::event::Route;

/// A run has at most this many attempts.
pub const ATTEMPTS_MAX: u32 = 1_000;
/// An attempt is executed at most this often, whatever its agent's retry policy says and however often its owner dies.
pub const EXECUTIONS_MAX: u32 = 10;
/// The longest that an agent can ask for before it is executed again, in milliseconds.
pub const WAIT_MAX_MS: u64 = 60 * 60 * 1_000;

const ATTEMPTS: Table<Attempt> = Table::new("attempt/");
const BY_KEY: Table<u32> = Table::new("by-key/");
const LATEST: Table<u32> = Table::new("latest/");
const ANSWERS: Table<StoredAnswer> = Table::new("answer/");
/// The last place that was given to an attempt. It outlives the run, so that what was executed in a forgotten one is never
/// taken for an attempt of the one that follows it.
pub(super) const PLACE: &str = "place/";
const PLACES: Table<u32> = Table::new(PLACE);
const LAST: &str = "last";
const LATE: Table<StoredAnswer> = Table::new("late/");
const CALLS: Table<Call> = Table::new("call/");
/// The attempts that have not ended and that the run's object has to see to.
const OPEN: Table<()> = Table::new("open/");
/// What is removed with the run.
pub(super) const PREFIXES: &[&str] = &[
    "attempt/",
    "by-key/",
    "latest/",
    "answer/",
    "late/",
    "call/",
    "open/",
    "event/",
    "delivery/",
    child::DECISION,
];

/// One attempt of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its place among the attempts of this run, and of those of the same name that were forgotten before it.
    pub ordinal: u32,
    /// Its key; unique within the run.
    pub idempotency_key: String,
    /// The step.
    pub step: String,
    /// Its number among the step's attempts, from 1.
    pub attempt: u32,
    /// Who works on it.
    pub agent: String,
    /// In which version.
    pub agent_version: String,
    /// The step's own span.
    pub traceparent: String,
    /// The span of the caller that it is a part of, in 16 hexadecimal digits, where the caller named one.
    #[serde(default)]
    pub parent_span: Option<String>,
    /// Who coordinates it.
    #[serde(default)]
    pub route: Route,
    /// Digest of the call.
    pub fingerprint: String,
    /// Who claimed it last: a request, or the run's object for what runs in the background.
    pub claimant: String,
    /// How often it was claimed to be executed: the fence against a late owner.
    pub generation: u32,
    /// When the claim ends, in Unix milliseconds.
    pub claimed_until_ms: u64,
    /// How far it has come.
    pub phase: Phase,
    /// Whether the run's object executes it; else the Worker that claimed it does.
    pub background: bool,
    /// The step of the workflow that calls it, if one does.
    #[serde(default)]
    pub parent: Option<String>,
    /// Whether the gateway began it beside the run's orchestrator.
    #[serde(default)]
    pub hedge: bool,
    /// Whether its agent is a workflow: what is lost of it goes on where it was.
    #[serde(default)]
    pub workflow: bool,
    /// When it may be executed again by the run's object itself.
    pub retry: RetryPolicy,
    /// What channels are told when it has ended.
    #[serde(default)]
    pub notifications: Vec<Notification>,
    /// Whether the answer lets a later attempt execute the step again.
    pub retryable: bool,
    /// Whether its answer is `cancelled`.
    pub cancelled: bool,
    /// Where its end is to be told, if anywhere.
    pub callback_url: Option<String>,
    /// Unix milliseconds.
    pub accepted_at_ms: u64,
    /// When its last execution began, in Unix milliseconds.
    pub started_at_ms: Option<u64>,
    /// Unix milliseconds.
    pub ended_at_ms: Option<u64>,
    /// How many events it has.
    pub events: u32,
    /// How large they are together, in bytes.
    pub event_bytes: u64,
    /// How often its owner told events from elsewhere: what is told twice counts once.
    #[serde(default)]
    pub tells: u32,
}

impl Attempt {
    /// Whether the owner of this generation may still say something about it.
    #[must_use]
    pub const fn is_owned(&self, generation: u32) -> bool {
        matches!(self.phase, Phase::Running) && self.generation == generation
    }
}

/// How far an attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits for its execution.
    Accepted,
    /// It is executed.
    Running,
    /// It has its answer.
    Ended,
}

/// An answer as it was given, to be given again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body: JSON text.
    pub body: String,
}

impl StoredAnswer {
    /// The outcome; nothing where it is the one problem that is kept, a deadline that passed.
    #[must_use]
    pub fn outcome(&self) -> Option<Value> {
        (self.status == 200).then(|| serde_json::from_str(&self.body).unwrap_or_default())
    }
}

pub(super) fn id(ordinal: u32) -> String {
    format!("{ordinal:06}")
}

pub(super) fn get<S: Storage>(storage: &S, ordinal: u32) -> Result<Option<Attempt>, S::Error> {
    ATTEMPTS.get(storage, &id(ordinal))
}

/// The attempt in this place, while the owner of this generation may still say something about it.
pub(super) fn owned<S: Storage>(storage: &S, ordinal: u32, generation: u32) -> Result<Option<Attempt>, S::Error> {
    Ok(get(storage, ordinal)?.filter(|attempt| attempt.is_owned(generation)))
}

pub(super) fn by_key<S: Storage>(storage: &S, idempotency_key: &str) -> Result<Option<Attempt>, S::Error> {
    match BY_KEY.get(storage, idempotency_key)? {
        Some(ordinal) => get(storage, ordinal),
        None => Ok(None),
    }
}

/// The attempt of this step with the highest number.
pub(super) fn latest<S: Storage>(storage: &S, step: &str) -> Result<Option<Attempt>, S::Error> {
    match LATEST.get(storage, step)? {
        Some(ordinal) => get(storage, ordinal),
        None => Ok(None),
    }
}

/// All attempts, in the order in which they were claimed first.
pub(super) fn all<S: Storage>(storage: &S) -> Result<Vec<Attempt>, S::Error> {
    let rows = ATTEMPTS.list(storage, "", usize::MAX)?;
    Ok(rows.into_iter().map(|(_, attempt)| attempt).collect())
}

/// The last attempt that was claimed first, but for calls of workflows.
pub(super) fn last<S: Storage>(storage: &S) -> Result<Option<Attempt>, S::Error> {
    let attempts = all(storage)?;
    Ok(attempts.into_iter().rfind(|attempt| attempt.parent.is_none()))
}

/// The latest attempt of every step, in the order of the steps' ids.
pub(super) fn latest_of_all<S: Storage>(storage: &S) -> Result<Vec<Attempt>, S::Error> {
    let mut attempts = Vec::new();
    for (_, ordinal) in LATEST.list(storage, "", usize::MAX)? {
        attempts.extend(get(storage, ordinal)?);
    }
    Ok(attempts)
}

/// The latest attempt of every step whose id goes on from this one with a slash.
pub(super) fn latest_under<S: Storage>(storage: &S, step: &str) -> Result<Vec<Attempt>, S::Error> {
    let prefix = format!("{step}/");
    let mut attempts = Vec::new();
    for (id, ordinal) in LATEST.list(storage, &prefix, usize::MAX)? {
        if !id.starts_with(&prefix) {
            break;
        }
        attempts.extend(get(storage, ordinal)?);
    }
    Ok(attempts)
}

/// The place of the next attempt.
pub(super) fn next_ordinal<S: Storage>(storage: &S) -> Result<u32, S::Error> {
    let ordinal = PLACES.get(storage, LAST)?.unwrap_or(0) + 1;
    PLACES.put(storage, LAST, &ordinal)?;
    Ok(ordinal)
}

/// Writes a new attempt, which is the latest one of its step.
pub(super) fn insert<S: Storage>(storage: &S, attempt: &Attempt) -> Result<(), S::Error> {
    BY_KEY.put(storage, &attempt.idempotency_key, &attempt.ordinal)?;
    LATEST.put(storage, &attempt.step, &attempt.ordinal)?;
    save(storage, attempt)
}

pub(super) fn save<S: Storage>(storage: &S, attempt: &Attempt) -> Result<(), S::Error> {
    ATTEMPTS.put(storage, &id(attempt.ordinal), attempt)
}

pub(super) fn answer<S: Storage>(storage: &S, ordinal: u32) -> Result<Option<StoredAnswer>, S::Error> {
    ANSWERS.get(storage, &id(ordinal))
}

/// What a cancelled attempt's agent still answered.
pub(super) fn late_answer<S: Storage>(storage: &S, ordinal: u32) -> Result<Option<StoredAnswer>, S::Error> {
    LATE.get(storage, &id(ordinal))
}

pub(super) fn keep_late<S: Storage>(storage: &S, ordinal: u32, answer: &StoredAnswer) -> Result<(), S::Error> {
    LATE.put(storage, &id(ordinal), answer)
}

pub(super) fn call<S: Storage>(storage: &S, ordinal: u32) -> Result<Option<Call>, S::Error> {
    CALLS.get(storage, &id(ordinal))
}

/// Hands an attempt to the run's object: it is begun as soon as the object's alarm rings.
pub(super) fn open<S: Storage>(storage: &S, attempt: &Attempt, call: &Call, now_ms: u64) -> Result<(), S::Error> {
    CALLS.put(storage, &id(attempt.ordinal), call)?;
    OPEN.put(storage, &id(attempt.ordinal), &())?;
    timers::set(storage, Timer::Begin(attempt.ordinal), now_ms)
}

/// The ordinals of the attempts that the run's object has to see to.
pub(super) fn opened<S: Storage>(storage: &S) -> Result<Vec<u32>, S::Error> {
    let rows = OPEN.list(storage, "", usize::MAX)?;
    Ok(rows.iter().filter_map(|(id, ())| id.parse().ok()).collect())
}

/// Whether something is under way that must not be forgotten: an execution, in the background or under a claim that still
/// holds, or a delivery.
pub(super) fn unsettled<S: Storage>(storage: &S, now_ms: u64) -> Result<bool, S::Error> {
    if !OPEN.list(storage, "", 1)?.is_empty()
        || timers::any_delivery(storage)?
        || settlement::is_pending(storage)?
        || outbox::is_pending(storage)?
    {
        return Ok(true);
    }
    for attempt in all(storage)? {
        // A claim that has ended unnoticed, while the object slept, still has its end to be told.
        let ends = attempt.claimed_until_ms > now_ms || timers::is_set(storage, Timer::ClaimEnd(attempt.ordinal))?;
        if attempt.phase == Phase::Running && ends {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Ends an attempt: with this answer, once and for all. Its callback and what channels are told is sent from now on.
pub(super) fn end<S: Storage>(
    storage: &S,
    attempt: &mut Attempt,
    work: Work<'_>,
    retryable: bool,
    now_ms: u64,
) -> Result<(), S::Error> {
    let answer = work.answer;
    telling::attempt_ended(storage, attempt, work, now_ms)?;
    attempt.phase = Phase::Ended;
    attempt.retryable = retryable;
    attempt.ended_at_ms = Some(now_ms);
    save(storage, attempt)?;
    ANSWERS.put(storage, &id(attempt.ordinal), answer)?;
    CALLS.delete(storage, &id(attempt.ordinal))?;
    OPEN.delete(storage, &id(attempt.ordinal))?;
    timers::clear(storage, Timer::Begin(attempt.ordinal))?;
    timers::clear(storage, Timer::ClaimEnd(attempt.ordinal))?;
    if attempt.workflow {
        child::end_all(storage, attempt, now_ms)?;
    }
    if attempt.parent.is_none() {
        settlement::changed(storage, now_ms)?;
    }
    notification::attempt_ended(storage, attempt, answer, now_ms)?;
    match &attempt.callback_url {
        Some(url) => delivery::create(storage, attempt.ordinal, url, now_ms),
        None => Ok(()),
    }
}

/// Lets the run's object execute an attempt again where its agent's policy allows it. Answers whether it will.
pub(super) fn again<S: Storage>(
    storage: &S,
    attempt: &mut Attempt,
    not_before_ms: u64,
    moment: Moment<'_>,
) -> Result<bool, S::Error> {
    let executions_max = attempt.retry.max_attempts.min(EXECUTIONS_MAX);
    if !attempt.background || attempt.generation >= executions_max {
        return Ok(false);
    }
    let RetryPolicy {
        backoff_ms: first_ms,
        backoff_max_ms,
        ..
    } = attempt.retry;
    let asked_ms = not_before_ms.min(WAIT_MAX_MS);
    let wait_ms = backoff_ms(first_ms, backoff_max_ms, attempt.generation, moment.random).max(asked_ms);
    accept_again(storage, attempt, moment.now_ms + wait_ms)?;
    Ok(true)
}

fn accept_again<S: Storage>(storage: &S, attempt: &mut Attempt, at_ms: u64) -> Result<(), S::Error> {
    attempt.phase = Phase::Accepted;
    save(storage, attempt)?;
    timers::clear(storage, Timer::ClaimEnd(attempt.ordinal))?;
    timers::set(storage, Timer::Begin(attempt.ordinal), at_ms)
}

/// Lets a workflow that was lost go on, whatever its agent's policy: what it had called is kept, and not repeated. One that
/// another workflow calls goes on when that does.
fn resume<S: Storage>(storage: &S, attempt: &mut Attempt, moment: Moment<'_>) -> Result<bool, S::Error> {
    if !attempt.workflow || attempt.parent.is_some() || attempt.generation >= EXECUTIONS_MAX {
        return Ok(false);
    }
    let policy = RetryPolicy::default();
    // At once the first time: a deployment interrupts many, and one that kills its object is slowed down.
    let wait_ms = match attempt.generation {
        1 => 0,
        lost => backoff_ms(policy.backoff_ms, policy.backoff_max_ms, lost - 1, moment.random),
    };
    accept_again(storage, attempt, moment.now_ms + wait_ms)?;
    Ok(true)
}

/// An execution was lost: whoever made it died, or did not come to its end in time.
pub(super) fn lost<S: Storage>(storage: &S, attempt: &mut Attempt, moment: Moment<'_>) -> Result<(), S::Error> {
    if resume(storage, attempt, moment)? || again(storage, attempt, 0, moment)? {
        return telling::execution_ended(storage, attempt, None, moment.now_ms);
    }
    let message = format!(
        "execution {} did not come to an end: what executed it was stopped; whether it had effects is unknown",
        attempt.generation
    );
    let failure = Failure::retryable("attempt-lost", message, 0);
    end_with(storage, attempt, |outcome| outcome.failed(failure), true, moment.now_ms)
}

/// Ends an attempt by the ledger's own word.
pub(super) fn end_with<S: Storage>(
    storage: &S,
    attempt: &mut Attempt,
    outcome: impl FnOnce(Outcome) -> Outcome,
    retryable: bool,
    now_ms: u64,
) -> Result<(), S::Error> {
    let mut run_id = String::new();
    if let Some(mut run) = record::find(storage)? {
        // How it ended is kept as long as any other end.
        run.touched_at_ms = run.touched_at_ms.max(now_ms);
        record::save(storage, &run)?;
        run_id = run.name.run;
    }
    let duration_ms = attempt
        .started_at_ms
        .map_or(0, |started_at_ms| now_ms.saturating_sub(started_at_ms));
    let answer = StoredAnswer {
        status: 200,
        body: outcome(Outcome::of(attempt, &run_id, duration_ms)).to_json(),
    };
    end(storage, attempt, Work::of(&answer), retryable, now_ms)
}

/// Begins an execution: under the next generation, for as long as the claim holds.
pub(super) fn begin<S: Storage>(
    storage: &S,
    attempt: &mut Attempt,
    claimant: &str,
    hold_ms: u64,
    now_ms: u64,
) -> Result<(), S::Error> {
    attempt.claimant = claimant.to_owned();
    attempt.generation += 1;
    attempt.claimed_until_ms = now_ms + hold_ms;
    attempt.phase = Phase::Running;
    attempt.started_at_ms = Some(now_ms);
    // A workflow sees to its calls itself.
    if attempt.parent.is_none() && (attempt.background || attempt.callback_url.is_some()) {
        // Who waits for a callback may never ask again: an owner that dies must not be the end of it.
        timers::set(storage, Timer::ClaimEnd(attempt.ordinal), attempt.claimed_until_ms)?;
    }
    attempt.tells = 0;
    if attempt.background || listening::is_listened(storage)? {
        let started = events::Event::Started {
            execution: attempt.generation,
        };
        events::append(storage, attempt, &[started])?;
    }
    telling::execution_began(storage, attempt, now_ms)
}
