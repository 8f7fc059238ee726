//! The run's own work, under the object's alarm: executing steps in the background, sending callbacks and events,
//! reporting dead letters, and forgetting the run.
//!
//! All of it is begun in the ledger before it is done, with a timer that brings it back should the object die over it.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{LocalBoxFuture, select};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use worker::{Delay, Env};

use super::notify::Notify;
use super::outbox_work::{self, HasOutbox};
use super::platform::EdgePlatform;
use super::run_ledger::RunLedger;
use super::run_object::{RunObject, Running};
use super::run_storage::RunStorage;
use super::{callback, channel, clock, dead_letters, log, overrides, settle, slots};
use crate::agent::{Cancellation, Host, Journal};
use crate::invocation::{Executor, before};
use crate::run::delivery::{self, DeadLetter, Parcel, Place};
use crate::run::ledger::Commit;
use crate::run::settlement::{self, Notice};
use crate::run::status::{self, IsOver};
use crate::run::transaction::Transaction;
use crate::run::work::{self, Execution, Work};
use crate::run::{Moment, Question, events, next_at_ms};

/// How long parts of an output are gathered before they are kept, in milliseconds.
const GATHER_MS: u64 = 50;
/// An alarm that has worked for this long takes on nothing new, in milliseconds: the platform ends it after 15 minutes, and
/// a step may take 5.
const TAKE_ON_MAX_MS: u64 = 8 * 60 * 1_000;

impl RunObject {
    /// Does what is due, and what becomes due meanwhile, until nothing is under way any more.
    pub(super) async fn work(&self) -> worker::Result<()> {
        let begun_at_ms = clock::now_ms();
        let mut under_way: FuturesUnordered<LocalBoxFuture<'_, ()>> = FuturesUnordered::new();
        loop {
            let seen = self.memory().changed.changes();
            while clock::now_ms() < begun_at_ms + TAKE_ON_MAX_MS {
                let next = self.transact(|storage| {
                    work::next(
                        storage,
                        &self.memory().instance,
                        clock::now_ms(),
                        clock::random_number(),
                    )
                })?;
                match next {
                    Some(Work::RemoveAll) => return self.state.storage().delete_all().await,
                    Some(work) => under_way.push(Box::pin(self.perform(work))),
                    None => break,
                }
            }
            self.arm().await?;
            if under_way.is_empty() {
                return Ok(());
            }
            let changed = std::pin::pin!(self.changed_or_due(seen));
            select(under_way.next(), changed).await;
        }
    }

    /// Ready when something has changed in the run, or one of its timers is due.
    async fn changed_or_due(&self, seen: u64) {
        let next_at_ms = self.transact(|storage| next_at_ms(storage)).ok().flatten();
        let wait_ms = next_at_ms.map_or(TAKE_ON_MAX_MS, |at_ms| at_ms.saturating_sub(clock::now_ms()));
        // At least a moment: what is due and not taken on any more must not keep the object busy.
        let due = Delay::from(Duration::from_millis(wait_ms.clamp(GATHER_MS, TAKE_ON_MAX_MS)));
        before(self.memory().changed.changed_since(seen), due).await;
    }

    /// Now, as this instance of the object.
    pub(super) fn moment(&self) -> Moment<'_> {
        Moment {
            now_ms: clock::now_ms(),
            random: clock::random_number(),
            claimant: &self.memory().instance,
        }
    }

    async fn perform(&self, work: Work) {
        let performed = match work {
            Work::Execute(execution) => self.execute(*execution).await,
            Work::Deliver(parcel) => self.deliver(&parcel).await,
            Work::Settle(notice) => self.settle(&notice).await,
            Work::Report(place, letter) => self.report(place, &letter).await,
            Work::Export => outbox_work::export(self).await,
            Work::RemoveAll => Ok(()),
        };
        if let Err(error) = performed {
            // Its timer brings it back.
            log::alarm("run", &error.to_string());
        }
    }

    async fn execute(&self, execution: Execution) -> worker::Result<()> {
        let question = IsOver {
            ordinal: execution.ordinal,
            generation: execution.generation,
        };
        let running = Rc::new(Running {
            execution: question.clone(),
            over: Notify::default(),
        });
        self.memory().running.borrow_mut().push(running.clone());
        let journal = Journal::default();
        let host = EdgePlatform::new(self.env.clone());
        let ledger = RunLedger::new(self);
        // Kept to the end of the execution, whatever an operator changes meanwhile.
        let team = overrides::in_force(&self.env).await;
        let executor = Executor {
            team: &team,
            host: &host,
            cancellation: running.as_ref(),
            journal: &journal,
            ledger: Some(&ledger),
        };
        let started_at_ms = clock::now_ms();
        let let_go = async {
            before(self.tell_all(&question, &journal), ledger.interrupted()).await;
        };
        let executed = before(executor.execute(execution), let_go).await;
        self.memory()
            .running
            .borrow_mut()
            .retain(|other| !Rc::ptr_eq(other, &running));
        // `tell_all` never ends: a workflow's ledger did not answer.
        let Some(mut executed) = executed else {
            let IsOver { ordinal, generation } = question;
            return self.transact(|storage| work::let_go(storage, ordinal, generation, self.moment()));
        };
        self.tell(&question, &journal)?;
        loop {
            let request = executed.commit_request();
            let commit = self.transact(|storage| request.answer(storage, self.moment()))?;
            match commit {
                // Once at the most: nobody writes between this and the next try.
                Commit::StateConflict(kept) => executed = executed.rebased(kept),
                ended => {
                    log::execution(
                        executed.call(),
                        &request.answer,
                        &ended,
                        clock::now_ms() - started_at_ms,
                    );
                    if matches!(ended, Commit::Stored | Commit::Cancelled(_)) {
                        self.free_slot(question.ordinal).await?;
                    }
                    return Ok(());
                }
            }
        }
    }

    /// A step in the background that has ended counts no more among those of its orchestrator.
    async fn free_slot(&self, ordinal: u32) -> worker::Result<()> {
        if let Some((run, key)) = self.transact(|storage| status::name_of(storage, ordinal))? {
            slots::free_attempt(&self.env, &run, &key).await;
        }
        Ok(())
    }

    /// Keeps what the agent tells, a little at a time.
    async fn tell_all(&self, question: &IsOver, journal: &Journal) {
        loop {
            journal.told().await;
            clock::PlatformHost.sleep_ms(GATHER_MS).await;
            if let Err(error) = self.tell(question, journal) {
                log::alarm("run", &error.to_string());
            }
        }
    }

    fn tell(&self, question: &IsOver, journal: &Journal) -> worker::Result<()> {
        let told = journal.take_events();
        if !told.is_empty() {
            self.transact(|storage| events::tell(storage, question.ordinal, question.generation, &told))?;
        }
        Ok(())
    }

    async fn deliver(&self, parcel: &Parcel) -> worker::Result<()> {
        let started_at_ms = clock::now_ms();
        let sent = match &parcel.notice {
            Some(notice) => channel::send(&self.env, notice).await,
            None => callback::send(&self.env, parcel).await,
        };
        log::delivery(parcel, &sent, clock::now_ms() - started_at_ms);
        self.transact(|storage| delivery::sent(storage, parcel, sent, self.moment()))
    }

    async fn settle(&self, notice: &Notice) -> worker::Result<()> {
        let told = settle::send(&self.env, notice).await;
        log::settlement(notice, &told);
        let alarm = self.transact(|storage| settlement::told(storage, notice, told, self.moment()))?;
        if let Some(message) = alarm {
            log::alarm("settlement", &message);
        }
        Ok(())
    }

    async fn report(&self, place: Place, letter: &DeadLetter) -> worker::Result<()> {
        let subject = if place.rule.is_some() {
            "notification"
        } else {
            "callback"
        };
        log::alarm(
            subject,
            &format!(
                "{} was given up after {} tries: {}",
                letter.delivery, letter.tries, letter.last_error
            ),
        );
        dead_letters::add(&self.env, letter).await?;
        self.transact(|storage| delivery::reported(storage, place, letter))
    }
}

impl HasOutbox for RunObject {
    fn env(&self) -> &Env {
        &self.env
    }

    fn decide<T>(&self, decide: impl FnOnce(&Transaction<'_, RunStorage>) -> worker::Result<T>) -> worker::Result<T> {
        self.transact(decide)
    }

    fn now(&self) -> Moment<'_> {
        self.moment()
    }
}

impl Cancellation for Running {
    fn cancelled(&self) -> crate::agent::LocalBoxFuture<'_, ()> {
        Box::pin(self.over.changed_since(0))
    }
}
