//! The events of a batch for one place: sent in as few requests as they fit into, divided where something of them is
//! refused, and kept where the place does not take them now.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::message::{Entry, Message};
use super::standing::Standings;
use crate::run::delivery::shortened;
use crate::run::outbox::{
    BATCH_MAX_SPANS, Destination, EXPORT_BACKOFF_MAX_MS, EXPORT_GIVE_UP_MS, HISTORY, Health, NO_TRY_ENDED,
    ORCHESTRATOR, wait_ms,
};
use crate::telemetry::event::Event;
use crate::telemetry::export::items_in;
use crate::telemetry::otlp::{Signal, Verdict};

/// So many requests at most are made for a shipment: where much of it is refused, the rest goes back into the queue.
pub const REQUESTS_MAX: u64 = 32;
/// After so long no further request is made for a shipment, in milliseconds: whoever waits for it waits no longer.
pub const SHIP_MAX_MS: u64 = 60_000;
/// The history takes so many events at most in one statement: its rows are one parameter, which D1 bounds at 2 MB.
pub const HISTORY_MAX_EVENTS: usize = 1_000;

/// Where one request goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The destination, by name.
    pub destination: String,
    /// Whose it is, where each orchestrator has its own.
    pub orchestrator: Option<String>,
}

impl Place {
    fn of(destination: &str, event: &Event) -> Self {
        Self {
            destination: destination.to_owned(),
            orchestrator: (destination == ORCHESTRATOR).then(|| event.orchestrator.clone()),
        }
    }

    /// The orchestrator's id; empty where the events of all of them go to the same place.
    #[must_use]
    pub fn orchestrator(&self) -> &str {
        self.orchestrator.as_deref().unwrap_or_default()
    }
}

/// Events for a place.
#[derive(Debug)]
pub struct Shipment<'m> {
    pub(super) place: Place,
    pub(super) entries: Vec<&'m Entry>,
    /// What is not sent yet, as ranges of the entries. The last one is the next.
    pub(super) parts: Vec<Range<usize>>,
    /// How often the place failed in a row before.
    pub(super) failures: u32,
    /// Why, the last time.
    pub(super) last_error: Option<String>,
    /// Until when nothing is sent there, in Unix milliseconds.
    pub(super) held_until_ms: Option<u64>,
    requests: u64,
    ends_at_ms: u64,
    /// Whether the place has taken or refused something: then it answers.
    pub(super) answered: bool,
    pub(super) given_up: Vec<(&'m Entry, String)>,
    pub(super) failure: Option<Failure>,
    pub(super) alarms: Vec<String>,
}

/// How a place did not take a part.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) health: Health,
    pub(super) reason: String,
    pub(super) wait_ms: u64,
}

/// What the messages of a batch have for a place.
#[derive(Default)]
struct Gathered<'m> {
    /// By the event's id: a queue may deliver twice, and a run may hand over twice.
    entries: BTreeMap<&'m str, &'m Entry>,
    failures: u32,
    last_error: Option<&'m String>,
}

/// The shipments of a batch of messages: one for each place that lacks some of their events. `destinations` are those of an
/// orchestrator's runs, as they are configured now: what is not configured any more is not waited for.
#[must_use]
pub fn shipments<'m>(
    messages: &'m [Message],
    destinations: impl Fn(&str) -> Vec<Destination>,
    standings: &Standings,
    now_ms: u64,
) -> Vec<Shipment<'m>> {
    let mut gathered: BTreeMap<Place, Gathered<'m>> = BTreeMap::new();
    let mut configured: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for message in messages {
        for entry in &message.entries {
            let orchestrator = entry.event.orchestrator.as_str();
            let names = configured.entry(orchestrator).or_insert_with(|| {
                let names = destinations(orchestrator).into_iter();
                names.map(|destination| destination.name).collect()
            });
            for destination in message.to.iter().filter(|name| names.contains(name.as_str())) {
                let own = gathered.entry(Place::of(destination, &entry.event)).or_default();
                own.entries.insert(&entry.event.id, entry);
                own.failures = own.failures.max(message.failures);
                own.last_error = message.last_error.as_ref().or(own.last_error);
            }
        }
    }
    let gathered = gathered.into_iter();
    gathered
        .map(|(place, own)| Shipment::new(place, own, standings, now_ms))
        .collect()
}

/// How many events were lost of the runs of these entries, all together.
#[must_use]
pub fn dropped(entries: &[&Entry]) -> u64 {
    let mut runs: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for entry in entries {
        let run = (entry.event.orchestrator.as_str(), entry.event.run.as_str());
        let dropped = runs.entry(run).or_default();
        *dropped = entry.dropped.max(*dropped);
    }
    runs.into_values().sum()
}

impl<'m> Shipment<'m> {
    fn new(place: Place, gathered: Gathered<'m>, standings: &Standings, now_ms: u64) -> Self {
        let mut entries: Vec<_> = gathered.entries.into_values().collect();
        entries.sort_by_key(|entry| entry.event.at_ms);
        let mut shipment = Self {
            failures: gathered.failures.max(standings.failures(&place)),
            last_error: gathered.last_error.cloned(),
            held_until_ms: standings.held_until_ms(&place, now_ms),
            place,
            entries,
            parts: Vec::new(),
            requests: 0,
            ends_at_ms: now_ms + SHIP_MAX_MS,
            answered: false,
            given_up: Vec::new(),
            failure: None,
            alarms: Vec::new(),
        };
        let old = shipment.give_up_old(now_ms);
        shipment.parts = shipment.parts_from(old);
        shipment
    }

    /// Where it goes.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// How many requests were made for it.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// What is to be sent now; nothing when it has ended. Say with [`Shipment::told`] how that went.
    #[must_use]
    pub fn next(&self, now_ms: u64) -> Option<&[&'m Entry]> {
        let is_over = self.failure.is_some()
            || self.held_until_ms.is_some()
            || self.requests == REQUESTS_MAX
            || now_ms >= self.ends_at_ms;
        let part = self.parts.last().filter(|_| !is_over)?;
        Some(&self.entries[part.clone()])
    }

    /// Takes down what became of what was sent. `random` is any number.
    pub fn told(&mut self, verdict: &Verdict, random: u32) {
        let Some(part) = self.parts.pop() else { return };
        self.requests += 1;
        self.answered |= matches!(verdict, Verdict::Delivered { .. } | Verdict::Refused { .. });
        match verdict {
            Verdict::Delivered { rejected } => {
                if let Some((count, why)) = rejected {
                    let (items, why) = (Signal::of(&self.place.destination).items(), shortened(why));
                    self.alarms
                        .push(format!("{count} {items} were not taken, and are lost: {why}"));
                }
            }
            Verdict::Retry { reason, retry_after_ms } => {
                let wait_ms = wait_ms(self.failures.saturating_add(1), *retry_after_ms, random);
                self.failed(part, Health::Failing, reason, wait_ms);
            }
            Verdict::Paused { reason } => self.failed(part, Health::Paused, reason, EXPORT_BACKOFF_MAX_MS),
            Verdict::Refused { divisible: true, .. } if part.len() > 1 => {
                let middle = part.start + part.len().div_ceil(2);
                self.parts.push(middle..part.end);
                self.parts.push(part.start..middle);
            }
            Verdict::Refused { reason, .. } => {
                let (count, reason) = (part.len(), shortened(reason));
                self.alarms.push(format!("{count} events were given up: {reason}"));
                self.give_up(part, &reason);
            }
        }
    }

    fn failed(&mut self, part: Range<usize>, health: Health, reason: &str, wait_ms: u64) {
        self.parts.push(part);
        self.failure = Some(Failure {
            health,
            reason: shortened(reason),
            wait_ms,
        });
    }

    fn give_up(&mut self, part: Range<usize>, reason: &str) {
        let entries = &self.entries[part];
        self.given_up
            .extend(entries.iter().map(|entry| (*entry, reason.to_owned())));
    }

    /// Gives up what no try could deliver in time, and answers how many they are: the first ones, since they are the oldest.
    fn give_up_old(&mut self, now_ms: u64) -> usize {
        let is_old = |entry: &&Entry| entry.event.at_ms + EXPORT_GIVE_UP_MS < now_ms;
        let old = self.entries.partition_point(is_old);
        if old > 0 {
            let reason = self.last_error.clone().unwrap_or_else(|| NO_TRY_ENDED.to_owned());
            let what = if self.place.destination == HISTORY {
                "are lost"
            } else {
                "were given up"
            };
            self.alarms.push(format!("{old} events {what} after a day: {reason}"));
            self.give_up(0..old, &reason);
        }
        old
    }

    /// As few parts as they fit into, the first one last.
    fn parts_from(&self, first: usize) -> Vec<Range<usize>> {
        let mut parts: Vec<Range<usize>> = Vec::new();
        let max = if self.place.destination == HISTORY {
            HISTORY_MAX_EVENTS
        } else {
            BATCH_MAX_SPANS
        };
        let mut size = 0;
        for (index, entry) in self.entries.iter().enumerate().skip(first) {
            let own = items_in(&self.place.destination, &entry.event);
            match parts.last_mut() {
                Some(part) if size + own <= max => {
                    part.end = index + 1;
                    size += own;
                }
                _ => {
                    parts.push(index..index + 1);
                    size = own;
                }
            }
        }
        parts.reverse();
        parts
    }
}
