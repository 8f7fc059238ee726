//! The snippets of the documentation, run as they are written: libraries that other people made understand Baton.

use std::fs;
use std::path::Path;
use std::process::Command;

use contract_tests::command_line::Run;
use contract_tests::environment::{Environment, repository};
use contract_tests::folder::Folder;
use contract_tests::gateway::shared;
use contract_tests::keys::Key;
use contract_tests::schemas::assert_fits;
use serde_json::Value;

use crate::support::key;

/// Where the documentation shows a snippet.
const PAGES: [&str; 2] = ["README.md", "docs/protocol.md"];

/// Runs a snippet with these arguments.
fn run(interpreter: &Path, snippet: &str, key: &Key, arguments: [&str; 2]) -> Run {
    let folder = Folder::new("snippet");
    let key_file = folder.write("key.json", key.record().to_string());
    let mut command = Command::new(interpreter);
    command
        .arg(repository().join("docs/snippets").join(snippet))
        .args(arguments)
        .env("BATON_GATEWAY", shared().origin())
        .env("BATON_KEY_FILE", key_file)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Run::of(&mut command, folder.path())
}

/// The snippet completes a step, and takes a signed refusal and an unsigned one for what they are.
#[track_caller]
fn check(interpreter: &Path, snippet: &str) {
    let run = |key: &Key, arguments| run(interpreter, snippet, key, arguments);
    let completed = run(key("first"), ["triage", "I was charged twice: “ä”"]).expect(0);
    let outcome: Value = serde_json::from_str(&completed.stdout).expect("the outcome");
    assert_fits("step-outcome", &outcome);
    assert_eq!(outcome["status"], "completed");
    assert_eq!(outcome["output"]["category"], "support");

    let refused = run(key("first"), ["no-such-agent", "hi"]).expect(1);
    let problem: Value = serde_json::from_str(&refused.stdout).expect("the problem");
    assert_eq!(problem["code"], "agent-unknown");

    let stranger = run(&Key::new("nobody", "acme", "invoke"), ["triage", "hi"]).expect(1);
    assert_eq!(stranger.stdout, "");
    assert!(stranger.stderr.contains("not verified"), "{}", stranger.stderr);
}

#[test]
fn the_python_snippet_completes_a_step() {
    check(&Environment::get().python, "sign_step.py");
}

#[test]
fn the_javascript_snippet_completes_a_step() {
    check(&Environment::get().node, "sign_step.mjs");
}

/// A page shows a snippet between `<!-- snippet: NAME -->` and `<!-- end of snippet -->`, as one code block.
#[test]
fn the_pages_show_the_snippets_as_they_are_run() {
    let mut shown = Vec::new();
    for page in PAGES {
        let text = fs::read_to_string(repository().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        for part in text.split("<!-- snippet: ").skip(1) {
            let (name, rest) = part.split_once(" -->\n").expect("the end of the mark");
            let (block, _) = rest
                .split_once("<!-- end of snippet -->")
                .expect("the end of the snippet");
            let code = block
                .trim()
                .strip_prefix("```")
                .and_then(|block| block.split_once('\n')?.1.strip_suffix("```"))
                .unwrap_or_else(|| panic!("{page}: {name} is not one code block"));
            let file = repository().join("docs/snippets").join(name);
            let source = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            assert!(code == source, "{page} shows another text than docs/snippets/{name}");
            shown.push(name.to_owned());
        }
    }
    for file in fs::read_dir(repository().join("docs/snippets")).expect("the snippets") {
        let name = file.expect("a file").file_name().to_string_lossy().into_owned();
        assert!(shown.contains(&name), "docs/snippets/{name} is shown on no page");
    }
}
