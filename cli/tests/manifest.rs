//! `baton manifest check` and `baton manifest graph`.

mod common;

use common::{baton, file, folder};

const GATEWAY: &str = r#"{"id":"desk","version":"1.0.0","title":"Desk","description":"A team for tests."}"#;
const AGENT: &str = r#"{"id":"greet","version":"1.0.0","title":"Greet","description":"Greets whoever is named.",
 "input":{"type":"object","required":["name"],"properties":{"name":{"type":"string"}}},
 "output":{"type":"object","required":["text"],"properties":{"text":{"type":"string"}}},
 "kind":"rules","rules":{"rules":[{"name":"all","when":true,"then":{"text":"hello"}}]}}"#;

#[test]
fn a_good_team_is_named() {
    let folder = folder("manifest-good");
    file(&folder, "gateway.json", GATEWAY);
    file(&folder, "greet.json", AGENT);
    baton(&["manifest", "check", folder.to_str().expect("a path")]).expect(0, &["1 agent, no findings: greet"]);
}

#[test]
fn every_finding_is_told_with_its_place() {
    let folder = folder("manifest-bad");
    file(&folder, "gateway.json", GATEWAY);
    file(&folder, "greet.json", AGENT.replace("1.0.0", "one"));
    file(&folder, "other.json", AGENT.replace("\"greet\"", "\"another\""));
    let run = baton(&["manifest", "check", folder.to_str().expect("a path")])
        .expect(1, &["greet.json#/version: ", "other.json#/id: "]);
    assert!(run.stderr.contains("findings"), "{}", run.stderr);
}

#[test]
fn a_folder_that_is_not_there() {
    baton(&["manifest", "check", "nowhere"]).expect(2, &["nowhere is no folder"]);
}

const WORKFLOW: &str = r#"{"id":"twice","version":"1.0.0","title":"Twice","description":"Greets twice.",
 "input":{"type":"object"},"output":{"type":"string"},
 "kind":"workflow","workflow":{"output":"{{ steps.second.output.text }}","steps":[
 {"id":"first","call":"greet","input":{"$value":"/input"}},
 {"id":"second","call":"greet","input":{"name":"{{ steps.first.output.text }}"}}]}}"#;

const DRAWN: &str = r#"---
title: Twice
---
flowchart TD
    begin([input])
    step_first["first: greet"]
    begin --> step_first
    step_second["second: greet"]
    step_first --> step_second
    finish([output])
    step_second --> finish
"#;

#[test]
fn a_workflow_is_drawn() {
    let folder = folder("manifest-graph");
    file(&folder, "gateway.json", GATEWAY);
    file(&folder, "greet.json", AGENT);
    file(&folder, "twice.json", WORKFLOW);
    let folder = folder.to_str().expect("a path");
    let run = baton(&["manifest", "graph", "twice", "--manifests", folder]).expect(0, &[]);
    assert_eq!(run.stdout, DRAWN);
    baton(&["manifest", "graph", "greet", "--manifests", folder])
        .expect(2, &["there is no workflow `greet` in ", "; there are twice"]);
}

#[test]
fn no_workflow_is_drawn_of_a_team_with_findings() {
    let folder = folder("manifest-graph-bad");
    file(&folder, "gateway.json", GATEWAY);
    file(&folder, "twice.json", WORKFLOW);
    baton(&[
        "manifest",
        "graph",
        "twice",
        "--manifests",
        folder.to_str().expect("a path"),
    ])
    .expect(1, &["twice.json#/workflow/steps/0/call: there is no agent `greet`"]);
}
