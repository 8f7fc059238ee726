//! What this isolate knows of the leases of the gateway's links.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use worker::{Delay, Env};

use super::{clock, link_object, log};
use crate::invocation::before;
use crate::link::KnownLease;

/// What a link said counts for so long, in milliseconds.
const KNOWN_MS: u64 = 5_000;
/// A link that has not answered by then is passed over, in milliseconds: no call waits long for what it can do without.
const ASK_MAX_MS: u64 = 500;

thread_local! {
    /// By orchestrator: what its link said, and when, in Unix milliseconds.
    static KNOWN: RefCell<HashMap<String, (Option<KnownLease>, u64)>> = RefCell::default();
}

/// Asks the link to this orchestrator, unless it said something a moment ago. A call that names an older generation is never
/// judged by what may be old: an orchestrator that lost its database begins anew.
pub async fn known(env: &Env, orchestrator: &str, named: Option<u64>) -> Option<KnownLease> {
    let now_ms = clock::now_ms();
    let known = KNOWN.with_borrow(|known| known.get(orchestrator).cloned());
    if let Some((lease, at_ms)) = &known
        && now_ms < at_ms + KNOWN_MS
        && named.is_none_or(|named| lease.as_ref().is_none_or(|lease| lease.granted <= named))
    {
        return lease.clone();
    }
    // A link that was never asked for is not made by asking.
    let config = super::config(env).ok()?;
    config.orchestrators.iter().find(|known| known.id == orchestrator)?;
    let asked = before(
        link_object::lease(env, orchestrator),
        Delay::from(Duration::from_millis(ASK_MAX_MS)),
    )
    .await;
    let lease = match asked {
        Some(Ok(lease)) => lease,
        // What it said before stands for a while: the next call need not wait as long again.
        unanswered => {
            let error = unanswered.and_then(Result::err).map(|error| error.to_string());
            let error = error.unwrap_or_else(|| format!("its object did not answer within {ASK_MAX_MS} ms"));
            log::alarm("link", &format!("{orchestrator}: {error}"));
            known.and_then(|(lease, _)| lease)
        }
    };
    KNOWN.with_borrow_mut(|known| known.insert(orchestrator.to_owned(), (lease.clone(), now_ms)));
    lease
}
