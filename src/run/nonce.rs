//! Nonces: what makes a captured request worthless. They outlive the run itself.

use serde::{Deserialize, Serialize};

use super::storage::{Storage, Table};
use super::timers::{self, Timer};

/// By value: who used it, and until when it is remembered.
const NONCES: Table<(String, u64)> = Table::new("nonce/");
/// By the time of its end, and value.
const ENDS: Table<()> = Table::new("nonce-end/");
/// At most this many that have ended are removed at once: the rest has its turn with the next request.
const REMOVED_AT_ONCE: usize = 50;

/// A nonce to remember.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nonce {
    /// Key id and nonce: a nonce is unique under its key.
    pub value: String,
    /// Unix milliseconds.
    pub expires_at_ms: u64,
}

/// Remembers a nonce. Answers whether it is this claimant's: nobody else used it before.
pub(super) fn admit<S: Storage>(storage: &S, nonce: &Nonce, claimant: &str, now_ms: u64) -> Result<bool, S::Error> {
    if let Some((owner, _)) = NONCES.get(storage, &nonce.value)? {
        return Ok(owner == claimant);
    }
    remove_ended(storage, now_ms, REMOVED_AT_ONCE)?;
    timers::set_no_later(storage, Timer::Expire, nonce.expires_at_ms + 1)?;
    NONCES.put(storage, &nonce.value, &(claimant.to_owned(), nonce.expires_at_ms))?;
    ENDS.put(storage, &end(nonce.expires_at_ms, &nonce.value), &())?;
    Ok(true)
}

/// Removes nonces that have ended.
pub(super) fn remove_ended<S: Storage>(storage: &S, now_ms: u64, limit: usize) -> Result<(), S::Error> {
    for (end, ()) in ENDS.list(storage, "", limit)? {
        let Some((at_ms, value)) = end.split_once('/') else {
            continue;
        };
        // In its last millisecond it is still remembered.
        if at_ms.parse().is_ok_and(|at_ms: u64| at_ms >= now_ms) {
            break;
        }
        NONCES.delete(storage, value)?;
        ENDS.delete(storage, &end)?;
    }
    Ok(())
}

/// Whether any nonce is left.
pub(super) fn is_empty<S: Storage>(storage: &S) -> Result<bool, S::Error> {
    Ok(NONCES.list(storage, "", 1)?.is_empty())
}

fn end(expires_at_ms: u64, value: &str) -> String {
    format!("{expires_at_ms:016}/{value}")
}

#[cfg(test)]
mod tests {
    use super::super::storage::MemoryStorage;
    use super::*;

    fn nonce(value: &str, expires_at_ms: u64) -> Nonce {
        Nonce {
            value: value.into(),
            expires_at_ms,
        }
    }

    #[test]
    fn a_nonce_is_used_once_but_its_own_request_may_ask_again() {
        let storage = MemoryStorage::default();
        assert_eq!(admit(&storage, &nonce("n", 10), "c1", 0), Ok(true));
        assert_eq!(admit(&storage, &nonce("n", 10), "c1", 0), Ok(true));
        assert_eq!(admit(&storage, &nonce("n", 10), "c2", 0), Ok(false));
    }

    #[test]
    fn a_nonce_is_remembered_until_its_end_and_not_longer() {
        let storage = MemoryStorage::default();
        admit(&storage, &nonce("n/1", 10), "c1", 0).unwrap();
        assert_eq!(is_empty(&storage), Ok(false));
        admit(&storage, &nonce("x", 99), "c2", 10).unwrap();
        assert_eq!(admit(&storage, &nonce("n/1", 10), "c3", 10), Ok(false));
        admit(&storage, &nonce("y", 99), "c4", 11).unwrap();
        assert_eq!(admit(&storage, &nonce("n/1", 10), "c5", 11), Ok(true));
        remove_ended(&storage, 100, 9).unwrap();
        assert_eq!(is_empty(&storage), Ok(true));
    }
}
