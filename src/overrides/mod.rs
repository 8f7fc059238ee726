//! Live configuration: what an operator changes of agents while the gateway runs, without a deployment.
//!
//! In scope: what an override may change and whether it holds ([`adjust`]), one version of all overrides and how it is
//! written down ([`snapshot`]), the order of the versions ([`versions`]), and what an isolate knows of them ([`catalog`]).
//! All of it is pure. One Durable Object gives the versions their numbers and is the truth; KV holds a copy of the current
//! one, which every isolate reads. Out of scope: adding agents, and changing what their callers rely on, such as schemas:
//! that is a deployment.

pub mod adjust;
pub mod catalog;
pub mod snapshot;
pub mod versions;

pub use adjust::{Ignored, overridden};
pub use catalog::{Catalog, InForce};
pub use snapshot::{Change, Overrides, Snapshot};
pub use versions::{Proposal, Proposed, Version};

/// The overrides of one version have at most this many bytes together, as canonical JSON.
pub const OVERRIDES_MAX_BYTES: usize = 1_000_000;
/// So many versions are kept; the oldest go.
pub const VERSIONS_MAX: usize = 100;
/// The key under which KV has the copy of the current version.
pub const CURRENT_KEY: &str = "overrides/current";
