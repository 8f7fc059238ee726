//! Leases that end because nobody renews them. No request comes then, so the orchestrator has to look by itself, and says in
//! its log which gateway it has lost.

use serde_json::json;

use crate::Orchestrator;

/// A lease that lapsed is noticed within this time, in milliseconds.
pub const LOOK_EVERY_MS: u64 = 1_000;

/// Tells of the leases that have lapsed since somebody looked last, each once, also over restarts.
pub fn tell(app: &Orchestrator, now_ms: u64) {
    match app.store.newly_lapsed(now_ms) {
        Ok(lapsed) => {
            for one in lapsed {
                let facts = json!({
                    "gateway": one.gateway, "origin": one.origin, "registration": one.registration,
                    "generation": one.generation, "lapsed_at_ms": one.lease_expires_at_ms,
                });
                app.log.event(now_ms, "lease_lapsed", facts);
            }
        }
        Err(error) => app
            .log
            .event(now_ms, "lapses_unknown", json!({ "cause": error.cause() })),
    }
}
