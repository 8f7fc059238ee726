use super::super::call::Behalf;
use super::super::child::{Child, ChildClaim, Hold};
use super::super::coordination::TakeOver;
use super::super::ledger::{ClaimRequest, CommitRequest};
use super::super::outbox::RECEIVER;
use super::super::settlement::Takeover;
use super::super::testing::{Bench, HOLD_MS, background, commit_of, request};
use super::super::work::Execution;
use super::*;
use crate::telemetry::event::Event;

fn events(bench: &Bench) -> Vec<Event> {
    let batches = bench.export(&[RECEIVER]);
    batches
        .into_iter()
        .flat_map(|batch| batch.events)
        .map(|(_, event)| event)
        .collect()
}

/// Whose executions and attempts began and ended, and how.
fn told_of(events: &[Event]) -> Vec<String> {
    let word = |event: &Event| match &event.what {
        What::ExecutionBegan { subject, execution, .. } => format!("{} began {execution}", subject.step),
        What::ExecutionEnded {
            subject,
            execution,
            ending,
            ..
        } => {
            format!("{} ended {execution} {}", subject.step, ending.outcome)
        }
        What::AttemptEnded { subject, ending, .. } => format!("{} {}", subject.step, ending.outcome),
        other => other.name().to_owned(),
    };
    events.iter().map(word).collect()
}

/// A workflow's step that is under way.
fn workflow(bench: &Bench) -> Execution {
    let claim = ClaimRequest {
        workflow: true,
        ..background("k", 1)
    };
    bench.ask("o", claim);
    bench.execution()
}

const CALL_SPAN: &str = "00-0af7651916cd43dd8448eb211c80319c-00000000000000ca-01";
const WORKFLOW_SPAN: &str = "00000000000000ef";

fn call(bench: &Bench, parent: &Execution) -> Execution {
    let claim = ChildClaim {
        parent: Hold {
            ordinal: parent.ordinal,
            generation: parent.generation,
        },
        step: format!("{}/a", parent.call.step),
        number: 1,
        is_last: true,
        agent: "redact".into(),
        agent_version: "1.0.0".into(),
        workflow: false,
        notifications: Vec::new(),
        input: Value::Null,
        fingerprint: "f".into(),
        conversation: None,
        accepted_at_ms: parent.accepted_at_ms,
        deadline_ms: 1_000,
        traceparent: CALL_SPAN.into(),
        parent_span: Some(WORKFLOW_SPAN.into()),
        request_id: "req".into(),
        behalf: Behalf::default(),
    };
    match bench.transact(|storage| claim.answer(storage, bench.moment("instance")).unwrap()) {
        Child::Granted(execution) => *execution,
        other => panic!("it is not granted: {other:?}"),
    }
}

#[test]
fn a_claim_that_is_taken_from_the_dead_ends_their_execution() {
    let mut bench = Bench::default();
    bench.ask("a", request("k", 1));
    bench.now_ms += HOLD_MS + 1;
    bench.ask("b", request("k", 1));
    let step = request("k", 1).call.step;
    let told = told_of(&events(&bench));
    let expected = ["began 1", "ended 1 lost", "began 2"].map(|word| format!("{step} {word}"));
    assert_eq!(told, expected);
}

#[test]
fn a_workflows_calls_are_told_as_parts_of_it() {
    let bench = Bench::default();
    let parent = workflow(&bench);
    let step = parent.call.step.clone();
    // Whoever executed it died, and it is executed again.
    call(&bench, &parent);
    let child = call(&bench, &parent);
    bench.ask("instance", commit_of(&child, "one", false));
    bench.ask("instance", commit_of(&parent, "two", false));
    let events = events(&bench);
    let words = [
        "began 1",
        "/a began 1",
        "/a ended 1 lost",
        "/a began 2",
        "/a ended 2 completed",
        "/a completed",
        "ended 1 completed",
        "completed",
    ];
    let expected = words.map(|word| match word.strip_prefix('/') {
        Some(rest) => format!("{step}/{rest}"),
        None => format!("{step} {word}"),
    });
    assert_eq!(told_of(&events), expected);
    let of_call = &events[5];
    assert_eq!(
        (of_call.traceparent.as_str(), of_call.parent_span.as_deref()),
        (CALL_SPAN, Some(WORKFLOW_SPAN))
    );
    match &of_call.what {
        What::AttemptEnded { subject, .. } => assert_eq!(subject.parent.as_ref(), Some(&step)),
        other => panic!("another event: {other:?}"),
    }
}

#[test]
fn a_handoff_goes_on_from_the_workflow_and_not_from_its_call() {
    let bench = Bench::default();
    let parent = workflow(&bench);
    call(&bench, &parent);
    let last = bench.transact(|storage| attempt::last(storage).unwrap());
    assert_eq!(last.map(|last| last.ordinal), Some(parent.ordinal));
}

#[test]
fn a_takeover_without_a_claim_is_told_within_the_step_that_was_begun() {
    let bench = Bench::default();
    let traceparent = request("k", 1).call.traceparent;
    bench.ask("g", request("k", 1));
    let takeover = Takeover {
        gateway: "g".into(),
        reason: "hedged".into(),
        degraded: false,
        generation: None,
    };
    let question = TakeOver {
        takeover,
        traceparent: traceparent.clone(),
        parent_span: Some(WORKFLOW_SPAN.into()),
    };
    bench.ask("g", question.clone());
    bench.ask("g", question);
    let events = events(&bench);
    assert_eq!(events.len(), 2, "it is told once: {events:?}");
    assert_eq!(
        events[1].what,
        What::TakenOver {
            reason: "hedged".into()
        }
    );
    assert_eq!(
        (&events[1].traceparent, events[1].parent_span.as_deref()),
        (&traceparent, Some(WORKFLOW_SPAN))
    );
}

#[test]
fn an_answer_that_stood_ready_is_no_success_of_the_agent() {
    let told = |body: &str| {
        let answer = Answer::read(&StoredAnswer {
            status: 200,
            body: body.to_owned(),
        });
        let (work, attempt) = (answer.end_of_work("a"), answer.ending());
        (work.outcome, work.error_code, attempt.outcome)
    };
    let stood_in = r#"{"status":"completed","stand_in":true,"failed":[{"agent":"a","code":"boom"},{"agent":"b","code":"input-not-accepted"}]}"#;
    assert_eq!(
        told(stood_in),
        ("failed".into(), Some("boom".into()), "completed".into())
    );
    let second = r#"{"status":"completed","stand_in":true,"hops":[{"agent":"a","error":"boom","to":"c"}],
        "failed":[{"agent":"a","code":"boom"},{"agent":"c","code":"late"}]}"#;
    assert_eq!(told(second), ("failed".into(), Some("late".into()), "completed".into()));
    let answered = r#"{"status":"completed","failed":[{"agent":"a","code":"boom"}]}"#;
    assert_eq!(told(answered), ("completed".into(), None, "completed".into()));
}

#[test]
fn the_version_is_that_of_what_was_executed() {
    let bench = Bench::default();
    bench.ask("o", background("k", 1));
    let body = r#"{"status":"completed","agent_version":"1.0.0+override.1f0e2d3c"}"#;
    let mut commit = commit_of(&bench.execution(), "", false);
    commit.answer.body = body.to_owned();
    bench.ask("instance", commit);
    let version = |event: &Event| match &event.what {
        What::ExecutionEnded { subject, .. } | What::AttemptEnded { subject, .. } => {
            Some(subject.agent_version.clone())
        }
        _ => None,
    };
    let versions: Vec<_> = events(&bench).iter().filter_map(version).collect();
    assert_eq!(versions, ["1.0.0+override.1f0e2d3c"; 2]);
}

#[test]
fn what_agents_had_others_do_is_told_with_their_execution() {
    let bench = Bench::default();
    bench.ask("c", background("k", 1));
    let execution = bench.execution();
    let operation = crate::telemetry::span::tests::chat(crate::telemetry::operation::Upshot::default());
    let commit = CommitRequest {
        operations: vec![operation.clone()],
        ..commit_of(&execution, "one", false)
    };
    bench.ask("instance", commit);
    let told = events(&bench);
    let of_executions: Vec<_> = told
        .iter()
        .filter_map(|event| match &event.what {
            What::ExecutionEnded { operations, .. } => Some(operations.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(of_executions, [vec![operation]]);
}
