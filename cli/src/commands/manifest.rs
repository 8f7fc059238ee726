//! `baton manifest check`: the check of the build, as a command.

use std::path::Path;

use baton::manifest::Team;

use crate::output::{Exit, Failure, Report};

/// Prints every finding, or that there is none.
pub fn check(directory: &Path) -> Result<Report, Failure> {
    Ok(match load(directory)? {
        Ok(team) => {
            let names: Vec<_> = team.agents.iter().map(|agent| agent.id.as_str()).collect();
            Report::new(
                Exit::Done,
                format!("{}, no findings: {}\n", counted(names.len(), "agent"), names.join(", ")),
            )
        }
        Err(findings) => findings,
    })
}

/// The team of a folder, or the report of what is wrong with it.
pub fn load(directory: &Path) -> Result<Result<Team, Report>, Failure> {
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
    Ok(checked.map_err(|findings| {
        let lines: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
        Report::new(Exit::Bad, lines).note(counted(findings.len(), "finding"))
    }))
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
