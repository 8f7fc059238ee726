//! The links to orchestrators, as an operator sees and commands them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::Reply;
use super::{Acted, Gateway};
use crate::breaker::{Breaker, Hold};
use crate::config::Orchestrator;
use crate::invocation::{Caller, read_message};
use crate::link::{LinkReport, Order};
use crate::platform::Platform;
use crate::problem::Problem;
use crate::run::Told;
use crate::signature::Rejection;

/// What an operator wants of a breaker: `breaker-order`.
#[derive(Deserialize)]
struct Wanted {
    state: WantedState,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WantedState {
    Open,
    Closed,
    Auto,
}

impl Gateway<'_> {
    /// All links, in the order in which their orchestrators are configured.
    pub(super) async fn links<P: Platform>(&self, caller: &Caller<'_, P>) -> Result<Acted, Problem> {
        let mut links = Vec::new();
        for orchestrator in &self.config.orchestrators {
            let report = caller.platform.link(&orchestrator.id).await?;
            links.push(described(orchestrator, &report)?);
        }
        Ok(Acted::Reply(Reply::json(&json!({ "links": links }))))
    }

    pub(super) async fn link<P: Platform>(&self, caller: &Caller<'_, P>, id: &str) -> Result<Acted, Problem> {
        let orchestrator = self.orchestrator(id)?;
        let report = caller.platform.link(&orchestrator.id).await?;
        Ok(Acted::Reply(Reply::json(&described(orchestrator, &report)?)))
    }

    /// Carries an order out, once for each request, and answers how the link stands then.
    pub(super) async fn order_link<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        id: &str,
        order: Order,
    ) -> Result<Acted, Problem> {
        let orchestrator = self.orchestrator(id)?;
        let asked = caller.asked(order);
        match caller.platform.order_link(&orchestrator.id, &asked).await? {
            Told::Replayed => Err(Rejection::Replayed.into()),
            Told::Outdated { known } => Err(Problem::GenerationOutdated { known }),
            Told::Answer(report) => Ok(Acted::Reply(Reply::json(&described(orchestrator, &report)?))),
        }
    }

    pub(super) async fn set_breaker<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        id: &str,
        body: &[u8],
    ) -> Result<Acted, Problem> {
        let message = read_message("breaker-order", body, self.team.gateway.limits.json_depth_max)?;
        let wanted: Wanted = serde_json::from_value(message).map_err(|_| Problem::Internal)?;
        let hold = match wanted.state {
            WantedState::Open => Some(Hold::Open),
            WantedState::Closed => Some(Hold::Closed),
            WantedState::Auto => None,
        };
        let acted = self.order_link(caller, id, Order::Breaker(hold)).await?;
        // This isolate asks with its next call; others hear of it within a second of theirs.
        caller.platform.breaker(id, |breaker| *breaker = Breaker::default());
        Ok(acted)
    }

    fn orchestrator(&self, id: &str) -> Result<&Orchestrator, Problem> {
        let known = self.config.orchestrators.iter().find(|known| known.id == id);
        known.ok_or(Problem::OrchestratorUnknown)
    }
}

/// The message `link`.
fn described(orchestrator: &Orchestrator, report: &LinkReport) -> Result<Value, Problem> {
    let mut link = serde_json::to_value(report).map_err(|_| Problem::Internal)?;
    link["orchestrator"] = orchestrator.id.as_str().into();
    link["url"] = orchestrator.url.as_str().into();
    Ok(link)
}
