//! The contract tests, by topic. What they stand on is `contract-tests/src`.
//!
//! One binary, so that its tests share one gateway wherever they need none of their own.

mod agents;
mod alerts;
mod api_keys;
mod cli;
mod configuration;
mod cron;
mod deploy;
mod direct;
mod documents;
mod links;
mod log;
mod notifications;
mod overrides;
mod overrides_copy;
mod page;
mod registration;
mod restarts;
mod rotation;
mod runs;
mod sessions;
mod signatures;
mod snippets;
mod steps;
mod support;
mod surface;
mod telemetry;
mod tutorial;
