//! What the logic does not read by itself: the clock, random bytes, and whether it is time to stop.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The wall clock, in Unix milliseconds.
#[must_use]
pub fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// 144 random bits, as 24 characters that are safe in a URL and in a header.
///
/// # Panics
/// Where the operating system has no random bytes: nothing can be signed there.
#[must_use]
pub fn token() -> String {
    let mut bytes = [0_u8; 18];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A random fraction of 1, in thousandths: the jitter of a pause.
#[must_use]
pub fn jitter_permille() -> u64 {
    getrandom::u32().map_or(500, |random| u64::from(random) % 1_000)
}

/// Wakes everything that waits: when the process stops, and when a callback has come.
#[derive(Debug, Default)]
pub struct Stop {
    state: Mutex<StopState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct StopState {
    requested: bool,
    rings: u64,
}

impl Stop {
    /// Asks everything to stop.
    pub fn request(&self) {
        self.lock().requested = true;
        self.changed.notify_all();
    }

    /// Tells everything that waits for a callback that one has come.
    pub fn ring(&self) {
        self.lock().rings += 1;
        self.changed.notify_all();
    }

    /// How many callbacks have come. Who reads this before looking for one, and waits with it, misses none.
    #[must_use]
    pub fn rings(&self) -> u64 {
        self.lock().rings
    }

    /// Whether it was asked for.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.lock().requested
    }

    /// Waits this long, or until it is time to stop; says whether it is.
    pub fn wait_ms(&self, pause_ms: u64) -> bool {
        self.wait_while(pause_ms, |_| true)
    }

    /// Waits this long, until there were more callbacks than `rings`, or until it is time to stop; says whether it is.
    pub fn wait_for_ring_ms(&self, rings: u64, pause_ms: u64) -> bool {
        self.wait_while(pause_ms, |state| state.rings == rings)
    }

    fn wait_while(&self, pause_ms: u64, waits: impl Fn(&StopState) -> bool) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), Duration::from_millis(pause_ms), |state| {
                !state.requested && waits(state)
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.requested
    }

    fn lock(&self) -> MutexGuard<'_, StopState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_fit_a_nonce() {
        assert_ne!(token(), token());
        assert_eq!(token().len(), 24);
        assert!(jitter_permille() < 1_000);
    }

    #[test]
    fn a_stop_ends_every_pause() {
        let stop = Stop::default();
        assert!(!stop.wait_ms(0));
        let rings = stop.rings();
        stop.ring();
        assert!(!stop.wait_for_ring_ms(rings, u64::MAX / 2));
        assert!(!stop.wait_for_ring_ms(stop.rings(), 0));
        stop.request();
        assert!(stop.requested());
        assert!(stop.wait_ms(u64::MAX / 2));
    }
}
