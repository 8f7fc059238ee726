//! The port to the run's ledger.

use crate::agent::LocalBoxFuture;
use crate::run::child::{Child, ChildClaim, Decision, Hold};
use crate::run::ledger::{Commit, CommitRequest};

/// The ledger did not do what it was asked for, as far as is known. The execution must not go on: another one takes up what
/// is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

/// What a workflow asks of its run's ledger. Each question is one transaction. It is asked where the run is kept, so it
/// answers at once.
#[allow(clippy::missing_errors_doc, reason = "the one error says it")]
pub trait Ledger {
    /// Claims a call.
    fn claim(&self, claim: &ChildClaim) -> Result<Child, Interrupted>;
    /// Commits what a call came to.
    fn commit(&self, request: &CommitRequest) -> Result<Commit, Interrupted>;
    /// What was decided at this place.
    fn decision(&self, parent: Hold, place: &str) -> Result<Option<Decision>, Interrupted>;
    /// Keeps what was decided at this place.
    fn decide(&self, parent: Hold, place: &str, decision: &Decision) -> Result<(), Interrupted>;
    /// Cancels a call that nobody waits for any more, unless the execution was interrupted. What fails here is made good
    /// when the workflow ends.
    fn abandon(&self, parent: Hold, child: Hold);
    /// Ready when this call is over by somebody else's word: cancelled, or forgotten with its run.
    fn over(&self, child: Hold) -> LocalBoxFuture<'_, ()>;
}
