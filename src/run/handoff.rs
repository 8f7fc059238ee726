//! Handoffs: a run with its state goes to an agent, with a receipt.

use serde::{Deserialize, Serialize};

use super::attempt;
use super::ledger::{Claim, ClaimRequest};
use super::question::{Moment, Question};
use super::record::{self, Use};
use super::state::{self, Conflict, Expected, Version};
use super::status::StepStatus;
use super::storage::{Storage, Table};
use super::telling;

/// A run is handed over at most this often.
pub const HANDOFFS_MAX: u32 = 1_000;

const HANDOFFS: Table<Handoff> = Table::new("handoff/");
/// What is removed with the run.
pub(super) const PREFIXES: &[&str] = &["handoff/"];

/// A handoff as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handoff {
    /// Its id.
    pub handoff: String,
    /// The caller's idempotency key.
    pub idempotency_key: String,
    /// Digest of what was asked.
    pub fingerprint: String,
    /// The agent that the run belongs to from then on.
    pub agent: String,
    /// Who handed it over.
    pub from: String,
    /// Why.
    pub reason: String,
    /// The version that was handed over; nothing where the run had no state.
    pub version: Option<u64>,
    /// Its digest.
    pub digest: Option<String>,
    /// Unix milliseconds.
    pub accepted_at_ms: u64,
    /// The handoff's own span.
    pub traceparent: String,
}

/// The state that goes with a handoff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handed {
    /// What the run keeps, which must be in this version: it was checked against the agent's schema. 0 is none.
    Kept(u64),
    /// This JSON text, checked as well, as the next version.
    Written {
        /// The version that it replaces; whatever is current where none is named.
        base: Option<u64>,
        /// The JSON text.
        content: String,
    },
}

/// `POST /agents/{agent}/handoffs`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HandOffRequest {
    /// The run.
    pub using: Use,
    /// As it will be kept. Version, digest and time are filled in.
    pub handoff: Handoff,
    /// The caller's span, in 16 hexadecimal digits, where it named one.
    #[serde(default)]
    pub parent_span: Option<String>,
    /// The state.
    pub state: Handed,
    /// The step that the agent is to begin with.
    pub first: Option<Box<ClaimRequest>>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandedOff {
    /// Accepted.
    Accepted {
        /// The handoff.
        handoff: Box<Handoff>,
        /// Its first step, if it has one.
        step: Option<Box<StepStatus>>,
        /// Whether that was by an earlier request.
        replayed: bool,
    },
    /// Another version is current.
    Conflict(Conflict),
    /// The idempotency key was used for another handoff.
    KeyMismatch,
    /// Its first step was refused.
    StepRefused(Box<Claim>),
    /// The run was handed over as often as may be.
    Full,
}

pub(super) fn all<S: Storage>(storage: &S) -> Result<Vec<Handoff>, S::Error> {
    let rows = HANDOFFS.list(storage, "", usize::MAX)?;
    Ok(rows.into_iter().map(|(_, handoff)| handoff).collect())
}

impl Question for HandOffRequest {
    const NAME: &'static str = "hand-off";
    const USES_NONCE: bool = true;
    type Answer = HandedOff;

    fn answer<S: Storage>(&self, storage: &S, moment: Moment<'_>) -> Result<HandedOff, S::Error> {
        let known = all(storage)?
            .into_iter()
            .find(|known| known.idempotency_key == self.handoff.idempotency_key);
        if let Some(known) = known {
            if known.fingerprint != self.handoff.fingerprint {
                return Ok(HandedOff::KeyMismatch);
            }
            return self.accepted(storage, known, true);
        }
        let run = record::touch(storage, &self.using, moment.now_ms)?;
        if run.handoffs >= HANDOFFS_MAX {
            return Ok(HandedOff::Full);
        }
        let expected = match self.state {
            Handed::Kept(version) => Some(version),
            Handed::Written { base, .. } => base,
        };
        if let Some(version) = expected
            && let Err(conflict) = state::check(storage, &run, &Expected::Version(version))?
        {
            return Ok(HandedOff::Conflict(conflict));
        }
        // A key that was used for a step is not one for a handoff.
        if attempt::by_key(storage, &self.handoff.idempotency_key)?.is_some() {
            return Ok(HandedOff::KeyMismatch);
        }
        let before = attempt::last(storage)?;
        // Before anything is written: a handoff whose first step is refused has no effect at all.
        if let Some(first) = &self.first {
            match first.answer(storage, moment)? {
                Claim::Accepted(_) => {}
                refused => return Ok(HandedOff::StepRefused(Box::new(refused))),
            }
        }
        // Again, since the first step has changed the run's row.
        let mut run = record::touch(storage, &self.using, moment.now_ms)?;
        let version = match &self.state {
            Handed::Written { content, .. } => {
                let what = state::Write {
                    content,
                    by: format!("handoff {}", self.handoff.handoff),
                    idempotency_key: None,
                };
                Some(state::write(storage, &mut run, what, moment)?)
            }
            Handed::Kept(_) => state::version(storage, run.version)?,
        };
        run.handoffs += 1;
        run.agent = Some(self.handoff.agent.clone());
        let (version, digest) = version.map(|Version { version, digest, .. }| (version, digest)).unzip();
        let handoff = Handoff {
            version,
            digest,
            accepted_at_ms: moment.now_ms,
            ..self.handoff.clone()
        };
        HANDOFFS.put(storage, &format!("{:06}", run.handoffs), &handoff)?;
        record::save(storage, &run)?;
        let place = (before.as_ref(), self.first.is_some());
        telling::handed_off(storage, &handoff, self.parent_span.as_deref(), place)?;
        self.accepted(storage, handoff, false)
    }
}

impl HandOffRequest {
    fn accepted<S: Storage>(&self, storage: &S, handoff: Handoff, replayed: bool) -> Result<HandedOff, S::Error> {
        let step = match &self.first {
            Some(first) => match attempt::by_key(storage, &first.idempotency_key)? {
                Some(attempt) => Some(Box::new(super::status::of(storage, &attempt)?)),
                None => None,
            },
            None => None,
        };
        Ok(HandedOff::Accepted {
            handoff: Box::new(handoff),
            step,
            replayed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::Put;
    use super::super::testing::{Bench, background, of_step, using};
    use super::*;

    fn handing(key: &str, state: Handed) -> HandOffRequest {
        HandOffRequest {
            using: using(),
            handoff: Handoff {
                handoff: format!("hnd_{key}"),
                idempotency_key: key.into(),
                fingerprint: "f".into(),
                agent: "triage".into(),
                from: "desk".into(),
                reason: "a ticket".into(),
                version: None,
                digest: None,
                accepted_at_ms: 0,
                traceparent: "00-1-2-01".into(),
            },
            parent_span: None,
            state,
            first: None,
        }
    }

    fn written(base: Option<u64>) -> Handed {
        let content = "{}".into();
        Handed::Written { base, content }
    }

    fn accepted(handed: HandedOff) -> (Handoff, Option<Box<StepStatus>>, bool) {
        match handed {
            HandedOff::Accepted {
                handoff,
                step,
                replayed,
            } => (*handoff, step, replayed),
            other => panic!("not accepted, but {other:?}"),
        }
    }

    #[test]
    fn a_handoff_is_accepted_once_with_its_state_and_first_step() {
        let mut bench = Bench {
            now_ms: 7,
            ..Bench::default()
        };
        let request = HandOffRequest {
            first: Some(Box::new(background("k", 1))),
            ..handing("k", written(None))
        };
        let (handoff, step, replayed) = accepted(bench.ask("c1", request.clone()));
        assert_eq!((handoff.version, handoff.accepted_at_ms, replayed), (Some(1), 7, false));
        assert!(handoff.digest.is_some());
        assert_eq!(step.expect("a step").executions, 0);
        bench.execution();
        bench.now_ms = 8;
        let (again, step, replayed) = accepted(bench.ask("c2", request.clone()));
        assert_eq!((again, replayed), (handoff.clone(), true));
        assert_eq!(step.expect("a step").executions, 1);
        let mut other = request;
        other.handoff.fingerprint = "g".into();
        assert_eq!(bench.ask("c3", other), HandedOff::KeyMismatch);
        assert_eq!(all(&bench.storage).unwrap(), [handoff]);
        let run = record::find(&bench.storage).unwrap().unwrap();
        assert_eq!(
            (run.agent.as_deref(), run.version, run.attempts),
            (Some("triage"), 1, 1)
        );
    }

    #[test]
    fn a_handoff_whose_first_step_is_refused_has_no_effect() {
        let bench = Bench::default();
        bench.ask("c1", background("k", 1));
        let mut first = of_step("s", background("k2", 2));
        first.fingerprint = "g".into();
        let request = HandOffRequest {
            first: Some(Box::new(first)),
            ..handing("k2", written(None))
        };
        let refused = HandedOff::StepRefused(Box::new(Claim::StepMismatch));
        assert_eq!(bench.ask("c2", request), refused);
        let run = record::find(&bench.storage).unwrap().unwrap();
        assert_eq!((run.agent, run.version, run.handoffs, run.attempts), (None, 0, 0, 1));
        assert!(!bench.has_rows("handoff/"));
    }

    #[test]
    fn a_handoff_names_the_version_that_it_is_based_on() {
        let bench = Bench::default();
        let conflict = |handed| matches!(handed, HandedOff::Conflict(_));
        assert!(conflict(bench.ask("c", handing("k", Handed::Kept(1)))));
        assert!(conflict(bench.ask("c", handing("k", written(Some(1))))));
        assert!(!bench.has_rows("run/") && !bench.has_rows("handoff/"));
        let (none, ..) = accepted(bench.ask("c", handing("k1", Handed::Kept(0))));
        assert_eq!((none.version, none.digest), (None, None));
        let (first, ..) = accepted(bench.ask("c", handing("k2", written(Some(0)))));
        assert_eq!(first.version, Some(1));
        let (kept, ..) = accepted(bench.ask("c", handing("k3", Handed::Kept(1))));
        assert_eq!((kept.version, kept.digest), (Some(1), first.digest));
        assert!(conflict(bench.ask("c", handing("k4", Handed::Kept(0)))));
    }

    #[test]
    fn a_run_belongs_to_the_agent_that_it_was_handed_to() {
        let bench = Bench::default();
        accepted(bench.ask("c", handing("k", Handed::Kept(0))));
        let put = |checked_for: Option<&str>| state::PutState {
            using: using(),
            expected: Expected::Nothing,
            content: "1".into(),
            idempotency_key: None,
            checked_for: checked_for.map(str::to_owned),
        };
        assert_eq!(bench.ask("w", put(None)), Put::CheckFor("triage".into()));
        assert_eq!(bench.ask("w", put(Some("echo"))), Put::CheckFor("triage".into()));
        assert!(matches!(bench.ask("w", put(Some("triage"))), Put::Written { .. }));
    }
}
