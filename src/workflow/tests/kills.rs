//! A workflow whose run's object dies at every point goes on where it was.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::stage::{Death, Stage};
use crate::run::attempt::EXECUTIONS_MAX;

/// More decisions than any of these workflows needs.
const POINTS_MAX: usize = 2_000;

/// What a workflow came to, without times.
#[derive(Debug, PartialEq)]
struct Came {
    status: Value,
    output: Value,
    steps: BTreeSet<(String, u32, Option<String>)>,
}

fn came(stage: &Stage) -> Came {
    let mut outcome = stage.answer("w");
    forget_times(&mut outcome);
    for (step, _, ending) in stage.steps() {
        assert!(ending.is_some(), "`{step}` is left behind");
    }
    Came {
        status: json!([outcome["status"], outcome["error"]["code"]]),
        output: outcome["output"].take(),
        steps: stage.steps().into_iter().collect(),
    }
}

fn forget_times(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|key, _| key != "executed_at_ms" && key != "deadline_at_ms");
            object.values_mut().for_each(forget_times);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_times),
        _ => {}
    }
}

fn undisturbed(steps: &Value, output: &Value) -> Came {
    let stage = Stage::of(steps, output);
    stage.outcome("tested", json!({"n": 1}));
    came(&stage)
}

/// Kills the run's object at these points, one after the other, and then lets it be.
fn killed(steps: &Value, output: &Value, deaths: &[Death]) -> (Came, bool) {
    let stage = Stage::of(steps, output);
    stage.invoke("tested", json!({"n": 1}), 1);
    for death in deaths {
        if stage.work(Some(*death)) {
            return (came(&stage), true);
        }
    }
    assert!(stage.work(None));
    (came(&stage), false)
}

/// Kills it at every point, before and after what it decides there is written.
fn at_every_point(steps: &Value, output: &Value, check: impl Fn(Death, Came)) {
    for written in [false, true] {
        for at in 0..POINTS_MAX {
            let death = Death { at, written };
            let (came, lived) = killed(steps, output, &[death]);
            check(death, came);
            if lived {
                break;
            }
        }
    }
}

/// A node without an id.
fn node(racing: bool) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => (0_u64..40).prop_map(|ms| json!({"call": "sleep", "input": {"ms": ms}})),
        2 => Just(json!({"call": "echo", "input": {"n": {"$value": "/input/n"}}})),
        1 => (1_u32..4).prop_map(|until| json!({
            "call": "fail", "input": {"code": "busy", "retry_after_ms": 5, "until_attempt": until},
            "retry": {"max_attempts": 2, "backoff_ms": 10}
        })),
    ];
    leaf.prop_recursive(3, 12, 3, move |inner| {
        let some = || prop::collection::vec(inner.clone(), 1..3);
        let joins = if racing {
            prop_oneof![Just(json!("any")), Just(json!({"quorum": 2})), Just(json!("all"))].boxed()
        } else {
            Just(json!("all")).boxed()
        };
        prop_oneof![
            some().prop_map(|nodes| json!({ "sequence": nodes })),
            (prop::collection::vec(inner.clone(), 2..4), joins)
                .prop_map(|(nodes, join)| json!({"parallel": nodes, "join": join})),
            (some(), some(), 0_u32..3).prop_map(|(then, other, least)| json!({
                "branch": [{"when": format!("input.n >= {least}"), "then": then}], "else": other
            })),
            (some(), 1_u64..4).prop_map(|(nodes, turns)| json!({
                "loop": nodes, "until": format!("index >= {}", turns - 1), "times_max": 3
            })),
            (some(), 0_usize..4, 1_usize..3).prop_map(|(nodes, items, concurrency)| json!({
                "map": nodes, "over": vec![0; items], "items_max": 5, "concurrency": concurrency
            })),
        ]
    })
}

/// Numbers the nodes of a list, and those within them.
fn name(nodes: &mut Value, count: &mut usize) {
    let Value::Array(nodes) = nodes else { return };
    for node in nodes {
        node["id"] = format!("n{count}").into();
        *count += 1;
        for inner in ["/sequence", "/parallel", "/branch/0/then", "/else", "/loop", "/map"] {
            if let Some(inner) = node.pointer_mut(inner) {
                name(inner, count);
            }
        }
    }
}

/// Nodes of a workflow, and an output that shows what each of the outer ones came to.
fn workflow(racing: bool) -> impl Strategy<Value = (Value, Value)> {
    prop::collection::vec(node(racing), 1..4).prop_map(|nodes| {
        let mut nodes = Value::Array(nodes);
        name(&mut nodes, &mut 0);
        let ids = nodes.as_array().unwrap().iter();
        let output = ids.map(|node| json!({"$value": format!("/steps/{}/output", node["id"].as_str().unwrap())}));
        let output = output.collect();
        (nodes, output)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Where nobody races, an interrupted workflow comes to the same as one that was left alone: the same output, by the same
    /// steps and attempts. That no completed step is executed again the stage sees to.
    #[test]
    fn a_workflow_that_is_killed_at_any_point_comes_to_the_same((steps, output) in workflow(false)) {
        let expected = undisturbed(&steps, &output);
        at_every_point(&steps, &output, |death, came| assert_eq!(came, expected, "{death:?} in {steps}"));
    }

    /// Where branches race, who wins may depend on the accident; that enough of them complete does not, and what was decided
    /// stays decided.
    #[test]
    fn a_race_that_was_decided_stays_decided((steps, output) in workflow(true)) {
        let expected = undisturbed(&steps, &output);
        at_every_point(&steps, &output, |death, came| {
            assert_eq!(came.status, expected.status, "{death:?} in {steps}");
        });
    }

    /// The same for accident upon accident.
    #[test]
    fn a_workflow_survives_accident_upon_accident(
        (steps, output) in workflow(false),
        deaths in prop::collection::vec((0_usize..30, any::<bool>()), 1..8),
    ) {
        let deaths: Vec<_> = deaths.into_iter().map(|(at, written)| Death { at, written }).collect();
        let expected = undisturbed(&steps, &output);
        let (came, _) = killed(&steps, &output, &deaths);
        prop_assert_eq!(came, expected, "{:?} in {}", deaths, steps);
    }
}

#[test]
fn a_workflow_that_always_kills_its_object_is_given_up() {
    let stage = Stage::of(&json!([{"id": "x", "call": "echo", "input": 1}]), &json!(1));
    stage.invoke("tested", json!({}), 1);
    let at_once = Death { at: 0, written: true };
    for _ in 0..EXECUTIONS_MAX {
        assert!(!stage.work(Some(at_once)));
    }
    assert!(stage.work(None));
    let outcome = stage.answer("w");
    assert_eq!(outcome["error"]["code"], "attempt-lost", "{outcome}");
    assert_eq!(came(&stage).steps.len(), 2, "and nothing of it is left behind");
    // One accident less, and it comes to its end.
    let deaths = vec![at_once; EXECUTIONS_MAX as usize - 1];
    let steps = json!([{"id": "x", "call": "echo", "input": 1}]);
    let (came, _) = killed(&steps, &json!(1), &deaths);
    assert_eq!(came.status[0], "completed");
}

#[test]
fn a_workflow_within_a_workflow_goes_on_as_well() {
    let steps = json!([
        {"id": "outer", "parallel": [
            {"id": "one", "call": "flow-slow", "input": {"ms": 30}},
            {"id": "two", "call": "flow-slow", "input": {"ms": 10}}]},
        {"id": "last", "call": "echo", "input": 1}
    ]);
    let output = json!({"$value": "/steps/outer/output"});
    let expected = undisturbed(&steps, &output);
    assert_eq!(expected.status, json!(["completed", null]));
    at_every_point(&steps, &output, |death, came| assert_eq!(came, expected, "{death:?}"));
}
