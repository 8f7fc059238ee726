use super::super::ledger::ClaimRequest;
use super::super::outbox_report::{DEAD_EVENTS_MAX, Report, report, reported};
use super::super::record::{Forget, Use};
use super::super::testing::{
    Bench, RETENTION_MS, answer, background, calling_back, commit_of, of_step, request, retrying, using,
};
use super::super::work::{self, Work};
use super::*;
use crate::telemetry::event::Route;
use crate::telemetry::operation::{OPERATIONS_MAX, Operation, Upshot};
use crate::telemetry::span::tests::chat;

/// A run in which `steps` steps have ended.
fn with_steps(steps: usize) -> Bench {
    with_steps_that(steps, &[])
}

/// In each step the agent has others do this.
fn with_steps_that(steps: usize, operations: &[Operation]) -> Bench {
    let bench = Bench::default();
    for step in 0..steps {
        let claim = of_step(&format!("s{step}"), request(&format!("k{step}"), 1));
        let ordinal = u32::try_from(step).unwrap() + 1;
        bench.ask("c", claim);
        bench.ask(
            "c",
            super::super::ledger::CommitRequest {
                ordinal,
                generation: 1,
                answer: answer("one"),
                retryable: false,
                retry_after_ms: 0,
                state: None,
                operations: operations.to_vec(),
            },
        );
    }
    bench
}

fn events(bench: &Bench) -> Vec<Event> {
    let rows = EVENTS.list(&bench.storage, "", usize::MAX).unwrap();
    rows.into_iter().map(|(_, event)| event).collect()
}

/// What happened, in a word each.
fn told_of(events: &[Event]) -> Vec<String> {
    let word = |event: &Event| match &event.what {
        What::ExecutionBegan { execution, .. } => format!("began {execution}"),
        What::ExecutionEnded { execution, ending, .. } => format!("ended {execution} {}", ending.outcome),
        What::AttemptEnded { ending, executions, .. } => format!("attempt {} {executions}", ending.outcome),
        What::HandedOff { .. } => "handed off".into(),
        What::TakenOver { reason } => format!("taken over {reason}"),
        What::Routed { outcome, .. } => format!("routed {outcome}"),
        What::CallbackEnded { delivered, .. } => format!("callback {delivered}"),
        What::SettlementEnded { status, .. } => format!("settlement {status}"),
        What::LinkChanged(change) => change.name().into(),
    };
    events.iter().map(word).collect()
}

/// The one batch that is due for these destinations.
fn batch(bench: &Bench, names: &[&'static str]) -> Batch {
    let mut batches = bench.export(names);
    assert_eq!(batches.len(), 1, "{batches:?}");
    batches.remove(0)
}

fn end(bench: &Bench, batch: &Batch, verdict: &Verdict) -> Option<String> {
    bench.transact(|storage| super::told(storage, batch, verdict, bench.moment("instance")).unwrap())
}

fn delivered() -> Verdict {
    Verdict::Delivered { rejected: None }
}

fn retry(retry_after_ms: Option<u64>) -> Verdict {
    Verdict::Retry {
        reason: "503".into(),
        retry_after_ms,
    }
}

fn refused(divisible: bool) -> Verdict {
    Verdict::Refused {
        reason: "400".into(),
        divisible,
    }
}

fn next_in_ms(bench: &Bench) -> Option<u64> {
    let at_ms = timers::at_ms(&bench.storage, Timer::Export).unwrap();
    at_ms.map(|at_ms| at_ms - bench.now_ms)
}

fn due_report(bench: &Bench) -> Option<Report> {
    bench.transact(|storage| report(storage, bench.now_ms).unwrap())
}

fn done(bench: &Bench, report: &Report) {
    bench.transact(|storage| reported(storage, report, bench.moment("instance")).unwrap());
}

#[test]
fn each_change_makes_its_events_once() {
    let mut bench = Bench::default();
    bench.ask("c", calling_back(retrying(3, background("k", 1))));
    bench.commit(&bench.execution(), "again", true);
    bench.now_ms += 1_000;
    let second = bench.execution();
    bench.now_ms += 100;
    // Its owner dies.
    bench.transact(|storage| work::recover(storage, "another", bench.now_ms, 0).unwrap());
    bench.now_ms += 10_000;
    let third = match bench.work_of("another") {
        Some(Work::Execute(execution)) => *execution,
        other => panic!("{other:?}"),
    };
    bench.ask("another", commit_of(&third, "one", false));
    bench.ask("another", commit_of(&third, "one", false));
    assert_eq!(bench.ask("instance", commit_of(&second, "late", false)).name(), "lost");
    let parcel = bench.parcel();
    bench.transact(|storage| {
        super::super::delivery::sent(
            storage,
            &parcel,
            super::super::delivery::Sent::Delivered,
            bench.moment("i"),
        )
        .unwrap();
    });
    // The bench has nowhere to send them to, and took some out of the outbox: what is left of each kind is there once.
    let state = STATES.get(&bench.storage, ONLY).unwrap().expect("a state");
    assert_eq!(
        state.next, 8,
        "began and ended three times, the attempt's end, the callback's"
    );
}

#[test]
fn events_tell_what_happened_in_its_order() {
    let bench = with_steps(1);
    assert_eq!(
        told_of(&events(&bench)),
        ["began 1", "ended 1 completed", "attempt completed 1"]
    );
    bench.ask("c", of_step("t", background("k2", 1)));
    bench.cancel("t");
    assert_eq!(told_of(&events(&bench))[3..], ["attempt cancelled 0"]);
    let ids: std::collections::BTreeSet<_> = events(&bench).into_iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 4);
}

#[test]
fn the_route_and_the_parent_are_told() {
    let bench = Bench::default();
    let claim = ClaimRequest {
        parent_span: Some("00f067aa0ba902b7".into()),
        takeover: Some(super::super::settlement::Takeover {
            gateway: "gw".into(),
            reason: "timeout".into(),
            degraded: false,
            generation: None,
        }),
        ..request("k", 1)
    };
    bench.ask("c", claim);
    let events = events(&bench);
    assert_eq!(told_of(&events), ["began 1", "taken over timeout"]);
    for event in &events {
        assert_eq!(event.parent_span.as_deref(), Some("00f067aa0ba902b7"));
    }
    assert!(matches!(&events[0].what, What::ExecutionBegan { subject, .. } if subject.route == Route::Fallback));
}

#[test]
fn a_row_goes_when_the_last_destination_has_it() {
    let mut bench = with_steps(1);
    let mut batches = bench.export(&[HISTORY, RECEIVER]);
    assert_eq!(batches.len(), 2);
    let (slow, fast) = (batches.remove(1), batches.remove(0));
    assert_eq!(slow.events, fast.events);
    end(&bench, &fast, &delivered());
    assert_eq!(events(&bench).len(), 3);
    // The slow one is busy, and holds up nobody.
    bench.ask("c", of_step("t", request("k2", 1)));
    bench.now_ms += EXPORT_AFTER_MS;
    let next = batch(&bench, &[HISTORY, RECEIVER]);
    assert_eq!((next.destination.as_str(), next.events.len()), (HISTORY, 1));
    end(&bench, &slow, &delivered());
    assert_eq!(events(&bench).len(), 1);
    end(&bench, &next, &delivered());
    bench.now_ms += EXPORT_AFTER_MS;
    assert_eq!(batch(&bench, &[HISTORY, RECEIVER]).destination, RECEIVER);
}

#[test]
fn without_a_destination_nothing_is_kept() {
    let bench = with_steps(2);
    assert!(bench.export(&[]).is_empty());
    assert!(events(&bench).is_empty());
    assert_eq!(next_in_ms(&bench), None);
}

#[test]
fn what_follows_is_gathered_and_a_backlog_is_not_waited_for() {
    let bench = with_steps(BATCH_MAX_EVENTS);
    end(&bench, &batch(&bench, &[RECEIVER]), &delivered());
    assert_eq!(next_in_ms(&bench), Some(0), "a full batch is there");
    end(&bench, &batch(&bench, &[RECEIVER]), &delivered());
    end(&bench, &batch(&bench, &[RECEIVER]), &delivered());
    bench.ask("c", of_step("t", request("last", 1)));
    assert_eq!(next_in_ms(&bench), Some(EXPORT_AFTER_MS));
    assert!(bench.export(&[RECEIVER]).is_empty());
}

#[test]
fn a_destination_that_was_taken_out_of_the_configuration_is_not_waited_for() {
    let bench = with_steps(1);
    assert_eq!(bench.export(&[HISTORY, RECEIVER]).len(), 2);
    bench.export(&[HISTORY]);
    let state = STATES.get(&bench.storage, ONLY).unwrap().expect("a state");
    assert_eq!(state.destinations.keys().collect::<Vec<_>>(), [HISTORY]);
}

#[test]
fn of_a_destination_that_was_taken_out_while_it_failed_the_operator_hears_that_it_is_over() {
    let mut bench = with_steps(1);
    assert_eq!(end(&bench, &batch(&bench, &[RECEIVER]), &retry(None)), None);
    done(&bench, &due_report(&bench).expect("that it fails"));
    // A try is under way when it is taken out.
    bench.now_ms += EXPORT_BACKOFF_MAX_MS;
    let late = batch(&bench, &[RECEIVER]);
    assert!(bench.export(&[]).is_empty());
    assert_eq!(events(&bench), [], "nothing waits for it");
    assert_eq!(next_in_ms(&bench), Some(0), "for the report");
    end(&bench, &late, &retry(None));
    let report = due_report(&bench).expect("that it is over");
    let told: Vec<_> = report
        .lags
        .iter()
        .map(|lag| (lag.destination.as_str(), lag.health))
        .collect();
    assert_eq!(told, [(RECEIVER, Health::Passing)]);
    done(&bench, &report);
    assert_eq!((due_report(&bench), next_in_ms(&bench)), (None, None));
    bench.export(&[]);
    let state = STATES.get(&bench.storage, ONLY).unwrap().expect("a state");
    assert!(state.destinations.is_empty(), "{state:?}");
}

#[test]
fn waits_grow_and_a_receiver_may_ask_for_more_up_to_a_bound() {
    let mut bench = with_steps(1);
    let progress = |bench: &Bench| STATES.get(&bench.storage, ONLY).unwrap().unwrap().destinations[RECEIVER].clone();
    let wait_ms = |bench: &Bench| progress(bench).not_before_ms - bench.now_ms;
    let mut waits = Vec::new();
    for _ in 0..12 {
        end(&bench, &batch(&bench, &[RECEIVER]), &retry(None));
        waits.push(wait_ms(&bench));
        bench.now_ms += wait_ms(&bench);
    }
    assert_eq!(
        waits[..3],
        [EXPORT_BACKOFF_MS / 2, EXPORT_BACKOFF_MS, 2 * EXPORT_BACKOFF_MS]
    );
    assert_eq!(progress(&bench).failures, 12);
    let again = |bench: &mut Bench, asked_ms| {
        bench.now_ms = bench.now_ms.max(progress(bench).not_before_ms);
        end(bench, &batch(bench, &[RECEIVER]), &retry(asked_ms));
        wait_ms(bench)
    };
    assert_eq!(again(&mut bench, None), EXPORT_BACKOFF_MAX_MS / 2);
    assert_eq!(again(&mut bench, Some(EXPORT_BACKOFF_MAX_MS)), EXPORT_BACKOFF_MAX_MS);
    assert_eq!(again(&mut bench, Some(u64::MAX)), EXPORT_RETRY_AFTER_MAX_MS);
    bench.now_ms += EXPORT_RETRY_AFTER_MAX_MS;
    end(&bench, &batch(&bench, &[RECEIVER]), &delivered());
    assert_eq!(
        (progress(&bench).failures, progress(&bench).health),
        (0, Health::Passing)
    );
}

#[test]
fn who_sends_may_die() {
    let mut bench = with_steps(1);
    let lost = batch(&bench, &[RECEIVER]);
    let wait_ms = next_in_ms(&bench).expect("a timer");
    bench.now_ms += wait_ms - 1;
    assert!(bench.export(&[RECEIVER]).is_empty());
    bench.now_ms += 1;
    let again = batch(&bench, &[RECEIVER]);
    assert_eq!(again.events, lost.events);
    // The end of the one that was taken for lost does not count.
    end(&bench, &lost, &delivered());
    assert_eq!(events(&bench).len(), 3);
    end(&bench, &again, &delivered());
    assert!(events(&bench).is_empty());
}

#[test]
fn what_may_have_arrived_is_sent_again_as_it_was_and_what_happened_since_comes_after_it() {
    let mut bench = with_steps(1);
    let first = batch(&bench, &[METRICS]);
    bench.ask("c", of_step("t", request("k2", 1)));
    // One try is lost, and one fails.
    bench.now_ms += 10_000 + TRY_GRACE_MS;
    let second = batch(&bench, &[METRICS]);
    assert_eq!(second.events, first.events);
    end(&bench, &second, &retry(None));
    bench.now_ms += EXPORT_BACKOFF_MAX_MS;
    let third = batch(&bench, &[METRICS]);
    assert_eq!(third.events, first.events);
    end(&bench, &third, &delivered());
    bench.now_ms += EXPORT_AFTER_MS;
    let rest = batch(&bench, &[METRICS]);
    assert!(rest.events[0].0 > first.events.last().expect("an event").0);
    assert!(!rest.events.is_empty());
}

#[test]
fn a_batch_has_so_many_events_and_spans_at_most() {
    let bench = with_steps(BATCH_MAX_EVENTS);
    let events_of = |bench: &Bench, destination| batch(bench, &[destination]).events;
    assert_eq!(events_of(&bench, RECEIVER).len(), BATCH_MAX_EVENTS);
    // A step is three events and two spans, and one more for each operation.
    let operations = vec![chat(Upshot::default()); OPERATIONS_MAX];
    let bench = with_steps_that(BATCH_MAX_EVENTS / 3 + 1, &operations);
    let fitting = BATCH_MAX_SPANS / (OPERATIONS_MAX + 2);
    let events = events_of(&bench, RECEIVER);
    // And the beginning of the next one, which is no span.
    assert_eq!(events.len(), fitting * 3 + 1);
    let spans: usize = events.iter().map(|(_, event)| items_in(RECEIVER, event)).sum();
    assert_eq!(spans, fitting * (OPERATIONS_MAX + 2));
    assert_eq!(
        events_of(&bench, LOGS).len(),
        BATCH_MAX_EVENTS,
        "a record for each event"
    );
}

#[test]
fn a_poison_batch_is_split_and_only_its_culprit_is_buried() {
    let mut bench = with_steps(8);
    let all = events(&bench);
    let poison = all[11].id.clone();
    let mut arrived = Vec::new();
    let mut sent = 0;
    while !events(&bench).is_empty() {
        let batch = batch(&bench, &[RECEIVER]);
        sent += 1;
        if batch.events.iter().any(|(_, event)| event.id == poison) {
            let alarm = end(&bench, &batch, &refused(true));
            assert_eq!(alarm.is_some(), batch.events.len() == 1);
        } else {
            arrived.extend(batch.events.iter().map(|(_, event)| event.id.clone()));
            end(&bench, &batch, &delivered());
        }
        bench.now_ms += EXPORT_AFTER_MS;
    }
    assert!(sent < 20, "{sent} requests");
    let others: Vec<_> = all
        .iter()
        .map(|event| event.id.clone())
        .filter(|id| *id != poison)
        .collect();
    assert_eq!(arrived, others);
    let report = due_report(&bench).expect("a report");
    assert_eq!(report.dead.len(), 1);
    assert_eq!(
        (&report.dead[0].event, report.dead[0].letter.as_str()),
        (&all[11], format!("{poison}.otlp").as_str())
    );
    done(&bench, &report);
    assert_eq!(due_report(&bench), None);
    assert_eq!(next_in_ms(&bench), None);
}

#[test]
fn what_no_part_of_would_be_taken_is_buried_as_a_whole() {
    let bench = with_steps(2);
    let alarm = end(&bench, &batch(&bench, &[RECEIVER]), &refused(false));
    assert_eq!(alarm.as_deref(), Some("6 events were given up: 400"));
    assert_eq!(due_report(&bench).expect("a report").dead.len(), 6);
}

#[test]
fn a_destination_that_does_not_know_us_is_paused_and_loses_nothing() {
    let mut bench = with_steps(1);
    let paused = Verdict::Paused {
        reason: "status 401".into(),
    };
    let first = batch(&bench, &[RECEIVER]);
    assert!(end(&bench, &first, &paused).expect("an alarm").contains("credentials"));
    let report = due_report(&bench).expect("a report");
    assert_eq!((report.lags[0].health, report.lags[0].waiting), (Health::Paused, 3));
    assert_eq!(report.lags[0].last_error.as_deref(), Some("status 401"));
    done(&bench, &report);
    assert!(bench.export(&[RECEIVER]).is_empty());
    assert_eq!(next_in_ms(&bench), Some(EXPORT_BACKOFF_MAX_MS));
    bench.now_ms += EXPORT_BACKOFF_MAX_MS;
    let again = batch(&bench, &[RECEIVER]);
    assert_eq!(again.events, first.events);
    assert_eq!(end(&bench, &again, &paused), None, "it is told once");
    bench.now_ms += EXPORT_BACKOFF_MAX_MS;
    end(&bench, &batch(&bench, &[RECEIVER]), &delivered());
    let report = due_report(&bench).expect("a report");
    assert_eq!((report.lags[0].health, report.lags[0].waiting), (Health::Passing, 0));
}

#[test]
fn that_the_history_does_not_answer_is_told_once_by_an_alarm_and_not_by_its_own_lists() {
    let mut bench = with_steps(1);
    let alarm = end(&bench, &batch(&bench, &[HISTORY]), &retry(None));
    assert_eq!(alarm.as_deref(), Some("it does not take executions: 503"));
    assert_eq!(due_report(&bench), None);
    bench.now_ms += EXPORT_BACKOFF_MAX_MS;
    assert_eq!(end(&bench, &batch(&bench, &[HISTORY]), &retry(None)), None);
}

#[test]
fn what_a_receiver_did_not_take_is_counted_and_never_sent_again() {
    let mut bench = with_steps(1);
    let verdict = Verdict::Delivered {
        rejected: Some((2, "too old".into())),
    };
    let alarm = end(&bench, &batch(&bench, &[RECEIVER]), &verdict);
    assert_eq!(alarm.as_deref(), Some("2 spans were not taken, and are lost: too old"));
    assert!(events(&bench).is_empty());
    bench.ask("c", of_step("t", request("k2", 1)));
    bench.now_ms += EXPORT_AFTER_MS;
    assert_eq!(batch(&bench, &[RECEIVER]).dropped, 2);
}

#[test]
fn what_was_not_taken_is_named_as_what_it_is() {
    for (destination, expected) in [
        (METRICS, "2 data points were not taken, and are lost: no deltas"),
        (LOGS, "2 log records were not taken, and are lost: no deltas"),
    ] {
        let bench = with_steps(1);
        let verdict = Verdict::Delivered {
            rejected: Some((2, "no deltas".into())),
        };
        let alarm = end(&bench, &batch(&bench, &[destination]), &verdict);
        assert_eq!(alarm.as_deref(), Some(expected));
    }
}

#[test]
fn a_full_outbox_drops_its_oldest_events_and_counts_them_and_no_callback() {
    let bench = Bench::default();
    bench.ask("c", calling_back(background("k", 1)));
    bench.commit(&bench.execution(), "one", false);
    let fill = |count: u64| {
        bench.transact(|storage| {
            for _ in 0..count {
                let what = What::TakenOver { reason: "x".into() };
                tell(storage, ("00-1-2-01", None), what, 5).unwrap();
            }
        });
    };
    let before = events(&bench);
    fill(OUTBOX_MAX_EVENTS - before.len() as u64);
    assert_eq!(events(&bench)[0], before[0]);
    fill(2);
    let kept = events(&bench);
    assert_eq!((kept.len() as u64, &kept[0]), (OUTBOX_MAX_EVENTS, &before[2]));
    assert_eq!(batch(&bench, &[RECEIVER]).dropped, 2);
    assert!(bench.parcel().body.contains("step.completed"));
}

#[test]
fn what_does_not_arrive_for_a_day_is_given_up_to_the_operator() {
    let mut bench = with_steps(1);
    end(&bench, &batch(&bench, &[RECEIVER, HISTORY][..1]), &retry(None));
    bench.now_ms = EXPORT_GIVE_UP_MS;
    assert_eq!(batch(&bench, &[RECEIVER]).events.len(), 3);
    bench.now_ms += 10_000 + TRY_GRACE_MS;
    assert!(bench.export(&[RECEIVER, HISTORY]).is_empty());
    let report = due_report(&bench).expect("a report");
    assert_eq!((report.dead.len(), report.dead[0].reason.as_str()), (3, "503"));
    // The history has no such list.
    let state = STATES.get(&bench.storage, ONLY).unwrap().expect("a state");
    assert_eq!(state.dropped, 3);
}

#[test]
fn so_many_given_up_events_wait_for_the_operators_list() {
    let mut bench = Bench::default();
    bench.ask("c", request("k", 1));
    let max = DEAD_EVENTS_MAX as u64;
    bench.transact(|storage| {
        for _ in 0..max {
            let what = What::TakenOver { reason: "x".into() };
            tell(storage, ("00-1-2-01", None), what, 0).unwrap();
        }
    });
    while !events(&bench).is_empty() {
        end(&bench, &batch(&bench, &[RECEIVER]), &refused(false));
        bench.now_ms += EXPORT_AFTER_MS;
    }
    let state = STATES.get(&bench.storage, ONLY).unwrap().expect("a state");
    assert_eq!(state.dropped, 1, "one event more than there is room for");
    let mut listed = 0;
    while let Some(report) = due_report(&bench) {
        listed += report.dead.len();
        done(&bench, &report);
    }
    assert_eq!(listed, DEAD_EVENTS_MAX);
}

#[test]
fn a_run_is_kept_for_its_events_and_not_for_ever() {
    let mut bench = Bench::default();
    let short = Use {
        retention_ms: 1,
        ..using()
    };
    bench.ask(
        "c",
        ClaimRequest {
            using: short,
            ..background("k", 1)
        },
    );
    let next = |bench: &Bench| bench.transact(|storage| work::next(storage, "i", bench.now_ms, 0).unwrap());
    let Some(Work::Execute(execution)) = next(&bench) else {
        panic!("no execution")
    };
    bench.ask("i", commit_of(&execution, "one", false));
    bench.now_ms = 500;
    assert_eq!(next(&bench), None, "it waits for its events");
    loop {
        match next(&bench) {
            // Whoever takes them dies, each time.
            Some(Work::Export) => drop(bench.export(&[HISTORY])),
            Some(Work::RemoveAll) => break,
            None => bench.now_ms += 10 * 60_000,
            other => panic!("{other:?}"),
        }
        assert!(bench.now_ms < 2 * EXPORT_GIVE_UP_MS, "it is kept for ever");
    }
    assert!(bench.now_ms > EXPORT_GIVE_UP_MS, "it did not wait for its events");
    assert!(bench.storage.keys().is_empty(), "{:?}", bench.storage.keys());
}

#[test]
fn a_forgotten_run_still_tells_what_happened() {
    let mut bench = with_steps(1);
    bench.ask("d", Forget);
    bench.now_ms = EXPORT_AFTER_MS;
    let next = bench.transact(|storage| work::next(storage, "i", bench.now_ms, 0).unwrap());
    assert_eq!(next, Some(Work::Export));
    let batch = batch(&bench, &[HISTORY]);
    assert_eq!((batch.events.len(), batch.orchestrator.as_str()), (3, "o"));
    end(&bench, &batch, &delivered());
    bench.now_ms = 2 * RETENTION_MS;
    assert_eq!(bench.work(), Some(Work::RemoveAll));
}

/// A link's outbox is one like a run's, without a run.
#[test]
fn what_is_no_run_has_an_outbox_as_well() {
    let bench = Bench::default();
    let name = RunName::new("acme", crate::link::LINK_OUTBOX);
    let told = What::LinkChanged(crate::link::Change::Refused);
    bench.transact(|storage| tell_of(storage, &name, ("00-1-2-01", None), told, bench.now_ms).unwrap());
    assert_eq!(next_in_ms(&bench), Some(EXPORT_AFTER_MS));
    let batch = batch(&bench, &[RECEIVER]);
    assert_eq!(
        (batch.orchestrator.as_str(), batch.events[0].1.run.as_str()),
        ("acme", ":link")
    );
    end(&bench, &batch, &delivered());
    assert_eq!(next_in_ms(&bench), None);
}
