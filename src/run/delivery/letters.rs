//! Deliveries that were given up: reported to the operator's list, and sent again.

use serde::{Deserialize, Serialize};

use super::{DELIVERIES, DeliveryState, DeliveryStatus, Place, status};
use crate::run::question::{Moment, Question};
use crate::run::storage::Storage;
use crate::run::timers::{self, Timer};
use crate::run::{attempt, record};

/// How long until a report to the operator that failed is tried again, in milliseconds.
pub(super) const REPORT_AGAIN_MS: u64 = 60_000;

/// A delivery that was given up, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its `webhook-id`.
    pub delivery: String,
    /// Whose run it is.
    pub orchestrator: String,
    /// The run's id.
    pub run: String,
    /// The step's id.
    pub step: String,
    /// Where it was to go: a URL, or `channel:` and a channel's id.
    pub url: String,
    /// How often it was tried.
    pub tries: u32,
    /// Why the last try failed.
    pub last_error: String,
    /// When it was given up, in Unix milliseconds.
    pub dead_at_ms: u64,
}

/// Takes a dead letter that is to be reported. Until [`reported`] says that it was, it is due again and again.
pub(in crate::run) fn report<S: Storage>(
    storage: &S,
    place: Place,
    now_ms: u64,
) -> Result<Option<DeadLetter>, S::Error> {
    let delivery = DELIVERIES.get(storage, &place.to_string())?;
    let (Some(delivery), Some(attempt), Some(run)) =
        (delivery, attempt::get(storage, place.ordinal)?, record::find(storage)?)
    else {
        return Ok(None);
    };
    let Some(dead_at_ms) = delivery.dead_at_ms.filter(|_| delivery.state == DeliveryState::Dead) else {
        return Ok(None);
    };
    timers::set(storage, Timer::Report(place), now_ms + REPORT_AGAIN_MS)?;
    let url = match delivery.notice {
        Some(notice) => format!("channel:{}", notice.channel),
        None => delivery.url,
    };
    Ok(Some(DeadLetter {
        delivery: delivery.id,
        orchestrator: run.name.orchestrator,
        run: run.name.run,
        step: attempt.step,
        url,
        tries: delivery.tries,
        last_error: delivery.last_error.unwrap_or_default(),
        dead_at_ms,
    }))
}

/// The operator's list has the dead letter.
///
/// # Errors
/// When the storage fails.
pub fn reported<S: Storage>(storage: &S, place: Place, letter: &DeadLetter) -> Result<(), S::Error> {
    let delivery = DELIVERIES.get(storage, &place.to_string())?;
    // One that was sent again meanwhile, and died again, is not on the list yet as it is now.
    let same = delivery.is_some_and(|delivery| {
        delivery.state == DeliveryState::Dead && delivery.id == letter.delivery && delivery.tries == letter.tries
    });
    if same {
        timers::clear(storage, Timer::Report(place))?;
    }
    Ok(())
}

/// Sends a dead letter again, for another day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resend {
    /// Its `webhook-id`.
    pub delivery: String,
}

impl Question for Resend {
    const NAME: &'static str = "resend";
    const USES_NONCE: bool = true;
    /// What it is now; nothing where it is not known.
    type Answer = Option<DeliveryStatus>;

    fn answer<S: Storage>(&self, storage: &S, moment: Moment<'_>) -> Result<Self::Answer, S::Error> {
        let all = DELIVERIES.list(storage, "", usize::MAX)?;
        let Some((id, mut delivery)) = all.into_iter().find(|(_, delivery)| delivery.id == self.delivery) else {
            return Ok(None);
        };
        let Some(place) = Place::parse(&id) else {
            return Ok(None);
        };
        if delivery.state == DeliveryState::Dead {
            delivery.state = DeliveryState::Pending;
            delivery.since_ms = moment.now_ms;
            delivery.tries_before = delivery.tries;
            delivery.dead_at_ms = None;
            DELIVERIES.put(storage, &id, &delivery)?;
            timers::clear(storage, Timer::Report(place))?;
            timers::set(storage, Timer::Deliver(place), moment.now_ms)?;
        }
        status(storage, place)
    }
}
