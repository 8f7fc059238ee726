//! What the core asks of the platform: the one port that `edge` implements, and tests fake.

use crate::access::key::SECRET_BYTES;
use crate::access::{Admission, ApiKey, Arrival, KeyState, PresentedKey, Slot, Taken};
use crate::agent::Host;
use crate::alert::{AlertState, Kept};
use crate::breaker::{Breaker, Verdict, Word};
use crate::channel::Notice;
use crate::link::{KnownLease, LinkReport, Order};
use crate::overrides::{Proposal, Proposed, Snapshot, Version};
use crate::run::delivery::{DeadLetter, Sent};
use crate::run::outbox_report::{DeadEvent, Lag};
use crate::run::status::{Watch, Watched};
use crate::run::{Asked, Question, RunName, Told};
use crate::telemetry::event::Event;
use crate::telemetry::history::{BucketCount, Count, Ended, ExecutionRow, Filter, Totals, Window};
use crate::telemetry::otlp;

/// Storage did not answer, or not in a form that we know. Whether it did what it was asked is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the storage did not answer")]
pub struct StorageUnavailable;

/// Why a call to the outside came to no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// There was none in time.
    #[error("no answer within {timeout_ms} ms")]
    TimedOut {
        /// The time that it had, in milliseconds.
        timeout_ms: u64,
    },
    /// The call failed. The sentence is for the operator.
    #[error("{0}")]
    Failed(String),
}

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

    /// Sends a request to the outside and reads its answer, which may have `answer_max_bytes` at most.
    ///
    /// # Errors
    /// When there is no answer in time, or none that is small enough.
    async fn send(
        &self,
        request: &http::Request<Vec<u8>>,
        timeout_ms: u64,
        answer_max_bytes: usize,
    ) -> Result<http::Response<Vec<u8>>, Unanswered>;

    /// Asks and tells the breaker before an orchestrator: this isolate's own.
    fn breaker<T>(&self, orchestrator: &str, act: impl FnOnce(&mut Breaker) -> T) -> T;

    /// What the link to this orchestrator knows of its lease. It may be some seconds old, but not where its generation is
    /// higher than the one `named`. Nothing where the orchestrator is not configured, never granted a lease, or its link
    /// does not answer.
    async fn known_lease(&self, orchestrator: &str, named: Option<u64>) -> Option<KnownLease>;

    /// Takes a slot of this orchestrator. Safe to repeat with the same holder.
    ///
    /// # Errors
    /// When the orchestrator's object did not answer. The slot may be taken all the same, until its end.
    async fn take_slot(&self, orchestrator: &str, slot: &Slot) -> Result<Taken, StorageUnavailable>;

    /// Gives a slot back. One that could not be given back ends by itself.
    async fn free_slot(&self, orchestrator: &str, id: &str);

    /// Takes down what troubles this orchestrator, as far as this isolate knows; `None` is that it is well. Answers whether
    /// that is new.
    fn is_news(&self, orchestrator: &str, trouble: Option<&'static str>) -> bool;
    /// Tells the circuit before an orchestrator something, the one that all isolates share. Safe to repeat, but for
    /// [`Word::Ask`]: a probe whose permit was lost is lost.
    ///
    /// # Errors
    /// When the Link object did not answer.
    async fn tell_breaker(&self, orchestrator: &str, word: Word) -> Result<Verdict, StorageUnavailable>;

    /// How the link to an orchestrator stands.
    ///
    /// # Errors
    /// When the Link object did not answer.
    async fn link(&self, orchestrator: &str) -> Result<LinkReport, StorageUnavailable>;

    /// Carries an operator's order out, and answers how the link stands then. A call to the orchestrator that it makes due is
    /// waited for. Safe to repeat with the same claimant.
    ///
    /// # Errors
    /// When the Link object did not answer.
    async fn order_link(
        &self,
        orchestrator: &str,
        asked: &Asked<Order>,
    ) -> Result<Told<LinkReport>, StorageUnavailable>;

    /// Any number, for jitter.
    fn random(&self) -> u32;

    /// Tells the operator of something to look at.
    fn alarm(&self, subject: &str, message: &str);
    /// Decides about a call with this API key, from this client address; of a call without one, so that it is counted.
    /// First the address decides, then the key; a call without a good key costs the address a try.
    ///
    /// # Errors
    /// When an object did not answer. A token may have been taken all the same.
    async fn admit_client(
        &self,
        presented: Option<&PresentedKey>,
        address: &str,
    ) -> Result<Admission, StorageUnavailable>;

    /// Decides about a call from this client address whose caller is known by something other than an API key.
    ///
    /// # Errors
    /// When the address's object did not answer. A token may have been taken all the same.
    async fn admit_address(&self, address: &str) -> Result<Arrival, StorageUnavailable>;

    /// The secret of a new API key: random bytes, fit for that. Nothing where there are none to be had.
    fn key_secret(&self) -> Option<[u8; SECRET_BYTES]>;

    /// Keeps a new API key, first in its object and then on the list. Safe to repeat. Answers the record as it is kept;
    /// nothing where another key has the id.
    ///
    /// # Errors
    /// When the object or the list did not answer.
    async fn put_api_key(&self, key: &KeyState) -> Result<Option<ApiKey>, StorageUnavailable>;

    /// API keys, newest first, as [`Platform::dead_letters`].
    ///
    /// # Errors
    /// When the list did not answer.
    async fn api_keys(&self, before: Option<(u64, &str)>, limit: usize) -> Result<Vec<ApiKey>, StorageUnavailable>;

    /// Revokes an API key, first in its object and then on the list. Safe to repeat. Nothing where there is none of this id.
    ///
    /// # Errors
    /// When the object or the list did not answer.
    async fn revoke_api_key(&self, id: &str) -> Result<Option<ApiKey>, StorageUnavailable>;

    /// Executions, newest first, as [`Platform::dead_letters`].
    ///
    /// # Errors
    /// When the history did not answer.
    async fn executions(
        &self,
        filter: &Filter,
        before: Option<(u64, &str)>,
        limit: usize,
    ) -> Result<Vec<ExecutionRow>, StorageUnavailable>;

    /// What the executions of an agent in a window come to.
    ///
    /// # Errors
    /// When the history did not answer.
    async fn agent_count(&self, agent: &str, window: Window) -> Result<Count, StorageUnavailable>;

    /// The same by time: of each of so many parts of the window in which any of them began, in their order.
    ///
    /// # Errors
    /// The history could not be read.
    async fn agent_buckets(
        &self,
        agent: &str,
        window: Window,
        parts: u32,
    ) -> Result<Vec<BucketCount>, StorageUnavailable>;

    /// What executions came to in all, and what the operator's lists hold.
    ///
    /// # Errors
    /// When the history did not answer.
    async fn totals(&self) -> Result<Totals, StorageUnavailable>;

    /// The runs whose events wait the longest.
    ///
    /// # Errors
    /// When the list did not answer.
    async fn outbox_lags(&self) -> Result<Vec<Lag>, StorageUnavailable>;

    /// Events that were given up, newest first, as [`Platform::dead_letters`].
    ///
    /// # Errors
    /// When the list did not answer.
    async fn dead_events(
        &self,
        before: Option<(u64, &str)>,
        limit: usize,
    ) -> Result<Vec<DeadEvent>, StorageUnavailable>;

    /// The event that was given up under this name.
    ///
    /// # Errors
    /// When the list did not answer.
    async fn dead_event(&self, letter: &str) -> Result<Option<DeadEvent>, StorageUnavailable>;

    /// Takes an event off the list.
    ///
    /// # Errors
    /// When the list did not answer.
    async fn remove_dead_event(&self, letter: &str) -> Result<(), StorageUnavailable>;

    /// Whether overrides can be kept.
    fn keeps_overrides(&self) -> bool;

    /// The version of the overrides of this number, or the current one, as their writer has it; nothing where it is not
    /// kept.
    ///
    /// # Errors
    /// When the writer did not answer.
    async fn overrides(&self, version: Option<u64>) -> Result<Option<Snapshot>, StorageUnavailable>;

    /// The versions of the overrides that are kept, newest first.
    ///
    /// # Errors
    /// When the writer did not answer.
    async fn override_versions(&self) -> Result<Vec<Version>, StorageUnavailable>;

    /// Makes a new version of the overrides, which is copied to every isolate, and told to every orchestrator, soon. Safe
    /// to repeat.
    ///
    /// # Errors
    /// When the writer did not answer. The version may have been made all the same.
    async fn propose_overrides(&self, proposal: &Proposal) -> Result<Proposed, StorageUnavailable>;

    /// How the executions of an agent, or of all agents, ended in a window.
    ///
    /// # Errors
    /// When the history did not answer.
    async fn ended(&self, agent: Option<&str>, window: Window) -> Result<Ended, StorageUnavailable>;

    /// When the last execution of an agent began, in Unix milliseconds, as far as the history knows.
    ///
    /// # Errors
    /// When the history did not answer.
    async fn last_execution(&self, agent: &str) -> Result<Option<u64>, StorageUnavailable>;

    /// What is kept of an alert; its beginning, under the version 0, where nothing is.
    ///
    /// # Errors
    /// When the storage did not answer.
    async fn alert(&self, id: &str) -> Result<Kept, StorageUnavailable>;

    /// Keeps an alert's state in the place of the one of this version. Answers whether it did: not where another one is kept
    /// by now.
    ///
    /// # Errors
    /// When the storage did not answer. It may be kept all the same.
    async fn keep_alert(&self, id: &str, version: u64, state: &AlertState) -> Result<bool, StorageUnavailable>;

    /// Tells a channel, once.
    async fn notify(&self, notice: &Notice) -> Sent;

    /// Sends one event to a destination, once.
    async fn export(&self, destination: &str, event: &Event) -> otlp::Verdict;
}
