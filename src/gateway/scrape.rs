//! `GET /metrics`: what a Prometheus scrapes.

use std::collections::BTreeSet;

use http::HeaderMap;

use super::access::bearer;
use super::reply::Reply;
use super::{Acted, Gateway};
use crate::direct::NOBODY;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::run::outbox::HISTORY;
use crate::telemetry::export::destinations;
use crate::telemetry::prometheus::{MEDIA_TYPE, Scrape};

impl Gateway<'_> {
    /// Tells the totals and how the links stand. A link that does not answer has no samples; totals that do not are an error,
    /// so that no counter seems to have gone back.
    ///
    /// # Errors
    /// 404 `metrics-closed` where no token is configured, 401 `metrics-token-invalid`, 503 `storage-unavailable`.
    pub(super) async fn scrape<P: Platform>(&self, headers: &HeaderMap, platform: &P) -> Result<Acted, Problem> {
        let token = self.config.metrics_token.as_ref().ok_or(Problem::MetricsClosed)?;
        if !bearer(headers).is_some_and(|presented| token.is(presented)) {
            return Err(Problem::MetricsTokenInvalid);
        }
        let totals = platform.totals().await?;
        let mut links = Vec::new();
        for orchestrator in &self.config.orchestrators {
            let report = platform.link(&orchestrator.id).await;
            links.push((orchestrator.id.as_str(), report.ok()));
        }
        let owners = self
            .config
            .orchestrators
            .iter()
            .map(|orchestrator| orchestrator.id.as_str());
        let destinations: BTreeSet<&str> = owners
            .chain([NOBODY])
            .flat_map(|owner| destinations(self.config, owner))
            .map(|destination| destination.name)
            // What D1 does not take stands on no list: the list is in D1.
            .filter(|name| *name != HISTORY)
            .collect();
        let scrape = Scrape {
            gateway: &self.team.gateway.id,
            totals: &totals,
            links: &links,
            destinations: &destinations.into_iter().collect::<Vec<_>>(),
            now_ms: platform.now_ms(),
        };
        Ok(Acted::Reply(Reply::table(MEDIA_TYPE, scrape.text())))
    }
}
