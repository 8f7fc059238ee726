//! The part of the check of manifests that needs the agents' code, which the build script has not.

use std::path::Path;

use super::registry;
use crate::manifest::{AgentManifest, Finding, Implementation, RustConfig, Team};
use crate::schema::samples;

/// At most this much of an input is shown, in characters.
const SHOWN_MAX_CHARS: usize = 200;
/// At most this many inputs that a type refuses are told of one agent.
const REFUSALS_MAX: usize = 3;

/// Checks that every agent written in Rust takes its configuration, and every input that its manifest's schema accepts, as
/// far as examples and samples show it. `baton manifest check` and a test of this crate call it after `manifest::load`;
/// `dir` is the folder that was loaded.
pub fn check(team: &Team, dir: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    for agent in &team.agents {
        let Implementation::Rust { rust } = &agent.implementation else {
            continue;
        };
        let mut found = |pointer: &str, reason: String| {
            findings.push(Finding {
                file: dir.join(format!("{}.json", agent.id)),
                pointer: pointer.to_owned(),
                reason,
            });
        };
        match registry::problem(rust) {
            Some(reason) => found("/rust/config", reason),
            None => refusals(agent, rust)
                .into_iter()
                .for_each(|reason| found("/input", reason)),
        }
    }
    findings
}

/// Inputs that the schema accepts and the type does not: one for each reason that the type gives.
fn refusals(agent: &AgentManifest, rust: &RustConfig) -> Vec<String> {
    let examples: Vec<_> = agent.examples.iter().map(|example| &example.input).collect();
    let mut reasons = Vec::new();
    let mut told = Vec::new();
    for input in samples(agent.input.document(), &examples) {
        if let Some(reason) = registry::refusal(rust, &input)
            && told.len() < REFUSALS_MAX
            && !reasons.contains(&reason)
        {
            let shown: String = input.to_string().chars().take(SHOWN_MAX_CHARS).collect();
            told.push(format!(
                "the schema accepts {shown}, and the agent's type does not: {reason}; make one of the two as strict as the other"
            ));
            reasons.push(reason);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::LazySchema;
    use serde_json::json;

    #[test]
    fn the_team_is_configured_well() {
        let mut team = Team::embedded().clone();
        // The tests' own agents may refuse what their schemas accept: they misbehave on purpose.
        team.agents.retain(|agent| !agent.tags.contains(&"fixture".to_owned()));
        assert_eq!(check(&team, Path::new("manifests")), []);
    }

    /// What is found in `triage`, whose type has one field, `text`, with this schema.
    fn found_with(input: serde_json::Value) -> Vec<String> {
        let mut team = Team::embedded().clone();
        team.agents.retain(|agent| agent.id == "triage");
        team.agents[0].input = LazySchema::new(input);
        team.agents[0].examples.clear();
        let findings = check(&team, Path::new("manifests"));
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_input_that_the_type_refuses_is_named() {
        let of = |text: serde_json::Value, required: &[&str]| json!({"type": "object", "required": required, "properties": {"text": text}});
        assert_eq!(found_with(of(json!({"type": "string"}), &["text"])), [""; 0]);
        let check = |input, expected: &[&str]| {
            let found = found_with(input);
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    found.starts_with("manifests/triage.json#/input: the schema accepts "),
                    "{found}"
                );
                assert!(found.contains(expected), "{found}");
            }
        };
        check(
            of(json!({"type": "string"}), &[]),
            &["accepts {}, and the agent's type does not: missing field `text`"],
        );
        check(
            of(json!({"type": ["string", "null"]}), &["text"]),
            &["invalid type: null, expected a string"],
        );
        // Many reasons, of which some are told.
        let any: Vec<_> = (0..9).map(|n| json!({"const": n})).collect();
        assert_eq!(found_with(of(json!({"anyOf": any}), &["text"])).len(), REFUSALS_MAX);
    }

    #[test]
    fn a_wrong_configuration_is_named() {
        let mut team = Team::embedded().clone();
        team.agents.retain(|agent| agent.id == "triage");
        team.agents[0].implementation =
            serde_json::from_value(json!({"kind": "rust", "rust": {"name": "triage", "config": {"prior": 1}}}))
                .unwrap();
        let found: Vec<_> = check(&team, Path::new("manifests"))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["manifests/triage.json#/rust/config: missing field `negations`"]);
    }
}
