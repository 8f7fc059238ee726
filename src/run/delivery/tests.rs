//! Deliveries: tried, given up, sent again.

use super::letters::REPORT_AGAIN_MS;
use super::*;
use crate::run::testing::{Bench, URL, background, calling_back, commit_of};

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
    timers::at_ms(&bench.storage, Timer::Deliver(Place::callback(1)))
        .unwrap()
        .expect("a timer")
        - bench.now_ms
}

fn letter(bench: &Bench) -> DeadLetter {
    use crate::run::work::Work;
    match bench.work() {
        Some(Work::Report(_, letter)) => *letter,
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
        bench.transact(|storage| reported(storage, Place::callback(1), &letter).unwrap());
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

#[test]
fn what_a_channel_was_told_is_not_kept() {
    for (how, kept) in [
        (Sent::Delivered, ""),
        (failed(None), "s3cret"),
        (Sent::Refused("410".into()), "s3cret"),
    ] {
        let bench = Bench::default();
        bench.ask("c", background("k", 1));
        bench.commit(&bench.execution(), "one", false);
        let place = Place::notice(1, 0);
        let notice = |id: String| Notice {
            id,
            channel: "ops".into(),
            kind: "notification".into(),
            at_ms: bench.now_ms,
            title: "triage: critical".into(),
            text: "s3cret".into(),
            data: serde_json::Map::new(),
        };
        bench.transact(|storage| create_notice(storage, place, notice, bench.now_ms).unwrap());
        take_down(&bench, &bench.parcel(), how.clone());
        let delivery = DELIVERIES.get(&bench.storage, &place.to_string()).unwrap();
        let notice = delivery.and_then(|delivery| delivery.notice).expect("a notice");
        assert_eq!(
            (notice.channel.as_str(), notice.text.as_str()),
            ("ops", kept),
            "{how:?}"
        );
    }
}
