//! The ledger's storage: the run's own SQLite. Its calls do not wait, so all writes of one decision reach the disk
//! together, and before the answer leaves the object.

use serde::Deserialize;
use worker::{SqlStorage, SqlStorageValue};

use crate::run::StoredAnswer;
use crate::run::message::Nonce;
use crate::run::storage::{Attempt, Storage};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS attempts (
    idempotency_key TEXT PRIMARY KEY,
    step TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    claimant TEXT NOT NULL,
    generation INTEGER NOT NULL,
    claimed_until_ms INTEGER NOT NULL,
    answer_status INTEGER,
    answer_body TEXT,
    retryable INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS attempts_of_step ON attempts (step, attempt DESC);
CREATE TABLE IF NOT EXISTS nonces (
    value TEXT PRIMARY KEY,
    claimant TEXT NOT NULL,
    expires_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
";

const COLUMNS: &str = "idempotency_key, step, attempt, fingerprint, claimant, generation, claimed_until_ms, \
     answer_status, answer_body, retryable";

/// A run's tables.
pub struct RunStorage(SqlStorage);

impl RunStorage {
    pub fn open(sql: SqlStorage) -> worker::Result<Self> {
        sql.exec(SCHEMA, None)?;
        Ok(Self(sql))
    }

    fn attempt_where(&self, condition: &str, value: &str) -> worker::Result<Option<Attempt>> {
        let query = format!("SELECT {COLUMNS} FROM attempts WHERE {condition} LIMIT 1");
        let rows: Vec<Row> = self.0.exec(&query, vec![value.into()])?.to_array()?;
        Ok(rows.into_iter().next().map(Attempt::from))
    }
}

impl Storage for RunStorage {
    type Error = worker::Error;

    fn nonce_claimant(&self, nonce: &str) -> worker::Result<Option<String>> {
        #[derive(Deserialize)]
        struct Claimant {
            claimant: String,
        }
        let query = "SELECT claimant FROM nonces WHERE value = ?";
        let rows: Vec<Claimant> = self.0.exec(query, vec![nonce.into()])?.to_array()?;
        Ok(rows.into_iter().next().map(|row| row.claimant))
    }

    fn remember_nonce(&self, nonce: &Nonce, claimant: &str, now_ms: u64) -> worker::Result<()> {
        self.0
            .exec("DELETE FROM nonces WHERE expires_at_ms < ?", vec![integer(now_ms)])?;
        let values = vec![
            nonce.value.as_str().into(),
            claimant.into(),
            integer(nonce.expires_at_ms),
        ];
        self.0.exec(
            "INSERT INTO nonces (value, claimant, expires_at_ms) VALUES (?, ?, ?)",
            values,
        )?;
        Ok(())
    }

    fn attempt(&self, idempotency_key: &str) -> worker::Result<Option<Attempt>> {
        self.attempt_where("idempotency_key = ?", idempotency_key)
    }

    fn latest_attempt(&self, step: &str) -> worker::Result<Option<Attempt>> {
        self.attempt_where("step = ? ORDER BY attempt DESC", step)
    }

    fn put_attempt(&self, attempt: &Attempt) -> worker::Result<()> {
        let (status, body) = match &attempt.answer {
            Some(answer) => (i64::from(answer.status).into(), answer.body.as_str().into()),
            None => (SqlStorageValue::Null, SqlStorageValue::Null),
        };
        let values = vec![
            attempt.idempotency_key.as_str().into(),
            attempt.step.as_str().into(),
            i64::from(attempt.attempt).into(),
            attempt.fingerprint.as_str().into(),
            attempt.claimant.as_str().into(),
            i64::from(attempt.generation).into(),
            integer(attempt.claimed_until_ms),
            status,
            body,
            i64::from(attempt.retryable).into(),
        ];
        let query = format!("INSERT OR REPLACE INTO attempts ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
        self.0.exec(&query, values)?;
        Ok(())
    }
}

#[derive(Deserialize)]
struct Row {
    idempotency_key: String,
    step: String,
    attempt: u32,
    fingerprint: String,
    claimant: String,
    generation: u32,
    claimed_until_ms: f64,
    answer_status: Option<u16>,
    answer_body: Option<String>,
    retryable: u8,
}

impl From<Row> for Attempt {
    fn from(row: Row) -> Self {
        let answer = row
            .answer_status
            .zip(row.answer_body)
            .map(|(status, body)| StoredAnswer { status, body });
        Self {
            idempotency_key: row.idempotency_key,
            step: row.step,
            attempt: row.attempt,
            fingerprint: row.fingerprint,
            claimant: row.claimant,
            generation: row.generation,
            claimed_until_ms: milliseconds(row.claimed_until_ms),
            answer,
            retryable: row.retryable != 0,
        }
    }
}

/// Milliseconds come back as JavaScript numbers, which hold them exactly for longer than we need.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time that we wrote"
)]
fn milliseconds(number: f64) -> u64 {
    number as u64
}

fn integer(value: u64) -> SqlStorageValue {
    SqlStorageValue::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}
