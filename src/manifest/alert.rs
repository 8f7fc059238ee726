//! Alerts: what is watched over time, and told when it goes wrong and when it is well again.

use serde::{Deserialize, Serialize};

/// A gateway has at most this many alerts.
pub const ALERTS_MAX: usize = 32;
/// An alert tells at most this many channels.
pub const ALERT_CHANNELS_MAX: usize = 4;
/// The longest window and wait of an alert, in minutes: a week.
pub const ALERT_MINUTES_MAX: u64 = 7 * 24 * 60;

/// An alert, as `gateway.json` declares it under its id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertConfig {
    /// What is watched: the field `kind`, and its parameters.
    #[serde(flatten)]
    pub watch: Watch,
    /// The channels that are told.
    pub channels: Vec<String>,
    /// How long it must be so before it is told, and how long it must be well again, in minutes.
    #[serde(default)]
    pub for_minutes: u64,
    /// How long until it is told once more, while it lasts, in minutes.
    #[serde(default = "repeat_after_minutes")]
    pub repeat_after_minutes: u64,
}

fn repeat_after_minutes() -> u64 {
    4 * 60
}

/// What an alert watches. Windows are in minutes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Watch {
    /// The share of executions that failed or were lost is above a threshold.
    ErrorRate {
        /// Of this agent; of all where there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
        /// From 0 to 1.
        above: f64,
        /// Executions that began within so long count.
        window_minutes: u64,
        /// With fewer that ended nothing is said of them.
        #[serde(default = "samples_min")]
        samples_min: u64,
    },
    /// Executions take longer than a threshold.
    Latency {
        /// Of this agent; of all where there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
        /// Of which executions.
        percentile: Percentile,
        /// In milliseconds.
        above_ms: u64,
        /// Executions that began within so long count.
        window_minutes: u64,
        /// With fewer that ended nothing is said of them.
        #[serde(default = "samples_min")]
        samples_min: u64,
    },
    /// An agent is not executed any more.
    Silence {
        /// Which agent.
        agent: String,
        /// For how long, at least.
        after_minutes: u64,
    },
    /// Events wait for a destination.
    OutboxAge {
        /// For how long the oldest does, at least.
        after_minutes: u64,
    },
    /// The gateway holds no lease of an orchestrator, and did not give it up by an operator's order.
    LeaseLost {
        /// Of this orchestrator; of any where there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        orchestrator: Option<String>,
    },
}

fn samples_min() -> u64 {
    10
}

/// Which part of the executions took no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Percentile {
    P95,
    P99,
}

impl Watch {
    /// As it stands in the manifest.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::ErrorRate { .. } => "error_rate",
            Self::Latency { .. } => "latency",
            Self::Silence { .. } => "silence",
            Self::OutboxAge { .. } => "outbox_age",
            Self::LeaseLost { .. } => "lease_lost",
        }
    }

    /// The agent that is watched, if it is one.
    #[must_use]
    pub fn agent(&self) -> Option<&str> {
        match self {
            Self::ErrorRate { agent, .. } | Self::Latency { agent, .. } => agent.as_deref(),
            Self::Silence { agent, .. } => Some(agent),
            Self::OutboxAge { .. } | Self::LeaseLost { .. } => None,
        }
    }
}
