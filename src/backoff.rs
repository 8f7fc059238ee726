//! How long to wait before something that failed is tried again.

use std::time::UNIX_EPOCH;

/// An exponential wait, of which the upper half is random, so that what failed together does not return together.
/// `first_ms` after the first failure, doubled with each further one, at most `max_ms`. `random` is any number.
#[must_use]
pub fn backoff_ms(first_ms: u64, max_ms: u64, failures: u32, random: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(32);
    let bound_ms = first_ms.saturating_mul(1 << doublings).min(max_ms);
    bound_ms / 2 + u64::from(random) % (bound_ms / 2 + 1)
}

/// How long a value of `Retry-After` (RFC 9110 section 10.2.3) asks to wait, in milliseconds: seconds, or a date by our clock,
/// which shows `now_ms`. Nothing where it is neither, and where the date has passed.
#[must_use]
pub fn retry_after_ms(field: &str, now_ms: u64) -> Option<u64> {
    let field = field.trim();
    if let Ok(seconds) = field.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let date = httpdate::parse_http_date(field).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let wait_ms = u64::try_from(date.as_millis()).ok()?.checked_sub(now_ms);
    wait_ms.filter(|wait_ms| *wait_ms > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read() {
        // Wed, 21 Oct 2026 07:28:00 GMT.
        const DATE_MS: u64 = 1_792_567_680_000;
        let check = |field: &str, now_ms: u64, expected| assert_eq!(retry_after_ms(field, now_ms), expected, "{field}");
        check("2", DATE_MS, Some(2_000));
        check(" 0 ", DATE_MS, Some(0));
        check("18446744073709551615", 0, Some(u64::MAX));
        for date in [
            "Wed, 21 Oct 2026 07:28:00 GMT",
            // How it was written once; recipients read it still.
            "Wednesday, 21-Oct-26 07:28:00 GMT",
            "Wed Oct 21 07:28:00 2026",
        ] {
            check(date, DATE_MS - 1_500, Some(1_500));
            check(date, DATE_MS - 1, Some(1));
            check(date, DATE_MS, None);
            check(date, DATE_MS + 1, None);
        }
        for neither in [
            "",
            "-1",
            "1.5",
            "soon",
            "2026-10-21T07:28:00Z",
            "Wed, 21 Oct 1926 07:28:00 GMT",
        ] {
            check(neither, 0, None);
        }
    }

    #[test]
    fn the_wait_grows_to_its_bound() {
        let check = |failures, random, expected| assert_eq!(backoff_ms(500, 60_000, failures, random), expected);
        check(0, 0, 250);
        check(1, 0, 250);
        check(1, 250, 500);
        check(2, 500, 1_000);
        check(50, 0, 30_000);
        check(u32::MAX, 30_000, 60_000);
        assert_eq!(backoff_ms(0, 60_000, 3, 7), 0);
        assert_eq!(backoff_ms(u64::MAX, u64::MAX, 9, 0), u64::MAX / 2);
    }
}
