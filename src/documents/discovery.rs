//! The discovery manifest: `/.well-known/baton.json`.

use serde_json::{Value, json};

use super::Document;
use crate::gateway::WAIT_MAX_S;
use crate::manifest::{AgentManifest, Team, Visibility};
use crate::routes::{self, Access};
use crate::run::RUN_ID_MAX_BYTES;
use crate::run::state::STATE_MAX_BYTES;
use crate::signature::profile;

/// Makes the document. It depends on nothing but its arguments: the same team has the same digest.
#[must_use]
pub fn discovery(team: &Team, origin: &str) -> Document {
    let gateway = &team.gateway;
    let mut manifest = json!({
        "protocol": "baton/1",
        "gateway": {
            "id": gateway.id,
            "title": gateway.title,
            "description": gateway.description,
            "version": gateway.version,
            "origin": origin,
        },
        "signature": {
            "request_tag": profile::REQUEST_TAG,
            "response_tag": profile::RESPONSE_TAG,
            "algorithm": profile::ALGORITHM,
            "covered": {
                "always": profile::REQUEST_COMPONENTS,
                "with_body": profile::BODY_COMPONENTS,
                "with_effect": [profile::IDEMPOTENCY_KEY],
                "where_a_state_is_written": profile::PRECONDITIONS,
                "where_it_is_sent": [profile::GENERATION],
            },
            "window_max_s": profile::WINDOW_MAX_S,
            "skew_max_s": profile::SKEW_MAX_S,
            "nonce_min_chars": profile::NONCE_MIN_CHARS,
            "nonce_max_chars": profile::NONCE_MAX_CHARS,
        },
        "limits": {
            "body_max_bytes": gateway.limits.body_max_bytes,
            "json_depth_max": gateway.limits.json_depth_max,
            "deadline_max_ms": gateway.limits.deadline_max_ms,
            "headers_max": profile::HEADERS_MAX,
            "signature_labels_max": profile::LABELS_MAX,
            "signature_components_max": profile::COMPONENTS_MAX,
            "idempotency_key_max_bytes": profile::IDEMPOTENCY_KEY_MAX_BYTES,
            "run_id_max_bytes": RUN_ID_MAX_BYTES,
            "state_max_bytes": STATE_MAX_BYTES,
            "wait_max_s": WAIT_MAX_S,
        },
        "endpoints": endpoints(),
        "agents": visible(team).map(|manifest| agent(team, manifest)).collect::<Vec<_>>(),
    });
    // Also what no other field shows, such as another prompt, makes the agents others than those that were registered.
    if let Some(digest) = &team.overridden.digest {
        manifest["gateway"]["overrides"] = digest.as_str().into();
    }
    Document::new(&manifest)
}

/// The agents that callers may know of.
pub fn visible(team: &Team) -> impl Iterator<Item = &AgentManifest> {
    team.agents
        .iter()
        .filter(|agent| agent.visibility != Visibility::Internal)
}

fn endpoints() -> Vec<Value> {
    let endpoint = |route: &crate::routes::Route| {
        let access = match route.access {
            Access::Open | Access::Page => "open",
            Access::Signed { .. } => "signed",
            Access::ApiKey | Access::MetricsToken => "api-key",
        };
        json!({
            "method": route.method,
            "path": route.template,
            "access": access,
            "summary": route.summary,
        })
    };
    routes::described().map(endpoint).collect()
}

fn agent(team: &Team, manifest: &AgentManifest) -> Value {
    let mut agent = json!({
        "id": manifest.id,
        "version": manifest.version,
        "title": manifest.title,
        "description": manifest.description,
        "tags": manifest.tags,
        "kind": manifest.kind(),
        "steps": format!("/agents/{}/steps", manifest.id),
        "deadline_ms": manifest.deadline_ms.min(team.gateway.limits.deadline_max_ms),
        "body_max_bytes": team.body_max_bytes(manifest),
        "retry": manifest.retry,
        "input": manifest.input.document(),
        "output": manifest.output.document(),
        "examples": manifest.examples,
    });
    if manifest.visibility == Visibility::Public {
        agent["query"] = format!("/agents/{}/query", manifest.id).into();
        agent["takes_text"] = manifest.takes_text().into();
    }
    if !manifest.handoffs.is_empty() {
        agent["handoffs"] = manifest.handoffs.clone().into();
    }
    if let Some(state) = &manifest.state {
        agent["state"] = state.document().clone();
    }
    agent
}
