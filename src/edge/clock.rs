//! The clock, the timer, the random source, and the log of agents.

use std::time::Duration;

use serde_json::Value;
use worker::{Delay, ScheduledTime, js_sys};

use super::log;
use crate::agent::{Host, LocalBoxFuture};

/// Unix milliseconds.
pub fn now_ms() -> u64 {
    worker::Date::now().as_millis()
}

/// Fresh random bytes. Within a request only: the platform has none at start.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The platform's source cannot fail within a request; should it, zeros are refused as nonces soon enough.
    let _ = getrandom::fill(&mut bytes);
    bytes
}

/// Any number, for jitter.
pub fn random_number() -> u32 {
    u32::from_le_bytes(random())
}

/// A moment for an alarm, given in Unix milliseconds.
pub fn scheduled(at_ms: u64) -> ScheduledTime {
    #[expect(clippy::cast_precision_loss, reason = "JavaScript's times are doubles")]
    let date = js_sys::Date::new(&(at_ms as f64).into());
    ScheduledTime::new(date)
}

/// The clock, the timer and the log as the core sees them.
pub struct PlatformHost;

impl Host for PlatformHost {
    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn log(&self, line: &Value) {
        log::line(line);
    }

    fn sleep_ms(&self, duration_ms: u64) -> LocalBoxFuture<'_, ()> {
        Box::pin(Delay::from(Duration::from_millis(duration_ms)))
    }
}
