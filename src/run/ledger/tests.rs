//! The ledger, asked as Workers and the run's object ask it.

mod background;
mod cancelling;

use proptest::prelude::*;

use super::super::attempt::{self, ATTEMPTS_MAX, EXECUTIONS_MAX, Phase, StoredAnswer};
use super::super::call::StateSource;
use super::super::question::{Asked, Told};
use super::super::record;
use super::super::state::Expected;
use super::super::status::StepStatus;
use super::super::testing::{
    Bench, HOLD_MS, answer, background, calling_back, commit_of, granted, of_step, request, retrying, working_on,
};
use super::super::work::{COMMIT_GRACE_MS, recover};
use super::*;
use crate::run::Nonce;
use crate::run::testing::DEADLINE_MS;

fn committed(bench: &Bench, claimant: &str, key: &str, generation: u32, body: &str, retryable: bool) -> Commit {
    // A key that is not known has no place: there is no attempt at this one.
    let known = attempt::by_key(&bench.storage, key).unwrap();
    let commit = CommitRequest {
        ordinal: known.map_or(0, |attempt| attempt.ordinal),
        generation,
        answer: answer(body),
        retryable,
        retry_after_ms: 0,
        state: None,
        operations: Vec::new(),
    };
    bench.ask(claimant, commit)
}

fn accepted(claim: Claim) -> StepStatus {
    match claim {
        Claim::Accepted(status) => *status,
        other => panic!("not accepted, but {other:?}"),
    }
}

fn failure_code(status: &StepStatus) -> String {
    let answer = status.answer.as_ref().expect("an answer");
    answer.body["error"]["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_duplicate_gets_the_stored_answer() {
    let bench = Bench::default();
    assert_eq!(granted(&bench.ask("c1", request("k", 1))), 1);
    assert_eq!(committed(&bench, "c1", "k", 1, "one", false), Commit::Stored);
    assert_eq!(bench.ask("c2", request("k", 1)), Claim::Answered(answer("one")));
    // Also as a further attempt: the answer is final.
    assert_eq!(bench.ask("c3", request("k2", 2)), Claim::Answered(answer("one")));
    assert_eq!(bench.ask("c4", background("k2", 2)), Claim::Answered(answer("one")));
}

#[test]
fn a_nonce_is_used_once() {
    let bench = Bench::default();
    let asked = |claimant: &str, nonce: Option<&str>| Asked {
        claimant: claimant.to_owned(),
        nonce: nonce.map(|value| Nonce {
            value: value.to_owned(),
            expires_at_ms: 500_000,
        }),
        named: None,
        question: request("k", 1),
    };
    let first = bench.told(&asked("c1", Some("n")));
    assert!(matches!(first, Told::Answer(Claim::Granted { .. })));
    assert_eq!(bench.told(&asked("c1", Some("n"))), first);
    assert_eq!(bench.told(&asked("c2", Some("n"))), Told::Replayed);
    // Under Standard Webhooks there is no nonce: the key alone decides.
    let in_flight = Claim::InFlight {
        retry_after_ms: HOLD_MS,
    };
    assert_eq!(bench.told(&asked("c2", None)), Told::Answer(in_flight));
}

#[test]
fn a_claim_whose_answer_was_lost_can_be_asked_for_again() {
    let bench = Bench::default();
    assert_eq!(bench.ask("c1", request("k", 1)), bench.ask("c1", request("k", 1)));
    assert_eq!(committed(&bench, "c1", "k", 1, "one", false), Commit::Stored);
    assert_eq!(committed(&bench, "c1", "k", 1, "one", false), Commit::Stored);
}

#[test]
fn in_flight_until_the_claim_ends() {
    let mut bench = Bench::default();
    bench.ask("c1", request("k", 1));
    bench.now_ms = HOLD_MS - 1;
    let in_flight = Claim::InFlight { retry_after_ms: 1 };
    assert_eq!(bench.ask("c2", request("k", 1)), in_flight);
    assert_eq!(bench.ask("c3", request("k2", 2)), in_flight);
    bench.now_ms = HOLD_MS;
    assert_eq!(granted(&bench.ask("c4", request("k", 1))), 2);
    assert_eq!(committed(&bench, "c1", "k", 1, "late", false), Commit::Lost);
    assert_eq!(committed(&bench, "c4", "k", 2, "taken over", false), Commit::Stored);
    assert_eq!(committed(&bench, "c1", "k", 1, "late", false), Commit::Lost);
}

#[test]
fn a_caller_is_not_told_to_wait_for_minutes() {
    let bench = Bench::default();
    let long = ClaimRequest {
        hold_ms: 300_000,
        ..request("k", 1)
    };
    bench.ask("c1", long);
    let told = bench.ask("c2", request("k", 1));
    let retry_after_ms = RETRY_AFTER_MAX_MS;
    assert_eq!(told, Claim::InFlight { retry_after_ms });
}

#[test]
fn what_was_begun_beside_the_orchestrator_is_its_own_attempt() {
    for (hedge, expected) in [(true, None), (false, Some(Claim::AttemptOutdated { latest: 1 }))] {
        let bench = Bench::default();
        let begun = ClaimRequest {
            hedge,
            ..background("gateway", 1)
        };
        bench.ask("c1", begun);
        bench.commit(&bench.execution(), "busy", true);
        let told = bench.ask("c2", request("orchestrator", 1));
        match expected {
            Some(expected) => assert_eq!(told, expected),
            None => assert!(matches!(told, Claim::Answered(_)), "{told:?}"),
        }
        granted(&bench.ask("c3", request("orchestrator", 2)));
    }
}

#[test]
fn another_call_under_a_known_key_or_step() {
    let bench = Bench::default();
    let other = |request| ClaimRequest {
        fingerprint: "g".into(),
        ..request
    };
    bench.ask("c1", request("k", 1));
    assert_eq!(bench.ask("c2", other(request("k", 1))), Claim::KeyMismatch);
    assert_eq!(bench.ask("c3", request("k", 2)), Claim::KeyMismatch);
    assert_eq!(bench.ask("c4", of_step("t", request("k", 1))), Claim::KeyMismatch);
    assert_eq!(bench.ask("c5", other(request("k2", 2))), Claim::StepMismatch);
    assert_eq!(bench.ask("c6", other(background("k2", 2))), Claim::StepMismatch);
}

#[test]
fn a_retryable_answer_lets_a_later_attempt_run() {
    let bench = Bench::default();
    bench.ask("c1", request("k1", 1));
    committed(&bench, "c1", "k1", 1, "busy", true);
    let outdated = Claim::AttemptOutdated { latest: 1 };
    assert_eq!(bench.ask("c2", request("k2", 1)), outdated);
    assert_eq!(granted(&bench.ask("c3", request("k2", 2))), 1);
    assert_eq!(bench.ask("c4", request("k1", 1)), Claim::Answered(answer("busy")));
}

#[test]
fn an_overtaken_attempt_stays_dead() {
    let mut bench = Bench::default();
    bench.ask("c1", request("k1", 1));
    bench.now_ms = HOLD_MS;
    bench.ask("c2", request("k2", 2));
    assert_eq!(committed(&bench, "c1", "k1", 1, "late", false), Commit::Lost);
    bench.now_ms = 3 * HOLD_MS;
    let back = bench.ask("c3", request("k1", 1));
    assert_eq!(back, Claim::AttemptOutdated { latest: 2 });
}

#[test]
fn a_commit_without_a_claim_is_lost() {
    let bench = Bench::default();
    assert_eq!(committed(&bench, "c", "k", 1, "one", false), Commit::Lost);
    assert!(bench.storage.keys().is_empty());
}

#[test]
fn a_step_of_a_named_version_does_not_see_another_one() {
    let bench = Bench::default();
    bench.put_state("w1", Expected::Nothing, "1");
    bench.ask("c1", working_on(StateSource::Version(1), background("k", 1)));
    bench.put_state("w2", Expected::Anything, "2");
    assert_eq!(bench.work(), None);
    let status = bench.status("s");
    assert_eq!(
        (failure_code(&status).as_str(), status.executions),
        ("state-conflict", 0)
    );
    // The call names a version that never comes back: no further attempt can succeed.
    let again = bench.ask("c2", working_on(StateSource::Version(1), background("k2", 2)));
    assert!(matches!(again, Claim::Answered(_)), "{again:?}");
}

#[test]
fn a_late_commit_does_not_answer_a_step_of_the_run_that_came_back() {
    let bench = Bench::default();
    bench.ask("c1", request("k", 1));
    bench.ask("d", record::Forget);
    assert_eq!(committed(&bench, "c1", "k", 1, "late", false), Commit::Lost);
    bench.ask("c2", request("k", 1));
    assert_eq!(committed(&bench, "c1", "k", 1, "late", false), Commit::Lost);
    assert_eq!(committed(&bench, "c2", "k", 1, "one", false), Commit::Stored);
}

#[test]
fn a_waiting_attempt_is_taken_over_only_so_often() {
    let mut bench = Bench::default();
    for generation in 1..=EXECUTIONS_MAX {
        let claim = bench.ask(&format!("c{generation}"), request("k", 1));
        assert_eq!(granted(&claim), generation);
        bench.now_ms += HOLD_MS;
    }
    let Claim::Answered(answer) = bench.ask("one more", request("k", 1)) else {
        panic!("executed once more");
    };
    assert_eq!(failure_code(&bench.status("s")), "attempt-lost");
    assert_eq!(bench.ask("another", request("k", 1)), Claim::Answered(answer));
    assert_eq!(granted(&bench.ask("c", request("k2", 2))), 1);
}

#[test]
fn a_run_has_so_many_attempts() {
    let bench = Bench::default();
    for number in 1..=ATTEMPTS_MAX {
        let step = of_step(&format!("s{number}"), request(&format!("k{number}"), 1));
        granted(&bench.ask("c", step));
    }
    let more = || of_step("more", request("more", 1));
    assert_eq!(bench.ask("c", more()), Claim::RunFull);
    let in_the_background = ClaimRequest {
        background: true,
        ..more()
    };
    assert_eq!(bench.ask("c", in_the_background), Claim::RunFull);
    // What is known goes on.
    assert_eq!(granted(&bench.ask("c", of_step("s1", request("k1", 1)))), 1);
}

#[test]
fn a_claim_names_the_state_that_it_wants() {
    let bench = Bench::default();
    let conflict = |current_version, current_etag| {
        Claim::StateConflict(Conflict {
            current_version,
            current_etag,
        })
    };
    let at = |version, request| working_on(StateSource::Version(version), request);
    assert_eq!(bench.ask("c1", at(1, request("k", 1))), conflict(0, None));
    assert!(!bench.has_rows("attempt/"));
    bench.put_state("w", Expected::Nothing, "{}");
    let etag = state::etag(1, "{}");
    assert_eq!(bench.ask("c1", at(2, request("k", 1))), conflict(1, Some(etag.clone())));
    assert_eq!(bench.ask("c1", at(2, background("k", 1))), conflict(1, Some(etag)));
    // The key is not used up.
    let Claim::Granted { kept: Some(kept), .. } = bench.ask("c1", at(1, request("k", 1))) else {
        panic!("no state");
    };
    assert_eq!((kept.version.version, kept.content.as_str()), (1, "{}"));
}

#[test]
fn a_new_state_is_written_with_its_answer_or_not_at_all() {
    let bench = Bench::default();
    bench.put_state("w1", Expected::Nothing, "1");
    bench.ask("c1", working_on(StateSource::Kept, request("k", 1)));
    bench.put_state("w2", Expected::Anything, "2");
    let write = |base, content: &str| CommitRequest {
        ordinal: 1,
        generation: 1,
        answer: answer("one"),
        retryable: false,
        retry_after_ms: 0,
        state: Some(StateWrite {
            base,
            content: content.into(),
        }),
        operations: Vec::new(),
    };
    let Commit::StateConflict(Some(kept)) = bench.ask("c1", write(1, "3")) else {
        panic!("overwritten");
    };
    assert_eq!((kept.version.version, kept.content.as_str()), (2, "2"));
    assert_eq!(bench.status("s").status, Phase::Running);
    for _ in 0..2 {
        assert_eq!(bench.ask("c1", write(2, "3")), Commit::Stored);
        let run = record::find(&bench.storage).unwrap().unwrap();
        let kept = state::current(&bench.storage, &run).unwrap().unwrap();
        assert_eq!((kept.version.version, kept.content.as_str()), (3, "3"));
        assert_eq!(kept.version.by, "step s");
    }
}

proptest! {
    /// Whatever the order of claims, commits, cancellations and time: at most one final answer per step, and every answer
    /// that is given out for it is that one.
    #[test]
    fn one_final_answer_per_step(
        events in proptest::collection::vec((0_u32..3, 0_u64..1_500, 0_u8..9, any::<bool>(), any::<bool>()), 1..60)
    ) {
        let mut bench = Bench::default();
        let mut owners: Vec<(String, String, u32)> = Vec::new();
        let mut last: Option<StoredAnswer> = None;
        for (index, (attempt, passes_ms, what, in_background, retryable)) in events.into_iter().enumerate() {
            bench.now_ms += passes_ms;
            while let Some(work) = bench.work() {
                let super::super::work::Work::Execute(execution) = work else { panic!("{work:?}") };
                prop_assert!(last.is_none(), "executed after a final answer");
                let attempt = attempt::get(&bench.storage, execution.ordinal).unwrap().unwrap();
                owners.push(("instance".into(), attempt.idempotency_key, execution.generation));
            }
            match what {
                0 if attempt == 0 => {
                    if bench.ask("c", status::Cancel { step: "s".into() }).is_some_and(|status| status.answer.is_some()) {
                        let latest = attempt::latest(&bench.storage, "s").unwrap().unwrap();
                        if latest.cancelled {
                            let answer = attempt::answer(&bench.storage, latest.ordinal).unwrap();
                            prop_assert!(last.is_none() || last == answer, "cancelled after a final answer");
                            last = answer;
                        }
                    }
                }
                0..=4 if !owners.is_empty() => {
                    let (claimant, key, generation) = owners[index % owners.len()].clone();
                    let open = bench.attempt(&key).phase != Phase::Ended;
                    let body = format!("{key}/{generation}");
                    let commit = committed(&bench, &claimant, &key, generation, &body, retryable);
                    if commit == Commit::Stored && open && !retryable {
                        prop_assert_eq!(last.replace(answer(&body)), None, "two final answers");
                    }
                }
                _ => {
                    let key = format!("k{attempt}");
                    let claimant = format!("c{index}");
                    let asked = retrying(3, if in_background { background(&key, attempt + 1) } else { request(&key, attempt + 1) });
                    match bench.ask(&claimant, asked) {
                        Claim::Granted { generation, .. } => {
                            prop_assert!(last.is_none(), "executed after a final answer");
                            prop_assert!(!in_background, "granted to who does not wait");
                            owners.push((claimant, key, generation));
                        }
                        Claim::Answered(stored) => {
                            let known = attempt::by_key(&bench.storage, &key).unwrap();
                            if known.is_none_or(|attempt| !attempt.retryable) {
                                prop_assert_eq!(Some(&stored), last.as_ref());
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

#[test]
fn what_a_commit_came_to_goes_between_worker_and_object() {
    for commit in [
        Commit::Stored,
        Commit::Cancelled(answer("one")),
        Commit::StateConflict(None),
    ] {
        let text = serde_json::to_string(&commit).expect("it can be written");
        assert_eq!(serde_json::from_str::<Commit>(&text).expect("it can be read"), commit);
    }
}
