//! Moments as text.

use std::time::{Duration, UNIX_EPOCH};

/// The last moment that RFC 3339 can write, in Unix milliseconds: the end of the year 9999.
const RFC3339_MAX_MS: u64 = 253_402_300_799_999;

/// A moment, given in Unix milliseconds, as RFC 3339 in UTC.
#[must_use]
pub fn rfc3339_ms(unix_ms: u64) -> String {
    let moment = UNIX_EPOCH + Duration::from_millis(unix_ms.min(RFC3339_MAX_MS));
    humantime::format_rfc3339_millis(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        assert_eq!(rfc3339_ms(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339_ms(1_764_000_010_007), "2025-11-24T16:00:10.007Z");
        assert_eq!(rfc3339_ms(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
