//! One call of somebody else's HTTP API, as the manifest declares it: all of kind `http`, and a bound Worker's part of kind
//! `service`.
//!
//! What the input says stays where the manifest puts it: within a segment of the path, a field of the query, the value of a
//! header field, or a value in the body. It cannot change the origin or the path's structure, and cannot name a secret.

mod answer;
mod request;
#[cfg(test)]
mod tests;

use serde_json::Value;

use self::answer::Answer;
use super::call::{Call, Missed, asked_to_wait_ms, is_passing, not_allowed};
use super::outside::Destination;
use super::underway::Underway;
use super::{Context, Failure, Stop, misconfigured};
use crate::manifest::{Exchange, HttpConfig};
use crate::telemetry::operation::{Doing, Upshot};

pub(super) async fn run(agent: &str, config: &HttpConfig, input: &Value, context: &Context<'_>) -> Result<Value, Stop> {
    let connections = context.host.outside().connections();
    let origin = connections.origin(&config.origin);
    let origin = origin.map_err(|reason| not_allowed(&reason))?;
    let side = Side {
        to: Destination::Origin(&origin),
        breaker: format!("http {agent}"),
    };
    exchange(&config.exchange, &side, input, context).await
}

/// The other side of a call.
pub(super) struct Side<'a> {
    /// Where it is.
    pub(super) to: Destination<'a>,
    /// Whose breaker is asked.
    pub(super) breaker: String,
}

impl Side<'_> {
    /// Who is asked, as it is told.
    fn host(&self, request: &http::Request<Vec<u8>>) -> String {
        match self.to {
            Destination::Origin(_) => request.uri().host().unwrap_or_default().to_owned(),
            Destination::Binding(name) | Destination::Ai(name) => name.to_owned(),
        }
    }
}

/// Asks the other side, and makes the output of its answer.
pub(super) async fn exchange(
    config: &Exchange,
    side: &Side<'_>,
    input: &Value,
    context: &Context<'_>,
) -> Result<Value, Stop> {
    let templates = config.templates().map_err(|error| misconfigured(&error.reason))?;
    let connections = context.host.outside().connections();
    let request = request::make(config, templates, side.to.base(), (input, context.state), connections)?;
    let answer = ask(config, side, &request, context).await?;
    Ok(answer::output(config, templates, answer, (input, context.state))?)
}

/// Makes the call, again where that may help.
async fn ask(
    config: &Exchange,
    side: &Side<'_>,
    request: &http::Request<Vec<u8>>,
    context: &Context<'_>,
) -> Result<Answer, Failure> {
    let mut failures = 0;
    loop {
        let left_ms = context.deadline_at_ms.saturating_sub(context.host.now_ms());
        let call = Call {
            context,
            to: side.to,
            breaker: side.breaker.clone(),
            silence_max_ms: config.timeout_ms.min(left_ms),
            whole_max_ms: config.timeout_ms.min(left_ms),
            wait_max_ms: left_ms,
        };
        let read = async |mut incoming: super::Incoming| {
            let body = call.body(&mut incoming, config.response_max_bytes).await?;
            Ok(Answer {
                status: incoming.status,
                asked_ms: asked_to_wait_ms(&incoming.headers, context.host.now_ms()),
                headers: incoming.headers,
                body,
            })
        };
        let underway = Underway::begin(
            context,
            Doing::Request {
                method: request.method().to_string(),
                host: side.host(request),
            },
        );
        let answered = call.once(request, read, |answer| answer.status >= 500).await;
        underway.end(upshot(&answered, config));
        let asked_ms = match &answered {
            Ok(answer) if answer::is_failure(config, answer.status) && is_passing(answer.status) => answer.asked_ms,
            Err(Missed::TimedOut | Missed::Failed) => None,
            Ok(_) | Err(Missed::BreakerOpen | Missed::NotAllowed(_)) => {
                return answered.map_err(|missed| missed.failure(config.timeout_ms));
            }
        };
        failures += 1;
        if failures > config.retries || !call.wait(failures, asked_ms).await {
            return answered.map_err(|missed| missed.failure(config.timeout_ms));
        }
    }
}

fn upshot(answered: &Result<Answer, Missed>, config: &Exchange) -> Upshot {
    match answered {
        Ok(answer) => Upshot {
            status: Some(answer.status),
            error: answer::is_failure(config, answer.status).then(|| answer.status.to_string()),
            ..Upshot::default()
        },
        Err(missed) => Upshot::failed(&missed.failure(config.timeout_ms).code),
    }
}
