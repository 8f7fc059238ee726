use std::cell::RefCell;

use serde_json::json;

use super::super::testing::{BEGIN_MS, FakeOutside, Reply, connections, done};
use super::super::{Journal, Retry};
use super::*;
use crate::manifest::Team;

fn agent(manifest: Value) -> AgentManifest {
    serde_json::from_value(manifest).unwrap()
}

fn rules(id: &str, then: Value) -> AgentManifest {
    agent(json!({
        "id": id, "version": "1.0.0", "title": "T", "description": "D.", "kind": "rules",
        "input": {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}},
        "output": {"type": "object", "properties": {"n": {"type": "integer"}}},
        "rules": {"rules": [{"name": "any", "when": true, "then": then}]}
    }))
}

fn team(agents: Vec<AgentManifest>) -> Team {
    let mut team = Team::embedded().clone();
    team.agents.extend(agents);
    team
}

/// What comes of calling an agent of this team, and the errors of what was told.
fn call(team: &Team, id: &str, input: &Value, depth: usize) -> (Result<Value, Failure>, Vec<Option<String>>) {
    let (outside, journal) = (FakeOutside::new(connections(&[]), []), Journal::default());
    let context = Context {
        depth,
        ..outside.context(team, &journal, None)
    };
    let result = done(context.call(id, input));
    let told = journal.take_operations();
    (result, told.into_iter().map(|told| told.upshot.error).collect())
}

#[test]
fn an_agent_is_called_and_answers() {
    #[derive(serde::Deserialize, PartialEq, Debug)]
    struct Typed {
        n: u8,
    }
    let team = team(vec![rules("plus", json!({"n": {"$value": "/input/n"}}))]);
    let (outside, journal) = (FakeOutside::new(connections(&[]), []), Journal::default());
    let context = outside.context(&team, &journal, None);
    // A schema takes 3.0 for an integer.
    assert_eq!(done(context.call("plus", &json!({"n": 3.0}))), Ok(Typed { n: 3 }));
    let told = journal.take_operations().remove(0);
    assert_eq!(told.what, Doing::Call { agent: "plus".into() });
    assert_eq!(told.upshot, Upshot::default());
    let refused: Result<Typed, _> = done(context.call("plus", &json!({"n": 256})));
    assert_eq!(refused.unwrap_err().code, "call-output-invalid");
}

#[test]
fn what_cannot_be_is_a_failure_with_a_code() {
    let hands_off = agent(json!({
        "id": "gives-up", "version": "1.0.0", "title": "T", "description": "D.", "kind": "rules",
        "input": {"type": "object"}, "output": {"type": "object"}, "handoffs": ["triage"],
        "rules": {"rules": [{"name": "any", "when": true, "hand_off": {"agent": "triage", "reason": "r"}}]}
    }));
    let team = team(vec![rules("wrong", json!({"n": "text"})), hands_off]);
    for (id, input, expected) in [
        ("nobody", json!({}), "call-not-possible"),
        ("front-desk", json!({"text": "x"}), "call-not-possible"),
        ("wrong", json!({"n": "x"}), "call-input-invalid"),
        ("wrong", json!({"n": 1}), "call-output-invalid"),
        ("gives-up", json!({}), "call-handed-off"),
    ] {
        let (result, told) = call(&team, id, &input, 0);
        let failure = result.expect_err(id);
        assert_eq!((failure.code.as_str(), failure.retry), (expected, Retry::Never), "{id}");
        let expected = match expected {
            "call-not-possible" => vec![],
            code => vec![Some(code.to_owned())],
        };
        assert_eq!(told, expected, "{id}");
    }
}

#[test]
fn so_many_agents_wait_for_one_another() {
    let team = team(vec![rules("plus", json!({"n": 1}))]);
    let code = |depth| {
        call(&team, "plus", &json!({"n": 1}), depth)
            .0
            .map_err(|failure| failure.code)
    };
    assert_eq!(code(CHILD_DEPTH_MAX - 1), Ok(json!({"n": 1})));
    assert_eq!(code(CHILD_DEPTH_MAX), Err("call-too-deep".to_owned()));
}

/// A model that answers nothing within the agent's deadline: what it had begun is told, and its state is nobody's.
#[test]
fn an_agent_has_its_own_deadline() {
    let slow = agent(json!({
        "id": "slow", "version": "1.0.0", "title": "T", "description": "D.", "kind": "model", "deadline_ms": 500,
        "input": {"type": "object"}, "output": {"type": "string"},
        "model": {"provider": "chat", "model": "m", "instructions": "i", "messages": [{"role": "user", "content": "x"}]}
    }));
    let team = team(vec![slow]);
    let models = r#"{"chat": {"api": "openai-chat", "base_url": "https://models.example.com/v1"}}"#;
    let outside = FakeOutside::new(connections(&[("BATON_MODELS", models)]), [Reply::Hangs]);
    let journal = Journal::default();
    let context = outside.context(&team, &journal, None);
    let result: Result<Value, _> = done(context.call("slow", &json!({})));
    let failure = result.unwrap_err();
    assert!(matches!(failure.retry, Retry::After { .. }), "{failure:?}");
    assert!(outside.now_ms.get() <= BEGIN_MS + 500, "{failure:?}");
    let told = RefCell::new(journal.take_operations());
    assert_eq!(told.borrow().len(), 2, "the model, and the call: {told:?}");
}
