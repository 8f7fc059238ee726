//! The Overrides object: one of a gateway. It gives the versions of the overrides their numbers, and its alarm copies the
//! current one to KV and tells the links of it.

use std::panic::AssertUnwindSafe;

use serde::Serialize;
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::run_storage::RunStorage;
use super::sync_transaction::SyncTransactions;
use super::{clock, log, object, overrides};
use crate::overrides::versions::{self, Proposal, Proposed, Version};
use crate::overrides::{CURRENT_KEY, Snapshot};
use crate::platform::StorageUnavailable;
use crate::run::transaction::Transaction;

/// The only object's name.
const NAME: &str = "overrides";
/// KV takes one write of a key in a second; one that it did not take is made again after so long, in milliseconds.
const COPY_AGAIN_MS: u64 = 5_000;

/// The current version; nothing where it is the one that the caller knows.
pub async fn current(env: &Env, known: Option<u64>) -> Result<Option<Snapshot>, StorageUnavailable> {
    object::OVERRIDES.ask(env, NAME, "current", &known).await
}

/// The version of this number, where it is kept.
pub async fn version(env: &Env, number: u64) -> Result<Option<Snapshot>, StorageUnavailable> {
    object::OVERRIDES.ask(env, NAME, "version", &number).await
}

/// The versions that are kept, newest first.
pub async fn versions(env: &Env) -> Result<Vec<Version>, StorageUnavailable> {
    object::OVERRIDES.ask(env, NAME, "versions", &()).await
}

/// Makes a version.
pub async fn propose(env: &Env, proposal: &Proposal) -> Result<Proposed, StorageUnavailable> {
    object::OVERRIDES.ask(env, NAME, "propose", proposal).await
}

/// Says that what KV has cannot be read: it is copied there again.
pub async fn mend(env: &Env) -> Result<(), StorageUnavailable> {
    object::OVERRIDES.ask(env, NAME, "mend", &()).await
}

/// Says that KV has no version, or an old one: it is copied there again, unless that was just done. Answers the current
/// version where KV was given it.
pub async fn missed(env: &Env) -> Result<Option<u64>, StorageUnavailable> {
    object::OVERRIDES.ask(env, NAME, "missed", &()).await
}

/// The writer's Durable Object.
#[durable_object]
pub struct OverridesObject {
    state: State,
    env: Env,
    transactions: AssertUnwindSafe<SyncTransactions>,
}

impl DurableObject for OverridesObject {
    fn new(state: State, env: Env) -> Self {
        log::report_panics();
        let (state, transactions) = SyncTransactions::of(state).expect("a Durable Object has a storage");
        Self {
            state,
            env,
            transactions: AssertUnwindSafe(transactions),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let (path, body) = (request.path(), request.text().await?);
        let response = match path.trim_start_matches('/') {
            "current" => {
                let known: Option<u64> = serde_json::from_str(&body)?;
                answer(&self.transact(|rows| versions::current_unless(rows, known))?)
            }
            "version" => {
                let number = serde_json::from_str(&body)?;
                answer(&self.transact(|rows| versions::at(rows, number))?)
            }
            "versions" => answer(&self.transact(|rows| versions::list(rows))?),
            "propose" => {
                let proposal = serde_json::from_str(&body)?;
                answer(&self.transact(|rows| versions::propose(rows, &proposal, clock::now_ms()))?)
            }
            "mend" => answer(&self.transact(|rows| versions::damaged(rows))?),
            "missed" => answer(&self.transact(|rows| versions::missed(rows, clock::now_ms()))?),
            path => {
                log::alarm("overrides", &format!("the overrides' object was asked for {path}"));
                return Response::error("unknown", 404);
            }
        };
        self.arm().await?;
        response
    }

    /// Copies the current version, and has the links look: what they registered may have changed.
    async fn alarm(&self) -> worker::Result<Response> {
        if let Some(snapshot) = self.transact(|rows| versions::to_copy(rows))? {
            match self.copy(&snapshot).await {
                Ok(()) => self.transact(|rows| versions::copied(rows, snapshot.version, clock::now_ms()))?,
                Err(reason) => {
                    log::alarm(
                        "overrides",
                        &format!("version {} is not in KV: {reason}", snapshot.version),
                    );
                    self.wake_in(COPY_AGAIN_MS).await?;
                }
            }
            super::wake_links(&self.env).await;
        }
        Response::ok("")
    }
}

impl OverridesObject {
    /// Makes a decision: all of its writes, or none.
    fn transact<T>(&self, decide: impl FnOnce(&Transaction<'_, RunStorage>) -> worker::Result<T>) -> worker::Result<T> {
        let storage = RunStorage::open(self.state.storage().sql())?;
        let transaction = Transaction::new(&storage);
        let decided = decide(&transaction)?;
        if !transaction.is_empty() {
            self.transactions.run(|| transaction.commit())?;
        }
        Ok(decided)
    }

    async fn copy(&self, snapshot: &Snapshot) -> Result<(), String> {
        let store = overrides::store(&self.env).ok_or("the binding is missing")?;
        let text = snapshot.copy().map_err(|error| error.to_string())?;
        let put = store.put(CURRENT_KEY, text).map_err(|error| error.to_string())?;
        put.execute().await.map_err(|error| error.to_string())
    }

    /// Has what KV lacks copied, unless that is planned already.
    async fn arm(&self) -> worker::Result<()> {
        let lacks = self.transact(|rows| versions::to_copy(rows))?.is_some();
        if lacks && self.state.storage().get_alarm().await?.is_none() {
            self.wake_in(0).await?;
        }
        Ok(())
    }

    async fn wake_in(&self, ms: u64) -> worker::Result<()> {
        let at_ms = clock::now_ms() + ms;
        self.state.storage().set_alarm(clock::scheduled(at_ms)).await
    }
}

fn answer(answer: &impl Serialize) -> worker::Result<Response> {
    Response::ok(serde_json::to_string(answer)?)
}
