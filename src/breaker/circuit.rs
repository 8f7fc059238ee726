//! Who may call: closed, open, half-open, or held by the operator.

use serde::{Deserialize, Serialize};

use super::{End, OPEN_MAX_MS, OPEN_MS, PROBE_MAX_MS};
use crate::backoff::backoff_ms;

/// A circuit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circuit {
    state: State,
    held: Option<Hold>,
    /// How many probes were permitted: the number of the last one.
    probes: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum State {
    #[default]
    Closed,
    Open {
        until_ms: u64,
        trips: u32,
    },
    HalfOpen {
        since_ms: u64,
        trips: u32,
    },
}

/// How the operator holds a circuit, whatever calls come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// No call passes.
    Open,
    /// Every call passes.
    Closed,
}

/// What an isolate says to the circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Nothing: it wants to know how the circuit stands.
    Look,
    /// It has a call, which may be the probe.
    Ask,
    /// Too many of its calls failed, or were slow.
    Tripped,
    /// The probe ended.
    Probed {
        /// Which one.
        probe: u64,
        /// How.
        end: End,
    },
}

/// What a call may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permit {
    /// Go on. How it ended is to be reported.
    Pass,
    /// Go on, as the only one: its end decides what the circuit does next. The number is the probe's.
    Probe(u64),
    /// Do not call.
    Reject,
}

/// What the shared circuit answers to an isolate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// How it stands.
    pub circuit: Circuit,
    /// What the call may do that asked.
    pub permit: Permit,
}

/// A circuit's state in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// Calls do not pass.
    Open,
    /// One call passes, as a probe.
    HalfOpen,
}

/// How a circuit stands, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerView {
    /// In a word.
    pub state: BreakerState,
    /// Whether the operator holds it so.
    pub forced: bool,
    /// While it is open by itself: when a probe may pass, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_in_ms: Option<u64>,
}

impl Circuit {
    /// Takes an isolate's word, and answers what its call may do. Safe to repeat: what was heard before changes nothing,
    /// but a probe is permitted once. `random` is any number, for jitter.
    pub fn hear(&mut self, word: Word, now_ms: u64, random: u32) -> Permit {
        match (word, self.state) {
            (Word::Tripped, State::Closed) if self.held.is_none() => self.open(1, now_ms, random),
            (Word::Probed { probe, end }, State::HalfOpen { trips, .. }) if probe == self.probes => match end {
                End::Answered => self.state = State::Closed,
                End::Slow | End::Failed => self.open(trips.saturating_add(1), now_ms, random),
                // Open still, and the next call is the probe.
                End::Unknown => {
                    self.state = State::Open {
                        until_ms: now_ms,
                        trips,
                    };
                }
            },
            _ => {}
        }
        if self.passes() {
            Permit::Pass
        } else if word == Word::Ask && self.held.is_none() {
            self.probe(now_ms)
        } else {
            Permit::Reject
        }
    }

    /// Whether calls pass without being a probe.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self.held {
            Some(hold) => hold == Hold::Closed,
            None => self.state == State::Closed,
        }
    }

    /// Whether the ends of calls decide anything: nothing does while it is held.
    pub(super) fn counts(&self) -> bool {
        self.held.is_none() && self.state == State::Closed
    }

    /// The operator holds it, or lets it go. It is closed then, whatever calls came to before.
    pub fn hold(&mut self, hold: Option<Hold>) {
        self.held = hold;
        self.state = State::Closed;
    }

    /// How it stands, for people.
    #[must_use]
    pub fn view(&self, now_ms: u64) -> BreakerView {
        let (state, probe_in_ms) = match (self.held, self.state) {
            (Some(Hold::Open), _) => (BreakerState::Open, None),
            (Some(Hold::Closed), _) | (None, State::Closed) => (BreakerState::Closed, None),
            (None, State::Open { until_ms, .. }) => (BreakerState::Open, Some(until_ms.saturating_sub(now_ms))),
            (None, State::HalfOpen { .. }) => (BreakerState::HalfOpen, None),
        };
        BreakerView {
            state,
            forced: self.held.is_some(),
            probe_in_ms,
        }
    }

    fn probe(&mut self, now_ms: u64) -> Permit {
        let (due_at_ms, trips) = match self.state {
            State::Closed => return Permit::Pass,
            State::Open { until_ms, trips } => (until_ms, trips),
            // Its end was lost.
            State::HalfOpen { since_ms, trips } => (since_ms.saturating_add(PROBE_MAX_MS), trips),
        };
        if now_ms < due_at_ms {
            return Permit::Reject;
        }
        self.probes += 1;
        self.state = State::HalfOpen {
            since_ms: now_ms,
            trips,
        };
        Permit::Probe(self.probes)
    }

    fn open(&mut self, trips: u32, now_ms: u64, random: u32) {
        let wait_ms = backoff_ms(OPEN_MS, OPEN_MAX_MS, trips, random);
        self.state = State::Open {
            until_ms: now_ms.saturating_add(wait_ms),
            trips,
        };
    }
}
