//! What the check of a folder of manifests finds, and where.

mod direct;
mod kinds;
mod notices;
mod prompts;

use super::*;
use crate::manifest::{
    ATTEMPTS_MAX, BACKOFF_MAX_MS, BODY_MAX_BYTES_LIMIT, DEADLINE_MAX_MS, FALLBACK_AGENTS_MAX, RETRIES_MAX, RUST_AGENTS,
    workflow,
};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Loads a folder with these files beside a good `gateway.json`, and answers the findings without the folder's name.
fn findings(files: &[(&str, String)]) -> Vec<String> {
    findings_with(json!({}), files)
}

/// The same, with this `routing` of the gateway.
fn findings_with(routing: Value, files: &[(&str, String)]) -> Vec<String> {
    findings_of(&json!({ "routing": routing }), files)
}

/// The same, with these fields of the gateway.
fn findings_of(gateway_fields: &Value, files: &[(&str, String)]) -> Vec<String> {
    static FOLDERS: AtomicUsize = AtomicUsize::new(0);
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("baton-manifests-{}-{number}", std::process::id()));
    std::fs::create_dir_all(dir.join("shared")).unwrap();
    let mut gateway = json!({"id": "g", "version": "1.0.0", "title": "G", "description": "G.",
        "limits": {"deadline_max_ms": 60000}});
    for (field, value) in gateway_fields.as_object().unwrap() {
        gateway[field] = value.clone();
    }
    std::fs::write(dir.join("gateway.json"), gateway.to_string()).unwrap();
    for (name, text) in files {
        std::fs::write(dir.join(name), text).unwrap();
    }
    let found = load(&dir).err().unwrap_or_default();
    std::fs::remove_dir_all(&dir).unwrap();
    let prefix = format!("{}{}", dir.display(), std::path::MAIN_SEPARATOR);
    found
        .iter()
        .map(|finding| finding.to_string().replace(&prefix, ""))
        .collect()
}

/// A good agent with some fields changed, or taken out where they are null.
fn agent(id: &str, changes: Value) -> (String, String) {
    let mut agent = json!({
        "id": id, "version": "1.0.0", "title": "A", "description": "A.", "kind": "rules",
        "input": {"type": "object", "properties": {"n": {"type": "integer"}}},
        "output": {"type": "string"},
        "rules": {"rules": [{"name": "any", "when": true, "then": "{{ input.n }}"}]}
    });
    for (field, value) in changes.as_object().unwrap() {
        agent[field] = value.clone();
    }
    agent.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    (format!("{id}.json"), agent.to_string())
}

#[track_caller]
fn check(agents: &[(String, String)], expected: &[&str]) {
    let files: Vec<_> = agents
        .iter()
        .map(|(name, text)| (name.as_str(), text.clone()))
        .collect();
    check_found(&findings(&files), expected);
}

#[track_caller]
fn check_found(found: &[String], expected: &[&str]) {
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nis not: {expected}");
    }
}

#[test]
fn a_good_agent_passes() {
    check(
        &[
            agent("a", json!({})),
            agent("b", json!({"fallback": {"agents": ["a"], "answer": "none"}})),
        ],
        &[],
    );
}

#[test]
fn everything_that_is_wrong_is_named() {
    check(
        &[
            agent(
                "a",
                json!({"id": "b", "input": {"type": "object", "properties": {"n": {"minLenght": 1}}}}),
            ),
            agent(
                "c",
                json!({
                    "examples": [{"title": "E", "input": {"n": "x"}, "output": 1}],
                    "rules": {"rules": [
                        {"name": "one", "when": {"pattern": "(?=x)"}, "then": {"x": ["{{ input."]}},
                        {"name": "one", "when": {"$ref": "https://example.com/x"}, "then": 1}
                    ], "otherwise": {"$value": "n"}},
                    "deadline_ms": 60001,
                    "retry": {"backoff_ms": 10, "backoff_max_ms": 5},
                    "prompt": "c.md"
                }),
            ),
            agent("d", json!({"colour": "red", "limits": {"size": 1}, "deadline_ms": 1})),
            agent("e", json!({"kind": "rust", "rust": {"name": "triage"}})),
            agent("f", json!({"kind": "magic"})),
            ("g.json".to_owned(), "{\"id\":\n{\"x\":1,\"x\":2}}".to_owned()),
        ],
        &[
            "a.json#/id: the file must be named `b.json`",
            "a.json#/input/properties/n/minLenght: not a keyword",
            "c.json#/prompt: `c.md` cannot be read",
            "c.json#/examples/0/input/n: The value must be an integer.",
            "c.json#/examples/0/output: The value must be a string.",
            "c.json#/rules/rules/0/when/pattern: ",
            "c.json#/rules/rules/0/then/x/0: line 1: ",
            "c.json#/rules/rules/1/name: another rule is named `one`",
            "c.json#/rules/rules/1/when/$ref: a reference to another host is refused",
            "c.json#/rules/otherwise: `$value` must be a JSON Pointer",
            "c.json#/retry/backoff_ms: must not be longer",
            "d.json#/limits/size: a manifest has no such field",
            "d.json#/deadline_ms: The number must be 100 at least.",
            "d.json#/colour: a manifest has no such field",
            "e.json#/rules: No value is allowed here.",
            "f.json#/kind: ",
            "g.json#/id/x: line 2, column 10: the object has this key twice",
            "c.json#/deadline_ms: the gateway allows 60000 at most",
        ],
    );
    check(
        &[agent(
            "a",
            json!({"kind": "rust", "rust": {"name": "none"}, "rules": null}),
        )],
        &["a.json#/rust/name: no Rust agent is registered as `none`; there are redact, summarize, triage"],
    );
}

#[test]
fn the_manifest_in_the_documentation_passes() {
    let page = include_str!("../../../docs/agents.md");
    let (_, rest) = page.split_once("```json\n").unwrap();
    let (manifest, _) = rest.split_once("```").unwrap();
    check(&[("greet.json".to_owned(), manifest.to_owned())], &[]);
}

#[test]
fn shared_definitions_are_found() {
    let shared = |text: &str| ("shared/d.json".to_owned(), text.to_owned());
    let refers = || agent("a", json!({"input": {"$ref": "shared/d.json#/$defs/Word"}}));
    check(&[refers(), shared("{\"$defs\":{\"Word\":{\"type\":\"string\"}}}")], &[]);
    check(
        &[refers(), shared("{\"$defs\":{}}")],
        &["a.json#/input/$ref: nothing is at"],
    );
    check(&[refers()], &["a.json#/input/$ref: shared/d.json: cannot be read"]);
    check(&[refers(), shared("{")], &["a.json#/input/$ref: shared/d.json: line 1"]);
}

#[test]
fn the_schema_of_manifests_has_the_limits_of_the_code() {
    let schema: Value = serde_json::from_str(AGENT_SCHEMA).unwrap();
    let gateway: Value = serde_json::from_str(GATEWAY_SCHEMA).unwrap();
    for (schema, pointer, limit) in [
        (&schema, "/properties/deadline_ms/maximum", DEADLINE_MAX_MS),
        (&schema, "/properties/deadline_ms/default", super::super::DEADLINE_MS),
        (
            &schema,
            "/properties/retry/properties/max_attempts/maximum",
            ATTEMPTS_MAX.into(),
        ),
        (
            &schema,
            "/properties/retry/properties/backoff_max_ms/maximum",
            BACKOFF_MAX_MS,
        ),
        (
            &schema,
            "/properties/limits/properties/body_max_bytes/maximum",
            BODY_MAX_BYTES_LIMIT,
        ),
        (
            &schema,
            "/properties/fallback/properties/agents/maxItems",
            FALLBACK_AGENTS_MAX as u64,
        ),
        (
            &schema,
            "/properties/direct/properties/budget_ms/maximum",
            DEADLINE_MAX_MS,
        ),
        (
            &gateway,
            "/properties/limits/properties/deadline_max_ms/maximum",
            DEADLINE_MAX_MS,
        ),
        (
            &gateway,
            "/properties/limits/properties/json_depth_max/maximum",
            JSON_DEPTH_MAX as u64,
        ),
        (
            &gateway,
            "/properties/limits/properties/body_max_bytes/maximum",
            BODY_MAX_BYTES_LIMIT,
        ),
    ] {
        assert_eq!(schema.pointer(pointer), Some(&json!(limit)), "{pointer}");
    }
    for (pointer, limit) in [
        ("Condition/maxLength", workflow::CONDITION_MAX_CHARS as u64),
        ("Nodes/maxItems", workflow::NODES_MAX as u64),
        ("Node/properties/parallel/maxItems", workflow::FAN_OUT_MAX as u64),
        ("Node/properties/concurrency/maximum", workflow::FAN_OUT_MAX as u64),
        ("Node/properties/items_max/maximum", workflow::ITEMS_MAX),
        ("Node/properties/times_max/maximum", workflow::TIMES_MAX),
        (
            "Node/properties/retry/properties/max_attempts/maximum",
            ATTEMPTS_MAX.into(),
        ),
        (
            "Node/properties/retry/properties/backoff_max_ms/maximum",
            BACKOFF_MAX_MS,
        ),
    ] {
        let pointer = format!("/$defs/{pointer}");
        assert_eq!(schema.pointer(&pointer), Some(&json!(limit)), "{pointer}");
    }
    let id = format!("^[a-z][a-z0-9-]{{0,{}}}$", super::super::AGENT_ID_MAX_CHARS - 1);
    assert_eq!(schema.pointer("/properties/id/pattern"), Some(&json!(id)));
    let named = Schema::compile(schema.pointer("/properties/rust/properties/name").unwrap()).unwrap();
    assert!(RUST_AGENTS.iter().all(|name| named.accepts(&json!(name))));
}
