//! What an object does about its outbox: it sends what is due, and puts what was given up on the operator's list.

use futures_util::future::join_all;
use worker::Env;

use super::run_storage::RunStorage;
use super::{clock, export, history, log, queue};
use crate::run::outbox::{self, Batch};
use crate::run::transaction::Transaction;
use crate::run::{Moment, outbox_report};
use crate::telemetry::export::destinations;
use crate::telemetry::queue::DESTINATION;

/// An object that has an outbox among its rows.
pub trait HasOutbox {
    fn env(&self) -> &Env;

    /// Makes a decision: all of its writes, or none.
    fn decide<T>(&self, decide: impl FnOnce(&Transaction<'_, RunStorage>) -> worker::Result<T>) -> worker::Result<T>;

    /// Now, as this instance of the object.
    fn now(&self) -> Moment<'_>;
}

/// Sends what is due to each destination.
pub async fn export(object: &impl HasOutbox) -> worker::Result<()> {
    // A wrong configuration is corrected, and then they are sent.
    let Ok(config) = super::config(object.env()) else {
        return Ok(());
    };
    let taken = object.decide(|storage| {
        let destinations = |orchestrator: &str| match queue::is_bound(object.env()) {
            true => vec![DESTINATION],
            false => destinations(config, orchestrator),
        };
        outbox::take(storage, destinations, object.now())
    })?;
    for sent in join_all(taken.iter().map(|batch| send(object, batch))).await {
        sent?;
    }
    let report = object.decide(|storage| outbox_report::report(storage, clock::now_ms()))?;
    if let Some(report) = report {
        history::report(object.env(), &report).await?;
        object.decide(|storage| outbox_report::reported(storage, &report, object.now()))?;
    }
    Ok(())
}

async fn send(object: &impl HasOutbox, batch: &Batch) -> worker::Result<()> {
    let started_at_ms = clock::now_ms();
    let events: Vec<_> = batch.events.iter().map(|(_, event)| event).collect();
    let place = (batch.destination.as_str(), batch.orchestrator.as_str());
    let verdict = export::send(object.env(), place, &events, batch.dropped).await;
    let duration_ms = clock::now_ms() - started_at_ms;
    log::export(place, (events.len(), batch.tries), &verdict, duration_ms);
    let alarm = object.decide(|storage| outbox::told(storage, batch, &verdict, object.now()))?;
    if let Some(message) = alarm {
        log::alarm("export", &format!("{}: {message}", batch.destination));
    }
    Ok(())
}
