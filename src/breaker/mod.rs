//! The circuit breaker before an orchestrator: who does not answer is not asked again for a while.
//!
//! Three parts. A [`Circuit`] says who may call: the one that counts is kept by the orchestrator's Link object, for all
//! isolates, and the operator may hold it open or closed. A [`Breaker`] is an isolate's own: it counts how calls end,
//! and has a copy of the circuit, so that most calls ask nobody. [`guard`] puts a call behind both.
//!
//! Agents' calls of APIs are behind a breaker of their isolate alone: [`Breaker::permit`] and [`Breaker::report`].
//!
//! Circuit and breaker are state machines without a clock: time and jitter are arguments.

mod circuit;
mod guard;
mod isolate;

pub use circuit::{BreakerState, BreakerView, Circuit, Hold, Permit, Verdict, Word};
pub use guard::guard;
pub use isolate::{Breaker, Plan};

/// Calls are counted over this time, in milliseconds.
pub const WINDOW_MS: u64 = 30_000;
/// With fewer calls than this in the window nothing is concluded from their ratio.
pub const SAMPLES_MIN: usize = 5;
/// At most this many calls are remembered; the oldest go first.
pub const SAMPLES_MAX: usize = 200;
/// The breaker trips when at least so many of a hundred calls failed.
pub const FAILED_PERCENT_MAX: usize = 50;
/// The breaker trips when at least so many of a hundred calls failed or were slow.
pub const SLOW_PERCENT_MAX: usize = 80;
/// A call is slow when it took more than this part of its budget, in a hundred.
pub const SLOW_BUDGET_PERCENT: u64 = 75;
/// How long the circuit is open after the first trip, in milliseconds, before jitter. It doubles with each probe that
/// fails.
pub const OPEN_MS: u64 = 2_000;
/// The longest that it is open, in milliseconds.
pub const OPEN_MAX_MS: u64 = 60_000;
/// A probe of which nothing was heard for so long is taken for lost, in milliseconds.
pub const PROBE_MAX_MS: u64 = 30_000;
/// For so long an isolate goes by what it heard of the shared circuit last, in milliseconds.
pub const FRESH_MS: u64 = 1_000;
/// What an isolate heard longer ago than this is worth nothing: a call asks before it goes. In milliseconds.
pub const STALE_MS: u64 = 10_000;
/// How long a call waits for the Link object, in milliseconds. Without its word the isolate goes by itself.
pub const TELL_MAX_MS: u64 = 250;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// With an answer, whatever it says.
    Answered,
    /// With an answer that took longer than it may: see [`SLOW_BUDGET_PERCENT`].
    Slow,
    /// Without a usable answer.
    Failed,
    /// It says nothing of the other side: nobody waited for the end, or it was refused for a reason of ours.
    Unknown,
}

#[cfg(test)]
mod tests;
