//! The run: what happened to each of its steps, its state, and what it still has to tell.
//!
//! A run is a state machine over rows in the storage of its Durable Object. It is asked [`Question`]s by Workers, each of
//! which is one transaction; and it has [`work`] of its own, which the object's alarm performs. Time, randomness and who
//! asks are arguments.
//!
//! | part | holds |
//! |---|---|
//! | [`ledger`] | who may execute an attempt, and which answer counts |
//! | [`attempt`] | the attempts' rows, and their end |
//! | [`child`] | the calls of a workflow |
//! | [`state`] | the state's versions |
//! | [`handoff`] | to whom the run was handed |
//! | [`fence`] | which lease of its orchestrator a call may belong to |
//! | [`events`] | what an execution tells while it lasts |
//! | [`delivery`] | callbacks and notices on their way |
//! | [`listening`] | what is told of steps in a Worker, while a customer listens |
//! | [`conversing`] | to which conversation of a customer the run belongs |
//! | [`coordination`] | who coordinates the run: its orchestrator, another one, or the gateway |
//! | [`settlement`] | what the gateway coordinated in an orchestrator's place, on its way to it |
//! | [`outbox`] | events on their way: telemetry and history |
//! | [`status`] | what is told to whoever asks |
//! | [`record`] | the run's own row, its retention and its end |

pub mod attempt;
pub mod call;
pub mod child;
pub mod conversing;
pub mod coordination;
pub mod delivery;
pub mod events;
pub mod fence;
pub mod handoff;
pub mod ledger;
pub mod listening;
mod nonce;
mod notification;
pub mod outbox;
pub mod outbox_report;
pub mod outcome;
pub mod question;
pub mod record;
pub mod settlement;
pub mod state;
pub mod status;
pub mod storage;
mod telling;
#[cfg(test)]
mod testing;
mod timers;
pub mod transaction;
pub mod work;

pub use attempt::StoredAnswer;
pub use nonce::Nonce;
pub use question::{Admit, Asked, Moment, Question, RunName, Told, ask};
pub use record::{RUN_ID_MAX_BYTES, Use};
pub use timers::next_at_ms;
