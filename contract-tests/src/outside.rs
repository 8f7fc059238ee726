//! The clock, the random source, and waiting for what somebody else does.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Whatever a test waits for has happened after this time, on the slowest machine, or never will.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Unix milliseconds.
///
/// # Panics
/// On a machine whose clock is before 1970.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    u64::try_from(since.as_millis()).expect("a clock before the year 500 million")
}

/// Unix seconds.
#[must_use]
pub fn now_s() -> u64 {
    now_ms() / 1_000
}

/// Fresh random bytes.
///
/// # Panics
/// When the system has none.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system's random source");
    bytes
}

/// A fresh name of 24 hexadecimal digits: a run, a nonce, a challenge.
#[must_use]
pub fn fresh() -> String {
    random::<12>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Waits until `look` finds something. `what` says in a failure what was waited for.
///
/// # Panics
/// When it has not within [`PATIENCE`].
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        thread::sleep(POLL_INTERVAL);
    }
}
