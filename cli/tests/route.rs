//! `baton route explain`.

mod common;

use std::path::{Path, PathBuf};

use common::{baton, file, folder};
use serde_json::{Value, json};

/// A folder with two agents that customers may call.
fn team(name: &str, routing: &Value) -> PathBuf {
    let folder = folder(name);
    let gateway =
        json!({"id": "desk", "version": "1.0.0", "title": "Desk", "description": "A team.", "routing": routing});
    file(&folder, "gateway.json", gateway.to_string());
    for (id, phrase, against) in [("bill", "invoice*", "voice"), ("greet", "hello", "invoice*")] {
        let agent = json!({
            "id": id, "version": "1.0.0", "title": "A", "description": "A.",
            "input": {"type": "string"}, "output": true, "kind": "rules",
            "rules": {"rules": [{"name": "all", "when": true, "then": "done"}]},
            "direct": {"text": {"$value": "/input/text"}},
            "routing": {"keywords": [{"phrase": phrase, "weight": 3}], "negative": [{"phrase": against}]},
        });
        file(&folder, &format!("{id}.json"), agent.to_string());
    }
    folder
}

fn explain(folder: &Path, text: &str, more: &[&str]) -> common::Run {
    let folder = folder.to_str().expect("a path");
    baton(&[&["route", "explain", text, "--manifests", folder], more].concat())
}

#[test]
fn the_choice_and_the_candidates_are_shown() {
    let folder = team("route-good", &json!({}));
    explain(&folder, "My invoices, no hello", &[]).expect(
        0,
        &[
            "bill, by its phrases, confidence 0.75\nFound \"invoice*\".\n",
            "\n  bill        3  \"invoice*\" +3\n",
            "\n  greet       0  \"invoice*\" -1, \"hello\" +3 (negated: not counted)\n",
        ],
    );
}

#[test]
fn a_text_that_nothing_speaks_for() {
    explain(&team("route-nobody", &json!({})), "What now?", &[]).expect(1, &["no agent\n", "routing.default", "greet"]);
    let folder = team("route-default", &json!({"default": "greet"}));
    explain(&folder, "What now?", &[]).expect(0, &["greet, by default, confidence 0\n"]);
}

#[test]
fn json_for_scripts() {
    let folder = team("route-json", &json!({}));
    let parsed = |text: &str, code: i32| -> Value {
        let run = explain(&folder, text, &["--json"]).expect(code, &[]);
        serde_json::from_str(&run.stdout).expect("JSON")
    };
    let choice = parsed("an invoice", 0);
    assert_eq!((&choice["agent"], &choice["by"]), (&json!("bill"), &json!("keywords")));
    assert_eq!(choice["candidates"][0]["matches"][0]["phrase"], "invoice*");
    let nobody = parsed("", 1);
    assert_eq!(nobody["agent"], Value::Null);
    assert_eq!(nobody["candidates"].as_array().map(Vec::len), Some(2));
}

#[test]
fn manifests_that_are_wrong_or_not_there() {
    let folder = team("route-bad", &json!({"default": "none"}));
    explain(&folder, "x", &[]).expect(1, &["gateway.json#/routing/default: there is no agent `none`"]);
    explain(Path::new("nowhere"), "x", &[]).expect(2, &["nowhere is no folder"]);
}
