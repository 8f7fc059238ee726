//! The fence: what an orchestrator asks under an older lease than the run knows of has no effect.
//!
//! Each registration of the gateway has a higher generation than the one before. A call may name the generation that it
//! belongs to. So a retry of an orchestrator that has forgotten the gateway, and granted it another lease meanwhile,
//! comes too late, and does nothing beside what was decided under the later lease.

use serde::{Deserialize, Serialize};

use super::storage::{Storage, Table};

/// It outlives the run as its nonces do.
pub(super) const PREFIX: &str = "fence/";
const FENCE: Table<u64> = Table::new(PREFIX);
const ONLY: &str = "only";

/// The lease that a call belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The generation that the call names.
    pub generation: u64,
    /// The generation of the lease that the gateway holds or held last, as far as the Worker knows; 0 where it knows none.
    pub granted: u64,
}

/// The highest generation that the run knows of; 0 while it knows none.
pub(super) fn known<S: Storage>(storage: &S) -> Result<u64, S::Error> {
    Ok(FENCE.get(storage, ONLY)?.unwrap_or(0))
}

/// Remembers a generation. It never goes back.
pub(super) fn raise<S: Storage>(storage: &S, generation: u64) -> Result<u64, S::Error> {
    let known = known(storage)?;
    if generation > known {
        FENCE.put(storage, ONLY, &generation)?;
    }
    Ok(known.max(generation))
}

/// The generation by which this call is outdated, if it is.
pub(super) fn overtaken<S: Storage>(storage: &S, named: Named) -> Result<Option<u64>, S::Error> {
    let known = raise(storage, named.generation.max(named.granted))?;
    Ok((named.generation < known).then_some(known))
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Claim;
    use super::super::question::{Asked, Question, Told};
    use super::super::record::Forget;
    use super::super::settlement::Takeover;
    use super::super::state::{Expected, PutState};
    use super::super::status::Cancel;
    use super::super::testing::{Bench, RETENTION_MS, background, of_step, request, using};
    use super::super::work::Work;
    use super::*;

    /// Asks under a lease.
    fn under<Q: Question>(bench: &Bench, generation: u64, granted: u64, question: Q) -> Told<Q::Answer> {
        bench.told(&Asked {
            claimant: format!("under {generation}"),
            nonce: None,
            named: Some(Named { generation, granted }),
            question,
        })
    }

    fn claim(bench: &Bench, generation: u64, key: &str) -> Told<Claim> {
        under(bench, generation, 0, of_step(key, background(key, 1)))
    }

    #[test]
    fn an_older_generation_has_no_effect() {
        let bench = Bench::default();
        assert!(matches!(claim(&bench, 2, "a"), Told::Answer(Claim::Accepted(_))));
        assert_eq!(claim(&bench, 1, "b"), Told::Outdated { known: 2 });
        // The same lease, a later one, and a call that names none.
        assert!(matches!(claim(&bench, 2, "c"), Told::Answer(Claim::Accepted(_))));
        assert!(matches!(
            bench.ask("d", of_step("d", background("d", 1))),
            Claim::Accepted(_)
        ));
        assert!(matches!(claim(&bench, 7, "e"), Told::Answer(Claim::Accepted(_))));
        assert_eq!(claim(&bench, 2, "f"), Told::Outdated { known: 7 });
        for step in ["b", "f"] {
            assert!(!bench.has_rows(&format!("latest/{step}")));
        }
    }

    #[test]
    fn every_effect_is_fenced() {
        let bench = Bench::default();
        claim(&bench, 2, "s");
        let put = PutState {
            using: using(),
            expected: Expected::Nothing,
            content: "1".into(),
            idempotency_key: None,
            checked_for: None,
        };
        assert_eq!(under(&bench, 1, 0, put), Told::Outdated { known: 2 });
        assert_eq!(
            under(&bench, 1, 0, Cancel { step: "s".into() }),
            Told::Outdated { known: 2 }
        );
        assert_eq!(under(&bench, 1, 0, Forget), Told::Outdated { known: 2 });
        assert!(!bench.has_rows("version/"));
        assert_eq!(bench.status("s").answer, None);
    }

    #[test]
    fn an_answer_that_is_there_is_told_to_all() {
        let bench = Bench::default();
        claim(&bench, 1, "k");
        assert!(matches!(claim(&bench, 2, "other"), Told::Answer(_)));
        // It has not ended: to wait for it is nothing that an outdated caller may.
        assert_eq!(claim(&bench, 1, "k"), Told::Outdated { known: 2 });
        bench.commit(&bench.execution(), "one", false);
        assert!(matches!(claim(&bench, 1, "k"), Told::Answer(Claim::Answered(_))));
        // Another call under its key is not the same call.
        let another = of_step("another", background("k", 1));
        assert_eq!(under(&bench, 1, 0, another), Told::Outdated { known: 2 });
    }

    #[test]
    fn what_the_gateway_knows_counts_as_well() {
        let bench = Bench::default();
        let first = of_step("a", background("a", 1));
        assert_eq!(under(&bench, 1, 2, first.clone()), Told::Outdated { known: 2 });
        // A registration whose answer is still on its way to the gateway.
        assert!(matches!(under(&bench, 3, 2, first), Told::Answer(Claim::Accepted(_))));
    }

    #[test]
    fn a_takeover_fences_the_lease_that_it_ended() {
        let bench = Bench::default();
        claim(&bench, 1, "a");
        let mut taken = of_step("b", request("b", 1));
        taken.takeover = Some(Takeover {
            gateway: "gw".into(),
            reason: "timeout".into(),
            degraded: false,
            generation: Some(2),
        });
        assert!(matches!(bench.ask("gateway", taken), Claim::Granted { .. }));
        assert_eq!(
            under(&bench, 1, 0, Cancel { step: "b".into() }),
            Told::Outdated { known: 2 }
        );
        assert!(matches!(
            under(&bench, 2, 0, Cancel { step: "b".into() }),
            Told::Answer(Some(_))
        ));
    }

    #[test]
    fn it_outlives_a_run_that_was_deleted_but_not_its_storage() {
        let mut bench = Bench::default();
        claim(&bench, 2, "a");
        bench.ask("deleter", Forget);
        assert_eq!(claim(&bench, 1, "a"), Told::Outdated { known: 2 });
        bench.now_ms = 2 * RETENTION_MS;
        assert_eq!(bench.work(), Some(Work::RemoveAll));
        assert!(!bench.has_rows(PREFIX));
        assert!(matches!(claim(&bench, 1, "a"), Told::Answer(Claim::Accepted(_))));
    }
}
