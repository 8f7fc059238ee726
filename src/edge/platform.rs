//! The core's port to the platform.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::{Delay, Env, RequestInit};

use super::clock;
use crate::agent::{Host, LocalBoxFuture};
use crate::platform::{Platform, StorageUnavailable};
use crate::run::{Claim, ClaimRequest, Commit, CommitRequest, RunName};

/// The platform as one request sees it.
pub struct EdgePlatform<'a> {
    env: &'a Env,
}

impl<'a> EdgePlatform<'a> {
    pub fn new(env: &'a Env) -> Self {
        Self { env }
    }

    /// Asks the run's object. A stub can be dead after a reset, so a second one is tried; both messages are safe to repeat.
    async fn ask<T: DeserializeOwned>(
        &self,
        run: &RunName,
        path: &str,
        message: &impl Serialize,
    ) -> Result<T, StorageUnavailable> {
        let body = serde_json::to_string(message).map_err(|_| StorageUnavailable)?;
        for _ in 0..2 {
            if let Ok(answer) = self.ask_once(run, path, &body).await {
                return serde_json::from_str(&answer).map_err(|_| StorageUnavailable);
            }
        }
        Err(StorageUnavailable)
    }

    async fn ask_once(&self, run: &RunName, path: &str, body: &str) -> worker::Result<String> {
        let stub = self.env.durable_object("RUNS")?.get_by_name(run.as_str())?;
        let mut init = RequestInit::new();
        init.with_method(worker::Method::Post).with_body(Some(body.into()));
        let request = worker::Request::new_with_init(&format!("http://run{path}"), &init)?;
        let mut response = stub.fetch_with_request(request).await?;
        match response.status_code() {
            200 => response.text().await,
            status => Err(format!("the run's object answered {status}").into()),
        }
    }
}

impl Host for EdgePlatform<'_> {
    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }

    fn sleep_ms(&self, duration_ms: u64) -> LocalBoxFuture<'_, ()> {
        Box::pin(Delay::from(Duration::from_millis(duration_ms)))
    }
}

impl Platform for EdgePlatform<'_> {
    async fn claim(&self, run: &RunName, request: &ClaimRequest) -> Result<Claim, StorageUnavailable> {
        self.ask(run, "/claim", request).await
    }

    async fn commit(&self, run: &RunName, request: &CommitRequest) -> Result<Commit, StorageUnavailable> {
        self.ask(run, "/commit", request).await
    }
}
