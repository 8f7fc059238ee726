//! The database of history, lists and API keys, and its numbers.

use worker::wasm_bindgen::JsValue;
use worker::{D1Database, Env};

use crate::config;

/// The database.
pub fn database(env: &Env) -> worker::Result<D1Database> {
    env.d1(config::HISTORY)
}

/// D1's integers of 64 bits are JavaScript numbers.
#[expect(clippy::cast_precision_loss, reason = "exact for times and counts of ours")]
pub fn number(value: u64) -> JsValue {
    JsValue::from_f64(value as f64)
}

/// A number that we wrote, such as a time, as it is read.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number that we wrote"
)]
pub fn integer(value: f64) -> u64 {
    value as u64
}
