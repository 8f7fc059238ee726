//! The part of the check of manifests that needs the agents' code, which the build script has not.

use std::path::Path;

use super::registry;
use crate::manifest::{Finding, Implementation, Team};

/// Checks that every configuration of an agent written in Rust is one that its type accepts. `baton manifest check` and a
/// test of this crate call it after `manifest::load`; `dir` is the folder that was loaded.
pub fn check(team: &Team, dir: &Path) -> Vec<Finding> {
    let rust_agents = team.agents.iter().filter_map(|agent| match &agent.implementation {
        Implementation::Rust { rust } => Some((agent, rust)),
        _ => None,
    });
    let findings = rust_agents.filter_map(|(agent, rust)| {
        Some(Finding {
            file: dir.join(format!("{}.json", agent.id)),
            pointer: "/rust/config".to_owned(),
            reason: registry::problem(rust)?,
        })
    });
    findings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_team_is_configured_well() {
        assert_eq!(check(Team::embedded(), Path::new("manifests")), []);
    }

    #[test]
    fn a_wrong_configuration_is_named() {
        let mut team = Team::embedded().clone();
        let agent = team.agents.iter_mut().find(|agent| agent.id == "triage").unwrap();
        agent.implementation =
            serde_json::from_value(json!({"kind": "rust", "rust": {"name": "triage", "config": {"prior": 1}}}))
                .unwrap();
        let found: Vec<_> = check(&team, Path::new("manifests"))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["manifests/triage.json#/rust/config: missing field `negations`"]);
    }
}
