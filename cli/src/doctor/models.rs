//! What agents of kind `model` want from an environment.

use baton::config::CACHE;
use baton::manifest::{Implementation, Team};

use super::Finding;
use super::deployment::Deployment;

const NAMESPACES: &str = "kv_namespaces";

/// Whether what the manifests count on is bound.
pub fn check(deployment: &Deployment<'_>, team: &Team) -> Vec<Finding> {
    let bindings = deployment.bindings();
    let has = |kind: &str, name: &str| bindings.iter().any(|own| own.kind == kind && own.name == name);
    let mut findings = Vec::new();
    for agent in &team.agents {
        let Implementation::Model { model } = &agent.implementation else {
            continue;
        };
        if model.cache.is_some() && !has(NAMESPACES, CACHE) {
            findings.push(Finding::warning(
                deployment.at(NAMESPACES),
                format!(
                    "{} keeps answers (model.cache), and there is no {CACHE}: none is kept",
                    agent.id
                ),
                format!("`wrangler kv namespace create {CACHE}`, and bind it; or leave `cache` out of the manifest"),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Severity, assert_found, deployment};
    use super::*;

    #[test]
    fn an_agent_that_keeps_answers_wants_a_cache() {
        let agent = json!({
            "id": "faq", "version": "1.0.0", "title": "F", "description": "F.", "kind": "model",
            "input": {"type": "object"}, "output": {"type": "string"},
            "model": {
                "provider": "p", "model": "m", "instructions": "Answer.", "temperature": 0, "cache": {"ttl_s": 60},
                "messages": [{"role": "user", "content": "Hello"}],
            },
        });
        let keeps = serde_json::from_value(agent.clone()).expect("an agent");
        let mut other = agent;
        other["model"].as_object_mut().expect("an object").remove("cache");
        let mut team = Team::embedded().clone();
        team.agents = vec![keeps, serde_json::from_value(other).expect("an agent")];
        let check = |toml: &str, expected: &[(Severity, &str)]| {
            let config = deployment::read(toml).expect("TOML");
            let staging = Deployment::of("wrangler.toml", &config, "staging").expect("there");
            assert_found(&check(&staging, &team), expected);
        };
        check("[[env.staging.kv_namespaces]]\nbinding = \"CACHE\"", &[]);
        check(
            "[[env.staging.kv_namespaces]]\nbinding = \"OVERRIDES\"",
            &[(
                Severity::Warning,
                "faq keeps answers (model.cache), and there is no CACHE",
            )],
        );
    }
}
