//! The collector is down for hundreds of steps, and the runtime is killed twice meanwhile: everything arrives.

use std::collections::BTreeSet;
use std::thread;

use contract_tests::collector::Collector;
use contract_tests::gateway::Gateway;
use contract_tests::outside::wait_for;
use serde_json::Value;

use super::{gateway, nobody, operate, step};

/// Over so many runs.
const RUNS: usize = 25;
/// So many steps in each.
const STEPS: usize = 20;
/// In so many threads.
const CALLERS: usize = 4;

/// Invokes the steps of a third of all runs; each of them completes.
fn invoke_third(gateway: &Gateway, third: usize) {
    let runs: Vec<usize> = (0..RUNS).filter(|run| run % 3 == third).collect();
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let runs = runs.iter().skip(caller).step_by(CALLERS);
            scope.spawn(move || {
                for run in runs {
                    for number in 0..STEPS {
                        let message = step(gateway, &name(*run), &format!("s{number}"));
                        let _ = message.signed(gateway.key("first")).send().completed();
                    }
                }
            });
        }
    });
}

fn name(run: usize) -> String {
    format!("outage-{run:03}")
}

/// All executions of the history, page by page.
fn history(gateway: &Gateway) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut query = "limit=500".to_owned();
    loop {
        let page = operate(gateway, "GET", "/executions", &query)
            .send()
            .message(200, "executions");
        rows.extend(page["executions"].as_array().expect("rows").iter().cloned());
        let Some(next) = page["next"].as_str() else {
            return rows;
        };
        query = format!("limit=500&cursor={next}");
    }
}

#[test]
fn five_hundred_steps_outlive_the_collector_and_the_runtime() {
    let mut collector = Collector::new();
    let mut gateway = gateway(&collector.endpoint(), "http/protobuf", nobody());
    invoke_third(&gateway, 0);
    gateway.kill_hard();
    gateway.restart();
    invoke_third(&gateway, 1);
    gateway.kill_hard();
    gateway.restart();
    invoke_third(&gateway, 2);
    collector.start();

    let expected: BTreeSet<(String, String)> = (0..RUNS)
        .flat_map(|run| (0..STEPS).map(move |number| (format!("Str({})", name(run)), format!("Str(s{number})"))))
        .collect();
    let spans = wait_for("every step at the collector", || {
        let spans = collector.spans();
        let arrived: BTreeSet<_> = spans
            .iter()
            .filter(|span| span.kind == "SPAN_KIND_SERVER")
            .map(|span| {
                (
                    span.attributes["baton.run"].clone(),
                    span.attributes["baton.step"].clone(),
                )
            })
            .collect();
        (arrived == expected).then_some(spans)
    });
    // A span that was sent twice is one span to the receiver: it has the same id.
    let ids: BTreeSet<_> = spans.iter().map(|span| &span.id).collect();
    assert_eq!(ids.len(), 2 * RUNS * STEPS, "an attempt and an execution for each step");

    let rows = wait_for("every step in the history", || {
        let rows = history(&gateway);
        (rows.len() >= RUNS * STEPS && rows.iter().all(|row| !row["outcome"].is_null())).then_some(rows)
    });
    assert_eq!(rows.len(), RUNS * STEPS, "none is there twice");
    let steps: BTreeSet<_> = rows
        .iter()
        .map(|row| (row["run"].to_string(), row["step"].to_string()))
        .collect();
    assert_eq!(steps.len(), RUNS * STEPS);
}
