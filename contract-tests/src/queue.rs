//! A queue for telemetry in a gateway's configuration.
//!
//! The local queue keeps its messages in the memory of the process that consumes them: they are gone when it is killed,
//! which the platform's queue survives. So where a test kills the runtime of the runs, another gateway consumes.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

const NAME: &str = "baton-telemetry";
/// Long enough for the messages of many runs to gather, in seconds.
const GATHER_S: u32 = 2;

/// The queue of a gateway.
#[derive(Debug, Clone)]
pub enum Queue {
    /// The gateway hands over to it, and consumes it.
    Own,
    /// The gateway hands over to it, and another one consumes it, which is found in this folder.
    Elsewhere(PathBuf),
}

impl Queue {
    /// Where gateways that share it find each other, if there are others.
    pub(crate) fn registry(&self) -> Option<&Path> {
        match self {
            Self::Own => None,
            Self::Elsewhere(registry) => Some(registry),
        }
    }

    /// Adds it to a configuration.
    pub(crate) fn configure(&self, config: &mut Value) {
        config["queues"] = json!({ "producers": [{ "binding": "TELEMETRY", "queue": NAME }] });
        match self {
            Self::Own => {
                config["queues"]["consumers"] = json!([{
                    "queue": NAME,
                    "max_batch_size": 100,
                    "max_batch_timeout": GATHER_S,
                    "max_retries": 100,
                }]);
            }
            // Workers find each other by name: two cannot have the same.
            Self::Elsewhere(_) => config["name"] = "baton-handing-over".into(),
        }
    }
}
