//! Steps that are cancelled.

use super::*;

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
