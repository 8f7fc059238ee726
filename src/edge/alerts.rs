//! What is kept of alerts, in D1.

use serde::Deserialize;
use worker::Env;

use super::d1::{database, integer, number};
use crate::alert::{AlertState, Kept, sql};
use crate::manifest::Team;

#[derive(Deserialize)]
struct Row {
    version: f64,
    state: String,
}

/// What is kept of an alert; its beginning, under the version 0, where nothing is.
pub async fn read(env: &Env, id: &str) -> worker::Result<Kept> {
    let row = database(env)?
        .prepare(sql::READ)
        .bind(&[id.into()])?
        .first::<Row>(None)
        .await?;
    let Some(row) = row else {
        return Ok(Kept::default());
    };
    // What another version of the gateway wrote and this one cannot read begins anew.
    let state = serde_json::from_str(&row.state).unwrap_or_default();
    Ok(Kept {
        version: integer(row.version),
        state,
    })
}

/// Keeps a state in the place of the one of this version. Answers whether it did.
pub async fn keep(env: &Env, id: &str, version: u64, state: &AlertState) -> worker::Result<bool> {
    let values = [id.into(), number(version), serde_json::to_string(state)?.into()];
    let result = database(env)?.prepare(sql::KEEP).bind(&values)?.run().await?;
    Ok(result.meta()?.and_then(|meta| meta.changes).unwrap_or(0) > 0)
}

/// Removes what is kept of alerts that are declared no more.
pub async fn prune(env: &Env) -> worker::Result<()> {
    let declared: Vec<_> = Team::embedded().gateway.alerts.keys().collect();
    let declared = serde_json::to_string(&declared)?;
    database(env)?
        .prepare(sql::PRUNE)
        .bind(&[declared.into()])?
        .run()
        .await?;
    Ok(())
}
