//! The operator's list of dead letters, in D1: a run's object knows its own alone.

use serde::Deserialize;
use worker::Env;

use super::d1::{database, integer, number};
use crate::run::delivery::DeadLetter;

const COLUMNS: &str = "delivery, orchestrator, run, step, url, tries, last_error, dead_at_ms";

/// Adds a dead letter, or renews it.
pub async fn add(env: &Env, letter: &DeadLetter) -> worker::Result<()> {
    let query = format!("INSERT OR REPLACE INTO dead_letters ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
    let values = [
        letter.delivery.as_str().into(),
        letter.orchestrator.as_str().into(),
        letter.run.as_str().into(),
        letter.step.as_str().into(),
        letter.url.as_str().into(),
        letter.tries.into(),
        letter.last_error.as_str().into(),
        number(letter.dead_at_ms),
    ];
    database(env)?.prepare(query).bind(&values)?.run().await?;
    Ok(())
}

/// The newest first, from after `before` on.
pub async fn list(env: &Env, before: Option<(u64, &str)>, limit: usize) -> worker::Result<Vec<DeadLetter>> {
    let (at_ms, id) = before.unwrap_or((u64::MAX, ""));
    let query = format!(
        "SELECT {COLUMNS} FROM dead_letters WHERE (dead_at_ms, delivery) < (?, ?) ORDER BY dead_at_ms DESC, delivery DESC LIMIT ?"
    );
    let values = [number(at_ms), id.into(), number(limit as u64)];
    let rows: Vec<Row> = database(env)?.prepare(query).bind(&values)?.all().await?.results()?;
    Ok(rows.into_iter().map(DeadLetter::from).collect())
}

/// The one of this id.
pub async fn find(env: &Env, delivery: &str) -> worker::Result<Option<DeadLetter>> {
    let query = format!("SELECT {COLUMNS} FROM dead_letters WHERE delivery = ?");
    let rows: Vec<Row> = database(env)?
        .prepare(query)
        .bind(&[delivery.into()])?
        .all()
        .await?
        .results()?;
    Ok(rows.into_iter().next().map(DeadLetter::from))
}

/// Removes this one, unless it died again since it was read.
pub async fn remove(env: &Env, letter: &DeadLetter) -> worker::Result<()> {
    let query = "DELETE FROM dead_letters WHERE delivery = ? AND dead_at_ms = ?";
    let values = [letter.delivery.as_str().into(), number(letter.dead_at_ms)];
    database(env)?.prepare(query).bind(&values)?.run().await?;
    Ok(())
}

#[derive(Deserialize)]
struct Row {
    delivery: String,
    orchestrator: String,
    run: String,
    step: String,
    url: String,
    tries: u32,
    last_error: String,
    dead_at_ms: f64,
}

impl From<Row> for DeadLetter {
    fn from(row: Row) -> Self {
        Self {
            delivery: row.delivery,
            orchestrator: row.orchestrator,
            run: row.run,
            step: row.step,
            url: row.url,
            tries: row.tries,
            last_error: row.last_error,
            dead_at_ms: integer(row.dead_at_ms),
        }
    }
}
