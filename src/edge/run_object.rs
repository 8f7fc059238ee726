//! The Run object: one per run. It answers what Workers ask of the run, each question in one transaction, and does the
//! run's own work under its alarm ([`super::run_work`]).

use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::{Delay, DurableObject, Env, Request, Response, State, durable_object};

use super::clock;
use super::log;
use super::notify::Notify;
use super::run_storage::RunStorage;
use super::sync_transaction::SyncTransactions;
use crate::invocation::before;
use crate::run::conversing::Join;
use crate::run::coordination::{AskStanding, PassOn, TakeOver, TellRouted};
use crate::run::delivery::Resend;
use crate::run::handoff::HandOffRequest;
use crate::run::ledger::{ClaimRequest, CommitRequest};
use crate::run::listening::{Listen, Tell};
use crate::run::record::Forget;
use crate::run::state::{PutState, ReadState};
use crate::run::status::{AskStep, Cancel, Describe, IsOver, Watch};
use crate::run::transaction::Transaction;
use crate::run::{Admit, Asked, Question, Told, ask, next_at_ms, work};

/// A run's Durable Object.
#[durable_object]
pub struct RunObject {
    pub(super) state: State,
    pub(super) env: Env,
    /// Not all of it could be used after a panic by the letter of the type system. It can: each part is one cell, and says
    /// nothing that the rows do not say.
    memory: AssertUnwindSafe<Memory>,
}

/// What an instance of the object knows, and the rows do not.
pub(super) struct Memory {
    /// Names this instance: what another one had begun is lost.
    pub(super) instance: String,
    transactions: SyncTransactions,
    recovered: Cell<bool>,
    /// When the alarm will ring, as far as this instance has set it, in Unix milliseconds.
    armed_at_ms: Cell<Option<u64>>,
    /// Wakes whoever waits for something to change in the run.
    pub(super) changed: Notify,
    /// What is executed here.
    pub(super) running: RefCell<Vec<Rc<Running>>>,
}

/// An execution in this object.
pub(super) struct Running {
    pub(super) execution: IsOver,
    /// Told when it is over, whether it has ended or not.
    pub(super) over: Notify,
}

impl DurableObject for RunObject {
    fn new(state: State, env: Env) -> Self {
        log::report_panics();
        let (state, transactions) = SyncTransactions::of(state).expect("a Durable Object has a storage");
        Self {
            state,
            env,
            memory: AssertUnwindSafe(Memory {
                instance: super::hex(&clock::random::<16>()),
                transactions,
                recovered: Cell::new(false),
                armed_at_ms: Cell::new(None),
                changed: Notify::default(),
                running: RefCell::default(),
            }),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let (path, body) = (request.path(), request.text().await?);
        match path.trim_start_matches('/') {
            Admit::NAME => self.answer::<Admit>(&body).await,
            AskStep::NAME => self.answer::<AskStep>(&body).await,
            Cancel::NAME => self.answer::<Cancel>(&body).await,
            ClaimRequest::NAME => self.answer::<ClaimRequest>(&body).await,
            CommitRequest::NAME => self.answer::<CommitRequest>(&body).await,
            Describe::NAME => self.answer::<Describe>(&body).await,
            Forget::NAME => self.answer::<Forget>(&body).await,
            HandOffRequest::NAME => self.answer::<HandOffRequest>(&body).await,
            IsOver::NAME => self.answer::<IsOver>(&body).await,
            Join::NAME => self.answer::<Join>(&body).await,
            PutState::NAME => self.answer::<PutState>(&body).await,
            Listen::NAME => self.answer::<Listen>(&body).await,
            PassOn::NAME => self.answer::<PassOn>(&body).await,
            AskStanding::NAME => self.answer::<AskStanding>(&body).await,
            TakeOver::NAME => self.answer::<TakeOver>(&body).await,
            TellRouted::NAME => self.answer::<TellRouted>(&body).await,
            Tell::NAME => self.answer::<Tell>(&body).await,
            ReadState::NAME => self.answer::<ReadState>(&body).await,
            Resend::NAME => self.answer::<Resend>(&body).await,
            Watch::NAME => self.watch(&body).await,
            path => {
                log::alarm("run", &format!("the run's object was asked for {path}"));
                Response::error("unknown", 404)
            }
        }
    }

    async fn alarm(&self) -> worker::Result<Response> {
        self.memory.armed_at_ms.set(None);
        self.work().await?;
        Response::ok("")
    }
}

impl RunObject {
    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    async fn answer<Q: Question>(&self, body: &str) -> worker::Result<Response> {
        let asked: Asked<Q> = read(body)?;
        let told = self.transact(|storage| ask(storage, &asked, clock::now_ms(), clock::random_number()))?;
        self.arm().await?;
        told_as_response(&told)
    }

    /// Makes a decision: all of its writes, or none.
    pub(super) fn transact<T>(
        &self,
        decide: impl FnOnce(&Transaction<'_, RunStorage>) -> worker::Result<T>,
    ) -> worker::Result<T> {
        let storage = RunStorage::open(self.state.storage().sql())?;
        let transaction = Transaction::new(&storage);
        if !self.memory.recovered.get() {
            work::recover(
                &transaction,
                &self.memory.instance,
                clock::now_ms(),
                clock::random_number(),
            )?;
        }
        let decided = decide(&transaction)?;
        if !transaction.is_empty() {
            self.memory.transactions.run(|| transaction.commit())?;
            self.memory.changed.notify();
            self.stop_what_is_over(&storage)?;
        }
        self.memory.recovered.set(true);
        Ok(decided)
    }

    /// Tells executions that are over by now: cancelled, or forgotten with their run.
    fn stop_what_is_over(&self, storage: &RunStorage) -> worker::Result<()> {
        for running in self.memory.running.borrow().iter() {
            if running.execution.ask(storage)? {
                running.over.notify();
            }
        }
        Ok(())
    }

    /// Sets the alarm for the run's next timer.
    pub(super) async fn arm(&self) -> worker::Result<()> {
        let storage = RunStorage::open(self.state.storage().sql())?;
        let next_at_ms = next_at_ms(&storage)?;
        match next_at_ms {
            Some(at_ms) if self.memory.armed_at_ms.get() != Some(at_ms) => {
                self.state.storage().set_alarm(clock::scheduled(at_ms)).await?;
                self.memory.armed_at_ms.set(Some(at_ms));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Answers when there is something new to read, or when the reader's time is over.
    async fn watch(&self, body: &str) -> worker::Result<Response> {
        let (watch, wait_ms): (Watch, u64) = read(body)?;
        let ends_at_ms = clock::now_ms() + wait_ms;
        loop {
            let seen = self.memory.changed.changes();
            let watched = self.transact(|storage| watch.ask(storage))?;
            let left_ms = ends_at_ms.saturating_sub(clock::now_ms());
            if watch.is_news(watched.as_ref()) || left_ms == 0 {
                self.arm().await?;
                return told_as_response(&Told::Answer(watched));
            }
            let time_is_over = Delay::from(Duration::from_millis(left_ms));
            before(self.memory.changed.changed_since(seen), time_is_over).await;
        }
    }
}

fn read<T: DeserializeOwned>(body: &str) -> worker::Result<T> {
    Ok(serde_json::from_str(body)?)
}

fn told_as_response(told: &impl Serialize) -> worker::Result<Response> {
    Response::ok(serde_json::to_string(told)?)
}
