//! `docs/handoffs.md`, executed as it is written: its agents are those of `contract-tests/manifests`, each command is run, and
//! what the page shows is what comes out.

use std::fs;
use std::process::Command;

use contract_tests::command_line::Run;
use contract_tests::environment::{Environment, repository};
use contract_tests::folder::Folder;
use contract_tests::gateway::shared;
use serde_json::Value;

use crate::support::key;

/// A fenced block of the page.
struct Block {
    language: String,
    text: String,
    /// The line of text before it.
    lead: String,
}

fn blocks() -> Vec<Block> {
    let page = fs::read_to_string(repository().join("docs/handoffs.md")).expect("the page");
    let mut blocks = Vec::new();
    let (mut open, mut lead) = (None::<Block>, String::new());
    for line in page.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => blocks.push(block),
            (Some(language), None) => {
                open = Some(Block {
                    language: language.to_owned(),
                    text: String::new(),
                    lead: lead.clone(),
                });
            }
            (None, Some(mut block)) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) if !line.is_empty() => lead = line.to_owned(),
            (None, None) => {}
        }
    }
    blocks
}

#[test]
fn the_pages_agents_are_those_that_the_tests_run() {
    let mut found = 0;
    for block in blocks().iter().filter(|block| block.language == "json") {
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
    let mut command = Command::new("sh");
    let cli = Environment::get().cli.parent().expect("a folder").to_owned();
    let path = std::env::join_paths([cli, "/usr/bin".into(), "/bin".into()]).expect("folders");
    command
        .args(["-c", line])
        .env("PATH", path)
        .env("BATON_GATEWAY", shared().origin())
        .env(
            "BATON_KEY_FILE",
            folder.write("key.json", key("first").record().to_string()),
        );
    let run = Run::of(&mut command, folder.path()).expect(0);
    let lines = run
        .stdout
        .lines()
        .filter(|line| !line.starts_with("signature verified"));
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Whether the text is what the page shows, where an ellipsis stands for anything within a line.
fn fits(shown: &str, found: &str) -> bool {
    match shown.split_once('…') {
        None => shown == found,
        Some((before, after)) => found.strip_prefix(before).is_some_and(|rest| {
            let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.any(|at| fits(after, &rest[at..]))
        }),
    }
}

#[test]
fn the_page_works_as_it_is_written() {
    let folder = Folder::new("tutorial");
    let mut printed = None;
    let mut compared = 0;
    for block in blocks() {
        match block.language.as_str() {
            "sh" => {
                let lines = block.text.lines();
                // What concerns the checkout, not the gateway.
                let lines = lines.filter(|line| !line.starts_with("export PATH") && !line.contains("manifest check"));
                printed = Some(lines.map(|line| run(&folder, line)).collect::<String>());
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
