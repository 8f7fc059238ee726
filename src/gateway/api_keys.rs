//! API keys of customers, as an operator makes, lists and revokes them.

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::operator::Page;
use super::reply::Reply;
use super::{Acted, Gateway};
use crate::access::key::{is_key_id, key_id};
use crate::access::{ApiKey, KeyState, KeyText, RateLimit, SecretDigest};
use crate::invocation::{Caller, read_message};
use crate::manifest::Visibility;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::schema::Violation;
use crate::signature::Rejection;

/// So many keys are told at once, unless fewer are asked for.
pub const API_KEYS_MAX: usize = 100;

/// What an operator asks for: `api-key-request`.
#[derive(Deserialize)]
struct Wanted {
    name: String,
    agents: Option<Vec<String>>,
    expires_at_ms: Option<u64>,
    rate: Option<RateLimit>,
}

impl Gateway<'_> {
    /// Makes a key. Its text is in this answer and nowhere else.
    pub(super) async fn create_api_key<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        body: &[u8],
    ) -> Result<Acted, Problem> {
        let message = read_message("api-key-request", body, self.team.gateway.limits.json_depth_max)?;
        let wanted: Wanted = serde_json::from_value(message).map_err(|_| Problem::Internal)?;
        let now_ms = caller.platform.now_ms();
        let violations = self.violations(&wanted, now_ms);
        if !violations.is_empty() {
            return Err(Problem::SchemaViolated { violations });
        }
        let (signer, once) = caller.once()?;
        let secret = caller.platform.key_secret().ok_or(Problem::Internal)?;
        let key = ApiKey {
            id: key_id(signer, once),
            name: wanted.name,
            agents: wanted.agents.unwrap_or_else(|| vec!["*".into()]),
            created_at_ms: now_ms,
            expires_at_ms: wanted.expires_at_ms,
            revoked_at_ms: None,
            rate: wanted.rate.unwrap_or(RateLimit::OF_KEY),
        };
        let text = KeyText::new(&key.id, &secret);
        let state = KeyState::new(key, SecretDigest::of(&secret));
        // The id comes from the request: where it is taken, this very request was received before.
        let key = caller.platform.put_api_key(&state).await?.ok_or(Rejection::Replayed)?;
        let mut body = serde_json::to_value(&key).map_err(|_| Problem::Internal)?;
        body["api_key"] = text.reveal().into();
        Ok(Acted::Reply(Reply::json(&body).status(StatusCode::CREATED)))
    }

    /// What the schema cannot say: a key that could do nothing is a mistake.
    fn violations(&self, wanted: &Wanted, now_ms: u64) -> Vec<Violation> {
        let violation = |instance: String, schema: &str, message: String| Violation {
            instance,
            schema: schema.to_owned(),
            message,
        };
        let mut violations = Vec::new();
        if wanted
            .expires_at_ms
            .is_some_and(|expires_at_ms| expires_at_ms <= now_ms)
        {
            let message = "The moment must be one that is still to come, in Unix milliseconds.".to_owned();
            violations.push(violation("/expires_at_ms".into(), "/properties/expires_at_ms", message));
        }
        let agents = wanted.agents.as_deref().unwrap_or_default();
        for (place, id) in agents.iter().enumerate() {
            let message = match id.as_str() {
                "*" if agents.len() == 1 => continue,
                "*" => "The asterisk is all agents, and must stand alone.",
                id => match self.declared.agent(id) {
                    Some(agent) if agent.visibility != Visibility::Internal => continue,
                    _ => "There must be an agent of this id: /.well-known/baton.json lists them.",
                },
            };
            let instance = format!("/agents/{place}");
            violations.push(violation(instance, "/properties/agents/items", message.to_owned()));
        }
        violations
    }

    pub(super) async fn api_keys<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        query: Option<&str>,
    ) -> Result<Acted, Problem> {
        let page = Page::of(query, API_KEYS_MAX)?;
        // One more tells whether there are more.
        let mut keys = caller.platform.api_keys(page.before, page.limit + 1).await?;
        let more = keys.len() > page.limit;
        keys.truncate(page.limit);
        let mut body = json!({ "api_keys": keys });
        if let Some(last) = keys.last().filter(|_| more) {
            body["next"] = format!("{}-{}", last.created_at_ms, last.id).into();
        }
        Ok(Acted::Reply(Reply::json(&body)))
    }

    /// Revokes a key, also one that is revoked.
    pub(super) async fn revoke_api_key<P: Platform>(&self, caller: &Caller<'_, P>, id: &str) -> Result<Acted, Problem> {
        if !is_key_id(id) {
            return Err(Problem::ApiKeyUnknown);
        }
        let revoked = caller.platform.revoke_api_key(id).await?;
        revoked.ok_or(Problem::ApiKeyUnknown)?;
        Ok(Acted::Reply(Reply::no_content()))
    }
}
