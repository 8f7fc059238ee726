//! A customer's call as one tree of spans at a real collector: coordinated by the orchestrator, and in its place.

use contract_tests::collector::{Collector, Span};
use contract_tests::gateway::Options;
use serde_json::json;

use crate::direct::{answered, call};
use crate::support::orchestrated_with;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CUSTOMER: &str = "b7ad6b7169203331";

fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

#[test]
fn a_customers_call_is_one_tree_whoever_coordinates_it() {
    let mut collector = Collector::new();
    collector.start();
    let options = Options {
        variables: vec![("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())],
        ..Options::default()
    };
    let (gateway, mut orchestrator, key) = orchestrated_with(60_000, options);
    let _ = orchestrator.wait_for_live();
    let ask = || {
        let body = json!({"input": {"text": "hi"}, "deadline_ms": 10_000});
        let message = call(&gateway, &key, "/agents/echo/query", &body);
        let message = message.header("traceparent", &format!("00-{TRACE}-{CUSTOMER}-01"));
        answered(&message.send())
    };

    let answer = ask();
    assert_eq!(answer["route"]["by"], "orchestrated", "{answer}");
    let run = answer["run"].as_str().expect("a run");
    let spans = collector.wait_for_run(run, |spans| spans.len() >= 3);
    let call = named(&spans, "POST /agents/{agent}/query");
    let step = named(&spans, "POST /agents/{agent}/steps");
    let agent = named(&spans, "invoke_agent echo");
    assert!(spans.iter().all(|span| span.trace_id == TRACE), "{spans:#?}");
    assert_eq!(call.parent, CUSTOMER);
    assert_eq!(step.parent, call.id, "the orchestrator passes the span on");
    assert_eq!(agent.parent, step.id);
    assert_eq!(call.attributes["baton.route"], "Str(orchestrated)");
    assert_eq!(call.attributes["baton.orchestrator"], "Str(reference)");

    orchestrator.kill_hard();
    let answer = ask();
    assert_eq!(answer["route"]["by"], "fallback", "{answer}");
    let run = answer["run"].as_str().expect("a run");
    let spans = collector.wait_for_run(run, |spans| spans.len() >= 3);
    let call = named(&spans, "POST /agents/{agent}/query");
    assert_eq!((call.trace_id.as_str(), call.parent.as_str()), (TRACE, CUSTOMER));
    assert_eq!(named(&spans, "invoke_agent echo").parent, call.id);
    assert_eq!(named(&spans, "takeover").parent, call.id);
}
