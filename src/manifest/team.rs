//! The gateway with all its agents, checked and self-contained.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{AgentManifest, GatewayManifest};

/// A gateway and its agents, as they were checked: schemas carry their shared definitions in themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// What `gateway.json` says.
    pub gateway: GatewayManifest,
    /// The agents in the order of their ids.
    pub agents: Vec<AgentManifest>,
    /// The prompts, by agent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prompts: BTreeMap<String, String>,
    /// What an operator's overrides made of it.
    #[serde(skip)]
    pub overridden: Overridden,
}

/// What the overrides in force made of a team, where there are any: [`crate::overrides`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overridden {
    /// Their version; 0 where there never were any.
    pub version: u64,
    /// Names what is in force: the same overrides have the same digest. Nothing where none is.
    pub digest: Option<String>,
    /// The agents that are switched off. They are not among the team's agents.
    pub disabled: BTreeSet<String>,
}

impl Team {
    /// The agent of that id.
    pub fn agent(&self, id: &str) -> Option<&AgentManifest> {
        self.agents.iter().find(|agent| agent.id == id)
    }

    /// The Markdown prompt of the agent of that id, if it has one.
    pub fn prompt(&self, agent: &str) -> Option<&str> {
        self.prompts.get(agent).map(String::as_str)
    }

    /// The largest body in bytes that a call to this agent may have.
    pub fn body_max_bytes(&self, agent: &AgentManifest) -> u64 {
        agent
            .limits
            .body_max_bytes
            .unwrap_or(self.gateway.limits.body_max_bytes)
    }
}
