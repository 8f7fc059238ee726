//! An isolate's part: it counts how calls end, and knows how the shared circuit stood a moment ago. Before an API that an
//! agent calls it is the whole breaker.

use std::collections::VecDeque;

use super::circuit::{Circuit, Permit, Verdict, Word};
use super::{End, FAILED_PERCENT_MAX, FRESH_MS, SAMPLES_MAX, SAMPLES_MIN, SLOW_PERCENT_MAX, STALE_MS, WINDOW_MS};

/// An isolate's breaker before one orchestrator, or before one API of an agent.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    /// As the shared one was when it was heard of last. Where nothing is heard of it, the isolate goes on with it alone.
    circuit: Circuit,
    /// When that was, or when it was last tried, in Unix milliseconds.
    looked_at_ms: Option<u64>,
    /// How calls ended, and when, in Unix milliseconds.
    samples: VecDeque<(u64, End)>,
    /// What the shared circuit is still to be told.
    untold: Option<Word>,
}

/// What a call does first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// It goes on.
    Pass,
    /// It goes on, and looks beside its way how the shared circuit stands.
    PassAndLook,
    /// It asks the shared circuit whether it may.
    Ask,
    /// It does not go on.
    Reject,
}

impl Breaker {
    /// Whether a call may pass, before somebody whose circuit no other isolate shares.
    pub fn permit(&mut self, now_ms: u64) -> Permit {
        self.circuit.hear(Word::Ask, now_ms, 0)
    }

    /// Takes down how a call ended that [`Breaker::permit`] let pass.
    pub fn report(&mut self, permit: Permit, end: End, now_ms: u64, random: u32) {
        // There is no shared circuit to be told.
        self.ended(permit, end, now_ms, random);
    }

    /// Whether the isolate has heard just now that nobody is asked: for calls that nobody waits for, and which leave the
    /// probe to one that is.
    #[must_use]
    pub fn is_known_open(&self, now_ms: u64) -> bool {
        let is_fresh = |at_ms| now_ms.saturating_sub(at_ms) < FRESH_MS;
        self.looked_at_ms.is_some_and(is_fresh) && !self.circuit.passes()
    }

    /// What a call does first. While the isolate knows the circuit for closed, no call waits for the Link object; while it
    /// knows it for open, one call in [`FRESH_MS`] does.
    pub fn plan(&mut self, now_ms: u64) -> Plan {
        let passes = self.circuit.passes();
        match self.looked_at_ms.map(|at_ms| now_ms.saturating_sub(at_ms)) {
            Some(age_ms) if age_ms < FRESH_MS => {
                if passes {
                    Plan::Pass
                } else {
                    Plan::Reject
                }
            }
            Some(age_ms) if age_ms < STALE_MS => {
                self.looked_at_ms = Some(now_ms);
                if passes { Plan::PassAndLook } else { Plan::Ask }
            }
            _ => Plan::Ask,
        }
    }

    /// Takes what the shared circuit answered to a word. Without an answer the isolate's own copy hears it.
    pub fn heard(&mut self, word: Word, verdict: Option<Verdict>, now_ms: u64, random: u32) -> Permit {
        self.looked_at_ms = Some(now_ms);
        let permit = match verdict {
            Some(verdict) => {
                self.circuit = verdict.circuit;
                verdict.permit
            }
            None => self.circuit.hear(word, now_ms, random),
        };
        if !self.circuit.counts() {
            self.samples.clear();
        }
        permit
    }

    /// Takes down how a call ended that was permitted. Answers what the shared circuit is to be told, if anything; this
    /// isolate goes by it at once.
    pub fn ended(&mut self, permit: Permit, end: End, now_ms: u64, random: u32) -> Option<Word> {
        let word = match permit {
            Permit::Probe(probe) => Word::Probed { probe, end },
            // A call that began before the circuit opened is counted already, by those that opened it.
            Permit::Pass if end != End::Unknown && self.circuit.counts() => {
                self.count(end, now_ms);
                if !self.is_bad() {
                    return None;
                }
                self.samples.clear();
                Word::Tripped
            }
            Permit::Pass | Permit::Reject => return None,
        };
        self.circuit.hear(word, now_ms, random);
        Some(word)
    }

    /// The same for a call that was dropped: who drops cannot tell the shared circuit, so the next call does.
    pub fn abandoned(&mut self, permit: Permit, end: End, now_ms: u64, random: u32) {
        let word = self.ended(permit, end, now_ms, random);
        self.untold = word.or(self.untold);
    }

    /// What the shared circuit is still to be told, by whoever asks first.
    pub fn untold(&mut self) -> Option<Word> {
        self.untold.take()
    }

    fn count(&mut self, end: End, now_ms: u64) {
        self.samples.push_back((now_ms, end));
        let forgotten_ms = now_ms.saturating_sub(WINDOW_MS);
        while let Some((at_ms, _)) = self.samples.front()
            && (*at_ms < forgotten_ms || self.samples.len() > SAMPLES_MAX)
        {
            self.samples.pop_front();
        }
    }

    fn is_bad(&self) -> bool {
        let all = self.samples.len();
        let ended = |end| self.samples.iter().filter(|(_, known)| *known == end).count();
        let (failed, slow) = (ended(End::Failed), ended(End::Slow));
        all >= SAMPLES_MIN
            && (failed * 100 >= all * FAILED_PERCENT_MAX || (failed + slow) * 100 >= all * SLOW_PERCENT_MAX)
    }
}
