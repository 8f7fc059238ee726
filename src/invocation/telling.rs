//! Telling the run's object what an agent tells, for a Worker that executes a step while somebody listens.

use std::cell::{Cell, RefCell};

use super::Caller;
use crate::agent::Journal;
use crate::platform::Platform;
use crate::run::RunName;
use crate::run::listening::{Tell, gather_ms};
use crate::run::work::Execution;

/// Tells what one execution tells.
pub(super) struct Teller<'a, P> {
    caller: &'a Caller<'a, P>,
    run: &'a RunName,
    ordinal: u32,
    generation: u32,
    /// How often it has told something.
    told: Cell<u32>,
    /// What was told, and not acknowledged yet. It is told again under the same number, so that the text has no hole.
    unsure: RefCell<Option<Tell>>,
}

impl<'a, P: Platform> Teller<'a, P> {
    pub(super) fn new(caller: &'a Caller<'a, P>, run: &'a RunName, execution: &Execution) -> Self {
        Self {
            caller,
            run,
            ordinal: execution.ordinal,
            generation: execution.generation,
            told: Cell::new(0),
            unsure: RefCell::default(),
        }
    }

    /// Tells what comes into the journal, a little at a time. It never ends.
    pub(super) async fn tell_all(&self, journal: &Journal) {
        loop {
            journal.told().await;
            self.caller.platform.sleep_ms(gather_ms(self.told.get() + 1)).await;
            self.tell(journal).await;
        }
    }

    /// Tells what is left when the agent has ended: what was under way, and what is in the journal still.
    pub(super) async fn tell_the_rest(&self, journal: &Journal) {
        while self.tell(journal).await {}
    }

    /// Tells the next part. Answers whether there was one and the run knows it now.
    async fn tell(&self, journal: &Journal) -> bool {
        if self.unsure.borrow().is_none() {
            let events = journal.take_events();
            if events.is_empty() {
                return false;
            }
            self.told.set(self.told.get() + 1);
            *self.unsure.borrow_mut() = Some(Tell {
                ordinal: self.ordinal,
                generation: self.generation,
                number: self.told.get(),
                events,
            });
        }
        let unsure = self.unsure.borrow().clone();
        let Some(tell) = unsure else { return false };
        // What cannot be told is left out: the outcome has everything.
        let is_told = self.caller.ask(self.run, tell).await.is_ok();
        if is_told {
            *self.unsure.borrow_mut() = None;
        }
        is_told
    }
}
