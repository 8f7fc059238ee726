//! What this isolate knows of the leases of the gateway's links.

use std::cell::RefCell;
use std::collections::HashMap;

use worker::Env;

use super::{clock, link_object, log};
use crate::link::KnownLease;

/// What a link said counts for so long, in milliseconds.
const KNOWN_MS: u64 = 5_000;

thread_local! {
    /// By orchestrator: what its link said, and when, in Unix milliseconds.
    static KNOWN: RefCell<HashMap<String, (Option<KnownLease>, u64)>> = RefCell::default();
}

/// Asks the link to this orchestrator, unless it said the same a moment ago. A call that names another generation is never
/// judged by what may be old.
pub async fn known(env: &Env, orchestrator: &str, named: Option<u64>) -> Option<KnownLease> {
    let now_ms = clock::now_ms();
    let known = KNOWN.with_borrow(|known| known.get(orchestrator).cloned());
    if let Some((lease, at_ms)) = &known
        && now_ms < at_ms + KNOWN_MS
        && named.is_none_or(|named| lease.as_ref().is_some_and(|lease| lease.granted == named))
    {
        return lease.clone();
    }
    // A link that was never asked for is not made by asking.
    let config = super::config(env).ok()?;
    config.orchestrators.iter().find(|known| known.id == orchestrator)?;
    match link_object::lease(env, orchestrator).await {
        Ok(lease) => {
            KNOWN.with_borrow_mut(|known| known.insert(orchestrator.to_owned(), (lease.clone(), now_ms)));
            lease
        }
        Err(error) => {
            log::alarm("link", &format!("{orchestrator}: {error}"));
            known.and_then(|(lease, _)| lease)
        }
    }
}
