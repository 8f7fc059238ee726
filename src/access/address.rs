//! Client addresses: how they are named, and how often they may call.

use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::Admission;
use super::bucket::{RateLimit, RatePolicy, TokenBucket};

/// The name of a client whose address nobody told.
pub const UNKNOWN: &str = "unknown";

/// Names a client by its address: IPv4 as it is, IPv6 by its /64, for whoever has one address of it has all of them.
#[must_use]
pub fn client_address(text: &str) -> String {
    match text.trim().parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.to_string(),
        Ok(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        Err(_) => UNKNOWN.to_owned(),
    }
}

/// What an address's object keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressState {
    /// All of its calls: [`RateLimit::OF_ADDRESS`].
    calls: TokenBucket,
    /// Those without a good key: [`RateLimit::OF_TRIES`].
    tries: TokenBucket,
}

/// Whether a call of an address is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// It is.
    Welcome {
        /// What the address has left.
        rate: super::Rate,
    },
    /// It has to wait: [`Admission::Limited`].
    Limited {
        /// What the address has left.
        rate: super::Rate,
        /// When it is looked at again, in milliseconds from now.
        retry_after_ms: u64,
    },
}

impl AddressState {
    /// Of an address that did nothing lately.
    #[must_use]
    pub fn full(now_ms: u64) -> Self {
        Self {
            calls: TokenBucket::full(RateLimit::OF_ADDRESS, now_ms),
            tries: TokenBucket::full(RateLimit::OF_TRIES, now_ms),
        }
    }

    /// A call arrives. An address that has no try left is refused before its key is looked at: else it could go on trying.
    pub fn arrive(&mut self, now_ms: u64) -> Arrival {
        let mut tries = self.tries;
        if let Err(retry_after_ms) = tries.take(RateLimit::OF_TRIES, now_ms) {
            return limited(&tries, RateLimit::OF_TRIES, retry_after_ms);
        }
        match self.calls.take(RateLimit::OF_ADDRESS, now_ms) {
            Ok(()) => Arrival::Welcome {
                rate: self.calls.rate(RatePolicy::Address, RateLimit::OF_ADDRESS),
            },
            Err(retry_after_ms) => limited(&self.calls, RateLimit::OF_ADDRESS, retry_after_ms),
        }
    }

    /// A call that arrived had no good key. Calls that arrived at once may be more than there are tries left: the bucket
    /// of all calls bounds them.
    pub fn fail(&mut self, now_ms: u64) {
        let _ = self.tries.take(RateLimit::OF_TRIES, now_ms);
    }

    /// When there is nothing left to remember, in milliseconds from now; 0 where there is nothing.
    #[must_use]
    pub fn forgotten_in_ms(&self, now_ms: u64) -> u64 {
        let calls = self.calls.at(RateLimit::OF_ADDRESS, now_ms);
        let tries = self.tries.at(RateLimit::OF_TRIES, now_ms);
        let of_calls_ms = calls.full_in_ms(RateLimit::OF_ADDRESS);
        of_calls_ms.max(tries.full_in_ms(RateLimit::OF_TRIES))
    }
}

fn limited(bucket: &TokenBucket, limit: RateLimit, retry_after_ms: u64) -> Arrival {
    Arrival::Limited {
        rate: bucket.rate(RatePolicy::Address, limit),
        retry_after_ms,
    }
}

impl Arrival {
    /// The admission that this already is; nothing where the key decides.
    #[must_use]
    pub fn refused(self) -> Option<Admission> {
        match self {
            Self::Welcome { .. } => None,
            Self::Limited { rate, retry_after_ms } => Some(Admission::Limited { rate, retry_after_ms }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_addresses() {
        for (text, expected) in [
            ("203.0.113.7", "203.0.113.7"),
            (" 203.0.113.7 ", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
            ("::1", "::/64"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("", UNKNOWN),
            ("203.0.113.7, 10.0.0.1", UNKNOWN),
            ("203.0.113.7:80", UNKNOWN),
        ] {
            assert_eq!(client_address(text), expected, "{text}");
        }
    }

    fn retry_after_ms(arrival: Arrival) -> Option<u64> {
        match arrival {
            Arrival::Welcome { .. } => None,
            Arrival::Limited { retry_after_ms, .. } => Some(retry_after_ms),
        }
    }

    #[test]
    fn all_calls_of_an_address() {
        let mut state = AddressState::full(0);
        for call in 0..RateLimit::OF_ADDRESS.burst {
            assert!(matches!(state.arrive(0), Arrival::Welcome { .. }), "{call}");
        }
        assert_eq!(retry_after_ms(state.arrive(0)), Some(100));
        assert_eq!(retry_after_ms(state.arrive(99)), Some(1));
        assert!(matches!(state.arrive(100), Arrival::Welcome { .. }));
        assert_eq!(state.forgotten_in_ms(100), 12_000);
        assert_eq!(state.forgotten_in_ms(12_100), 0);
    }

    #[test]
    fn tries_are_fewer_and_come_first() {
        let mut state = AddressState::full(0);
        for call in 0..RateLimit::OF_TRIES.burst {
            assert!(matches!(state.arrive(0), Arrival::Welcome { .. }), "{call}");
            state.fail(0);
        }
        let before = state;
        assert_eq!(retry_after_ms(state.arrive(0)), Some(3_000));
        assert_eq!(state, before, "what is refused takes nothing");
        let refused = state.arrive(0).refused();
        assert!(
            matches!(refused, Some(Admission::Limited { rate, .. }) if rate.limit == 20 && rate.policy == RatePolicy::Address)
        );
        assert!(matches!(state.arrive(3_000), Arrival::Welcome { .. }));
        assert_eq!(state.forgotten_in_ms(3_000), 57_000);
    }
}
