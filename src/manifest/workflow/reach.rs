//! How far a workflow can reach, with the workflows that it calls: how many calls, how deep, how long their steps' ids.

use crate::manifest::{AgentManifest, Implementation};

use super::{Node, NodeKind, WorkflowConfig};

/// What a workflow can come to at the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// Calls, each attempt counted.
    pub calls: u64,
    /// Workflows within each other, itself included.
    pub depth: usize,
    /// The longest place of a call, in bytes.
    pub place_bytes: usize,
}

/// The workflow that an agent is, if it is one.
#[must_use]
pub fn workflow_of(agent: &AgentManifest) -> Option<&WorkflowConfig> {
    match &agent.implementation {
        Implementation::Workflow { workflow } => Some(workflow),
        _ => None,
    }
}

/// The longest place of a call, in bytes, by which a step's id grows for the calls of its workflow; 0 for an agent that is
/// none. `agent` finds an agent of the team.
#[must_use]
pub fn place_max_bytes<'t>(of: &'t AgentManifest, agent: &impl Fn(&str) -> Option<&'t AgentManifest>) -> usize {
    workflow_of(of).map_or(0, |workflow| reach(workflow, agent, 1).place_bytes)
}

/// What a workflow can come to. One that calls itself is followed no deeper than [`super::DEPTH_MAX`] and one more.
pub fn reach<'t>(
    workflow: &'t WorkflowConfig,
    agent: &impl Fn(&str) -> Option<&'t AgentManifest>,
    depth: usize,
) -> Reach {
    let inner = Within { agent, depth };
    let mut reach = inner.all(&workflow.steps);
    reach.depth += 1;
    reach
}

struct Within<'a, F> {
    agent: &'a F,
    depth: usize,
}

impl<'t, F: Fn(&str) -> Option<&'t AgentManifest>> Within<'_, F> {
    fn all(&self, nodes: &'t [Node]) -> Reach {
        nodes.iter().map(|node| self.node(node)).fold(Reach::default(), both)
    }

    fn node(&self, node: &'t Node) -> Reach {
        let own_bytes = 1 + node.id.len();
        let repeated = |body: &'t [Node], times_max: u64| {
            let one = self.all(body);
            // A dot and the number of the turn or item, counted from 0.
            let number_bytes = 1 + times_max.saturating_sub(1).to_string().len();
            Reach {
                calls: one.calls.saturating_mul(times_max),
                place_bytes: own_bytes + number_bytes + one.place_bytes,
                ..one
            }
        };
        match &node.kind {
            NodeKind::Call(call) => {
                let called = (self.agent)(&call.call).and_then(workflow_of);
                let called = called.filter(|_| self.depth <= super::DEPTH_MAX);
                let inner = called.map_or_else(Reach::default, |workflow| reach(workflow, self.agent, self.depth + 1));
                let attempts = u64::from(call.retry.max_attempts);
                Reach {
                    calls: (inner.calls + 1).saturating_mul(attempts),
                    place_bytes: own_bytes + inner.place_bytes,
                    ..inner
                }
            }
            NodeKind::Loop(node) => repeated(&node.body, node.times_max),
            NodeKind::Map(node) => repeated(&node.body, node.items_max),
            _ => {
                let lists = node.inner();
                lists
                    .iter()
                    .map(|(_, nodes)| self.all(nodes))
                    .fold(Reach::default(), both)
            }
        }
    }
}

/// Both are executed. Of the ways of a branch only one is: a bound may be too high.
fn both(one: Reach, other: Reach) -> Reach {
    Reach {
        calls: one.calls.saturating_add(other.calls),
        depth: one.depth.max(other.depth),
        place_bytes: one.place_bytes.max(other.place_bytes),
    }
}
