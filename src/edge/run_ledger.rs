//! The run's ledger, for a workflow that its object executes: each question is a transaction of the object.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::notify::Notify;
use super::run_object::RunObject;
use super::run_storage::RunStorage;
use super::{clock, log};
use crate::agent::LocalBoxFuture;
use crate::run::Question;
use crate::run::call::Call;
use crate::run::child::{self, Child, ChildClaim, Decision, Hold};
use crate::run::ledger::{Commit, CommitRequest};
use crate::run::status::IsOver;
use crate::run::transaction::Transaction;
use crate::workflow::{Interrupted, Ledger};

/// The ledger of one execution of a workflow.
pub struct RunLedger<'a> {
    object: &'a RunObject,
    failed: Notify,
    /// The calls that were begun, with the time, by their places in the run: for the log.
    begun: RefCell<BTreeMap<u32, (Call, u64)>>,
}

impl<'a> RunLedger<'a> {
    pub fn new(object: &'a RunObject) -> Self {
        Self {
            object,
            failed: Notify::default(),
            begun: RefCell::default(),
        }
    }

    /// Ready when a transaction has failed: the execution must be let go, and its timer brings it back.
    pub async fn interrupted(&self) {
        self.failed.changed_since(0).await;
    }

    fn ask<T>(&self, decide: impl FnOnce(&Transaction<'_, RunStorage>) -> worker::Result<T>) -> Result<T, Interrupted> {
        if self.failed.changes() > 0 {
            return Err(Interrupted);
        }
        self.object.transact(decide).map_err(|error| {
            log::alarm("run", &error.to_string());
            self.failed.notify();
            Interrupted
        })
    }
}

impl Ledger for RunLedger<'_> {
    fn claim(&self, claim: &ChildClaim) -> Result<Child, Interrupted> {
        let child = self.ask(|storage| claim.answer(storage, self.object.moment()))?;
        if let Child::Granted(execution) = &child {
            let begun = (execution.call.bare(), clock::now_ms());
            self.begun.borrow_mut().insert(execution.ordinal, begun);
        }
        Ok(child)
    }

    fn commit(&self, request: &CommitRequest) -> Result<Commit, Interrupted> {
        let commit = self.ask(|storage| request.answer(storage, self.object.moment()))?;
        let again = matches!(commit, Commit::StateConflict(_));
        if !again && let Some((call, started_at_ms)) = self.begun.borrow_mut().remove(&request.ordinal) {
            log::execution(&call, &request.answer, &commit, clock::now_ms() - started_at_ms);
        }
        Ok(commit)
    }

    fn decision(&self, parent: Hold, place: &str) -> Result<Option<Decision>, Interrupted> {
        self.ask(|storage| child::decision(storage, parent, place))
    }

    fn decide(&self, parent: Hold, place: &str, decision: &Decision) -> Result<(), Interrupted> {
        match self.ask(|storage| child::decide(storage, parent, place, decision))? {
            true => Ok(()),
            false => Err(Interrupted),
        }
    }

    fn abandon(&self, parent: Hold, child: Hold) {
        // A failure was logged, and what is left is cancelled with the workflow's end.
        let _ = self.ask(|storage| child::abandon(storage, parent, child, clock::now_ms()));
    }

    fn over(&self, child: Hold) -> LocalBoxFuture<'_, ()> {
        let question = IsOver {
            ordinal: child.ordinal,
            generation: child.generation,
        };
        let changed = &self.object.memory().changed;
        Box::pin(async move {
            loop {
                let seen = changed.changes();
                if let Ok(true) = self.ask(|storage| question.ask(storage)) {
                    return;
                }
                changed.changed_since(seen).await;
            }
        })
    }
}
