//! How many steps of an orchestrator are under way at once.

use super::Gateway;
use super::access::{RATE_LIMIT, RATE_LIMIT_POLICY};
use super::reply::Reply;
use crate::access::slots::FULL_RETRY_AFTER_MS;
use crate::access::{Slot, Taken, slot_id};
use crate::invocation::Caller;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::run::RunName;
use crate::run::ledger::ClaimRequest;

/// A slot that a request holds.
pub(super) struct Held(Slot);

impl Gateway<'_> {
    /// Takes a slot for a step, before it is claimed. Nothing is held where the orchestrator has no limit, or where another
    /// request of the same attempt holds the slot.
    ///
    /// # Errors
    /// 429 `steps-too-many`; 503 where the slots cannot be asked.
    pub(super) async fn take_slot<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        request: &ClaimRequest,
    ) -> Result<Option<Held>, Problem> {
        let orchestrator = caller.orchestrator();
        let Some(max) = self.config.max_concurrent_steps(orchestrator) else {
            return Ok(None);
        };
        let slot = Slot {
            id: slot_id(&request.using.name, &request.idempotency_key),
            holder: caller.occasion.request_id.clone(),
            hold_ms: request.hold_ms,
            max,
        };
        match caller.platform.take_slot(orchestrator, &slot).await? {
            Taken::Mine => Ok(Some(Held(slot))),
            Taken::Anothers => Ok(None),
            Taken::Full => Err(Problem::TooManySteps { limit: max }),
        }
    }

    /// Gives the slot of an attempt that has ended back, where there may be one.
    pub(super) async fn free_slot_of<P: Platform>(&self, caller: &Caller<'_, P>, run: &RunName, idempotency_key: &str) {
        let orchestrator = caller.orchestrator();
        if self.config.max_concurrent_steps(orchestrator).is_some() {
            let id = slot_id(run, idempotency_key);
            caller.platform.free_slot(orchestrator, &id).await;
        }
    }
}

impl Held {
    /// Gives it back: the step has ended, or was not begun.
    pub(super) async fn free<P: Platform>(self, caller: &Caller<'_, P>) {
        caller.platform.free_slot(caller.orchestrator(), &self.0.id).await;
    }
}

impl Reply {
    /// Tells of a limit on what is under way, in the fields of draft-ietf-httpapi-ratelimit-headers.
    pub(super) fn all_slots_taken(self, limit: u32) -> Self {
        let retry_s = FULL_RETRY_AFTER_MS.div_ceil(1_000);
        self.with(RATE_LIMIT, &format!("\"steps\";r=0;t={retry_s}")).with(
            RATE_LIMIT_POLICY,
            &format!("\"steps\";q={limit};qu=\"concurrent-requests\""),
        )
    }
}
