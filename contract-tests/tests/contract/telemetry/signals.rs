//! Metrics and log records at a real collector, in both encodings; and when it was down, straight from the runs and through a
//! queue.

use std::collections::BTreeSet;

use contract_tests::collector::{Collector, Point, Record};
use contract_tests::gateway::{Gateway, Options};
use contract_tests::message::Message;
use contract_tests::outside::{fresh, wait_for};
use contract_tests::queue::Queue;
use serde_json::json;

use super::{invoke, nobody, options, outbox, step};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
/// In an input, and nowhere in what is told.
const SECRET: &str = "nobody-is-told-of-this";

fn everything(collector: &Collector, protocol: &str) -> Options {
    let mut options = options(&collector.endpoint(), protocol, nobody());
    options.variables.extend([
        ("OTEL_METRICS_EXPORTER", "otlp".to_owned()),
        ("OTEL_LOGS_EXPORTER", "otlp".to_owned()),
    ]);
    options
}

/// How many there are of these points.
fn counted(points: &[Point], metric: &str, outcome: Option<&str>) -> u64 {
    let outcome = outcome.map(|outcome| format!("Str({outcome})"));
    let is_meant = |point: &&Point| {
        point.metric == metric && (outcome.is_none() || point.attributes.get("baton.outcome") == outcome.as_ref())
    };
    points.iter().filter(is_meant).map(|point| point.count).sum()
}

fn records_of(collector: &Collector, run: &str, enough: usize) -> Vec<Record> {
    let text = format!("Str({run})");
    wait_for("the log records of a run", || {
        let mut records = collector.records();
        records.retain(|record| record.attributes.get("baton.run") == Some(&text));
        (records.len() >= enough).then_some(records)
    })
}

fn named<'r>(records: &'r [Record], name: &str) -> &'r Record {
    let found: Vec<_> = records.iter().filter(|record| record.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {records:#?}");
    found[0]
}

fn check_signals(protocol: &str) {
    let mut collector = Collector::new();
    collector.start();
    let gateway = Gateway::start(everything(&collector, protocol));
    let (run, failing) = (fresh(), fresh());
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let body = json!({ "run": run, "step": "s1", "input": { "actions": [], "padding": SECRET } });
    let message = Message::step(&gateway, "script", &body);
    invoke(&gateway, message.header("traceparent", &traceparent));
    let body = json!({ "run": failing, "step": "s1", "input": { "actions": [{ "fail": { "code": "boom" } }] } });
    let message = Message::step(&gateway, "script", &body);
    let _ = message.signed(gateway.key("first")).send();

    let records = records_of(&collector, &run, 3);
    let spans = collector.wait_for_run(&run, |spans| spans.len() >= 2);
    let agent = spans.iter().find(|span| span.name == "invoke_agent script");
    let agent = agent.expect("the agent's span");
    for name in ["baton.execution_began", "baton.execution_ended"] {
        let record = named(&records, name);
        assert_eq!(
            (record.trace_id.as_str(), &record.span_id),
            (TRACE, &agent.id),
            "{name}"
        );
        assert_eq!(record.severity, "INFO");
        assert_eq!(record.attributes["gen_ai.agent.name"], "Str(script)");
    }
    let ended = named(&records, "baton.attempt_ended");
    assert_eq!(ended.body, "Str(attempt with script: completed)");
    let records = records_of(&collector, &failing, 3);
    assert_eq!(named(&records, "baton.execution_ended").severity, "WARN");

    let points = wait_for("the metrics of both", || {
        let points = collector.points();
        let counts = ["baton.executions", "baton.events"].map(|metric| counted(&points, metric, None));
        (counts == [2, 2]).then_some(points)
    });
    for outcome in ["completed", "failed"] {
        for metric in ["baton.executions", "baton.events"] {
            assert_eq!(counted(&points, metric, Some(outcome)), 1, "{metric}: {points:#?}");
        }
    }
    for metric in ["baton.execution.duration", "gen_ai.invoke_agent.duration"] {
        assert_eq!(counted(&points, metric, None), 2, "{points:#?}");
        let of_metric = points.iter().filter(|point| point.metric == metric);
        for point in of_metric {
            assert_eq!(point.buckets.iter().sum::<u64>(), point.count, "{point:?}");
            assert!(point.sum.is_some(), "{point:?}");
        }
    }
    for point in &points {
        assert_eq!(point.temporality, "AGGREGATION_TEMPORALITY_DELTA", "{point:?}");
        assert!(point.time.0 < point.time.1, "{point:?}");
    }
    assert!(!collector.printed().contains(SECRET), "no input is told");
}

#[test]
fn metrics_and_log_records_arrive_at_the_collector_by_protobuf() {
    check_signals("http/protobuf");
}

#[test]
fn metrics_and_log_records_arrive_at_the_collector_by_json() {
    check_signals("http/json");
}

/// So many steps of a run while the collector is down.
const STEPS: usize = 20;

fn invoke_all(gateway: &Gateway, run: &str, steps: std::ops::Range<usize>) {
    for number in steps {
        invoke(gateway, step(gateway, run, &format!("s{number}")));
    }
}

#[track_caller]
fn assert_none_is_lost(collector: &Collector, run: &str) {
    let expected: BTreeSet<_> = (0..STEPS).map(|number| format!("Str(s{number})")).collect();
    for name in ["baton.execution_began", "baton.execution_ended", "baton.attempt_ended"] {
        wait_for(name, || {
            let records = collector.records();
            let of_run = records.iter().filter(|record| {
                record.name == name && record.attributes.get("baton.run") == Some(&format!("Str({run})"))
            });
            let steps: BTreeSet<_> = of_run.map(|record| record.attributes["baton.step"].clone()).collect();
            (steps == expected).then_some(())
        });
    }
    let points = wait_for("every execution in the metrics", || {
        let points = collector.points();
        (counted(&points, "baton.executions", None) >= STEPS as u64).then_some(points)
    });
    assert_eq!(
        counted(&points, "baton.executions", None),
        STEPS as u64,
        "what was never answered is counted once"
    );
}

#[test]
fn no_metric_and_no_log_record_is_lost_while_the_collector_is_down_and_the_runtime_killed() {
    let mut collector = Collector::new();
    let mut gateway = Gateway::start(everything(&collector, "http/protobuf"));
    let run = fresh();
    invoke_all(&gateway, &run, 0..STEPS / 2);
    gateway.kill_hard();
    gateway.restart();
    invoke_all(&gateway, &run, STEPS / 2..STEPS);
    wait_for("both destinations on the operator's list", || {
        let waiting = outbox(&gateway)["waiting"].to_string();
        (waiting.contains(r#""otlp-metrics""#) && waiting.contains(r#""otlp-logs""#)).then_some(())
    });
    collector.start();
    assert_none_is_lost(&collector, &run);
}

#[test]
fn no_metric_and_no_log_record_is_lost_through_a_queue_while_the_collector_is_down() {
    let mut collector = Collector::new();
    let gateway = Gateway::start(Options {
        queue: Some(Queue::Own),
        ..everything(&collector, "http/json")
    });
    let run = fresh();
    invoke_all(&gateway, &run, 0..STEPS);
    collector.start();
    assert_none_is_lost(&collector, &run);
}
