//! A platform in memory that can fail. Its clock stands still; a sleep is over at once.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use serde_json::Value;

use super::{NOW_S, object};
use crate::access::key::SECRET_BYTES;
use crate::access::{AddressState, Admission, ApiKey, Arrival, KeyState, PresentedKey, Slot, Slots, Taken};
use crate::agent::{Host, LocalBoxFuture};
use crate::alert::{AlertState, Kept};
use crate::breaker::{Breaker, Circuit, Verdict, Word};
use crate::channel::Notice;
use crate::conversation::{self, ConversationName, Conversations};
use crate::link::{self, Input, KnownLease, Link, LinkReport, Order, Received};
use crate::overrides::{Proposal, Proposed, Snapshot, Version, versions};
use crate::platform::{Platform, StorageUnavailable, Unanswered};
use crate::run::delivery::{DeadLetter, Sent};
use crate::run::outbox_report::{DeadEvent, Lag};
use crate::run::status::{Watch, Watched};
use crate::run::storage::{Corrupt, MemoryStorage};
use crate::run::transaction::Transaction;
use crate::run::{Asked, Question, RunName, Told, ask};
use crate::telemetry::event::Event;
use crate::telemetry::history::{BucketCount, Count, Ended, ExecutionRow, Filter, Totals, Window};
use crate::telemetry::otlp;

/// How a call to storage fails. The dangerous one is the second: an error, and yet it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    BeforeDoing,
    AfterDoing,
}

/// The platform, and what a test looks at in it.
pub(super) struct FakePlatform {
    pub(super) now_ms: Cell<u64>,
    pub(super) runs: RefCell<HashMap<String, MemoryStorage>>,
    pub(super) conversations: RefCell<HashMap<String, MemoryStorage>>,
    pub(super) faults: RefCell<Vec<Fault>>,
    /// Every question, as it went to a run's object.
    pub(super) asked: RefCell<Vec<String>>,
    /// What stands at the other end of outgoing calls; nobody answers where there is none.
    pub(super) orchestrator: RefCell<Option<Box<Orchestrator>>>,
    /// Whether it thinks for a moment before it answers, so that what goes on beside it goes on.
    pub(super) thinks: Cell<bool>,
    /// How long an outgoing call takes, in milliseconds.
    pub(super) slowness_ms: Cell<u64>,
    /// Where outgoing calls went.
    pub(super) sent: RefCell<Vec<String>>,
    pub(super) breakers: RefCell<HashMap<String, Breaker>>,
    /// What the orchestrators' Link objects keep.
    pub(super) links: RefCell<HashMap<String, FakeLink>>,
    /// How often the shared circuits were told something.
    pub(super) told: Cell<usize>,
    pub(super) alarms: RefCell<Vec<String>>,
    /// What troubles orchestrators.
    troubles: RefCell<HashMap<String, Option<&'static str>>>,
    /// What every link knows of its lease.
    pub(super) lease: RefCell<Option<KnownLease>>,
    /// API keys by id, which is also their list.
    pub(super) keys: RefCell<HashMap<String, KeyState>>,
    /// Slots by orchestrator.
    pub(super) slots: RefCell<HashMap<String, Slots>>,
    pub(super) addresses: RefCell<HashMap<String, AddressState>>,
    /// How many secrets were given.
    pub(super) secrets: Cell<u8>,
    pub(super) history: RefCell<History>,
    /// What the writer of the overrides keeps; nothing where there is none.
    pub(super) overrides: Option<MemoryStorage>,
    pub(super) watched: RefCell<AlertsWatched>,
    /// The orchestrator whose Link object does not answer.
    pub(super) silent_link: Cell<Option<&'static str>>,
}

/// What alerts see, what is kept of them, and what channels were told.
#[derive(Default)]
pub(super) struct AlertsWatched {
    pub(super) ended: Ended,
    pub(super) kept: HashMap<String, Kept>,
    pub(super) notified: Vec<Notice>,
    /// How often somebody else is faster than who keeps an alert's state.
    pub(super) contended: usize,
    /// What channels answer, the last one first; then they take what they are told.
    pub(super) answers: Vec<Sent>,
    /// The channel that does not answer before its time is over: others get so many turns meanwhile.
    pub(super) hanging: Option<(&'static str, usize)>,
}

/// What the history and the outbox's lists answer, and what was asked of them.
#[derive(Default)]
pub(super) struct History {
    pub(super) executions: Vec<ExecutionRow>,
    pub(super) asked: Vec<(Filter, Option<(u64, String)>)>,
    pub(super) count: Count,
    pub(super) buckets: Vec<BucketCount>,
    /// None where D1 does not answer.
    pub(super) totals: Option<Totals>,
    pub(super) lags: Vec<Lag>,
    pub(super) dead: Vec<DeadEvent>,
    pub(super) exported: Vec<String>,
    pub(super) verdicts: Vec<otlp::Verdict>,
}

/// What a Link object keeps. It makes no calls.
#[derive(Default)]
pub(super) struct FakeLink {
    pub(super) link: Link,
    pub(super) circuit: Circuit,
    pub(super) received: Received,
}

impl FakeLink {
    fn report(&self, now_ms: u64) -> LinkReport {
        LinkReport {
            link: link::view(&self.link, now_ms),
            breaker: self.circuit.view(now_ms),
        }
    }
}

/// Answers an outgoing call.
pub(super) type Orchestrator = dyn Fn(&http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, Unanswered>;

impl FakePlatform {
    pub(super) fn new() -> Self {
        Self {
            now_ms: Cell::new(NOW_S * 1_000),
            runs: RefCell::default(),
            conversations: RefCell::default(),
            faults: RefCell::default(),
            asked: RefCell::default(),
            orchestrator: RefCell::default(),
            thinks: Cell::default(),
            slowness_ms: Cell::new(0),
            sent: RefCell::default(),
            breakers: RefCell::default(),
            links: RefCell::default(),
            told: Cell::new(0),
            alarms: RefCell::default(),
            troubles: RefCell::default(),
            lease: RefCell::default(),
            keys: RefCell::default(),
            slots: RefCell::default(),
            addresses: RefCell::default(),
            secrets: Cell::new(0),
            history: RefCell::default(),
            overrides: Some(MemoryStorage::default()),
            watched: RefCell::default(),
            silent_link: Cell::default(),
        }
    }

    /// Lets what goes on beside it go on, where the platform thinks.
    async fn step_aside(&self) {
        if self.thinks.get() {
            object::once_pending().await;
        }
    }

    /// Asks or changes what the Link object of this orchestrator keeps.
    pub(super) fn with_link<T>(
        &self,
        orchestrator: &str,
        act: impl FnOnce(&mut FakeLink, u64) -> T,
    ) -> Result<T, StorageUnavailable> {
        let fault = self.faults.borrow_mut().pop().unwrap_or(Fault::None);
        if fault == Fault::BeforeDoing {
            return Err(StorageUnavailable);
        }
        let mut links = self.links.borrow_mut();
        let done = act(links.entry(orchestrator.to_owned()).or_default(), self.now_ms.get());
        if fault == Fault::AfterDoing {
            Err(StorageUnavailable)
        } else {
            Ok(done)
        }
    }

    /// Asks or changes what the writer of the overrides keeps.
    fn with_overrides<T>(
        &self,
        act: impl FnOnce(&MemoryStorage) -> Result<T, Corrupt>,
    ) -> Result<T, StorageUnavailable> {
        let fault = self.faults.borrow_mut().pop().unwrap_or(Fault::None);
        if fault == Fault::BeforeDoing {
            return Err(StorageUnavailable);
        }
        let storage = self.overrides.as_ref().expect("a writer");
        let done = act(storage).expect("rows that we wrote");
        if fault == Fault::AfterDoing {
            Err(StorageUnavailable)
        } else {
            Ok(done)
        }
    }

    /// Changes the API key of this id, as its object does.
    pub(super) fn with_key<T>(
        &self,
        id: &str,
        act: impl FnOnce(&mut Option<KeyState>) -> T,
    ) -> Result<T, StorageUnavailable> {
        let fault = self.faults.borrow_mut().pop().unwrap_or(Fault::None);
        if fault == Fault::BeforeDoing {
            return Err(StorageUnavailable);
        }
        let mut keys = self.keys.borrow_mut();
        let mut kept = keys.get(id).map(again);
        let done = act(&mut kept);
        if let Some(kept) = kept {
            keys.insert(id.to_owned(), kept);
        }
        if fault == Fault::AfterDoing {
            Err(StorageUnavailable)
        } else {
            Ok(done)
        }
    }

    pub(super) fn with<T>(
        &self,
        run: &RunName,
        act: impl FnOnce(&Transaction<'_, MemoryStorage>) -> Result<T, Corrupt>,
    ) -> Result<T, StorageUnavailable> {
        let fault = self.faults.borrow_mut().pop().unwrap_or(Fault::None);
        if fault == Fault::BeforeDoing {
            return Err(StorageUnavailable);
        }
        let mut runs = self.runs.borrow_mut();
        let storage = runs.entry(run.object()).or_default();
        let transaction = Transaction::new(storage);
        let done = act(&transaction).expect("rows that we wrote");
        transaction.commit().expect("memory");
        if fault == Fault::AfterDoing {
            Err(StorageUnavailable)
        } else {
            Ok(done)
        }
    }
}

impl Host for FakePlatform {
    fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    fn log(&self, line: &Value) {
        panic!("no agent of these tests logs: {line}");
    }

    fn sleep_ms(&self, _: u64) -> LocalBoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn conversations(&self) -> &dyn Conversations {
        self
    }
}

impl Conversations for FakePlatform {
    fn ask<'a>(
        &'a self,
        name: &'a ConversationName,
        ask: &'a conversation::Ask,
    ) -> LocalBoxFuture<'a, Result<conversation::Answer, StorageUnavailable>> {
        let mut conversations = self.conversations.borrow_mut();
        let storage = conversations.entry(name.object()).or_default();
        let answer = conversation::decide(storage, &again(ask), self.now_ms.get()).expect("rows that we wrote");
        Box::pin(std::future::ready(Ok(again(&answer))))
    }
}

/// The same value, written as JSON and read.
fn again<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    let text = serde_json::to_string(value).expect("it can be written");
    serde_json::from_str(&text).expect("it can be read")
}

impl Platform for FakePlatform {
    async fn ask<Q: Question>(&self, run: &RunName, asked: &Asked<Q>) -> Result<Told<Q::Answer>, StorageUnavailable> {
        // As it goes over the wire between Worker and object.
        self.asked
            .borrow_mut()
            .push(serde_json::to_string(asked).expect("it can be written"));
        let asked: Asked<Q> = again(asked);
        let told = self.with(run, |storage| ask(storage, &asked, self.now_ms.get(), 0))?;
        Ok(again(&told))
    }

    async fn watch(&self, run: &RunName, watch: &Watch, wait_ms: u64) -> Result<Option<Watched>, StorageUnavailable> {
        object::work(self, run).await;
        let watched = self.with(run, |storage| watch.ask(storage))?;
        if !watch.is_news(watched.as_ref()) {
            self.now_ms.set(self.now_ms.get() + wait_ms);
        }
        Ok(watched)
    }

    async fn dead_letters(&self, _: Option<(u64, &str)>, _: usize) -> Result<Vec<DeadLetter>, StorageUnavailable> {
        Ok(Vec::new())
    }

    async fn dead_letter(&self, _: &str) -> Result<Option<DeadLetter>, StorageUnavailable> {
        Ok(None)
    }

    async fn remove_dead_letter(&self, _: &DeadLetter) -> Result<(), StorageUnavailable> {
        Ok(())
    }

    async fn send(
        &self,
        request: &http::Request<Vec<u8>>,
        timeout_ms: u64,
        _: usize,
    ) -> Result<http::Response<Vec<u8>>, Unanswered> {
        self.sent.borrow_mut().push(request.uri().to_string());
        self.now_ms.set(self.now_ms.get() + self.slowness_ms.get());
        if self.thinks.get() {
            object::once_pending().await;
        }
        match self.orchestrator.borrow().as_ref() {
            Some(orchestrator) => orchestrator(request),
            None => Err(Unanswered::TimedOut { timeout_ms }),
        }
    }

    fn breaker<T>(&self, orchestrator: &str, act: impl FnOnce(&mut Breaker) -> T) -> T {
        act(self.breakers.borrow_mut().entry(orchestrator.to_owned()).or_default())
    }

    async fn known_lease(&self, _: &str, _: Option<u64>) -> Option<KnownLease> {
        self.lease.borrow().clone()
    }

    async fn take_slot(&self, orchestrator: &str, slot: &Slot) -> Result<Taken, StorageUnavailable> {
        let mut slots = self.slots.borrow_mut();
        Ok(slots
            .entry(orchestrator.to_owned())
            .or_default()
            .take(&again(slot), self.now_ms.get()))
    }

    async fn free_slot(&self, orchestrator: &str, id: &str) {
        self.slots
            .borrow_mut()
            .entry(orchestrator.to_owned())
            .or_default()
            .free(id);
    }

    fn is_news(&self, orchestrator: &str, trouble: Option<&'static str>) -> bool {
        let before = self.troubles.borrow_mut().insert(orchestrator.to_owned(), trouble);
        before.flatten() != trouble
    }

    async fn tell_breaker(&self, orchestrator: &str, word: Word) -> Result<Verdict, StorageUnavailable> {
        self.told.set(self.told.get() + 1);
        self.with_link(orchestrator, |kept, now_ms| {
            let permit = kept.circuit.hear(again(&word), now_ms, 0);
            again(&Verdict {
                circuit: kept.circuit.clone(),
                permit,
            })
        })
    }

    async fn link(&self, orchestrator: &str) -> Result<LinkReport, StorageUnavailable> {
        if self.silent_link.get() == Some(orchestrator) {
            return Err(StorageUnavailable);
        }
        self.with_link(orchestrator, |kept, now_ms| again(&kept.report(now_ms)))
    }

    async fn order_link(
        &self,
        orchestrator: &str,
        asked: &Asked<Order>,
    ) -> Result<Told<LinkReport>, StorageUnavailable> {
        self.with_link(orchestrator, |kept, now_ms| {
            let asked: Asked<Order> = again(asked);
            if !kept.received.admit(&asked, now_ms) {
                return Told::Replayed;
            }
            match asked.question {
                Order::Link(command) => {
                    let link = std::mem::take(&mut kept.link);
                    kept.link = link::step(link, Input::Command(command), now_ms, 0).0;
                }
                Order::Breaker(hold) => kept.circuit.hold(hold),
            }
            again(&Told::Answer(kept.report(now_ms)))
        })
    }

    fn random(&self) -> u32 {
        0
    }

    fn alarm(&self, subject: &str, message: &str) {
        self.alarms.borrow_mut().push(format!("{subject}: {message}"));
    }

    async fn executions(
        &self,
        filter: &Filter,
        before: Option<(u64, &str)>,
        limit: usize,
    ) -> Result<Vec<ExecutionRow>, StorageUnavailable> {
        let mut history = self.history.borrow_mut();
        history
            .asked
            .push((filter.clone(), before.map(|(at_ms, id)| (at_ms, id.to_owned()))));
        Ok(history.executions.iter().take(limit).cloned().collect())
    }

    async fn agent_count(&self, _: &str, _: Window) -> Result<Count, StorageUnavailable> {
        Ok(self.history.borrow().count)
    }

    async fn agent_buckets(&self, _: &str, _: Window, _: u32) -> Result<Vec<BucketCount>, StorageUnavailable> {
        Ok(self.history.borrow().buckets.clone())
    }

    async fn totals(&self) -> Result<Totals, StorageUnavailable> {
        self.history.borrow().totals.clone().ok_or(StorageUnavailable)
    }

    async fn outbox_lags(&self) -> Result<Vec<Lag>, StorageUnavailable> {
        Ok(self.history.borrow().lags.clone())
    }

    async fn dead_events(&self, _: Option<(u64, &str)>, limit: usize) -> Result<Vec<DeadEvent>, StorageUnavailable> {
        Ok(self.history.borrow().dead.iter().take(limit).cloned().collect())
    }

    async fn dead_event(&self, letter: &str) -> Result<Option<DeadEvent>, StorageUnavailable> {
        let history = self.history.borrow();
        Ok(history.dead.iter().find(|dead| dead.letter == letter).cloned())
    }

    async fn remove_dead_event(&self, letter: &str) -> Result<(), StorageUnavailable> {
        self.history.borrow_mut().dead.retain(|dead| dead.letter != letter);
        Ok(())
    }

    fn keeps_overrides(&self) -> bool {
        self.overrides.is_some()
    }

    async fn overrides(&self, version: Option<u64>) -> Result<Option<Snapshot>, StorageUnavailable> {
        let found = self.with_overrides(|storage| match version {
            Some(number) => versions::at(storage, number),
            None => versions::current(storage).map(Some),
        })?;
        Ok(again(&found))
    }

    async fn override_versions(&self) -> Result<Vec<Version>, StorageUnavailable> {
        self.with_overrides(versions::list)
    }

    async fn propose_overrides(&self, proposal: &Proposal) -> Result<Proposed, StorageUnavailable> {
        let now_ms = self.now_ms.get();
        let proposed = self.with_overrides(|storage| versions::propose(storage, &again(proposal), now_ms))?;
        Ok(again(&proposed))
    }

    async fn export(&self, _: &str, event: &Event) -> otlp::Verdict {
        let mut history = self.history.borrow_mut();
        history.exported.push(event.id.clone());
        history
            .verdicts
            .pop()
            .unwrap_or(otlp::Verdict::Delivered { rejected: None })
    }

    async fn ended(&self, _: Option<&str>, _: Window) -> Result<Ended, StorageUnavailable> {
        self.step_aside().await;
        Ok(self.watched.borrow().ended)
    }

    async fn last_execution(&self, _: &str) -> Result<Option<u64>, StorageUnavailable> {
        Ok(None)
    }

    async fn alert(&self, id: &str) -> Result<Kept, StorageUnavailable> {
        self.step_aside().await;
        let kept = self.watched.borrow().kept.get(id).cloned();
        Ok(kept.map_or_else(Kept::default, |kept| Kept {
            version: kept.version,
            state: again(&kept.state),
        }))
    }

    async fn keep_alert(&self, id: &str, version: u64, state: &AlertState) -> Result<bool, StorageUnavailable> {
        self.step_aside().await;
        let fault = self.faults.borrow_mut().pop().unwrap_or(Fault::None);
        if fault == Fault::BeforeDoing {
            return Err(StorageUnavailable);
        }
        let mut watched = self.watched.borrow_mut();
        if watched.contended > 0 {
            watched.contended -= 1;
            return Ok(false);
        }
        let kept = watched.kept.entry(id.to_owned()).or_default();
        let fits = kept.version == version;
        if fits {
            *kept = Kept {
                version: version + 1,
                state: again(state),
            };
        }
        if fault == Fault::AfterDoing {
            Err(StorageUnavailable)
        } else {
            Ok(fits)
        }
    }

    async fn notify(&self, notice: &Notice) -> Sent {
        self.step_aside().await;
        let hanging = self.watched.borrow().hanging;
        if let Some((_, turns)) = hanging.filter(|(channel, _)| *channel == notice.channel) {
            for _ in 0..turns {
                object::once_pending().await;
            }
        }
        self.now_ms.set(self.now_ms.get() + self.slowness_ms.get());
        let mut watched = self.watched.borrow_mut();
        watched.notified.push(again(notice));
        watched.answers.pop().unwrap_or(Sent::Delivered)
    }

    async fn admit_client(
        &self,
        presented: Option<&PresentedKey>,
        address: &str,
    ) -> Result<Admission, StorageUnavailable> {
        if self.faults.borrow_mut().pop() == Some(Fault::BeforeDoing) {
            return Err(StorageUnavailable);
        }
        let now_ms = self.now_ms.get();
        let mut addresses = self.addresses.borrow_mut();
        let state = addresses
            .entry(address.to_owned())
            .or_insert_with(|| AddressState::full(now_ms));
        if let Some(limited) = state.arrive(now_ms).refused() {
            return Ok(limited);
        }
        let admission = match presented {
            Some(key) => self.with_key(&key.id, |kept| KeyState::admit(kept.as_mut(), &key.secret, now_ms))?,
            None => Admission::Invalid,
        };
        if admission == Admission::Invalid {
            state.fail(now_ms);
        }
        Ok(again(&admission))
    }

    async fn admit_address(&self, address: &str) -> Result<Arrival, StorageUnavailable> {
        let now_ms = self.now_ms.get();
        let mut addresses = self.addresses.borrow_mut();
        let state = addresses
            .entry(address.to_owned())
            .or_insert_with(|| AddressState::full(now_ms));
        Ok(again(&state.arrive(now_ms)))
    }

    fn key_secret(&self) -> Option<[u8; SECRET_BYTES]> {
        self.secrets.set(self.secrets.get() + 1);
        Some([self.secrets.get(); SECRET_BYTES])
    }

    async fn put_api_key(&self, key: &KeyState) -> Result<Option<ApiKey>, StorageUnavailable> {
        self.with_key(&key.key.id, |kept| KeyState::put(kept, again(key)))
    }

    async fn api_keys(&self, before: Option<(u64, &str)>, limit: usize) -> Result<Vec<ApiKey>, StorageUnavailable> {
        let mut keys: Vec<_> = self.keys.borrow().values().map(|kept| kept.key.clone()).collect();
        keys.sort_by(|a, b| (b.created_at_ms, &b.id).cmp(&(a.created_at_ms, &a.id)));
        keys.retain(|key| before.is_none_or(|before| (key.created_at_ms, key.id.as_str()) < before));
        keys.truncate(limit);
        Ok(keys)
    }

    async fn revoke_api_key(&self, id: &str) -> Result<Option<ApiKey>, StorageUnavailable> {
        let now_ms = self.now_ms.get();
        self.with_key(id, |kept| KeyState::revoke(kept.as_mut(), now_ms))
    }
}
