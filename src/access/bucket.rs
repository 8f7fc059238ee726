//! A token bucket: a burst at once, and a sustained rate after it. Exact: a token is counted in 60 000 parts, of which
//! `per_minute` flow in each millisecond.

use serde::{Deserialize, Serialize};

/// The parts of one token: the milliseconds of a minute.
const PARTS: u64 = 60_000;

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// So often at once, after a pause. At least 1.
    pub burst: u32,
    /// So often in a minute, for as long as it goes on. At least 1.
    pub per_minute: u32,
}

impl RateLimit {
    /// A key's, where its operator says nothing else.
    pub const OF_KEY: Self = Self {
        burst: 60,
        per_minute: 60,
    };
    /// All calls of a client address, whoever makes them.
    pub const OF_ADDRESS: Self = Self {
        burst: 120,
        per_minute: 600,
    };
    /// The calls of a client address that have no good key: what slows somebody down who tries keys.
    pub const OF_TRIES: Self = Self {
        burst: 20,
        per_minute: 20,
    };

    /// The most calls at once that a key may be given.
    pub const BURST_MAX: u32 = 10_000;
    /// The most calls in a minute that a key may be given.
    pub const PER_MINUTE_MAX: u32 = 60_000;

    fn capacity(self) -> u64 {
        u64::from(self.burst) * PARTS
    }

    /// How long these parts take to flow in, in milliseconds; rounded up. A rate of nothing never gives any.
    fn wait_ms(self, parts: u64) -> u64 {
        match self.per_minute {
            0 => u64::MAX,
            per_ms => parts.div_ceil(u64::from(per_ms)),
        }
    }
}

/// Whose bucket a [`Rate`] tells of: the name of the policy in `RateLimit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RatePolicy {
    /// A key's.
    Key,
    /// A client address's.
    Address,
}

impl RatePolicy {
    /// As `RateLimit` names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Address => "address",
        }
    }
}

/// What a bucket holds, as `RateLimit` and `RateLimit-Policy` tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Whose bucket it is.
    pub policy: RatePolicy,
    /// So many calls fit within `window_s`.
    pub limit: u32,
    /// How long an empty bucket takes to be full again, in seconds: whoever makes `limit` calls in each such window is
    /// never refused.
    pub window_s: u64,
    /// So many calls are left now.
    pub remaining: u32,
    /// When the bucket is full again, in seconds from now.
    pub reset_s: u64,
}

/// The state of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenBucket {
    /// What is in it, in sixty-thousandths of a token.
    tokens: u64,
    /// As of this moment, in Unix milliseconds.
    at_ms: u64,
}

impl TokenBucket {
    /// A full one.
    #[must_use]
    pub fn full(limit: RateLimit, now_ms: u64) -> Self {
        Self {
            tokens: limit.capacity(),
            at_ms: now_ms,
        }
    }

    /// The bucket at this moment. A clock that goes back gives nothing, and takes nothing.
    #[must_use]
    pub fn at(self, limit: RateLimit, now_ms: u64) -> Self {
        let elapsed_ms = now_ms.saturating_sub(self.at_ms);
        let flown = elapsed_ms.saturating_mul(u64::from(limit.per_minute));
        Self {
            tokens: self.tokens.saturating_add(flown).min(limit.capacity()),
            at_ms: self.at_ms.max(now_ms),
        }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// When there is none: how long it takes until there is one, in milliseconds. Nothing is taken then.
    pub fn take(&mut self, limit: RateLimit, now_ms: u64) -> Result<(), u64> {
        *self = self.at(limit, now_ms);
        match self.tokens.checked_sub(PARTS) {
            Some(left) => {
                self.tokens = left;
                Ok(())
            }
            None => Err(limit.wait_ms(PARTS - self.tokens)),
        }
    }

    /// When it is full, in milliseconds after its moment; 0 where it is.
    #[must_use]
    pub fn full_in_ms(&self, limit: RateLimit) -> u64 {
        limit.wait_ms(limit.capacity().saturating_sub(self.tokens))
    }

    /// What it holds, for the client.
    #[must_use]
    pub fn rate(&self, policy: RatePolicy, limit: RateLimit) -> Rate {
        Rate {
            policy,
            limit: limit.burst,
            window_s: limit.wait_ms(limit.capacity()).div_ceil(1_000),
            remaining: u32::try_from(self.tokens / PARTS).unwrap_or(u32::MAX),
            reset_s: self.full_in_ms(limit).div_ceil(1_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: RateLimit = RateLimit {
        burst: 3,
        per_minute: 7,
    };

    #[test]
    fn a_burst_and_then_the_sustained_rate() {
        let mut bucket = TokenBucket::full(LIMIT, 1_000);
        for left in [2, 1, 0] {
            assert_eq!(bucket.take(LIMIT, 1_000), Ok(()));
            assert_eq!(bucket.rate(RatePolicy::Key, LIMIT).remaining, left);
        }
        // A token takes 60 000 / 7 ms, which is 8571 and a bit.
        assert_eq!(bucket.take(LIMIT, 1_000), Err(8_572));
        assert_eq!(bucket.take(LIMIT, 9_571), Err(1));
        assert_eq!(bucket.take(LIMIT, 9_572), Ok(()));
        assert!(bucket.take(LIMIT, 9_572).is_err());
    }

    #[test]
    fn what_is_told_of_it() {
        let mut bucket = TokenBucket::full(LIMIT, 0);
        let full = bucket.rate(RatePolicy::Address, LIMIT);
        assert_eq!((full.limit, full.window_s, full.remaining, full.reset_s), (3, 26, 3, 0));
        bucket.take(LIMIT, 0).expect("a token");
        let rate = bucket.rate(RatePolicy::Address, LIMIT);
        assert_eq!((rate.remaining, rate.reset_s), (2, 9));
        assert_eq!(bucket.full_in_ms(LIMIT), 8_572);
        assert_eq!(bucket.at(LIMIT, 8_571).full_in_ms(LIMIT), 1);
        assert_eq!(bucket.at(LIMIT, 8_572).full_in_ms(LIMIT), 0);
    }

    #[test]
    fn a_long_pause_fills_it_and_no_more() {
        let mut bucket = TokenBucket::full(LIMIT, 0);
        bucket.take(LIMIT, 0).expect("a token");
        assert_eq!(bucket.at(LIMIT, u64::MAX).tokens, LIMIT.capacity());
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let mut bucket = TokenBucket::full(LIMIT, 60_000);
        for _ in 0..3 {
            bucket.take(LIMIT, 60_000).expect("a token");
        }
        assert_eq!(bucket.take(LIMIT, 0), Err(8_572));
        assert_eq!(bucket.take(LIMIT, 60_000), Err(8_572));
        assert_eq!(bucket.take(LIMIT, 68_572), Ok(()));
    }

    #[test]
    fn the_largest_limit_does_not_overflow() {
        let limit = RateLimit {
            burst: u32::MAX,
            per_minute: u32::MAX,
        };
        let mut bucket = TokenBucket::full(limit, 0);
        assert_eq!(bucket.take(limit, u64::MAX), Ok(()));
        let never = RateLimit {
            burst: 0,
            per_minute: 0,
        };
        assert_eq!(TokenBucket::full(never, 0).take(never, u64::MAX), Err(u64::MAX));
    }

    #[test]
    fn it_is_kept_as_json() {
        let bucket = TokenBucket::full(LIMIT, 5);
        let text = serde_json::to_string(&bucket).expect("JSON");
        assert_eq!(text, r#"{"tokens":180000,"at_ms":5}"#);
        assert_eq!(serde_json::from_str::<TokenBucket>(&text).expect("a bucket"), bucket);
    }

    proptest! {
        /// In no span of time are there more than the burst and what flows in, and whoever waits as told is let in.
        #[test]
        fn never_more_than_burst_and_rate(
            burst in 1_u32..6, per_minute in 1_u32..200, pauses_ms in proptest::collection::vec(0_u64..3_000, 1..60),
        ) {
            let limit = RateLimit { burst, per_minute };
            let (mut bucket, mut now_ms, mut taken) = (TokenBucket::full(limit, 0), 0, 0_u64);
            for pause_ms in pauses_ms {
                now_ms += pause_ms;
                match bucket.take(limit, now_ms) {
                    Ok(()) => taken += 1,
                    Err(wait_ms) => {
                        prop_assert!(wait_ms > 0);
                        let mut earlier = bucket;
                        prop_assert!(earlier.take(limit, now_ms + wait_ms - 1).is_err());
                        let mut later = bucket;
                        prop_assert_eq!(later.take(limit, now_ms + wait_ms), Ok(()));
                    }
                }
                prop_assert!(taken * 60_000 <= u64::from(burst) * 60_000 + now_ms * u64::from(per_minute));
            }
        }
    }
}
