//! The queue that telemetry goes through: events put into it by runs, and its batches sent on.

use std::cell::RefCell;

use futures_util::future::join_all;
use worker::{
    BatchMessageBuilder, Env, MessageBatch, MessageBuilder, MessageExt as _, QueueContentType, QueueRetryOptions,
    QueueRetryOptionsBuilder,
};

use super::{clock, export, history, log};
use crate::config::{Config, TELEMETRY};
use crate::telemetry::event::Event;
use crate::telemetry::export::destinations;
use crate::telemetry::otlp::Verdict;
use crate::telemetry::queue::{
    self, Again, Message, REDELIVERED_AFTER_S, Shipment, Standings, dropped, pack, settle, shipments, unsettled,
};

/// Whether telemetry goes through a queue.
pub fn is_bound(env: &Env) -> bool {
    env.queue(TELEMETRY).is_ok()
}

/// Puts events of a run into the queue, for all of their destinations.
pub async fn hand_over(env: &Env, config: &Config, orchestrator: &str, events: &[&Event], dropped: u64) -> Verdict {
    let to = destinations(config, orchestrator).into_iter();
    let to = to.map(|destination| destination.name.to_owned()).collect();
    let sends = match queue::hand_over(to, events.iter().copied(), dropped) {
        Ok(sends) => sends,
        Err(verdict) => return verdict,
    };
    match put(env, sends, 0).await {
        Ok(()) => Verdict::Delivered { rejected: None },
        Err(error) => Verdict::Retry {
            reason: error.to_string(),
            retry_after_ms: None,
        },
    }
}

/// Deals with a batch of messages. Each is forgotten when nothing of it is open any more, or what is open is in the queue
/// again.
pub async fn consume(env: &Env, batch: &MessageBatch<String>) {
    thread_local!(static STANDINGS: RefCell<Standings> = RefCell::default());
    let started_at_ms = clock::now_ms();
    // A wrong configuration is corrected, and then they are sent.
    let Ok(config) = super::config(env) else {
        return batch.retry_all_with_options(&later());
    };
    let (mut handles, mut messages) = (Vec::new(), Vec::new());
    for handle in batch.raw_iter() {
        match handle.body().as_string().as_deref().map(Message::read) {
            Some(Ok(message)) => {
                messages.push(message);
                handles.push(handle);
            }
            _ => {
                log::alarm("export", "queue: a message is of another version, and is kept for it");
                handle.retry_with_options(&later());
            }
        }
    }
    let configured = |orchestrator: &str| destinations(config, orchestrator);
    let shipments = STANDINGS.with_borrow(|standings| shipments(&messages, configured, standings, started_at_ms));
    let shipped = join_all(shipments.into_iter().map(|shipment| ship(env, shipment))).await;
    let now_ms = clock::now_ms();
    let mut settled = STANDINGS.with_borrow_mut(|standings| settle(shipped, standings, now_ms));
    for alarm in &settled.alarms {
        log::alarm("export", alarm);
    }
    if let Some(report) = settled.report(now_ms) {
        match history::report(env, &report).await {
            Ok(()) => STANDINGS.with_borrow_mut(Standings::listed),
            Err(error) => {
                log::alarm("history", &error.to_string());
                settled.keep_unlisted();
            }
        }
    }
    let mut refused = Vec::new();
    for again in &settled.again {
        if let Err(error) = put_back(env, again).await {
            log::alarm("export", &format!("queue: it takes nothing back: {error}"));
            refused.push(again);
        }
    }
    for (handle, is_open) in handles.iter().zip(unsettled(&messages, &refused)) {
        match is_open {
            true => handle.retry_with_options(&later()),
            false => handle.ack(),
        }
    }
    let again = settled.again.iter().map(Again::len).sum();
    log::batch(messages.len(), again, clock::now_ms() - started_at_ms);
}

async fn ship<'m>(env: &Env, mut shipment: Shipment<'m>) -> Shipment<'m> {
    while let Some(entries) = shipment.next(clock::now_ms()) {
        let started_at_ms = clock::now_ms();
        let events: Vec<_> = entries.iter().map(|entry| &entry.event).collect();
        let place = (shipment.place().destination.as_str(), shipment.place().orchestrator());
        let verdict = export::send(env, place, &events, dropped(entries)).await;
        let duration_ms = clock::now_ms() - started_at_ms;
        log::export(place, (events.len(), shipment.requests() + 1), &verdict, duration_ms);
        shipment.told(&verdict, clock::random_number());
    }
    shipment
}

async fn put_back(env: &Env, again: &Again<'_>) -> worker::Result<()> {
    let sends = pack(again.message()).map_err(|unpackable| worker::Error::RustError(unpackable.to_string()))?;
    put(env, sends, again.wait_s()).await
}

/// Puts messages into the queue, where they wait for so many seconds.
async fn put(env: &Env, sends: Vec<Vec<String>>, delay_s: u32) -> worker::Result<()> {
    let queue = env.queue(TELEMETRY)?;
    for texts in sends {
        let message = |text| {
            let message = MessageBuilder::new(text).content_type(QueueContentType::Text);
            message.delay_seconds(delay_s).build()
        };
        let messages: Vec<_> = texts.into_iter().map(message).collect();
        queue
            .send_batch(BatchMessageBuilder::new().messages(messages).build())
            .await?;
    }
    Ok(())
}

fn later() -> QueueRetryOptions {
    QueueRetryOptionsBuilder::new()
        .with_delay_seconds(REDELIVERED_AFTER_S)
        .build()
}
