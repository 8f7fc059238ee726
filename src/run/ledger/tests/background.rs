//! Steps in the background: accepted, executed again, lost.

use super::*;

#[test]
fn a_step_in_the_background_is_accepted_begun_and_committed() {
    let bench = Bench::default();
    let status = accepted(bench.ask("c1", background("k", 1)));
    assert_eq!((status.status, status.executions), (Phase::Accepted, 0));
    let execution = bench.execution();
    assert_eq!((execution.ordinal, execution.generation), (1, 1));
    assert_eq!(execution.accepted_at_ms, Some(bench.now_ms));
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
