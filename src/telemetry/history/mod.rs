//! The history of executions: the rows that events are kept as, and the questions that they answer.
//!
//! A row is written at least once and is there once: each has an id of its own, which comes from its event.

mod buckets;
mod query;
mod sql;
mod table;
mod totals;

pub use self::buckets::{BUCKETS, BUCKETS_MAX, Bucket, BucketCount};
pub use self::query::{Count, EXECUTIONS_MAX, Ended, Filter, Metrics, OUTCOMES, ROUTES, Window};
pub use self::sql::{
    DELETE_OLD_ATTEMPTS, DELETE_OLD_EXECUTIONS, DELETE_OLD_LETTERS, LAST_EXECUTION, METRICS, Parameter, WRITE_ATTEMPTS,
    WRITE_EXECUTIONS, WRITE_LAG, ended, select,
};
pub use self::table::{csv, json_lines};
pub use self::totals::{
    DEAD_CALLBACKS, DURATION_BOUNDS_MS, DeadCallbacks, EXECUTION_TOTALS, ExecutionTotal, LONGER_MS, OUTBOX_TOTALS,
    OutboxTotal, Totals,
};

use serde::{Deserialize, Serialize};

use super::event::{Event, Subject, What, agent_span};
use super::otlp::Verdict;
use super::trace_context::TraceContext;
use crate::run::RunName;
use crate::signature::digest::hex_digest;

/// An agent's work on an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionRow {
    /// Names it.
    pub id: String,
    /// The owner of the run.
    pub orchestrator: String,
    /// The run's id.
    pub run: String,
    /// The step's id.
    pub step: String,
    /// The attempt's number.
    pub attempt: u32,
    /// The execution's number within the attempt, from 1.
    pub execution: u32,
    /// The agent that was asked for.
    pub agent: String,
    /// In which version.
    pub agent_version: String,
    /// Who coordinated it: `orchestrated`, `fallback` or `local`.
    pub route: String,
    /// How it ended; nothing while it is under way, or where its end could not be told.
    pub outcome: Option<String>,
    /// Why it failed, as a code.
    pub error_code: Option<String>,
    /// Unix milliseconds.
    pub started_at_ms: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// When its claim ends at the latest, in Unix milliseconds: without an outcome after that, whoever made it is gone.
    pub claimed_until_ms: u64,
    /// Tokens that the models read, where the agent told.
    pub input_tokens: Option<u64>,
    /// Tokens that the models wrote, where the agent told.
    pub output_tokens: Option<u64>,
    /// What they cost, in millionths of the operator's unit of currency, where all of them have a price.
    pub cost_micros: Option<u64>,
    /// Its trace.
    pub trace_id: String,
    /// Its span there.
    pub span_id: String,
}

/// An attempt that has its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRow {
    /// The event that told of it.
    pub id: String,
    /// The owner of the run.
    pub orchestrator: String,
    /// The run's id.
    pub run: String,
    /// The step's id.
    pub step: String,
    /// The attempt's number.
    pub attempt: u32,
    /// The agent that was asked for.
    pub agent: String,
    /// In which version.
    pub agent_version: String,
    /// Who coordinated it: `orchestrated`, `fallback` or `local`.
    pub route: String,
    /// How it ended.
    pub outcome: String,
    /// Why it failed, as a code.
    pub error_code: Option<String>,
    /// The answer's HTTP status.
    pub status: u16,
    /// How often it was executed.
    pub executions: u32,
    /// Unix milliseconds.
    pub accepted_at_ms: u64,
    /// Unix milliseconds.
    pub ended_at_ms: u64,
    /// Its trace.
    pub trace_id: String,
}

/// The rows of a batch of events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    /// Of executions, begun and ended.
    pub executions: Vec<ExecutionRow>,
    /// Of attempts.
    pub attempts: Vec<AttemptRow>,
}

/// The rows of these events. Of an execution that began and ended within them there is its end alone.
#[must_use]
pub fn rows_of<'e>(events: impl IntoIterator<Item = &'e Event>) -> Rows {
    let mut rows = Rows::default();
    for event in events {
        match &event.what {
            What::ExecutionBegan {
                subject,
                execution,
                claimed_until_ms,
            } => rows.executions.push(execution_row(
                event,
                subject,
                (*execution, event.at_ms, *claimed_until_ms),
            )),
            What::ExecutionEnded {
                subject,
                execution,
                claimed_until_ms,
                started_at_ms,
                ending,
                hops,
                usage,
                operations: _,
            } => {
                // The row is about the agent that was asked: who stands in for it does not make up for its failure.
                let failed = hops.iter().find_map(|hop| hop.error.clone());
                let (outcome, error_code) = match failed {
                    Some(code) => ("failed".to_owned(), Some(code)),
                    None => (ending.outcome.clone(), ending.error_code.clone()),
                };
                let row = execution_row(event, subject, (*execution, *started_at_ms, *claimed_until_ms));
                rows.executions.retain(|began| began.id != row.id);
                rows.executions.push(ExecutionRow {
                    outcome: Some(outcome),
                    error_code,
                    duration_ms: Some(event.at_ms.saturating_sub(*started_at_ms)),
                    input_tokens: usage.input_tokens,
                    output_tokens: usage.output_tokens,
                    cost_micros: usage.cost_micros,
                    ..row
                });
            }
            What::AttemptEnded {
                subject,
                accepted_at_ms,
                executions,
                status,
                ending,
            } => rows.attempts.push(AttemptRow {
                id: event.id.clone(),
                orchestrator: event.orchestrator.clone(),
                run: event.run.clone(),
                step: subject.step.clone(),
                attempt: subject.attempt,
                agent: subject.agent.clone(),
                agent_version: subject.agent_version.clone(),
                route: subject.route.name().to_owned(),
                outcome: ending.outcome.clone(),
                error_code: ending.error_code.clone(),
                status: *status,
                executions: *executions,
                accepted_at_ms: *accepted_at_ms,
                ended_at_ms: event.at_ms,
                trace_id: trace_of(event).map_or_else(String::new, |trace| trace.trace_id().to_owned()),
            }),
            What::HandedOff { .. }
            | What::TakenOver { .. }
            | What::Routed { .. }
            | What::CallbackEnded { .. }
            | What::LinkChanged(_)
            | What::SettlementEnded { .. } => {}
        }
    }
    rows
}

/// What an error of the database means for the rows that it did not take. What they are refused for will not go away: they
/// are divided, so that one of them does not hold up those of other runs. All else, such as a database that does not answer
/// or is not migrated, is waited for.
#[must_use]
pub fn verdict_on_rows(error: &str) -> Verdict {
    const REFUSALS: [&str; 3] = ["SQLITE_CONSTRAINT", "SQLITE_MISMATCH", "SQLITE_TOOBIG"];
    let reason = error.to_owned();
    match REFUSALS.iter().any(|refusal| error.contains(refusal)) {
        true => Verdict::Refused {
            reason,
            divisible: true,
        },
        false => Verdict::Retry {
            reason,
            retry_after_ms: None,
        },
    }
}

fn trace_of(event: &Event) -> Option<TraceContext> {
    TraceContext::parse(&event.traceparent)
}

fn execution_row(
    event: &Event,
    subject: &Subject,
    (execution, started_at_ms, claimed_until_ms): (u32, u64, u64),
) -> ExecutionRow {
    let run = RunName::new(&event.orchestrator, &event.run).object();
    // The same of its beginning and its end. The time keeps it apart from one of an earlier run of the same name.
    let digest = hex_digest(format!("{run}\n{}/{execution}\n{started_at_ms}", subject.ordinal).as_bytes());
    let span = trace_of(event).map(|step| agent_span(&step, execution, 0));
    let (trace_id, span_id) = span
        .map(|span| (span.trace_id().to_owned(), span.span_id().to_owned()))
        .unwrap_or_default();
    ExecutionRow {
        id: format!("exe_{}", &digest[..32]),
        orchestrator: event.orchestrator.clone(),
        run: event.run.clone(),
        step: subject.step.clone(),
        attempt: subject.attempt,
        execution,
        agent: subject.agent.clone(),
        agent_version: subject.agent_version.clone(),
        route: subject.route.name().to_owned(),
        outcome: None,
        error_code: None,
        started_at_ms,
        duration_ms: None,
        claimed_until_ms,
        input_tokens: None,
        output_tokens: None,
        cost_micros: None,
        trace_id,
        span_id,
    }
}

#[cfg(test)]
mod tests;
