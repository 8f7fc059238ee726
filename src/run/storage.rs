//! The ledger's port to its storage, and the storage in memory that tests use.

use serde::{Deserialize, Serialize};

use super::message::{Nonce, StoredAnswer};

/// One attempt of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its key; unique within the run.
    pub idempotency_key: String,
    /// The step.
    pub step: String,
    /// Its number, from 1.
    pub attempt: u32,
    /// Digest of the call.
    pub fingerprint: String,
    /// Who claimed it last.
    pub claimant: String,
    /// How often it was claimed.
    pub generation: u32,
    /// When the claim ends, in Unix milliseconds.
    pub claimed_until_ms: u64,
    /// Its answer, once there is one.
    pub answer: Option<StoredAnswer>,
    /// Whether the answer lets a later attempt execute the step again.
    pub retryable: bool,
}

/// Where a ledger keeps its rows. All calls of one decision are one transaction: the run's Durable Object
/// runs them without giving up control, and its writes reach the disk together before any answer leaves.
pub trait Storage {
    /// Why the storage failed.
    type Error;

    /// Who used this nonce.
    ///
    /// # Errors
    /// When the storage fails; so do all others.
    #[allow(clippy::missing_errors_doc, reason = "stated once, above")]
    fn nonce_claimant(&self, nonce: &str) -> Result<Option<String>, Self::Error>;
    /// Remembers a nonce, and forgets those that expired before `now_ms`.
    #[allow(clippy::missing_errors_doc, reason = "stated once, above")]
    fn remember_nonce(&self, nonce: &Nonce, claimant: &str, now_ms: u64) -> Result<(), Self::Error>;
    /// The attempt with this idempotency key.
    #[allow(clippy::missing_errors_doc, reason = "stated once, above")]
    fn attempt(&self, idempotency_key: &str) -> Result<Option<Attempt>, Self::Error>;
    /// The attempt of this step with the highest number.
    #[allow(clippy::missing_errors_doc, reason = "stated once, above")]
    fn latest_attempt(&self, step: &str) -> Result<Option<Attempt>, Self::Error>;
    /// Inserts or replaces an attempt, by its idempotency key.
    #[allow(clippy::missing_errors_doc, reason = "stated once, above")]
    fn put_attempt(&self, attempt: &Attempt) -> Result<(), Self::Error>;
}

/// Rows in memory, for tests of the core.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct MemoryStorage {
    nonces: std::cell::RefCell<Vec<(Nonce, String)>>,
    attempts: std::cell::RefCell<Vec<Attempt>>,
}

#[cfg(test)]
impl Storage for MemoryStorage {
    type Error = std::convert::Infallible;

    fn nonce_claimant(&self, nonce: &str) -> Result<Option<String>, Self::Error> {
        let nonces = self.nonces.borrow();
        let found = nonces.iter().find(|(known, _)| known.value == nonce);
        Ok(found.map(|(_, claimant)| claimant.clone()))
    }

    fn remember_nonce(&self, nonce: &Nonce, claimant: &str, now_ms: u64) -> Result<(), Self::Error> {
        let mut nonces = self.nonces.borrow_mut();
        nonces.retain(|(known, _)| known.expires_at_ms >= now_ms);
        nonces.push((nonce.clone(), claimant.to_owned()));
        Ok(())
    }

    fn attempt(&self, idempotency_key: &str) -> Result<Option<Attempt>, Self::Error> {
        let attempts = self.attempts.borrow();
        Ok(attempts
            .iter()
            .find(|known| known.idempotency_key == idempotency_key)
            .cloned())
    }

    fn latest_attempt(&self, step: &str) -> Result<Option<Attempt>, Self::Error> {
        let attempts = self.attempts.borrow();
        let of_step = attempts.iter().filter(|known| known.step == step);
        Ok(of_step.max_by_key(|known| known.attempt).cloned())
    }

    fn put_attempt(&self, attempt: &Attempt) -> Result<(), Self::Error> {
        let mut attempts = self.attempts.borrow_mut();
        attempts.retain(|known| known.idempotency_key != attempt.idempotency_key);
        attempts.push(attempt.clone());
        Ok(())
    }
}
