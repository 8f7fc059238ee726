//! What becomes of a batch when all of its shipments have ended: what goes back into the queue, and what the operator is
//! told.

use std::collections::BTreeSet;

use super::message::{Entry, Message};
use super::shipment::{Failure, Place, Shipment, dropped};
use super::standing::Standings;
use crate::run::outbox::{HISTORY, Health};
use crate::run::outbox_report::{DeadEvent, Lag, REPORT_AGAIN_MS, REPORTED_AT_ONCE, Report};

/// What is to be done before the messages of a batch may be forgotten.
#[derive(Debug, Default)]
pub struct Settled<'m> {
    /// Goes back into the queue.
    pub again: Vec<Again<'m>>,
    /// The operator should look at it.
    pub alarms: Vec<String>,
    lags: Vec<Lag>,
    given_up: Vec<GivenUp<'m>>,
}

/// Events that a place still lacks.
#[derive(Debug)]
pub struct Again<'m> {
    place: Place,
    wait_ms: u64,
    entries: Vec<&'m Entry>,
    failures: u32,
    last_error: Option<String>,
}

#[derive(Debug)]
struct GivenUp<'m> {
    place: Place,
    entry: &'m Entry,
    reason: String,
}

impl Again<'_> {
    /// How long they are to wait, in whole seconds, as a queue counts.
    #[must_use]
    pub fn wait_s(&self) -> u32 {
        u32::try_from(self.wait_ms.div_ceil(1_000)).unwrap_or(u32::MAX)
    }

    /// How many events they are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The message that takes them back.
    #[must_use]
    pub fn message(&self) -> Message {
        Message {
            to: vec![self.place.destination.clone()],
            entries: self.entries.iter().map(|entry| (*entry).clone()).collect(),
            failures: self.failures,
            last_error: self.last_error.clone(),
        }
    }
}

/// Settles a batch whose shipments have ended, and takes down how its places are.
#[must_use]
pub fn settle<'m>(shipments: Vec<Shipment<'m>>, standings: &mut Standings, now_ms: u64) -> Settled<'m> {
    let mut settled = Settled::default();
    for mut shipment in shipments {
        let place = shipment.place.clone();
        let destination = place.destination.as_str();
        for alarm in shipment.alarms.drain(..) {
            settled.alarms.push(format!("{destination}: {alarm}"));
        }
        // The history has no list of what it did not take: that is lost, and was told.
        for (entry, reason) in shipment.given_up.drain(..).filter(|_| destination != HISTORY) {
            let place = place.clone();
            settled.given_up.push(GivenUp { place, entry, reason });
        }
        let open = open_of(&mut shipment);
        match &shipment.failure {
            Some(failure) => settled.failed(&shipment, failure, &open, standings, now_ms),
            None if shipment.answered => {
                let is_listed = standings.passed(&place) || shipment.failures > 0;
                if is_listed && destination != HISTORY {
                    settled.lags.push(lag(&place, Health::Passing, &open, None));
                }
            }
            None => {}
        }
        if !open.is_empty() {
            let held_ms = shipment.held_until_ms.map(|until_ms| until_ms.saturating_sub(now_ms));
            let failed = shipment.failure.as_ref();
            settled.again.push(Again {
                wait_ms: failed.map(|failure| failure.wait_ms).or(held_ms).unwrap_or(0),
                failures: shipment.failures.saturating_add(u32::from(failed.is_some())),
                last_error: failed.map(|failure| failure.reason.clone()).or(shipment.last_error),
                entries: open,
                place,
            });
        }
    }
    // The operator's list takes so many at once; the others come again, and are given up then.
    let listed = settled.given_up.len().min(REPORTED_AT_ONCE);
    let unlisted = settled.given_up.split_off(listed);
    settled.put_back(unlisted);
    settled
}

/// The entries that are neither delivered nor given up.
fn open_of<'m>(shipment: &mut Shipment<'m>) -> Vec<&'m Entry> {
    let mut parts = std::mem::take(&mut shipment.parts);
    parts.reverse();
    let entries = parts.into_iter().flat_map(|part| &shipment.entries[part]);
    entries.copied().collect()
}

fn lag(place: &Place, health: Health, open: &[&Entry], last_error: Option<String>) -> Lag {
    Lag {
        destination: place.destination.clone(),
        orchestrator: place.orchestrator().to_owned(),
        // Of many: the queue has one line for each place.
        run: String::new(),
        health,
        waiting: open.len() as u64,
        oldest_at_ms: open.iter().map(|entry| entry.event.at_ms).min().unwrap_or(0),
        last_error,
        dropped: dropped(open),
    }
}

impl Settled<'_> {
    fn failed(
        &mut self,
        shipment: &Shipment<'_>,
        failure: &Failure,
        open: &[&Entry],
        standings: &mut Standings,
        now_ms: u64,
    ) {
        let (place, reason) = (&shipment.place, &failure.reason);
        let known = standings.health(place);
        if failure.health == Health::Paused && known != Health::Paused {
            self.alarms.push(format!(
                "{}: it refuses the gateway's credentials, and is paused: {reason}",
                place.destination
            ));
        }
        if place.destination != HISTORY {
            self.lags.push(lag(place, failure.health, open, Some(reason.clone())));
        } else if known == Health::Passing {
            // The lists are kept beside it: they cannot say that it does not answer.
            self.alarms
                .push(format!("{HISTORY}: it does not take executions: {reason}"));
        }
        let failures = shipment.failures.saturating_add(1);
        standings.failed(place, failure.health, failures, now_ms + failure.wait_ms);
    }

    /// What the operator's lists are to be told, if anything. Say with [`Standings::listed`] that they were, or with
    /// [`Settled::keep_unlisted`] that they were not.
    #[must_use]
    pub fn report(&self, now_ms: u64) -> Option<Report> {
        if self.lags.is_empty() && self.given_up.is_empty() {
            return None;
        }
        let dead = self.given_up.iter();
        let dead = dead.map(|dead| DeadEvent::of(&dead.place.destination, &dead.entry.event, &dead.reason, now_ms));
        Some(Report {
            lags: self.lags.clone(),
            dead: dead.collect(),
        })
    }
}

impl<'m> Settled<'m> {
    /// The operator's list did not answer: what was given up is not lost, but goes back into the queue, and is tried again.
    pub fn keep_unlisted(&mut self) {
        let unlisted = std::mem::take(&mut self.given_up);
        self.put_back(unlisted);
    }

    fn put_back(&mut self, unlisted: Vec<GivenUp<'m>>) {
        let first = self.again.len();
        for dead in unlisted {
            let mut own = self.again[first..].iter_mut();
            match own.find(|again| again.place == dead.place) {
                Some(again) => again.entries.push(dead.entry),
                None => self.again.push(Again {
                    place: dead.place,
                    wait_ms: REPORT_AGAIN_MS,
                    entries: vec![dead.entry],
                    failures: 0,
                    last_error: Some(dead.reason),
                }),
            }
        }
    }
}

/// Which of these messages are to be delivered again, since what was left of them did not get back into the queue. All
/// others may be forgotten.
#[must_use]
pub fn unsettled(messages: &[Message], refused: &[&Again<'_>]) -> Vec<bool> {
    let open: BTreeSet<&str> = refused
        .iter()
        .flat_map(|again| &again.entries)
        .map(|entry| entry.event.id.as_str())
        .collect();
    let is_open = |message: &Message| {
        let mut ids = message.entries.iter().map(|entry| entry.event.id.as_str());
        ids.any(|id| open.contains(id))
    };
    messages.iter().map(is_open).collect()
}
