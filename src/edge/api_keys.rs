//! API keys: their objects, which decide, and the operator's list of them in D1, without anything secret.

use serde::Deserialize;
use worker::Env;
use worker::wasm_bindgen::JsValue;

use super::d1::{database, integer, number};
use super::{client_object, log, object};
use crate::access::{Admission, ApiKey, Arrival, KeyState, PresentedKey, RateLimit};
use crate::platform::StorageUnavailable;

const COLUMNS: &str = "id, name, agents, created_at_ms, expires_at_ms, revoked_at_ms, burst, per_minute";

/// Decides about a call: first its address, then its key.
pub async fn admit(
    env: &Env,
    presented: Option<&PresentedKey>,
    address: &str,
) -> Result<Admission, StorageUnavailable> {
    if let Some(limited) = arrive(env, address).await?.refused() {
        return Ok(limited);
    }
    let admission = match presented {
        Some(key) => {
            object::CLIENT
                .ask(env, &client_object::of_key(&key.id), "admit", &key.secret)
                .await?
        }
        None => Admission::Invalid,
    };
    if admission == Admission::Invalid {
        let () = object::CLIENT
            .ask(env, &client_object::of_address(address), "fail", &())
            .await?;
    }
    Ok(admission)
}

/// Decides about a call by its address alone.
pub async fn arrive(env: &Env, address: &str) -> Result<Arrival, StorageUnavailable> {
    object::CLIENT
        .ask(env, &client_object::of_address(address), "arrive", &())
        .await
}

/// Keeps a new key. Nothing where another one has its id.
pub async fn put(env: &Env, key: &KeyState) -> Result<Option<ApiKey>, StorageUnavailable> {
    let kept: Option<ApiKey> = object::CLIENT
        .ask(env, &client_object::of_key(&key.key.id), "put", key)
        .await?;
    list_if_any(env, kept).await
}

/// Revokes a key. Nothing where there is none of this id.
pub async fn revoke(env: &Env, id: &str) -> Result<Option<ApiKey>, StorageUnavailable> {
    let kept: Option<ApiKey> = object::CLIENT
        .ask(env, &client_object::of_key(id), "revoke", &())
        .await?;
    list_if_any(env, kept).await
}

/// Lists what its object keeps.
async fn list_if_any(env: &Env, kept: Option<ApiKey>) -> Result<Option<ApiKey>, StorageUnavailable> {
    if let Some(key) = &kept {
        add(env, key).await.map_err(|error| {
            log::alarm("history", &error.to_string());
            StorageUnavailable
        })?;
    }
    Ok(kept)
}

/// Adds a key, or tells that it is revoked. What was revoked stays so, in whatever order this is done.
async fn add(env: &Env, key: &ApiKey) -> worker::Result<()> {
    let query = format!(
        "INSERT INTO api_keys ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET revoked_at_ms = coalesce(api_keys.revoked_at_ms, excluded.revoked_at_ms)"
    );
    let optional = |at_ms: Option<u64>| at_ms.map_or(JsValue::NULL, number);
    let values = [
        key.id.as_str().into(),
        key.name.as_str().into(),
        serde_json::to_string(&key.agents)?.into(),
        number(key.created_at_ms),
        optional(key.expires_at_ms),
        optional(key.revoked_at_ms),
        key.rate.burst.into(),
        key.rate.per_minute.into(),
    ];
    database(env)?.prepare(query).bind(&values)?.run().await?;
    Ok(())
}

/// The newest first, from after `before` on.
pub async fn list(env: &Env, before: Option<(u64, &str)>, limit: usize) -> worker::Result<Vec<ApiKey>> {
    let (at_ms, id) = before.unwrap_or((u64::MAX, ""));
    let query = format!(
        "SELECT {COLUMNS} FROM api_keys WHERE (created_at_ms, id) < (?, ?) ORDER BY created_at_ms DESC, id DESC LIMIT ?"
    );
    let values = [number(at_ms), id.into(), number(limit as u64)];
    let rows: Vec<Row> = database(env)?.prepare(query).bind(&values)?.all().await?.results()?;
    rows.into_iter().map(ApiKey::try_from).collect()
}

#[derive(Deserialize)]
struct Row {
    id: String,
    name: String,
    agents: String,
    created_at_ms: f64,
    expires_at_ms: Option<f64>,
    revoked_at_ms: Option<f64>,
    burst: u32,
    per_minute: u32,
}

impl TryFrom<Row> for ApiKey {
    type Error = worker::Error;

    fn try_from(row: Row) -> worker::Result<Self> {
        Ok(Self {
            id: row.id,
            name: row.name,
            agents: serde_json::from_str(&row.agents)?,
            created_at_ms: integer(row.created_at_ms),
            expires_at_ms: row.expires_at_ms.map(integer),
            revoked_at_ms: row.revoked_at_ms.map(integer),
            rate: RateLimit {
                burst: row.burst,
                per_minute: row.per_minute,
            },
        })
    }
}
