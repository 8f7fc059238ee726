//! Direct calls as server-sent events.

use std::cell::RefCell;

use http::header::ACCEPT;

use super::direct::{World, completed};
use super::*;
use crate::run::Asked;
use crate::run::listening::Listen;
use crate::run::status::{Cursor, Watch};

/// The events of a call: id, name and data.
type Told = Vec<(String, String, Value)>;

fn listen(world: &World, mut request: http::Request<Vec<u8>>) -> (Told, Record) {
    let accepted = HeaderValue::from_static("text/event-stream");
    request.headers_mut().insert(ACCEPT, accepted);
    let (response, _) = world.bench.handle_any(&request);
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
    let Body::Live(call) = response.into_body() else {
        panic!("no live call")
    };
    let gateway = world.bench.gateway();
    let sent = RefCell::new(Vec::new());
    let record = block_on(call.answer(&gateway, &world.bench.platform, &|part| sent.borrow_mut().extend(part)));
    let text = String::from_utf8(sent.take()).expect("text");
    let parts = text.split_terminator("\n\n").filter(|part| part.contains("event: "));
    let events = parts.map(|part| {
        let field = |name: &str| {
            part.lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_default()
        };
        let data = serde_json::from_str(field("data: ")).expect("JSON");
        (field("id: ").to_owned(), field("event: ").to_owned(), data)
    });
    (events.collect(), record)
}

fn names(told: &Told) -> Vec<&str> {
    told.iter().map(|(_, name, _)| name.as_str()).collect()
}

fn script(world: &World) -> http::Request<Vec<u8>> {
    let actions = json!([{"progress": "Reading"}, {"delta": "one "}, {"delta": "two"}]);
    world.request(
        "/agents/script/query",
        &json!({"input": {"actions": actions}}),
        Some("mine"),
    )
}

#[test]
fn what_the_gateway_does_by_itself_is_told_and_then_the_answer() {
    let mut world = World::new();
    world.bench.config.orchestrators.clear();
    let (told, record) = listen(&world, script(&world));
    assert_eq!(names(&told), ["route", "started", "progress", "delta", "answer"]);
    assert_eq!(told[0].2, json!({"by": "local", "run": told[4].2["run"]}));
    assert_eq!(told[2].2, json!({"message": "Reading"}));
    assert_eq!(told[3].2, json!({"text": "one two"}));
    let ids: Vec<_> = told.iter().map(|(id, _, _)| id.as_str()).collect();
    assert_eq!(ids, ["", "1.1", "1.2", "1.3", ""]);
    let schema = crate::wire::compiled("query-answer").expect("the schema");
    assert_eq!(schema.get().expect("compiles").violations(&told[4].2, 9), []);
    assert_eq!(
        (record.outcome.as_deref(), record.direct_route),
        (Some("completed"), Some("local"))
    );
    // The same call again: nothing happens any more, and the answer is the same.
    let (again, _) = listen(&world, script(&world));
    assert_eq!(names(&again), ["route", "answer"]);
    assert_eq!(again[1].2["output"], told[4].2["output"]);
}

#[test]
fn who_comes_back_goes_on_where_it_was() {
    let world = World::new();
    let mut request = script(&world);
    request
        .headers_mut()
        .insert("last-event-id", HeaderValue::from_static("1.2"));
    let (told, _) = listen(&world, request);
    assert_eq!(names(&told), ["route", "route", "delta", "answer"]);
}

#[test]
fn each_way_that_a_call_goes_is_told() {
    let world = World::new().with(completed);
    let (told, _) = listen(&world, script(&world));
    assert_eq!(names(&told), ["route", "answer"]);
    assert_eq!(
        told[0].2,
        json!({"by": "orchestrated", "orchestrator": "o", "run": told[1].2["run"]})
    );

    let (told, _) = listen(&World::new(), script(&World::new()));
    assert_eq!(
        names(&told),
        ["route", "route", "started", "progress", "delta", "answer"]
    );
    assert_eq!(told[0].2["by"], "orchestrated");
    assert_eq!(
        (&told[1].2["by"], &told[1].2["reason"]),
        (&json!("fallback"), &json!("timeout"))
    );
    assert_eq!(told[5].2["route"]["detail"], told[1].2["detail"]);
}

#[test]
fn a_call_that_fails_ends_with_the_problem() {
    let world = World::new().with(|_| (403, json!({"code": "no", "detail": "why"})));
    let (told, record) = listen(&world, script(&world));
    assert_eq!(names(&told), ["route", "problem"]);
    assert_eq!(
        (&told[1].2["code"], &told[1].2["status"]),
        (&json!("orchestrator-declined"), &json!(403))
    );
    assert_eq!(record.problem, Some("orchestrator-declined"));
}

#[test]
fn what_is_wrong_with_the_call_is_no_stream() {
    let world = World::new();
    let mut request = world.request("/agents/script/query", &json!({"input": {}}), None);
    request
        .headers_mut()
        .insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    assert_eq!(world.bench.handle(&request).0.status(), 422);
}

#[test]
fn a_step_in_a_worker_is_told_of_where_somebody_listens() {
    let bench = Bench::new();
    let step = |run: &str| {
        let actions = json!([{"progress": "Reading"}, {"delta": "one"}]);
        let call = Call::step(json!({"run": run, "step": "query", "input": {"actions": actions}}));
        Call {
            path: "/agents/script/steps".into(),
            ..call
        }
    };
    let events = |run: &RunName| {
        let watch = Watch {
            step: "query".into(),
            idempotency_key: None,
            cursor: Cursor::default(),
            follows: false,
            ends_only: false,
        };
        let watched = block_on(bench.platform.watch(run, &watch, 0));
        watched.expect("storage").expect("the step").events.len()
    };
    let run = RunName::new("o", "heard");
    let asked = Asked {
        claimant: "test".into(),
        nonce: None,
        named: None,
        question: Listen {
            using: crate::run::Use {
                name: run.clone(),
                retention_ms: 1_000_000,
            },
        },
    };
    block_on(bench.platform.ask(&run, &asked)).expect("storage");
    assert_eq!(bench.call(&step("heard")).0, 200);
    assert_eq!(events(&run), 3);
    assert_eq!(bench.call(&step("unheard")).0, 200);
    assert_eq!(events(&RunName::new("o", "unheard")), 0);
}
