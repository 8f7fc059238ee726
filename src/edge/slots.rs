//! The slots of an orchestrator, in the Client object of its name.

use worker::Env;

use super::{client_object, object};
use crate::access::{Slot, Taken, slot_id};
use crate::platform::StorageUnavailable;
use crate::run::RunName;

/// Takes a slot.
pub async fn take(env: &Env, orchestrator: &str, slot: &Slot) -> Result<Taken, StorageUnavailable> {
    object::CLIENT
        .ask(env, &client_object::of_orchestrator(orchestrator), "take", slot)
        .await
}

/// Gives a slot back. Where that fails it ends by itself, and the log has why.
pub async fn free(env: &Env, orchestrator: &str, id: &str) {
    let object = client_object::of_orchestrator(orchestrator);
    let _: Result<(), _> = object::CLIENT.ask(env, &object, "free", &id).await;
}

/// Gives the slot of an attempt back, where its orchestrator has a limit.
pub async fn free_attempt(env: &Env, run: &RunName, idempotency_key: &str) {
    let limit = super::config(env)
        .ok()
        .and_then(|config| config.max_concurrent_steps(&run.orchestrator));
    if limit.is_some() {
        free(env, &run.orchestrator, &slot_id(run, idempotency_key)).await;
    }
}
