//! Sending a callback: Standard Webhooks, to where the operator allows it, never redirected.

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use worker::Env;

use super::{clock, http_client};
use crate::backoff::retry_after_ms;
use crate::outgoing::check_url;
use crate::run::delivery::{CALLBACK_TIMEOUT_MS, Parcel, Sent};
use crate::signature::webhook::sign_all;

/// Makes one try.
pub async fn send(env: &Env, parcel: &Parcel) -> Sent {
    let failed = |reason: String| Sent::Failed {
        reason,
        retry_after_ms: None,
    };
    let config = match super::config(env) {
        Ok(config) => config,
        // A wrong configuration is corrected, and then it is sent.
        Err(_) => return failed("the gateway is misconfigured".into()),
    };
    // Again: what is allowed may have changed since the step was accepted.
    let target = match check_url(&parcel.url, config.callback_rules(&parcel.orchestrator)) {
        Ok(target) => target,
        Err(refusal) => return Sent::Refused(refusal.to_string()),
    };
    let now_s = clock::now_ms() / 1_000;
    let keys = config.keyring.callback_keys(&parcel.orchestrator, now_s);
    if keys.is_empty() {
        return failed("no valid key of purpose `callback` is configured".into());
    }
    let secrets = keys.iter().map(|key| key.secret.bytes());
    let signature = sign_all(secrets, &parcel.id, now_s, parcel.body.as_bytes());
    let request = http::Request::post(&target.url)
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", &parcel.id)
        .header("webhook-timestamp", now_s.to_string())
        .header("webhook-signature", signature)
        .body(parcel.body.clone().into_bytes());
    let Ok(request) = request else {
        return Sent::Refused("the address cannot be called".into());
    };
    post(&request, now_s).await
}

/// Sends a request and says what the status of its answer means: a callback's, and that of a channel.
pub async fn post(request: &http::Request<Vec<u8>>, now_s: u64) -> Sent {
    match http_client::send_and_ignore_body(request, CALLBACK_TIMEOUT_MS).await {
        Ok(head) if head.status().is_success() => Sent::Delivered,
        Ok(head) if head.status().as_u16() == 410 => Sent::Refused("410: the receiver wants no more of it".into()),
        Ok(head) => {
            let after = head.headers().get(RETRY_AFTER).and_then(|field| field.to_str().ok());
            Sent::Failed {
                reason: format!("status {}", head.status().as_u16()),
                retry_after_ms: after.and_then(|field| retry_after_ms(field, now_s * 1_000)),
            }
        }
        Err(reason) => Sent::Failed {
            reason,
            retry_after_ms: None,
        },
    }
}
