//! What has changed in a link, as its events tell it.

use serde::{Deserialize, Serialize};

use super::{Intent, Link, Standing};
use crate::breaker::{BreakerState, BreakerView};

/// Stands in the place of a run's id where an event is a link's.
pub const LINK_OUTBOX: &str = ":link";

/// A change that is worth telling. A renewal that changes nothing but the lease's end is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The orchestrator granted a registration: the first one, another one, or one of another manifest.
    Registered {
        /// Its fencing number.
        generation: u64,
    },
    /// The same registration goes on under another generation.
    Renewed {
        /// The new one.
        generation: u64,
    },
    /// The lease has ended, or the orchestrator knows nothing of it.
    LeaseLost {
        /// Its fencing number.
        generation: u64,
    },
    /// The orchestrator refuses the gateway's key.
    Refused,
    /// The operator lets it drain.
    Draining,
    /// It was ended by the operator.
    Deregistered,
    /// The orchestrator asks the gateway to sign with another key.
    KeyChanged {
        /// Its id; nothing where the gateway is to choose by itself again.
        key: Option<String>,
    },
    /// The breaker before the orchestrator opened or closed. A probe is no news.
    Breaker {
        /// Whether it is open now.
        open: bool,
        /// Whether the operator holds it so.
        forced: bool,
    },
}

impl Change {
    /// In a word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "registered",
            Self::Renewed { .. } => "renewed",
            Self::LeaseLost { .. } => "lease_lost",
            Self::Refused => "refused",
            Self::Draining => "draining",
            Self::Deregistered => "deregistered",
            Self::KeyChanged { .. } => "key_changed",
            Self::Breaker { open: true, .. } => "breaker_opened",
            Self::Breaker { open: false, .. } => "breaker_closed",
        }
    }

    /// Whether something went wrong.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        matches!(
            self,
            Self::LeaseLost { .. }
                | Self::Refused
                | Self::Breaker {
                    open: true,
                    forced: false
                }
        )
    }
}

/// What has changed from one state of a link to the next.
#[must_use]
pub fn changes(before: &Link, after: &Link) -> Vec<Change> {
    let mut changes = Vec::new();
    match (&before.standing, &after.standing) {
        (
            Standing::Registered {
                registration: known,
                generation: earlier,
                manifest_digest: told,
                ..
            },
            Standing::Registered {
                registration,
                generation,
                manifest_digest,
                ..
            },
        ) => {
            let generation = *generation;
            if (known, told) != (registration, manifest_digest) {
                changes.push(Change::Registered { generation });
            } else if *earlier != generation {
                changes.push(Change::Renewed { generation });
            }
        }
        (_, Standing::Registered { generation, .. }) => changes.push(Change::Registered {
            generation: *generation,
        }),
        (Standing::Registered { generation, .. }, Standing::Unregistered) => changes.push(Change::LeaseLost {
            generation: *generation,
        }),
        (Standing::Refused, Standing::Refused) | (Standing::Deregistered, Standing::Deregistered) => {}
        (_, Standing::Refused) => changes.push(Change::Refused),
        (_, Standing::Deregistered) => changes.push(Change::Deregistered),
        (_, Standing::Unregistered) => {}
    }
    if before.intent == Intent::Serve && matches!(after.intent, Intent::Drain { .. }) {
        changes.push(Change::Draining);
    }
    if before.signing_keyid != after.signing_keyid {
        changes.push(Change::KeyChanged {
            key: after.signing_keyid.clone(),
        });
    }
    changes
}

/// What has changed from one view of the breaker to the next.
#[must_use]
pub fn breaker_change(before: &BreakerView, after: &BreakerView) -> Option<Change> {
    let told = |view: &BreakerView| (view.state != BreakerState::Closed, view.forced);
    let (open, forced) = told(after);
    ((open, forced) != told(before)).then_some(Change::Breaker { open, forced })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::{Circuit, Hold, Word};
    use crate::link::{CallResult, Command, DRAIN_MS, Input, Lease, step};

    /// A link that is told of what happens to it.
    #[derive(Default)]
    struct Told {
        link: Link,
        now_ms: u64,
        names: Vec<&'static str>,
    }

    impl Told {
        fn step(&mut self, input: Input) {
            let before = self.link.clone();
            self.link = step(before.clone(), input, self.now_ms, 0).0;
            self.names.extend(changes(&before, &self.link).iter().map(Change::name));
        }

        fn wake(&mut self, manifest: &str) {
            self.step(Input::Wake {
                manifest_digest: manifest.into(),
            });
        }

        fn end(&mut self, result: CallResult) {
            let number = self.link.calls;
            self.step(Input::Ended { number, result });
        }

        fn take(&mut self) -> Vec<&'static str> {
            std::mem::take(&mut self.names)
        }
    }

    fn lease(generation: u64, signing_keyid: Option<&str>) -> CallResult {
        CallResult::Granted(Lease {
            registration: Some("reg".into()),
            generation,
            lease_ms: 10_000,
            renew_after_ms: 5_000,
            signing_keyid: signing_keyid.map(str::to_owned),
        })
    }

    fn registered() -> Told {
        let mut told = Told::default();
        told.wake("m1");
        told.end(lease(1, None));
        assert_eq!(told.take(), ["registered"]);
        told
    }

    #[test]
    fn a_renewal_is_told_where_something_changed() {
        let mut told = registered();
        for (lease, expected) in [
            (lease(1, None), &[][..]),
            (lease(2, None), &["renewed"]),
            (lease(2, Some("k2")), &["key_changed"]),
            (lease(2, Some("k2")), &[]),
        ] {
            told.now_ms += 5_000;
            told.wake("m1");
            told.end(lease);
            assert_eq!(told.take(), expected);
        }
        told.now_ms += 5_000;
        told.wake("m2");
        told.end(lease(2, Some("k2")));
        assert_eq!(told.take(), ["registered"], "another manifest");
    }

    #[test]
    fn a_lease_that_ends_or_is_forgotten_is_lost_once() {
        let mut told = registered();
        told.now_ms = 10_000;
        told.wake("m1");
        told.end(CallResult::Failed("503".into()));
        told.wake("m1");
        assert_eq!(told.take(), ["lease_lost"]);
        let mut told = registered();
        told.now_ms = 5_000;
        told.wake("m1");
        told.end(CallResult::Forgotten("404".into()));
        assert_eq!(told.take(), ["lease_lost"]);
    }

    #[test]
    fn a_refusal_is_told_once() {
        let mut told = registered();
        for expected in [&["refused"][..], &[]] {
            told.now_ms += 400_000;
            // The lease may have ended as well: it is refused now, and that is told.
            told.link.standing = match expected.is_empty() {
                true => Standing::Refused,
                false => Standing::Unregistered,
            };
            told.wake("m1");
            told.end(CallResult::Refused("401".into()));
            assert_eq!(told.take(), expected);
        }
    }

    #[test]
    fn an_operators_orders_are_told() {
        let mut told = registered();
        told.step(Input::Command(Command::Drain));
        told.step(Input::Command(Command::Drain));
        assert_eq!(told.take(), ["draining"]);
        told.now_ms += DRAIN_MS.min(9_000);
        told.step(Input::Command(Command::Deregister));
        told.wake("m1");
        told.end(CallResult::Gone);
        assert_eq!(told.take(), ["deregistered"]);
    }

    #[test]
    fn a_breaker_is_told_of_when_it_opens_and_closes_and_not_while_it_probes() {
        let mut circuit = Circuit::default();
        let mut names = Vec::new();
        let mut now_ms = 0;
        let mut act = |act: &dyn Fn(&mut Circuit, u64)| {
            now_ms += 3_600_000;
            let before = circuit.view(now_ms);
            act(&mut circuit, now_ms);
            names.extend(breaker_change(&before, &circuit.view(now_ms)));
        };
        act(&|circuit, now_ms| _ = circuit.hear(Word::Tripped, now_ms, 0));
        act(&|circuit, now_ms| _ = circuit.hear(Word::Ask, now_ms, 0));
        act(&|circuit, _| circuit.hold(Some(Hold::Closed)));
        act(&|circuit, _| circuit.hold(Some(Hold::Closed)));
        act(&|circuit, _| circuit.hold(None));
        let breaker = |open, forced| Change::Breaker { open, forced };
        assert_eq!(
            names,
            [breaker(true, false), breaker(false, true), breaker(false, false)]
        );
    }
}
