//! What survives a restart: registrations with their leases, nonces, runs. All SQL is in this module.
//!
//! One connection behind a mutex: calls block for a moment, so they belong on a blocking thread. Time is an argument.

mod callbacks;
mod handed;
mod nonces;
mod registrations;
mod runs;
mod settlements;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

pub use callbacks::{NewCallback, StoredAnswer};
pub use handed::{Handed, HandedOn};
pub use registrations::{NewRegistration, Registered, Renewed};
pub use runs::{NewRun, NewStep, Pending, StepEnd};
pub use settlements::{NewSettlement, Settled, SettledStep};

/// How long a write waits for another process that has the database open.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// The schema's versions, oldest first. An entry that was released is never changed: a new one is added.
const MIGRATIONS: [&str; 5] = [
    include_str!("schema.sql"),
    include_str!("callbacks.sql"),
    include_str!("settlements.sql"),
    include_str!("traces.sql"),
    include_str!("lapses.sql"),
];

/// The orchestrator's database.
#[derive(Debug)]
pub struct Store {
    connection: Mutex<Connection>,
}

/// The database failed. Callers are told that it did, operators why.
#[derive(Debug, thiserror::Error)]
#[error("the database failed")]
pub struct StoreError(#[from] rusqlite::Error);

impl Store {
    /// Opens the database, makes it where there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// When the file is no database, cannot be written, or was made by a newer version of this program.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        Self::prepare(Connection::open(file)?)
    }

    /// A database that is gone with the process, for tests.
    ///
    /// # Errors
    /// When SQLite has no memory.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::prepare(Connection::open_in_memory()?)
    }

    fn prepare(mut connection: Connection) -> Result<Self, StoreError> {
        connection.busy_timeout(BUSY_MAX)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        migrate(&mut connection)?;
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }

    /// Runs statements that only read.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(work(&connection)?)
    }

    /// Runs statements as one transaction: all of them, or none.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    /// Answers when the database does.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self) -> Result<(), StoreError> {
        self.read(|connection| connection.query_row("SELECT count(*) FROM generations", [], |_| Ok(())))
    }
}

impl StoreError {
    /// The cause, for the log.
    #[must_use]
    pub fn cause(&self) -> String {
        self.0.to_string()
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self(rusqlite::Error::InvalidPath("disk".into()))
    }
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: usize = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > MIGRATIONS.len() {
        let reason = format!(
            "the database has schema version {version}, this program knows {}",
            MIGRATIONS.len()
        );
        return Err(StoreError(rusqlite::Error::InvalidPath(reason.into())));
    }
    for migration in &MIGRATIONS[version..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len())?;
    transaction.commit()?;
    Ok(())
}

/// A column that holds JSON text of ours.
fn json_column<T: serde::de::DeserializeOwned>(row: &rusqlite::Row<'_>, name: &str) -> rusqlite::Result<T> {
    let text: String = row.get(name)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_schema_is_refused() {
        let connection = Connection::open_in_memory().expect("a database");
        connection.pragma_update(None, "user_version", 99).expect("a version");
        let error = Store::prepare(connection).expect_err("a refusal");
        assert!(error.cause().contains("version 99"), "{}", error.cause());
    }

    #[test]
    fn what_an_older_version_kept_is_still_there() {
        let connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch(MIGRATIONS[0]).expect("the first schema");
        connection
            .execute_batch(
                "INSERT INTO runs (run, status, created_at_ms, deadline_at_ms) VALUES ('r', 'running', 1, 2);
                 INSERT INTO steps VALUES ('r', 0, 's1', 'a', '1', 2, '\"step\":\"s1\"', 'running', FALSE, NULL);
                 INSERT INTO invocations (run, step, details) VALUES ('r', 's1',
                   '{\"attempt\":1,\"idempotency_key\":\"r/s1/1\",\"verified\":false,\"replayed\":false,\"sent_at_ms\":1,\"duration_ms\":1}');
                 PRAGMA user_version = 1;",
            )
            .expect("a run");
        let store = Store::prepare(connection).expect("a store");
        let pending = store.pending_step("r").expect("an answer").expect("the step");
        assert_eq!((pending.attempt, pending.mode), (2, crate::model::Mode::Sync));
        let run = store.run("r").expect("an answer").expect("the run");
        assert_eq!(run.steps[0].invocations[0].call, crate::model::Call::Invoke);
    }

    #[test]
    fn opening_twice_migrates_once() {
        let folder = std::env::temp_dir().join(format!("baton-store-{}", crate::outside::token()));
        std::fs::create_dir(&folder).expect("a folder");
        let file = folder.join("orchestrator.sqlite");
        for _ in 0..2 {
            Store::open(&file).expect("a store").check().expect("an answer");
        }
        std::fs::remove_dir_all(&folder).expect("the folder goes");
    }
}
