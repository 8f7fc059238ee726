//! Settlements, each once, and what they make of the runs that they are about.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::Value;

use super::{Store, StoreError, json_column};
use crate::model::{Progress, Settlement};

/// A settlement to write down.
#[derive(Debug, Clone)]
pub struct NewSettlement<'a> {
    /// The request's idempotency key.
    pub idempotency_key: &'a str,
    /// Digest of the request's body.
    pub body_digest: &'a str,
    /// The run.
    pub run: &'a str,
    /// The gateway that routed it.
    pub gateway: &'a str,
    /// Why it did.
    pub reason: &'a str,
    /// Unix milliseconds.
    pub routed_at_ms: u64,
    /// The steps as they came, a JSON array.
    pub shown_steps: Value,
    /// The versions of the state, a JSON array.
    pub state: Value,
    /// The steps, each once.
    pub steps: Vec<SettledStep>,
}

/// A step that a gateway brought to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct SettledStep {
    /// The step's id.
    pub step: String,
    /// The attempt that ended.
    pub attempt: u32,
    /// The agent.
    pub agent: String,
    /// Whether it completed.
    pub completed: bool,
    /// Its outcome.
    pub outcome: Value,
}

/// What a settlement came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The run is settled by it, now or since it came first.
    Agreed,
    /// The orchestrator holds something else, and why.
    Conflict(String),
    /// Its idempotency key was used for another settlement.
    KeyReused,
}

impl Store {
    /// Writes a settlement down, and brings its run to the end that it tells, unless the run has come to another. `is_same`
    /// compares two outcomes of a step.
    ///
    /// # Errors
    /// When the database fails.
    pub fn settle(
        &self,
        new: &NewSettlement<'_>,
        is_same: impl Fn(&Value, &Value) -> bool,
        now_ms: u64,
    ) -> Result<Settled, StoreError> {
        self.write(|transaction| {
            if let Some(known) = known(transaction, new)? {
                return Ok(known);
            }
            let conflict = conflict(transaction, new, is_same)?;
            transaction.execute(
                "INSERT INTO runs (run, status, created_at_ms, deadline_at_ms) VALUES (?1, 'running', ?2, ?2)
                 ON CONFLICT DO NOTHING",
                params![new.run, now_ms],
            )?;
            transaction.execute(
                "INSERT INTO settlements (idempotency_key, run, gateway, body_digest, reason, routed_at_ms, received_at_ms,
                   conflict, steps, state)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    new.idempotency_key,
                    new.run,
                    new.gateway,
                    new.body_digest,
                    new.reason,
                    new.routed_at_ms,
                    now_ms,
                    conflict,
                    new.shown_steps.to_string(),
                    new.state.to_string(),
                ],
            )?;
            if let Some(reason) = conflict {
                return Ok(Settled::Conflict(reason));
            }
            end(transaction, new, now_ms)?;
            Ok(Settled::Agreed)
        })
    }
}

/// What this very settlement came to when it came before.
fn known(connection: &Connection, new: &NewSettlement<'_>) -> rusqlite::Result<Option<Settled>> {
    connection
        .query_row(
            "SELECT body_digest, conflict FROM settlements WHERE idempotency_key = ?1",
            [new.idempotency_key],
            |row| {
                let (body_digest, conflict): (String, Option<String>) = (row.get(0)?, row.get(1)?);
                Ok(match conflict {
                    _ if body_digest != new.body_digest => Settled::KeyReused,
                    None => Settled::Agreed,
                    Some(reason) => Settled::Conflict(reason),
                })
            },
        )
        .optional()
}

/// Why the settlement cannot be agreed to. An outcome that is the orchestrator's own word says only that it knew none.
fn conflict(
    connection: &Connection,
    new: &NewSettlement<'_>,
    is_same: impl Fn(&Value, &Value) -> bool,
) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT gateway FROM handed_runs WHERE run = ?1";
    let handed_on_by: Option<String> = connection.query_row(sql, [new.run], |row| row.get(0)).optional()?;
    if handed_on_by.is_some_and(|gateway| gateway != new.gateway) {
        return Ok(Some("the run was handed on by another gateway".into()));
    }
    for settled in &new.steps {
        let own: Option<Value> = connection
            .query_row(
                "SELECT outcome FROM steps WHERE run = ?1 AND step = ?2 AND verified AND outcome IS NOT NULL",
                params![new.run, settled.step],
                |row| json_column(row, "outcome"),
            )
            .optional()?;
        if own.is_some_and(|own| !is_same(&own, &settled.outcome)) {
            return Ok(Some(format!("step `{}` came to another outcome here", settled.step)));
        }
    }
    Ok(None)
}

/// Ends the run as the settlement tells it. Whoever drives it finds it ended.
fn end(transaction: &Transaction<'_>, new: &NewSettlement<'_>, now_ms: u64) -> rusqlite::Result<()> {
    for settled in &new.steps {
        let status = if settled.completed {
            Progress::Completed
        } else {
            Progress::Failed
        };
        transaction.execute(
            "UPDATE steps SET status = ?3, verified = TRUE, via = NULL, outcome = ?4, attempt = ?5, accepted_by = NULL
             WHERE run = ?1 AND step = ?2 AND NOT verified",
            params![
                new.run,
                settled.step,
                status.as_str(),
                settled.outcome.to_string(),
                settled.attempt
            ],
        )?;
        // One that is not known here. A settlement has the digest of its input only.
        transaction.execute(
            "INSERT INTO steps (run, position, step, agent, input, attempt, members, status, verified, outcome)
             SELECT ?1, (SELECT coalesce(max(position) + 1, 0) FROM steps WHERE run = ?1), ?2, ?3, 'null', ?4, '', ?5, TRUE, ?6
             WHERE NOT EXISTS (SELECT 1 FROM steps WHERE run = ?1 AND step = ?2)",
            params![
                new.run,
                settled.step,
                settled.agent,
                settled.attempt,
                status.as_str(),
                settled.outcome.to_string()
            ],
        )?;
    }
    transaction.execute(
        "UPDATE steps SET status = 'skipped' WHERE run = ?1 AND status = 'running'",
        [new.run],
    )?;
    transaction.execute(
        "UPDATE runs SET finished_at_ms = coalesce(finished_at_ms, ?2), status =
           CASE WHEN EXISTS (SELECT 1 FROM steps WHERE run = ?1 AND status <> 'completed')
             THEN 'failed' ELSE 'completed' END
         WHERE run = ?1",
        params![new.run, now_ms],
    )?;
    Ok(())
}

/// What came for a run, the oldest first.
pub(super) fn of_run(connection: &Connection, run: &str) -> rusqlite::Result<Vec<Settlement>> {
    connection
        .prepare("SELECT * FROM settlements WHERE run = ?1 ORDER BY received_at_ms, idempotency_key")?
        .query_map([run], |row| {
            let conflict: Option<String> = row.get("conflict")?;
            Ok(Settlement {
                idempotency_key: row.get("idempotency_key")?,
                gateway: row.get("gateway")?,
                reason: row.get("reason")?,
                routed_at_ms: row.get("routed_at_ms")?,
                received_at_ms: row.get("received_at_ms")?,
                settled: conflict.is_none(),
                conflict,
                steps: json_column(row, "steps")?,
                state: json_column(row, "state")?,
            })
        })?
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Mode;
    use crate::store::{NewRun, NewStep, StepEnd};

    #[test]
    fn what_comes_after_a_settlement_changes_nothing() {
        let store = Store::in_memory().expect("a store");
        let step = |id: &str| NewStep {
            step: id.into(),
            agent: "a".into(),
            input: json!(1),
            mode: Mode::Sync,
            members: String::new(),
        };
        let run = NewRun {
            run: "r".into(),
            deadline_at_ms: 9,
            state: None,
            steps: vec![step("s1"), step("s2")],
        };
        assert!(store.create_run(&run, 1).expect("an answer"));
        let outcome = json!({ "status": "completed", "output": 1 });
        let settled = |id: &str| SettledStep {
            step: id.into(),
            attempt: 2,
            agent: "a".into(),
            completed: true,
            outcome: outcome.clone(),
        };
        let new = NewSettlement {
            idempotency_key: "r/settlement/1",
            body_digest: "x",
            run: "r",
            gateway: "g",
            reason: "unreachable",
            routed_at_ms: 1,
            shown_steps: json!([]),
            state: json!([]),
            steps: vec![settled("s1"), settled("more")],
        };
        let settle = |new: &NewSettlement<'_>| store.settle(new, |one, other| one == other, 5).expect("an answer");
        assert_eq!(settle(&new), Settled::Agreed);
        assert!(!store.is_running("r").expect("an answer"));

        for end in [
            StepEnd::NextAttempt,
            StepEnd::Waits {
                accepted_by: "g".into(),
            },
            StepEnd::Ended {
                completed: false,
                via: None,
                outcome: json!({ "status": "failed" }),
            },
        ] {
            store.record("r", "s1", None, Some(&end)).expect("recorded");
        }
        store.finish_run("r", 6).expect("finished");
        let run = store.run("r").expect("an answer").expect("the run");
        assert_eq!((run.status, run.finished_at_ms), (Progress::Settled, Some(5)));
        let facts: Vec<_> = run
            .steps
            .iter()
            .map(|step| (step.step.as_str(), step.attempt, step.status))
            .collect();
        let expected = [
            ("s1", 2, Progress::Completed),
            ("s2", 1, Progress::Skipped),
            ("more", 2, Progress::Completed),
        ];
        assert_eq!(facts, expected);
        assert_eq!(run.steps[0].outcome, Some(outcome.clone()));

        let reused = NewSettlement {
            body_digest: "y",
            ..new.clone()
        };
        assert_eq!(settle(&reused), Settled::KeyReused);
        assert_eq!(settle(&new), Settled::Agreed);
    }
}
