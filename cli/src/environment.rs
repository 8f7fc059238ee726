//! The clock, randomness and dates: what the core takes as arguments.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::output::{Exit, Failure};

/// Unix seconds.
pub fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Bytes from the operating system's random source.
pub fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!("the operating system gives no random bytes: {error}"),
        )
    })?;
    Ok(bytes)
}

/// A random lower-case identifier of 16 hexadecimal digits (64 bits).
pub fn random_id() -> Result<String, Failure> {
    Ok(hex(&random::<8>()?))
}

/// A nonce of 32 hexadecimal digits (128 bits).
pub fn nonce() -> Result<String, Failure> {
    Ok(hex(&random::<16>()?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The last moment that RFC 3339 can write, in Unix seconds: the end of the year 9999.
const RFC3339_MAX_S: u64 = 253_402_300_799;

/// A moment as RFC 3339 in UTC, such as `2025-11-24T16:00:10Z`.
pub fn rfc3339(unix_s: u64) -> String {
    let moment = UNIX_EPOCH + Duration::from_secs(unix_s.min(RFC3339_MAX_S));
    humantime::format_rfc3339_seconds(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let check = |unix_s, expected: &str| assert_eq!(rfc3339(unix_s), expected);
        check(0, "1970-01-01T00:00:00Z");
        check(951_827_696, "2000-02-29T12:34:56Z");
        check(1_764_000_010, "2025-11-24T16:00:10Z");
        check(4_107_542_399, "2100-02-28T23:59:59Z");
        check(4_107_542_400, "2100-03-01T00:00:00Z");
    }

    #[test]
    fn random_ids_differ() {
        let (one, other) = (nonce().expect("a nonce"), nonce().expect("a nonce"));
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
    }
}
