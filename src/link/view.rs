//! How a link stands at a moment, for people and for routing.

use serde::{Deserialize, Serialize};

use super::machine::wake_at;
use super::{Call, Intent, Link, Standing};

/// A link's state in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// No lease, and none asked for at this moment.
    Unregistered,
    /// No lease yet; the orchestrator is being asked for one.
    Registering,
    /// A lease.
    Registered,
    /// A lease, but the last call failed.
    Degraded,
    /// A lease; the orchestrator sends no new steps.
    Draining,
    /// Ended by the operator.
    Deregistered,
    /// The orchestrator refuses the gateway's key.
    Refused,
}

/// How a link stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkView {
    /// In a word.
    pub state: LinkState,
    /// The registration's id, while its lease lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<String>,
    /// Its fencing number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// How long the lease still lasts, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_left_ms: Option<u64>,
    /// When the link acts next, in milliseconds; nothing while deregistered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_in_ms: Option<u64>,
    /// Failures since the last success.
    pub failures: u32,
    /// Why the last call failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// How the link stands at `now_ms`. A lease that is over counts no more, even if no alarm rang.
#[must_use]
pub fn view(link: &Link, now_ms: u64) -> LinkView {
    let calling = link.calling.as_ref().map(|calling| &calling.call);
    let lease = match &link.standing {
        Standing::Registered {
            registration,
            generation,
            lease_expires_at_ms,
            ..
        } if now_ms < *lease_expires_at_ms => Some((registration, *generation, lease_expires_at_ms - now_ms)),
        _ => None,
    };
    let state = match &link.standing {
        Standing::Registered { .. } if lease.is_some() => match link.intent {
            Intent::Serve if link.failures == 0 => LinkState::Registered,
            Intent::Serve => LinkState::Degraded,
            Intent::Drain { .. } | Intent::Deregister => LinkState::Draining,
        },
        Standing::Deregistered => LinkState::Deregistered,
        _ if matches!(calling, Some(Call::Register { .. })) => LinkState::Registering,
        Standing::Refused => LinkState::Refused,
        Standing::Registered { .. } | Standing::Unregistered => LinkState::Unregistered,
    };
    LinkView {
        state,
        registration: lease.map(|(registration, ..)| registration.clone()),
        generation: lease.map(|(_, generation, _)| generation),
        lease_left_ms: lease.map(|(.., left_ms)| left_ms),
        next_in_ms: wake_at(link).map(|at_ms| at_ms.saturating_sub(now_ms)),
        failures: link.failures,
        last_error: link.last_error.clone(),
    }
}
