//! What is told: OTLP has a path, a message and a word for each.

use crate::run::outbox::{LOGS, METRICS};

/// A kind of what is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// What was done, as spans.
    Traces,
    /// What it came to, as numbers.
    Metrics,
    /// What happened, as records.
    Logs,
}

impl Signal {
    /// What a destination, which is not the history, is told of.
    #[must_use]
    pub fn of(destination: &str) -> Self {
        match destination {
            METRICS => Self::Metrics,
            LOGS => Self::Logs,
            _ => Self::Traces,
        }
    }

    /// Where it is posted, below the endpoint.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
        }
    }

    /// What is counted of it.
    #[must_use]
    pub const fn items(self) -> &'static str {
        match self {
            Self::Traces => "spans",
            Self::Metrics => "data points",
            Self::Logs => "log records",
        }
    }
}
