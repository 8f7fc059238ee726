//! `baton manifest check`: the check of the build, as a command.

use std::path::Path;

use baton::manifest::{Finding, Team};

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
    Ok(checked(directory).map_err(|findings| {
        let lines: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
        Report::new(Exit::Bad, lines).note(counted(findings.len(), "finding"))
    }))
}

/// The team of a folder, checked with the agents' code, or everything that is wrong with it.
pub fn checked(directory: &Path) -> Result<Team, Vec<Finding>> {
    let team = baton::manifest::load(directory)?;
    let findings = baton::agent::check(&team, directory);
    if findings.is_empty() { Ok(team) } else { Err(findings) }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
