//! What is kept for a while: a KV namespace. Where none is bound, nothing is kept.

use super::platform::EdgePlatform;
use crate::agent::{Cache, LocalBoxFuture};
use crate::config;
use crate::platform::Unanswered;

impl Cache for EdgePlatform {
    fn get<'a>(&'a self, key: &'a str) -> LocalBoxFuture<'a, Result<Option<String>, Unanswered>> {
        Box::pin(async move {
            let Ok(store) = self.env().kv(config::CACHE) else {
                return Ok(None);
            };
            store.get(key).text().await.map_err(unanswered)
        })
    }

    fn put<'a>(&'a self, key: &'a str, text: &'a str, ttl_s: u64) -> LocalBoxFuture<'a, Result<(), Unanswered>> {
        Box::pin(async move {
            let Ok(store) = self.env().kv(config::CACHE) else {
                return Ok(());
            };
            let put = store.put(key, text).map_err(unanswered)?;
            put.expiration_ttl(ttl_s).execute().await.map_err(unanswered)
        })
    }
}

fn unanswered(error: impl std::fmt::Display) -> Unanswered {
    Unanswered::Failed(format!("KV: {error}"))
}
