//! The link to an orchestrator: registration and lease, as a state machine.
//!
//! [`step`] takes what happened and the time, and answers the new state and what to do next; `edge` does it in the
//! orchestrator's Link object and feeds the result back. Nothing here waits, reads a clock or draws a number.

use serde::{Deserialize, Serialize};

use crate::backoff::backoff_ms;

/// The first wait after a failure, in milliseconds. It doubles with each further one.
pub const BACKOFF_MIN_MS: u64 = 500;
/// The longest wait after a failure, in milliseconds.
pub const BACKOFF_MAX_MS: u64 = 60_000;
/// How long a refused link waits before it tries again: an operator has to change a key first. In milliseconds.
pub const REFUSED_RETRY_MS: u64 = 300_000;
/// A call to the orchestrator that has not answered by then is given up, in milliseconds.
pub const CALL_TIMEOUT_MS: u64 = 15_000;
/// A lease is never taken to be shorter than this, in milliseconds.
pub const LEASE_MIN_MS: u64 = 1_000;

/// Where the link stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Link {
    /// What holds between calls.
    pub standing: Standing,
    /// The call that is under way, and since when (Unix milliseconds).
    pub calling: Option<(Call, u64)>,
    /// Failures since the last success.
    pub failures: u32,
    /// When to act next, in Unix milliseconds.
    pub next_at_ms: u64,
    /// Why the last call failed.
    pub last_error: Option<String>,
}

/// What holds between calls.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Standing {
    /// No lease.
    #[default]
    Unregistered,
    /// A lease, as long as it lasts.
    Registered {
        /// The orchestrator's id for this registration.
        registration: String,
        /// Its fencing number.
        generation: u64,
        /// The manifest that was registered.
        manifest_digest: String,
        /// When the lease ends, by our clock, in Unix milliseconds.
        lease_expires_at_ms: u64,
    },
    /// The orchestrator refuses our key: an operator must act.
    Refused,
}

/// A call to the orchestrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// `POST /gateways`
    Register {
        /// Digest of the manifest to register.
        manifest_digest: String,
    },
    /// `PUT /gateways/{registration}/lease`
    Renew {
        /// Which registration.
        registration: String,
        /// Its fencing number.
        generation: u64,
        /// Digest of the manifest as it is now.
        manifest_digest: String,
    },
}

/// What the orchestrator grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The registration's id; always there in the answer to a registration.
    #[serde(default)]
    pub registration: Option<String>,
    /// The fencing number.
    pub generation: u64,
    /// How long the lease lasts, in milliseconds from now.
    pub lease_ms: u64,
    /// When to renew, in milliseconds from now.
    pub renew_after_ms: u64,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallResult {
    /// The lease was granted or renewed.
    Granted(Lease),
    /// 404, 409 or 410 to a renewal: register anew.
    Forgotten(String),
    /// 401 or 403: our key is refused.
    Refused(String),
    /// Anything else: the orchestrator is sick or out of reach.
    Failed(String),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An alarm, a request or a command: look whether something is due.
    Wake {
        /// Digest of the manifest as it is now.
        manifest_digest: String,
    },
    /// The call under way ended.
    Ended(CallResult),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Make this call, and feed its end back.
    Call(Call),
    /// Wake the link at this time, in Unix milliseconds. Replaces an earlier alarm.
    WakeAt(u64),
    /// Tell the operator.
    Alarm(String),
}

/// Takes the link one step on. `random` is any number, for jitter.
#[must_use]
pub fn step(mut link: Link, input: Input, now_ms: u64, random: u32) -> (Link, Vec<Output>) {
    match input {
        Input::Wake { manifest_digest } => {
            let stale = link
                .calling
                .as_ref()
                .is_some_and(|(_, since_ms)| since_ms + 2 * CALL_TIMEOUT_MS <= now_ms);
            if stale {
                // The object died during the call: whether it arrived is unknown, so make it again.
                link.calling = None;
            }
            wake(link, manifest_digest, now_ms)
        }
        Input::Ended(result) => ended(link, result, now_ms, random),
    }
}

fn wake(mut link: Link, manifest_digest: String, now_ms: u64) -> (Link, Vec<Output>) {
    if let Some((_, since_ms)) = &link.calling {
        let wake_at_ms = since_ms + 2 * CALL_TIMEOUT_MS;
        return (link, vec![Output::WakeAt(wake_at_ms)]);
    }
    let mut outputs = Vec::new();
    let lapsed =
        matches!(&link.standing, Standing::Registered { lease_expires_at_ms, .. } if *lease_expires_at_ms <= now_ms);
    let changed = matches!(&link.standing, Standing::Registered { manifest_digest: registered, .. } if *registered != manifest_digest);
    if lapsed {
        outputs.push(Output::Alarm("the lease has ended: the gateway registers anew".into()));
        link.standing = Standing::Unregistered;
    }
    let due = lapsed || changed || now_ms >= link.next_at_ms;
    if !due {
        outputs.push(Output::WakeAt(link.next_at_ms));
        return (link, outputs);
    }
    let call = match &link.standing {
        Standing::Registered {
            registration,
            generation,
            ..
        } if !changed => Call::Renew {
            registration: registration.clone(),
            generation: *generation,
            manifest_digest,
        },
        _ => Call::Register { manifest_digest },
    };
    link.calling = Some((call.clone(), now_ms));
    // Should the object die during the call, the alarm brings it back.
    outputs.push(Output::WakeAt(now_ms + 2 * CALL_TIMEOUT_MS));
    outputs.push(Output::Call(call));
    (link, outputs)
}

fn ended(mut link: Link, result: CallResult, now_ms: u64, random: u32) -> (Link, Vec<Output>) {
    let Some((call, _)) = link.calling.take() else {
        return (link, Vec::new());
    };
    let mut outputs = Vec::new();
    match result {
        CallResult::Granted(lease) => granted(&mut link, call, lease, now_ms),
        CallResult::Forgotten(why) => {
            link.standing = Standing::Unregistered;
            link.last_error = Some(why);
            link.failures += 1;
            // The first time at once; an orchestrator that keeps forgetting is given time.
            let wait_ms = if link.failures == 1 {
                0
            } else {
                backoff_ms(BACKOFF_MIN_MS, BACKOFF_MAX_MS, link.failures, random)
            };
            link.next_at_ms = now_ms + wait_ms;
        }
        CallResult::Refused(why) => {
            outputs.push(Output::Alarm(format!(
                "the orchestrator refuses the gateway's key: {why}"
            )));
            link.standing = Standing::Refused;
            link.last_error = Some(why);
            link.failures += 1;
            link.next_at_ms = now_ms + REFUSED_RETRY_MS;
        }
        CallResult::Failed(why) => {
            // A sick orchestrator takes no lease away: it lasts until it ends.
            link.last_error = Some(why);
            link.failures += 1;
            link.next_at_ms = now_ms + backoff_ms(BACKOFF_MIN_MS, BACKOFF_MAX_MS, link.failures, random);
        }
    }
    outputs.push(Output::WakeAt(link.next_at_ms));
    (link, outputs)
}

fn granted(link: &mut Link, call: Call, lease: Lease, now_ms: u64) {
    let (registration, manifest_digest) = match call {
        Call::Register { manifest_digest } => (lease.registration.unwrap_or_default(), manifest_digest),
        Call::Renew {
            registration,
            manifest_digest,
            ..
        } => (registration, manifest_digest),
    };
    let lease_ms = lease.lease_ms.max(LEASE_MIN_MS);
    link.standing = Standing::Registered {
        registration,
        generation: lease.generation,
        manifest_digest,
        lease_expires_at_ms: now_ms + lease_ms,
    };
    link.failures = 0;
    link.last_error = None;
    // Never later than half the lease: one lost renewal must not end it.
    link.next_at_ms = now_ms + lease.renew_after_ms.min(lease_ms / 2);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wake_with(link: Link, digest: &str, now_ms: u64) -> (Link, Vec<Output>) {
        step(
            link,
            Input::Wake {
                manifest_digest: digest.into(),
            },
            now_ms,
            0,
        )
    }

    fn end(link: Link, result: CallResult, now_ms: u64) -> (Link, Vec<Output>) {
        step(link, Input::Ended(result), now_ms, 0)
    }

    fn lease() -> Lease {
        Lease {
            registration: Some("r1".into()),
            generation: 1,
            lease_ms: 60_000,
            renew_after_ms: 20_000,
        }
    }

    fn registered() -> Link {
        let (link, outputs) = wake_with(Link::default(), "d1", 0);
        assert!(matches!(outputs.last(), Some(Output::Call(Call::Register { .. }))));
        end(link, CallResult::Granted(lease()), 0).0
    }

    fn call(outputs: &[Output]) -> Option<&Call> {
        outputs.iter().find_map(|output| match output {
            Output::Call(call) => Some(call),
            _ => None,
        })
    }

    #[test]
    fn registers_then_renews_when_due() {
        let link = registered();
        let (link, outputs) = wake_with(link, "d1", 19_999);
        assert_eq!(outputs, [Output::WakeAt(20_000)]);
        let (link, outputs) = wake_with(link, "d1", 20_000);
        assert!(matches!(call(&outputs), Some(Call::Renew { generation: 1, .. })));
        let (link, outputs) = end(link, CallResult::Granted(lease()), 20_010);
        assert_eq!(outputs, [Output::WakeAt(40_010)]);
        assert!(matches!(
            link.standing,
            Standing::Registered {
                lease_expires_at_ms: 80_010,
                ..
            }
        ));
    }

    #[test]
    fn one_call_at_a_time() {
        let (link, _) = wake_with(Link::default(), "d1", 0);
        let (link, outputs) = wake_with(link, "d1", 10);
        assert_eq!(call(&outputs), None);
        // The object died during the call: the alarm makes it again.
        let (_, outputs) = wake_with(link, "d1", 2 * CALL_TIMEOUT_MS);
        assert!(matches!(call(&outputs), Some(Call::Register { .. })));
    }

    #[test]
    fn forgotten_registers_at_once_and_then_backs_off() {
        let (link, _) = wake_with(registered(), "d1", 20_000);
        let (link, outputs) = end(link, CallResult::Forgotten("404".into()), 20_000);
        assert_eq!(outputs, [Output::WakeAt(20_000)]);
        let (link, outputs) = wake_with(link, "d1", 20_000);
        assert!(matches!(call(&outputs), Some(Call::Register { .. })));
        let (_, outputs) = end(link, CallResult::Forgotten("404".into()), 20_000);
        assert_eq!(outputs, [Output::WakeAt(20_500)]);
    }

    #[test]
    fn a_changed_manifest_registers_anew() {
        let (_, outputs) = wake_with(registered(), "d2", 1_000);
        assert_eq!(
            call(&outputs),
            Some(&Call::Register {
                manifest_digest: "d2".into()
            })
        );
    }

    #[test]
    fn a_sick_orchestrator_takes_no_lease_away_before_it_ends() {
        let (link, _) = wake_with(registered(), "d1", 20_000);
        let (link, _) = end(link, CallResult::Failed("503".into()), 20_000);
        assert!(matches!(link.standing, Standing::Registered { .. }));
        let (link, outputs) = wake_with(link, "d1", 60_000);
        assert!(outputs.iter().any(|output| matches!(output, Output::Alarm(_))));
        assert_eq!(link.standing, Standing::Unregistered);
        assert!(matches!(call(&outputs), Some(Call::Register { .. })));
    }

    #[test]
    fn a_refused_key_raises_an_alarm_and_waits() {
        let (link, _) = wake_with(Link::default(), "d1", 0);
        let (link, outputs) = end(link, CallResult::Refused("401".into()), 0);
        assert!(outputs.iter().any(|output| matches!(output, Output::Alarm(_))));
        assert_eq!(call(&wake_with(link.clone(), "d1", REFUSED_RETRY_MS - 1).1), None);
        assert!(call(&wake_with(link, "d1", REFUSED_RETRY_MS).1).is_some());
    }

    #[test]
    fn an_answer_that_nobody_waits_for_changes_nothing() {
        let link = registered();
        assert_eq!(
            end(link.clone(), CallResult::Refused("401".into()), 5),
            (link, Vec::new())
        );
    }
}
