//! Batches, from messages to what is left of them; `world.rs` has many of them, with everything that may go wrong.

mod world;

use super::shipment::{HISTORY_MAX_EVENTS, REQUESTS_MAX, SHIP_MAX_MS};
use super::*;
use crate::run::outbox::{
    BATCH_MAX_SPANS, EXPORT_BACKOFF_MAX_MS, EXPORT_BACKOFF_MS, EXPORT_GIVE_UP_MS, EXPORT_RETRY_AFTER_MAX_MS, HISTORY,
    Health, LOGS, METRICS, ORCHESTRATOR, RECEIVER,
};
use crate::run::outbox_report::{Lag, REPORTED_AT_ONCE};
use crate::telemetry::event::Event;
use crate::telemetry::otlp::Verdict;
use crate::telemetry::span::tests::ended;

const NOW_MS: u64 = 1_000_000;

fn event(id: &str, run: &str, orchestrator: &str) -> Event {
    Event {
        id: id.to_owned(),
        at_ms: NOW_MS,
        run: run.to_owned(),
        orchestrator: orchestrator.to_owned(),
        ..ended()
    }
}

fn entry(event: Event) -> Entry {
    Entry { event, dropped: 0 }
}

/// A message of these events, for these destinations.
fn message(to: &[&str], events: impl IntoIterator<Item = Event>) -> Message {
    Message {
        to: to.iter().map(|name| (*name).to_owned()).collect(),
        entries: events.into_iter().map(entry).collect(),
        failures: 0,
        last_error: None,
    }
}

/// So many events of one run, for the receiver.
fn events(count: usize) -> Message {
    let events = (0..count).map(|number| event(&format!("e{number:03}"), "r", "acme"));
    message(&[RECEIVER], events)
}

fn everything(_: &str) -> Vec<Destination> {
    let destination = |name| Destination { name, timeout_ms: 1 };
    [HISTORY, RECEIVER, METRICS, LOGS, ORCHESTRATOR]
        .map(destination)
        .to_vec()
}

fn shipped<'m>(messages: &'m [Message], standings: &Standings) -> Vec<Shipment<'m>> {
    shipments(messages, everything, standings, NOW_MS)
}

/// The one shipment of these messages.
fn only<'m>(messages: &'m [Message], standings: &Standings) -> Shipment<'m> {
    let mut shipments = shipped(messages, standings);
    assert_eq!(shipments.len(), 1, "{shipments:?}");
    shipments.remove(0)
}

fn ids(entries: &[&Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.event.id.clone()).collect()
}

fn delivered() -> Verdict {
    Verdict::Delivered { rejected: None }
}

fn retry(retry_after_ms: Option<u64>) -> Verdict {
    Verdict::Retry {
        reason: "status 503".into(),
        retry_after_ms,
    }
}

fn paused() -> Verdict {
    Verdict::Paused {
        reason: "status 401".into(),
    }
}

fn refused(divisible: bool) -> Verdict {
    Verdict::Refused {
        reason: "status 400".into(),
        divisible,
    }
}

/// Sends the shipment of these messages, whose requests end by `answer`, and settles it.
fn settled<'m>(
    messages: &'m [Message],
    standings: &mut Standings,
    answer: impl Fn(&[&Entry]) -> Verdict,
) -> Settled<'m> {
    let mut shipments = shipped(messages, standings);
    for shipment in &mut shipments {
        while let Some(entries) = shipment.next(NOW_MS) {
            let verdict = answer(entries);
            shipment.told(&verdict, 0);
        }
    }
    settle(shipments, standings, NOW_MS)
}

fn lags(settled: &Settled<'_>) -> Vec<Lag> {
    settled.report(NOW_MS).map(|report| report.lags).unwrap_or_default()
}

#[test]
fn events_of_many_runs_are_one_request_for_each_place() {
    let all = [HISTORY, RECEIVER, ORCHESTRATOR];
    let messages = [
        message(&all, [event("a", "r1", "acme"), event("b", "r1", "acme")]),
        message(&all, [event("c", "r2", "acme")]),
        message(&all, [event("d", "r1", "other")]),
    ];
    let found: Vec<_> = shipped(&messages, &Standings::default())
        .iter()
        .map(|shipment| {
            let place = shipment.place();
            let entries = ids(shipment.next(NOW_MS).expect("something to send")).concat();
            (place.destination.clone(), place.orchestrator().to_owned(), entries)
        })
        .collect();
    let expected = [
        (HISTORY, "", "abcd"),
        (ORCHESTRATOR, "acme", "abc"),
        (ORCHESTRATOR, "other", "d"),
        (RECEIVER, "", "abcd"),
    ];
    let expected =
        expected.map(|(place, orchestrator, ids)| (place.to_owned(), orchestrator.to_owned(), ids.to_owned()));
    assert_eq!(found, expected);
}

#[test]
fn what_is_delivered_twice_is_sent_once_and_what_is_not_configured_is_not_waited_for() {
    let messages = [
        message(&[RECEIVER, "unknown"], [event("a", "r", "acme")]),
        message(&[RECEIVER], [event("a", "r", "acme")]),
    ];
    let shipment = only(&messages, &Standings::default());
    assert_eq!(ids(shipment.next(NOW_MS).expect("something to send")), ["a"]);
}

#[test]
fn a_request_has_so_many_items_at_most_and_the_history_so_many_events() {
    let check = |to: &str, count: usize, expected: &[usize]| {
        let messages = [Message {
            to: vec![to.to_owned()],
            ..events(count)
        }];
        let mut shipment = only(&messages, &Standings::default());
        let mut found = Vec::new();
        while let Some(entries) = shipment.next(NOW_MS) {
            found.push(entries.len());
            shipment.told(&delivered(), 0);
        }
        assert_eq!(found, expected, "{to}");
    };
    check(RECEIVER, BATCH_MAX_SPANS, &[BATCH_MAX_SPANS]);
    check(RECEIVER, BATCH_MAX_SPANS + 1, &[BATCH_MAX_SPANS, 1]);
    check(METRICS, BATCH_MAX_SPANS + 1, &[BATCH_MAX_SPANS, 1]);
    check(LOGS, BATCH_MAX_SPANS + 1, &[BATCH_MAX_SPANS, 1]);
    check(HISTORY, HISTORY_MAX_EVENTS, &[HISTORY_MAX_EVENTS]);
    check(HISTORY, HISTORY_MAX_EVENTS + 1, &[HISTORY_MAX_EVENTS, 1]);
}

#[test]
fn what_a_place_does_not_take_goes_back_for_it_alone() {
    let messages = [message(&[HISTORY, RECEIVER], [event("a", "r", "acme")])];
    let mut standings = Standings::default();
    let mut shipments = shipped(&messages, &standings);
    shipments[0].told(&delivered(), 0);
    shipments[1].told(&retry(None), 0);
    let settled = settle(shipments, &mut standings, NOW_MS);
    assert_eq!(settled.again.len(), 1);
    let back = settled.again[0].message();
    assert_eq!(
        (back.to.as_slice(), back.failures),
        ([RECEIVER.to_owned()].as_slice(), 1)
    );
    assert_eq!(back.last_error.as_deref(), Some("status 503"));
    assert_eq!(back.entries, messages[0].entries);
    let lag = &lags(&settled)[0];
    assert_eq!(
        (lag.health, lag.waiting, lag.oldest_at_ms),
        (Health::Failing, 1, NOW_MS)
    );
    assert_eq!((lag.destination.as_str(), lag.run.as_str()), (RECEIVER, ""));
}

#[test]
fn waits_grow_with_each_failure_and_a_receiver_may_ask_for_more_up_to_a_bound() {
    let check = |failures: u32, asked_ms: Option<u64>, expected_ms: u64| {
        let messages = [Message { failures, ..events(1) }];
        let settled = settled(&messages, &mut Standings::default(), |_| retry(asked_ms));
        let wait_s = u64::from(settled.again[0].wait_s());
        assert_eq!(wait_s, expected_ms.div_ceil(1_000), "{failures} {asked_ms:?}");
        assert_eq!(settled.again[0].message().failures, failures + 1);
    };
    check(0, None, EXPORT_BACKOFF_MS / 2);
    check(3, None, 4 * EXPORT_BACKOFF_MS);
    check(30, None, EXPORT_BACKOFF_MAX_MS / 2);
    check(0, Some(7_000), 7_000);
    check(0, Some(EXPORT_RETRY_AFTER_MAX_MS + 1), EXPORT_RETRY_AFTER_MAX_MS);
}

#[test]
fn nobodys_events_are_sent_to_a_place_before_its_wait_is_over() {
    let mut standings = Standings::default();
    let first = [events(1)];
    drop(settled(&first, &mut standings, |_| retry(Some(7_000))));
    let others = [message(&[RECEIVER, HISTORY], [event("other", "r2", "acme")])];
    let settled = settled(&others, &mut standings, |_| delivered());
    assert_eq!(settled.again.len(), 1, "the history is not held up");
    let back = settled.again[0].message();
    assert_eq!(
        (back.to.as_slice(), back.failures),
        ([RECEIVER.to_owned()].as_slice(), 1)
    );
    assert_eq!(settled.again[0].wait_s(), 7);
    assert_eq!(settled.report(NOW_MS), None, "what nobody tried tells nothing new");
    // When it is over, they are sent, and the operator's list is told.
    let mut shipments = shipments(&others, everything, &standings, NOW_MS + 7_000);
    for shipment in &mut shipments {
        assert!(shipment.next(NOW_MS + 7_000).is_some());
        shipment.told(&delivered(), 0);
    }
    let settled = settle(shipments, &mut standings, NOW_MS + 7_000);
    assert!(settled.again.is_empty());
    assert_eq!(lags(&settled)[0].health, Health::Passing);
}

#[test]
fn that_a_place_takes_events_again_is_told_until_the_list_has_it() {
    let mut standings = Standings::default();
    let failing = [events(1)];
    drop(settled(&failing, &mut standings, |_| retry(None)));
    let place = Place {
        destination: RECEIVER.into(),
        orchestrator: None,
    };
    standings.failed(&place, Health::Failing, 1, NOW_MS);
    let next = [events(1)];
    assert_eq!(
        lags(&settled(&next, &mut standings, |_| delivered()))[0].health,
        Health::Passing
    );
    assert_eq!(
        lags(&settled(&next, &mut standings, |_| delivered()))[0].health,
        Health::Passing
    );
    standings.listed();
    assert!(lags(&settled(&next, &mut standings, |_| delivered())).is_empty());
    // An isolate that knows nothing learns it from the message; and who refuses answers.
    let returned = [Message {
        failures: 1,
        ..events(1)
    }];
    for answer in [delivered(), refused(false)] {
        let told = lags(&settled(&returned, &mut Standings::default(), |_| answer.clone()));
        assert_eq!(told[0].health, Health::Passing);
    }
}

#[test]
fn a_place_that_does_not_know_us_is_paused_and_told_once() {
    let mut standings = Standings::default();
    let messages = [events(2)];
    let first = settled(&messages, &mut standings, |_| paused());
    assert!(first.alarms[0].contains("credentials"), "{:?}", first.alarms);
    assert_eq!(lags(&first)[0].health, Health::Paused);
    assert_eq!(u64::from(first.again[0].wait_s()) * 1_000, EXPORT_BACKOFF_MAX_MS);
    let mut shipments = shipments(&messages, everything, &standings, NOW_MS + EXPORT_BACKOFF_MAX_MS);
    shipments[0].told(&paused(), 0);
    let second = settle(shipments, &mut standings, NOW_MS + EXPORT_BACKOFF_MAX_MS);
    assert!(second.alarms.is_empty(), "{:?}", second.alarms);
}

#[test]
fn that_the_history_does_not_answer_is_told_by_an_alarm_and_not_by_its_own_lists() {
    let mut standings = Standings::default();
    let messages = [message(&[HISTORY], [event("a", "r", "acme")])];
    let settled = settled(&messages, &mut standings, |_| retry(None));
    assert_eq!(settled.alarms, ["history: it does not take executions: status 503"]);
    assert_eq!(settled.report(NOW_MS), None);
    assert_eq!(settled.again.len(), 1);
}

#[test]
fn a_poison_batch_is_split_and_only_its_culprit_is_given_up() {
    let messages = [events(60), message(&[RECEIVER], [event("poison", "r2", "acme")])];
    let mut shipment = only(&messages, &Standings::default());
    let mut arrived = 0;
    while let Some(entries) = shipment.next(NOW_MS) {
        let is_poisoned = ids(entries).contains(&"poison".to_owned());
        arrived += if is_poisoned { 0 } else { entries.len() };
        shipment.told(&if is_poisoned { refused(true) } else { delivered() }, 0);
    }
    assert!(shipment.requests() < 16, "{} requests", shipment.requests());
    let settled = settle(vec![shipment], &mut Standings::default(), NOW_MS);
    assert_eq!((arrived, settled.again.len()), (60, 0));
    let report = settled.report(NOW_MS).expect("a report");
    assert_eq!(report.dead.len(), 1);
    assert_eq!(
        (report.dead[0].letter.as_str(), report.dead[0].reason.as_str()),
        ("poison.otlp", "status 400")
    );
    assert_eq!(settled.alarms, ["otlp: 1 events were given up: status 400"]);
}

#[test]
fn what_no_part_of_would_be_taken_is_given_up_as_a_whole() {
    let messages = [events(3)];
    let settled = settled(&messages, &mut Standings::default(), |_| refused(false));
    assert_eq!(settled.report(NOW_MS).expect("a report").dead.len(), 3);
    assert!(settled.again.is_empty());
}

#[test]
fn so_many_requests_are_made_and_the_rest_goes_back_at_once() {
    let messages = [events(40)];
    let mut shipment = only(&messages, &Standings::default());
    while shipment.next(NOW_MS).is_some() {
        shipment.told(&refused(true), 0);
    }
    assert_eq!(shipment.requests(), REQUESTS_MAX);
    let settled = settle(vec![shipment], &mut Standings::default(), NOW_MS);
    let dead = settled.report(NOW_MS).expect("a report").dead.len();
    assert!(dead > 0, "each time some are done with");
    assert_eq!(dead + settled.again[0].len(), 40);
    assert_eq!((settled.again[0].wait_s(), settled.again[0].message().failures), (0, 0));
}

#[test]
fn after_so_long_nobody_waits_for_a_shipment() {
    let messages = [events(1)];
    let shipment = only(&messages, &Standings::default());
    assert!(shipment.next(NOW_MS + SHIP_MAX_MS - 1).is_some());
    assert!(shipment.next(NOW_MS + SHIP_MAX_MS).is_none());
    let settled = settle(vec![shipment], &mut Standings::default(), NOW_MS + SHIP_MAX_MS);
    assert_eq!(settled.again[0].len(), 1);
}

#[test]
fn what_does_not_arrive_for_a_day_is_given_up_to_the_operator_and_by_the_history_lost() {
    let now_ms = 2 * EXPORT_GIVE_UP_MS;
    let of_age = |id: &str, age_ms| Event {
        at_ms: now_ms - age_ms,
        ..event(id, "r", "acme")
    };
    let events = [of_age("old", EXPORT_GIVE_UP_MS + 1), of_age("young", EXPORT_GIVE_UP_MS)];
    let messages = [Message {
        last_error: Some("status 503".into()),
        ..message(&[RECEIVER, HISTORY], events)
    }];
    let mut standings = Standings::default();
    let mut shipments = shipments(&messages, everything, &standings, now_ms);
    for shipment in &mut shipments {
        assert_eq!(ids(shipment.next(now_ms).expect("the young one")), ["young"]);
        shipment.told(&delivered(), 0);
    }
    let settled = settle(shipments, &mut standings, now_ms);
    let report = settled.report(now_ms).expect("a report");
    assert_eq!(report.dead.len(), 1);
    assert_eq!(
        (report.dead[0].letter.as_str(), report.dead[0].reason.as_str()),
        ("old.otlp", "status 503")
    );
    assert_eq!(
        settled.alarms,
        [
            "history: 1 events are lost after a day: status 503",
            "otlp: 1 events were given up after a day: status 503"
        ]
    );
}

#[test]
fn what_the_operators_list_does_not_take_goes_back() {
    let messages = [events(2)];
    let mut settled = settled(&messages, &mut Standings::default(), |_| refused(false));
    settled.keep_unlisted();
    assert_eq!(settled.again.len(), 1);
    assert_eq!(settled.again[0].message().entries, messages[0].entries);
    assert_eq!(settled.report(NOW_MS), None);
}

#[test]
fn the_operators_list_is_told_so_much_at_once_and_the_rest_comes_again() {
    for (count, back) in [(REPORTED_AT_ONCE, 0), (REPORTED_AT_ONCE + 1, 1)] {
        let messages = [events(count)];
        let settled = settled(&messages, &mut Standings::default(), |_| refused(false));
        assert_eq!(settled.report(NOW_MS).expect("a report").dead.len(), REPORTED_AT_ONCE);
        assert_eq!(settled.again.iter().map(Again::len).sum::<usize>(), back);
    }
}

#[test]
fn messages_of_which_something_did_not_get_back_are_delivered_again() {
    let messages = [
        message(&[RECEIVER], [event("a", "r1", "acme")]),
        message(&[HISTORY], [event("b", "r2", "acme")]),
    ];
    let settled = settled(&messages, &mut Standings::default(), |entries| {
        match ids(entries)[0].as_str() {
            "a" => retry(None),
            _ => delivered(),
        }
    });
    assert_eq!(unsettled(&messages, &[]), [false, false]);
    assert_eq!(unsettled(&messages, &[&settled.again[0]]), [true, false]);
}

#[test]
fn what_was_not_taken_is_told_and_never_sent_again() {
    for (destination, expected) in [
        (RECEIVER, "otlp: 1 spans were not taken, and are lost: too old"),
        (
            METRICS,
            "otlp-metrics: 1 data points were not taken, and are lost: too old",
        ),
        (LOGS, "otlp-logs: 1 log records were not taken, and are lost: too old"),
    ] {
        let messages = [Message {
            to: vec![destination.to_owned()],
            ..events(2)
        }];
        let verdict = Verdict::Delivered {
            rejected: Some((1, "too old".into())),
        };
        let settled = settled(&messages, &mut Standings::default(), |_| verdict.clone());
        assert_eq!(settled.alarms, [expected]);
        assert!(settled.again.is_empty());
    }
}

#[test]
fn losses_are_counted_once_for_each_run() {
    let of = |run: &str, dropped| Entry {
        event: event("e", run, "acme"),
        dropped,
    };
    let entries = [of("r1", 2), of("r1", 3), of("r2", 4), of("r3", 0)];
    assert_eq!(dropped(&entries.each_ref()), 7);
}
