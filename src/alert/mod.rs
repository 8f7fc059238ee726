//! Alerts: what the gateway declares to watch, looked at by the cron trigger.
//!
//! [`state`] is the machine of one alert: pure, and all that is kept of it. [`measure`] asks how things stand, [`notice`]
//! says it to people. [`look`] puts them together over the [`Platform`](crate::platform::Platform): what is decided is kept
//! before it is acted on, under a version, so that of two cron triggers at once one decides and the other sees it.

mod look;
mod measure;
mod notice;
pub mod sql;
mod state;
#[cfg(test)]
mod tests;

pub use self::look::{CHANGES_MAX, TELL_FOR_MS, look};
pub use self::state::{
    AlertState, GIVE_UP_MS, Kept, Observation, Outgoing, Phase, RETRY_FIRST_MS, RETRY_MAX_MS, Say, Timing, WAITING_MAX,
};
