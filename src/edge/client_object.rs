//! The Client object: one per API key, with its record and its bucket; one per client address, with its buckets; and one per
//! orchestrator whose steps under way are limited, with its slots. What
//! they come to is decided in [`crate::access`]; here it is kept.

use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::{DurableObject, Env, Request, Response, State, durable_object};

use super::{clock, log};
use crate::access::{AddressState, Admission, KeyState, SecretDigest, Slot, Slots};

/// Where a key's object has its state.
const KEY: &str = "key";
/// Where an address's object has its state.
const ADDRESS: &str = "address";

/// Where an orchestrator's object has its state.
const SLOTS: &str = "slots";

/// Names the object of this orchestrator.
pub fn of_orchestrator(id: &str) -> String {
    format!("orchestrator/{id}")
}

/// Names the object of the key of this id.
pub fn of_key(id: &str) -> String {
    format!("key/{id}")
}

/// Names the object of this client address.
pub fn of_address(address: &str) -> String {
    format!("address/{address}")
}

/// A key's or a client address's Durable Object.
#[durable_object]
pub struct ClientObject {
    state: State,
}

impl DurableObject for ClientObject {
    fn new(state: State, _: Env) -> Self {
        log::report_panics();
        Self { state }
    }

    /// No other request is let in while one waits for the storage, so each of these is one transaction.
    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let (path, body) = (request.path(), request.text().await?);
        let now_ms = clock::now_ms();
        match path.trim_start_matches('/') {
            "admit" => {
                let secret: SecretDigest = serde_json::from_str(&body)?;
                let mut kept: Option<KeyState> = self.load(KEY).await?;
                let admission = KeyState::admit(kept.as_mut(), &secret, now_ms);
                if let (Some(kept), false) = (&kept, admission == Admission::Invalid) {
                    self.save(KEY, kept).await?;
                }
                answer(&admission)
            }
            "put" => {
                let new: KeyState = serde_json::from_str(&body)?;
                let mut kept = self.load(KEY).await?;
                let put = KeyState::put(&mut kept, new);
                if put.is_some() {
                    self.save(KEY, &kept).await?;
                }
                answer(&put)
            }
            "revoke" => {
                let mut kept: Option<KeyState> = self.load(KEY).await?;
                let revoked = KeyState::revoke(kept.as_mut(), now_ms);
                if let Some(kept) = &kept {
                    self.save(KEY, kept).await?;
                }
                answer(&revoked)
            }
            "arrive" => {
                let mut kept = self.address(now_ms).await?;
                let arrival = kept.arrive(now_ms);
                self.save(ADDRESS, &kept).await?;
                answer(&arrival)
            }
            "fail" => {
                let mut kept = self.address(now_ms).await?;
                kept.fail(now_ms);
                self.save(ADDRESS, &kept).await?;
                answer(&())
            }
            "take" => {
                let slot: Slot = serde_json::from_str(&body)?;
                let mut kept: Slots = self.load(SLOTS).await?.unwrap_or_default();
                let taken = kept.take(&slot, now_ms);
                self.save(SLOTS, &kept).await?;
                answer(&taken)
            }
            "free" => {
                let id: String = serde_json::from_str(&body)?;
                let mut kept: Slots = self.load(SLOTS).await?.unwrap_or_default();
                kept.free(&id);
                self.save(SLOTS, &kept).await?;
                answer(&())
            }
            path => {
                log::alarm("client", &format!("the client's object was asked for {path}"));
                Response::error("unknown", 404)
            }
        }
    }

    /// Forgets an address whose buckets are full again: a new one has the same.
    async fn alarm(&self) -> worker::Result<Response> {
        let kept: Option<AddressState> = self.load(ADDRESS).await?;
        if let Some(kept) = kept {
            let now_ms = clock::now_ms();
            match kept.forgotten_in_ms(now_ms) {
                0 => self.state.storage().delete_all().await?,
                left_ms => self.wake_at(now_ms + left_ms).await?,
            }
        }
        Response::ok("")
    }
}

impl ClientObject {
    /// The address's state. A new one comes with the alarm that ends it, first: an alarm without a state does nothing.
    async fn address(&self, now_ms: u64) -> worker::Result<AddressState> {
        if let Some(kept) = self.load(ADDRESS).await? {
            return Ok(kept);
        }
        const LOOK_AGAIN_MS: u64 = 60_000;
        self.wake_at(now_ms + LOOK_AGAIN_MS).await?;
        Ok(AddressState::full(now_ms))
    }

    async fn wake_at(&self, at_ms: u64) -> worker::Result<()> {
        self.state.storage().set_alarm(clock::scheduled(at_ms)).await
    }

    /// As text: a JavaScript number is no 64-bit integer.
    async fn load<T: DeserializeOwned>(&self, name: &str) -> worker::Result<Option<T>> {
        let text: Option<String> = self.state.storage().get(name).await?;
        Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
    }

    async fn save(&self, name: &str, state: &impl Serialize) -> worker::Result<()> {
        self.state.storage().put(name, serde_json::to_string(state)?).await
    }
}

fn answer(answer: &impl Serialize) -> worker::Result<Response> {
    Response::ok(serde_json::to_string(answer)?)
}
