//! Callbacks: how the end of an attempt is told to whoever asked for it. At least once, for a day, and then to the operator.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::attempt::{self, StoredAnswer};
use super::question::{Moment, Question};
use super::record;
use super::storage::{Storage, Table};
use super::telling::{self, CallbackEnd};
use super::timers::{self, Timer};
use crate::backoff::backoff_ms;
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
/// How long until a report to the operator that failed is tried again, in milliseconds.
const REPORT_AGAIN_MS: u64 = 60_000;
/// The longest account of a failure that is kept, in characters.
const ERROR_MAX_CHARS: usize = 200;

const DELIVERIES: Table<Delivery> = Table::new("delivery/");

/// A callback on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delivery {
    id: String,
    url: String,
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

/// A callback to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// The attempt's place in its run.
    pub ordinal: u32,
    /// Which try this is, from 1.
    pub tries: u32,
    /// Its `webhook-id`: the same for every try.
    pub id: String,
    /// Where it goes.
    pub url: String,
    /// Whose run it is: the keys that sign it are that orchestrator's.
    pub orchestrator: String,
    /// The body: the same for every try.
    pub body: String,
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

/// A callback that was given up, for the operator.
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
    /// Where it was to go.
    pub url: String,
    /// How often it was tried.
    pub tries: u32,
    /// Why the last try failed.
    pub last_error: String,
    /// When it was given up, in Unix milliseconds.
    pub dead_at_ms: u64,
}

/// Makes the callback of an attempt that has just ended.
pub(super) fn create<S: Storage>(storage: &S, ordinal: u32, url: &str, now_ms: u64) -> Result<(), S::Error> {
    let run = record::find(storage)?;
    let name = run.map(|run| run.name.object()).unwrap_or_default();
    // The time makes it another one when a run of the same id was forgotten before.
    let digest = hex_digest(format!("{name}\n{ordinal}\n{now_ms}").as_bytes());
    let delivery = Delivery {
        id: format!("msg_{}", &digest[..32]),
        url: url.to_owned(),
        state: DeliveryState::Pending,
        tries: 0,
        tries_before: 0,
        since_ms: now_ms,
        dead_at_ms: None,
        last_error: None,
    };
    DELIVERIES.put(storage, &attempt::id(ordinal), &delivery)?;
    timers::set(storage, Timer::Deliver(ordinal), now_ms)
}

pub(super) fn status<S: Storage>(storage: &S, ordinal: u32) -> Result<Option<DeliveryStatus>, S::Error> {
    let delivery = DELIVERIES.get(storage, &attempt::id(ordinal))?;
    Ok(delivery.map(|delivery| DeliveryStatus {
        id: delivery.id,
        status: delivery.state,
        tries: delivery.tries,
        last_error: delivery.last_error,
    }))
}

/// Whether a callback is still on its way, to its receiver or to the operator.
pub(super) fn any_pending<S: Storage>(storage: &S) -> Result<bool, S::Error> {
    for (id, delivery) in DELIVERIES.list(storage, "", usize::MAX)? {
        let unreported = match id.parse() {
            Ok(ordinal) => timers::is_set(storage, Timer::Report(ordinal))?,
            Err(_) => false,
        };
        if delivery.state == DeliveryState::Pending || unreported {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes the next try of a callback that is due. Should whoever makes it die, it is due again after a while.
pub(super) fn begin<S: Storage>(storage: &S, ordinal: u32, now_ms: u64) -> Result<Option<Parcel>, S::Error> {
    let Some(mut delivery) = DELIVERIES.get(storage, &attempt::id(ordinal))? else {
        return Ok(None);
    };
    let (attempt, answer) = (attempt::get(storage, ordinal)?, attempt::answer(storage, ordinal)?);
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
        give_up(storage, &mut delivery, ordinal, reason, now_ms)?;
        DELIVERIES.put(storage, &attempt::id(ordinal), &delivery)?;
        return Ok(None);
    }
    delivery.tries += 1;
    DELIVERIES.put(storage, &attempt::id(ordinal), &delivery)?;
    timers::set(storage, Timer::Deliver(ordinal), now_ms + 2 * CALLBACK_TIMEOUT_MS)?;
    let body = json!({
        "type": format!("step.{}", answer.ending()),
        "timestamp": rfc3339_ms(attempt.ended_at_ms.unwrap_or_default()),
        "data": {
            "run": run.name.run,
            "step": attempt.step,
            "attempt": attempt.attempt,
            "idempotency_key": attempt.idempotency_key,
            "agent": attempt.agent,
            "answer": super::status::Shown::from(answer),
        },
    });
    Ok(Some(Parcel {
        ordinal,
        tries: delivery.tries,
        id: delivery.id,
        url: delivery.url,
        orchestrator: run.name.orchestrator,
        body: body.to_string(),
        traceparent: attempt.traceparent,
    }))
}

/// Takes down how a try ended.
///
/// # Errors
/// When the storage fails.
pub fn sent<S: Storage>(storage: &S, parcel: &Parcel, sent: Sent, moment: Moment<'_>) -> Result<(), S::Error> {
    let id = attempt::id(parcel.ordinal);
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
            delivery.last_error = None;
            timers::clear(storage, Timer::Deliver(parcel.ordinal))?;
            telling::callback_ended(storage, &delivery.end(parcel.ordinal), moment.now_ms)?;
        }
        Sent::Refused(reason) => give_up(storage, &mut delivery, parcel.ordinal, reason, moment.now_ms)?,
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
                give_up(storage, &mut delivery, parcel.ordinal, reason, moment.now_ms)?;
            } else {
                delivery.last_error = Some(shortened(&reason));
                timers::set(storage, Timer::Deliver(parcel.ordinal), next_at_ms)?;
            }
        }
    }
    DELIVERIES.put(storage, &id, &delivery)
}

fn give_up<S: Storage>(
    storage: &S,
    delivery: &mut Delivery,
    ordinal: u32,
    reason: String,
    now_ms: u64,
) -> Result<(), S::Error> {
    delivery.state = DeliveryState::Dead;
    delivery.dead_at_ms = Some(now_ms);
    delivery.last_error = Some(shortened(&reason));
    telling::callback_ended(storage, &delivery.end(ordinal), now_ms)?;
    timers::clear(storage, Timer::Deliver(ordinal))?;
    timers::set(storage, Timer::Report(ordinal), now_ms)
}

/// An account of a failure, as much of it as is kept.
pub(super) fn shortened(reason: &str) -> String {
    reason.chars().take(ERROR_MAX_CHARS).collect()
}

/// Takes a dead letter that is to be reported. Until [`reported`] says that it was, it is due again and again.
pub(super) fn report<S: Storage>(storage: &S, ordinal: u32, now_ms: u64) -> Result<Option<DeadLetter>, S::Error> {
    let delivery = DELIVERIES.get(storage, &attempt::id(ordinal))?;
    let (Some(delivery), Some(attempt), Some(run)) =
        (delivery, attempt::get(storage, ordinal)?, record::find(storage)?)
    else {
        return Ok(None);
    };
    let Some(dead_at_ms) = delivery.dead_at_ms.filter(|_| delivery.state == DeliveryState::Dead) else {
        return Ok(None);
    };
    timers::set(storage, Timer::Report(ordinal), now_ms + REPORT_AGAIN_MS)?;
    Ok(Some(DeadLetter {
        delivery: delivery.id,
        orchestrator: run.name.orchestrator,
        run: run.name.run,
        step: attempt.step,
        url: delivery.url,
        tries: delivery.tries,
        last_error: delivery.last_error.unwrap_or_default(),
        dead_at_ms,
    }))
}

/// The operator's list has the dead letter.
///
/// # Errors
/// When the storage fails.
pub fn reported<S: Storage>(storage: &S, ordinal: u32, letter: &DeadLetter) -> Result<(), S::Error> {
    let delivery = DELIVERIES.get(storage, &attempt::id(ordinal))?;
    // One that was sent again meanwhile, and died again, is not on the list yet as it is now.
    let same = delivery.is_some_and(|delivery| {
        delivery.state == DeliveryState::Dead && delivery.id == letter.delivery && delivery.tries == letter.tries
    });
    if same {
        timers::clear(storage, Timer::Report(ordinal))?;
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
        let Ok(ordinal) = id.parse() else { return Ok(None) };
        if delivery.state == DeliveryState::Dead {
            delivery.state = DeliveryState::Pending;
            delivery.since_ms = moment.now_ms;
            delivery.tries_before = delivery.tries;
            delivery.dead_at_ms = None;
            DELIVERIES.put(storage, &id, &delivery)?;
            timers::clear(storage, Timer::Report(ordinal))?;
            timers::set(storage, Timer::Deliver(ordinal), moment.now_ms)?;
        }
        status(storage, ordinal)
    }
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
mod tests {
    use super::super::testing::{Bench, URL, background, calling_back, commit_of};
    use super::*;

    /// A run whose only step has ended.
    fn ended() -> Bench {
        let bench = Bench {
            now_ms: 1_000,
            ..Bench::default()
        };
        bench.ask("c", calling_back(background("k", 1)));
        let commit = commit_of(&bench.execution(), "one", false);
        bench.ask("instance", commit.clone());
        bench.ask("instance", commit);
        bench
    }

    fn take_down(bench: &Bench, parcel: &Parcel, how: Sent) {
        bench.transact(|storage| sent(storage, parcel, how, bench.moment("instance")).unwrap());
    }

    fn failed(retry_after_ms: Option<u64>) -> Sent {
        Sent::Failed {
            reason: "503".into(),
            retry_after_ms,
        }
    }

    fn callback(bench: &Bench) -> DeliveryStatus {
        bench.status("s").callback.expect("a callback")
    }

    /// When the callback is sent next, counted from now.
    fn next_in_ms(bench: &Bench) -> u64 {
        timers::at_ms(&bench.storage, Timer::Deliver(1))
            .unwrap()
            .expect("a timer")
            - bench.now_ms
    }

    fn letter(bench: &Bench) -> DeadLetter {
        use super::super::work::Work;
        match bench.work() {
            Some(Work::Report(1, letter)) => *letter,
            other => panic!("no report is due, but {other:?}"),
        }
    }

    #[test]
    fn the_end_of_an_attempt_is_told_once() {
        let bench = ended();
        let parcel = bench.parcel();
        assert_eq!(
            (parcel.url.as_str(), parcel.orchestrator.as_str(), parcel.tries),
            (URL, "o", 1)
        );
        let body: serde_json::Value = serde_json::from_str(&parcel.body).unwrap();
        assert_eq!(body["type"], "step.completed");
        assert_eq!(body["timestamp"], "1970-01-01T00:00:01.000Z");
        assert_eq!(body["data"]["answer"]["body"]["output"], "one");
        take_down(&bench, &parcel, Sent::Delivered);
        take_down(&bench, &parcel, failed(None));
        let status = callback(&bench);
        assert_eq!(
            (status.status, status.tries, status.last_error),
            (DeliveryState::Delivered, 1, None)
        );
        assert_eq!(bench.work(), None);
    }

    #[test]
    fn a_failed_try_is_made_again_with_the_same_id_and_body_after_a_growing_wait() {
        let mut bench = ended();
        let first = bench.parcel();
        let mut wait_ms = CALLBACK_BACKOFF_MS;
        take_down(&bench, &first, failed(None));
        for tries in 2..=20 {
            assert_eq!(next_in_ms(&bench), wait_ms / 2);
            bench.now_ms += next_in_ms(&bench);
            let again = bench.parcel();
            assert_eq!(again, Parcel { tries, ..first.clone() });
            take_down(&bench, &again, failed(None));
            wait_ms = (2 * wait_ms).min(CALLBACK_BACKOFF_MAX_MS);
        }
        assert_eq!(next_in_ms(&bench), CALLBACK_BACKOFF_MAX_MS / 2);
        assert_eq!(callback(&bench).last_error.as_deref(), Some("503"));
    }

    #[test]
    fn a_receiver_may_ask_for_time_up_to_a_bound() {
        let mut bench = ended();
        for (asked_ms, wait_ms) in [(1, 500), (7_000, 7_000), (u64::MAX, CALLBACK_BACKOFF_MAX_MS)] {
            take_down(&bench, &bench.parcel(), failed(Some(asked_ms)));
            assert_eq!(next_in_ms(&bench), wait_ms);
            bench.now_ms += wait_ms;
        }
    }

    #[test]
    fn it_is_given_up_after_a_day_and_an_operator_gives_it_another() {
        let mut bench = ended();
        let first = bench.parcel();
        take_down(&bench, &first, failed(None));
        for _ in 0..2 {
            let since_ms = bench.now_ms;
            while callback(&bench).status == DeliveryState::Pending {
                bench.now_ms += next_in_ms(&bench);
                let parcel = bench.parcel();
                assert_eq!(parcel.id, first.id);
                take_down(&bench, &parcel, failed(None));
            }
            let passed_ms = bench.now_ms - since_ms;
            assert!(passed_ms > CALLBACK_GIVE_UP_MS - CALLBACK_BACKOFF_MAX_MS && passed_ms <= CALLBACK_GIVE_UP_MS);
            let letter = letter(&bench);
            assert_eq!((&letter.delivery, letter.last_error.as_str()), (&first.id, "503"));
            // Until the operator's list has it.
            bench.now_ms += REPORT_AGAIN_MS;
            assert_eq!(self::letter(&bench), letter);
            bench.transact(|storage| reported(storage, 1, &letter).unwrap());
            let delivery = first.id.clone();
            let status = bench.ask("operator", Resend { delivery }).expect("a delivery");
            assert_eq!(status.status, DeliveryState::Pending);
        }
        take_down(&bench, &bench.parcel(), Sent::Delivered);
        let delivery = first.id.clone();
        let status = bench.ask("operator", Resend { delivery }).expect("a delivery");
        assert_eq!(status.status, DeliveryState::Delivered);
        assert_eq!(bench.work(), None);
        let unknown = Resend {
            delivery: "msg_x".into(),
        };
        assert_eq!(bench.ask("operator", unknown), None);
    }

    #[test]
    fn a_receiver_that_refuses_is_not_asked_again() {
        let bench = ended();
        take_down(&bench, &bench.parcel(), Sent::Refused("410 ".repeat(100)));
        let status = callback(&bench);
        assert_eq!((status.status, status.tries), (DeliveryState::Dead, 1));
        assert_eq!(status.last_error.unwrap().chars().count(), ERROR_MAX_CHARS);
        assert_eq!(letter(&bench).dead_at_ms, bench.now_ms);
        // Sent again before it was reported: there is nothing to report any more.
        let delivery = status.id;
        bench.ask("operator", Resend { delivery });
        assert_eq!(bench.parcel().tries, 2);
    }

    #[test]
    fn a_try_that_nobody_ended_comes_back_and_its_late_end_does_not_count() {
        let mut bench = ended();
        let lost = bench.parcel();
        bench.now_ms += 2 * CALLBACK_TIMEOUT_MS - 1;
        assert_eq!(bench.work(), None);
        bench.now_ms += 1;
        assert_eq!(bench.parcel().tries, 2);
        take_down(&bench, &lost, Sent::Refused("late".into()));
        assert_eq!(callback(&bench).status, DeliveryState::Pending);
        assert_eq!(next_in_ms(&bench), 2 * CALLBACK_TIMEOUT_MS);
    }

    #[test]
    fn why_the_last_try_failed_is_not_forgotten_where_the_object_slept() {
        let mut bench = ended();
        take_down(&bench, &bench.parcel(), failed(None));
        bench.now_ms += CALLBACK_GIVE_UP_MS + 1;
        assert_eq!(letter(&bench).last_error, "503");
    }

    #[test]
    fn the_kind_of_an_end_is_read_from_the_answer() {
        let ending = |body: &str| {
            let (status, body) = (200, body.to_owned());
            StoredAnswer { status, body }.ending()
        };
        assert_eq!(ending(r#"{"status":"handed_off"}"#), "handed_off");
        assert_eq!(ending(r#"{"status":504}"#), "failed");
        assert_eq!(ending(""), "failed");
    }
}
