//! How long to wait before something that failed is tried again.

/// An exponential wait, of which the upper half is random, so that what failed together does not return together.
/// `first_ms` after the first failure, doubled with each further one, at most `max_ms`. `random` is any number.
#[must_use]
pub fn backoff_ms(first_ms: u64, max_ms: u64, failures: u32, random: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(32);
    let bound_ms = first_ms.saturating_mul(1 << doublings).min(max_ms);
    bound_ms / 2 + u64::from(random) % (bound_ms / 2 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

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
