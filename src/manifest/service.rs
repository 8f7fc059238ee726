//! The configuration of kind `service`: another Worker, or an agent of another gateway.

use serde::{Deserialize, Serialize};

use super::Exchange;

/// The configuration of kind `service`. The schema of manifests keeps the two apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ServiceConfig {
    /// An agent of another Baton gateway.
    Gateway(RemoteAgent),
    /// A Worker that is bound to this one.
    Worker(Box<BoundWorker>),
}

/// An agent of another Baton gateway, which takes the input as it is, and whose output is the output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteAgent {
    /// The gateway: a name of the variable `BATON_GATEWAYS`.
    pub gateway: String,
    /// The agent, by the id that it has there.
    pub agent: String,
}

/// A Worker, called through a service binding: nothing goes over the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoundWorker {
    /// The binding, as `services` of wrangler.toml has it.
    pub binding: String,
    /// What is sent there, and what the answers mean.
    #[serde(flatten)]
    pub exchange: Exchange,
}
