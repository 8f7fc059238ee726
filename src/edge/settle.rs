//! Settling a run with its orchestrator: a signed call, acknowledged by a signed answer.

use http::header::CONTENT_TYPE;
use serde_json::Value;
use worker::Env;

use super::{clock, http_client, lease};
use crate::run::settlement::{Notice, SETTLE_TIMEOUT_MS, Told};
use crate::signature::{Stamp, sign_request};

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
    let now_s = clock::now_ms() / 1_000;
    let asked = lease::known(env, id, None).await.and_then(|lease| lease.signing_keyid);
    let key = config.keyring.register_key(id, asked.as_deref(), now_s);
    let key = key.ok_or("no valid key of purpose `register` is configured")?;
    let run = crate::gateway::segment(&notice.name.run);
    let mut request = http::Request::post(format!("{}/runs/{run}/settlement", orchestrator.url))
        .header(CONTENT_TYPE, "application/json")
        .header(
            "idempotency-key",
            format!("\"{}/settlement/{}\"", notice.name.run, notice.edition),
        )
        .body(notice.body.to_string().into_bytes())
        .map_err(|error| error.to_string())?;
    let stamp = Stamp {
        created_s: now_s,
        nonce: super::hex(&clock::random::<16>()),
    };
    let sent = sign_request(&mut request, key, stamp).map_err(|error| error.to_string())?;
    let response = http_client::send(&request, SETTLE_TIMEOUT_MS).await?;
    let status = response.status().as_u16();
    sent.verify(&response, clock::now_ms() / 1_000)
        .map_err(|rejection| format!("{status}, and the answer's signature: {}", rejection.code()))?;
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let code = body["code"].as_str().unwrap_or("without a reason");
    match status {
        200 => Ok(Told::Acknowledged),
        409 if code == "run-conflict" => Ok(Told::Conflict(
            body["detail"].as_str().unwrap_or(code).chars().take(200).collect(),
        )),
        400..=428 | 430..=499 => Ok(Told::Refused(format!("{status} {code}"))),
        _ => Err(format!("{status} {code}")),
    }
}
