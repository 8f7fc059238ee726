//! Signatures: the profile of RFC 9421 by which every call is signed, both ways.
//!
//! `docs/protocol.md` states the profile. [`verify`] is the only way to a [`Verified`], and nothing of
//! a signed body is parsed without one.

pub mod base;
pub mod digest;
pub mod keys;
pub mod mac;
pub mod origins;
pub mod path;
pub mod profile;
mod rejection;
mod request;
mod response;
pub mod structured;
mod verify;
pub mod webhook;

#[cfg(test)]
mod tests;

pub use base::RequestView;
pub use keys::{KeyRecord, Keyring, Purpose};
pub use origins::Origins;
pub use rejection::Rejection;
pub use request::{Sent, Stamp, sign_request};
pub use response::{Binding, IDEMPOTENCY_REPLAYED, sign_response, verify_response};
pub use verify::{Policy, Verified, check_envelope, verify};
