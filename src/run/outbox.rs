//! The run's outbox: its events on their way to each destination. At least once; a slow destination holds up no other.
//!
//! An event is a row, written in the transaction of the change that it tells of. Each destination has its own place in the
//! rows, its own waits and its own health; a row goes when the last destination has it. The outbox is bounded: when it is
//! full, the oldest event goes, and is counted. Callbacks are no part of it ([`super::delivery`]), so none is ever dropped.
//!
//! Where a queue is bound, it is the one destination of all runs: what it has accepted is on its way to the others by
//! [`crate::telemetry::queue`].

mod progress;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::progress::Health;
use self::progress::Progress;
use super::question::{Moment, RunName};
use super::record;
use super::storage::{Storage, Table, delete_all};
use super::timers::{self, Timer};
use super::{delivery::shortened, outbox_report};
use crate::backoff::backoff_ms;
use crate::telemetry::event::{Event, What, event_id};
use crate::telemetry::export::items_in;
use crate::telemetry::otlp::{Signal, Verdict};
use crate::telemetry::span::SPANS_MAX;

/// A run keeps at most this many events that are on their way.
pub const OUTBOX_MAX_EVENTS: u64 = 4_096;
/// So many spans at most are sent at once.
pub const BATCH_MAX_SPANS: usize = 512;
/// So many events at most are taken at once; fewer where they are more than [`BATCH_MAX_SPANS`] spans.
pub const BATCH_MAX_EVENTS: usize = 64;
// Whatever an event is told as, a request has room for it.
const _: () = assert!(SPANS_MAX <= BATCH_MAX_SPANS);
/// How long after an event it is sent, in milliseconds: what follows at once goes with it.
pub const EXPORT_AFTER_MS: u64 = 1_000;
/// An event that no try could deliver is given up this long after it happened, in milliseconds: a day. A run is kept for so
/// long, and no longer, for its events.
pub const EXPORT_GIVE_UP_MS: u64 = 24 * 60 * 60 * 1_000;
/// The first wait between two tries, in milliseconds. It doubles with each further one.
pub const EXPORT_BACKOFF_MS: u64 = 1_000;
/// The longest wait between two tries, in milliseconds; also between two looks at a destination that does not know us.
pub const EXPORT_BACKOFF_MAX_MS: u64 = 5 * 60 * 1_000;
/// The longest wait that a receiver can ask for, in milliseconds.
pub const EXPORT_RETRY_AFTER_MAX_MS: u64 = 60 * 60 * 1_000;
/// How long after a try began it is taken for lost, beyond the time that the receiver has, in milliseconds.
const TRY_GRACE_MS: u64 = 15_000;

const EVENTS: Table<Event> = Table::new("outbox/");
const STATES: Table<State> = Table::new("outbox-state/");
const ONLY: &str = "only";

/// Where events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// Its name.
    pub name: &'static str,
    /// How long it has to answer, in milliseconds.
    pub timeout_ms: u64,
}

/// The tables of the history.
pub const HISTORY: &str = "history";
/// The OTLP receiver of the gateway's operator.
pub const RECEIVER: &str = "otlp";
/// The same receiver, for metrics.
pub const METRICS: &str = "otlp-metrics";
/// The same receiver, for log records.
pub const LOGS: &str = "otlp-logs";
/// The orchestrator's own telemetry endpoint.
pub const ORCHESTRATOR: &str = "orchestrator";
/// The queue, which takes events to all others.
pub const QUEUE: &str = "queue";

/// Why an event was given up that is too old, where nothing is known of its last try.
pub(crate) const NO_TRY_ENDED: &str = "no try came to an end within a day";

/// The outbox but for its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Whose run it is.
    pub(super) orchestrator: String,
    /// The run's id.
    pub(super) run: String,
    /// The number of the oldest event that is kept.
    first: u64,
    /// The number of the next event.
    next: u64,
    /// How many events were lost: dropped, or not taken by a receiver that took others.
    pub(super) dropped: u64,
    /// By name.
    pub(super) destinations: BTreeMap<String, Progress>,
    /// When the operator's list is written next, in Unix milliseconds.
    pub(super) report_at_ms: Option<u64>,
}

/// Events for one destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Which destination.
    pub destination: String,
    /// Which try of it.
    pub tries: u64,
    /// The events, oldest first, by their numbers.
    pub events: Vec<(u64, Event)>,
    /// Whose run it is.
    pub orchestrator: String,
    /// How many events of the run were lost so far.
    pub dropped: u64,
}

/// What is removed when nothing of the run is left.
pub(super) fn remove_all<S: Storage>(storage: &S) -> Result<(), S::Error> {
    outbox_report::remove_all(storage)?;
    delete_all(storage, "outbox-state/")?;
    delete_all(storage, "outbox/")
}

/// Puts an event into the outbox, if the run is there: in the transaction of the change that it tells of.
pub(super) fn tell<S: Storage>(
    storage: &S,
    (traceparent, parent_span): (&str, Option<&str>),
    what: What,
    now_ms: u64,
) -> Result<(), S::Error> {
    match record::find(storage)? {
        Some(run) => tell_of(storage, &run.name, (traceparent, parent_span), what, now_ms),
        None => Ok(()),
    }
}

/// Puts an event into the outbox of this name, whether or not there is a run: a link has an outbox as well, and no run.
///
/// # Errors
/// When the storage fails.
pub fn tell_of<S: Storage>(
    storage: &S,
    name: &RunName,
    (traceparent, parent_span): (&str, Option<&str>),
    what: What,
    now_ms: u64,
) -> Result<(), S::Error> {
    let mut state = STATES.get(storage, ONLY)?.unwrap_or_else(|| State {
        orchestrator: name.orchestrator.clone(),
        run: name.run.clone(),
        first: 0,
        next: 0,
        dropped: 0,
        destinations: BTreeMap::new(),
        report_at_ms: None,
    });
    let event = Event {
        id: event_id(&name.object(), state.next, now_ms),
        at_ms: now_ms,
        orchestrator: name.orchestrator.clone(),
        run: name.run.clone(),
        traceparent: traceparent.to_owned(),
        parent_span: parent_span.map(str::to_owned),
        what,
    };
    EVENTS.put(storage, &id(state.next), &event)?;
    state.next += 1;
    while state.next - state.first > OUTBOX_MAX_EVENTS {
        EVENTS.delete(storage, &id(state.first))?;
        state.first += 1;
        state.dropped += 1;
    }
    STATES.put(storage, ONLY, &state)?;
    timers::set_no_later(storage, Timer::Export, now_ms + EXPORT_AFTER_MS)
}

/// Whether something is still to be told: to a destination, or to the operator.
pub(super) fn is_pending<S: Storage>(storage: &S) -> Result<bool, S::Error> {
    let state = STATES.get(storage, ONLY)?;
    Ok(state.is_some_and(|state| state.next > state.first || state.report_at_ms.is_some()))
}

/// Sets the timer again that the rest of the run's rows took with them.
pub(super) fn arm_again<S: Storage>(storage: &S, now_ms: u64) -> Result<(), S::Error> {
    if is_pending(storage)? {
        timers::set_no_later(storage, Timer::Export, now_ms + EXPORT_AFTER_MS)?;
    }
    Ok(())
}

/// Takes what is due for each destination. Should whoever sends it die, it is due again after a while. `destinations` are
/// those of the run's orchestrator, as they are configured now.
///
/// # Errors
/// When the storage fails.
pub fn take<S: Storage>(
    storage: &S,
    destinations: impl FnOnce(&str) -> Vec<Destination>,
    moment: Moment<'_>,
) -> Result<Vec<Batch>, S::Error> {
    let Some(mut state) = STATES.get(storage, ONLY)? else {
        return Ok(Vec::new());
    };
    let now_ms = moment.now_ms;
    let destinations = destinations(&state.orchestrator);
    forget_unconfigured(&mut state, &destinations, now_ms);
    let mut batches = Vec::new();
    for destination in destinations {
        let mut progress = state.destinations.remove(destination.name).unwrap_or_default();
        // What was dropped before it had its turn is gone for it, too.
        progress.next = progress.next.max(state.first);
        if progress.due_at_ms(state.next).is_some_and(|at_ms| at_ms <= now_ms) {
            let mut events = events_from(storage, progress.next, progress.batch_max())?;
            let old = events.partition_point(|(_, event)| event.at_ms + EXPORT_GIVE_UP_MS < now_ms);
            if old > 0 {
                let given_up: Vec<_> = events.drain(..old).collect();
                let reason = progress.last_error.clone();
                let reason = reason.unwrap_or_else(|| NO_TRY_ENDED.to_owned());
                progress.next = given_up[old - 1].0 + 1;
                outbox_report::bury(storage, &mut state, destination.name, &given_up, &reason, now_ms)?;
            }
            events.truncate(fitting(destination.name, &events));
            if !events.is_empty() {
                progress.tries += 1;
                progress.again = Some(events.len());
                progress.busy_until_ms = now_ms + destination.timeout_ms + TRY_GRACE_MS;
                batches.push(Batch {
                    destination: destination.name.to_owned(),
                    tries: progress.tries,
                    events,
                    orchestrator: state.orchestrator.clone(),
                    dropped: state.dropped,
                });
            }
        }
        state.destinations.insert(destination.name.to_owned(), progress);
    }
    save(storage, state, now_ms)?;
    Ok(batches)
}

/// Nothing waits for a destination that is configured no more. One that the operator's list has is kept until the list has
/// heard that it is over.
fn forget_unconfigured(state: &mut State, destinations: &[Destination], now_ms: u64) {
    let is_configured = |name: &str| destinations.iter().any(|destination| destination.name == name);
    state
        .destinations
        .retain(|name, progress| is_configured(name) || progress.reported != Health::Passing);
    for (_, progress) in state.destinations.iter_mut().filter(|(name, _)| !is_configured(name)) {
        progress.passed(state.next, state.next, now_ms);
        // The late end of a try counts for nothing.
        progress.busy_until_ms = 0;
        state.report_at_ms.get_or_insert(now_ms);
    }
}

/// Takes down how a try ended. Answers what the operator is to be told at once, if anything.
///
/// # Errors
/// When the storage fails.
pub fn told<S: Storage>(
    storage: &S,
    batch: &Batch,
    verdict: &Verdict,
    moment: Moment<'_>,
) -> Result<Option<String>, S::Error> {
    let Some(mut state) = STATES.get(storage, ONLY)? else {
        return Ok(None);
    };
    let now_ms = moment.now_ms;
    let (Some(mut progress), Some((last, _))) = (state.destinations.remove(&batch.destination), batch.events.last())
    else {
        return Ok(None);
    };
    if progress.tries != batch.tries || progress.busy_until_ms == 0 {
        // A late end of an earlier try.
        return Ok(None);
    }
    progress.busy_until_ms = 0;
    let mut alarm = None;
    match verdict {
        Verdict::Delivered { rejected } => {
            progress.passed(*last + 1, state.next, now_ms);
            if let Some((count, why)) = rejected {
                state.dropped += count;
                let items = Signal::of(&batch.destination).items();
                alarm = Some(format!(
                    "{count} {items} were not taken, and are lost: {}",
                    shortened(why)
                ));
            }
        }
        Verdict::Retry { reason, retry_after_ms } => {
            if batch.destination == HISTORY && progress.health == Health::Passing {
                // The lists are kept beside it: they cannot say that it does not answer.
                alarm = Some(format!("it does not take executions: {}", shortened(reason)));
            }
            progress.failures = progress.failures.saturating_add(1);
            let wait_ms = wait_ms(progress.failures, *retry_after_ms, moment.random);
            progress.failed(Health::Failing, reason, now_ms + wait_ms);
        }
        Verdict::Paused { reason } => {
            if progress.health != Health::Paused {
                alarm = Some(format!("it refuses the gateway's credentials, and is paused: {reason}"));
            }
            progress.failed(Health::Paused, reason, now_ms + EXPORT_BACKOFF_MAX_MS);
        }
        Verdict::Refused { divisible: true, .. } if batch.events.len() > 1 => {
            progress.events_max = batch.events.len().div_ceil(2);
            progress.again = None;
            progress.not_before_ms = now_ms;
        }
        Verdict::Refused { reason, .. } => {
            alarm = Some(format!(
                "{} events were given up: {}",
                batch.events.len(),
                shortened(reason)
            ));
            progress.passed(*last + 1, state.next, now_ms);
            outbox_report::bury(storage, &mut state, &batch.destination, &batch.events, reason, now_ms)?;
        }
    }
    if progress.health != progress.reported && batch.destination != HISTORY {
        state.report_at_ms.get_or_insert(now_ms);
    }
    state.destinations.insert(batch.destination.clone(), progress);
    save(storage, state, now_ms)?;
    Ok(alarm)
}

/// How long to wait after so many failures in a row, in milliseconds: at least as long as the receiver asked for.
#[must_use]
pub(crate) fn wait_ms(failures: u32, retry_after_ms: Option<u64>, random: u32) -> u64 {
    let own_ms = backoff_ms(EXPORT_BACKOFF_MS, EXPORT_BACKOFF_MAX_MS, failures, random);
    own_ms.max(retry_after_ms.unwrap_or(0).min(EXPORT_RETRY_AFTER_MAX_MS))
}

/// Saves the outbox, removes the events that every destination has, and sets the timer for what comes next.
fn save<S: Storage>(storage: &S, mut state: State, now_ms: u64) -> Result<(), S::Error> {
    let done = state.destinations.values().map(|progress| progress.next).min();
    let done = done.unwrap_or(state.next).min(state.next);
    while state.first < done {
        EVENTS.delete(storage, &id(state.first))?;
        state.first += 1;
    }
    let due = state
        .destinations
        .values()
        .filter_map(|progress| progress.due_at_ms(state.next))
        .chain(state.report_at_ms)
        .min();
    STATES.put(storage, ONLY, &state)?;
    match due {
        Some(at_ms) => timers::set(storage, Timer::Export, at_ms.max(now_ms)),
        None => timers::clear(storage, Timer::Export),
    }
}

pub(super) fn state<S: Storage>(storage: &S) -> Result<Option<State>, S::Error> {
    STATES.get(storage, ONLY)
}

/// Saves what the report has changed.
pub(super) fn save_reported<S: Storage>(storage: &S, state: State, now_ms: u64) -> Result<(), S::Error> {
    save(storage, state, now_ms)
}

/// How many events wait for a destination, and since when, in Unix milliseconds.
pub(super) fn waiting<S: Storage>(storage: &S, state: &State, progress: &Progress) -> Result<(u64, u64), S::Error> {
    let oldest = EVENTS.get(storage, &id(progress.next.max(state.first)))?;
    Ok((
        state.next.saturating_sub(progress.next),
        oldest.map_or(0, |event| event.at_ms),
    ))
}

/// How many of these events fit into a request, from the first on.
fn fitting(destination: &str, events: &[(u64, Event)]) -> usize {
    let mut spans = 0;
    let over = events.iter().position(|(_, event)| {
        spans += items_in(destination, event);
        spans > BATCH_MAX_SPANS
    });
    over.unwrap_or(events.len())
}

fn events_from<S: Storage>(storage: &S, number: u64, limit: usize) -> Result<Vec<(u64, Event)>, S::Error> {
    let after = number.checked_sub(1).map(id).unwrap_or_default();
    let rows = EVENTS.list(storage, &after, limit)?;
    Ok(rows
        .into_iter()
        .filter_map(|(id, event)| Some((id.parse().ok()?, event)))
        .collect())
}

fn id(number: u64) -> String {
    format!("{number:010}")
}

#[cfg(test)]
mod tests;
