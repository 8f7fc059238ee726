//! API keys: their objects, which decide, and the operator's list of them in D1, without anything secret.

use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::wasm_bindgen::JsValue;
use worker::{D1Database, Env, RequestInit};

use super::{client_object, log};
use crate::access::{Admission, ApiKey, Arrival, KeyState, PresentedKey, RateLimit};
use crate::config;
use crate::platform::StorageUnavailable;

const COLUMNS: &str = "id, name, agents, created_at_ms, expires_at_ms, revoked_at_ms, burst, per_minute";

/// Decides about a call: first its address, then its key.
pub async fn admit(
    env: &Env,
    presented: Option<&PresentedKey>,
    address: &str,
) -> Result<Admission, StorageUnavailable> {
    let address = client_object::of_address(address);
    let arrival: Arrival = ask(env, &address, "arrive", &()).await?;
    if let Some(limited) = arrival.refused() {
        return Ok(limited);
    }
    let admission = match presented {
        Some(key) => ask(env, &client_object::of_key(&key.id), "admit", &key.secret).await?,
        None => Admission::Invalid,
    };
    if admission == Admission::Invalid {
        let () = ask(env, &address, "fail", &()).await?;
    }
    Ok(admission)
}

/// Keeps a new key. Nothing where another one has its id.
pub async fn put(env: &Env, key: &KeyState) -> Result<Option<ApiKey>, StorageUnavailable> {
    let kept: Option<ApiKey> = ask(env, &client_object::of_key(&key.key.id), "put", key).await?;
    list_if_any(env, kept).await
}

/// Revokes a key. Nothing where there is none of this id.
pub async fn revoke(env: &Env, id: &str) -> Result<Option<ApiKey>, StorageUnavailable> {
    let kept: Option<ApiKey> = ask(env, &client_object::of_key(id), "revoke", &()).await?;
    list_if_any(env, kept).await
}

/// Asks an object. A stub can be dead after a reset, so a second one is tried: what is asked is safe to repeat, or costs a
/// token more.
pub(super) async fn ask<T: DeserializeOwned>(
    env: &Env,
    object: &str,
    name: &str,
    message: &impl Serialize,
) -> Result<T, StorageUnavailable> {
    let body = serde_json::to_string(message).map_err(|_| StorageUnavailable)?;
    for _ in 0..2 {
        match ask_once(env, object, name, &body).await {
            Ok(answer) => return serde_json::from_str(&answer).map_err(|_| StorageUnavailable),
            Err(error) => log::alarm("client", &format!("{name}: {error}")),
        }
    }
    Err(StorageUnavailable)
}

async fn ask_once(env: &Env, object: &str, name: &str, body: &str) -> worker::Result<String> {
    let stub = env.durable_object(config::CLIENTS)?.get_by_name(object)?;
    let mut init = RequestInit::new();
    init.with_method(worker::Method::Post).with_body(Some(body.into()));
    let request = worker::Request::new_with_init(&format!("http://client/{name}"), &init)?;
    let mut response = stub.fetch_with_request(request).await?;
    match response.status_code() {
        200 => response.text().await,
        status => Err(format!("the client's object answered {status}").into()),
    }
}

fn database(env: &Env) -> worker::Result<D1Database> {
    env.d1(config::HISTORY)
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

/// D1's integers of 64 bits are JavaScript numbers.
#[expect(clippy::cast_precision_loss, reason = "exact for times and counts of ours")]
fn number(value: u64) -> JsValue {
    JsValue::from_f64(value as f64)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time that we wrote"
)]
fn time(value: f64) -> u64 {
    value as u64
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
            created_at_ms: time(row.created_at_ms),
            expires_at_ms: row.expires_at_ms.map(time),
            revoked_at_ms: row.revoked_at_ms.map(time),
            rate: RateLimit {
                burst: row.burst,
                per_minute: row.per_minute,
            },
        })
    }
}
