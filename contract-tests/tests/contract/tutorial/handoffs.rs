//! `docs/handoffs.md`, executed as it is written: its agents are those of `contract-tests/manifests`, each command is run, and
//! what the page shows is what comes out.

use std::fs;

use contract_tests::environment::repository;
use contract_tests::folder::Folder;
use contract_tests::gateway::shared;
use serde_json::Value;

use super::{blocks, fits, shell};
use crate::support::key;

const PAGE: &str = "handoffs.md";

#[test]
fn the_pages_agents_are_those_that_the_tests_run() {
    let mut found = 0;
    for block in blocks(PAGE).iter().filter(|block| block.language == "json") {
        let name = block
            .lead
            .split('`')
            .nth(1)
            .expect("a file's name")
            .replace("manifests/", "");
        let file = repository().join("contract-tests/manifests").join(&name);
        let mut ours: Value = serde_json::from_slice(&fs::read(file).expect("the fixture")).expect("JSON");
        ours["$schema"] = "schema/agent.schema.json".into();
        let theirs: Value = serde_json::from_str(&block.text).expect("JSON");
        assert_eq!(ours, theirs, "{name}");
        found += 1;
    }
    assert_eq!(found, 2);
}

/// Runs a line of the page's shell, and gives what it prints without the lines about signatures.
fn run(folder: &Folder, line: &str) -> String {
    let key_file = folder.write("key.json", key("first").record().to_string());
    let variables = [
        ("BATON_GATEWAY", shared().origin()),
        ("BATON_KEY_FILE", key_file.display().to_string()),
    ];
    let printed = shell(folder, line, &variables);
    let lines = printed.lines().filter(|line| !line.starts_with("signature verified"));
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

#[test]
fn the_page_works_as_it_is_written() {
    let folder = Folder::new("tutorial");
    let mut printed = None;
    let mut compared = 0;
    for block in blocks(PAGE) {
        match block.language.as_str() {
            "sh" => {
                let mut lines = block.commands();
                // What concerns the checkout, not the gateway.
                lines.retain(|line| !line.starts_with("export PATH") && !line.contains("manifest check"));
                printed = Some(lines.iter().map(|line| run(&folder, line)).collect::<String>());
            }
            "text" => {
                let found = printed.take().expect("a command before what it prints");
                if found.is_empty() {
                    continue;
                }
                let (shown, found): (Vec<_>, Vec<_>) = (block.text.lines().collect(), found.lines().collect());
                let same =
                    shown.len() == found.len() && shown.iter().zip(&found).all(|(shown, found)| fits(shown, found));
                assert!(
                    same,
                    "the page shows\n{}\nbut this is printed\n{}",
                    shown.join("\n"),
                    found.join("\n")
                );
                compared += 1;
            }
            _ => {}
        }
    }
    assert!(compared >= 10, "{compared}");
}
