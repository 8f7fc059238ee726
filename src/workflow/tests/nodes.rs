//! What each kind of node comes to, and each way in which a workflow fails.

use serde_json::{Value, json};

use super::stage::Stage;
use crate::manifest::{Implementation, Team};
use crate::run::attempt::ATTEMPTS_MAX;
use crate::run::ledger::{BACKGROUND_MAX, ClaimRequest};
use crate::run::settlement::Takeover;
use crate::run::storage::Storage as _;
use crate::schema::{Schema, VIOLATIONS_MAX};

fn output(outcome: &Value) -> &Value {
    assert_eq!(outcome["status"], "completed", "{outcome}");
    &outcome["output"]
}

#[track_caller]
fn check(steps: Value, made: Value, expected: Value) {
    let stage = Stage::of(&steps, &made);
    let outcome = stage.outcome("tested", json!({"n": 1, "list": ["a", "b", "c"]}));
    assert_eq!(output(&outcome), &expected);
}

/// A workflow of these nodes fails with this code, and a message that has these words.
#[track_caller]
fn fails(steps: Value, code: &str, words: &str) -> Stage {
    let stage = Stage::of(&steps, &json!(null));
    let outcome = stage.outcome("tested", json!({"n": 1, "list": ["a", "b", "c"]}));
    assert_eq!(outcome["error"]["code"], code, "{outcome}");
    let message = outcome["error"]["message"].as_str().unwrap();
    assert!(message.contains(words), "{message}");
    stage
}

fn echo(id: &str, input: Value) -> Value {
    json!({"id": id, "call": "echo", "input": input})
}

fn sleep(id: &str, ms: u64) -> Value {
    json!({"id": id, "call": "sleep", "input": {"ms": ms}})
}

fn busy(id: &str, until_attempt: u32, max_attempts: u32) -> Value {
    json!({"id": id, "call": "fail", "retry": {"max_attempts": max_attempts, "backoff_ms": 100, "backoff_max_ms": 100},
        "input": {"code": "busy", "retry_after_ms": 0, "until_attempt": until_attempt}})
}

fn of(id: &str, rest: &str) -> Value {
    json!({"$value": format!("/steps/{id}/output{rest}")})
}

#[test]
fn every_kind_of_node_of_the_fixture() {
    for (text, way, items) in [("left", "went left", json!([])), ("x", "went ahead", json!(["a", "b"]))] {
        let outcome = Stage::new().outcome("flow-kinds", json!({"text": text, "items": items}));
        let output = output(&outcome);
        assert_eq!(output["first"], json!({"said": text}));
        assert_eq!(output["both"], 1);
        assert_eq!(output["race"].as_object().unwrap().keys().collect::<Vec<_>>(), ["fast"]);
        assert_eq!(
            output["vote"].as_object().unwrap().keys().collect::<Vec<_>>(),
            ["a", "c"]
        );
        assert_eq!(output["way"], way);
        assert_eq!(output["turns"], json!({"turn": 2, "before": 1}));
        let each: Vec<_> = output["each"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["input"].clone())
            .collect();
        let expected = items.as_array().unwrap().iter().enumerate();
        assert_eq!(
            each,
            expected
                .map(|(index, item)| json!({"item": item, "index": index}))
                .collect::<Vec<_>>()
        );
    }
}

#[test]
fn steps_are_named_by_their_places() {
    let stage = Stage::of(
        &json!([
            echo("one", json!(1)),
            {"id": "turns", "until": "index == 1", "times_max": 3, "loop": [
                {"id": "each", "over": [7, 8], "items_max": 3, "map": [echo("item", json!("{{ index }}"))]}]}
        ]),
        &of("turns", ""),
    );
    let outcome = stage.outcome("tested", json!({}));
    let inputs: Vec<_> = output(&outcome)
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["input"].clone())
        .collect();
    assert_eq!(inputs, ["0", "1"], "the innermost index");
    let steps: Vec<_> = stage.steps().into_iter().map(|(step, ..)| step).collect();
    let expected = [
        "w",
        "w/one",
        "w/turns.0/each.0/item",
        "w/turns.0/each.1/item",
        "w/turns.1/each.0/item",
        "w/turns.1/each.1/item",
    ];
    assert_eq!(steps, expected);
    let told = stage.told.borrow();
    assert_eq!(
        told[..4],
        ["one: begun", "one: completed", "turns: begun", "turns.0/each: begun"]
    );
}

#[test]
fn a_branch_that_goes_no_way_comes_to_null() {
    let branch = |when: &str| json!([{"id": "way", "branch": [{"when": when, "then": [echo("x", json!("x"))]}]}]);
    check(branch("input.n == 2"), of("way", ""), json!(null));
    check(branch("input.n == 1"), of("way", "/input"), json!("x"));
}

#[test]
fn what_a_sequence_or_a_full_parallel_holds_is_seen_after_it() {
    check(
        json!([{"id": "both", "join": {"quorum": 2}, "parallel": [
            {"id": "s", "sequence": [echo("a", json!(1)), echo("b", json!(2))]}, echo("c", json!(3))]}]),
        json!([
            of("a", "/input"),
            of("b", "/input"),
            of("s", "/input"),
            of("c", "/input")
        ]),
        json!([1, 2, 2, 3]),
    );
}

#[test]
fn so_many_items_are_under_way_at_once() {
    for (concurrency, expected_ms) in [(1, 300), (2, 200), (3, 100)] {
        let steps = json!([{"id": "each", "over": {"$value": "/input/list"}, "items_max": 3, "concurrency": concurrency,
            "map": [sleep("nap", 100)]}]);
        let stage = Stage::of(&steps, &json!(1));
        let outcome = stage.outcome("tested", json!({"list": [1, 2, 3]}));
        assert_eq!(outcome["usage"]["duration_ms"], expected_ms);
    }
}

#[test]
fn calls_are_not_counted_among_what_a_run_does_in_the_background() {
    let inner = json!({"id": "inner", "over": [1, 2, 3, 4, 5, 6], "items_max": 6, "concurrency": 6, "map": [sleep("nap", 100)]});
    let outer = json!([{"id": "outer", "over": [1, 2, 3, 4, 5, 6], "items_max": 6, "concurrency": 6, "map": [inner]}]);
    let stage = Stage::of(&outer, &json!(1));
    assert_eq!(stage.outcome("tested", json!({}))["usage"]["duration_ms"], 100);
    assert!(stage.begun.borrow().len() > BACKGROUND_MAX);
}

#[test]
fn who_has_lost_is_cancelled() {
    let stage = Stage::of(
        &json!([{"id": "race", "join": "any", "parallel": [sleep("slow", 1_000), sleep("fast", 10), busy("bad", 9, 1)]},
            echo("after", json!(1))]),
        &of("race", "/fast/slept_ms"),
    );
    assert_eq!(output(&stage.outcome("tested", json!({}))), 10);
    let expected = [
        ("w", "completed"),
        ("w/slow", "cancelled"),
        ("w/fast", "completed"),
        ("w/bad", "failed"),
        ("w/after", "completed"),
    ];
    let steps = stage.steps();
    let steps: Vec<_> = steps
        .iter()
        .map(|(step, _, ending)| (step.as_str(), ending.as_deref().unwrap()))
        .collect();
    assert_eq!(steps, expected);
    assert_eq!(stage.keep("decision/w/race").unwrap(), r#"{"joined":[1]}"#);
}

#[test]
fn a_parallel_fails_as_soon_as_too_few_can_complete() {
    let race = |join: Value| {
        json!([{"id": "race", "join": join, "parallel": [
        sleep("slow", 1_000), {"id": "bad", "sequence": [sleep("x", 10), busy("y", 9, 1)]}, busy("worse", 9, 1)]}])
    };
    let stage = fails(
        race(json!("all")),
        "workflow-call-failed",
        "`worse`, a call of `fail`: busy: ",
    );
    assert_eq!(
        stage.keep("decision/w/race").unwrap(),
        r#"{"failed":{"attempt":1,"branch":2}}"#
    );
    fails(
        race(json!({"quorum": 2})),
        "workflow-call-failed",
        "`y`, a call of `fail`: busy: ",
    );
    check(race(json!("any")), of("race", "/slow/slept_ms"), json!(1_000));
}

#[test]
fn a_call_is_tried_again_where_that_may_help() {
    let stage = Stage::of(&json!([busy("x", 3, 3)]), &of("x", ""));
    let outcome = stage.outcome("tested", json!({}));
    assert_eq!(output(&outcome), &json!({"attempt": 3}));
    // Two waits, of which half is jitter.
    let took_ms = outcome["usage"]["duration_ms"].as_u64().unwrap();
    assert!((100..=200).contains(&took_ms), "{took_ms}");
    assert_eq!(
        stage.steps(),
        [
            ("w".into(), 1, Some("completed".into())),
            ("w/x".into(), 3, Some("completed".into()))
        ]
    );

    let stage = fails(
        json!([busy("x", 4, 3)]),
        "workflow-call-failed",
        "`x`, a call of `fail`: busy: ",
    );
    assert_eq!(stage.answer("w")["error"]["retryable"], true);
    let terminal = json!([{"id": "x", "call": "fail", "input": {"code": "no"}, "retry": {"max_attempts": 3}}]);
    let stage = fails(terminal, "workflow-call-failed", "`x`, a call of `fail`: no: ");
    assert_eq!(stage.answer("w")["error"]["retryable"], false);
    assert_eq!(stage.begun.borrow().len(), 1);
}

#[test]
fn another_attempt_of_the_workflow_goes_on_where_it_failed() {
    let stage = Stage::of(
        &json!([echo("before", json!(1)),
            {"id": "race", "join": "any", "parallel": [sleep("slow", 50), sleep("fast", 10)]}, busy("x", 3, 2)]),
        &json!([of("before", "/step"), of("race", "/fast/slept_ms"), of("x", "/attempt")]),
    );
    stage.outcome("tested", json!({}));
    assert_eq!(stage.answer("w")["status"], "failed");
    stage.invoke("tested", json!({}), 2);
    assert!(stage.work(None));
    assert_eq!(output(&stage.answer("w")), &json!(["w/before", 10, 3]));
    let begun = stage.begun.borrow();
    let count = |step: &str| begun.iter().filter(|(begun, ..)| begun == step).count();
    assert_eq!(
        (count("w/before"), count("w/fast"), count("w/slow"), count("w/x")),
        (1, 1, 1, 3)
    );
}

#[test]
fn what_does_not_fit_is_a_failure_with_its_place() {
    fails(
        json!([sleep("nap", 1), {"id": "x", "call": "sleep", "input": {"ms": "{{ input.n }}"}}]),
        "workflow-data",
        "`x`, a call of `sleep`: the input that was made for it does not fit its schema at `/ms`",
    );
    fails(
        json!([echo("x", json!({"a": {"$value": "/input/none"}}))]),
        "workflow-data",
        "`x`, template#/a: nothing is at /input/none",
    );
    fails(
        json!([{"id": "way", "branch": [{"when": "input.n", "then": [echo("x", json!(1))]}]}]),
        "workflow-condition",
        "`way`, condition `input.n`: comes to a number, not to true or false",
    );
    let each = |over: &str, items_max: u64| json!([{"id": "each", "over": {"$value": over}, "items_max": items_max, "map": [echo("x", json!(1))]}]);
    fails(
        each("/input/n", 3),
        "workflow-no-list",
        "`each`: its `over` comes to something that is no list",
    );
    fails(
        each("/input/list", 2),
        "workflow-items-exceeded",
        "`each` has 3 items; its `items_max` is 2",
    );
    check(each("/input/list", 3), json!("ok"), json!("ok"));
    let turns = |times_max: u64| json!([{"id": "turns", "until": "index == 2", "times_max": times_max, "loop": [echo("x", json!(1))]}]);
    fails(turns(2), "workflow-loop-not-done", "`turns` was not done after 2 turns");
    check(turns(3), json!("ok"), json!("ok"));
    fails(
        json!([{"id": "x", "call": "bad-output", "input": {}}]),
        "workflow-call-failed",
        "output-schema-violated",
    );
    fails(
        json!([{"id": "x", "call": "panic", "input": {"panic": true}}]),
        "workflow-call-failed",
        "agent-panicked",
    );
}

#[test]
fn the_time_of_a_workflow_is_that_of_all_its_calls() {
    let stage = Stage::new();
    let outcome = stage.outcome("flow-brief", json!({"ms": 1_000}));
    assert_eq!(
        (&outcome["code"], &outcome["detail"]),
        (
            &json!("deadline-exceeded"),
            &json!("the agent did not finish within 500 ms")
        )
    );
    let steps: Vec<_> = stage
        .steps()
        .into_iter()
        .map(|(step, _, ending)| (step, ending.unwrap()))
        .collect();
    let expected = [("w", "failed"), ("w/before", "completed"), ("w/nap", "failed")];
    assert_eq!(
        steps,
        expected.map(|(step, ending)| (step.to_owned(), ending.to_owned()))
    );
    assert_eq!(
        output(&Stage::new().outcome("flow-brief", json!({"ms": 400})))["slept_ms"],
        400
    );
    // An agent's own time is another matter: that is a failure of its call.
    fails(
        json!([sleep("nap", 60_000)]),
        "workflow-call-failed",
        "`nap`, a call of `sleep`: deadline-exceeded: ",
    );
}

#[test]
fn a_cancelled_workflow_cancels_its_calls() {
    let stage = Stage::of(
        &json!([{"id": "both", "parallel": [sleep("a", 5_000), {"id": "b", "call": "flow-slow", "input": {"ms": 5_000}}]}]),
        &json!(1),
    );
    *stage.cancel_at.borrow_mut() = Some((1_000_100, "w".into()));
    assert_eq!(stage.outcome("tested", json!({}))["status"], "cancelled");
    let endings: Vec<_> = stage
        .steps()
        .into_iter()
        .map(|(step, _, ending)| (step, ending.unwrap()))
        .collect();
    let expected = [
        ("w", "cancelled"),
        ("w/a", "cancelled"),
        ("w/b", "cancelled"),
        ("w/b/before", "completed"),
        ("w/b/nap", "cancelled"),
    ];
    assert_eq!(
        endings,
        expected.map(|(step, ending)| (step.to_owned(), ending.to_owned()))
    );
}

#[test]
fn a_cancelled_call_is_a_failure_of_its_workflow() {
    let stage = Stage::of(&json!([sleep("a", 5_000)]), &json!(1));
    *stage.cancel_at.borrow_mut() = Some((1_000_100, "w/a".into()));
    let outcome = stage.outcome("tested", json!({}));
    assert_eq!(
        outcome["error"]["message"],
        "`a`, a call of `sleep`: cancelled: its step was cancelled"
    );
}

#[test]
fn calls_share_the_state_of_the_run() {
    let outcome = Stage::new().outcome("flow-state", json!({}));
    assert_eq!(output(&outcome), &json!({"left": 1, "right": 2}));
}

#[test]
fn a_handoff_within_a_call_is_followed_but_not_to_a_workflow() {
    let mut stage = Stage::of(
        &json!([{"id": "x", "call": "script", "input": {"actions": [{"hand_off": {"agent": "tested", "reason": "r"}}]}}]),
        &json!(1),
    );
    let script = stage.team.agents.iter_mut().find(|agent| agent.id == "script").unwrap();
    script.handoffs.push("tested".into());
    let outcome = stage.outcome("tested", json!({}));
    let message = outcome["error"]["message"].as_str().unwrap();
    assert!(
        message.ends_with("handed-off: it hands off to the workflow `tested`; call that instead"),
        "{outcome}"
    );
}

#[test]
fn spans_of_calls_are_parts_of_the_workflows_trace() {
    let stage = Stage::of(&json!([echo("a", json!(1)), echo("b", json!(1))]), &json!(1));
    stage.outcome("tested", json!({}));
    let span = |step: &str| stage.answer(step)["trace"]["traceparent"].as_str().unwrap().to_owned();
    let (own, a, b) = (span("w"), span("w/a"), span("w/b"));
    assert_eq!((&own[..36], &own[..36]), (&a[..36], &b[..36]), "one trace");
    assert!(own != a && own != b && a != b);
}

#[test]
fn a_workflow_that_was_changed_under_way_says_so() {
    let mut stage = Stage::of(&json!([echo("a", json!(1)), busy("x", 9, 1)]), &json!(1));
    stage.outcome("tested", json!({}));
    stage.put(&json!([echo("a", json!(2))]), &json!(1));
    stage.invoke("tested", json!({}), 2);
    assert!(stage.work(None));
    let message = stage.answer("w")["error"]["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("workflow-changed: `w/a` was called with another input before"),
        "{message}"
    );
}

#[test]
fn the_step_of_a_call_is_the_workflows_alone() {
    let stage = Stage::of(&json!([echo("a", json!(1)), busy("x", 9, 1)]), &json!(1));
    stage.outcome("tested", json!({}));
    let own = stage.status("w/x");
    let claim = |key: &str| {
        let request: ClaimRequest = serde_json::from_value(json!({
            "using": {"name": {"orchestrator": "o", "run": "r"}, "retention_ms": 1_000}, "idempotency_key": key,
            "fingerprint": "f", "agent_version": "1.0.0", "retry": {}, "hold_ms": 1, "background": false, "callback_url": null,
            "call": {"run": "r", "step": "w/x", "attempt": 2, "agent": "fail", "input": {}, "state": "none", "deadline_ms": 1,
                "follow_handoffs": false, "traceparent": "", "request_id": ""}
        }))
        .unwrap();
        format!("{:?}", stage.ask(&request))
    };
    assert_eq!(
        (claim("other"), claim(&own.idempotency_key)),
        ("StepMismatch".into(), "KeyMismatch".into())
    );

    // And the other way round: a step of somebody else is no call.
    let stage = Stage::of(&json!([{"id": "b", "sequence": [echo("a", json!(1))]}]), &json!(1));
    stage.invoke("tested", json!({}), 1);
    let taken = stage.keep("attempt/000001").unwrap().replace("\"w\"", "\"w/a\"");
    stage.transact(|storage| {
        storage.put("attempt/000009", &taken)?;
        storage.put("latest/w/a", "9")
    });
    assert!(stage.work(None));
    let message = stage.answer("w")["error"]["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("workflow-step-taken: the run has a step `w/a`"),
        "{message}"
    );
}

#[test]
fn an_orchestrator_is_told_of_the_workflow_and_not_of_its_calls() {
    let mut stage = Stage::of(&json!([echo("a", json!(1))]), &json!(1));
    stage.takeover = Some(Takeover {
        gateway: "g".into(),
        reason: "timeout".into(),
        degraded: false,
        generation: None,
    });
    stage.outcome("tested", json!({}));
    let told = stage.settlement();
    let steps: Vec<_> = told["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| &step["step"])
        .collect();
    assert_eq!(steps, ["w"]);
}

#[test]
fn a_run_that_is_full_ends_the_workflow() {
    for (attempts, expected) in [
        (ATTEMPTS_MAX - 1, Value::Null),
        (ATTEMPTS_MAX, json!("workflow-call-failed")),
    ] {
        let stage = Stage::of(&json!([echo("a", json!(1))]), &json!(1));
        stage.invoke("tested", json!({}), 1);
        let mut run: Value = serde_json::from_str(&stage.keep("run/only").unwrap()).unwrap();
        run["attempts"] = attempts.into();
        stage.transact(|storage| storage.put("run/only", &run.to_string()));
        assert!(stage.work(None));
        let error = &stage.answer("w")["error"];
        assert_eq!(error["code"], expected);
        let is_full = error["message"]
            .as_str()
            .is_some_and(|message| message.contains("run-full: "));
        assert_eq!(is_full, attempts == ATTEMPTS_MAX, "{error}");
    }
}

#[test]
fn examples_of_workflows_give_what_they_declare() {
    let mut seen = 0;
    for agent in &Team::embedded().agents {
        if !matches!(agent.implementation, Implementation::Workflow { .. }) {
            continue;
        }
        for example in &agent.examples {
            let outcome = Stage::new().outcome(&agent.id, example.input.clone());
            let output = output(&outcome);
            if let Some(expected) = &example.output {
                // Equal as JSON, where 3 and 3.0 are the same number.
                let same = Schema::compile(&json!({ "const": expected })).unwrap();
                assert!(same.accepts(output), "{}: {}: {output:#}", agent.id, example.title);
            }
            assert_eq!(agent.output.get().unwrap().violations(output, VIOLATIONS_MAX), []);
            seen += 1;
        }
    }
    assert!(seen >= 2, "the sample workflow has examples");
}
