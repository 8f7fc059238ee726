//! The clock and the random source.

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
