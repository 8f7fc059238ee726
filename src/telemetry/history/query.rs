//! What is asked of the history, and what it answers.

use serde::{Deserialize, Serialize};

use super::buckets::Bucket;

/// So many executions are told at once, unless fewer are asked for.
pub const EXECUTIONS_MAX: usize = 500;

/// Which executions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Of this agent.
    pub agent: Option<String>,
    /// Of this run.
    pub run: Option<String>,
    /// Of this orchestrator's runs.
    pub orchestrator: Option<String>,
    /// That ended like this; `running` is those without an end.
    pub outcome: Option<String>,
    /// That were coordinated like this.
    pub route: Option<String>,
    /// That began at this moment or later, in Unix milliseconds.
    pub from_ms: Option<u64>,
    /// That began before this moment, in Unix milliseconds.
    pub to_ms: Option<u64>,
}

/// The outcomes that can be asked for.
pub const OUTCOMES: [&str; 6] = ["completed", "handed_off", "failed", "cancelled", "lost", RUNNING];
/// The routes that can be asked for.
pub const ROUTES: [&str; 3] = ["orchestrated", "fallback", "local"];
/// Stands for no outcome.
pub const RUNNING: &str = "running";

/// A time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    /// From this moment on, in Unix milliseconds.
    pub from_ms: u64,
    /// Up to and without this one, in Unix milliseconds.
    pub to_ms: u64,
}

/// What the executions of an agent in a window come to, as the statement answers it. All that have ended count.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
pub struct Count {
    /// How many ended.
    pub count: u64,
    /// How many gave an output.
    pub completed: u64,
    /// How many handed off.
    pub handed_off: u64,
    /// How many failed.
    pub failed: u64,
    /// How many were cancelled.
    pub cancelled: u64,
    /// How many died.
    pub lost: u64,
    /// How many are under way, as far as is known.
    pub running: u64,
    /// How many were coordinated by the gateway in the orchestrator's place.
    pub fallback: u64,
    /// Half of them took no longer, in milliseconds.
    pub p50_ms: Option<u64>,
    /// 95 in 100 took no longer, in milliseconds.
    pub p95_ms: Option<u64>,
    /// 99 in 100 took no longer, in milliseconds.
    pub p99_ms: Option<u64>,
    /// Tokens read, where any execution told.
    pub input_tokens: Option<u64>,
    /// Tokens written, where any execution told.
    pub output_tokens: Option<u64>,
    /// What they cost, in millionths of the operator's unit of currency, where any execution told.
    pub cost_micros: Option<u64>,
    /// How many attempts ended.
    pub attempts: u64,
    /// How many of them took more than one execution.
    pub attempts_retried: u64,
}

/// How the executions of a window ended, as [`super::ended`] answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct Ended {
    /// How many ended.
    pub count: u64,
    /// How many of them failed or were lost.
    pub wrong: u64,
    /// 95 in 100 took no longer, in milliseconds; nothing where none ended.
    pub p95_ms: Option<u64>,
    /// 99 in 100 took no longer, in milliseconds.
    pub p99_ms: Option<u64>,
}

/// The message `agent-metrics`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metrics {
    /// Of which agent.
    pub agent: String,
    /// Of which time.
    pub window: Window,
    /// How many executions ended.
    pub count: u64,
    /// By how they ended.
    pub outcomes: Outcomes,
    /// How many are under way, as far as is known.
    pub running: u64,
    /// The share that gave an output or handed off; nothing where none ended, as of the other shares.
    pub success_rate: Option<f64>,
    /// The share that failed or died. Cancelled ones are in neither share.
    pub error_rate: Option<f64>,
    /// The share that the gateway coordinated in the orchestrator's place.
    pub fallback_share: Option<f64>,
    /// How long they took.
    pub duration_ms: Percentiles,
    /// What the models read and wrote; nothing where no execution told.
    pub tokens: Tokens,
    /// What the models cost, in millionths of the operator's unit of currency; nothing where no execution told.
    pub cost_micros: Option<u64>,
    /// The attempts behind them.
    pub attempts: Attempts,
    /// The same by time, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buckets: Option<Vec<Bucket>>,
}

/// Executions by how they ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Outcomes {
    pub completed: u64,
    pub handed_off: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub lost: u64,
}

/// Nearest-rank percentiles, in milliseconds; nothing where none ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub p50: Option<u64>,
    pub p95: Option<u64>,
    pub p99: Option<u64>,
}

/// Tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Tokens {
    pub input: Option<u64>,
    pub output: Option<u64>,
}

/// Attempts that ended, and those of them that took more than one execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Attempts {
    pub count: u64,
    pub retried: u64,
}

impl Metrics {
    /// The message of what the statement answered.
    #[must_use]
    pub fn of(agent: &str, window: Window, count: &Count) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
        let share = |part: u64| (count.count > 0).then(|| part as f64 / count.count as f64);
        Self {
            agent: agent.to_owned(),
            window,
            count: count.count,
            outcomes: Outcomes {
                completed: count.completed,
                handed_off: count.handed_off,
                failed: count.failed,
                cancelled: count.cancelled,
                lost: count.lost,
            },
            running: count.running,
            success_rate: share(count.completed + count.handed_off),
            error_rate: share(count.failed + count.lost),
            fallback_share: share(count.fallback),
            duration_ms: Percentiles {
                p50: count.p50_ms,
                p95: count.p95_ms,
                p99: count.p99_ms,
            },
            tokens: Tokens {
                input: count.input_tokens,
                output: count.output_tokens,
            },
            cost_micros: count.cost_micros,
            attempts: Attempts {
                count: count.attempts,
                retried: count.attempts_retried,
            },
            buckets: None,
        }
    }
}
