//! The generation of a link's lease: the fence against what comes too late.

use serde::{Deserialize, Serialize};

use super::{Link, Standing};

/// What a link knows of the generation of its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseGeneration {
    /// Of the lease that it holds, or held last.
    pub granted: u64,
    /// Whether that lease has ended.
    pub ended: bool,
}

impl LeaseGeneration {
    /// The least generation of a lease that still counts: after the end of one, that of the next.
    #[must_use]
    pub const fn least(self) -> u64 {
        if self.ended { self.granted + 1 } else { self.granted }
    }
}

/// What the link knows at `now_ms`, whether or not an alarm rang before it; nothing where it never had a lease.
#[must_use]
pub fn lease_generation(link: &Link, now_ms: u64) -> Option<LeaseGeneration> {
    let lease = match link.standing {
        Standing::Registered {
            generation,
            lease_expires_at_ms,
            ..
        } => LeaseGeneration {
            granted: generation,
            ended: lease_expires_at_ms <= now_ms,
        },
        _ => LeaseGeneration {
            granted: link.generation,
            ended: true,
        },
    };
    (lease.granted > 0).then_some(lease)
}

#[cfg(test)]
mod tests {
    use super::super::{CallResult, Calling, Input, Lease, Output, step};
    use super::*;

    const LEASE_MS: u64 = 60_000;

    fn granted(link: Link, generation: u64, now_ms: u64) -> Link {
        let wake = Input::Wake {
            manifest_digest: "d".into(),
        };
        let (link, outputs) = step(link, wake, now_ms, 0);
        let call = outputs.into_iter().find_map(|output| match output {
            Output::Call(Calling { number, .. }) => Some(number),
            _ => None,
        });
        let ended = Input::Ended {
            number: call.expect("a call"),
            result: CallResult::Granted(Lease {
                registration: Some("reg".into()),
                generation,
                lease_ms: LEASE_MS,
                renew_after_ms: LEASE_MS / 3,
            }),
        };
        step(link, ended, now_ms, 0).0
    }

    #[test]
    fn the_last_lease_counts_also_after_its_end() {
        let link = Link::default();
        assert_eq!(lease_generation(&link, 0), None);
        let link = granted(link, 7, 0);
        let check = |link: &Link, now_ms, granted, ended, least| {
            let lease = lease_generation(link, now_ms).expect("a lease");
            assert_eq!((lease, lease.least()), (LeaseGeneration { granted, ended }, least));
        };
        check(&link, LEASE_MS - 1, 7, false, 7);
        check(&link, LEASE_MS, 7, true, 8);
        // The link has noticed, and asks for another.
        let wake = Input::Wake {
            manifest_digest: "d".into(),
        };
        let (lapsed, _) = step(link, wake, LEASE_MS, 0);
        check(&lapsed, LEASE_MS, 7, true, 8);
        let next = granted(
            Link {
                calling: None,
                ..lapsed
            },
            9,
            LEASE_MS,
        );
        check(&next, LEASE_MS, 9, false, 9);
    }
}
