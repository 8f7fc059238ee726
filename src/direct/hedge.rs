//! The hedge: after a while without an answer the gateway begins the call's first step itself, beside the orchestrator.
//!
//! It begins the step as what it is, a step of the orchestrator's run, in the same ledger and without taking the run over;
//! and only if the orchestrator has not begun it. So a hedge that is not needed changes nothing but who executes the step:
//! the orchestrator gets its answer as a stored one. The run is taken over once, and only if, the step completes before the
//! orchestrator has answered.

use std::cell::Cell;
use std::future::pending;

use serde_json::Value;

use super::STEP;
use super::step::{Ended, Steps, read};
use crate::invocation::{Progress, ended};
use crate::manifest::AgentManifest;
use crate::platform::Platform;
use crate::run::coordination::TakeOver;
use crate::run::settlement::Takeover;
use crate::run::status::{AskStep, Cancel};

/// The gateway's own work beside an orchestrator's.
pub(super) struct Hedge<'a, P> {
    /// Asks for the step, to be executed by the run's object, so that whoever loses interest loses nothing; without a takeover.
    pub(super) steps: Steps<'a, P>,
    /// The agent that the call is for.
    pub(super) agent: &'a AgentManifest,
    /// Its input.
    pub(super) input: &'a Value,
    /// How long the orchestrator has before it begins, in milliseconds; it never begins where there is none.
    pub(super) after_ms: Option<u64>,
    /// Why the gateway has the run, if it ends first; known where it may begin.
    pub(super) takeover: Option<Takeover>,
    /// Whether the step was begun here, as far as is known.
    pub(super) begun: Cell<bool>,
}

impl<P: Platform> Hedge<'_, P> {
    /// The outcome of the first step, where it completes; the run is the gateway's then. Never anything else: what does not
    /// complete is the orchestrator's to go on with, until its budget is over.
    pub(super) async fn completed(&self) -> Value {
        let Some(after_ms) = self.after_ms else {
            return pending().await;
        };
        self.steps.caller.platform.sleep_ms(after_ms).await;
        match self.begin().await {
            Some(outcome) => outcome,
            None => pending().await,
        }
    }

    async fn begin(&self) -> Option<Value> {
        let caller = self.steps.caller;
        let run = caller.run(self.steps.run);
        let question = AskStep { step: STEP.to_owned() };
        if caller.ask(&run, question).await.ok()?.is_some() {
            // The orchestrator has begun it: there is nothing to be won.
            return None;
        }
        let left_ms = self.steps.left_ms();
        let invocation = self.steps.invocation(self.agent, STEP, 1, self.input).ok()?;
        // Also where nobody waits for the claim any more when it is accepted.
        self.begun.set(true);
        let Ok(Progress::Accepted(_)) = invocation.as_hedge().claim().await else {
            self.begun.set(false);
            return None;
        };
        let answer = ended(caller, &run, STEP, None, left_ms).await.ok()??;
        match read(&answer) {
            Ended::Outcome(outcome) if outcome["status"] == "completed" => {
                let question = TakeOver {
                    takeover: self.takeover.clone()?,
                    traceparent: caller.traceparent(),
                    parent_span: caller.parent_span(),
                };
                caller.ask(&run, question).await.ok()?;
                Some(outcome)
            }
            _ => None,
        }
    }

    /// The orchestrator declines the call: what was begun here is not to go on.
    pub(super) async fn withdraw(&self) {
        if self.begun.get() {
            let caller = self.steps.caller;
            let question = Cancel { step: STEP.to_owned() };
            // Where it cannot be told it ends by its deadline.
            let _ = caller.ask(&caller.run(self.steps.run), question).await;
        }
    }
}
