//! The machine of one alert: well, pending, firing; and what it still has to tell.

use serde::{Deserialize, Serialize};

use crate::backoff::backoff_ms;
use crate::channel::Notice;
use crate::run::delivery::{CALLBACK_TIMEOUT_MS, Sent};

/// So many notices of an alert wait at most; the oldest goes first, and is counted.
pub const WAITING_MAX: usize = 16;
/// A notice that no try could deliver is given up this long after it was made, in milliseconds: a day.
pub const GIVE_UP_MS: u64 = 24 * 60 * 60 * 1_000;
/// The first wait between two tries, in milliseconds. It doubles with each further one. The cron trigger looks every 5
/// minutes: what is due between two looks is sent at the next one.
pub const RETRY_FIRST_MS: u64 = 60_000;
/// The longest wait between two tries, and the longest that a receiver can ask for, in milliseconds.
pub const RETRY_MAX_MS: u64 = 60 * 60 * 1_000;

/// An alert's state, and the version under which it is kept: 0 before it was kept first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Kept {
    /// Grows with every write.
    pub version: u64,
    /// The state.
    pub state: AlertState,
}

/// What is kept of an alert.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AlertState {
    /// How it stands.
    pub phase: Phase,
    /// When it was looked at first, in Unix milliseconds.
    pub known_since_ms: u64,
    /// When it was looked at last, in Unix milliseconds.
    pub looked_at_ms: u64,
    /// What was measured last.
    pub value: Option<f64>,
    /// What was measured last, or why nothing could be, as a sentence.
    pub text: String,
    /// How often it began to fire.
    pub firings: u64,
    /// Notices on their way.
    pub waiting: Vec<Outgoing>,
    /// How many notices were given up, or dropped.
    pub lost: u64,
    /// Why the last try that failed did; nothing once every notice has arrived.
    pub last_error: Option<String>,
}

/// How an alert stands. Times are Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is wrong.
    #[default]
    Well,
    /// It is wrong, and not yet for long enough.
    Pending {
        /// Since when.
        since_ms: u64,
    },
    /// It is wrong, and was told.
    Firing {
        /// Since when it is wrong.
        since_ms: u64,
        /// When it was told last.
        told_at_ms: u64,
        /// Since when nothing is wrong any more, and not yet for long enough.
        well_since_ms: Option<u64>,
    },
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// It is wrong.
    Wrong,
    /// Nothing is wrong.
    Well,
    /// It could not be looked at: everything stays as it is.
    Unknown,
}

/// How long things take, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// It must be wrong for so long before it is told, and be well for so long before that is told.
    pub for_ms: u64,
    /// It is told once more after so long, while it lasts.
    pub repeat_after_ms: u64,
}

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// It began, at this time in Unix milliseconds.
    Firing(u64),
    /// It lasts, since this time.
    Repeated(u64),
    /// It is over; it began at this time.
    Resolved(u64),
}

/// A notice on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// What is told, and to whom.
    pub notice: Notice,
    /// How often it was tried.
    pub tries: u32,
    /// Not before this, in Unix milliseconds: while a try is under way, its end at the latest.
    pub not_before_ms: u64,
}

impl AlertState {
    /// Takes down what was seen. Answers what is to be told, if anything: it is told once, for an observation that is not
    /// younger than the last one changes nothing.
    pub fn observe(&mut self, observation: Observation, timing: Timing, now_ms: u64) -> Option<Say> {
        if self.looked_at_ms >= now_ms {
            return None;
        }
        self.looked_at_ms = now_ms;
        if self.known_since_ms == 0 {
            self.known_since_ms = now_ms;
        }
        let (phase, say) = next(self.phase, observation, timing, now_ms);
        self.phase = phase;
        if matches!(say, Some(Say::Firing(_))) {
            self.firings += 1;
        }
        say
    }

    /// Puts a notice on its way.
    pub fn tell(&mut self, notice: Notice) {
        if self.waiting.len() == WAITING_MAX {
            self.waiting.remove(0);
            self.lost += 1;
        }
        self.waiting.push(Outgoing {
            notice,
            tries: 0,
            not_before_ms: 0,
        });
    }

    /// Takes the next notice of each channel that is due, for a try. Should whoever makes it die, it is due again after a
    /// while. A channel's notices go in their order: behind one that waits, or is tried, none is due.
    pub fn take_due(&mut self, now_ms: u64) -> Vec<Outgoing> {
        let mut taken = Vec::new();
        let mut passed: Vec<String> = Vec::new();
        for outgoing in &mut self.waiting {
            let channel = &outgoing.notice.channel;
            if outgoing.not_before_ms <= now_ms && !passed.contains(channel) {
                outgoing.tries += 1;
                outgoing.not_before_ms = now_ms + 2 * CALLBACK_TIMEOUT_MS;
                taken.push(outgoing.clone());
            }
            passed.push(outgoing.notice.channel.clone());
        }
        taken
    }

    /// Takes down how a try ended. Answers what was given up, if it was.
    pub fn sent(&mut self, tried: &Outgoing, sent: &Sent, now_ms: u64, random: u32) -> Option<String> {
        let is_it = |outgoing: &Outgoing| outgoing.notice == tried.notice && outgoing.tries == tried.tries;
        // The late end of an earlier try counts for nothing but that it arrived.
        let arrived = |outgoing: &Outgoing| outgoing.notice == tried.notice && *sent == Sent::Delivered;
        let index = self
            .waiting
            .iter()
            .position(|outgoing| is_it(outgoing) || arrived(outgoing))?;
        let (reason, retry_after_ms) = match sent {
            Sent::Delivered => {
                self.waiting.remove(index);
                if self.waiting.is_empty() {
                    self.last_error = None;
                }
                return None;
            }
            Sent::Refused(reason) => (reason, None),
            Sent::Failed { reason, retry_after_ms } => (reason, Some(retry_after_ms.unwrap_or(0))),
        };
        self.last_error = Some(reason.clone());
        let outgoing = &mut self.waiting[index];
        let wait_ms = backoff_ms(RETRY_FIRST_MS, RETRY_MAX_MS, outgoing.tries, random);
        let next_at_ms = retry_after_ms.map(|asked_ms| now_ms + wait_ms.max(asked_ms.min(RETRY_MAX_MS)));
        match next_at_ms.filter(|at_ms| *at_ms <= outgoing.notice.at_ms + GIVE_UP_MS) {
            Some(at_ms) => {
                outgoing.not_before_ms = at_ms;
                None
            }
            None => {
                self.waiting.remove(index);
                self.lost += 1;
                Some(reason.clone())
            }
        }
    }
}

fn next(phase: Phase, observation: Observation, timing: Timing, now_ms: u64) -> (Phase, Option<Say>) {
    let lasted = |since_ms: u64| now_ms.saturating_sub(since_ms) >= timing.for_ms;
    match (phase, observation) {
        (phase, Observation::Unknown) => (phase, None),
        (Phase::Well | Phase::Pending { .. }, Observation::Well) => (Phase::Well, None),
        (Phase::Well | Phase::Pending { .. }, Observation::Wrong) => {
            let since_ms = match phase {
                Phase::Pending { since_ms } => since_ms,
                _ => now_ms,
            };
            if !lasted(since_ms) {
                return (Phase::Pending { since_ms }, None);
            }
            let firing = Phase::Firing {
                since_ms,
                told_at_ms: now_ms,
                well_since_ms: None,
            };
            (firing, Some(Say::Firing(since_ms)))
        }
        (
            Phase::Firing {
                since_ms,
                told_at_ms,
                well_since_ms,
            },
            Observation::Well,
        ) => {
            let well_since = well_since_ms.unwrap_or(now_ms);
            if lasted(well_since) {
                return (Phase::Well, Some(Say::Resolved(since_ms)));
            }
            let firing = Phase::Firing {
                since_ms,
                told_at_ms,
                well_since_ms: Some(well_since),
            };
            (firing, None)
        }
        (
            Phase::Firing {
                since_ms, told_at_ms, ..
            },
            Observation::Wrong,
        ) => {
            let again = now_ms.saturating_sub(told_at_ms) >= timing.repeat_after_ms;
            let firing = Phase::Firing {
                since_ms,
                told_at_ms: if again { now_ms } else { told_at_ms },
                well_since_ms: None,
            };
            (firing, again.then_some(Say::Repeated(since_ms)))
        }
    }
}
