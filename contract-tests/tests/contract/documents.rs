//! The published documents, as golden files: a change of the wire shows as a diff.
//!
//! `BATON_GOLDEN=write cargo xtask test --package contract-tests golden` writes them anew.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use baton::documents::{Document, discovery, openapi};
use baton::manifest::{self, Team};
use contract_tests::environment::repository;
use contract_tests::gateway::shared;
use contract_tests::message::Message;
use serde_json::Value;

/// Stands in the golden files for the origin of a gateway.
const ORIGIN: &str = "https://gateway.example.com";

fn team() -> Team {
    manifest::load(&repository().join("manifests")).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

fn golden_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

#[track_caller]
fn golden(name: &str) -> Value {
    let file = golden_file(name);
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[track_caller]
fn check(name: &str, document: &Document) {
    let value: Value = serde_json::from_str(&document.body).expect("a document is JSON");
    let found = format!("{value:#}\n");
    let file = golden_file(name);
    if env::var("BATON_GOLDEN").is_ok_and(|value| value == "write") {
        fs::create_dir_all(file.parent().expect("a folder")).expect("the folder of golden files");
        fs::write(&file, &found).expect("a golden file");
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    let difference = found
        .lines()
        .zip(expected.lines())
        .position(|(found, expected)| found != expected);
    let line = difference.unwrap_or_else(|| found.lines().count().min(expected.lines().count()));
    assert!(
        found == expected,
        "{name} changed at line {}:\n  is      {}\n  was     {}\nIf that is meant: BATON_GOLDEN=write cargo xtask test \
         --package contract-tests golden, and look at the diff",
        line + 1,
        found.lines().nth(line).unwrap_or_default(),
        expected.lines().nth(line).unwrap_or_default(),
    );
}

#[test]
fn the_discovery_manifest_is_golden() {
    check("discovery.json", &discovery::discovery(&team(), ORIGIN));
}

#[test]
fn the_openapi_document_is_golden() {
    check("openapi.json", &openapi::openapi(&team(), ORIGIN));
}

/// A served document without the agents that only tests have, and with the golden files' origin.
fn served(path: &str) -> Value {
    let answer = Message::new(&shared(), "GET", path).send();
    let text = answer.text().replace(&shared().origin(), ORIGIN);
    serde_json::from_str(&text).expect("a document is JSON")
}

fn is_of_the_team(id: &Value) -> bool {
    let file = format!("manifests/{}.json", id.as_str().unwrap_or_default());
    repository().join(file).exists()
}

#[test]
fn the_served_discovery_manifest_is_the_golden_one() {
    let mut found = served("/.well-known/baton.json");
    let agents = found["agents"].as_array_mut().expect("agents");
    agents.retain(|agent| is_of_the_team(&agent["id"]));
    assert_eq!(found, golden("discovery.json"));
}

#[test]
fn the_served_openapi_document_is_the_golden_one() {
    let mut found = served("/openapi.json");
    for (action, method) in [
        ("steps", "post"),
        ("handoffs", "post"),
        ("query", "post"),
        ("metrics", "get"),
    ] {
        let pointer = format!("/paths/~1agents~1{{agent}}~1{action}/{method}/parameters/0/schema/enum");
        let agents = found
            .pointer_mut(&pointer)
            .and_then(Value::as_array_mut)
            .expect("the agents' ids");
        agents.retain(is_of_the_team);
    }
    assert_eq!(found, golden("openapi.json"));
}
