//! The circuit breaker before an orchestrator: who does not answer is not asked again for a while.
//!
//! Closed it lets calls pass and counts how they end; open it rejects them; half-open it lets one through at a time to
//! see. A state machine without a clock: time and jitter are arguments.

use std::collections::VecDeque;

use crate::backoff::backoff_ms;

/// Calls are counted over this time, in milliseconds.
pub const WINDOW_MS: u64 = 30_000;
/// With fewer calls than this in the window nothing is concluded from their ratio.
pub const SAMPLES_MIN: usize = 5;
/// At most this many calls are remembered; the oldest go first.
pub const SAMPLES_MAX: usize = 200;
/// The breaker trips when at least so many of a hundred calls failed, or were slow.
pub const FAILED_PERCENT_MAX: usize = 50;
/// How long it is open after the first trip, in milliseconds, before jitter. It doubles with each probe that fails.
pub const OPEN_MS: u64 = 2_000;
/// The longest that it is open, in milliseconds.
pub const OPEN_MAX_MS: u64 = 60_000;
/// A probe of which nothing was heard for so long is taken for lost, in milliseconds.
pub const PROBE_MAX_MS: u64 = 30_000;

/// A breaker.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    state: State,
    /// How calls ended: when, in Unix milliseconds, and whether badly.
    samples: VecDeque<(u64, bool)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        until_ms: u64,
        trips: u32,
    },
    HalfOpen {
        probe_since_ms: u64,
        trips: u32,
    },
}

/// What a call may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Go on. How it ended is to be reported.
    Pass,
    /// Go on, as the only one: its end decides what the breaker does next.
    Probe,
    /// Do not call.
    Reject,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With an answer, whatever it says.
    Answered,
    /// With an answer that took longer than it may.
    Slow,
    /// Without a usable answer.
    Failed,
    /// It says nothing of the other side: nobody waited for the end, or it was refused for a reason of ours.
    Unknown,
}

impl Breaker {
    /// Asks whether to call.
    pub fn permit(&mut self, now_ms: u64) -> Permit {
        match self.state {
            State::Closed => Permit::Pass,
            State::Open { until_ms, .. } if now_ms < until_ms => Permit::Reject,
            State::HalfOpen { probe_since_ms, .. } if now_ms < probe_since_ms + PROBE_MAX_MS => Permit::Reject,
            State::Open { trips, .. } | State::HalfOpen { trips, .. } => {
                self.state = State::HalfOpen {
                    probe_since_ms: now_ms,
                    trips,
                };
                Permit::Probe
            }
        }
    }

    /// Takes down how a call ended that was permitted. `random` is any number, for jitter.
    pub fn report(&mut self, permit: Permit, end: End, now_ms: u64, random: u32) {
        match (permit, self.state) {
            (Permit::Probe, State::HalfOpen { trips, .. }) => match end {
                End::Answered => *self = Self::default(),
                End::Slow | End::Failed => self.trip(trips + 1, now_ms, random),
                // Open still, and the next call is the probe.
                End::Unknown => {
                    self.state = State::Open {
                        until_ms: now_ms,
                        trips,
                    }
                }
            },
            (Permit::Pass, State::Closed) if end != End::Unknown => {
                self.samples.push_back((now_ms, end != End::Answered));
                let forgotten_ms = now_ms.saturating_sub(WINDOW_MS);
                while self
                    .samples
                    .front()
                    .is_some_and(|(at_ms, _)| *at_ms < forgotten_ms || self.samples.len() > SAMPLES_MAX)
                {
                    self.samples.pop_front();
                }
                let bad = self.samples.iter().filter(|(_, bad)| *bad).count();
                if self.samples.len() >= SAMPLES_MIN && bad * 100 >= self.samples.len() * FAILED_PERCENT_MAX {
                    self.trip(1, now_ms, random);
                }
            }
            // A call that began before the breaker tripped: it is counted already, by those that tripped it.
            _ => {}
        }
    }

    fn trip(&mut self, trips: u32, now_ms: u64, random: u32) {
        self.samples.clear();
        let wait_ms = backoff_ms(OPEN_MS, OPEN_MAX_MS, trips, random);
        self.state = State::Open {
            until_ms: now_ms + wait_ms,
            trips,
        };
    }

    /// The state in a word: `closed`, `open` or `half-open`.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        match self.state {
            State::Closed => "closed",
            State::Open { .. } => "open",
            State::HalfOpen { .. } => "half-open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn failing(calls: usize) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..calls {
            assert_eq!(breaker.permit(0), Permit::Pass);
            breaker.report(Permit::Pass, End::Failed, 0, u32::MAX);
        }
        breaker
    }

    fn open_until(breaker: &Breaker) -> u64 {
        match breaker.state {
            State::Open { until_ms, .. } => until_ms,
            state => panic!("{state:?}"),
        }
    }

    #[test]
    fn too_few_calls_say_nothing() {
        assert_eq!(failing(SAMPLES_MIN - 1).state(), "closed");
        assert_eq!(failing(SAMPLES_MIN).state(), "open");
    }

    #[test]
    fn the_ratio_decides() {
        let check = |good: usize, bad: usize, expected: &str| {
            let mut breaker = Breaker::default();
            for _ in 0..good {
                breaker.report(Permit::Pass, End::Answered, 0, 0);
            }
            for _ in 0..bad {
                breaker.report(Permit::Pass, End::Slow, 0, 0);
            }
            assert_eq!(breaker.state(), expected, "{good} good, {bad} bad");
        };
        check(10, 9, "closed");
        check(10, 10, "open");
        // Only the last calls count.
        check(10 * SAMPLES_MAX, SAMPLES_MAX / 2 - 1, "closed");
        check(10 * SAMPLES_MAX, SAMPLES_MAX / 2 + 1, "open");
    }

    #[test]
    fn what_is_long_past_does_not_count() {
        let mut breaker = failing(SAMPLES_MIN - 1);
        breaker.report(Permit::Pass, End::Failed, WINDOW_MS + 1, 0);
        assert_eq!(breaker.state(), "closed");
        let mut breaker = failing(SAMPLES_MIN - 1);
        breaker.report(Permit::Pass, End::Failed, WINDOW_MS, 0);
        assert_eq!(breaker.state(), "open");
    }

    #[test]
    fn one_probe_at_a_time_decides() {
        let mut breaker = failing(SAMPLES_MIN);
        let until_ms = open_until(&breaker);
        assert_eq!(breaker.permit(until_ms - 1), Permit::Reject);
        assert_eq!(breaker.permit(until_ms), Permit::Probe);
        assert_eq!(
            (breaker.permit(until_ms), breaker.state()),
            (Permit::Reject, "half-open")
        );
        // A late end of an earlier call decides nothing.
        breaker.report(Permit::Pass, End::Answered, until_ms, 0);
        assert_eq!(breaker.state(), "half-open");
        breaker.report(Permit::Probe, End::Answered, until_ms, 0);
        assert_eq!((breaker.permit(until_ms), breaker.state()), (Permit::Pass, "closed"));
    }

    #[test]
    fn a_probe_that_fails_waits_longer() {
        let mut breaker = failing(SAMPLES_MIN);
        let mut now_ms = open_until(&breaker);
        let first_ms = now_ms;
        for _ in 0..10 {
            assert_eq!(breaker.permit(now_ms), Permit::Probe);
            breaker.report(Permit::Probe, End::Failed, now_ms, u32::MAX);
            assert!(open_until(&breaker) - now_ms <= OPEN_MAX_MS);
            now_ms = open_until(&breaker);
        }
        assert!(now_ms > 10 * first_ms, "{now_ms} {first_ms}");
    }

    #[test]
    fn a_lost_probe_blocks_nobody_for_good() {
        let mut breaker = failing(SAMPLES_MIN);
        let at_ms = open_until(&breaker);
        assert_eq!(breaker.permit(at_ms), Permit::Probe);
        assert_eq!(breaker.permit(at_ms + PROBE_MAX_MS - 1), Permit::Reject);
        assert_eq!(breaker.permit(at_ms + PROBE_MAX_MS), Permit::Probe);
        breaker.report(Permit::Probe, End::Unknown, at_ms + PROBE_MAX_MS, 0);
        assert_eq!(breaker.permit(at_ms + PROBE_MAX_MS), Permit::Probe);
    }

    proptest! {
        #[test]
        fn it_never_rejects_for_good(ends in prop::collection::vec((0u64..5_000, 0u8..4, any::<u32>()), 1..200)) {
            let mut breaker = Breaker::default();
            let mut now_ms = 0;
            for (wait_ms, end, random) in ends {
                now_ms += wait_ms;
                let permit = breaker.permit(now_ms);
                if permit == Permit::Reject {
                    prop_assert!(breaker.clone().permit(now_ms + OPEN_MAX_MS.max(PROBE_MAX_MS)) == Permit::Probe);
                    continue;
                }
                let end = [End::Answered, End::Slow, End::Failed, End::Unknown][usize::from(end)];
                breaker.report(permit, end, now_ms, random);
            }
        }
    }
}
