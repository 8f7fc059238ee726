//! What the schema of manifests cannot say about the tools of a model: whether the team has them, and what they are.

use std::collections::{BTreeMap, BTreeSet};

use super::{AgentManifest, Implementation};

/// Checks the tools of a model against the team.
pub(super) fn problems(agent: &AgentManifest, by_id: &BTreeMap<&str, &AgentManifest>) -> Vec<(String, String)> {
    let tools = tools_of(agent).iter().enumerate();
    let problems = tools.filter_map(|(index, id)| {
        let reason = tool_problem(agent, id, by_id)?;
        Some((format!("/model/tools/{index}"), reason))
    });
    problems.collect()
}

fn tool_problem(agent: &AgentManifest, id: &str, by_id: &BTreeMap<&str, &AgentManifest>) -> Option<String> {
    if id == agent.id {
        return Some("an agent is not its own tool".to_owned());
    }
    let Some(tool) = by_id.get(id) else {
        return Some(format!("there is no agent `{id}`"));
    };
    if tool.is_workflow() {
        return Some(format!(
            "`{id}` is a workflow, which needs a step of its own: a tool works within the model's"
        ));
    }
    if tool.state.is_some() {
        return Some(format!("`{id}` keeps a state: a tool has none"));
    }
    if tool.input.document()["type"] != "object" {
        return Some(format!(
            "the input of `{id}` is not of the type `object`, as that of a tool must be"
        ));
    }
    reaches(id, &agent.id, by_id).then(|| format!("`{id}` comes back to `{}` by its own tools", agent.id))
}

/// Whether the tools of an agent, or theirs, lead to another one.
fn reaches(from: &str, to: &str, by_id: &BTreeMap<&str, &AgentManifest>) -> bool {
    let (mut seen, mut open) = (BTreeSet::from([from]), vec![from]);
    while let Some(id) = open.pop() {
        if id == to {
            return true;
        }
        let tools = by_id.get(id).map_or(&[][..], |agent| tools_of(agent));
        open.extend(tools.iter().map(String::as_str).filter(|id| seen.insert(id)));
    }
    false
}

fn tools_of(agent: &AgentManifest) -> &[String] {
    match &agent.implementation {
        Implementation::Model { model } => &model.tools,
        _ => &[],
    }
}
