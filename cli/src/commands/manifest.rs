//! `baton manifest check`: the check of the build, as a command.

use std::path::Path;

use crate::output::{Exit, Failure, Report};

/// Prints every finding, or that there is none.
pub fn check(directory: &Path) -> Result<Report, Failure> {
    if !directory.is_dir() {
        return Err(Failure::usage(format!(
            "{} is no folder: run this where `manifests/` is, or name the folder",
            directory.display()
        )));
    }
    let checked = baton::manifest::load(directory).and_then(|team| {
        let findings = baton::agent::check(&team, directory);
        if findings.is_empty() { Ok(team) } else { Err(findings) }
    });
    match checked {
        Ok(team) => {
            let names: Vec<_> = team.agents.iter().map(|agent| agent.id.as_str()).collect();
            Ok(Report::new(
                Exit::Done,
                format!("{}, no findings: {}\n", counted(names.len(), "agent"), names.join(", ")),
            ))
        }
        Err(findings) => {
            let lines: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
            Ok(Report::new(Exit::Bad, lines).note(counted(findings.len(), "finding")))
        }
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
