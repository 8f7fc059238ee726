//! The core's port to the platform.

use std::cell::RefCell;
use std::collections::HashMap;

use worker::Env;

use super::clock::PlatformHost;
use super::outside::EdgeOutside;
use super::{
    alerts, api_keys, channel, clock, dead_letters, export, history, http_client, lease, link_object, log, object,
    overrides, overrides_object, slots, totals,
};
use crate::access::key::SECRET_BYTES;
use crate::access::{Admission, ApiKey, Arrival, KeyState, PresentedKey, Slot, Taken};
use crate::agent::{Cache, Host, LocalBoxFuture, Outside};
use crate::alert::{AlertState, Kept};
use crate::breaker::{Breaker, Verdict, Word};
use crate::channel::Notice;
use crate::conversation::{Answer, Ask, ConversationName, Conversations};
use crate::link::{KnownLease, LinkReport, Order};
use crate::overrides::{Proposal, Proposed, Snapshot, Version};
use crate::platform::{Platform, StorageUnavailable, Unanswered};
use crate::run::delivery::{DeadLetter, Sent};
use crate::run::outbox_report::{DeadEvent, Lag};
use crate::run::status::{Watch, Watched};
use crate::run::{Asked, Question, RunName, Told};
use crate::telemetry::event::Event;
use crate::telemetry::history::{BucketCount, Count, Ended, ExecutionRow, Filter, Totals, Window};
use crate::telemetry::otlp;

/// The platform as one request sees it.
#[derive(Clone)]
pub struct EdgePlatform {
    outside: EdgeOutside,
    env: Env,
}

impl EdgePlatform {
    pub fn new(env: Env) -> Self {
        Self {
            outside: EdgeOutside::new(&env),
            env,
        }
    }

    pub fn env(&self) -> &Env {
        &self.env
    }
}

impl Host for EdgePlatform {
    fn now_ms(&self) -> u64 {
        PlatformHost.now_ms()
    }

    fn log(&self, line: &serde_json::Value) {
        PlatformHost.log(line);
    }

    fn sleep_ms(&self, duration_ms: u64) -> LocalBoxFuture<'_, ()> {
        PlatformHost.sleep_ms(duration_ms)
    }

    fn outside(&self) -> &dyn Outside {
        &self.outside
    }

    fn cache(&self) -> &dyn Cache {
        self
    }

    fn conversations(&self) -> &dyn Conversations {
        self
    }
}

impl Conversations for EdgePlatform {
    fn ask<'a>(
        &'a self,
        name: &'a ConversationName,
        ask: &'a Ask,
    ) -> LocalBoxFuture<'a, Result<Answer, StorageUnavailable>> {
        Box::pin(async move { object::CONVERSATION.ask(&self.env, &name.object(), "ask", ask).await })
    }
}

impl Platform for EdgePlatform {
    async fn ask<Q: Question>(&self, run: &RunName, asked: &Asked<Q>) -> Result<Told<Q::Answer>, StorageUnavailable> {
        object::RUN.ask(&self.env, &run.object(), Q::NAME, asked).await
    }

    async fn watch(&self, run: &RunName, watch: &Watch, wait_ms: u64) -> Result<Option<Watched>, StorageUnavailable> {
        let message = (watch, wait_ms);
        match object::RUN.ask(&self.env, &run.object(), Watch::NAME, &message).await? {
            Told::Answer(watched) => Ok(watched),
            Told::Replayed | Told::Outdated { .. } => Err(StorageUnavailable),
        }
    }

    async fn dead_letters(
        &self,
        before: Option<(u64, &str)>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StorageUnavailable> {
        listed(dead_letters::list(&self.env, before, limit).await)
    }

    async fn dead_letter(&self, delivery: &str) -> Result<Option<DeadLetter>, StorageUnavailable> {
        listed(dead_letters::find(&self.env, delivery).await)
    }

    async fn remove_dead_letter(&self, letter: &DeadLetter) -> Result<(), StorageUnavailable> {
        listed(dead_letters::remove(&self.env, letter).await)
    }

    async fn send(
        &self,
        request: &http::Request<Vec<u8>>,
        timeout_ms: u64,
        answer_max_bytes: usize,
    ) -> Result<http::Response<Vec<u8>>, Unanswered> {
        http_client::send(request, timeout_ms, answer_max_bytes).await
    }

    fn breaker<T>(&self, orchestrator: &str, act: impl FnOnce(&mut Breaker) -> T) -> T {
        thread_local!(static BREAKERS: RefCell<HashMap<String, Breaker>> = RefCell::default());
        BREAKERS.with_borrow_mut(|breakers| act(breakers.entry(orchestrator.to_owned()).or_default()))
    }

    async fn known_lease(&self, orchestrator: &str, named: Option<u64>) -> Option<KnownLease> {
        lease::known(&self.env, orchestrator, named).await
    }

    async fn take_slot(&self, orchestrator: &str, slot: &Slot) -> Result<Taken, StorageUnavailable> {
        slots::take(&self.env, orchestrator, slot).await
    }

    async fn free_slot(&self, orchestrator: &str, id: &str) {
        slots::free(&self.env, orchestrator, id).await;
    }

    fn is_news(&self, orchestrator: &str, trouble: Option<&'static str>) -> bool {
        thread_local!(static TROUBLES: RefCell<HashMap<String, Option<&'static str>>> = RefCell::default());
        let before = TROUBLES.with_borrow_mut(|troubles| troubles.insert(orchestrator.to_owned(), trouble));
        before.flatten() != trouble
    }

    async fn tell_breaker(&self, orchestrator: &str, word: Word) -> Result<Verdict, StorageUnavailable> {
        // Once: a call waits for it, and goes on without it.
        answered(link_object::tell_breaker(&self.env, orchestrator, word).await)
    }

    async fn link(&self, orchestrator: &str) -> Result<LinkReport, StorageUnavailable> {
        link_object::view(&self.env, orchestrator).await
    }

    async fn order_link(
        &self,
        orchestrator: &str,
        asked: &Asked<Order>,
    ) -> Result<Told<LinkReport>, StorageUnavailable> {
        link_object::order(&self.env, orchestrator, asked).await
    }

    fn random(&self) -> u32 {
        clock::random_number()
    }

    fn alarm(&self, subject: &str, message: &str) {
        log::alarm(subject, message);
    }

    async fn admit_client(
        &self,
        presented: Option<&PresentedKey>,
        address: &str,
    ) -> Result<Admission, StorageUnavailable> {
        api_keys::admit(&self.env, presented, address).await
    }

    async fn admit_address(&self, address: &str) -> Result<Arrival, StorageUnavailable> {
        api_keys::arrive(&self.env, address).await
    }

    fn key_secret(&self) -> Option<[u8; SECRET_BYTES]> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).ok().map(|()| secret)
    }

    async fn put_api_key(&self, key: &KeyState) -> Result<Option<ApiKey>, StorageUnavailable> {
        api_keys::put(&self.env, key).await
    }

    async fn api_keys(&self, before: Option<(u64, &str)>, limit: usize) -> Result<Vec<ApiKey>, StorageUnavailable> {
        listed(api_keys::list(&self.env, before, limit).await)
    }

    async fn revoke_api_key(&self, id: &str) -> Result<Option<ApiKey>, StorageUnavailable> {
        api_keys::revoke(&self.env, id).await
    }

    async fn executions(
        &self,
        filter: &Filter,
        before: Option<(u64, &str)>,
        limit: usize,
    ) -> Result<Vec<ExecutionRow>, StorageUnavailable> {
        listed(history::executions(&self.env, filter, before, limit).await)
    }

    async fn agent_count(&self, agent: &str, window: Window) -> Result<Count, StorageUnavailable> {
        listed(history::count(&self.env, agent, window).await)
    }

    async fn agent_buckets(
        &self,
        agent: &str,
        window: Window,
        parts: u32,
    ) -> Result<Vec<BucketCount>, StorageUnavailable> {
        listed(history::buckets(&self.env, agent, window, parts).await)
    }

    async fn totals(&self) -> Result<Totals, StorageUnavailable> {
        listed(totals::read(&self.env).await)
    }

    async fn outbox_lags(&self) -> Result<Vec<Lag>, StorageUnavailable> {
        listed(history::lags(&self.env).await)
    }

    async fn dead_events(
        &self,
        before: Option<(u64, &str)>,
        limit: usize,
    ) -> Result<Vec<DeadEvent>, StorageUnavailable> {
        listed(history::dead_events(&self.env, before, limit).await)
    }

    async fn dead_event(&self, letter: &str) -> Result<Option<DeadEvent>, StorageUnavailable> {
        listed(history::dead_event(&self.env, letter).await)
    }

    async fn remove_dead_event(&self, letter: &str) -> Result<(), StorageUnavailable> {
        listed(history::remove_dead_event(&self.env, letter).await)
    }

    fn keeps_overrides(&self) -> bool {
        overrides::store(&self.env).is_some()
    }

    async fn overrides(&self, version: Option<u64>) -> Result<Option<Snapshot>, StorageUnavailable> {
        match version {
            Some(number) => overrides_object::version(&self.env, number).await,
            None => overrides_object::current(&self.env, None).await,
        }
    }

    async fn override_versions(&self) -> Result<Vec<Version>, StorageUnavailable> {
        overrides_object::versions(&self.env).await
    }

    async fn propose_overrides(&self, proposal: &Proposal) -> Result<Proposed, StorageUnavailable> {
        let proposed = overrides_object::propose(&self.env, proposal).await?;
        if let Proposed::Made(snapshot) = &proposed {
            overrides::made(snapshot);
        }
        Ok(proposed)
    }

    async fn ended(&self, agent: Option<&str>, window: Window) -> Result<Ended, StorageUnavailable> {
        listed(history::ended(&self.env, agent, window).await)
    }

    async fn last_execution(&self, agent: &str) -> Result<Option<u64>, StorageUnavailable> {
        listed(history::last_execution(&self.env, agent).await)
    }

    async fn alert(&self, id: &str) -> Result<Kept, StorageUnavailable> {
        listed(alerts::read(&self.env, id).await)
    }

    async fn keep_alert(&self, id: &str, version: u64, state: &AlertState) -> Result<bool, StorageUnavailable> {
        listed(alerts::keep(&self.env, id, version, state).await)
    }

    async fn notify(&self, notice: &Notice) -> Sent {
        let started_at_ms = clock::now_ms();
        let sent = channel::send(&self.env, notice).await;
        log::notice(notice, &sent, clock::now_ms() - started_at_ms);
        sent
    }

    async fn export(&self, destination: &str, event: &Event) -> otlp::Verdict {
        export::send(&self.env, (destination, &event.orchestrator), &[event], 0).await
    }
}

/// What D1 says is for the operator.
fn listed<T>(result: worker::Result<T>) -> Result<T, StorageUnavailable> {
    result.map_err(|error| {
        log::alarm("history", &error.to_string());
        StorageUnavailable
    })
}

/// What a Link object's failure says is for the operator.
fn answered<T>(result: worker::Result<T>) -> Result<T, StorageUnavailable> {
    result.map_err(|error| {
        log::alarm("link", &error.to_string());
        StorageUnavailable
    })
}
