//! Listening: a customer follows what happens in a run while it happens.
//!
//! An execution in a Worker keeps no events: each would be a call to the run's object, and who waits for a whole answer reads
//! none. Once somebody listens to the run, whoever is granted a step of it tells what its agent tells, a little at a time.
//! What runs in the background keeps its events in any case.

use serde::{Deserialize, Serialize};

use super::attempt;
use super::events::{self, Event};
use super::question::{Moment, Question};
use super::record::{self, Use};
use super::storage::Storage;

/// How long a Worker gathers what an agent tells before it tells the run, in milliseconds.
pub const TELL_AFTER_MS: u64 = 100;
/// So often it does; from then on it gathers for [`TELL_AFTER_LATER_MS`], because the platform bounds the calls that a
/// request makes.
pub const TELLS_AT_FIRST: u32 = 100;
/// How long it gathers later, in milliseconds.
pub const TELL_AFTER_LATER_MS: u64 = 1_000;

/// How long to gather before the events are told that are told as the `number`th, from 1. In milliseconds.
#[must_use]
pub const fn gather_ms(number: u32) -> u64 {
    if number <= TELLS_AT_FIRST {
        TELL_AFTER_MS
    } else {
        TELL_AFTER_LATER_MS
    }
}

/// Says that somebody listens to the run from now on. It is made if it is not there yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// The run.
    pub using: Use,
}

impl Question for Listen {
    const NAME: &'static str = "listen";
    const USES_NONCE: bool = false;
    type Answer = ();

    fn answer<S: Storage>(&self, storage: &S, moment: Moment<'_>) -> Result<(), S::Error> {
        let mut run = record::touch(storage, &self.using, moment.now_ms)?;
        run.listened = true;
        record::save(storage, &run)
    }
}

pub(super) fn is_listened<S: Storage>(storage: &S) -> Result<bool, S::Error> {
    Ok(record::find(storage)?.is_some_and(|run| run.listened))
}

/// Tells events of an attempt that a Worker executes. Answers whether it still owns the attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tell {
    /// The attempt's place in its run.
    pub ordinal: u32,
    /// The generation that it is executed under.
    pub generation: u32,
    /// How often this execution has told events, this time included: what is told twice counts once.
    pub number: u32,
    /// The events.
    pub events: Vec<Event>,
}

impl Question for Tell {
    const NAME: &'static str = "tell";
    const USES_NONCE: bool = false;
    type Answer = bool;

    fn answer<S: Storage>(&self, storage: &S, _: Moment<'_>) -> Result<bool, S::Error> {
        let Some(mut attempt) = attempt::owned(storage, self.ordinal, self.generation)? else {
            return Ok(false);
        };
        if attempt.tells < self.number {
            attempt.tells = self.number;
            events::append(storage, &mut attempt, &self.events)?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Claim;
    use super::super::testing::{Bench, HOLD_MS, request, using};
    use super::*;

    fn tell(bench: &Bench, generation: u32, number: u32) -> (bool, usize) {
        let events = vec![Event::Delta { text: "x".into() }];
        let tell = Tell {
            ordinal: 1,
            generation,
            number,
            events,
        };
        let owned = bench.ask("c", tell);
        (owned, events::after(&bench.storage, 1, 0, 99).unwrap().len())
    }

    fn is_listened(claim: &Claim) -> bool {
        matches!(claim, Claim::Granted { listened: true, .. })
    }

    #[test]
    fn nobody_tells_what_nobody_listens_to() {
        let bench = Bench::default();
        assert!(!is_listened(&bench.ask("c", request("k", 1))));
        assert!(events::after(&bench.storage, 1, 0, 9).unwrap().is_empty());
    }

    #[test]
    fn what_a_worker_tells_is_kept_once_and_of_its_owner_alone() {
        let mut bench = Bench::default();
        bench.ask("l", Listen { using: using() });
        assert!(is_listened(&bench.ask("c", request("k", 1))));
        // That it was begun, and what it tells.
        assert_eq!(tell(&bench, 1, 1), (true, 2));
        assert_eq!(
            tell(&bench, 1, 1),
            (true, 2),
            "its answer was lost, and it is told again"
        );
        assert_eq!(tell(&bench, 1, 2), (true, 3));
        assert_eq!(tell(&bench, 2, 3), (false, 3));
        // Another owner counts anew.
        bench.now_ms += HOLD_MS + 1;
        assert!(is_listened(&bench.ask("c2", request("k", 1))));
        assert_eq!(tell(&bench, 1, 9), (false, 4));
        assert_eq!(tell(&bench, 2, 1), (true, 5));
    }

    #[test]
    fn who_tells_much_tells_less_often() {
        assert_eq!(gather_ms(1), TELL_AFTER_MS);
        assert_eq!(gather_ms(TELLS_AT_FIRST), TELL_AFTER_MS);
        assert_eq!(gather_ms(TELLS_AT_FIRST + 1), TELL_AFTER_LATER_MS);
    }
}
