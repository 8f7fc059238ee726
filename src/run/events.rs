//! What an attempt tells while it is executed, kept so that a second reader gets what was so far.

use serde::{Deserialize, Serialize};

use super::attempt::{self, Attempt};
use super::storage::{Storage, Table};

/// An attempt has at most this many events.
pub const EVENTS_MAX: u32 = 1_000;
/// They are at most this large together, in bytes.
pub const EVENTS_MAX_BYTES: u64 = 256 * 1024;

const EVENTS: Table<Event> = Table::new("event/");

/// Something that happened while an attempt was executed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An execution began. What an earlier one told is void.
    Started {
        /// Its number, from 1.
        execution: u32,
    },
    /// How far the agent has come.
    Progress {
        /// In words.
        message: String,
        /// From 0 to 1, where it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fraction: Option<f64>,
    },
    /// More of the output's text.
    Delta {
        /// To be joined to what came before it.
        text: String,
    },
}

impl Event {
    fn bytes(&self) -> u64 {
        match self {
            Self::Started { .. } => 0,
            Self::Progress { message, .. } => message.len() as u64,
            Self::Delta { text } => text.len() as u64,
        }
    }
}

/// An event in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Numbered {
    /// From 1, within the attempt.
    pub seq: u32,
    /// The event.
    pub event: Event,
}

/// Appends events to an attempt, and saves it. From the first that is over the limits on, none is kept, so that the text
/// of those before it is a beginning without a hole: the outcome has the whole output. That an execution began always is.
pub(super) fn append<S: Storage>(storage: &S, attempt: &mut Attempt, events: &[Event]) -> Result<(), S::Error> {
    for event in events {
        let bytes = event.bytes();
        let fits = attempt.events < EVENTS_MAX && attempt.event_bytes + bytes <= EVENTS_MAX_BYTES;
        if fits || matches!(event, Event::Started { .. }) {
            attempt.events += 1;
            attempt.event_bytes += bytes;
            EVENTS.put(storage, &id(attempt.ordinal, attempt.events), event)?;
        } else {
            attempt.event_bytes = EVENTS_MAX_BYTES.max(attempt.event_bytes);
        }
    }
    attempt::save(storage, attempt)
}

/// Appends what the owner of this generation tells. Answers whether it still owns the attempt.
///
/// # Errors
/// When the storage fails.
pub fn tell<S: Storage>(storage: &S, ordinal: u32, generation: u32, events: &[Event]) -> Result<bool, S::Error> {
    let Some(mut attempt) = attempt::owned(storage, ordinal, generation)? else {
        return Ok(false);
    };
    append(storage, &mut attempt, events)?;
    Ok(true)
}

/// The events of an attempt after `seq`, at most `limit`.
pub(super) fn after<S: Storage>(storage: &S, ordinal: u32, seq: u32, limit: usize) -> Result<Vec<Numbered>, S::Error> {
    let prefix = format!("{}/", attempt::id(ordinal));
    let rows = EVENTS.list(storage, &id(ordinal, seq), limit)?;
    let own = rows.into_iter().filter_map(|(id, event)| {
        let seq = id.strip_prefix(&prefix)?.parse().ok()?;
        Some(Numbered { seq, event })
    });
    Ok(own.collect())
}

fn id(ordinal: u32, seq: u32) -> String {
    format!("{}/{seq:06}", attempt::id(ordinal))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, background, retrying};
    use super::*;

    fn delta(bytes: u64) -> Event {
        Event::Delta {
            text: "x".repeat(usize::try_from(bytes).unwrap()),
        }
    }

    /// A run whose only step was begun.
    fn begun() -> Bench {
        let bench = Bench::default();
        bench.ask("c", retrying(2, background("k", 1)));
        bench.execution();
        bench
    }

    fn told(bench: &Bench, events: &[Event]) -> usize {
        assert!(bench.transact(|storage| tell(storage, 1, bench.attempt("k").generation, events).unwrap()));
        all(bench).len()
    }

    fn all(bench: &Bench) -> Vec<Numbered> {
        after(&bench.storage, 1, 0, usize::MAX).unwrap()
    }

    /// Loses the execution that is under way, and begins the next one.
    fn begin_again(bench: &mut Bench) {
        bench.now_ms += 100_000;
        assert_eq!(bench.work(), None);
        bench.now_ms += 100_000;
        bench.execution();
    }

    #[test]
    fn events_are_numbered_from_one_and_read_from_anywhere() {
        let bench = begun();
        assert_eq!(told(&bench, &[delta(1), delta(2)]), 3);
        let seqs = |seq, limit| -> Vec<u32> {
            let events = after(&bench.storage, 1, seq, limit).unwrap();
            events.iter().map(|event| event.seq).collect()
        };
        assert_eq!(all(&bench)[0].event, Event::Started { execution: 1 });
        assert_eq!(seqs(0, 2), [1, 2]);
        assert_eq!(seqs(2, 9), [3]);
        assert!(seqs(3, 9).is_empty());
        assert!(after(&bench.storage, 2, 0, 9).unwrap().is_empty());
    }

    #[test]
    fn an_attempt_has_so_many_events() {
        let mut bench = begun();
        let most = usize::try_from(EVENTS_MAX).unwrap();
        assert_eq!(told(&bench, &vec![delta(1); most - 2]), most - 1);
        assert_eq!(told(&bench, &[delta(1)]), most);
        assert_eq!(told(&bench, &[delta(1), delta(0)]), most);
        begin_again(&mut bench);
        assert_eq!(told(&bench, &[delta(1)]), most + 1);
        assert_eq!(all(&bench)[most].event, Event::Started { execution: 2 });
    }

    #[test]
    fn events_are_so_large_together() {
        let mut bench = begun();
        assert_eq!(told(&bench, &[delta(EVENTS_MAX_BYTES - 1), delta(1)]), 3);
        assert_eq!(told(&bench, &[delta(1)]), 3);
        begin_again(&mut bench);
        assert_eq!(all(&bench)[3].event, Event::Started { execution: 2 });
    }

    #[test]
    fn the_text_that_is_kept_has_no_hole() {
        let bench = begun();
        assert_eq!(told(&bench, &[delta(EVENTS_MAX_BYTES - 10), delta(11), delta(1)]), 2);
        assert_eq!(told(&bench, &[delta(1)]), 2);
    }

    #[test]
    fn only_the_owner_tells() {
        let mut bench = begun();
        let by = |bench: &Bench, generation| tell(&bench.storage, 1, generation, &[delta(1)]).unwrap();
        assert!(by(&bench, 1));
        assert!(!by(&bench, 2));
        begin_again(&mut bench);
        assert!(!by(&bench, 1));
        bench.cancel("s");
        assert!(!by(&bench, 2));
        assert!(!tell(&bench.storage, 7, 1, &[delta(1)]).unwrap());
    }
}
