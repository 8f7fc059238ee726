//! When a run has to be looked at again: one row per timer, and an index by time.

use super::delivery::Place;
use super::storage::{Storage, Table};

/// By name: when it is due, in Unix milliseconds.
const TIMERS: Table<u64> = Table::new("timer/");
/// By time and name.
const DUE: Table<()> = Table::new("due/");

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// An attempt is to be begun. The number is the attempt's ordinal, here and in the next one.
    Begin(u32),
    /// An attempt's claim ends.
    ClaimEnd(u32),
    /// A callback or a notice is to be sent.
    Deliver(Place),
    /// A dead letter is to be reported to the operator.
    Report(Place),
    /// The run is to be settled with its orchestrator.
    Settle,
    /// Events are to be sent, or the operator is to be told of them.
    Export,
    /// The run may have reached the end of its retention.
    Expire,
}

impl Timer {
    fn name(self) -> String {
        match self {
            Self::Begin(ordinal) => format!("begin/{ordinal:06}"),
            Self::ClaimEnd(ordinal) => format!("claim-end/{ordinal:06}"),
            Self::Deliver(place) => format!("deliver/{place}"),
            Self::Report(place) => format!("report/{place}"),
            Self::Settle => "settle".to_owned(),
            Self::Export => "export".to_owned(),
            Self::Expire => "expire".to_owned(),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        match name {
            "expire" => return Some(Self::Expire),
            "export" => return Some(Self::Export),
            "settle" => return Some(Self::Settle),
            _ => {}
        }
        let (kind, which) = name.split_once('/')?;
        match kind {
            "begin" => Some(Self::Begin(which.parse().ok()?)),
            "claim-end" => Some(Self::ClaimEnd(which.parse().ok()?)),
            "deliver" => Some(Self::Deliver(Place::parse(which)?)),
            "report" => Some(Self::Report(Place::parse(which)?)),
            _ => None,
        }
    }
}

fn index(at_ms: u64, name: &str) -> String {
    format!("{at_ms:016}/{name}")
}

/// Sets a timer, in the place of its earlier time.
pub(super) fn set<S: Storage>(storage: &S, timer: Timer, at_ms: u64) -> Result<(), S::Error> {
    clear(storage, timer)?;
    let name = timer.name();
    TIMERS.put(storage, &name, &at_ms)?;
    DUE.put(storage, &index(at_ms, &name), &())
}

/// Sets a timer, unless it is set to this time or an earlier one.
pub(super) fn set_no_later<S: Storage>(storage: &S, timer: Timer, at_ms: u64) -> Result<(), S::Error> {
    match TIMERS.get(storage, &timer.name())? {
        Some(set_to_ms) if set_to_ms <= at_ms => Ok(()),
        _ => set(storage, timer, at_ms),
    }
}

/// Whether a timer is set.
pub(super) fn is_set<S: Storage>(storage: &S, timer: Timer) -> Result<bool, S::Error> {
    Ok(TIMERS.get(storage, &timer.name())?.is_some())
}

/// Whether anything is still to be delivered, or to be reported to the operator.
pub(super) fn any_delivery<S: Storage>(storage: &S) -> Result<bool, S::Error> {
    for kind in ["deliver/", "report/"] {
        let first = TIMERS.list(storage, kind, 1)?;
        if first.iter().any(|(name, _)| name.starts_with(kind)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// When a timer is due, in Unix milliseconds.
#[cfg(test)]
pub(super) fn at_ms<S: Storage>(storage: &S, timer: Timer) -> Result<Option<u64>, S::Error> {
    TIMERS.get(storage, &timer.name())
}

/// Takes a timer back.
pub(super) fn clear<S: Storage>(storage: &S, timer: Timer) -> Result<(), S::Error> {
    let name = timer.name();
    if let Some(at_ms) = TIMERS.get(storage, &name)? {
        TIMERS.delete(storage, &name)?;
        DUE.delete(storage, &index(at_ms, &name))?;
    }
    Ok(())
}

/// Takes the first timer that is due.
pub(super) fn take_due<S: Storage>(storage: &S, now_ms: u64) -> Result<Option<Timer>, S::Error> {
    while let Some((at_ms, name)) = first(storage)? {
        if at_ms > now_ms {
            return Ok(None);
        }
        TIMERS.delete(storage, &name)?;
        DUE.delete(storage, &index(at_ms, &name))?;
        if let Some(timer) = Timer::parse(&name) {
            return Ok(Some(timer));
        }
        // A name of another version: it is gone, and the next one's turn.
    }
    Ok(None)
}

/// When the run has to be looked at next, in Unix milliseconds.
///
/// # Errors
/// When the storage fails.
pub fn next_at_ms<S: Storage>(storage: &S) -> Result<Option<u64>, S::Error> {
    Ok(first(storage)?.map(|(at_ms, _)| at_ms))
}

fn first<S: Storage>(storage: &S) -> Result<Option<(u64, String)>, S::Error> {
    let first = DUE.list(storage, "", 1)?.into_iter().next();
    Ok(first.and_then(|(index, ())| {
        let (at_ms, name) = index.split_once('/')?;
        Some((at_ms.parse().ok()?, name.to_owned()))
    }))
}

#[cfg(test)]
mod tests {
    use super::super::storage::MemoryStorage;
    use super::*;

    #[test]
    fn timers_come_in_the_order_of_their_times() {
        let storage = MemoryStorage::default();
        set(&storage, Timer::Deliver(Place::callback(2)), 30).unwrap();
        set(&storage, Timer::Begin(1), 20).unwrap();
        set(&storage, Timer::Expire, 10).unwrap();
        set(&storage, Timer::Expire, 40).unwrap();
        clear(&storage, Timer::Begin(1)).unwrap();
        assert_eq!(next_at_ms(&storage), Ok(Some(30)));
        assert_eq!(take_due(&storage, 29), Ok(None));
        assert_eq!(take_due(&storage, 50), Ok(Some(Timer::Deliver(Place::callback(2)))));
        assert_eq!(take_due(&storage, 50), Ok(Some(Timer::Expire)));
        assert_eq!(take_due(&storage, 50), Ok(None));
        assert!(storage.keys().is_empty());
    }

    #[test]
    fn deliveries_are_pending_while_they_have_a_timer() {
        let storage = MemoryStorage::default();
        for other in [Timer::Begin(1), Timer::ClaimEnd(1), Timer::Settle, Timer::Export] {
            set(&storage, other, 1).unwrap();
        }
        assert_eq!(any_delivery(&storage), Ok(false));
        for timer in [Timer::Deliver(Place::notice(7, 2)), Timer::Report(Place::callback(3))] {
            set(&storage, timer, 1).unwrap();
            assert_eq!(any_delivery(&storage), Ok(true), "{timer:?}");
            clear(&storage, timer).unwrap();
            assert_eq!(any_delivery(&storage), Ok(false), "{timer:?}");
        }
    }

    #[test]
    fn a_timer_is_brought_forward_and_not_put_off() {
        let storage = MemoryStorage::default();
        for (at_ms, expected) in [(30, 30), (20, 20), (40, 20)] {
            set_no_later(&storage, Timer::Expire, at_ms).unwrap();
            assert_eq!(next_at_ms(&storage), Ok(Some(expected)));
        }
        assert_eq!(take_due(&storage, 50), Ok(Some(Timer::Expire)));
        assert_eq!(take_due(&storage, 50), Ok(None));
    }

    #[test]
    fn every_timer_is_read_as_it_was_named() {
        for timer in [
            Timer::Begin(0),
            Timer::ClaimEnd(1),
            Timer::Deliver(Place::callback(999_999)),
            Timer::Report(Place::notice(7, 2)),
            Timer::Settle,
            Timer::Export,
            Timer::Expire,
        ] {
            assert_eq!(Timer::parse(&timer.name()), Some(timer));
        }
    }
}
