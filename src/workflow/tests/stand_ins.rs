//! A workflow's outcome says which of its calls somebody stood in for.

use serde_json::{Value, json};

use super::stage::{Death, Stage};
use crate::workflow::STAND_INS_MAX;

fn brittle(id: &str) -> Value {
    json!({"id": id, "call": "brittle-static", "input": {"code": "boom"}})
}

fn static_of(call: &str) -> Value {
    json!({"call": call, "agent": "brittle-static", "code": "boom"})
}

#[test]
fn calls_are_named_by_their_places_also_those_of_a_workflow_that_is_called() {
    let mut stage = Stage::of(
        &json!([
            {"id": "both", "parallel": [brittle("left"), {"id": "right", "call": "inner", "input": {}}]},
            {"id": "whole", "call": "echo", "input": {"text": "x"}},
        ]),
        &json!("done"),
    );
    let inner = json!({
        "id": "inner", "version": "1.0.0", "title": "Inner", "description": "Inner.",
        "input": true, "output": true, "kind": "workflow",
        "workflow": {"steps": [brittle("deep")], "output": {"$value": "/steps/deep/output"}},
    });
    stage.team.agents.push(serde_json::from_value(inner).unwrap());
    let outcome = stage.outcome("tested", json!({}));
    assert_eq!(outcome["status"], "completed", "{outcome}");
    assert_eq!(
        outcome["stand_ins"],
        json!([static_of("left"), static_of("right/deep")])
    );
    assert!(outcome.get("stand_in").is_none(), "its output is its own: {outcome}");
}

#[test]
fn who_answered_is_named() {
    let agent = |id: &str, more: Value| {
        let mut manifest = json!({
            "id": id, "version": "1.0.0", "title": "T", "description": "D.",
            "input": {"type": "object"}, "output": true, "kind": "rules",
            "rules": {"rules": [{"name": "any", "when": true, "then": "other"}]},
        });
        for (member, value) in more.as_object().unwrap() {
            manifest[member] = value.clone();
        }
        serde_json::from_value(manifest).unwrap()
    };
    let mut stage = Stage::of(&json!([{"id": "a", "call": "shaky", "input": {}}]), &json!("done"));
    stage.team.agents.push(agent("other", json!({})));
    let fails = json!({
        "rules": {"rules": [{"name": "any", "when": false, "then": "never"}]},
        "fallback": {"agents": ["other"]},
    });
    stage.team.agents.push(agent("shaky", fails));
    let outcome = stage.outcome("tested", json!({}));
    let expected = json!([{"call": "a", "agent": "shaky", "code": "no-rule-matched", "answered_by": "other"}]);
    assert_eq!(outcome["stand_ins"], expected, "{outcome}");
}

#[test]
fn where_nobody_stood_in_nothing_is_said() {
    let stage = Stage::of(
        &json!([{"id": "a", "call": "echo", "input": {"text": "x"}}]),
        &json!("done"),
    );
    assert!(stage.outcome("tested", json!({})).get("stand_ins").is_none());
}

#[test]
fn so_many_are_named_and_a_death_forgets_none() {
    let items = |count: usize| json!({"list": vec!["x"; count]});
    let named = |count: usize, death: Option<Death>| {
        let steps = json!([{"id": "each", "over": {"$value": "/input/list"}, "items_max": 100, "concurrency": 4, "map": [brittle("item")]}]);
        let stage = Stage::of(&steps, &json!("done"));
        stage.invoke("tested", items(count), 1);
        stage.work(death);
        stage.work(None);
        let outcome = stage.answer("w");
        outcome["stand_ins"].as_array().expect("stand-ins").len()
    };
    assert_eq!(named(3, None), 3);
    let death = Death { at: 5, written: true };
    assert_eq!(named(3, Some(death)), 3);
    assert_eq!(named(STAND_INS_MAX, None), STAND_INS_MAX);
    assert_eq!(named(STAND_INS_MAX + 1, None), STAND_INS_MAX);
}
