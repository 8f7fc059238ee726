//! What the core asks of the platform: the one port that `edge` implements, and tests fake.

use crate::agent::Host;
use crate::run::delivery::DeadLetter;
use crate::run::status::{Watch, Watched};
use crate::run::{Asked, Question, RunName, Told};

/// Storage did not answer, or not in a form that we know. Whether it did what it was asked is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the storage did not answer")]
pub struct StorageUnavailable;

/// The platform as the core sees it: a clock and a timer ([`Host`]), the runs' Durable Objects, and the operator's list.
#[expect(async_fn_in_trait, reason = "an isolate has one thread: no future is ever sent")]
pub trait Platform: Host {
    /// Asks a run. Safe to repeat with the same claimant.
    ///
    /// # Errors
    /// When the run's object did not answer.
    async fn ask<Q: Question>(&self, run: &RunName, asked: &Asked<Q>) -> Result<Told<Q::Answer>, StorageUnavailable>;

    /// Waits until there is something to read after the cursor, for at most `wait_ms`. Nothing where there is no such step.
    ///
    /// # Errors
    /// When the run's object did not answer.
    async fn watch(&self, run: &RunName, watch: &Watch, wait_ms: u64) -> Result<Option<Watched>, StorageUnavailable>;

    /// Dead letters, newest first, at most `limit`, from after the one that was given up at `before.0` under the id
    /// `before.1` on.
    ///
    /// # Errors
    /// When the list did not answer.
    async fn dead_letters(
        &self,
        before: Option<(u64, &str)>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StorageUnavailable>;

    /// The dead letter of this id.
    ///
    /// # Errors
    /// When the list did not answer.
    async fn dead_letter(&self, delivery: &str) -> Result<Option<DeadLetter>, StorageUnavailable>;

    /// Takes a dead letter off the list, as it was read: one that died again meanwhile stays.
    ///
    /// # Errors
    /// When the list did not answer.
    async fn remove_dead_letter(&self, letter: &DeadLetter) -> Result<(), StorageUnavailable>;
}
