//! Kind `service`: another Worker by its binding, or an agent of another Baton gateway by a signed step.

mod answer;
mod gateway;
mod remote_step;
#[cfg(test)]
mod tests;

use serde_json::Value;

use super::http::{Side, exchange};
use super::outside::Destination;
use super::{Context, Stop};
use crate::manifest::ServiceConfig;

pub(super) async fn run(
    agent: &str,
    config: &ServiceConfig,
    input: &Value,
    context: &Context<'_>,
) -> Result<Value, Stop> {
    match config {
        ServiceConfig::Worker(worker) => {
            let side = Side {
                to: Destination::Binding(&worker.binding),
                breaker: format!("service {agent}"),
            };
            exchange(&worker.exchange, &side, input, context).await
        }
        ServiceConfig::Gateway(remote) => Ok(gateway::run(agent, remote, input, context).await?),
    }
}
