//! The Run object: one per run. It holds the ledger, decides claims and commits, and sleeps.

use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::run_storage::RunStorage;
use super::{clock, log};
use crate::run::ledger;

/// A run's Durable Object.
#[durable_object]
pub struct RunObject {
    state: State,
}

impl DurableObject for RunObject {
    fn new(state: State, _: Env) -> Self {
        log::report_panics();
        Self { state }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let body = request.text().await?;
        let storage = RunStorage::open(self.state.storage().sql())?;
        let now_ms = clock::now_ms();
        match request.path().as_str() {
            "/claim" => answer(&ledger::claim(&storage, &read(&body)?, now_ms)?),
            "/commit" => answer(&ledger::commit(&storage, &read(&body)?)?),
            path => {
                log::alarm("run", &format!("the run's object was asked for {path}"));
                Response::error("unknown", 404)
            }
        }
    }
}

fn read<T: DeserializeOwned>(body: &str) -> worker::Result<T> {
    Ok(serde_json::from_str(body)?)
}

fn answer(value: &impl Serialize) -> worker::Result<Response> {
    Response::ok(serde_json::to_string(value)?)
}
