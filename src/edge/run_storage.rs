//! A run's storage: the SQLite of its Durable Object. Its calls do not wait, so all writes of one decision reach the disk
//! together, and before the answer leaves the object.

use serde::Deserialize;
use worker::{SqlStorage, SqlStorageValue};

use crate::run::storage::{Corrupt, Storage};

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS rows (
    key TEXT NOT NULL,
    part INTEGER NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (key, part)
)";

/// The platform keeps rows of 2 MB at most: a longer value takes several. In bytes.
const PART_MAX_BYTES: usize = 1_000_000;

/// A run's rows.
pub struct RunStorage(SqlStorage);

impl RunStorage {
    pub fn open(sql: SqlStorage) -> worker::Result<Self> {
        sql.exec(SCHEMA, None)?;
        Ok(Self(sql))
    }

    fn rows(&self, query: &str, values: Vec<SqlStorageValue>) -> worker::Result<Vec<(String, String)>> {
        let parts: Vec<Part> = self.0.exec(query, values)?.to_array()?;
        let mut rows: Vec<(String, String)> = Vec::new();
        for Part { key, value } in parts {
            match rows.last_mut() {
                Some((last, whole)) if *last == key => whole.push_str(&value),
                _ => rows.push((key, value)),
            }
        }
        Ok(rows)
    }
}

#[derive(Deserialize)]
struct Part {
    key: String,
    value: String,
}

impl Storage for RunStorage {
    type Error = worker::Error;

    fn get(&self, key: &str) -> worker::Result<Option<String>> {
        let query = "SELECT key, value FROM rows WHERE key = ? ORDER BY part";
        let rows = self.rows(query, vec![key.into()])?;
        Ok(rows.into_iter().next().map(|(_, value)| value))
    }

    fn put(&self, key: &str, value: &str) -> worker::Result<()> {
        let mut parts: i64 = 0;
        let mut rest = value;
        loop {
            let (part, left) = rest.split_at(rest.floor_char_boundary(PART_MAX_BYTES));
            let query = "INSERT OR REPLACE INTO rows (key, part, value) VALUES (?, ?, ?)";
            self.0.exec(query, vec![key.into(), parts.into(), part.into()])?;
            (rest, parts) = (left, parts + 1);
            if rest.is_empty() {
                break;
            }
        }
        self.0.exec(
            "DELETE FROM rows WHERE key = ? AND part >= ?",
            vec![key.into(), parts.into()],
        )?;
        Ok(())
    }

    fn delete(&self, key: &str) -> worker::Result<()> {
        self.0.exec("DELETE FROM rows WHERE key = ?", vec![key.into()])?;
        Ok(())
    }

    fn scan(&self, prefix: &str, after: &str, limit: usize) -> worker::Result<Vec<(String, String)>> {
        // All keys that begin with the prefix are below its successor: no key has a byte above that of `{`, and a prefix
        // ends with a slash, whose successor is `0`.
        let end = match prefix.strip_suffix('/') {
            Some(stem) => format!("{stem}0"),
            None => return Err("a prefix of keys ends with a slash".into()),
        };
        let query = "SELECT key, value FROM rows WHERE key IN
            (SELECT DISTINCT key FROM rows WHERE key >= ? AND key < ? AND key > ? ORDER BY key LIMIT ?)
            ORDER BY key, part";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.rows(query, vec![prefix.into(), end.into(), after.into(), limit.into()])
    }
}

impl From<Corrupt> for worker::Error {
    fn from(corrupt: Corrupt) -> Self {
        Self::RustError(corrupt.to_string())
    }
}
