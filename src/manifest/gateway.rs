//! `gateway.json`: the gateway itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AlertConfig, BODY_MAX_BYTES, ChannelConfig, DEADLINE_MAX_MS, JSON_DEPTH_MAX};

/// What `gateway.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayManifest {
    /// The schema for editors; not part of the team.
    #[serde(rename = "$schema", default, skip_serializing)]
    pub editor_schema: Option<String>,
    /// Identity towards orchestrators: lower-case letters, digits and hyphens.
    pub id: String,
    /// Version of this team of agents, as in Semantic Versioning.
    pub version: String,
    /// A name for people.
    pub title: String,
    /// What this gateway is for, in a sentence or two.
    pub description: String,
    /// Limits for all agents.
    #[serde(default)]
    pub limits: GatewayLimits,
    /// Who may read the documents that describe the gateway.
    #[serde(default)]
    pub discovery: Discovery,
    /// Which agent answers a customer who named none.
    #[serde(default)]
    pub routing: GatewayRouting,
    /// Where notifications and alerts go, by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<String, ChannelConfig>,
    /// What is watched over time, by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub alerts: BTreeMap<String, AlertConfig>,
}

/// Which agent answers a customer's text where the customer named none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayRouting {
    /// The agent that answers where nothing speaks for another one: a public one that takes text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// The agent that is asked where the phrases do not decide, before the default agent answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classifier: Option<String>,
    /// How sure the router must be of an agent, from 0 to 1; where it is not, the default agent answers.
    pub confidence_min: f64,
}

/// Limits that hold for every agent of the gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayLimits {
    /// The largest body in bytes; an agent may set its own, larger or smaller.
    pub body_max_bytes: u64,
    /// The deepest nesting of a JSON body, in containers.
    pub json_depth_max: usize,
    /// The longest deadline in milliseconds that a caller or an agent may have.
    pub deadline_max_ms: u64,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        GatewayLimits {
            body_max_bytes: BODY_MAX_BYTES,
            json_depth_max: JSON_DEPTH_MAX,
            deadline_max_ms: DEADLINE_MAX_MS,
        }
    }
}

/// Who may read the discovery manifest, the OpenAPI document and the agent cards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Discovery {
    /// Everyone, or only callers whose signature holds.
    pub public: bool,
}

impl Default for Discovery {
    fn default() -> Self {
        Discovery { public: true }
    }
}
