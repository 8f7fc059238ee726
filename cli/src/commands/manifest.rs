//! `baton manifest check`: the check of the build, as a command; `baton manifest graph`: a workflow, drawn.

use std::path::Path;

use baton::manifest::{Finding, Implementation, Team};

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

/// Prints a workflow as a Mermaid flowchart.
pub fn graph(agent: &str, directory: &Path) -> Result<Report, Failure> {
    let team = match load(directory)? {
        Ok(team) => team,
        Err(findings) => return Ok(findings),
    };
    let workflows = team.agents.iter().filter_map(|agent| match &agent.implementation {
        Implementation::Workflow { workflow } => Some((agent, workflow)),
        _ => None,
    });
    let workflows: Vec<_> = workflows.collect();
    match workflows.iter().find(|(found, _)| found.id == agent) {
        Some((found, workflow)) => Ok(Report::new(Exit::Done, baton::workflow::graph(&found.title, workflow))),
        None => {
            let names: Vec<_> = workflows.iter().map(|(agent, _)| agent.id.as_str()).collect();
            let there = match names.as_slice() {
                [] => "no workflows".to_owned(),
                names => names.join(", "),
            };
            Err(Failure::usage(format!(
                "there is no workflow `{agent}` in {}; there are {there}",
                directory.display()
            )))
        }
    }
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
