//! The link's calls to the orchestrator.

use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::clock;
use super::platform::EdgePlatform;
use crate::config::Orchestrator;
use crate::documents::discovery;
use crate::gateway::Gateway;
use crate::link::{CALL_TIMEOUT_MS, Call, CallResult, Lease};
use crate::signed_call::{ANSWER_MAX_BYTES, CallError, SignedCall, problem_code};

/// Makes a call to the orchestrator and reads its answer, which counts only if its signature holds.
pub async fn perform(
    gateway: &Gateway<'_>,
    orchestrator: &Orchestrator,
    call: &Call,
    asked_keyid: Option<String>,
    platform: &EdgePlatform,
) -> CallResult {
    let nonce = super::hex(&clock::random::<16>());
    let signed = SignedCall {
        orchestrator,
        asked_keyid,
        request: request(gateway, orchestrator, call, &nonce),
        nonce,
        timeout_ms: CALL_TIMEOUT_MS,
        answer_max_bytes: ANSWER_MAX_BYTES,
    };
    let response = match signed.send(gateway.config, platform).await {
        Ok(response) => response,
        // Who refuses a key may have none to sign with.
        Err(CallError::Unverified {
            status: status @ (401 | 403),
            code,
            ..
        }) => return CallResult::Refused(format!("{status} {code}")),
        Err(error @ CallError::NoKey) => return CallResult::Refused(error.to_string()),
        Err(error) => return CallResult::Failed(error.to_string()),
    };
    let status = response.status().as_u16();
    let code = problem_code(response.body());
    match (status, call) {
        (401 | 403, _) => CallResult::Refused(format!("{status} {code}")),
        (204 | 404 | 410, Call::Deregister { .. }) => CallResult::Gone,
        (200 | 201, Call::Register { .. } | Call::Renew { .. }) => {
            match serde_json::from_slice::<Lease>(response.body()) {
                Ok(lease) => CallResult::Granted(lease),
                Err(error) => CallResult::Failed(format!("{status} with a lease that cannot be read: {error}")),
            }
        }
        (404 | 409 | 410, Call::Renew { .. }) => CallResult::Forgotten(format!("{status} {code}")),
        _ => CallResult::Failed(format!("{status} {code}")),
    }
}

fn request(
    gateway: &Gateway<'_>,
    orchestrator: &Orchestrator,
    call: &Call,
    nonce: &str,
) -> http::Result<http::Request<Vec<u8>>> {
    let begin = |method: &str, path: String| {
        http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", orchestrator.url))
            .header("idempotency-key", format!("\"{nonce}\""))
    };
    let with_json = |builder: http::request::Builder, body: Value| {
        let builder = builder.header(CONTENT_TYPE, "application/json");
        builder.body(body.to_string().into_bytes())
    };
    match call {
        Call::Register { manifest_digest } => {
            let origin = gateway.config.origins.primary();
            let agents: Vec<_> = discovery::visible(gateway.team)
                .map(|agent| agent.id.as_str())
                .collect();
            let body = json!({
                "gateway": gateway.team.gateway.id,
                "origin": origin,
                "manifest": {"url": format!("{origin}/.well-known/baton.json"), "digest": manifest_digest},
                "agents": agents,
            });
            with_json(begin("POST", "/gateways".to_owned()), body)
        }
        Call::Renew {
            registration,
            generation,
            manifest_digest,
            draining,
        } => {
            let body = json!({
                "manifest_digest": manifest_digest,
                "generation": generation,
                "health": {"status": if *draining { "draining" } else { "ok" }},
            });
            with_json(begin("PUT", format!("/gateways/{registration}/lease")), body)
        }
        Call::Deregister { registration } => begin("DELETE", format!("/gateways/{registration}")).body(Vec::new()),
    }
}
