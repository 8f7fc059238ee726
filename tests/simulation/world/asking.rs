//! What is asked of the run: by requests of today, by late ones, and by those that somebody has captured.

use baton::run::fence::Named;
use baton::run::storage::Storage as _;
use baton::run::{Asked, Nonce, Question, Told, ask};

use super::{NONCE_MS, Unknown, World};

impl World {
    /// The lease that a call names, if it names one: at times one that a later one has overtaken.
    fn named(&mut self) -> Option<Named> {
        let (names, is_late) = (self.random.percent(60), self.random.percent(15));
        names.then(|| Named {
            generation: self.generation.saturating_sub(is_late.into()).max(1),
            granted: 0,
        })
    }

    /// The rows that say what was done: all but those that every request may leave.
    fn effects(&self) -> Vec<(String, String)> {
        let mut rows = self.storage.scan("", "", usize::MAX).unwrap();
        let traces = ["nonce/", "nonce-end/", "fence/", "timer/", "due/"];
        rows.retain(|(key, _)| !traces.iter().any(|trace| key.starts_with(trace)));
        rows
    }

    /// Asks the run as this request, twice if there is no answer. A call of a lease that was overtaken gets none.
    pub fn ask_as<Q: Question>(&mut self, claimant: &str, question: Q, forgets: bool) -> Result<Q::Answer, Unknown> {
        let nonce = Q::USES_NONCE.then(|| Nonce {
            value: format!("nonce of {claimant}"),
            expires_at_ms: self.now_ms + NONCE_MS,
        });
        let asked = Asked {
            claimant: claimant.to_owned(),
            nonce,
            named: self.named().filter(|_| Q::USES_NONCE),
            question,
        };
        let is_late = asked.named.is_some_and(|named| named.generation < self.fenced);
        // An instance that has just begun gives up what the one before it had begun: that is no effect of the call.
        let before = (is_late && self.recovered).then(|| (self.instances, self.effects()));
        let mut told = Err(Unknown);
        for _ in 0..2 {
            let (now_ms, random) = (self.now_ms, self.random.next() as u32);
            self.forgets = forgets;
            told = self.transact(|storage| ask(storage, &asked, now_ms, random));
            self.forgets = false;
            if told.is_ok() {
                break;
            }
        }
        if let Some((instances, before)) = before
            && instances == self.instances
        {
            assert_eq!(before, self.effects(), "a call of an overtaken lease had an effect");
        }
        match told? {
            Told::Answer(answer) => {
                if is_late {
                    self.count("a late call is told what is there");
                }
                self.fenced = self.fenced.max(asked.named.map_or(0, |named| named.generation));
                self.captured.extend(asked.nonce);
                Ok(answer)
            }
            Told::Replayed => panic!("{claimant} was taken for another request"),
            Told::Outdated { known } => {
                let named = asked.named.expect("a lease was named").generation;
                assert!(
                    named < known && known <= self.generation + 1,
                    "{named} is not older than {known}"
                );
                self.count("a late call is refused");
                Err(Unknown)
            }
        }
    }

    /// Asks as a new request.
    pub fn ask<Q: Question>(&mut self, question: Q) -> Result<Q::Answer, Unknown> {
        let claimant = self.claimant();
        self.ask_as(&claimant, question, false)
    }

    /// Somebody sends a captured request once more.
    pub fn replay<Q: Question>(&mut self, nonce: Nonce, question: Q) {
        let asked = Asked {
            claimant: self.claimant(),
            nonce: Some(nonce.clone()),
            named: None,
            question,
        };
        if nonce.expires_at_ms < self.now_ms {
            return;
        }
        let (now_ms, random) = (self.now_ms, self.random.next() as u32);
        if let Ok(told) = self.transact(|storage| ask(storage, &asked, now_ms, random)) {
            assert!(matches!(told, Told::Replayed), "a captured request had an effect");
            self.count("a captured request is refused");
        }
    }
}
