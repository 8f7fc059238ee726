//! The run's port to its storage: rows of text under ordered keys, and typed tables over them.
//!
//! All calls of one decision are one transaction: the run's Durable Object makes them without giving up control, and its
//! writes reach the disk together, before any answer leaves.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Where a run keeps its rows.
pub trait Storage {
    /// Why the storage failed, or that a row is not what was written.
    type Error: From<Corrupt>;

    /// The row under this key.
    ///
    /// # Errors
    /// When the storage fails; so do all others.
    #[allow(clippy::missing_errors_doc, reason = "stated once, above")]
    fn get(&self, key: &str) -> Result<Option<String>, Self::Error>;
    /// Inserts or replaces a row.
    #[allow(clippy::missing_errors_doc, reason = "stated once, above")]
    fn put(&self, key: &str, value: &str) -> Result<(), Self::Error>;
    /// Removes a row, if it is there.
    #[allow(clippy::missing_errors_doc, reason = "stated once, above")]
    fn delete(&self, key: &str) -> Result<(), Self::Error>;
    /// The rows whose key begins with `prefix` and is greater than `after`, in the order of their keys' bytes, at most
    /// `limit` of them.
    #[allow(clippy::missing_errors_doc, reason = "stated once, above")]
    fn scan(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(String, String)>, Self::Error>;
}

/// A row that does not read as what was written there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the row `{key}` cannot be read")]
pub struct Corrupt {
    /// Its key.
    pub key: String,
}

/// Rows of one kind, as JSON.
pub(crate) struct Table<T> {
    prefix: &'static str,
    rows: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// A table whose keys begin with `prefix`, which ends with a slash. No table's prefix begins with another's.
    pub(crate) const fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            rows: PhantomData,
        }
    }

    fn key(&self, id: &str) -> String {
        format!("{}{id}", self.prefix)
    }

    pub(crate) fn get<S: Storage>(&self, storage: &S, id: &str) -> Result<Option<T>, S::Error> {
        let key = self.key(id);
        storage.get(&key)?.map(|text| read(&key, &text)).transpose()
    }

    pub(crate) fn put<S: Storage>(&self, storage: &S, id: &str, row: &T) -> Result<(), S::Error> {
        let key = self.key(id);
        let text = serde_json::to_string(row).map_err(|_| Corrupt { key: key.clone() })?;
        storage.put(&key, &text)
    }

    pub(crate) fn delete<S: Storage>(&self, storage: &S, id: &str) -> Result<(), S::Error> {
        storage.delete(&self.key(id))
    }

    /// The rows in the order of their ids, from after the id `after` on.
    pub(crate) fn list<S: Storage>(
        &self,
        storage: &S,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, T)>, S::Error> {
        let rows = storage.scan(self.prefix, &self.key(after), limit)?;
        rows.into_iter()
            .map(|(key, text)| Ok((key[self.prefix.len()..].to_owned(), read(&key, &text)?)))
            .collect()
    }
}

fn read<T: DeserializeOwned, E: From<Corrupt>>(key: &str, text: &str) -> Result<T, E> {
    serde_json::from_str(text).map_err(|_| Corrupt { key: key.to_owned() }.into())
}

/// Removes every row whose key begins with `prefix`.
pub(crate) fn delete_all<S: Storage>(storage: &S, prefix: &str) -> Result<(), S::Error> {
    const AT_ONCE: usize = 500;
    loop {
        let rows = storage.scan(prefix, "", AT_ONCE)?;
        for (key, _) in &rows {
            storage.delete(key)?;
        }
        if rows.len() < AT_ONCE {
            return Ok(());
        }
    }
}

/// Rows in memory, for tests and simulations of the core.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug, Default, Clone)]
pub struct MemoryStorage(std::cell::RefCell<std::collections::BTreeMap<String, String>>);

#[cfg(not(target_arch = "wasm32"))]
impl MemoryStorage {
    /// Every key, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.0.borrow().keys().cloned().collect()
    }

    /// Removes everything, as the platform does when a run is forgotten.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Storage for MemoryStorage {
    type Error = Corrupt;

    fn get(&self, key: &str) -> Result<Option<String>, Corrupt> {
        Ok(self.0.borrow().get(key).cloned())
    }

    fn put(&self, key: &str, value: &str) -> Result<(), Corrupt> {
        self.0.borrow_mut().insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), Corrupt> {
        self.0.borrow_mut().remove(key);
        Ok(())
    }

    fn scan(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(String, String)>, Corrupt> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let rows = self.0.borrow();
        let from = if after > prefix {
            Excluded(after)
        } else {
            Included(prefix)
        };
        let found = rows
            .range::<str, _>((from, Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        Ok(found
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: Table<u32> = Table::new("number/");

    #[test]
    fn a_table_has_its_own_rows_in_order() {
        let storage = MemoryStorage::default();
        storage.put("numbe", "7").unwrap();
        storage.put("number0", "7").unwrap();
        for (id, value) in [("b", 2), ("a", 1), ("c/d", 3)] {
            NUMBERS.put(&storage, id, &value).unwrap();
        }
        let list = |after, limit| NUMBERS.list(&storage, after, limit).unwrap();
        let row = |id: &str, value| (id.to_owned(), value);
        assert_eq!(list("", 9), [row("a", 1), row("b", 2), row("c/d", 3)]);
        assert_eq!(list("a", 1), [row("b", 2)]);
        assert_eq!(NUMBERS.get(&storage, "c/d").unwrap(), Some(3));
        delete_all(&storage, "number/").unwrap();
        assert_eq!(storage.keys(), ["numbe", "number0"]);
    }

    #[test]
    fn a_row_that_cannot_be_read_is_named() {
        let storage = MemoryStorage::default();
        storage.put("number/x", "no").unwrap();
        let error = NUMBERS.get(&storage, "x").unwrap_err();
        assert_eq!(error.to_string(), "the row `number/x` cannot be read");
    }
}
