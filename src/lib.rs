//! Baton: an edge gateway that puts a team of AI agents behind any orchestrator.
//!
//! In scope: the signed surface that orchestrators call, the agents behind it, the ledger that gives each step
//! one effect, and the link that keeps the gateway registered. Out of scope: planning work, which is an
//! orchestrator's, and hosting models, which is a provider's.
//!
//! One boundary runs through the crate: only [`edge`](../src/edge) names the `worker` crate, and it exists on wasm32 alone.
//! Everything else is the core: native, testable, and without a clock, randomness or an environment of its own.

pub mod access;
pub mod agent;
pub mod alert;
pub mod backoff;
pub mod breaker;
pub mod channel;
pub mod config;
pub mod connections;
pub mod conversation;
pub mod direct;

pub mod documents;
#[cfg(target_arch = "wasm32")]
mod edge;
pub mod gateway;
pub mod invocation;
pub mod json;
pub mod link;
pub mod manifest;
pub mod outgoing;
pub mod overrides;
pub mod platform;
pub mod problem;
pub mod routes;
pub mod routing;
pub mod run;
pub mod schema;
pub mod signature;
pub mod signed_call;
pub mod sse;
pub mod telemetry;
pub mod text;
pub mod time;
pub mod wire;
pub mod workflow;
