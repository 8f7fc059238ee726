//! The totals of the history and of the operator's lists, in D1.

use worker::Env;

use super::history::rows;
use crate::telemetry::history::{DEAD_CALLBACKS, DeadCallbacks, EXECUTION_TOTALS, OUTBOX_TOTALS, Totals};

/// Reads them.
pub async fn read(env: &Env) -> worker::Result<Totals> {
    let dead: Vec<DeadCallbacks> = rows(env, DEAD_CALLBACKS, &[]).await?;
    Ok(Totals {
        executions: rows(env, EXECUTION_TOTALS, &[]).await?,
        outbox: rows(env, OUTBOX_TOTALS, &[]).await?,
        dead_callbacks: dead.first().copied().unwrap_or_default().count,
    })
}
