//! How many steps of an orchestrator may be under way at once.
//!
//! Each takes a slot before it is claimed, and gives it back when it has ended. A slot whose holder died ends by itself, when
//! the step's claim would end: nothing can leak.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::run::RunName;
use crate::signature::digest::hex_digest;

/// The most that can be configured: an orchestrator's slots are one row in its object.
pub const CONCURRENT_STEPS_MAX: u32 = 500;
/// How long a call waits that finds no slot, in milliseconds.
pub const FULL_RETRY_AFTER_MS: u64 = 1_000;

/// A slot to be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Names the attempt.
    pub id: String,
    /// The request that takes it.
    pub holder: String,
    /// How long it is held, in milliseconds, unless it is given back.
    pub hold_ms: u64,
    /// How many there are.
    pub max: u32,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Taken {
    /// It is this request's: to be given back by it.
    Mine,
    /// Another request of the same attempt has it.
    Anothers,
    /// All are taken.
    Full,
}

/// The slots of an orchestrator: by id, who holds it, and until when in Unix milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots(BTreeMap<String, (String, u64)>);

impl Slots {
    /// Takes a slot. Safe to repeat.
    pub fn take(&mut self, slot: &Slot, now_ms: u64) -> Taken {
        self.0.retain(|_, (_, until_ms)| *until_ms > now_ms);
        match self.0.get(&slot.id) {
            Some((holder, _)) if *holder == slot.holder => return Taken::Mine,
            Some(_) => return Taken::Anothers,
            None => {}
        }
        if self.0.len() >= slot.max as usize {
            return Taken::Full;
        }
        let until_ms = now_ms.saturating_add(slot.hold_ms);
        self.0.insert(slot.id.clone(), (slot.holder.clone(), until_ms));
        Taken::Mine
    }

    /// Gives a slot back, whoever holds it.
    pub fn free(&mut self, id: &str) {
        self.0.remove(id);
    }
}

/// Names the slot of an attempt.
#[must_use]
pub fn slot_id(run: &RunName, idempotency_key: &str) -> String {
    hex_digest(format!("{}\n{idempotency_key}", run.object()).as_bytes())[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slot(id: &str, holder: &str) -> Slot {
        Slot {
            id: id.into(),
            holder: holder.into(),
            hold_ms: 100,
            max: 2,
        }
    }

    #[test]
    fn at_the_limit_and_over_it() {
        let mut slots = Slots::default();
        assert_eq!(slots.take(&slot("a", "1"), 0), Taken::Mine);
        assert_eq!(slots.take(&slot("b", "2"), 0), Taken::Mine);
        assert_eq!(slots.take(&slot("c", "3"), 0), Taken::Full);
        // The same attempt takes no second one, also where all are taken.
        assert_eq!(slots.take(&slot("a", "1"), 0), Taken::Mine);
        assert_eq!(slots.take(&slot("a", "4"), 0), Taken::Anothers);
        slots.free("b");
        slots.free("b");
        assert_eq!(slots.take(&slot("c", "3"), 0), Taken::Mine);
        assert_eq!(slots.take(&slot("b", "2"), 0), Taken::Full);
    }

    #[test]
    fn the_slot_of_a_dead_holder_ends() {
        let mut slots = Slots::default();
        for id in ["a", "b"] {
            slots.take(&slot(id, id), 0);
        }
        assert_eq!(slots.take(&slot("c", "c"), 99), Taken::Full);
        assert_eq!(slots.take(&slot("c", "c"), 100), Taken::Mine);
        // Taken again by whoever takes the attempt over.
        assert_eq!(slots.take(&slot("a", "d"), 100), Taken::Mine);
    }

    #[test]
    fn attempts_have_slots_of_their_own() {
        let id = |run: &str, key: &str| slot_id(&RunName::new("o", run), key);
        assert_eq!(id("r", "k"), id("r", "k"));
        assert_ne!(id("r", "k"), id("r", "l"));
        assert_ne!(id("r", "k"), id("s", "k"));
    }

    proptest! {
        /// Whatever is taken, given back and left behind: never more than there are, and all of them again in the end.
        #[test]
        fn never_too_many_and_none_lost(acts in proptest::collection::vec((0..8_u8, any::<bool>(), 0..40_u64), 1..100)) {
            let mut slots = Slots::default();
            let mut now_ms = 0;
            for (id, takes, later_ms) in acts {
                now_ms += later_ms;
                let id = id.to_string();
                if takes {
                    slots.take(&slot(&id, &id), now_ms);
                } else {
                    slots.free(&id);
                }
                prop_assert!(slots.0.len() <= 2);
            }
            now_ms += 100;
            prop_assert_eq!(slots.take(&slot("x", "x"), now_ms), Taken::Mine);
            prop_assert_eq!(slots.take(&slot("y", "y"), now_ms), Taken::Mine);
        }
    }
}
