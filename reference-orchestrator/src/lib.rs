//! The reference orchestrator: a small, real counterpart of a Baton gateway.
//!
//! It keeps registrations with leases, proves a gateway's origin before it believes it, invokes signed steps, believes
//! signed answers only, and survives being killed. In scope: Baton's own protocol, in development and in the contract
//! tests. Out of scope: planning what to run, users, more than one process on one database.
//!
//! The logic blocks (SQLite, HTTP calls) and runs on blocking threads; [`server`] alone is asynchronous.

pub mod behaviour;
pub mod callbacks;
pub mod client;
pub mod decide;
pub mod drive;
pub mod error;
pub mod handed;
pub mod invoke;
pub mod json;
pub mod kept;
pub mod lapses;
pub mod log;
pub mod model;
pub mod outside;
pub mod page;
pub mod registration;
pub mod runs;
pub mod server;
pub mod settlements;
pub mod signed;
pub mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::time::Duration;

use baton::signature::{KeyRecord, Keyring, Origins, Purpose};

/// How long a lease runs where nothing else is configured, in milliseconds.
pub const LEASE_DEFAULT_MS: u64 = 60_000;
/// The shortest lease, in milliseconds.
pub const LEASE_MIN_MS: u64 = 1_000;
/// The longest lease, in milliseconds: a day.
pub const LEASE_MAX_MS: u64 = 24 * 60 * 60 * 1_000;

/// All that a request needs.
#[derive(Debug)]
pub struct Orchestrator {
    /// The id by which key records name this orchestrator.
    pub id: String,
    /// Where it is reached: signed requests must be addressed to it.
    pub origins: Origins,
    /// Its keys.
    pub keyring: Keyring,
    /// How long a lease runs, in milliseconds.
    pub lease_ms: u64,
    /// A gateway answers the challenge, and serves its manifest, within this time each.
    pub proof_max: Duration,
    /// A step that waits for its callback is asked for after this time, in milliseconds.
    pub poll_first_ms: u64,
    /// For tests: this many callbacks are still to be refused.
    pub callbacks_to_refuse: AtomicU32,
    /// For tests: how it misbehaves.
    pub behaviour: behaviour::Told,
    /// Its database.
    pub store: store::Store,
    /// Its way to gateways.
    pub client: client::Client,
    /// Its log.
    pub log: log::Log,
    /// How many runs are under way.
    pub runs_under_way: Arc<AtomicUsize>,
    /// Whether the process stops.
    pub stop: outside::Stop,
}

impl Orchestrator {
    /// The key that invocations and challenges are signed with now.
    #[must_use]
    pub fn invoke_key(&self, now_ms: u64) -> Option<&KeyRecord> {
        self.keyring.signing_key(&self.id, Purpose::Invoke, now_ms / 1_000)
    }
}
