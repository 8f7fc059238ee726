//! Direct calls as server-sent events, with an orchestrator and without it.

use contract_tests::event_stream::{Event, EventStream, Part};
use contract_tests::outside::fresh;
use contract_tests::schemas::assert_fits;
use serde_json::{Value, json};

use super::world::{World, world};
use super::{answered, call};

/// A call of the fixture `script` that the customer follows.
fn follow(world: &World, actions: Value, deadline_ms: u64) -> EventStream {
    let body = json!({ "input": { "actions": actions }, "deadline_ms": deadline_ms });
    call(&world.gateway, &world.key, "/agents/script/query", &body)
        .line("accept", "text/event-stream")
        .stream()
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

/// The text that was told, part by part.
fn text(events: &[Event]) -> String {
    let deltas = events.iter().filter(|event| event.name == "delta");
    deltas
        .map(|event| event.json()["text"].as_str().expect("text").to_owned())
        .collect()
}

/// The last event: the answer, which completed.
#[track_caller]
fn answer(events: &[Event]) -> Value {
    let last = events.last().expect("an event");
    assert_eq!(last.name, "answer", "{events:?}");
    let answer = last.json();
    assert_fits("query-answer", &answer);
    assert_eq!(answer["status"], "completed", "{answer}");
    answer
}

#[test]
fn what_the_orchestrator_has_executed_is_told_as_it_happens() {
    let world = world();
    let actions = json!([{ "progress": "begun" }, { "delta": "one " }, { "sleep_ms": 700 }, { "delta": "two" }]);
    let mut stream = follow(&world, actions, 8_000);
    let route = stream.read_to("route").json();
    assert_eq!(
        (&route["by"], &route["orchestrator"]),
        (&json!("orchestrated"), &json!("reference"))
    );
    let events = stream.rest_of_events();
    assert_eq!(
        names(&events),
        ["started", "progress", "delta", "delta", "answer"],
        "{events:?}"
    );
    assert_eq!(text(&events), "one two");
    let answer = answer(&events);
    assert_eq!(
        (&answer["run"], &answer["route"]["by"]),
        (&route["run"], &json!("orchestrated"))
    );
}

#[test]
fn a_takeover_goes_on_with_what_was_told() {
    let world = world();
    // It begins the step, and never answers: half of the deadline later the gateway has the run.
    world.orchestrator.behave(&json!({ "runs": "hang", "start_run": true }));
    let actions = json!([{ "delta": "one " }, { "sleep_ms": 3_000 }, { "delta": "two" }]);
    let events = follow(&world, actions, 4_000).rest_of_events();
    assert_eq!(
        names(&events),
        ["route", "started", "delta", "route", "delta", "answer"],
        "{events:?}"
    );
    assert_eq!(text(&events), "one two");
    assert_eq!(events[3].json()["reason"], "timeout");
    let answer = answer(&events);
    world.orchestrator.behave(&json!({}));
    world.is_settled(&answer);
}

#[test]
fn a_silent_call_is_kept_alive() {
    let world = world();
    let parts = follow(&world, json!([{ "sleep_ms": 3_500 }]), 20_000).rest();
    assert!(parts.contains(&Part::Comment("keep-alive".into())), "{parts:?}");
    assert_eq!(parts[0], Part::Retry(1_000));
}

#[test]
fn a_customer_who_leaves_does_not_end_the_run() {
    let world = world();
    world.orchestrator.behave(&json!({ "runs": "status", "status": 503 }));
    let key = format!("\"{}\"", fresh());
    let body = json!({ "input": { "actions": [{ "sleep_ms": 1_500 }] } });
    let request = call(&world.gateway, &world.key, "/agents/script/query", &body).line("idempotency-key", &key);
    let mut stream = request.clone().line("accept", "text/event-stream").stream();
    let run = stream.read_to("route").json()["run"].clone();
    let _ = stream.read_to("started");
    drop(stream);
    world.orchestrator.behave(&json!({}));
    let settlement = world.orchestrator.wait_for_settlement(run.as_str().expect("a run"));
    let step = &settlement["steps"][0]["answer"]["body"];
    assert_eq!(step["status"], "completed", "{settlement}");
    let again = answered(&request.send());
    assert_eq!(
        (&again["route"]["by"], &again["output"]),
        (&json!("stored"), &step["output"])
    );
}

#[test]
fn a_call_that_is_declined_ends_with_the_problem() {
    let world = world();
    world.orchestrator.behave(&json!({ "runs": "status", "status": 403 }));
    let events = follow(&world, json!([]), 8_000).rest_of_events();
    assert_eq!(names(&events), ["route", "problem"]);
    let problem = events[1].json();
    assert_fits("problem", &problem);
    assert_eq!(
        (&problem["code"], &problem["status"]),
        (&json!("orchestrator-declined"), &json!(403))
    );
}

#[test]
fn what_the_agents_tell_that_the_gateway_goes_on_with_is_told_as_well() {
    let world = world();
    world.orchestrator.behave(&json!({ "runs": "status", "status": 503 }));
    let next = json!({ "agent": "script-again", "reason": "it is better",
        "input": { "actions": [{ "delta": "two " }, { "sleep_ms": 300 }, { "delta": "three" }] } });
    let events = follow(&world, json!([{ "delta": "one " }, { "hand_off": next }]), 8_000).rest_of_events();
    assert_eq!(text(&events), "one two three", "{events:?}");
    let answer = answer(&events);
    assert_eq!(answer["agent"], "script-again");
    world.orchestrator.behave(&json!({}));
    let settlement = world
        .orchestrator
        .wait_for_settlement(answer["run"].as_str().expect("a run"));
    assert_eq!(settlement["steps"][1]["step"], "query-hop-1", "{settlement}");
}

#[test]
fn who_stands_in_is_told_of_and_goes_on_in_the_same_stream() {
    let world = world();
    for behaviour in [json!({}), json!({ "runs": "status", "status": 503 })] {
        world.orchestrator.behave(&behaviour);
        let body = json!({ "input": { "code": "broken" } });
        let events = call(&world.gateway, &world.key, "/agents/brittle/query", &body)
            .line("accept", "text/event-stream")
            .stream()
            .rest_of_events();
        let told = events
            .iter()
            .find(|event| event.name == "progress")
            .expect("progress")
            .json();
        assert_eq!(told["message"], "brittle: `broken`; echo stands in");
        assert_eq!(answer(&events)["agent"], "echo");
    }
    world.orchestrator.behave(&json!({}));
}
