//! The clock, randomness and dates: what the core takes as arguments.

use std::time::{SystemTime, UNIX_EPOCH};

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

/// A moment as RFC 3339 in UTC, such as `2025-11-24T16:00:10Z`.
pub fn rfc3339(unix_s: u64) -> String {
    let (days, seconds) = (unix_s / 86_400, unix_s % 86_400);
    let (year, month, day) = civil(days);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}Z")
}

/// The Gregorian date of a day counted from 1970-01-01: Howard Hinnant's `civil_from_days`.
const fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + (month <= 2) as u64;
    (year, month, day)
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
