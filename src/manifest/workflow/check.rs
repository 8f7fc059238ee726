//! What the schema of manifests cannot say of a workflow.

use std::collections::BTreeMap;

use super::reach::{Reach, reach, workflow_of};
use super::{CALLS_MAX, DEPTH_MAX, NESTING_MAX, NODES_MAX, Node, NodeKind, PLACE_MAX_BYTES, WorkflowConfig, scope};
use crate::manifest::AgentManifest;

/// Checks a workflow by itself. `found` takes a JSON Pointer into the manifest, and a reason.
pub(in crate::manifest) fn alone(workflow: &WorkflowConfig, found: &mut impl FnMut(String, String)) {
    let mut nodes = BTreeMap::new();
    let mut count = 0;
    walk(&workflow.steps, "/workflow/steps", 1, &mut |node, at, depth| {
        count += 1;
        if let Some(first) = nodes.insert(node.id.as_str(), at.to_owned()) {
            found(
                format!("{at}/id"),
                format!("the node at {first} is named `{}` already", node.id),
            );
        }
        if depth == NESTING_MAX + 1 {
            found(
                at.to_owned(),
                format!("nodes may stand within each other {NESTING_MAX} deep; call another workflow"),
            );
        }
        if let NodeKind::Call(call) = &node.kind
            && call.retry.backoff_ms > call.retry.backoff_max_ms
        {
            found(
                format!("{at}/retry/backoff_ms"),
                "must not be longer than `backoff_max_ms`".into(),
            );
        }
    });
    if count > NODES_MAX {
        found(
            "/workflow/steps".into(),
            format!("there are {count} nodes; a workflow has {NODES_MAX} at most"),
        );
    }
    scope::check(workflow, found);
}

/// Checks what a workflow calls. Whoever calls too much, or in a circle, is told where.
pub(in crate::manifest) fn in_team(
    agent: &AgentManifest,
    by_id: &BTreeMap<&str, &AgentManifest>,
    found: &mut impl FnMut(String, String),
) {
    let Some(workflow) = workflow_of(agent) else { return };
    let mut circles = false;
    walk(&workflow.steps, "/workflow/steps", 1, &mut |node, at, _| {
        let NodeKind::Call(call) = &node.kind else { return };
        let Some(called) = by_id.get(call.call.as_str()) else {
            return found(format!("{at}/call"), format!("there is no agent `{}`", call.call));
        };
        if let Some(way) = way_back(called, &agent.id, by_id, &mut Vec::new()) {
            circles = true;
            let way = way.join(" -> ");
            found(
                format!("{at}/call"),
                format!("the workflows call each other in a circle: {} -> {way}", agent.id),
            );
        }
    });
    if circles {
        return;
    }
    let Reach {
        calls,
        depth,
        place_bytes,
    } = reach(workflow, &|id| by_id.get(id).copied(), 1);
    let at = || "/workflow/steps".to_owned();
    if calls > CALLS_MAX {
        let reason = format!(
            "it may come to {calls} calls, with all attempts, turns, items and the workflows that it calls; the limit is \
             {CALLS_MAX}"
        );
        found(at(), reason);
    }
    if depth > DEPTH_MAX {
        found(at(), format!("workflows may call each other {DEPTH_MAX} deep"));
    }
    if place_bytes > PLACE_MAX_BYTES {
        let reason = format!(
            "the longest way to a call, which becomes a part of its step's id, may have {place_bytes} bytes; the limit is \
             {PLACE_MAX_BYTES}: shorten the ids on it"
        );
        found(at(), reason);
    }
}

/// The way from a workflow back to the agent `to`, both included, if there is one.
fn way_back<'a>(
    from: &'a AgentManifest,
    to: &str,
    by_id: &BTreeMap<&str, &'a AgentManifest>,
    been: &mut Vec<&'a str>,
) -> Option<Vec<&'a str>> {
    if from.id == to {
        return Some(vec![&from.id]);
    }
    // A circle that `to` is no part of is reported at the agents that are.
    if been.contains(&from.id.as_str()) {
        return None;
    }
    been.push(&from.id);
    let mut called = Vec::new();
    walk(&workflow_of(from)?.steps, "", 1, &mut |node, _, _| {
        if let NodeKind::Call(call) = &node.kind {
            called.extend(by_id.get(call.call.as_str()).copied());
        }
    });
    called.into_iter().find_map(|next| {
        let mut way = way_back(next, to, by_id, been)?;
        way.insert(0, &from.id);
        Some(way)
    })
}

fn walk<'w>(nodes: &'w [Node], at: &str, depth: usize, visit: &mut impl FnMut(&'w Node, &str, usize)) {
    for (index, node) in nodes.iter().enumerate() {
        let at = format!("{at}/{index}");
        visit(node, &at, depth);
        for (inner, nodes) in node.inner() {
            walk(nodes, &format!("{at}{inner}"), depth + 1, visit);
        }
    }
}

#[cfg(test)]
mod tests;
