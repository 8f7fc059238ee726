//! The history's statements: SQLite's SQL, for the tables of `migrations/0004_history.sql` and those after it. They are here and not in
//! `edge`, so that the tests can run them.

use super::query::{Filter, RUNNING};

/// Writes the executions of a JSON array (`?1`) of [`ExecutionRow`](super::ExecutionRow)s. Safe to repeat, and in any
/// order: an end stands, whatever comes after it.
pub const WRITE_EXECUTIONS: &str = "\
INSERT INTO executions (id, orchestrator, run, step, attempt, execution, agent, agent_version, route, outcome, error_code,
  started_at_ms, duration_ms, claimed_until_ms, input_tokens, output_tokens, cost_micros, trace_id, span_id)
SELECT value ->> 'id', value ->> 'orchestrator', value ->> 'run', value ->> 'step', value ->> 'attempt',
  value ->> 'execution', value ->> 'agent', value ->> 'agent_version', value ->> 'route', value ->> 'outcome',
  value ->> 'error_code', value ->> 'started_at_ms', value ->> 'duration_ms', value ->> 'claimed_until_ms',
  value ->> 'input_tokens', value ->> 'output_tokens', value ->> 'cost_micros',
  value ->> 'trace_id', value ->> 'span_id'
FROM json_each(?1) WHERE true
ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, error_code = excluded.error_code,
  duration_ms = excluded.duration_ms, input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
  cost_micros = excluded.cost_micros
WHERE executions.outcome IS NULL AND excluded.outcome IS NOT NULL";

/// Writes the attempts of a JSON array (`?1`) of [`AttemptRow`](super::AttemptRow)s. Safe to repeat.
pub const WRITE_ATTEMPTS: &str = "\
INSERT INTO attempts (id, orchestrator, run, step, attempt, agent, agent_version, route, outcome, error_code, status,
  executions, accepted_at_ms, ended_at_ms, trace_id)
SELECT value ->> 'id', value ->> 'orchestrator', value ->> 'run', value ->> 'step', value ->> 'attempt',
  value ->> 'agent', value ->> 'agent_version', value ->> 'route', value ->> 'outcome', value ->> 'error_code',
  value ->> 'status', value ->> 'executions', value ->> 'accepted_at_ms', value ->> 'ended_at_ms', value ->> 'trace_id'
FROM json_each(?1) WHERE true
ON CONFLICT (id) DO NOTHING";

/// Removes callbacks and notices that were given up before `?1`, so many at most (`?2`), the oldest first.
pub const DELETE_OLD_LETTERS: &str = "\
DELETE FROM dead_letters WHERE delivery IN
  (SELECT delivery FROM dead_letters WHERE dead_at_ms < ?1 ORDER BY dead_at_ms LIMIT ?2)";

/// Writes how a destination (`?1`) stands to what an orchestrator's (`?2`) run (`?3`) has for it: health, waiting events,
/// since when, the last error, and lost events (`?4` to `?8`). Without a run it is the queue's, of which each batch sees a
/// part: there the oldest time stands until the row is removed, for what is older still waits.
pub const WRITE_LAG: &str = "\
INSERT INTO outbox_lags (destination, orchestrator, run, health, waiting, oldest_at_ms, last_error, dropped)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (destination, orchestrator, run) DO UPDATE SET health = excluded.health, waiting = excluded.waiting,
  oldest_at_ms = CASE excluded.run WHEN '' THEN min(oldest_at_ms, excluded.oldest_at_ms) ELSE excluded.oldest_at_ms END,
  last_error = excluded.last_error, dropped = excluded.dropped";

/// What the executions of an agent (`?1`) that began from `?2` on and before `?3` come to, in one row: a
/// [`Count`](super::Count). Percentiles are nearest-rank: the value that so many in a hundred do not exceed.
pub const METRICS: &str = "\
WITH ended AS MATERIALIZED (
  SELECT outcome, route, duration_ms, input_tokens, output_tokens, cost_micros FROM executions
  WHERE agent = ?1 AND started_at_ms >= ?2 AND started_at_ms < ?3 AND outcome IS NOT NULL
), tried AS MATERIALIZED (
  SELECT executions FROM attempts WHERE agent = ?1 AND accepted_at_ms >= ?2 AND accepted_at_ms < ?3
)
SELECT count(*) AS count,
  count(*) FILTER (WHERE outcome = 'completed') AS completed,
  count(*) FILTER (WHERE outcome = 'handed_off') AS handed_off,
  count(*) FILTER (WHERE outcome = 'failed') AS failed,
  count(*) FILTER (WHERE outcome = 'cancelled') AS cancelled,
  count(*) FILTER (WHERE outcome = 'lost') AS lost,
  count(*) FILTER (WHERE route = 'fallback') AS fallback,
  (SELECT count(*) FROM executions
    WHERE agent = ?1 AND started_at_ms >= ?2 AND started_at_ms < ?3 AND outcome IS NULL) AS running,
  (SELECT duration_ms FROM ended ORDER BY duration_ms LIMIT 1
    OFFSET (SELECT (count(*) * 50 + 99) / 100 - 1 FROM ended)) AS p50_ms,
  (SELECT duration_ms FROM ended ORDER BY duration_ms LIMIT 1
    OFFSET (SELECT (count(*) * 95 + 99) / 100 - 1 FROM ended)) AS p95_ms,
  (SELECT duration_ms FROM ended ORDER BY duration_ms LIMIT 1
    OFFSET (SELECT (count(*) * 99 + 99) / 100 - 1 FROM ended)) AS p99_ms,
  sum(input_tokens) AS input_tokens,
  sum(output_tokens) AS output_tokens,
  sum(cost_micros) AS cost_micros,
  (SELECT count(*) FROM tried) AS attempts,
  (SELECT count(*) FROM tried WHERE executions > 1) AS attempts_retried
FROM ended";

/// The statement that says how the executions that began from `?1` on and before `?2` ended, of the agent `?3` where one is
/// asked for: an [`Ended`](super::Ended). Two statements, so that an index fits.
#[must_use]
pub fn ended(of_one_agent: bool) -> String {
    let agent = if of_one_agent { " AND agent = ?3" } else { "" };
    let percentile = |percent: u32| {
        format!(
            "(SELECT duration_ms FROM ended ORDER BY duration_ms LIMIT 1
    OFFSET (SELECT (count(*) * {percent} + 99) / 100 - 1 FROM ended)) AS p{percent}_ms"
        )
    };
    let (p95, p99) = (percentile(95), percentile(99));
    format!(
        "\
WITH ended AS MATERIALIZED (
  SELECT outcome, duration_ms FROM executions
  WHERE started_at_ms >= ?1 AND started_at_ms < ?2{agent} AND outcome IS NOT NULL
)
SELECT count(*) AS count,
  count(*) FILTER (WHERE outcome IN ('failed', 'lost')) AS wrong,
  {p95},
  {p99}
FROM ended"
    )
}

/// When the last execution of the agent `?1` began.
pub const LAST_EXECUTION: &str = "SELECT max(started_at_ms) AS started_at_ms FROM executions WHERE agent = ?1";

/// Removes at most `?2` executions that began before `?1`.
pub const DELETE_OLD_EXECUTIONS: &str = "\
DELETE FROM executions WHERE id IN (SELECT id FROM executions WHERE started_at_ms < ?1 ORDER BY started_at_ms LIMIT ?2)";

/// Removes at most `?2` attempts that were accepted before `?1`.
pub const DELETE_OLD_ATTEMPTS: &str = "\
DELETE FROM attempts WHERE id IN (SELECT id FROM attempts WHERE accepted_at_ms < ?1 ORDER BY accepted_at_ms LIMIT ?2)";

/// A statement's parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    /// Text.
    Text(String),
    /// A whole number.
    Number(u64),
}

/// The statement that selects executions, newest first, from after the one of this moment (Unix milliseconds) and id on;
/// at most `limit`. Only what is asked for stands in it, so that an index fits.
#[must_use]
pub fn select(filter: &Filter, before: Option<(u64, &str)>, limit: usize) -> (String, Vec<Parameter>) {
    let mut conditions = Vec::new();
    let mut parameters = Vec::new();
    let mut equal = |column: &str, value: &Option<String>| {
        if let Some(value) = value {
            conditions.push(format!("{column} = ?"));
            parameters.push(Parameter::Text(value.clone()));
        }
    };
    equal("agent", &filter.agent);
    equal("run", &filter.run);
    equal("orchestrator", &filter.orchestrator);
    equal("route", &filter.route);
    match filter.outcome.as_deref() {
        Some(RUNNING) => conditions.push("outcome IS NULL".to_owned()),
        Some(outcome) => {
            conditions.push("outcome = ?".to_owned());
            parameters.push(Parameter::Text(outcome.to_owned()));
        }
        None => {}
    }
    for (operator, at_ms) in [(">=", filter.from_ms), ("<", filter.to_ms)] {
        if let Some(at_ms) = at_ms {
            conditions.push(format!("started_at_ms {operator} ?"));
            parameters.push(Parameter::Number(at_ms));
        }
    }
    if let Some((at_ms, id)) = before {
        conditions.push("(started_at_ms, id) < (?, ?)".to_owned());
        parameters.extend([Parameter::Number(at_ms), Parameter::Text(id.to_owned())]);
    }
    parameters.push(Parameter::Number(limit as u64));
    let conditions = match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    };
    let statement = format!("SELECT * FROM executions{conditions} ORDER BY started_at_ms DESC, id DESC LIMIT ?");
    (statement, parameters)
}
