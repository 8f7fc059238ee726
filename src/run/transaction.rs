//! A decision's writes, held back until the decision is made: if it fails half-way, nothing of it is written.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::storage::Storage;

/// Writes on top of a storage. Reads see them; the storage does not, before [`Transaction::commit`].
pub struct Transaction<'s, S> {
    storage: &'s S,
    /// By key: the new row, or that it is removed.
    writes: RefCell<BTreeMap<String, Option<String>>>,
}

impl<'s, S: Storage> Transaction<'s, S> {
    /// Nothing written yet.
    pub fn new(storage: &'s S) -> Self {
        Self {
            storage,
            writes: RefCell::default(),
        }
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.borrow().is_empty()
    }

    /// Writes everything.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn commit(self) -> Result<(), S::Error> {
        for (key, row) in self.writes.into_inner() {
            match row {
                Some(value) => self.storage.put(&key, &value)?,
                None => self.storage.delete(&key)?,
            }
        }
        Ok(())
    }
}

impl<S: Storage> Storage for Transaction<'_, S> {
    type Error = S::Error;

    fn get(&self, key: &str) -> Result<Option<String>, S::Error> {
        match self.writes.borrow().get(key) {
            Some(row) => Ok(row.clone()),
            None => self.storage.get(key),
        }
    }

    fn put(&self, key: &str, value: &str) -> Result<(), S::Error> {
        self.writes.borrow_mut().insert(key.to_owned(), Some(value.to_owned()));
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), S::Error> {
        self.writes.borrow_mut().insert(key.to_owned(), None);
        Ok(())
    }

    fn scan(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(String, String)>, S::Error> {
        let writes = self.writes.borrow();
        let own: BTreeMap<_, _> = writes
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after)
            .collect();
        // As many more as may turn out to be removed or replaced.
        let below = self.storage.scan(prefix, after, limit.saturating_add(own.len()))?;
        let mut rows: BTreeMap<String, String> = below.into_iter().collect();
        for (key, row) in own {
            match row {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        Ok(rows.into_iter().take(limit).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::storage::MemoryStorage;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A transaction reads as the storage would if it had been written at once, leaves the storage alone until it is
        /// committed, and then leaves it as that.
        #[test]
        fn reads_its_own_writes(
            before in proptest::collection::vec(("[ab]/[a-c]", "[0-9]"), 0..8),
            writes in proptest::collection::vec(("[ab]/[a-c]", proptest::option::of("[0-9]")), 0..12),
            prefix in "[ab]/", after in "[ab]/[a-c]", limit in 0_usize..5,
        ) {
            let storage = MemoryStorage::default();
            for (key, value) in &before {
                storage.put(key, value).unwrap();
            }
            let (direct, untouched) = (storage.clone(), storage.clone());
            let transaction = Transaction::new(&storage);
            for (key, value) in &writes {
                match value {
                    Some(value) => { transaction.put(key, value).unwrap(); direct.put(key, value).unwrap(); }
                    None => { transaction.delete(key).unwrap(); direct.delete(key).unwrap(); }
                }
            }
            prop_assert_eq!(transaction.scan(&prefix, &after, limit), direct.scan(&prefix, &after, limit));
            prop_assert_eq!(transaction.scan(&prefix, "", limit), direct.scan(&prefix, "", limit));
            prop_assert_eq!(transaction.get(&after), direct.get(&after));
            prop_assert_eq!(storage.scan("", "", 99), untouched.scan("", "", 99));
            transaction.commit().unwrap();
            prop_assert_eq!(storage.scan("", "", 99), direct.scan("", "", 99));
        }
    }
}
