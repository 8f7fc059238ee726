//! Telemetry through a queue: many runs in few requests, and each destination for itself.

use std::collections::BTreeSet;
use std::thread;

use contract_tests::collector::Collector;
use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::outside::{fresh, wait_for};
use contract_tests::queue::Queue;
use contract_tests::receiver::{Reaction, Received, Receiver};
use serde_json::{Value, json};

use super::{ended_executions, events, invoke, nobody, operate, options, outbox, step};
use crate::log::assert_logs;

const TRACES: &str = "/v1/traces";
/// Where an orchestrator takes telemetry.
const OWN_TRACES: &str = "/own/traces";
/// An attempt's end and an execution's: each step is told as so many spans.
const SPANS: usize = 2;
/// Those, and an execution's beginning, which is a row of the history alone.
const EVENTS: usize = 3;

fn gateway(endpoint: &str, protocol: &str, orchestrator: Configured) -> Gateway {
    Gateway::start(Options {
        queue: Some(Queue::Own),
        ..options(endpoint, protocol, orchestrator)
    })
}

/// One step in each of these runs, all at once.
fn invoke_all(gateway: &Gateway, runs: &[String]) {
    thread::scope(|scope| {
        for run in runs {
            scope.spawn(|| invoke(gateway, step(gateway, run, "s1")));
        }
    });
}

fn runs(count: usize) -> Vec<String> {
    (0..count).map(|_| fresh()).collect()
}

/// The gateway's log lines of what this destination was sent.
fn sent(gateway: &Gateway, destination: &str) -> Vec<Value> {
    let mut lines = gateway.events();
    lines.retain(|line| line["event"] == "export" && line["destination"] == destination);
    lines
}

/// How many events were delivered to this destination, each as often as it was.
fn delivered(gateway: &Gateway, destination: &str) -> usize {
    let lines = sent(gateway, destination).into_iter();
    let counts = lines
        .filter(|line| line["result"] == "delivered")
        .map(|line| line["events"].as_u64());
    counts
        .map(|count| count.map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX)))
        .sum()
}

/// Waits until so many spans have arrived here, in requests that were taken. There are no more, and none is there twice.
#[track_caller]
fn wait_for_spans(receiver: &Receiver, target: &str, count: usize, is_taken: impl Fn(&Received) -> bool) {
    let arrived = wait_for("the spans", || {
        let mut received = receiver.received(target);
        received.retain(&is_taken);
        let events = events(&received);
        (events.len() >= count).then_some(events)
    });
    let unique: BTreeSet<_> = arrived.iter().collect();
    assert_eq!((arrived.len(), unique.len()), (count, count), "each once");
}

#[test]
fn steps_of_many_runs_arrive_in_fewer_requests_than_runs() {
    const RUNS: usize = 24;
    let mut collector = Collector::new();
    collector.start();
    let gateway = gateway(&collector.endpoint(), "http/protobuf", nobody());
    let runs = runs(RUNS);
    invoke_all(&gateway, &runs);
    let expected: BTreeSet<_> = runs.iter().map(|run| format!("Str({run})")).collect();
    wait_for("every run at the collector", || {
        let spans = collector.spans();
        let found = spans.iter().filter_map(|span| span.attributes.get("baton.run"));
        let found: BTreeSet<_> = found.cloned().collect();
        (found == expected && spans.len() >= SPANS * RUNS).then_some(())
    });
    let rows = ended_executions(&gateway, RUNS);
    let found: BTreeSet<_> = rows.iter().filter_map(|row| row["run"].as_str()).collect();
    assert_eq!(found, runs.iter().map(String::as_str).collect());
    for destination in ["otlp", "history"] {
        let count = sent(&gateway, destination).len();
        assert!((1..RUNS).contains(&count), "{count} requests to {destination}");
    }
    assert!(sent(&gateway, "queue").len() >= RUNS, "each run hands over for itself");
    assert_logs(&gateway, "batch");
}

#[test]
fn a_poison_batch_of_many_runs_is_split_and_only_its_culprit_is_given_up() {
    const POISON: &str = "poison-step";
    let receiver = Receiver::start();
    receiver.plan(TRACES, [Reaction::StatusIfBodyHas(400, POISON.to_owned())]);
    let gateway = gateway(&receiver.origin(), "http/json", nobody());
    let (runs, culprit) = (runs(6), fresh());
    thread::scope(|scope| {
        scope.spawn(|| invoke_all(&gateway, &runs));
        scope.spawn(|| invoke(&gateway, step(&gateway, &culprit, POISON)));
    });
    let listed = wait_for("the culprit on the operator's list", || {
        let outbox = outbox(&gateway);
        (outbox["dead_letters"].as_array()?.len() == SPANS).then_some(outbox)
    });
    let letters = listed["dead_letters"].as_array().expect("letters");
    for letter in letters {
        assert_eq!(
            (&letter["run"], &letter["reason"]),
            (&culprit.as_str().into(), &"status 400".into())
        );
    }
    wait_for_spans(&receiver, TRACES, SPANS * runs.len(), |received| {
        !String::from_utf8_lossy(&received.body).contains(POISON)
    });
    ended_executions(&gateway, runs.len() + 1);

    // Put right, an operator sends it again: it goes off the list.
    receiver.plan(TRACES, [Reaction::Status(200)]);
    for letter in letters {
        let path = format!("/operator/outbox/{}/resend", letter["letter"].as_str().expect("text"));
        let resent = operate(&gateway, "POST", &path, "")
            .send()
            .message(200, "outbox-resent");
        assert_eq!(resent["status"], "delivered");
    }
    assert_eq!(outbox(&gateway)["dead_letters"], json!([]));
}

#[test]
fn a_destination_that_is_down_neither_holds_up_nor_repeats_another() {
    const RUNS: usize = 8;
    let (down, own) = (Receiver::start(), Receiver::start());
    down.plan(TRACES, [Reaction::RetryAfter(503, 5)]);
    own.plan(OWN_TRACES, [Reaction::Status(200)]);
    let orchestrator = Configured {
        telemetry_url: Some(own.url(OWN_TRACES)),
        ..nobody()
    };
    let gateway = gateway(&down.origin(), "http/json", orchestrator);
    invoke_all(&gateway, &runs(RUNS));
    // The others have everything while it is down, and it is one line on the operator's list, whatever the runs.
    wait_for_spans(&own, OWN_TRACES, SPANS * RUNS, |_| true);
    ended_executions(&gateway, RUNS);
    let waiting = wait_for("the destination on the operator's list", || {
        let outbox = outbox(&gateway);
        outbox["waiting"].as_array().filter(|lags| !lags.is_empty()).cloned()
    });
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    let expected: [(&str, Value); 5] = [
        ("destination", "otlp".into()),
        ("orchestrator", "".into()),
        ("run", "".into()),
        ("health", "failing".into()),
        ("last_error", "status 503".into()),
    ];
    for (name, value) in expected {
        assert_eq!(waiting[0][name], value, "{name}");
    }
    for received in own.received(OWN_TRACES) {
        assert!(
            received.header("signature-input").contains("keyid=\"register\""),
            "{received:?}"
        );
    }
    // It asked for patience: it has it, also for the events of other runs.
    let asked = down.received(TRACES);
    invoke_all(&gateway, &runs(RUNS));
    wait_for_spans(&own, OWN_TRACES, 2 * SPANS * RUNS, |_| true);
    for pair in down.received(TRACES).windows(2) {
        assert!(
            pair[1].at_ms - pair[0].at_ms >= 5_000,
            "{} ms",
            pair[1].at_ms - pair[0].at_ms
        );
    }
    assert!(down.received(TRACES).len() >= asked.len());

    down.plan(TRACES, [Reaction::Status(200)]);
    let sent = 2 * RUNS * EVENTS;
    wait_for("everything at the destination that was down", || {
        (delivered(&gateway, "otlp") >= sent).then_some(())
    });
    let unique: BTreeSet<_> = events(&down.received(TRACES)).into_iter().collect();
    assert_eq!(unique.len(), 2 * SPANS * RUNS);
    wait_for("the destination off the operator's list", || {
        (outbox(&gateway)["waiting"] == json!([])).then_some(())
    });
    // Each destination was given each event once.
    for destination in ["otlp", "orchestrator", "history"] {
        assert_eq!(delivered(&gateway, destination), sent, "{destination}");
    }
    ended_executions(&gateway, 2 * RUNS);
    assert_eq!(outbox(&gateway)["dead_letters"], json!([]));
}
