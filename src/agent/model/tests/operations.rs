//! What is told of a model that is asked, and of the tools that it uses.

use super::*;
use crate::telemetry::operation::{Doing, Operation};

fn with_tools(tools: &[&str]) -> AgentManifest {
    agent("helper", json!({"tools": tools}), json!({}))
}

fn greeter() -> AgentManifest {
    serde_json::from_value(json!({
        "id": "greeter", "version": "1.0.0", "title": "Greeter", "description": "Greets.", "kind": "rules",
        "input": {"type": "object", "required": ["name"]}, "output": {"type": "object"},
        "rules": {"rules": [{"name": "any", "when": true, "then": {"text": "Hello {{ input.name }}"}}]}
    }))
    .unwrap()
}

fn chat(model: &str) -> Doing {
    Doing::Chat {
        provider: "openai".into(),
        model: model.into(),
        host: "models.example.com".into(),
    }
}

fn tool(agent: &str) -> Doing {
    Doing::Tool { agent: agent.into() }
}

/// The operations, in the order of their beginnings.
fn operations(ran: &Ran) -> Vec<Operation> {
    let mut operations = ran.journal.take_operations();
    // The inner ones end first.
    operations.sort_by_key(|operation| operation.started_at_ms);
    operations
}

fn error(operation: &Operation) -> Option<&str> {
    operation.upshot.error.as_deref()
}

#[test]
fn each_request_to_a_model_and_each_tool_is_told() {
    let outside = outside(vec![wants("call_1", "greeter", r#"{"name": "Ada"}"#), says("done")]);
    let ran = ask_of(
        &team(vec![with_tools(&["greeter"]), greeter()]),
        &outside,
        json!({"text": "Hi"}),
    );
    assert_eq!(ran.code(), "ok");
    let told = operations(&ran);
    let what: Vec<_> = told.iter().map(|operation| operation.what.clone()).collect();
    assert_eq!(what, [chat("small"), tool("greeter"), chat("small")]);
    let usage = told[0].upshot.usage;
    assert_eq!((usage.input_tokens, usage.output_tokens), (Some(11), Some(3)));
    assert_eq!(usage.cost_micros, Some(5));
    assert!(told.iter().all(|operation| error(operation).is_none()));
    let shown = serde_json::to_string(&told).unwrap();
    for content in ["Hi", "Ada", "done", KEY] {
        assert!(!shown.contains(content), "{content}: {shown}");
    }
}

#[test]
fn what_comes_to_nothing_says_why() {
    let wants = |arguments: &str| wants("call_1", "greeter", arguments);
    let outside = outside(vec![
        wants(r#"{"nam": "Ada"}"#),
        wants("{"),
        Reply::json(401, &json!({})),
    ]);
    let ran = ask_of(
        &team(vec![with_tools(&["greeter"]), greeter()]),
        &outside,
        json!({"text": "Hi"}),
    );
    assert_eq!(ran.code(), "model-key-refused");
    let errors: Vec<_> = operations(&ran)
        .iter()
        .map(|operation| error(operation).map(str::to_owned))
        .collect();
    let invalid = Some("call-input-invalid".to_owned());
    let refused = Some("model-key-refused".to_owned());
    assert_eq!(errors, [None, invalid.clone(), None, invalid, refused]);
}

#[test]
fn a_tool_that_a_model_invents_is_none() {
    let outside = outside(vec![
        wants("call_1", "not a name that anybody gave", "{}"),
        says("done"),
    ]);
    let ran = ask_of(
        &team(vec![with_tools(&["greeter"]), greeter()]),
        &outside,
        json!({"text": "Hi"}),
    );
    let what: Vec<_> = operations(&ran).into_iter().map(|operation| operation.what).collect();
    assert_eq!(what, [chat("small"), chat("small")]);
}

#[test]
fn what_a_tool_has_others_do_is_a_part_of_the_tool() {
    let inner = agent("inner", json!({"model": "other"}), json!({}));
    let outside = outside(vec![
        wants("call_1", "inner", r#"{"text": "x"}"#),
        says("inside"),
        says("done"),
    ]);
    let ran = ask_of(
        &team(vec![with_tools(&["inner"]), inner]),
        &outside,
        json!({"text": "Hi"}),
    );
    assert_eq!(ran.code(), "ok");
    let told = ran.journal.take_operations();
    let of = |what: &Doing| {
        told.iter()
            .find(|operation| operation.what == *what)
            .expect("it is told")
    };
    assert!(of(&tool("inner")).traceparent.contains(&of(&chat("other")).parent_span));
    assert!(super::super::super::testing::SPAN.contains(&of(&tool("inner")).parent_span));
    let spans: std::collections::BTreeSet<_> = told.iter().map(|operation| &operation.traceparent).collect();
    assert_eq!(spans.len(), told.len());
}
