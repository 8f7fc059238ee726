//! What a link knows of its lease, for those who are not the link: the generation, which is the fence against what comes too
//! late, and the key to sign with.

use serde::{Deserialize, Serialize};

use super::{Link, Standing};

/// What a link knows of its lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownLease {
    /// The generation of the lease that it holds, or held last; 0 where it was refused its first one.
    pub granted: u64,
    /// Whether that lease has ended.
    pub ended: bool,
    /// Whether the orchestrator refuses the gateway's key, so that there will be no other before an operator acts.
    #[serde(default)]
    pub refused: bool,
    /// The key that the orchestrator asks the gateway to sign with, if it asked for one.
    pub signing_keyid: Option<String>,
}

impl KnownLease {
    /// The least generation of a lease that still counts: after the end of one, that of the next.
    #[must_use]
    pub const fn least(&self) -> u64 {
        match self.granted {
            0 => 0,
            granted if self.ended => granted + 1,
            granted => granted,
        }
    }
}

/// What the link knows at `now_ms`, whether or not an alarm rang before it; nothing where it never had a lease and was not
/// refused one.
#[must_use]
pub fn known_lease(link: &Link, now_ms: u64) -> Option<KnownLease> {
    let (granted, ended) = match link.standing {
        Standing::Registered {
            generation,
            lease_expires_at_ms,
            ..
        } => (generation, lease_expires_at_ms <= now_ms),
        _ => (link.generation, true),
    };
    let refused = link.standing == Standing::Refused;
    (granted > 0 || refused).then(|| KnownLease {
        granted,
        ended,
        refused,
        signing_keyid: link.signing_keyid.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{CallResult, Calling, Input, Lease, Output, step};
    use super::*;

    const LEASE_MS: u64 = 60_000;

    fn granted(link: Link, generation: u64, now_ms: u64) -> Link {
        let lease = Lease {
            registration: Some("reg".into()),
            generation,
            lease_ms: LEASE_MS,
            renew_after_ms: LEASE_MS / 3,
            signing_keyid: (generation > 7).then(|| "next".to_owned()),
        };
        called(link, CallResult::Granted(lease), now_ms)
    }

    /// The link makes its next call, and that ends so.
    fn called(link: Link, result: CallResult, now_ms: u64) -> Link {
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
            result,
        };
        step(link, ended, now_ms, 0).0
    }

    #[test]
    fn the_last_lease_counts_also_after_its_end() {
        let link = Link::default();
        assert_eq!(known_lease(&link, 0), None);
        let link = granted(link, 7, 0);
        let check = |link: &Link, now_ms, granted, ended, least| -> Option<String> {
            let lease = known_lease(link, now_ms).expect("a lease");
            assert_eq!((lease.granted, lease.ended, lease.least()), (granted, ended, least));
            lease.signing_keyid
        };
        assert_eq!(check(&link, LEASE_MS - 1, 7, false, 7), None);
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
        assert_eq!(check(&next, LEASE_MS, 9, false, 9).as_deref(), Some("next"));
    }

    #[test]
    fn a_refusal_is_known_with_and_without_a_lease_before_it() {
        let refused = |link: Link, now_ms| called(link, CallResult::Refused("401".into()), now_ms);
        let known = |link: &Link, now_ms| {
            let lease = known_lease(link, now_ms).expect("what is known");
            (lease.refused, lease.granted, lease.least())
        };
        let never = refused(Link::default(), 0);
        // No orchestrator's call is fenced off by a lease that never was.
        assert_eq!(known(&never, 0), (true, 0, 0));
        let link = granted(Link::default(), 7, 0);
        assert_eq!(known(&link, 0), (false, 7, 7));
        let link = refused(link, LEASE_MS / 3);
        assert_eq!(known(&link, LEASE_MS / 3), (true, 7, 8));
        let link = granted(link, 8, LEASE_MS / 3 + super::super::REFUSED_RETRY_MS);
        assert_eq!(
            known(&link, LEASE_MS / 3 + super::super::REFUSED_RETRY_MS),
            (false, 8, 8)
        );
    }
}
