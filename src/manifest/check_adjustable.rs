//! What the schema of manifests cannot say about the parts of one that an operator may change while the gateway runs.
//! Checked when building, and again of each override: by the build script and by the Worker.

use super::{AgentManifest, BUDGET_MS, GatewayManifest, Implementation, budget_ms, check_model};
use crate::text::phrase_problem;

/// Checks the adjustable parts of one agent by itself: pointers within the manifest, and what is wrong there. `prompt` is
/// the text of its prompt, where it has one that can be read.
pub(crate) fn problems(agent: &AgentManifest, prompt: Option<&str>) -> Vec<(String, String)> {
    let mut problems = match &agent.implementation {
        Implementation::Model { model } => check_model::problems(agent, model, prompt),
        _ => Vec::new(),
    };
    if let Some(reason) = hedge_problem(agent) {
        problems.push(("/direct/hedge_after_ms".into(), reason));
    }
    for (name, keywords) in [
        ("keywords", &agent.routing.keywords),
        ("negative", &agent.routing.negative),
    ] {
        for (index, keyword) in keywords.iter().enumerate() {
            if let Some(problem) = phrase_problem(&keyword.phrase) {
                problems.push((format!("/routing/{name}/{index}/phrase"), problem));
            }
        }
    }
    problems
}

/// What is wrong with the deadline of an agent of this gateway.
pub(crate) fn deadline_problem(agent: &AgentManifest, gateway: &GatewayManifest) -> Option<String> {
    let limit = gateway.limits.deadline_max_ms;
    (agent.deadline_ms > limit).then(|| format!("the gateway allows {limit} at most (limits.deadline_max_ms)"))
}

/// What is wrong with when the gateway begins beside the orchestrator.
fn hedge_problem(agent: &AgentManifest) -> Option<String> {
    let after_ms = agent.direct.hedge_after_ms?;
    let budget_ms = budget_ms(agent.direct.budget_ms, agent.deadline_ms);
    if !agent.direct.fallback {
        return Some("the gateway begins nothing where `direct.fallback` is false: leave one of the two out".into());
    }
    (after_ms >= budget_ms).then(|| {
        format!(
            "must be shorter than the orchestrator's budget, which is {budget_ms}: `direct.budget_ms`, or {BUDGET_MS} without it, and half of `deadline_ms` at most"
        )
    })
}
