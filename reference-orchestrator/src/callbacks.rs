//! `POST /callbacks`: what gateways deliver about steps that ended in the background, by Standard Webhooks.
//!
//! A delivery is verified, put into the database, and answered. What it means for the step is for [`crate::drive`].

use std::sync::atomic::Ordering;

use baton::signature::{KeyRecord, Rejection, webhook};
use http::request::Parts;
use serde::Deserialize;
use serde_json::Value;

use crate::error::Problem;
use crate::invoke::{Reply, idempotency_key, read_stored};
use crate::kept::read_answer;
use crate::model::Mode;
use crate::signed::{Answered, check_media_type, json_response, problem_response};
use crate::store::{NewCallback, Pending};
use crate::{Orchestrator, json, outside};

/// Where callbacks are received.
pub const PATH: &str = "/callbacks";

/// A delivery's body. What it has besides is for others.
#[derive(Debug, Deserialize)]
struct Delivery {
    #[serde(rename = "type")]
    kind: String,
    data: Data,
}

#[derive(Debug, Deserialize)]
struct Data {
    run: String,
    step: String,
    attempt: u32,
    idempotency_key: String,
    agent: String,
    answer: Value,
}

/// Answers a delivery: 204 once it is kept, however often it comes.
#[must_use]
pub fn answer(app: &Orchestrator, parts: &Parts, body: &[u8], request_id: &str) -> Answered {
    match receive(app, parts, body) {
        Ok(key) => Answered {
            response: json_response(204, &Value::Null),
            key_id: Some(key.id.clone()),
            problem: None,
        },
        Err(problem) => Answered {
            response: problem_response(&problem, request_id),
            key_id: None,
            problem: Some(problem),
        },
    }
}

fn receive<'a>(app: &'a Orchestrator, parts: &Parts, body: &[u8]) -> Result<&'a KeyRecord, Problem> {
    let refuse = |left: u32| left.checked_sub(1);
    let relaxed = Ordering::Relaxed;
    if app.callbacks_to_refuse.fetch_update(relaxed, relaxed, refuse).is_ok() {
        return Err(Problem::CallbackRefused);
    }
    let now_ms = outside::now_ms();
    let (id, key) =
        verify(app, parts, body, now_ms / 1_000).map_err(|rejection| Problem::CallbackUnsigned { rejection })?;
    check_media_type(parts)?;
    if app.store.count_again(id)? {
        return Ok(key);
    }
    let delivery: Delivery = json::parse(body)?;
    let data = &delivery.data;
    let invalid = |reason: &str| Problem::Invalid { reason: reason.into() };
    let answer = read_answer(&data.answer).ok_or_else(|| invalid("answer must have a status and a body"))?;
    check_wanted(app, data)?;
    let step = Pending {
        step: data.step.clone(),
        agent: data.agent.clone(),
        attempt: data.attempt,
        mode: Mode::Async,
        accepted_by: None,
        members: String::new(),
        traceparent: None,
    };
    // What could not be read for this step is refused here, where the sender is told, and not kept for nothing.
    if let Reply::Transport { detail, .. } = read_stored(answer.clone(), &data.run, &step) {
        return Err(invalid(&detail));
    }
    let new = NewCallback {
        id,
        run: &data.run,
        step: &data.step,
        attempt: data.attempt,
        kind: &delivery.kind,
        answer: &answer,
    };
    app.store.keep_callback(&new, now_ms)?;
    app.stop.ring();
    let facts = serde_json::json!({
        "id": id, "type": delivery.kind, "run": data.run, "step": data.step, "attempt": data.attempt,
    });
    app.log.event(now_ms, "called_back", facts);
    Ok(key)
}

/// The delivery's id and the key that it is signed with: any valid one of ours will do, so that keys can be rotated.
fn verify<'a, 'p>(
    app: &'a Orchestrator,
    parts: &'p Parts,
    body: &[u8],
    now_s: u64,
) -> Result<(&'p str, &'a KeyRecord), Rejection> {
    let delivery = webhook::find(&parts.headers)?;
    webhook::check_timestamp(delivery.timestamp_s, now_s)?;
    let key = app
        .keyring
        .callback_keys(&app.id, now_s)
        .into_iter()
        .find(|key| delivery.verify(key.secret.bytes(), body))
        .ok_or(Rejection::Invalid)?;
    Ok((delivery.id, key))
}

/// Whether somebody may wait for this: the run is known, and so is this attempt of the step.
fn check_wanted(app: &Orchestrator, data: &Data) -> Result<(), Problem> {
    let unwanted = |reason: &str| Problem::CallbackUnwanted { reason: reason.into() };
    let run = app
        .store
        .run(&data.run)?
        .ok_or_else(|| unwanted("no such run here, or not any more"))?;
    let asked_for = run.steps.iter().any(|step| {
        step.step == data.step
            && step.agent == data.agent
            && step.mode == Mode::Async
            && (1..=step.attempt).contains(&data.attempt)
    });
    if asked_for && data.idempotency_key == idempotency_key(&data.run, &data.step, data.attempt) {
        Ok(())
    } else {
        Err(unwanted("the run has no such step, attempt, agent or idempotency key"))
    }
}
