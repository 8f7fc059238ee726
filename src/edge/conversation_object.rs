//! The Conversation object: one per conversation. What is asked of it is decided in [`crate::conversation`]; here it is kept,
//! and a turn that must wait for others waits.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use worker::{Delay, DurableObject, Env, Request, Response, State, durable_object};

use super::notify::Notify;
use super::run_storage::RunStorage;
use super::sync_transaction::SyncTransactions;
use super::{clock, log};
use crate::conversation::{Answer, Ask, Expiry, TURN_LEASE_MS, decide, expire, wake_at_ms};
use crate::invocation::before;
use crate::run::transaction::Transaction;

/// How long a turn that is not up yet waits here before its holder asks again, in milliseconds: well within its lease, for
/// asking is what keeps its place. Turns before it whose holders died are found by then, too.
const WAIT_MS: u64 = TURN_LEASE_MS / 3;

/// A conversation's Durable Object.
#[durable_object]
pub struct ConversationObject {
    state: State,
    /// Usable after a panic: it says nothing that the rows do not say.
    memory: AssertUnwindSafe<Memory>,
}

/// What an instance knows, and the rows do not.
struct Memory {
    transactions: SyncTransactions,
    /// Wakes turns that wait.
    changed: Notify,
}

impl DurableObject for ConversationObject {
    fn new(state: State, _: Env) -> Self {
        log::report_panics();
        let (state, transactions) = SyncTransactions::of(state).expect("a Durable Object has a storage");
        Self {
            state,
            memory: AssertUnwindSafe(Memory {
                transactions,
                changed: Notify::default(),
            }),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let mut ask: Ask = serde_json::from_str(&request.text().await?)?;
        let mut answer = self.answer(&ask)?;
        let ends_at_ms = clock::now_ms() + WAIT_MS;
        while let Some(next) = ask.next(&answer) {
            let seen = self.memory.changed.changes();
            let left_ms = ends_at_ms.saturating_sub(clock::now_ms());
            if left_ms == 0 {
                break;
            }
            let time_is_over = Delay::from(Duration::from_millis(left_ms));
            before(self.memory.changed.changed_since(seen), time_is_over).await;
            ask = next;
            answer = self.answer(&ask)?;
        }
        self.arm().await?;
        Response::ok(serde_json::to_string(&answer)?)
    }

    async fn alarm(&self) -> worker::Result<Response> {
        match self.transact(|storage| expire(storage, clock::now_ms()))? {
            Expiry::Gone => self.state.storage().delete_all().await?,
            Expiry::Kept => self.arm().await?,
        }
        Response::ok("")
    }
}

impl ConversationObject {
    /// Decides. Whatever may make another turn the next one wakes those that wait.
    fn answer(&self, ask: &Ask) -> worker::Result<Answer> {
        let answer = self.transact(|storage| decide(storage, ask, clock::now_ms()))?;
        if matches!(ask, Ask::Commit(..) | Ask::Release(_) | Ask::Erase) {
            self.memory.changed.notify();
        }
        Ok(answer)
    }

    /// Makes a decision: all of its writes, or none.
    fn transact<T>(&self, decide: impl FnOnce(&Transaction<'_, RunStorage>) -> worker::Result<T>) -> worker::Result<T> {
        let storage = RunStorage::open(self.state.storage().sql())?;
        let transaction = Transaction::new(&storage);
        let decided = decide(&transaction)?;
        if !transaction.is_empty() {
            self.memory.transactions.run(|| transaction.commit())?;
        }
        Ok(decided)
    }

    async fn arm(&self) -> worker::Result<()> {
        let storage = RunStorage::open(self.state.storage().sql())?;
        match wake_at_ms(&storage, clock::now_ms())? {
            Some(at_ms) => self.state.storage().set_alarm(clock::scheduled(at_ms)).await,
            None => Ok(()),
        }
    }
}
