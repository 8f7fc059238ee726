//! `baton manifest check`.

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
