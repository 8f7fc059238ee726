//! Telemetry by way of a queue: events of many runs, gathered into few requests.
//!
//! A run hands its events over in one [`Message`], which names the destinations that lack them. A consumer takes many
//! messages at once, of whatever runs, and makes of them one [`Shipment`] for each [`Place`]: one request, or few. What a
//! place did not take goes back into the queue, as new messages that name this place alone; so what has arrived at one
//! destination is never sent to it again because another one is down.
//!
//! | part | holds |
//! |---|---|
//! | [`message`] | what is in the queue, and its limits |
//! | [`shipment`] | the events for one place: sent, divided, given up or kept |
//! | [`standing`] | what a consumer remembers of places that do not take what they are sent |
//! | [`settling`] | what becomes of a batch when all of its shipments have ended |
//!
//! A queue delivers at least once, in any order. Everything here is safe to repeat: rows have ids, and so have spans.

pub mod message;
pub mod settling;
pub mod shipment;
pub mod standing;

pub use self::message::{Entry, Message, hand_over, pack};
pub use self::settling::{Again, Settled, settle, unsettled};
pub use self::shipment::{Place, Shipment, dropped, shipments};
pub use self::standing::Standings;

use super::settings::TIMEOUT_DEFAULT_MS;
use crate::run::outbox::{Destination, QUEUE};

/// The queue, as the one destination of a run that hands its events over to it.
pub const DESTINATION: Destination = Destination {
    name: QUEUE,
    timeout_ms: TIMEOUT_DEFAULT_MS,
};

/// How long until a message that could not be dealt with is delivered again, in seconds: the gateway is misconfigured, the
/// message is of another version, or the queue takes nothing back.
pub const REDELIVERED_AFTER_S: u32 = 5 * 60;

#[cfg(test)]
mod tests;
