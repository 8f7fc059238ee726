use super::*;
use serde_json::{Value, json};

fn workflow(steps: Value, output: Value) -> WorkflowConfig {
    serde_json::from_value(json!({"steps": steps, "output": output})).unwrap()
}

#[track_caller]
fn compare(found: Vec<(String, String)>, expected: &[(&str, &str)]) {
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((at, reason), (expected_at, expected_reason)) in found.iter().zip(expected) {
        assert_eq!(at, &format!("/workflow{expected_at}"), "{reason}");
        assert!(reason.contains(expected_reason), "{at}: {reason}");
    }
}

/// What is found in a workflow of these steps.
#[track_caller]
fn check(steps: Value, expected: &[(&str, &str)]) {
    check_with(steps, json!(null), expected);
}

#[track_caller]
fn check_with(steps: Value, output: Value, expected: &[(&str, &str)]) {
    let mut found = Vec::new();
    alone(&workflow(steps, output), &mut |at, reason| found.push((at, reason)));
    compare(found, expected);
}

fn call(id: &str, input: Value) -> Value {
    json!({"id": id, "call": "echo", "input": input})
}

fn output_of(id: &str) -> Value {
    json!({"$value": format!("/steps/{id}/output")})
}

#[test]
fn a_step_sees_what_has_certainly_ended() {
    let both = |join: Value| {
        json!([
            {"id": "both", "join": join, "parallel": [
                {"id": "s", "sequence": [call("a", json!(1)), call("b", output_of("a"))]},
                call("c", json!(2))
            ]},
            call("after", json!([output_of("both"), output_of("b"), "{{ steps.c.output }}"]))
        ])
    };
    check(both(json!("all")), &[]);
    check(both(json!({"quorum": 2})), &[]);
    let unsure = [
        (
            "/steps/1/input/1",
            "`b` (at /workflow/steps/0/parallel/0/sequence/1) has not certainly ended here",
        ),
        (
            "/steps/1/input/2",
            "`c` (at /workflow/steps/0/parallel/1) has not certainly ended here",
        ),
    ];
    check(both(json!("any")), &unsure);
    check(both(json!({"quorum": 1})), &unsure);
    check_with(
        json!([
            call("a", output_of("b")),
            call("b", output_of("none")),
            call("c", output_of("c"))
        ]),
        json!([output_of("a"), output_of("none"), {"$value": "/steps/a/state"}, "{{ steps.a.ouput }}"]),
        &[
            (
                "/steps/0/input",
                "`b` (at /workflow/steps/1) has not certainly ended here",
            ),
            ("/steps/1/input", "there is no step `none`"),
            (
                "/steps/2/input",
                "`c` (at /workflow/steps/2) has not certainly ended here",
            ),
            ("/output/1", "there is no step `none`"),
            ("/output/2", "a step has no `state`; write `steps.a.output`"),
            ("/output/3", "a step has no `ouput`"),
        ],
    );
    check(
        json!([{"id": "both", "parallel": [call("a", json!(1)), call("b", output_of("a"))]}]),
        &[(
            "/steps/0/parallel/1/input",
            "`a` (at /workflow/steps/0/parallel/0) has not",
        )],
    );
}

#[test]
fn what_is_within_a_branch_a_loop_or_a_map_stays_there() {
    check_with(
        json!([
            {"id": "way", "branch": [{"when": "input.x", "then": [call("a", json!(1)), call("b", output_of("a"))]}],
             "else": [call("c", output_of("a"))]},
            {"id": "turns", "until": "steps.d.output == previous and index > 1", "times_max": 3,
             "loop": [call("d", json!({"$value": "/previous"}))]},
            {"id": "each", "over": output_of("turns"), "items_max": 3, "map": [call("e", json!("{{ item }}{{ index }}"))]}
        ]),
        json!([
            output_of("way"),
            output_of("turns"),
            output_of("each"),
            output_of("d"),
            output_of("e")
        ]),
        &[
            (
                "/steps/0/else/0/input",
                "`a` (at /workflow/steps/0/branch/0/then/0) has not",
            ),
            ("/output/3", "`d` (at /workflow/steps/1/loop/0) has not"),
            ("/output/4", "`e` (at /workflow/steps/2/map/0) has not"),
        ],
    );
    check(
        json!([
            call("a", json!(["{{ item }}", "{{ index }}", "{{ previous }}", "{{ state }}", {"$value": "/input"}])),
            {"id": "each", "over": {"$value": "/item"}, "items_max": 3, "map": [call("b", json!({"$value": "/previous"}))]},
            call("c", json!({"$value": "/state"}))
        ]),
        &[
            ("/steps/0/input/0", "`item` is there only within a `map`"),
            ("/steps/0/input/1", "`index` is there only within a `loop` or a `map`"),
            ("/steps/0/input/2", "`previous` is there only within a `loop`"),
            (
                "/steps/0/input/3",
                "there is no `state`; a workflow sees `input`, `steps`",
            ),
            ("/steps/1/over", "`item` is there only within a `map`"),
            ("/steps/1/map/0/input", "`previous` is there only within a `loop`"),
            (
                "/steps/2/input",
                "`$value` must be a JSON Pointer that begins with /input or /steps",
            ),
        ],
    );
}

#[test]
fn ways_that_are_never_gone_are_found() {
    let way = |when: &str, id: &str| json!({"when": when, "then": [call(id, json!(1))]});
    check(
        json!([{"id": "way", "branch": [
            way("input.x == 1", "a"), way("input.x == 1", "b"), way("1 > 2", "c"), way("'x'", "d"), way("input.", "e"),
            way("true", "f"), way("input.y", "g")
        ]}]),
        &[
            ("/steps/0/branch/1/when", "never decides: way 0 has the same condition"),
            ("/steps/0/branch/2/when", "never holds"),
            ("/steps/0/branch/3/when", "comes to a string, not to true or false"),
            ("/steps/0/branch/4/when", "is no expression that minijinja understands"),
            (
                "/steps/0/branch/6/when",
                "is never looked at: the condition of way 5 always holds",
            ),
        ],
    );
}

#[test]
fn ids_templates_and_joins_are_checked() {
    check(
        json!([
            call("a", json!("{{ input.")),
            {"id": "both", "join": {"quorum": 3}, "parallel": [call("a", json!(1)), call("both", json!(1))]},
            {"id": "r", "call": "echo", "input": 1, "retry": {"backoff_ms": 10, "backoff_max_ms": 5}}
        ]),
        &[
            (
                "/steps/1/parallel/0/id",
                "the node at /workflow/steps/0 is named `a` already",
            ),
            (
                "/steps/1/parallel/1/id",
                "the node at /workflow/steps/1 is named `both` already",
            ),
            ("/steps/2/retry/backoff_ms", "must not be longer"),
            ("/steps/0/input", "line 1: "),
            ("/steps/1/join/quorum", "there are 2 branches"),
        ],
    );
}

#[test]
fn nodes_and_nesting_are_bounded() {
    let many = |count: usize| {
        (0..count)
            .map(|index| call(&format!("n{index}"), json!(1)))
            .collect::<Value>()
    };
    check(many(NODES_MAX), &[]);
    check(
        many(NODES_MAX + 1),
        &[("/steps", "there are 101 nodes; a workflow has 100 at most")],
    );
    let nested = |depth: usize| {
        (1..depth).fold(
            call("n0", json!(1)),
            |inner, level| json!({"id": format!("n{level}"), "sequence": [inner]}),
        )
    };
    check(json!([nested(NESTING_MAX)]), &[]);
    let deepest = format!("/steps/0{}", "/sequence/0".repeat(NESTING_MAX));
    check(json!([nested(NESTING_MAX + 1)]), &[(&deepest, "8 deep")]);
}

#[test]
fn the_nodes_in_the_documentation_are_good() {
    let page = include_str!("../../../../docs/workflows.md");
    let nodes = page.split("```json\n").nth(2).unwrap();
    let (nodes, _) = nodes.split_once("```").unwrap();
    check(serde_json::from_str(nodes).unwrap(), &[]);
}

fn agent(id: &str, steps: Value) -> AgentManifest {
    let kind = match steps {
        Value::Null => json!({"kind": "rust", "rust": {"name": "echo"}}),
        steps => json!({"kind": "workflow", "workflow": {"steps": steps, "output": 1}}),
    };
    let mut agent =
        json!({"id": id, "version": "1.0.0", "title": "A", "description": "A.", "input": true, "output": true});
    agent.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
    serde_json::from_value(agent).unwrap()
}

/// What is found in the first of these agents.
#[track_caller]
fn check_team(agents: &[AgentManifest], expected: &[(&str, &str)]) {
    let by_id = agents.iter().map(|agent| (agent.id.as_str(), agent)).collect();
    let mut found = Vec::new();
    in_team(&agents[0], &by_id, &mut |at, reason| found.push((at, reason)));
    compare(found, expected);
}

fn calling(id: &str, agent: &str) -> Value {
    json!({"id": id, "call": agent, "input": 1})
}

#[test]
fn called_agents_exist_and_workflows_end() {
    let echo = || agent("echo", Value::Null);
    check_team(&[echo()], &[]);
    check_team(
        &[
            agent(
                "a",
                json!([calling("x", "echo"), calling("y", "none"), calling("z", "a")]),
            ),
            echo(),
        ],
        &[
            ("/steps/1/call", "there is no agent `none`"),
            ("/steps/2/call", "the workflows call each other in a circle: a -> a"),
        ],
    );
    let circle = |first: &str| {
        let others = [("a", "b"), ("b", "c"), ("c", "b")].map(|(id, next)| agent(id, json!([calling("x", next)])));
        let (mut first, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|agent| agent.id == first);
        first.extend(others);
        first
    };
    check_team(&circle("b"), &[("/steps/0/call", "in a circle: b -> c -> b")]);
    check_team(&circle("c"), &[("/steps/0/call", "in a circle: c -> b -> c")]);
}

#[test]
fn calls_are_counted_with_all_that_is_called() {
    let each = |items_max: u64, called: &str, attempts: u64| {
        json!([{"id": "e", "over": [], "items_max": items_max, "map": [
            {"id": "x", "call": called, "input": 1, "retry": {"max_attempts": attempts}}]}])
    };
    let echo = || agent("echo", Value::Null);
    check_team(&[agent("a", each(100, "echo", 5)), echo()], &[]);
    check_team(
        &[agent("a", each(100, "echo", 6)), echo()],
        &[("/steps", "may come to 600 calls")],
    );
    let inner = agent("b", each(4, "echo", 1));
    check_team(&[agent("a", each(100, "b", 1)), inner.clone(), echo()], &[]);
    check_team(
        &[agent("a", each(51, "b", 2)), inner, echo()],
        &[("/steps", "may come to 510 calls")],
    );
}

#[test]
fn depth_and_places_are_bounded() {
    let tower = |height: usize, id_chars: usize| -> Vec<AgentManifest> {
        let id = "i".repeat(id_chars);
        let levels = (0..height).map(|level| {
            let next = if level + 1 < height {
                format!("w{}", level + 1)
            } else {
                "echo".to_owned()
            };
            agent(&format!("w{level}"), json!([calling(&id, &next)]))
        });
        levels.chain([agent("echo", Value::Null)]).collect()
    };
    check_team(&tower(DEPTH_MAX, 19), &[]);
    check_team(
        &tower(DEPTH_MAX, 20),
        &[("/steps", "may have 84 bytes; the limit is 80")],
    );
    check_team(&tower(DEPTH_MAX + 1, 1), &[("/steps", "4 deep")]);
    let team = tower(2, 3);
    let find = |id: &str| team.iter().find(|agent| agent.id == id);
    assert_eq!(super::super::place_max_bytes(&team[0], &find), "/iii/iii".len());
    assert_eq!(super::super::place_max_bytes(&team[2], &find), 0);
    let looping = agent(
        "l",
        json!([{"id": "t", "until": "true", "times_max": 11, "loop": [calling("x", "echo")]}]),
    );
    assert_eq!(super::super::place_max_bytes(&looping, &find), "/t.10/x".len());
}
