//! Sending events to a destination.

use http::header::RETRY_AFTER;
use worker::Env;

use super::{clock, history, http_client, queue};
use crate::backoff::retry_after_ms;
use crate::run::outbox::{HISTORY, QUEUE};
use crate::signature::Stamp;
use crate::signed_call::ANSWER_MAX_BYTES;
use crate::telemetry::event::Event;
use crate::telemetry::export::{Prepared, prepare};
use crate::telemetry::history::verdict_on_rows;
use crate::telemetry::otlp::{Verdict, verdict};

/// Makes one try.
pub async fn send(env: &Env, (destination, orchestrator): (&str, &str), events: &[&Event], dropped: u64) -> Verdict {
    let retry = |reason: String| Verdict::Retry {
        reason,
        retry_after_ms: None,
    };
    if destination == HISTORY {
        return match history::write(env, events.iter().copied()).await {
            Ok(()) => Verdict::Delivered { rejected: None },
            Err(error) => verdict_on_rows(&error.to_string()),
        };
    }
    // A wrong configuration is corrected, and then it is sent.
    let Ok(config) = super::config(env) else {
        return retry("the gateway is misconfigured".into());
    };
    if destination == QUEUE {
        return queue::hand_over(env, config, orchestrator, events, dropped).await;
    }
    let now_s = clock::now_ms() / 1_000;
    let stamp = Stamp {
        created_s: now_s,
        nonce: super::hex(&clock::random::<16>()),
    };
    let place = (destination, orchestrator);
    let (request, timeout_ms) = match prepare(config, place, events.iter().copied(), dropped, stamp) {
        Prepared::Send(request, timeout_ms) => (request, timeout_ms),
        Prepared::Decided(verdict) => return verdict,
    };
    match http_client::send(&request, timeout_ms, ANSWER_MAX_BYTES).await {
        Ok(response) => {
            let after = response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|field| field.to_str().ok());
            let after_ms = after.and_then(|field| retry_after_ms(field, now_s * 1_000));
            verdict(response.status().as_u16(), after_ms, response.body())
        }
        Err(unanswered) => retry(unanswered.to_string()),
    }
}
