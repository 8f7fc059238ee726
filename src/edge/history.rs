//! The history and the operator's view of the outbox, in D1.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use worker::Env;
use worker::wasm_bindgen::JsValue;

use super::d1::{database, number};
use crate::run::outbox::Health;
use crate::run::outbox_report::{DeadEvent, Lag, Report};
use crate::telemetry::event::Event;
use crate::telemetry::history::{
    self, BUCKETS, BucketCount, Count, DELETE_OLD_ATTEMPTS, DELETE_OLD_EXECUTIONS, DELETE_OLD_LETTERS, Ended,
    ExecutionRow, Filter, LAST_EXECUTION, METRICS, Parameter, WRITE_ATTEMPTS, WRITE_EXECUTIONS, WRITE_LAG, Window,
    rows_of, select,
};

/// So many rows are removed by one statement, and so many statements are made by one look at a table.
const PRUNED_AT_ONCE: u64 = 2_000;
const PRUNED_MAX_TIMES: usize = 5;
/// A run that waits is on the list for so long at most, in milliseconds: twice as long as its events are tried.
const LAGS_KEPT_MS: u64 = 2 * crate::run::outbox::EXPORT_GIVE_UP_MS;
/// So many runs that wait are told at once.
const LAGS_MAX: u64 = 100;

/// Writes the rows of these events. Safe to repeat.
pub async fn write<'e>(env: &Env, events: impl IntoIterator<Item = &'e Event>) -> worker::Result<()> {
    let rows = rows_of(events);
    let database = database(env)?;
    let mut statements = Vec::new();
    if !rows.executions.is_empty() {
        let json = serde_json::to_string(&rows.executions)?;
        statements.push(database.prepare(WRITE_EXECUTIONS).bind(&[json.into()])?);
    }
    if !rows.attempts.is_empty() {
        let json = serde_json::to_string(&rows.attempts)?;
        statements.push(database.prepare(WRITE_ATTEMPTS).bind(&[json.into()])?);
    }
    if !statements.is_empty() {
        database.batch(statements).await?;
    }
    Ok(())
}

/// Executions, as [`select`] has it.
pub async fn executions(
    env: &Env,
    filter: &Filter,
    before: Option<(u64, &str)>,
    limit: usize,
) -> worker::Result<Vec<ExecutionRow>> {
    let (statement, parameters) = select(filter, before, limit);
    let values: Vec<JsValue> = parameters.iter().map(bound).collect();
    rows(env, &statement, &values).await
}

/// What the executions of an agent come to.
pub async fn count(env: &Env, agent: &str, window: Window) -> worker::Result<Count> {
    let values = [agent.into(), number(window.from_ms), number(window.to_ms)];
    let rows: Vec<Count> = rows(env, METRICS, &values).await?;
    Ok(rows.into_iter().next().unwrap_or_default())
}

/// The same by time.
pub async fn buckets(env: &Env, agent: &str, window: Window, parts: u32) -> worker::Result<Vec<BucketCount>> {
    let values = [
        agent.into(),
        number(window.from_ms),
        number(window.to_ms),
        number(u64::from(parts)),
    ];
    rows(env, BUCKETS, &values).await
}

/// How the executions of an agent, or of all, ended in a window.
pub async fn ended(env: &Env, agent: Option<&str>, window: Window) -> worker::Result<Ended> {
    let mut values = vec![number(window.from_ms), number(window.to_ms)];
    values.extend(agent.map(JsValue::from));
    let rows: Vec<Ended> = rows(env, &history::ended(agent.is_some()), &values).await?;
    Ok(rows.into_iter().next().unwrap_or_default())
}

/// When the last execution of an agent began.
pub async fn last_execution(env: &Env, agent: &str) -> worker::Result<Option<u64>> {
    #[derive(Deserialize)]
    struct Last {
        started_at_ms: Option<u64>,
    }
    let rows: Vec<Last> = rows(env, LAST_EXECUTION, &[agent.into()]).await?;
    Ok(rows.into_iter().next().and_then(|last| last.started_at_ms))
}

/// Removes what is older than `kept_ms`, a part at a time; of callbacks and notices that were given up what is older than
/// `resendable_ms` as well, for until then they can be sent again.
pub async fn prune(env: &Env, (kept_ms, resendable_ms): (u64, u64), now_ms: u64) -> worker::Result<()> {
    let before = |kept_ms: u64| now_ms.saturating_sub(kept_ms);
    let letters = "DELETE FROM outbox_dead_letters WHERE letter IN
        (SELECT letter FROM outbox_dead_letters WHERE dead_at_ms < ?1 ORDER BY dead_at_ms LIMIT ?2)";
    for (statement, before_ms) in [
        (DELETE_OLD_EXECUTIONS, before(kept_ms)),
        (DELETE_OLD_ATTEMPTS, before(kept_ms)),
        (letters, before(kept_ms)),
        (DELETE_OLD_LETTERS, before(kept_ms.max(resendable_ms))),
    ] {
        for _ in 0..PRUNED_MAX_TIMES {
            let values = [number(before_ms), number(PRUNED_AT_ONCE)];
            let result = database(env)?.prepare(statement).bind(&values)?.run().await?;
            let removed = result.meta()?.and_then(|meta| meta.changes).unwrap_or(0);
            if (removed as u64) < PRUNED_AT_ONCE {
                break;
            }
        }
    }
    let forgotten_ms = number(now_ms.saturating_sub(LAGS_KEPT_MS));
    let lags = "DELETE FROM outbox_lags WHERE oldest_at_ms < ?";
    database(env)?.prepare(lags).bind(&[forgotten_ms])?.run().await?;
    Ok(())
}

/// Puts a run's report on the operator's lists. Safe to repeat.
pub async fn report(env: &Env, report: &Report) -> worker::Result<()> {
    let database = database(env)?;
    let mut statements = Vec::new();
    for lag in &report.lags {
        let key = [&lag.destination, &lag.orchestrator, &lag.run].map(|text| JsValue::from(text.as_str()));
        if lag.health == Health::Passing {
            let query = "DELETE FROM outbox_lags WHERE destination = ? AND orchestrator = ? AND run = ?";
            statements.push(database.prepare(query).bind(&key)?);
            continue;
        }
        let health = if lag.health == Health::Paused {
            "paused"
        } else {
            "failing"
        };
        let rest = [
            health.into(),
            number(lag.waiting),
            number(lag.oldest_at_ms),
            lag.last_error.as_deref().map_or(JsValue::NULL, JsValue::from),
            number(lag.dropped),
        ];
        let values: Vec<JsValue> = key.into_iter().chain(rest).collect();
        statements.push(database.prepare(WRITE_LAG).bind(&values)?);
    }
    for dead in &report.dead {
        let query = "INSERT OR REPLACE INTO outbox_dead_letters
            (letter, destination, orchestrator, run, event, reason, dead_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?)";
        let values = [
            dead.letter.as_str().into(),
            dead.destination.as_str().into(),
            dead.event.orchestrator.as_str().into(),
            dead.event.run.as_str().into(),
            serde_json::to_string(&dead.event)?.into(),
            dead.reason.as_str().into(),
            number(dead.dead_at_ms),
        ];
        statements.push(database.prepare(query).bind(&values)?);
    }
    if !statements.is_empty() {
        database.batch(statements).await?;
    }
    Ok(())
}

/// The runs whose events wait the longest.
pub async fn lags(env: &Env) -> worker::Result<Vec<Lag>> {
    rows(
        env,
        "SELECT * FROM outbox_lags ORDER BY oldest_at_ms LIMIT ?",
        &[number(LAGS_MAX)],
    )
    .await
}

/// Events that were given up, the newest first, from after `before` on.
pub async fn dead_events(env: &Env, before: Option<(u64, &str)>, limit: usize) -> worker::Result<Vec<DeadEvent>> {
    let (at_ms, letter) = before.unwrap_or((u64::MAX, ""));
    let query = "SELECT * FROM outbox_dead_letters WHERE (dead_at_ms, letter) < (?, ?)
        ORDER BY dead_at_ms DESC, letter DESC LIMIT ?";
    let found: Vec<LetterRow> = rows(env, query, &[number(at_ms), letter.into(), number(limit as u64)]).await?;
    found.into_iter().map(DeadEvent::try_from).collect()
}

/// The one of this name.
pub async fn dead_event(env: &Env, letter: &str) -> worker::Result<Option<DeadEvent>> {
    let query = "SELECT * FROM outbox_dead_letters WHERE letter = ?";
    let found: Vec<LetterRow> = rows(env, query, &[letter.into()]).await?;
    found.into_iter().next().map(DeadEvent::try_from).transpose()
}

/// Takes one off the list.
pub async fn remove_dead_event(env: &Env, letter: &str) -> worker::Result<()> {
    let query = "DELETE FROM outbox_dead_letters WHERE letter = ?";
    database(env)?.prepare(query).bind(&[letter.into()])?.run().await?;
    Ok(())
}

/// What a statement answers.
pub async fn rows<T: DeserializeOwned>(env: &Env, statement: &str, values: &[JsValue]) -> worker::Result<Vec<T>> {
    let result = database(env)?.prepare(statement).bind(values)?.all().await?;
    // By JSON, where D1's numbers, which are JavaScript's, are whole again.
    let rows: Vec<serde_json::Value> = result.results()?;
    rows.into_iter()
        .map(|row| Ok(serde_json::from_value(whole(row))?))
        .collect()
}

/// A row whose numbers are whole, where they can be.
fn whole(mut row: serde_json::Value) -> serde_json::Value {
    if let Some(row) = row.as_object_mut() {
        for value in row.values_mut() {
            if let Some(number) = value.as_f64().filter(|number| number.fract() == 0.0 && *number >= 0.0) {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a number that we wrote"
                )]
                let number = number as u64;
                *value = number.into();
            }
        }
    }
    row
}

fn bound(parameter: &Parameter) -> JsValue {
    match parameter {
        Parameter::Text(text) => text.as_str().into(),
        Parameter::Number(value) => number(*value),
    }
}

#[derive(Deserialize)]
struct LetterRow {
    letter: String,
    destination: String,
    event: String,
    reason: String,
    dead_at_ms: u64,
}

impl TryFrom<LetterRow> for DeadEvent {
    type Error = worker::Error;

    fn try_from(row: LetterRow) -> worker::Result<Self> {
        Ok(Self {
            letter: row.letter,
            destination: row.destination,
            event: serde_json::from_str(&row.event)?,
            reason: row.reason,
            dead_at_ms: row.dead_at_ms,
        })
    }
}
