//! What a consumer remembers of places that do not answer as they should: until when nothing is sent there, whoever's
//! events come by. It lasts as long as the isolate; another one learns it by a request of its own.

use std::collections::BTreeMap;

use super::shipment::Place;
use crate::run::outbox::Health;

/// What is known of places, by place. One that takes what it is sent is not among them.
#[derive(Debug, Clone, Default)]
pub struct Standings(BTreeMap<Place, Standing>);

#[derive(Debug, Clone, Copy)]
struct Standing {
    health: Health,
    failures: u32,
    not_before_ms: u64,
}

impl Standings {
    /// How a place is.
    #[must_use]
    pub fn health(&self, place: &Place) -> Health {
        self.0.get(place).map_or(Health::Passing, |standing| standing.health)
    }

    /// How often it failed in a row.
    #[must_use]
    pub fn failures(&self, place: &Place) -> u32 {
        self.0.get(place).map_or(0, |standing| standing.failures)
    }

    /// Until when nothing is sent there, in Unix milliseconds; nothing where it may be sent to.
    #[must_use]
    pub fn held_until_ms(&self, place: &Place, now_ms: u64) -> Option<u64> {
        let standing = self.0.get(place)?;
        Some(standing.not_before_ms).filter(|not_before_ms| *not_before_ms > now_ms)
    }

    /// It did not take what it was sent.
    pub(super) fn failed(&mut self, place: &Place, health: Health, failures: u32, not_before_ms: u64) {
        let standing = Standing {
            health,
            failures,
            not_before_ms,
        };
        self.0.insert(place.clone(), standing);
    }

    /// It took what it was sent, or refused it for good. Answers whether the operator's list may say otherwise.
    pub(super) fn passed(&mut self, place: &Place) -> bool {
        match self.0.get_mut(place) {
            Some(standing) => {
                *standing = Standing {
                    health: Health::Passing,
                    failures: 0,
                    not_before_ms: 0,
                };
                true
            }
            None => false,
        }
    }

    /// The operator's list has what was to be said of places that have passed: they are forgotten.
    pub fn listed(&mut self) {
        self.0.retain(|_, standing| standing.health != Health::Passing);
    }
}
