//! How the end of an attempt is told: by a callback to whoever asked for it, and by a notice to each channel that a rule of
//! the agent names. At least once, for a day, and then to the operator.

mod letters;
mod place;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) use self::letters::report;
pub use self::letters::{DeadLetter, Resend, reported};
pub use self::place::Place;
use super::attempt::{self, Attempt, StoredAnswer};
use super::question::Moment;
use super::record;
use super::storage::{Storage, Table};
use super::telling::{self, CallbackEnd};
use super::timers::{self, Timer};
use crate::backoff::backoff_ms;
use crate::channel::Notice;
use crate::signature::digest::hex_digest;
use crate::time::rfc3339_ms;

/// A try that has not ended by then is given up, in milliseconds.
pub const CALLBACK_TIMEOUT_MS: u64 = 15_000;
/// A callback is tried for this long, in milliseconds.
pub const CALLBACK_GIVE_UP_MS: u64 = 24 * 60 * 60 * 1_000;
/// The first wait between two tries, in milliseconds. It doubles with each further one.
pub const CALLBACK_BACKOFF_MS: u64 = 1_000;
/// The longest wait between two tries, and the longest that a receiver can ask for, in milliseconds.
pub const CALLBACK_BACKOFF_MAX_MS: u64 = 60 * 60 * 1_000;
/// The longest account of a failure that is kept, in characters.
const ERROR_MAX_CHARS: usize = 200;

const DELIVERIES: Table<Delivery> = Table::new("delivery/");

/// A delivery on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delivery {
    id: String,
    /// Where a callback goes.
    url: String,
    /// What a channel is told; nothing in a callback, whose content is the attempt's answer.
    #[serde(default)]
    notice: Option<Notice>,
    state: DeliveryState,
    tries: u32,
    /// How many of them were before it was sent again by an operator: the waits between tries begin anew with it.
    tries_before: u32,
    /// Since when it is tried, in Unix milliseconds.
    since_ms: u64,
    dead_at_ms: Option<u64>,
    last_error: Option<String>,
}

impl Delivery {
    fn end(&self, ordinal: u32) -> CallbackEnd<'_> {
        CallbackEnd {
            ordinal,
            delivery: &self.id,
            url: &self.url,
            tries: self.tries,
            since_ms: self.since_ms,
            delivered: self.state == DeliveryState::Delivered,
        }
    }
}

/// What became of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is tried, or will be.
    Pending,
    /// Its receiver has acknowledged it.
    Delivered,
    /// It is not tried any more: an operator may send it again.
    Dead,
}

/// What is told of a callback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryStatus {
    /// Its `webhook-id`.
    pub id: String,
    /// What became of it.
    pub status: DeliveryState,
    /// How often it was tried.
    pub tries: u32,
    /// Why the last try failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_error: Option<String>,
}

/// Something to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// Which delivery of its run it is.
    pub place: Place,
    /// Which try this is, from 1.
    pub tries: u32,
    /// Its `webhook-id`: the same for every try.
    pub id: String,
    /// Where a callback goes; empty where a channel is told.
    pub url: String,
    /// Whose run it is: the keys that sign a callback are that orchestrator's.
    pub orchestrator: String,
    /// The body of a callback: the same for every try.
    pub body: String,
    /// What a channel is told; nothing in a callback.
    pub notice: Option<Notice>,
    /// The span of the step whose end it tells.
    pub traceparent: String,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// A 2xx.
    Delivered,
    /// A 410, or it may not be sent there: no further try.
    Refused(String),
    /// Anything else.
    Failed {
        /// Why, as a sentence for the operator.
        reason: String,
        /// When the receiver wants it again, in milliseconds from now.
        retry_after_ms: Option<u64>,
    },
}

/// Makes the callback of an attempt that has just ended.
pub(super) fn create<S: Storage>(storage: &S, ordinal: u32, url: &str, now_ms: u64) -> Result<(), S::Error> {
    insert(storage, Place::callback(ordinal), url, None, now_ms)
}

/// Makes what a channel is told of an attempt that has just ended. `notice` is given the delivery's id.
pub(super) fn create_notice<S: Storage>(
    storage: &S,
    place: Place,
    notice: impl FnOnce(String) -> Notice,
    now_ms: u64,
) -> Result<(), S::Error> {
    let id = id_of(storage, place, now_ms)?;
    insert(storage, place, "", Some(notice(id)), now_ms)
}

fn insert<S: Storage>(
    storage: &S,
    place: Place,
    url: &str,
    notice: Option<Notice>,
    now_ms: u64,
) -> Result<(), S::Error> {
    let delivery = Delivery {
        id: id_of(storage, place, now_ms)?,
        url: url.to_owned(),
        notice,
        state: DeliveryState::Pending,
        tries: 0,
        tries_before: 0,
        since_ms: now_ms,
        dead_at_ms: None,
        last_error: None,
    };
    DELIVERIES.put(storage, &place.to_string(), &delivery)?;
    timers::set(storage, Timer::Deliver(place), now_ms)
}

/// The `webhook-id` of what is made at this moment.
fn id_of<S: Storage>(storage: &S, place: Place, now_ms: u64) -> Result<String, S::Error> {
    let run = record::find(storage)?;
    let name = run.map(|run| run.name.object()).unwrap_or_default();
    let Place { ordinal, rule } = place;
    let rule = rule.map(|rule| format!("-{rule}")).unwrap_or_default();
    // The time makes it another one when a run of the same id was forgotten before.
    let digest = hex_digest(format!("{name}\n{ordinal}{rule}\n{now_ms}").as_bytes());
    Ok(format!("msg_{}", &digest[..32]))
}

pub(super) fn status<S: Storage>(storage: &S, place: Place) -> Result<Option<DeliveryStatus>, S::Error> {
    let delivery = DELIVERIES.get(storage, &place.to_string())?;
    Ok(delivery.map(|delivery| DeliveryStatus {
        id: delivery.id,
        status: delivery.state,
        tries: delivery.tries,
        last_error: delivery.last_error,
    }))
}

/// Takes the next try of a delivery that is due. Should whoever makes it die, it is due again after a while.
pub(super) fn begin<S: Storage>(storage: &S, place: Place, now_ms: u64) -> Result<Option<Parcel>, S::Error> {
    let Some(mut delivery) = DELIVERIES.get(storage, &place.to_string())? else {
        return Ok(None);
    };
    let attempt = attempt::get(storage, place.ordinal)?;
    let answer = attempt::answer(storage, place.ordinal)?;
    let (Some(run), Some(attempt), Some(answer)) = (record::find(storage)?, attempt, answer) else {
        return Ok(None);
    };
    if delivery.state != DeliveryState::Pending {
        return Ok(None);
    }
    if delivery.tries > delivery.tries_before && now_ms > delivery.since_ms + CALLBACK_GIVE_UP_MS {
        // The object slept over the rest of the day, or died over its tries.
        let reason = delivery.last_error.take();
        let reason = reason.unwrap_or_else(|| "no try came to an end".to_owned());
        give_up(storage, &mut delivery, place, reason, now_ms)?;
        DELIVERIES.put(storage, &place.to_string(), &delivery)?;
        return Ok(None);
    }
    delivery.tries += 1;
    DELIVERIES.put(storage, &place.to_string(), &delivery)?;
    timers::set(storage, Timer::Deliver(place), now_ms + 2 * CALLBACK_TIMEOUT_MS)?;
    let body = match &delivery.notice {
        Some(_) => String::new(),
        None => callback_of(&run.name.run, &attempt, answer).to_string(),
    };
    Ok(Some(Parcel {
        place,
        tries: delivery.tries,
        id: delivery.id,
        url: delivery.url,
        orchestrator: run.name.orchestrator,
        body,
        notice: delivery.notice,
        traceparent: attempt.traceparent,
    }))
}

/// The message `callback`.
fn callback_of(run: &str, attempt: &Attempt, answer: StoredAnswer) -> Value {
    json!({
        "type": format!("step.{}", answer.ending()),
        "timestamp": rfc3339_ms(attempt.ended_at_ms.unwrap_or_default()),
        "data": {
            "run": run,
            "step": attempt.step,
            "attempt": attempt.attempt,
            "idempotency_key": attempt.idempotency_key,
            "agent": attempt.agent,
            "answer": super::status::Shown::from(answer),
        },
    })
}

/// Takes down how a try ended.
///
/// # Errors
/// When the storage fails.
pub fn sent<S: Storage>(storage: &S, parcel: &Parcel, sent: Sent, moment: Moment<'_>) -> Result<(), S::Error> {
    let place = parcel.place;
    let id = place.to_string();
    let Some(mut delivery) = DELIVERIES.get(storage, &id)? else {
        return Ok(());
    };
    // A try whose end was given up, or a run that was forgotten and came back: another story.
    if delivery.id != parcel.id || delivery.tries != parcel.tries || delivery.state != DeliveryState::Pending {
        return Ok(());
    }
    match sent {
        Sent::Delivered => {
            delivery.state = DeliveryState::Delivered;
            if let Some(notice) = &mut delivery.notice {
                // Nobody sends it again, and a run may have thousands.
                notice.text.clear();
            }
            delivery.last_error = None;
            timers::clear(storage, Timer::Deliver(place))?;
            told(storage, &delivery, place, moment.now_ms)?;
        }
        Sent::Refused(reason) => give_up(storage, &mut delivery, place, reason, moment.now_ms)?,
        Sent::Failed { reason, retry_after_ms } => {
            let asked_ms = retry_after_ms.unwrap_or(0).min(CALLBACK_BACKOFF_MAX_MS);
            let wait_ms = backoff_ms(
                CALLBACK_BACKOFF_MS,
                CALLBACK_BACKOFF_MAX_MS,
                delivery.tries - delivery.tries_before,
                moment.random,
            );
            let next_at_ms = moment.now_ms + wait_ms.max(asked_ms);
            if next_at_ms > delivery.since_ms + CALLBACK_GIVE_UP_MS {
                give_up(storage, &mut delivery, place, reason, moment.now_ms)?;
            } else {
                delivery.last_error = Some(shortened(&reason));
                timers::set(storage, Timer::Deliver(place), next_at_ms)?;
            }
        }
    }
    DELIVERIES.put(storage, &id, &delivery)
}

fn give_up<S: Storage>(
    storage: &S,
    delivery: &mut Delivery,
    place: Place,
    reason: String,
    now_ms: u64,
) -> Result<(), S::Error> {
    delivery.state = DeliveryState::Dead;
    delivery.dead_at_ms = Some(now_ms);
    delivery.last_error = Some(shortened(&reason));
    told(storage, delivery, place, now_ms)?;
    timers::clear(storage, Timer::Deliver(place))?;
    timers::set(storage, Timer::Report(place), now_ms)
}

/// The end of a callback is an event; that of a notice is not, for it is no part of the caller's trace.
fn told<S: Storage>(storage: &S, delivery: &Delivery, place: Place, now_ms: u64) -> Result<(), S::Error> {
    match place.rule {
        Some(_) => Ok(()),
        None => telling::callback_ended(storage, &delivery.end(place.ordinal), now_ms),
    }
}

/// An account of a failure, as much of it as is kept.
pub(crate) fn shortened(reason: &str) -> String {
    reason.chars().take(ERROR_MAX_CHARS).collect()
}

impl StoredAnswer {
    /// How the step ended, in one word. A stored problem, such as a passed deadline, is a failure.
    #[must_use]
    pub fn ending(&self) -> String {
        #[derive(Deserialize)]
        struct Status {
            status: String,
        }
        // A problem's status is a number: it does not read as this.
        let status: Option<Status> = serde_json::from_str(&self.body).ok();
        status.map_or_else(|| "failed".to_owned(), |status| status.status)
    }
}

#[cfg(test)]
mod tests;
