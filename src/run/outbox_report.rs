//! What the operator is told of the outbox: destinations that do not take what they are sent, and events that were given
//! up, each kept here until the operator's list has it.

use serde::{Deserialize, Serialize};

use super::delivery::shortened;
use super::outbox::{self, HISTORY, Health, State};
use super::question::Moment;
use super::storage::{Storage, Table, delete_all};
use crate::telemetry::event::Event;

/// So many events that were given up wait at most for the operator's list; further ones are dropped and counted.
pub const DEAD_EVENTS_MAX: usize = 512;
/// So many of them are reported at once.
pub const REPORTED_AT_ONCE: usize = 100;
/// How long until a report that failed is tried again, in milliseconds.
pub(crate) const REPORT_AGAIN_MS: u64 = 60_000;

const PREFIX: &str = "outbox-dead/";
const DEAD: Table<DeadEvent> = Table::new(PREFIX);

/// An event that a destination will never take, or did not take for a day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadEvent {
    /// Names it on the operator's list.
    pub letter: String,
    /// Who did not take it.
    pub destination: String,
    /// The event.
    pub event: Event,
    /// Why.
    pub reason: String,
    /// When it was given up, in Unix milliseconds.
    pub dead_at_ms: u64,
}

impl DeadEvent {
    /// An event that was given up for this destination.
    pub(crate) fn of(destination: &str, event: &Event, reason: &str, now_ms: u64) -> Self {
        Self {
            letter: format!("{}.{destination}", event.id),
            destination: destination.to_owned(),
            event: event.clone(),
            reason: shortened(reason),
            dead_at_ms: now_ms,
        }
    }
}

/// What waits for one destination: in a run, or on its way through the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lag {
    /// For which destination.
    pub destination: String,
    /// Whose run it is; empty where events of all orchestrators wait.
    pub orchestrator: String,
    /// The run's id; empty where events of many runs wait.
    pub run: String,
    /// How the destination is.
    pub health: Health,
    /// How many events wait.
    pub waiting: u64,
    /// Since when the oldest of them does, in Unix milliseconds.
    pub oldest_at_ms: u64,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// How many events of these runs were lost so far.
    pub dropped: u64,
}

/// What is to be written to the operator's list.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Destinations whose health has changed. One that is passing again is taken off the list.
    pub lags: Vec<Lag>,
    /// Events that were given up.
    pub dead: Vec<DeadEvent>,
}

pub(super) fn remove_all<S: Storage>(storage: &S) -> Result<(), S::Error> {
    delete_all(storage, PREFIX)
}

/// Gives events up. The history has no list of them: what it does not take for a day is lost, and counted.
pub(super) fn bury<S: Storage>(
    storage: &S,
    state: &mut State,
    destination: &str,
    events: &[(u64, Event)],
    reason: &str,
    now_ms: u64,
) -> Result<(), S::Error> {
    let mut room = DEAD_EVENTS_MAX.saturating_sub(DEAD.list(storage, "", DEAD_EVENTS_MAX)?.len());
    for (_, event) in events {
        if destination == HISTORY || room == 0 {
            state.dropped += 1;
            continue;
        }
        room -= 1;
        let dead = DeadEvent::of(destination, event, reason, now_ms);
        DEAD.put(storage, &dead.letter, &dead)?;
        state.report_at_ms.get_or_insert(now_ms);
    }
    Ok(())
}

/// What is to be reported, if anything is due. Until [`reported`] says that it was, it is due again and again.
///
/// # Errors
/// When the storage fails.
pub fn report<S: Storage>(storage: &S, now_ms: u64) -> Result<Option<Report>, S::Error> {
    let Some(mut state) =
        outbox::state(storage)?.filter(|state| state.report_at_ms.is_some_and(|at_ms| at_ms <= now_ms))
    else {
        return Ok(None);
    };
    let mut lags = Vec::new();
    for (destination, progress) in &state.destinations {
        if progress.health == progress.reported || destination == HISTORY {
            continue;
        }
        let (waiting, oldest_at_ms) = outbox::waiting(storage, &state, progress)?;
        lags.push(Lag {
            destination: destination.clone(),
            orchestrator: state.orchestrator.clone(),
            run: state.run.clone(),
            health: progress.health,
            waiting,
            oldest_at_ms,
            last_error: progress.last_error.clone(),
            dropped: state.dropped,
        });
    }
    let dead = DEAD.list(storage, "", REPORTED_AT_ONCE)?;
    state.report_at_ms = Some(now_ms + REPORT_AGAIN_MS);
    outbox::save_reported(storage, state, now_ms)?;
    Ok(Some(Report {
        lags,
        dead: dead.into_iter().map(|(_, dead)| dead).collect(),
    }))
}

/// The operator's list has the report.
///
/// # Errors
/// When the storage fails.
pub fn reported<S: Storage>(storage: &S, report: &Report, moment: Moment<'_>) -> Result<(), S::Error> {
    let Some(mut state) = outbox::state(storage)? else {
        return Ok(());
    };
    for dead in &report.dead {
        DEAD.delete(storage, &dead.letter)?;
    }
    for lag in &report.lags {
        if let Some(progress) = state.destinations.get_mut(&lag.destination) {
            progress.reported = lag.health;
        }
    }
    let more = state
        .destinations
        .iter()
        .any(|(destination, progress)| progress.health != progress.reported && destination != HISTORY)
        || !DEAD.list(storage, "", 1)?.is_empty();
    state.report_at_ms = more.then_some(moment.now_ms);
    outbox::save_reported(storage, state, moment.now_ms)
}
