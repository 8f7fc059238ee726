//! Which runs were handed on, by whom, and what the request was.

use rusqlite::{OptionalExtension as _, params};

use super::runs::insert_run;
use super::{NewRun, Store, StoreError};

/// A run that a gateway handed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOn {
    /// Digest of the request's body.
    pub body_digest: String,
    /// Unix milliseconds.
    pub deadline_at_ms: u64,
}

/// The call that handed a run on.
#[derive(Debug, Clone, Copy)]
pub struct Handed<'a> {
    /// By whom.
    pub gateway: &'a str,
    /// Digest of its body.
    pub body_digest: &'a str,
    /// The span that the run is part of, if it named one.
    pub traceparent: Option<&'a str>,
}

impl Store {
    /// Begins a run that a gateway handed on; says whether its id was free.
    ///
    /// # Errors
    /// When the database fails.
    pub fn create_handed_run(&self, new: &NewRun, handed: Handed<'_>, now_ms: u64) -> Result<bool, StoreError> {
        self.write(|transaction| {
            if !insert_run(transaction, new, now_ms)? {
                return Ok(false);
            }
            transaction.execute(
                "INSERT INTO handed_runs (run, gateway, body_digest, traceparent) VALUES (?1, ?2, ?3, ?4)",
                params![new.run, handed.gateway, handed.body_digest, handed.traceparent],
            )?;
            Ok(true)
        })
    }

    /// The run of this id that a gateway handed on.
    ///
    /// # Errors
    /// When the database fails.
    pub fn handed_run(&self, run: &str) -> Result<Option<HandedOn>, StoreError> {
        self.read(|connection| {
            connection
                .query_row(
                    "SELECT body_digest, deadline_at_ms FROM handed_runs JOIN runs USING (run) WHERE run = ?1",
                    [run],
                    |row| {
                        Ok(HandedOn {
                            body_digest: row.get("body_digest")?,
                            deadline_at_ms: row.get("deadline_at_ms")?,
                        })
                    },
                )
                .optional()
        })
    }
}
