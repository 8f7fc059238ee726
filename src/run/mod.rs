//! The run: what happened to each of its steps, kept so that each has one effect.
//!
//! [`ledger`] decides, over a [`storage::Storage`] that the run's Durable Object provides. The messages
//! between the Worker and that object are the types of [`message`].

pub mod ledger;
pub mod message;
pub mod storage;

pub use message::{Claim, ClaimRequest, Commit, CommitRequest, RunName, StoredAnswer};
