//! Settling a run with its orchestrator: a signed call, acknowledged by a signed answer.

use http::header::CONTENT_TYPE;
use serde_json::Value;
use worker::Env;

use super::platform::EdgePlatform;
use super::{clock, lease};
use crate::platform::Platform;
use crate::run::settlement::{Notice, SETTLE_TIMEOUT_MS, Told};
use crate::signed_call::{ANSWER_MAX_BYTES, SignedCall, problem_code};

/// Makes one try.
pub async fn send(env: &Env, notice: &Notice) -> Told {
    match attempt(env, notice).await {
        Ok(told) => told,
        Err(reason) => Told::Failed(reason),
    }
}

async fn attempt(env: &Env, notice: &Notice) -> Result<Told, String> {
    let config = super::config(env).map_err(|_| "the gateway is misconfigured")?;
    let id = &notice.name.orchestrator;
    let known = config.orchestrators.iter().find(|known| known.id == *id);
    let orchestrator = known.ok_or("the orchestrator is not configured any more")?;
    let platform = EdgePlatform::new(env.clone());
    if platform.breaker(id, |breaker| breaker.is_known_open(clock::now_ms())) {
        // While it is gone, customers' calls find out whether it is back: a thousand settlements need not.
        return Err("it does not answer others: its breaker is open".into());
    }
    let asked_keyid = lease::known(env, id, None).await.and_then(|lease| lease.signing_keyid);
    let run = crate::gateway::segment(&notice.name.run);
    let request = http::Request::post(format!("{}/runs/{run}/settlement", orchestrator.url))
        .header(CONTENT_TYPE, "application/json")
        .header(
            "idempotency-key",
            format!("\"{}/settlement/{}\"", notice.name.run, notice.edition),
        )
        .body(notice.body.to_string().into_bytes());
    let call = SignedCall {
        orchestrator,
        asked_keyid,
        request,
        nonce: super::hex(&clock::random::<16>()),
        timeout_ms: SETTLE_TIMEOUT_MS,
        answer_max_bytes: ANSWER_MAX_BYTES,
    };
    let response = call.send(config, &platform).await;
    let response = response.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let code = problem_code(response.body());
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    match status {
        200 => Ok(Told::Acknowledged),
        409 if code == "run-conflict" => Ok(Told::Conflict(
            body["detail"].as_str().unwrap_or(&code).chars().take(200).collect(),
        )),
        400..=428 | 430..=499 => Ok(Told::Refused(format!("{status} {code}"))),
        _ => Err(format!("{status} {code}")),
    }
}
