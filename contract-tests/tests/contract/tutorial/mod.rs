//! Pages of the documentation that a reader follows step by step, executed as they are written.

mod handoffs;
mod orchestrator_down;

use std::fs;
use std::process::Command;

use contract_tests::command_line::Run;
use contract_tests::environment::{Environment, repository};
use contract_tests::folder::Folder;

/// A fenced block of a page.
struct Block {
    language: String,
    text: String,
    /// The line of text before it.
    lead: String,
}

impl Block {
    /// Its lines, where it is a shell's. A command that goes on in the next line is one.
    fn commands(&self) -> Vec<String> {
        let text = self.text.replace("\\\n", "");
        text.lines().map(str::to_owned).collect()
    }
}

/// The blocks of a page in `docs`.
fn blocks(page: &str) -> Vec<Block> {
    let page = fs::read_to_string(repository().join("docs").join(page)).expect("the page");
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

/// Runs a line of a page's shell, in which `baton` is ours, with these variables. Answers what it prints.
#[track_caller]
fn shell(folder: &Folder, line: &str, variables: &[(&str, String)]) -> String {
    let mut command = Command::new("sh");
    let cli = Environment::get().cli.parent().expect("a folder").to_owned();
    let path = std::env::join_paths([cli, "/usr/bin".into(), "/bin".into()]).expect("folders");
    command.args(["-c", line]).env("PATH", path);
    for (name, value) in variables {
        command.env(name, value);
    }
    Run::of(&mut command, folder.path()).expect(0).stdout
}

/// Whether the text is what a page shows, where an ellipsis stands for anything.
fn fits(shown: &str, found: &str) -> bool {
    match shown.split_once('…') {
        None => shown == found,
        Some((before, after)) => found.strip_prefix(before).is_some_and(|rest| {
            let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.any(|at| fits(after, &rest[at..]))
        }),
    }
}
