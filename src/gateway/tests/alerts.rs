//! Alerts: looked at, told to channels, and shown to operators.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::alert;
use crate::config::Orchestrator;
use crate::link::Standing;
use crate::run::delivery::Sent as Told;
use crate::telemetry::history::Ended;

const MINUTE_MS: u64 = 60_000;
/// A channel that hangs lets others have so many turns.
const HANGING_TURNS: usize = 1_000;

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.signer.set("operator");
    bench.team.gateway.channels.clear();
    bench.team.gateway.alerts = serde_json::from_value(json!({
        "errors": {
            "kind": "error_rate", "agent": "triage", "above": 0.5, "window_minutes": 15, "samples_min": 2,
            "repeat_after_minutes": 60, "channels": ["ops", "dev"],
        },
    }))
    .expect("alerts");
    bench
}

fn orchestrator(id: &str) -> Orchestrator {
    Orchestrator {
        telemetry_url: None,
        id: id.into(),
        url: format!("https://{id}.example"),
        callback_origins: Vec::new(),
        fallback_when_refused: false,
        max_concurrent_steps: None,
    }
}

fn look(bench: &Bench) {
    block_on(alert::look(&bench.team, &bench.config, &bench.platform));
}

/// The same where a channel takes its time.
fn look_patiently(bench: &Bench) {
    let mut context = Context::from_waker(Waker::noop());
    let mut looking = pin!(alert::look(&bench.team, &bench.config, &bench.platform));
    let is_over = (0..10 * HANGING_TURNS).any(|_| looking.as_mut().poll(&mut context).is_ready());
    assert!(is_over, "it never ends");
}

/// Lets so many minutes pass, in which so many of 10 executions failed.
fn pass(bench: &Bench, minutes: u64, wrong: u64) {
    bench
        .platform
        .now_ms
        .set(bench.platform.now_ms.get() + minutes * MINUTE_MS);
    bench.platform.watched.borrow_mut().ended = Ended {
        count: 10,
        wrong,
        ..Ended::default()
    };
}

/// What channels were told since this was asked last: the channel and the kind of each.
fn told(bench: &Bench) -> Vec<String> {
    let notified = std::mem::take(&mut bench.platform.watched.borrow_mut().notified);
    notified
        .iter()
        .map(|notice| format!("{} {}", notice.channel, notice.kind))
        .collect()
}

#[test]
fn an_alert_is_told_once_repeated_later_and_over_in_the_end() {
    let bench = bench();
    for (minutes, wrong, expected) in [
        (5, 5, vec![]),
        (5, 6, vec!["ops alert.firing", "dev alert.firing"]),
        (0, 6, vec![]),
        (5, 6, vec![]),
        (55, 6, vec!["ops alert.repeated", "dev alert.repeated"]),
        (5, 0, vec!["ops alert.resolved", "dev alert.resolved"]),
        (5, 0, vec![]),
    ] {
        pass(&bench, minutes, wrong);
        look(&bench);
        assert_eq!(told(&bench), expected, "{minutes} {wrong}");
    }
}

#[test]
fn a_notice_fits_its_schema_and_says_what_is_wrong() {
    let bench = bench();
    pass(&bench, 5, 9);
    look(&bench);
    let watched = bench.platform.watched.borrow();
    let notice = &watched.notified[0];
    assert_eq!(notice.title, format!("{}: errors is firing", bench.team.gateway.id));
    assert!(
        notice.text.starts_with(
            "9 of 10 executions failed or were lost in 15 minutes: 0.900, where 0.5 is the most. It began at 2027-"
        ),
        "{}",
        notice.text
    );
    assert_eq!(
        (&notice.data["value"], &notice.data["firing"], &notice.data["kind"]),
        (&json!(0.9), &json!(1), &json!("error_rate"))
    );
    assert_ne!(notice.id, watched.notified[1].id);
}

#[test]
fn a_channel_that_is_down_is_told_later_and_the_other_one_at_once() {
    let bench = bench();
    pass(&bench, 5, 9);
    let failed = Told::Failed {
        reason: "503".into(),
        retry_after_ms: None,
    };
    bench.platform.watched.borrow_mut().answers = vec![Told::Delivered, failed];
    look(&bench);
    let first = bench.platform.watched.borrow().notified[0].clone();
    assert_eq!(told(&bench), ["ops alert.firing", "dev alert.firing"]);
    let (_, alerts, _) = bench.call(&Call::new("GET", "/operator/alerts"));
    assert_eq!(
        (&alerts["alerts"][0]["waiting"], &alerts["alerts"][0]["last_error"]),
        (&json!(1), &json!("503"))
    );
    pass(&bench, 5, 9);
    look(&bench);
    assert_eq!(
        bench.platform.watched.borrow().notified[0],
        first,
        "the same notice, under its id"
    );
    assert_eq!(told(&bench), ["ops alert.firing"]);
}

#[test]
fn what_is_given_up_is_an_alarm() {
    let bench = bench();
    pass(&bench, 5, 9);
    bench.platform.watched.borrow_mut().answers = vec![Told::Refused("410".into())];
    look(&bench);
    assert_eq!(
        *bench.platform.alarms.borrow(),
        ["alert: errors: a notice for the channel `ops` was given up: 410"]
    );
}

#[test]
fn a_state_that_was_kept_all_the_same_is_told() {
    let bench = bench();
    pass(&bench, 5, 9);
    bench.platform.faults.borrow_mut().push(Fault::AfterDoing);
    look(&bench);
    let told_once = vec!["ops alert.firing".to_owned(), "dev alert.firing".to_owned()];
    assert_eq!((told(&bench), bench.platform.alarms.borrow().len()), (told_once, 1));
    pass(&bench, 5, 9);
    look(&bench);
    assert_eq!(told(&bench), Vec::<String>::new());
}

#[test]
fn what_cannot_be_kept_is_not_told() {
    let bench = bench();
    pass(&bench, 5, 9);
    bench.platform.faults.borrow_mut().push(Fault::BeforeDoing);
    look(&bench);
    assert_eq!(told(&bench), Vec::<String>::new());
}

#[test]
fn a_change_is_tried_so_often_where_others_are_faster() {
    for (contended, alarms) in [(alert::CHANGES_MAX - 1, 0), (alert::CHANGES_MAX, 1)] {
        let bench = bench();
        pass(&bench, 5, 9);
        bench.platform.watched.borrow_mut().contended = contended;
        look(&bench);
        assert_eq!(bench.platform.alarms.borrow().len(), alarms);
        assert_eq!(told(&bench).is_empty(), alarms == 1);
    }
}

#[test]
fn one_look_tells_for_so_long() {
    for (slowness_ms, at_first) in [(alert::TELL_FOR_MS - 1, 2), (alert::TELL_FOR_MS, 1)] {
        let mut bench = bench();
        let alert = bench.team.gateway.alerts.get_mut("errors").expect("the alert");
        alert.channels = vec!["ops".to_owned()];
        pass(&bench, 5, 9);
        // It is down while the alert begins, and up when it is over: then it has two notices to hear.
        let failed = Told::Failed {
            reason: "503".into(),
            retry_after_ms: None,
        };
        bench.platform.watched.borrow_mut().answers = vec![failed];
        look(&bench);
        assert_eq!(told(&bench).len(), 1);
        pass(&bench, 5, 0);
        bench.platform.slowness_ms.set(slowness_ms);
        look(&bench);
        assert_eq!(told(&bench).len(), at_first);
        bench.platform.slowness_ms.set(0);
        look(&bench);
        assert_eq!(told(&bench).len(), 2 - at_first);
    }
}

#[test]
fn a_channel_that_hangs_holds_up_no_other() {
    let bench = bench();
    pass(&bench, 5, 9);
    bench.platform.watched.borrow_mut().hanging = Some(("ops", HANGING_TURNS));
    look_patiently(&bench);
    assert_eq!(told(&bench), ["dev alert.firing", "ops alert.firing"]);
}

#[test]
fn what_is_under_way_is_told_to_its_end_though_another_one_cannot_be_kept() {
    let bench = bench();
    pass(&bench, 5, 9);
    bench.platform.watched.borrow_mut().hanging = Some(("ops", HANGING_TURNS));
    // The alert's state, what is taken, how the first one ended.
    bench
        .platform
        .faults
        .borrow_mut()
        .extend([Fault::BeforeDoing, Fault::None, Fault::None]);
    look_patiently(&bench);
    assert_eq!(told(&bench), ["dev alert.firing", "ops alert.firing"]);
    let (_, alerts, _) = bench.call(&Call::new("GET", "/operator/alerts"));
    assert_eq!(alerts["alerts"][0]["waiting"], 1, "nobody knows what became of one");
}

proptest! {
    #[test]
    fn of_looks_at_once_one_tells(turns in prop::collection::vec(0..3_usize, 0..200)) {
        let bench = bench();
        bench.platform.thinks.set(true);
        for (wrong, expected) in [
            (9, ["dev alert.firing", "ops alert.firing"]),
            (0, ["dev alert.resolved", "ops alert.resolved"]),
        ] {
            pass(&bench, 5, wrong);
            let look = || Box::pin(alert::look(&bench.team, &bench.config, &bench.platform));
            let mut looks = [Some(look()), Some(look()), Some(look())];
            let mut context = Context::from_waker(Waker::noop());
            // First as it comes, then each to its end.
            for turn in turns.iter().copied().chain((0..3).flat_map(|turn| std::iter::repeat_n(turn, 500))) {
                // Their clocks differ.
                bench.platform.now_ms.set(bench.platform.now_ms.get() + 1);
                if let Some(future) = &mut looks[turn]
                    && let Poll::Ready(()) = pin!(future).poll(&mut context)
                {
                    looks[turn] = None;
                }
            }
            prop_assert!(looks.iter().all(Option::is_none));
            let mut said = told(&bench);
            said.sort();
            prop_assert_eq!(said, expected);
        }
    }
}

#[test]
fn operators_see_how_alerts_stand() {
    let bench = bench();
    let (status, alerts, _) = bench.call(&Call::new("GET", "/operator/alerts"));
    let expected = json!({"alerts": [{
        "alert": "errors", "kind": "error_rate", "channels": ["ops", "dev"], "firings": 0, "waiting": 0, "lost": 0,
        "state": "well", "agent": "triage",
    }]});
    assert_eq!((status, alerts), (200, expected));
    pass(&bench, 5, 9);
    look(&bench);
    let (_, alerts, _) = bench.call(&Call::new("GET", "/operator/alerts"));
    let alert = &alerts["alerts"][0];
    assert_eq!(
        (&alert["state"], &alert["value"], &alert["firings"]),
        (&json!("firing"), &json!(0.9), &json!(1))
    );
    assert_eq!(alert["since_ms"], alert["told_at_ms"]);
    let schema = crate::wire::compiled("alerts").expect("the schema");
    assert_eq!(schema.get().expect("compiles").violations(&alerts, 9), []);
}

#[test]
fn a_channel_that_is_slow_holds_up_no_other_alert() {
    let mut bench = bench();
    let alert = bench.team.gateway.alerts["errors"].clone();
    bench.team.gateway.alerts.insert("later".into(), alert);
    pass(&bench, 5, 9);
    bench.platform.slowness_ms.set(alert::TELL_FOR_MS);
    look(&bench);
    let notified = std::mem::take(&mut bench.platform.watched.borrow_mut().notified);
    let alerts: Vec<_> = notified.iter().map(|notice| &notice.data["alert"]).collect();
    assert_eq!(alerts, ["errors", "errors", "later", "later"]);
}

#[test]
fn a_lost_lease_is_seen_though_another_link_does_not_answer() {
    let mut bench = bench();
    bench.config.orchestrators = ["lost", "silent"].map(orchestrator).into();
    let watch = serde_json::from_value(json!({"kind": "lease_lost", "channels": ["ops"]})).expect("an alert");
    bench.team.gateway.alerts = [("leases".to_owned(), watch)].into();
    pass(&bench, 5, 0);
    bench.platform.silent_link.set(Some("silent"));
    look(&bench);
    assert_eq!(told(&bench), ["ops alert.firing"]);
}

#[test]
fn an_alert_neither_begins_nor_ends_where_no_lease_is_lost_and_a_link_does_not_answer() {
    let watch = serde_json::from_value(json!({"kind": "lease_lost", "channels": ["ops"]})).expect("an alert");
    let mut bench = bench();
    bench.config.orchestrators = ["held", "silent"].map(orchestrator).into();
    bench.team.gateway.alerts = [("leases".to_owned(), watch)].into();
    let stand = |id: &str, standing: Standing| {
        let kept = bench.platform.with_link(id, |kept, _| kept.link.standing = standing);
        kept.expect("a link");
    };
    // What an operator gave up is not lost.
    stand("held", Standing::Deregistered);
    for (silent, standing, expected) in [
        (Some("silent"), Standing::Unregistered, vec![]),
        (None, Standing::Unregistered, vec!["ops alert.firing"]),
        (Some("silent"), Standing::Deregistered, vec![]),
        (None, Standing::Deregistered, vec!["ops alert.resolved"]),
    ] {
        stand("silent", standing);
        bench.platform.silent_link.set(silent);
        pass(&bench, 5, 0);
        look(&bench);
        assert_eq!(told(&bench), expected, "{silent:?}");
        let (_, alerts, _) = bench.call(&Call::new("GET", "/operator/alerts"));
        let text = alerts["alerts"][0]["text"].as_str().unwrap_or_default();
        assert_eq!(
            text.starts_with("It could not be looked at"),
            silent.is_some(),
            "{alerts}"
        );
    }
}
