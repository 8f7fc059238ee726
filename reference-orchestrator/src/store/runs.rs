//! Runs with their steps, and every invocation that was made for them.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde_json::Value;

use super::{Store, StoreError, json_column};
use crate::model::{Invocation, KeptState, Mode, Progress, Run, Step, Via};

/// Finished runs beyond this number are forgotten, the oldest first.
const RUNS_KEPT_MAX: u64 = 10_000;

/// A run to begin.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// The run's id.
    pub run: String,
    /// Unix milliseconds.
    pub deadline_at_ms: u64,
    /// The state that a gateway is to keep for the run, as JSON text.
    pub state: Option<String>,
    /// In order.
    pub steps: Vec<NewStep>,
}

/// A step to begin.
#[derive(Debug, Clone)]
pub struct NewStep {
    /// The step's id.
    pub step: String,
    /// The agent.
    pub agent: String,
    /// The agent's input.
    pub input: Value,
    /// How it is invoked.
    pub mode: Mode,
    /// The members of the request's body but for `attempt`, as text: `"run":"r","step":"s1",...`.
    pub members: String,
}

/// The step of a run that is to be invoked next.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// The step's id.
    pub step: String,
    /// The agent.
    pub agent: String,
    /// The number of the current attempt.
    pub attempt: u32,
    /// How it is invoked.
    pub mode: Mode,
    /// The gateway that has accepted the current attempt, while its outcome is waited for.
    pub accepted_by: Option<String>,
    /// The members of the request's body but for `attempt`, as text.
    pub members: String,
    /// The span that the run is part of, where a gateway that handed it on named one.
    pub traceparent: Option<String>,
}

impl Pending {
    /// The body to send: the same bytes each time, since the gateway keeps a fingerprint of them.
    #[must_use]
    pub fn body(&self) -> String {
        format!("{{\"attempt\":{},{}}}", self.attempt, self.members)
    }
}

/// What a step comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum StepEnd {
    /// It ended, with this outcome.
    Ended {
        /// Whether it completed.
        completed: bool,
        /// How it came, if its signature holds. Without, it is the orchestrator's own word.
        via: Option<Via>,
        /// The outcome.
        outcome: Value,
    },
    /// It is attempted again.
    NextAttempt,
    /// This gateway accepted it: its outcome comes later.
    Waits {
        /// The gateway's id.
        accepted_by: String,
    },
}

impl Store {
    /// Begins a run; says whether its id was free.
    ///
    /// # Errors
    /// When the database fails.
    pub fn create_run(&self, new: &NewRun, now_ms: u64) -> Result<bool, StoreError> {
        self.write(|transaction| insert_run(transaction, new, now_ms))
    }

    /// The run's next step that has not ended; none where all have, or where one failed.
    ///
    /// # Errors
    /// When the database fails.
    pub fn pending_step(&self, run: &str) -> Result<Option<Pending>, StoreError> {
        self.read(|connection| {
            connection
                .query_row(
                    "SELECT steps.*, traceparent FROM steps LEFT JOIN handed_runs USING (run)
                     WHERE run = ?1 AND status = 'running'
                       AND NOT EXISTS (SELECT 1 FROM steps WHERE run = ?1 AND status = 'failed')
                     ORDER BY position LIMIT 1",
                    [run],
                    |row| {
                        Ok(Pending {
                            step: row.get("step")?,
                            agent: row.get("agent")?,
                            attempt: row.get("attempt")?,
                            mode: mode(row)?,
                            accepted_by: row.get("accepted_by")?,
                            members: row.get("members")?,
                            traceparent: row.get("traceparent")?,
                        })
                    },
                )
                .optional()
        })
    }

    /// Records an invocation, and in the same transaction what the step comes to by it, if it does. A step that has ended,
    /// by a settlement, stays as it is.
    ///
    /// # Errors
    /// When the database fails.
    pub fn record(
        &self,
        run: &str,
        step: &str,
        invocation: Option<&Invocation>,
        end: Option<&StepEnd>,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            if let Some(invocation) = invocation {
                transaction.execute(
                    "INSERT INTO invocations (run, step, details) VALUES (?1, ?2, ?3)",
                    params![run, step, serde_json::json!(invocation).to_string()],
                )?;
            }
            match end {
                None => 0,
                Some(StepEnd::Ended {
                    completed,
                    via,
                    outcome,
                }) => {
                    let status = if *completed {
                        Progress::Completed
                    } else {
                        Progress::Failed
                    };
                    transaction.execute(
                        "UPDATE steps SET status = ?3, verified = ?4, via = ?5, outcome = ?6, accepted_by = NULL
                         WHERE run = ?1 AND step = ?2 AND status = 'running'",
                        params![
                            run,
                            step,
                            status.as_str(),
                            via.is_some(),
                            via.map(Via::as_str),
                            outcome.to_string()
                        ],
                    )?
                }
                Some(StepEnd::NextAttempt) => transaction.execute(
                    "UPDATE steps SET attempt = attempt + 1, accepted_by = NULL
                     WHERE run = ?1 AND step = ?2 AND status = 'running'",
                    params![run, step],
                )?,
                Some(StepEnd::Waits { accepted_by }) => transaction.execute(
                    "UPDATE steps SET accepted_by = ?3 WHERE run = ?1 AND step = ?2 AND status = 'running'",
                    params![run, step, accepted_by],
                )?,
            };
            Ok(())
        })
    }

    /// The state that the run brings along, if no gateway keeps it yet.
    ///
    /// # Errors
    /// When the database fails.
    pub fn pending_state(&self, run: &str) -> Result<Option<String>, StoreError> {
        self.read(|connection| {
            connection
                .query_row(
                    "SELECT state FROM runs WHERE run = ?1 AND state IS NOT NULL AND state_version IS NULL",
                    [run],
                    |row| row.get(0),
                )
                .optional()
        })
    }

    /// Records that a gateway keeps the run's state.
    ///
    /// # Errors
    /// When the database fails.
    pub fn keep_state(&self, run: &str, kept: &KeptState) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.execute(
                "UPDATE runs SET state_version = ?2, state_digest = ?3 WHERE run = ?1",
                params![run, kept.version, kept.digest],
            )?;
            Ok(())
        })
    }

    /// Ends a run whose steps have come to their end.
    ///
    /// # Errors
    /// When the database fails.
    pub fn finish_run(&self, run: &str, now_ms: u64) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.execute(
                "UPDATE runs SET finished_at_ms = ?2, status =
                   CASE WHEN EXISTS (SELECT 1 FROM steps WHERE run = ?1 AND status <> 'completed')
                     THEN 'failed' ELSE 'completed' END
                 WHERE run = ?1 AND status = 'running'",
                params![run, now_ms],
            )?;
            transaction.execute(
                "UPDATE steps SET status = 'skipped' WHERE run = ?1 AND status = 'running'",
                [run],
            )?;
            Ok(())
        })
    }

    /// Whether the run has not finished.
    ///
    /// # Errors
    /// When the database fails.
    pub fn is_running(&self, run: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM runs WHERE run = ?1 AND status = 'running')";
        self.read(|connection| connection.query_row(sql, [run], |row| row.get(0)))
    }

    /// The ids of all runs that have not finished, the oldest first: what a restart takes up again.
    ///
    /// # Errors
    /// When the database fails.
    pub fn unfinished_runs(&self) -> Result<Vec<String>, StoreError> {
        self.read(|connection| {
            connection
                .prepare("SELECT run FROM runs WHERE status = 'running' ORDER BY number")?
                .query_map([], |row| row.get(0))?
                .collect()
        })
    }

    /// One run with all that belongs to it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn run(&self, run: &str) -> Result<Option<Run>, StoreError> {
        self.read(|connection| {
            connection
                .query_row("SELECT * FROM runs WHERE run = ?1", [run], |row| {
                    run_from_row(connection, row)
                })
                .optional()
        })
    }

    /// The latest runs, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn latest_runs(&self, count_max: usize) -> Result<Vec<Run>, StoreError> {
        self.read(|connection| {
            connection
                .prepare("SELECT * FROM runs ORDER BY number DESC LIMIT ?1")?
                .query_map([count_max], |row| run_from_row(connection, row))?
                .collect()
        })
    }
}

/// Begins a run; says whether its id was free.
pub(super) fn insert_run(transaction: &Transaction<'_>, new: &NewRun, now_ms: u64) -> rusqlite::Result<bool> {
    let inserted = transaction.execute(
        "INSERT INTO runs (run, status, created_at_ms, deadline_at_ms, state)
         VALUES (?1, 'running', ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![new.run, now_ms, new.deadline_at_ms, new.state],
    )?;
    if inserted == 0 {
        return Ok(false);
    }
    for (position, step) in new.steps.iter().enumerate() {
        transaction.execute(
            "INSERT INTO steps (run, position, step, agent, input, attempt, members, status, verified, in_background)
             VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, 'running', FALSE, ?7)",
            params![
                new.run,
                position,
                step.step,
                step.agent,
                step.input.to_string(),
                step.members,
                step.mode == Mode::Async
            ],
        )?;
    }
    transaction.execute(
        "DELETE FROM runs WHERE status <> 'running' AND number <= (SELECT max(number) FROM runs) - ?1",
        [RUNS_KEPT_MAX],
    )?;
    Ok(true)
}

fn run_from_row(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<Run> {
    let run: String = row.get("run")?;
    let steps = connection
        .prepare("SELECT * FROM steps WHERE run = ?1 ORDER BY position")?
        .query_map([&run], |row| step_from_row(connection, row))?
        .collect::<rusqlite::Result<_>>()?;
    let settlements = super::settlements::of_run(connection, &run)?;
    let settled = settlements.iter().any(|settlement| settlement.settled);
    let handed_on_by = connection
        .query_row("SELECT gateway FROM handed_runs WHERE run = ?1", [&run], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(Run {
        status: if settled { Progress::Settled } else { progress(row)? },
        created_at_ms: row.get("created_at_ms")?,
        deadline_at_ms: row.get("deadline_at_ms")?,
        finished_at_ms: row.get("finished_at_ms")?,
        state: kept_state(row)?,
        handed_on_by,
        steps,
        settlements,
        run,
    })
}

fn step_from_row(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<Step> {
    let (run, step): (String, String) = (row.get("run")?, row.get("step")?);
    let invocations = connection
        .prepare("SELECT details FROM invocations WHERE run = ?1 AND step = ?2 ORDER BY number")?
        .query_map([&run, &step], |row| json_column(row, "details"))?
        .collect::<rusqlite::Result<_>>()?;
    let outcome: Option<String> = row.get("outcome")?;
    let outcome: Option<Value> = outcome.map(|_| json_column(row, "outcome")).transpose()?;
    let accepted_by: Option<String> = row.get("accepted_by")?;
    Ok(Step {
        callbacks: super::callbacks::of_step(connection, &run, &step)?,
        step,
        agent: row.get("agent")?,
        input: json_column(row, "input")?,
        mode: mode(row)?,
        attempt: row.get("attempt")?,
        status: match progress(row)? {
            Progress::Running if accepted_by.is_some() => Progress::Waiting,
            status => status,
        },
        verified: row.get("verified")?,
        via: via(row)?,
        state_version: outcome.as_ref().and_then(|outcome| outcome["state_version"].as_u64()),
        outcome,
        invocations,
    })
}

fn mode(row: &Row<'_>) -> rusqlite::Result<Mode> {
    Ok(if row.get("in_background")? {
        Mode::Async
    } else {
        Mode::Sync
    })
}

fn via(row: &Row<'_>) -> rusqlite::Result<Option<Via>> {
    let via: Option<String> = row.get("via")?;
    Ok(via.map(|via| match via.as_str() {
        "callback" => Via::Callback,
        "poll" => Via::Poll,
        _ => Via::Answer,
    }))
}

fn kept_state(row: &Row<'_>) -> rusqlite::Result<Option<KeptState>> {
    let version: Option<u64> = row.get("state_version")?;
    let digest = row.get("state_digest")?;
    Ok(version.map(|version| KeptState { version, digest }))
}

fn progress(row: &Row<'_>) -> rusqlite::Result<Progress> {
    let status: String = row.get("status")?;
    Ok(match status.as_str() {
        "completed" => Progress::Completed,
        "failed" => Progress::Failed,
        "skipped" => Progress::Skipped,
        _ => Progress::Running,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn new_run(run: &str, steps: usize) -> NewRun {
        let step = |number: usize| NewStep {
            step: format!("s{number}"),
            agent: "triage".into(),
            input: json!({ "text": "hello" }),
            mode: Mode::Async,
            members: format!("\"step\":\"s{number}\""),
        };
        NewRun {
            run: run.into(),
            deadline_at_ms: 1_000,
            state: None,
            steps: (1..=steps).map(step).collect(),
        }
    }

    fn ended(completed: bool) -> StepEnd {
        StepEnd::Ended {
            completed,
            via: Some(Via::Answer),
            outcome: json!({ "status": "x", "state_version": 2 }),
        }
    }

    fn pending(store: &Store, run: &str) -> Option<String> {
        store
            .pending_step(run)
            .expect("an answer")
            .map(|pending| pending.body())
    }

    #[test]
    fn a_run_goes_through_its_steps() {
        let store = Store::in_memory().expect("a store");
        assert!(store.create_run(&new_run("r", 2), 10).expect("an answer"));
        assert!(!store.create_run(&new_run("r", 1), 11).expect("an answer"));
        assert_eq!(pending(&store, "r"), Some(r#"{"attempt":1,"step":"s1"}"#.into()));

        let invocation = Invocation {
            attempt: 1,
            http_status: Some(200),
            ..Invocation::default()
        };
        store
            .record("r", "s1", Some(&invocation), Some(&StepEnd::NextAttempt))
            .expect("recorded");
        assert_eq!(pending(&store, "r"), Some(r#"{"attempt":2,"step":"s1"}"#.into()));

        store
            .record("r", "s1", Some(&invocation), Some(&ended(true)))
            .expect("recorded");
        assert_eq!(pending(&store, "r"), Some(r#"{"attempt":1,"step":"s2"}"#.into()));
        store.record("r", "s2", None, Some(&ended(true))).expect("recorded");
        assert_eq!(pending(&store, "r"), None);
        assert_eq!(store.unfinished_runs().expect("a list"), ["r"]);
        store.finish_run("r", 20).expect("finished");

        let run = store.run("r").expect("an answer").expect("the run");
        assert_eq!((run.status, run.finished_at_ms), (Progress::Completed, Some(20)));
        assert_eq!(run.steps[0].invocations, [invocation.clone(), invocation]);
        assert_eq!(run.steps[0].outcome, Some(json!({ "status": "x", "state_version": 2 })));
        assert!(run.steps[0].verified);
        assert_eq!(
            (run.steps[0].via, run.steps[0].state_version),
            (Some(Via::Answer), Some(2))
        );
        assert_eq!(store.unfinished_runs().expect("a list"), [""; 0]);
        assert_eq!(store.run("other").expect("an answer"), None);
    }

    #[test]
    fn a_failed_step_is_the_run_s_last() {
        let store = Store::in_memory().expect("a store");
        store.create_run(&new_run("r", 2), 10).expect("an answer");
        store.record("r", "s1", None, Some(&ended(false))).expect("recorded");
        assert_eq!(pending(&store, "r"), None);
        store.finish_run("r", 20).expect("finished");
        let run = store.run("r").expect("an answer").expect("the run");
        assert_eq!(run.status, Progress::Failed);
        assert_eq!(run.steps[1].status, Progress::Skipped);
    }

    #[test]
    fn a_restart_finds_what_was_under_way() {
        let folder = std::env::temp_dir().join(format!("baton-runs-{}", crate::outside::token()));
        std::fs::create_dir(&folder).expect("a folder");
        let file = folder.join("orchestrator.sqlite");
        let store = Store::open(&file).expect("a store");
        store.create_run(&new_run("r1", 1), 10).expect("an answer");
        store.create_run(&new_run("r2", 1), 11).expect("an answer");
        store
            .record("r2", "s1", None, Some(&StepEnd::NextAttempt))
            .expect("recorded");
        drop(store);

        let store = Store::open(&file).expect("a store");
        assert_eq!(store.unfinished_runs().expect("a list"), ["r1", "r2"]);
        assert_eq!(pending(&store, "r2"), Some(r#"{"attempt":2,"step":"s1"}"#.into()));
        std::fs::remove_dir_all(&folder).expect("the folder goes");
    }

    #[test]
    fn the_newest_runs_come_first() {
        let store = Store::in_memory().expect("a store");
        for run in ["a", "b", "c"] {
            store.create_run(&new_run(run, 1), 10).expect("an answer");
        }
        let latest = store.latest_runs(2).expect("a list");
        assert_eq!(
            latest.iter().map(|run| run.run.as_str()).collect::<Vec<_>>(),
            ["c", "b"]
        );
    }
}
