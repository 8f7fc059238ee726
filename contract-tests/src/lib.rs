//! The harness of the contract tests: the gateway on real workerd, a real reference orchestrator, and clients that
//! send exactly the bytes that a test wants to send.
//!
//! The tests are black-box: they see HTTP, the log, and processes that can be killed. What signs and verifies here is
//! an implementation of its own that only joins text ([`signing`], [`answer`]), so that a fault in `baton::signature`
//! cannot cancel itself out. The environment comes from `cargo xtask test` ([`environment`]).

pub mod answer;
pub mod collector;
pub mod command_line;
pub mod environment;
pub mod event_stream;
pub mod folder;
pub mod gateway;
pub mod http1;
pub mod keys;
pub mod mac;
pub mod message;
pub mod model_server;
pub mod orchestrator;
pub mod outside;
pub mod ports;
pub mod process;
pub mod queue;
pub mod receiver;
pub mod schemas;
pub mod server;
pub mod signing;
