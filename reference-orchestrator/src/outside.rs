//! What the logic does not read by itself: the clock, random bytes, and whether it is time to stop.

use std::sync::{Condvar, Mutex, PoisonError};
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

/// Tells everything that waits that the process stops.
#[derive(Debug, Default)]
pub struct Stop {
    requested: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Asks everything to stop.
    pub fn request(&self) {
        *self.requested.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether it was asked for.
    #[must_use]
    pub fn requested(&self) -> bool {
        *self.requested.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits this long, or until it is time to stop; says whether it is.
    pub fn wait_ms(&self, pause_ms: u64) -> bool {
        let requested = self.requested.lock().unwrap_or_else(PoisonError::into_inner);
        let (requested, _) = self
            .changed
            .wait_timeout_while(requested, Duration::from_millis(pause_ms), |requested| !*requested)
            .unwrap_or_else(PoisonError::into_inner);
        *requested
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
        stop.request();
        assert!(stop.requested());
        assert!(stop.wait_ms(u64::MAX / 2));
    }
}
