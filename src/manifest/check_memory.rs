//! What the schema of manifests cannot say about an agent's memory.

use std::collections::BTreeMap;

use super::{AgentManifest, Implementation};

/// What is wrong with an agent's memory: pointers within the manifest, and reasons.
pub(super) fn problems(agent: &AgentManifest, by_id: &BTreeMap<&str, &AgentManifest>) -> Vec<(String, String)> {
    let Some(memory) = &agent.memory else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    let kind = agent.kind();
    if !matches!(kind, "model" | "rust") {
        let reason = format!("an agent of kind `{kind}` remembers nothing: `memory` is for kinds `model` and `rust`");
        problems.push(("/memory".to_owned(), reason));
    }
    if agent.state.is_some() {
        let reason =
            "an agent has a `state` or a `memory`: a turn that ended is not executed again, and would change no state";
        problems.push(("/memory".to_owned(), reason.to_owned()));
    }
    if let Some(id) = &memory.summarise_with
        && let Some(reason) = summariser_problem(agent, id, by_id)
    {
        problems.push(("/memory/summarise_with".to_owned(), reason));
    }
    problems
}

fn summariser_problem(agent: &AgentManifest, id: &str, by_id: &BTreeMap<&str, &AgentManifest>) -> Option<String> {
    if id == agent.id {
        return Some("an agent does not summarise for itself".to_owned());
    }
    let Some(summariser) = by_id.get(id) else {
        return Some(format!("there is no agent `{id}`"));
    };
    if matches!(summariser.implementation, Implementation::Workflow { .. }) {
        return Some(format!(
            "`{id}` is a workflow, which is executed as a step of its own only"
        ));
    }
    (!summariser.takes_text()).then(|| format!("`{id}` does not take a text: its manifest needs `direct.text`"))
}
