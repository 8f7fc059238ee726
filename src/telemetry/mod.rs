//! What a run tells of itself: events, and what becomes of them.
//!
//! | part | holds |
//! |---|---|
//! | [`trace_context`] | where a step is in its trace |
//! | [`event`] | what happened, as the run's outbox keeps it |
//! | [`export`] | the request that takes events to a destination |
//! | [`names`] | every attribute's and metric's name, and the version of the conventions |
//! | [`span`] | the spans that an event is told as |
//! | [`sampling`] | which of them are told |
//! | [`metric`] | the metrics that events are told as |
//! | [`log`] | the log record that an event is told as |
//! | [`prometheus`] | what a Prometheus that scrapes the gateway is told |
//! | [`otlp`] | the two encodings of all three, and what a receiver's answer means |
//! | [`queue`] | the way through a queue, which gathers the events of many runs |
//! | [`settings`] | where they go, by the standard variables |
//! | [`history`] | the rows that an event is kept as, and the questions that they answer |

pub mod event;
pub mod export;
pub mod history;
pub mod log;
pub mod metric;
pub mod names;
pub mod operation;
pub mod otlp;
pub mod prometheus;
pub mod queue;
pub mod sampling;
pub mod settings;
pub mod span;
pub mod trace_context;
