//! How far a destination has come in a run's outbox, and how it is.

use serde::{Deserialize, Serialize};

use super::super::delivery::shortened;
use super::{BATCH_MAX_EVENTS, EXPORT_AFTER_MS};

/// How far a destination has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::run) struct Progress {
    /// The number of the next event for it.
    pub(super) next: u64,
    /// How many tries failed since the last that did not.
    pub(super) failures: u32,
    /// Unix milliseconds.
    pub(super) not_before_ms: u64,
    /// While a try is under way: when it is taken for lost, in Unix milliseconds.
    pub(super) busy_until_ms: u64,
    /// The number of the try: an earlier one's end does not count.
    pub(super) tries: u64,
    /// So many events at most are sent at once: fewer while something of a batch is refused.
    pub(super) events_max: usize,
    /// So many events were sent in a try that is not known to have arrived: they are sent again together, without what
    /// happened since, so that a receiver which has taken them is told of the same data points once more and of no others.
    #[serde(default)]
    pub(super) again: Option<usize>,
    /// How it is.
    pub(in crate::run) health: Health,
    /// What the operator's list says.
    pub(in crate::run) reported: Health,
    /// Why the last try failed.
    pub(in crate::run) last_error: Option<String>,
}

/// How a destination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It takes what it is sent.
    #[default]
    Passing,
    /// It does not answer, or asks for patience.
    Failing,
    /// It does not know us.
    Paused,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            next: 0,
            failures: 0,
            not_before_ms: 0,
            busy_until_ms: 0,
            tries: 0,
            events_max: BATCH_MAX_EVENTS,
            again: None,
            health: Health::Passing,
            reported: Health::Passing,
            last_error: None,
        }
    }
}

impl Progress {
    /// When it is to be looked at, in Unix milliseconds, if there is something for it.
    pub(super) fn due_at_ms(&self, next: u64) -> Option<u64> {
        (self.next < next).then(|| self.not_before_ms.max(self.busy_until_ms))
    }

    /// How many events are sent at once, at most.
    pub(super) fn batch_max(&self) -> usize {
        self.again.unwrap_or(self.events_max).min(self.events_max)
    }

    /// It has everything before `next`. `end` is the number of the next event that will be told.
    pub(super) fn passed(&mut self, next: u64, end: u64, now_ms: u64) {
        self.next = next;
        self.failures = 0;
        self.again = None;
        self.events_max = (self.events_max * 2).min(BATCH_MAX_EVENTS);
        // What waits already goes at once where it fills a batch, or where a batch was refused and is sent in parts.
        let at_once = end - next >= self.events_max as u64 || self.events_max < BATCH_MAX_EVENTS;
        self.not_before_ms = if at_once { now_ms } else { now_ms + EXPORT_AFTER_MS };
        self.health = Health::Passing;
        self.last_error = None;
    }

    pub(super) fn failed(&mut self, health: Health, reason: &str, not_before_ms: u64) {
        self.health = health;
        self.last_error = Some(shortened(reason));
        self.not_before_ms = not_before_ms;
    }
}
