//! What a collector is told beside the tree of a step: links of those who hand over, and what went wrong although nothing is
//! sampled.

use contract_tests::collector::{Collector, Span};
use contract_tests::gateway::Gateway;
use contract_tests::message::Message;
use contract_tests::outside::{fresh, wait_for};
use serde_json::json;

use super::{ended_executions, gateway, invoke, nobody, options, step};
use crate::direct::{answered, api_key, call};

#[track_caller]
fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

/// The span of the step, as its orchestrator sees it.
#[track_caller]
fn of_step<'s>(spans: &'s [Span], step: &str) -> &'s Span {
    let text = format!("Str({step})");
    let found = spans
        .iter()
        .find(|span| span.kind == "SPAN_KIND_SERVER" && span.attributes.get("baton.step") == Some(&text));
    found.unwrap_or_else(|| panic!("{step}: {spans:#?}"))
}

#[test]
fn who_hands_over_is_linked_at_the_collector() {
    let mut collector = Collector::new();
    collector.start();
    let gateway = gateway(&collector.endpoint(), "http/protobuf", nobody());
    let run = fresh();
    // An agent hands off within a step.
    let next = json!({ "agent": "script-again", "reason": "it takes longer", "input": { "actions": [] } });
    let body = json!({
        "run": run, "step": "s1", "follow_handoffs": true, "input": { "actions": [{ "hand_off": next }] },
    });
    invoke(&gateway, Message::step(&gateway, "script", &body));
    // And the run is handed over, with a step.
    let step = json!({ "step": "s2", "input": { "actions": [] } });
    let body = json!({ "run": run, "from": "the front desk", "reason": "it is theirs", "step": step });
    let handoff = Message::post(&gateway, "/agents/echo/handoffs", &body).idempotency_key("h1");
    let receipt = handoff.signed(gateway.key("first")).send();
    let _ = receipt.message(201, "handoff-receipt");

    let spans = collector.wait_for_run(&run, |spans| spans.len() >= 6);
    let (first, second) = (
        named(&spans, "invoke_agent script"),
        named(&spans, "invoke_agent script-again"),
    );
    assert_eq!((&first.links, &second.links), (&vec![], &vec![first.id.clone()]));
    assert_eq!(first.parent, second.parent, "both are parts of the step");
    let handoff = named(&spans, "handoff echo");
    assert_eq!(
        handoff.links,
        [of_step(&spans, "s1").id.as_str()],
        "what the run did last"
    );
    assert_eq!(handoff.parent, of_step(&spans, "s2").id, "the step that it begins");
    assert_eq!(handoff.attributes["baton.handoff.from"], "Str(the front desk)");
}

fn fail(gateway: &Gateway, run: &str) {
    let body = json!({ "run": run, "step": "s1", "input": { "actions": [{ "fail": { "code": "boom" } }] } });
    let message = Message::step(gateway, "script", &body);
    assert_eq!(
        message.signed(gateway.key("first")).send().outcome()["status"],
        "failed"
    );
}

#[test]
fn what_went_wrong_is_told_although_nothing_is_sampled() {
    let mut collector = Collector::new();
    collector.start();
    let mut options = options(&collector.endpoint(), "http/protobuf", nobody());
    options.variables.push(("OTEL_TRACES_SAMPLER", "always_off".to_owned()));
    let gateway = Gateway::start(options);
    let (well, failed) = (fresh(), fresh());
    let outcome = invoke(&gateway, step(&gateway, &well, "s1"));
    let traceparent = outcome["trace"]["traceparent"].as_str().expect("text");
    assert!(traceparent.ends_with("-00"), "{traceparent}");
    // The history has everything; its batch is no later than the one of the spans.
    let _ = ended_executions(&gateway, 1);
    fail(&gateway, &failed);
    // Nobody coordinates: the gateway does, in the orchestrator's place.
    let api_key = api_key(&gateway, "operator", &json!({ "name": "tests" }));
    let body = json!({ "input": { "actions": [] } });
    let answer = answered(&call(&gateway, &api_key, "/agents/script/query", &body).send());
    assert_eq!(answer["route"]["by"], "fallback", "{answer}");
    let fallback = answer["run"].as_str().expect("a run");

    let spans = collector.wait_for_run(&failed, |spans| spans.len() >= 2);
    assert_eq!(of_step(&spans, "s1").status, "STATUS_CODE_ERROR");
    assert_eq!(
        named(&spans, "invoke_agent script").attributes["error.type"],
        "Str(boom)"
    );
    let spans = collector.wait_for_run(fallback, |spans| spans.len() >= 3);
    let takeover = named(&spans, "takeover");
    assert!(
        takeover.attributes.contains_key("baton.takeover.reason"),
        "{takeover:?}"
    );
    assert_eq!(
        named(&spans, "invoke_agent script").attributes["baton.route"],
        "Str(fallback)"
    );
    let _ = ended_executions(&gateway, 3);
    wait_for("nothing more to be on its way", || {
        (super::outbox(&gateway)["waiting"] == json!([])).then_some(())
    });
    assert!(!collector.printed().contains(&well), "what went well is not told");
}
