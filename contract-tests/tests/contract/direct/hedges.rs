//! Direct calls to an agent that the gateway begins beside an orchestrator that takes its time.

use serde_json::{Value, json};

use super::world::{World, world};
use super::{answered, call};

fn ask(world: &World, actions: Value) -> Value {
    let body = json!({ "input": { "actions": actions } });
    answered(&call(&world.gateway, &world.key, "/agents/hedged/query", &body).send())
}

#[test]
fn the_gateway_that_ends_first_answers_and_the_run_is_settled() {
    let world = world();
    world.orchestrator.behave(&json!({ "runs": "hang" }));
    let body = ask(&world, json!([]));
    assert_eq!(body["route"]["reason"], "hedged", "{body}");
    assert_eq!((&body["status"], &body["step"]), (&json!("completed"), &json!("query")));
    world.orchestrator.behave(&json!({}));
    world.is_settled(&body);
}

#[test]
fn an_orchestrator_that_has_begun_the_step_keeps_the_run() {
    let world = world();
    // Longer than the gateway waits before it begins by itself.
    let body = ask(&world, json!([{ "sleep_ms": 1_000 }]));
    assert_eq!(
        body["route"],
        json!({ "by": "orchestrated", "orchestrator": "reference" })
    );
    let run = body["run"].as_str().expect("a run");
    assert_eq!(world.orchestrator.settlements(run), Vec::<Value>::new());
}

#[test]
fn what_does_not_complete_waits_for_the_orchestrator() {
    let world = world();
    world.orchestrator.behave(&json!({ "runs": "hang" }));
    let body = ask(&world, json!([{ "fail": { "code": "broken" } }]));
    assert_eq!(
        (&body["route"]["reason"], &body["error"]["code"]),
        (&json!("timeout"), &json!("broken")),
        "{body}"
    );
    world.orchestrator.behave(&json!({}));
}
