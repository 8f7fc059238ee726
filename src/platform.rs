//! What the core asks of the platform: the one port that `edge` implements, and tests fake.

use crate::agent::Host;
use crate::run::{Claim, ClaimRequest, Commit, CommitRequest, RunName};

/// The run's storage did not answer, or not in a form that we know. Whether it did what it was asked is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the run's storage did not answer")]
pub struct StorageUnavailable;

/// The platform as the core sees it: a clock and a timer ([`Host`]), and the runs' Durable Objects.
#[expect(async_fn_in_trait, reason = "an isolate has one thread: no future is ever sent")]
pub trait Platform: Host {
    /// Claims an attempt in the run's ledger. Safe to repeat with the same claimant.
    ///
    /// # Errors
    /// When the run's object did not answer.
    async fn claim(&self, run: &RunName, request: &ClaimRequest) -> Result<Claim, StorageUnavailable>;

    /// Commits an attempt's answer to the run's ledger. Safe to repeat.
    ///
    /// # Errors
    /// When the run's object did not answer.
    async fn commit(&self, run: &RunName, request: &CommitRequest) -> Result<Commit, StorageUnavailable>;
}
