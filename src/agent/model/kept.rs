//! Answers that are kept, where the manifest says so: the same request gets the same answer, and no model is asked.
//!
//! Nothing depends on it. A cache that fails, is slow, or has something else under the key is as good as none; the log says so
//! once per execution.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::call::MARGIN_MS;
use super::super::outside::within;
use super::super::{Context, LocalBoxFuture};
use super::wire::{self, Ask};
use crate::connections::Provider;
use crate::manifest::{AgentManifest, ModelConfig};
use crate::platform::Unanswered;
use crate::signature::digest::hex_digest;

/// What is kept of one answer has at most this many bytes: a longer one is not kept.
pub const KEPT_MAX_BYTES: usize = 256 * 1024;
/// An answer that has not come from the cache by then is passed over, in milliseconds.
pub const READ_MAX_MS: u64 = 250;
/// For so long a step waits until its answer is kept, in milliseconds.
pub const WRITE_MAX_MS: u64 = 500;
/// What every key begins with. It names the form of what is kept: another form needs another number.
const KEY_PREFIX: &str = "model/1/";

/// What is kept: the text that the model wrote. What is made of it is checked anew each time.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    text: String,
}

/// The answers that are kept, as one execution uses them.
pub(super) struct Kept<'a> {
    agent: &'a AgentManifest,
    context: &'a Context<'a>,
    /// For how long an answer is kept; nothing where none is, or the cache is not to be asked any more.
    ttl_s: Option<u64>,
}

impl<'a> Kept<'a> {
    pub(super) fn new(agent: &'a AgentManifest, config: &ModelConfig, context: &'a Context<'a>) -> Self {
        Self {
            agent,
            context,
            ttl_s: config.cache.map(|cache| cache.ttl_s),
        }
    }

    /// The key of a request's answer: a digest of all that decides about it. Nothing where no answer is kept.
    pub(super) fn key(&self, provider: &Provider, ask: &Ask<'_>) -> Option<String> {
        self.ttl_s?;
        let asked = json!([
            self.agent.id,
            self.agent.version,
            provider.api,
            provider.origin,
            provider.path,
            wire::body(provider, ask),
        ]);
        Some(format!("{KEY_PREFIX}{}", hex_digest(asked.to_string().as_bytes())))
    }

    /// The text of the answer that is kept under this key, and what `read` makes of it.
    pub(super) async fn find<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<(String, T)> {
        self.ttl_s?;
        let got = self.in_time(READ_MAX_MS, self.context.host.cache().get(key)).await?;
        let kept = match got {
            Ok(kept) => kept?,
            Err(unanswered) => {
                self.give_up("the cache gave no answer", &unanswered);
                return None;
            }
        };
        let entry = (kept.len() <= KEPT_MAX_BYTES).then(|| serde_json::from_str::<Entry>(&kept).ok());
        let found = entry.flatten().and_then(|entry| {
            let value = read(&entry.text).ok()?;
            Some((entry.text, value))
        });
        if found.is_none() {
            let fields = json!({"key": key, "bytes": kept.len()});
            self.context.log("what the cache has is of no use", &fields);
        }
        found
    }

    /// Keeps an answer that was checked.
    pub(super) async fn keep(&mut self, key: &str, text: &str) {
        let Some(ttl_s) = self.ttl_s else { return };
        let entry = Entry { text: text.to_owned() };
        let Ok(entry) = serde_json::to_string(&entry) else {
            return;
        };
        if entry.len() > KEPT_MAX_BYTES {
            return;
        }
        let put = self.context.host.cache().put(key, &entry, ttl_s);
        if let Some(Err(unanswered)) = self.in_time(WRITE_MAX_MS, put).await {
            self.give_up("the cache kept nothing", &unanswered);
        }
    }

    /// Waits for the cache, and never for so long that the step would be over; nothing where there is no time for it.
    async fn in_time<T>(
        &self,
        max_ms: u64,
        work: LocalBoxFuture<'_, Result<T, Unanswered>>,
    ) -> Option<Result<T, Unanswered>> {
        let host = self.context.host;
        let left_ms = self.context.deadline_at_ms.saturating_sub(host.now_ms() + MARGIN_MS);
        match max_ms.min(left_ms) {
            0 => None,
            wait_ms => Some(within(host, wait_ms, work).await),
        }
    }

    fn give_up(&mut self, message: &str, unanswered: &Unanswered) {
        self.ttl_s = None;
        self.context.log(message, &json!({"reason": unanswered.to_string()}));
    }
}
