//! The collector is down for hundreds of steps, and the runtime is killed twice meanwhile: everything arrives, straight from
//! the runs and through a queue.

use std::collections::BTreeSet;
use std::thread;

use contract_tests::collector::Collector;
use contract_tests::gateway::{Gateway, Options};
use contract_tests::outside::wait_for;
use contract_tests::queue::Queue;

use super::{ended_executions, gateway, history, nobody, options, step};

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

/// Has the steps of all runs invoked, while the gateway is killed twice.
fn invoke_between_deaths(gateway: &mut Gateway) {
    invoke_third(gateway, 0);
    gateway.kill_hard();
    gateway.restart();
    invoke_third(gateway, 1);
    gateway.kill_hard();
    gateway.restart();
    invoke_third(gateway, 2);
}

/// All steps are at the collector, and once in this gateway's history.
#[track_caller]
fn assert_all_arrived(collector: &Collector, gateway: &Gateway) {
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

    let rows = ended_executions(gateway, RUNS * STEPS);
    let steps: BTreeSet<_> = rows
        .iter()
        .map(|row| (row["run"].to_string(), row["step"].to_string()))
        .collect();
    assert_eq!(steps.len(), RUNS * STEPS);
}

#[test]
fn five_hundred_steps_outlive_the_collector_and_the_runtime() {
    let mut collector = Collector::new();
    let mut gateway = gateway(&collector.endpoint(), "http/protobuf", nobody());
    invoke_between_deaths(&mut gateway);
    collector.start();
    assert_all_arrived(&collector, &gateway);
}

#[test]
fn five_hundred_steps_outlive_the_collector_and_the_runtime_of_their_runs_through_a_queue() {
    let mut collector = Collector::new();
    let options = options(&collector.endpoint(), "http/protobuf", nobody());
    // The platform's queue survives the runtime; the local one lives in the memory of whoever consumes it.
    let consuming = Gateway::start(Options {
        queue: Some(Queue::Own),
        ..options.clone()
    });
    let mut handing_over = Gateway::start(Options {
        queue: Some(consuming.queue()),
        ..options
    });
    invoke_between_deaths(&mut handing_over);
    collector.start();
    assert_all_arrived(&collector, &consuming);
    assert!(history(&handing_over).is_empty(), "nothing went straight from the runs");
}
