//! What gateways deliver: each delivery once, however often it comes.

use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::Value;

use super::{Store, StoreError, json_column};
use crate::model::Callback;

/// A delivery whose signature holds.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCallback<'a> {
    /// Its `webhook-id`.
    pub id: &'a str,
    /// The run.
    pub run: &'a str,
    /// The step.
    pub step: &'a str,
    /// The attempt that ended.
    pub attempt: u32,
    /// What happened, such as `step.completed`.
    pub kind: &'a str,
    /// What a plain call would have been answered with.
    pub answer: &'a StoredAnswer,
}

/// The answer to a step that the gateway executed in the background.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The outcome, or a problem.
    pub body: Value,
}

impl Store {
    /// Counts a delivery that came before; says whether one did.
    ///
    /// # Errors
    /// When the database fails.
    pub fn count_again(&self, id: &str) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let counted = transaction.execute("UPDATE callbacks SET receipts = receipts + 1 WHERE id = ?1", [id])?;
            Ok(counted == 1)
        })
    }

    /// Keeps a delivery. One that another thread kept meanwhile is counted.
    ///
    /// # Errors
    /// When the database fails.
    pub fn keep_callback(&self, new: &NewCallback<'_>, now_ms: u64) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.execute(
                "INSERT INTO callbacks (id, run, step, attempt, type, status, body, received_at_ms, receipts)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1)
                 ON CONFLICT DO UPDATE SET receipts = receipts + 1",
                params![
                    new.id,
                    new.run,
                    new.step,
                    new.attempt,
                    new.kind,
                    new.answer.status,
                    new.answer.body.to_string(),
                    now_ms
                ],
            )?;
            Ok(())
        })
    }

    /// The answer that was delivered first for this attempt.
    ///
    /// # Errors
    /// When the database fails.
    pub fn delivered(&self, run: &str, step: &str, attempt: u32) -> Result<Option<StoredAnswer>, StoreError> {
        self.read(|connection| {
            connection
                .query_row(
                    "SELECT status, body FROM callbacks WHERE run = ?1 AND step = ?2 AND attempt = ?3
                     ORDER BY received_at_ms, id LIMIT 1",
                    params![run, step, attempt],
                    |row| {
                        Ok(StoredAnswer {
                            status: row.get("status")?,
                            body: json_column(row, "body")?,
                        })
                    },
                )
                .optional()
        })
    }
}

/// What was delivered for a step, the oldest first.
pub(super) fn of_step(connection: &Connection, run: &str, step: &str) -> rusqlite::Result<Vec<Callback>> {
    connection
        .prepare("SELECT * FROM callbacks WHERE run = ?1 AND step = ?2 ORDER BY received_at_ms")?
        .query_map([run, step], |row| {
            Ok(Callback {
                id: row.get("id")?,
                attempt: row.get("attempt")?,
                kind: row.get("type")?,
                http_status: row.get("status")?,
                received_at_ms: row.get("received_at_ms")?,
                receipts: row.get("receipts")?,
            })
        })?
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Mode;
    use crate::store::{NewRun, NewStep};

    #[test]
    fn a_delivery_is_kept_once_and_counted() {
        let store = Store::in_memory().expect("a store");
        let step = NewStep {
            step: "s1".into(),
            agent: "a".into(),
            input: json!(1),
            mode: Mode::Async,
            members: String::new(),
        };
        let run = NewRun {
            run: "r".into(),
            deadline_at_ms: 9,
            state: None,
            steps: vec![step],
        };
        assert!(store.create_run(&run, 1).expect("an answer"));
        let answer = |number: u64| StoredAnswer {
            status: 200,
            body: json!({ "number": number }),
        };
        let keep = |id: &str, attempt: u32, answer: &StoredAnswer, now_ms: u64| {
            let new = NewCallback {
                id,
                run: "r",
                step: "s1",
                attempt,
                kind: "step.completed",
                answer,
            };
            store.keep_callback(&new, now_ms).expect("kept");
        };
        assert!(!store.count_again("msg_1").expect("an answer"));
        keep("msg_1", 1, &answer(1), 2);
        assert!(store.count_again("msg_1").expect("an answer"));
        // Two threads that receive the same delivery at once.
        keep("msg_1", 1, &answer(1), 3);
        keep("msg_0", 1, &answer(2), 4);
        assert_eq!(store.delivered("r", "s1", 1).expect("an answer"), Some(answer(1)));
        assert_eq!(store.delivered("r", "s1", 2).expect("an answer"), None);
        let run = store.run("r").expect("an answer").expect("the run");
        let receipts: Vec<_> = run.steps[0].callbacks.iter().map(|one| one.receipts).collect();
        assert_eq!(receipts, [3, 1]);
    }
}
