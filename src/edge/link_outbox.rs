//! The link's own outbox: what changes in a link is told as what happens in a run is, by the same rules and limits.

use std::time::Duration;

use futures_util::future::join;
use worker::{Delay, Env};

use super::link_object::LinkObject;
use super::notify::Notify;
use super::outbox_work::{self, HasOutbox};
use super::run_storage::RunStorage;
use super::{clock, log};
use crate::invocation::before;
use crate::link::{Change, LINK_OUTBOX, wake_at};
use crate::run::transaction::Transaction;
use crate::run::{Moment, RunName, next_at_ms, outbox};
use crate::telemetry::event::What;
use crate::telemetry::trace_context::TraceContext;

/// While events are sent, the link is looked at no more often than this, in milliseconds.
const LOOK_MIN_MS: u64 = 250;
/// And no less often, in milliseconds.
const LOOK_MAX_MS: u64 = 60_000;

impl HasOutbox for LinkObject {
    fn env(&self) -> &Env {
        &self.env
    }

    fn decide<T>(&self, decide: impl FnOnce(&Transaction<'_, RunStorage>) -> worker::Result<T>) -> worker::Result<T> {
        let storage = self.rows()?;
        let transaction = Transaction::new(&storage);
        let decided = decide(&transaction)?;
        if !transaction.is_empty() {
            self.transactions.run(|| transaction.commit())?;
        }
        Ok(decided)
    }

    fn now(&self) -> Moment<'_> {
        Moment {
            now_ms: clock::now_ms(),
            random: clock::random_number(),
            claimant: LINK_OUTBOX,
        }
    }
}

impl LinkObject {
    /// Keeps something, in one transaction with the events that tell of it.
    pub(super) fn keep_and_tell(
        &self,
        orchestrator: &str,
        changes: &[Change],
        keep: impl FnOnce() -> worker::Result<()>,
    ) -> worker::Result<()> {
        let storage = self.rows()?;
        let transaction = Transaction::new(&storage);
        let name = RunName::new(orchestrator, LINK_OUTBOX);
        let mut told = Vec::new();
        for change in changes {
            let span = TraceContext::child_of(None, &clock::random());
            let place = (span.traceparent(), What::LinkChanged(change.clone()));
            outbox::tell_of(&transaction, &name, (&place.0, None), place.1, clock::now_ms())?;
            told.push((change, span));
        }
        self.transactions.run(|| {
            keep()?;
            transaction.commit()
        })?;
        for (change, span) in told {
            log::link_change(orchestrator, change, &span);
        }
        Ok(())
    }

    /// Sets the alarm for what comes next: something of the link, or of its outbox.
    pub(super) async fn arm(&self) -> worker::Result<()> {
        let outbox_at_ms = next_at_ms(&self.rows()?)?;
        match outbox_at_ms.into_iter().chain(self.link_at_ms()?).min() {
            Some(at_ms) => self.state.storage().set_alarm(clock::scheduled(at_ms)).await,
            None => self.state.storage().delete_alarm().await,
        }
    }

    /// Sends what is due. The link goes on meanwhile: a receiver that is slow must not cost the lease.
    pub(super) async fn send_events(&self) -> worker::Result<()> {
        let over = Notify::default();
        let send = async {
            let sent = outbox_work::export(self).await;
            over.notify();
            sent
        };
        let go_on = async {
            loop {
                let at_ms = self.link_at_ms().ok().flatten();
                let wait_ms = at_ms.map_or(LOOK_MAX_MS, |at_ms| at_ms.saturating_sub(clock::now_ms()));
                let due = Delay::from(Duration::from_millis(wait_ms.clamp(LOOK_MIN_MS, LOOK_MAX_MS)));
                if before(due, over.changed_since(0)).await.is_none() {
                    return;
                }
                if let Err(error) = self.go_on().await {
                    log::alarm("link", &error.to_string());
                }
            }
        };
        join(send, go_on).await.0
    }

    /// When the link has to be looked at, in Unix milliseconds. An orchestrator that is no longer configured is let go: its
    /// lease ends by itself.
    fn link_at_ms(&self) -> worker::Result<Option<u64>> {
        let Some(stored) = self.load()? else {
            return Ok(None);
        };
        let is_configured = super::config(&self.env).is_ok_and(|config| {
            let mut known = config.orchestrators.iter();
            known.any(|known| known.id == stored.orchestrator)
        });
        match is_configured {
            true => Ok(wake_at(&self.link()?)),
            false => Ok(None),
        }
    }

    /// The rows of the outbox.
    fn rows(&self) -> worker::Result<RunStorage> {
        RunStorage::open(self.state.storage().sql())
    }
}
