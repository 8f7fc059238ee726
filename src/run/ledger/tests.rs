//! The ledger, asked as Workers and the run's object ask it.

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
fn a_step_in_the_background_is_accepted_begun_and_committed() {
    let bench = Bench::default();
    let status = accepted(bench.ask("c1", background("k", 1)));
    assert_eq!((status.status, status.executions), (Phase::Accepted, 0));
    let execution = bench.execution();
    assert_eq!((execution.ordinal, execution.generation), (1, 1));
    assert_eq!(execution.call, background("k", 1).call);
    assert_eq!(bench.work(), None, "an execution was begun twice");
    let status = bench.status("s");
    assert_eq!((status.status, status.executions), (Phase::Running, 1));
    assert_eq!(bench.commit(&execution, "one", false), Commit::Stored);
    assert_eq!(bench.commit(&execution, "one", false), Commit::Stored);
    assert_eq!(bench.status("s").status, Phase::Ended);
    assert_eq!(bench.ask("c2", background("k", 1)), Claim::Answered(answer("one")));
    assert!(!bench.has_rows("open/") && !bench.has_rows("call/"));
}

#[test]
fn the_same_call_again_may_wait_elsewhere_but_not_here() {
    let bench = Bench::default();
    let in_flight = |retry_after_ms| Claim::InFlight { retry_after_ms };
    let first = bench.ask("c1", background("k", 1));
    for _ in 0..2 {
        assert_eq!(bench.ask("c2", background("k", 1)), bench.ask("c1", background("k", 1)));
        // It waits for its execution: there is no claim whose end could be told.
        assert_eq!(bench.ask("c3", request("k", 1)), in_flight(RETRY_AFTER_MAX_MS));
        // A further attempt is another call: it must not believe that it is executed itself.
        assert_eq!(bench.ask("c4", background("k2", 2)), in_flight(RETRY_AFTER_MAX_MS));
        if bench.status("s").status == Phase::Accepted {
            assert_eq!(bench.ask("c2", background("k", 1)), first);
            bench.execution();
        }
    }
    assert_eq!(accepted(bench.ask("c2", background("k", 1))).status, Phase::Running);
}

#[test]
fn a_step_in_the_background_is_never_overtaken_before_its_end() {
    let mut bench = Bench::default();
    bench.ask("c1", background("k", 1));
    bench.now_ms = 1_000_000;
    for further in [request("k2", 2), background("k2", 2), request("k", 1)] {
        let told = bench.ask("c2", further);
        assert!(matches!(told, Claim::InFlight { .. }), "{told:?}");
    }
}

#[test]
fn a_retryable_failure_is_executed_again_as_the_policy_says() {
    let mut bench = Bench::default();
    bench.ask("c1", retrying(3, background("k", 1)));
    for (generation, wait_ms) in [(1, 100), (2, 200)] {
        let execution = bench.execution();
        assert_eq!(execution.generation, generation);
        assert_eq!(bench.commit(&execution, "busy", true), Commit::Again);
        assert_eq!(
            bench.commit(&execution, "busy", true),
            Commit::Again,
            "a repeated commit"
        );
        assert_eq!(bench.status("s").status, Phase::Accepted);
        bench.now_ms += wait_ms - 1;
        assert_eq!(bench.work(), None);
        bench.now_ms += 1;
    }
    let last = bench.execution();
    assert_eq!(bench.commit(&last, "busy", true), Commit::Stored);
    assert_eq!(bench.ask("c2", request("k", 1)), Claim::Answered(answer("busy")));
    // The answer is retryable: a further attempt may be made.
    accepted(bench.ask("c3", background("k2", 2)));
}

#[test]
fn an_agent_that_asks_for_time_gets_it() {
    let mut bench = Bench::default();
    bench.ask("c1", retrying(2, background("k", 1)));
    let commit = CommitRequest {
        retry_after_ms: 7_000,
        ..commit_of(&bench.execution(), "busy", true)
    };
    assert_eq!(bench.ask("instance", commit.clone()), Commit::Again);
    bench.now_ms = 6_999;
    assert_eq!(bench.work(), None);
    bench.now_ms = 7_000;
    assert_eq!(bench.execution().generation, 2);
    assert_eq!(bench.ask("instance", commit), Commit::Lost, "of the execution before");
}

#[test]
fn an_agent_cannot_ask_for_years() {
    let mut bench = Bench {
        now_ms: 1,
        ..Bench::default()
    };
    bench.ask("c1", retrying(2, background("k", 1)));
    let commit = CommitRequest {
        retry_after_ms: u64::MAX,
        ..commit_of(&bench.execution(), "busy", true)
    };
    assert_eq!(bench.ask("instance", commit), Commit::Again);
    bench.now_ms += 60 * 60 * 1_000;
    assert_eq!(bench.execution().generation, 2);
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
fn a_final_failure_is_not_executed_again() {
    let bench = Bench::default();
    bench.ask("c1", retrying(3, background("k", 1)));
    assert_eq!(bench.commit(&bench.execution(), "no", false), Commit::Stored);
    assert_eq!(bench.status("s").status, Phase::Ended);
}

#[test]
fn an_execution_that_does_not_end_is_lost_when_its_claim_ends() {
    let mut bench = Bench::default();
    bench.ask("c1", retrying(2, background("k", 1)));
    let first = bench.execution();
    bench.now_ms = DEADLINE_MS + COMMIT_GRACE_MS - 1;
    assert_eq!(bench.work(), None);
    assert_eq!(bench.status("s").status, Phase::Running);
    bench.now_ms += 1;
    assert_eq!(bench.work(), None);
    assert_eq!(bench.status("s").status, Phase::Accepted);
    assert_eq!(bench.commit(&first, "late", false), Commit::Again);
    bench.now_ms += 100;
    let second = bench.execution();
    assert_eq!(bench.commit(&first, "late", false), Commit::Lost);
    bench.now_ms += DEADLINE_MS + COMMIT_GRACE_MS;
    assert_eq!(bench.work(), None);
    let status = bench.status("s");
    assert_eq!((status.status, status.executions), (Phase::Ended, 2));
    assert_eq!(failure_code(&status), "attempt-lost");
    assert_eq!(bench.commit(&second, "late", false), Commit::Lost);
    assert_eq!(bench.status("s"), status);
    accepted(bench.ask("c2", background("k2", 2)));
}

#[test]
fn no_policy_has_it_executed_without_end() {
    let mut bench = Bench::default();
    bench.ask("c1", retrying(u32::MAX, background("k", 1)));
    for _ in 0..EXECUTIONS_MAX {
        bench.execution();
        bench.now_ms += 100_000;
        assert_eq!(bench.work(), None);
        bench.now_ms += 100_000;
    }
    let status = bench.status("s");
    assert_eq!((status.status, status.executions), (Phase::Ended, EXECUTIONS_MAX));
    assert_eq!(failure_code(&status), "attempt-lost");
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
fn whoever_does_not_wait_takes_an_attempt_over_into_the_background() {
    let mut bench = Bench::default();
    bench.ask("c1", request("k", 1));
    assert!(matches!(bench.ask("c2", background("k", 1)), Claim::InFlight { .. }));
    bench.now_ms = HOLD_MS;
    let status = accepted(bench.ask("c2", background("k", 1)));
    assert_eq!(
        (status.status, status.background, status.executions),
        (Phase::Accepted, true, 1)
    );
    assert_eq!(committed(&bench, "c1", "k", 1, "late", false), Commit::Again);
    let execution = bench.execution();
    assert_eq!(execution.generation, 2);
    assert_eq!(committed(&bench, "c1", "k", 1, "late", false), Commit::Lost);
    assert_eq!(bench.commit(&execution, "one", false), Commit::Stored);
}

#[test]
fn another_instance_of_the_object_gives_up_what_the_last_one_executed() {
    let mut bench = Bench::default();
    bench.ask("c1", retrying(2, background("k", 1)));
    bench.ask("c2", of_step("t", background("k2", 1)));
    bench.ask("c3", of_step("u", request("k3", 1)));
    let (one, two) = (bench.execution(), bench.execution());
    bench.ask("c4", of_step("v", background("k4", 1)));
    let before = bench.storage.keys();
    bench.transact(|storage| recover(storage, "instance", bench.now_ms, 0).unwrap());
    assert_eq!(bench.storage.keys(), before, "the same instance gave up its own work");
    bench.transact(|storage| recover(storage, "another", bench.now_ms, 0).unwrap());
    assert_eq!(bench.status("s").status, Phase::Accepted);
    assert_eq!(failure_code(&bench.status("t")), "attempt-lost");
    assert_eq!(bench.status("u").status, Phase::Running, "it runs in a Worker");
    assert_eq!(bench.commit(&one, "late", false), Commit::Again);
    assert_eq!(bench.commit(&two, "late", false), Commit::Lost);
    assert_eq!(
        bench.execution().call.step,
        "v",
        "what was not begun is begun as before"
    );
    bench.now_ms = 100;
    assert_eq!(bench.execution().generation, 2);
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
fn so_many_attempts_are_under_way_in_the_background() {
    let bench = Bench::default();
    for number in 0..BACKGROUND_MAX {
        accepted(bench.ask(
            "c",
            of_step(&format!("s{number}"), background(&format!("k{number}"), 1)),
        ));
    }
    let more = || of_step("more", background("more", 1));
    assert_eq!(bench.ask("c", more()), Claim::RunBusy);
    accepted(bench.ask("c", of_step("s0", background("k0", 1))));
    granted(&bench.ask("c", of_step("waiting", request("waiting", 1))));
    bench.commit(&bench.execution(), "one", false);
    accepted(bench.ask("c", more()));
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

#[test]
fn a_step_is_cancelled_once() {
    let mut bench = Bench::default();
    bench.ask("c1", request("k", 1));
    bench.now_ms = 5;
    let status = bench.cancel("s");
    assert_eq!(status.status, Phase::Ended);
    let body = status.answer.clone().expect("an answer").body;
    assert_eq!(
        (body["status"].as_str(), body["usage"]["duration_ms"].as_u64()),
        (Some("cancelled"), Some(5))
    );
    bench.now_ms = 6;
    assert_eq!(bench.cancel("s"), status);
    // Whoever asks again, or for a further attempt, is told of it.
    let answer = attempt::answer(&bench.storage, 1).unwrap().expect("an answer");
    for again in [
        request("k", 1),
        background("k", 1),
        request("k2", 2),
        background("k2", 2),
    ] {
        assert_eq!(bench.ask("c2", again), Claim::Answered(answer.clone()));
    }
    assert_eq!(bench.ask("c", status::Cancel { step: "t".into() }), None);
}

#[test]
fn what_has_ended_is_not_cancelled() {
    let bench = Bench::default();
    bench.ask("c1", request("k", 1));
    committed(&bench, "c1", "k", 1, "one", false);
    let status = bench.cancel("s");
    assert_eq!(status, bench.status("s"));
    assert_eq!(status.answer.expect("an answer").body["output"], "one");
}

#[test]
fn a_step_is_cancelled_before_it_begins_or_between_two_executions() {
    let mut bench = Bench::default();
    bench.ask("c1", background("k", 1));
    assert_eq!(bench.cancel("s").executions, 0);
    assert_eq!(bench.work(), None);
    bench.ask("c2", of_step("t", retrying(2, background("k2", 1))));
    bench.commit(&bench.execution(), "busy", true);
    assert_eq!(bench.cancel("t").executions, 1);
    bench.now_ms = 100_000;
    assert_eq!(bench.work(), None);
    assert!(!bench.has_rows("open/") && !bench.has_rows("call/"));
}

#[test]
fn what_a_cancelled_steps_agent_still_answers_is_kept_beside() {
    let bench = Bench::default();
    bench.put_state("w", Expected::Nothing, "1");
    bench.ask("c1", calling_back(working_on(StateSource::Kept, background("k", 1))));
    let execution = bench.execution();
    let over = status::IsOver {
        ordinal: execution.ordinal,
        generation: execution.generation,
    };
    assert!(!bench.ask("instance", over.clone()));
    let status = bench.cancel("s");
    assert!(bench.ask("instance", over));
    let cancelled = attempt::answer(&bench.storage, 1).unwrap().expect("an answer");
    let parcel = bench.parcel();
    assert!(parcel.body.contains("step.cancelled"));
    // An agent that was dropped has nothing to say.
    let dropped = CommitRequest {
        answer: StoredAnswer {
            status: 200,
            body: r#"{"status":"cancelled","usage":{"duration_ms":77}}"#.into(),
        },
        ..commit_of(&execution, "", false)
    };
    assert_eq!(bench.ask("instance", dropped), Commit::Cancelled(cancelled.clone()));
    assert_eq!(bench.status("s").late_answer, None);
    let late = CommitRequest {
        state: Some(StateWrite {
            base: 1,
            content: "2".into(),
        }),
        ..commit_of(&execution, "late", false)
    };
    for _ in 0..2 {
        assert_eq!(
            bench.ask("instance", late.clone()),
            Commit::Cancelled(cancelled.clone())
        );
    }
    let now = bench.status("s");
    assert_eq!(now.answer, status.answer);
    assert_eq!(now.late_answer.expect("a late answer").body["output"], "late");
    assert_eq!(
        record::find(&bench.storage).unwrap().unwrap().version,
        1,
        "it changed the state"
    );
    // Nobody is told a second time.
    assert_eq!(bench.work(), None);
    assert_eq!(bench.ask("c2", request("k2", 2)), Claim::Answered(cancelled));
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
