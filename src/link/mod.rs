//! The link to an orchestrator: registration and lease, as a state machine.
//!
//! [`step`] takes what happened and the time, and answers the new state and what to do next; `edge` does it in the
//! orchestrator's Link object and feeds the result back. [`view`] says how the link stands at a moment, whether or
//! not an alarm rang before it. [`changes`] says what is worth telling of a step. Nothing here waits, reads a clock or draws a number.

mod change;
mod known;
mod machine;
mod order;
#[cfg(test)]
mod tests;
mod view;

use serde::{Deserialize, Serialize};

pub use change::{Change, LINK_OUTBOX, breaker_change, changes};
pub use known::{KnownLease, known_lease};
pub use machine::{step, wake_at};
pub use order::{LinkReport, Order, Received};
pub use view::{LinkState, LinkView, view};

/// The first wait after a failure, in milliseconds. It doubles with each further one.
pub const BACKOFF_MIN_MS: u64 = 500;
/// The longest wait after a failure, in milliseconds.
pub const BACKOFF_MAX_MS: u64 = 60_000;
/// How long a refused link waits before it tries again: an operator has to change a key first. In milliseconds.
pub const REFUSED_RETRY_MS: u64 = 300_000;
/// A call to the orchestrator that has not answered by then is given up, in milliseconds.
pub const CALL_TIMEOUT_MS: u64 = 15_000;
/// A shorter lease is no success: it could not be kept. In milliseconds.
pub const LEASE_MIN_MS: u64 = 1_000;
/// How long a link drains before it deregisters: steps under way come to their end meanwhile. In milliseconds.
pub const DRAIN_MS: u64 = 30_000;

/// Where the link stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Link {
    /// What holds between calls.
    pub standing: Standing,
    /// What the operator wants of it.
    #[serde(default)]
    pub intent: Intent,
    /// The call that is under way.
    pub calling: Option<Calling>,
    /// How many calls were made: the number of the last one.
    #[serde(default)]
    pub calls: u64,
    /// The generation of the last lease; 0 before the first.
    #[serde(default)]
    pub generation: u64,
    /// The key that the orchestrator asks the gateway to sign with, if it asked for one.
    #[serde(default)]
    pub signing_keyid: Option<String>,
    /// Failures since the last success.
    pub failures: u32,
    /// When to act next, in Unix milliseconds. Without meaning while deregistered.
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
        /// When the lease ends, by our clock and counted from when it was asked for, in Unix milliseconds.
        lease_expires_at_ms: u64,
    },
    /// The orchestrator refuses our key: an operator must act.
    Refused,
    /// By the operator: stays so until [`Command::Register`].
    Deregistered,
}

/// What the operator wants of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "want", rename_all = "snake_case")]
pub enum Intent {
    /// To be registered.
    #[default]
    Serve,
    /// To take no new steps, and to deregister at this time, in Unix milliseconds.
    Drain {
        /// When.
        until_ms: u64,
    },
    /// To end the registration now.
    Deregister,
}

/// What an operator may tell the link. Each is safe to repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Register, or stop draining; a refused link tries again at once.
    Register,
    /// Take no new steps, and deregister after [`DRAIN_MS`].
    Drain,
    /// Deregister at once.
    Deregister,
}

/// A call under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calling {
    /// Tells its result from that of an earlier call.
    pub number: u64,
    /// When it was sent, in Unix milliseconds.
    pub since_ms: u64,
    /// The call.
    pub call: Call,
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
        /// Digest of the manifest that is registered.
        manifest_digest: String,
        /// Whether to say that the gateway drains.
        draining: bool,
    },
    /// `DELETE /gateways/{registration}`
    Deregister {
        /// Which registration.
        registration: String,
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
    /// How long the lease lasts, in milliseconds from when it was asked for.
    pub lease_ms: u64,
    /// When to renew, in milliseconds from when it was asked for.
    pub renew_after_ms: u64,
    /// The id of the key that the gateway is to sign with from now on; it chooses by itself where there is none.
    #[serde(default)]
    pub signing_keyid: Option<String>,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallResult {
    /// The lease was granted or renewed.
    Granted(Lease),
    /// 204, 404 or 410 to a deregistration: there is no such registration any more.
    Gone,
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
    /// An alarm or a request: look whether something is due.
    Wake {
        /// Digest of the manifest as it is now.
        manifest_digest: String,
    },
    /// The operator's word. What it makes due is performed by an [`Input::Wake`] after it.
    Command(Command),
    /// A call ended.
    Ended {
        /// Its [`Calling::number`].
        number: u64,
        /// How.
        result: CallResult,
    },
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Make this call, and feed its end back.
    Call(Calling),
    /// Wake the link at this time, in Unix milliseconds. Replaces an earlier alarm.
    WakeAt(u64),
    /// Nothing is to come: no alarm is needed.
    Sleep,
    /// Tell the operator.
    Alarm(String),
}
