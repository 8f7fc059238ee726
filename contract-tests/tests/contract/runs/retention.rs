//! How a run ends: by itself after its retention, and at once when it is forgotten.

use contract_tests::gateway::{Gateway, Options, keys_of_every_kind};
use contract_tests::message::Message;
use contract_tests::outside::{fresh, wait_for};
use serde_json::{Value, json};

use super::calls::{
    assert_no_state, create, described, ended, forget, fresh_script, get, in_background, scripted, state, status_of,
    wait_until_running, while_waiting,
};
use crate::support::{invoke, key};

#[test]
fn a_run_is_forgotten_after_its_retention_and_not_while_it_works() {
    let gateway = Gateway::start(Options {
        keys: keys_of_every_kind(),
        variables: vec![("BATON_RUN_RETENTION_S", "1".into())],
        // A run waits until the history has its executions.
        history: true,
        ..Options::default()
    });
    let run = fresh();
    let send = |message: Message| message.signed(gateway.key("first")).send();
    let create = || {
        let put = Message::new(&gateway, "PUT", &format!("/runs/{run}/state")).with_json(b"{}");
        send(put.precondition("if-none-match", "*")).message(201, "state-receipt")
    };
    let _ = create();
    let described = || send(Message::new(&gateway, "GET", &format!("/runs/{run}")));
    let first = described().message(200, "run");
    let time = |name: &str| first[name].as_u64().expect("a time");
    assert_eq!(time("expires_at_ms"), time("touched_at_ms") + 1_000);

    let working = scripted(&fresh(), "s1", json!([{ "sleep_ms": 3_000 }]));
    let step = Message::step(&gateway, "script", &working).header("prefer", "respond-async, wait=30");
    assert_eq!(send(step).completed()["run"], working["run"]);

    let gone = wait_for("the run to be forgotten", || {
        let answer = described();
        (answer.status() != 200).then_some(answer)
    });
    gone.problem(404, "run-unknown");
    let state = Message::new(&gateway, "GET", &format!("/runs/{run}/state"));
    send(state).problem(404, "state-unknown");
    // Its id is as good as new.
    assert_eq!(create()["version"], 1);
}

#[test]
fn a_run_is_forgotten_at_once() {
    let run = fresh();
    let _ = create(&run, &json!({ "count": 1 }));
    let step = scripted(&run, "s1", json!([{ "merge_state": { "count": 2 } }]));
    let _ = invoke("script", &step).completed();
    for _ in 0..2 {
        let _ = forget(&run);
        get(&run, "").signed(key("first")).send().problem(404, "run-unknown");
        assert_no_state(&run);
        status_of(&step)
            .signed(key("first"))
            .send()
            .problem(404, "step-unknown");
    }
    let _ = forget(&fresh());
    // The same call is another one now.
    let answer = invoke("script", &step);
    assert!(!answer.is_replayed());
    let outcome = answer.completed();
    assert_eq!(
        (&outcome["output"]["state"], &outcome["state_version"]),
        (&Value::Null, &json!(1))
    );
}

#[test]
fn what_was_under_way_in_a_forgotten_run_comes_to_nothing() {
    let body = fresh_script(json!([{ "merge_state": { "count": 1 } }, "await_cancellation"]));
    let run = body["run"].as_str().expect("text");
    let answer = while_waiting("script", &body, || {
        let _ = forget(run);
    });
    let problem = answer.problem(409, "claim-lost");
    assert_eq!(problem["retryable"], true);
    get(run, "").signed(key("first")).send().problem(404, "run-unknown");

    let body = fresh_script(json!([{ "merge_state": { "count": 1 } }, "await_cancellation"]));
    let run = body["run"].as_str().expect("text");
    let _ = in_background("script", &body).send().message(202, "step-status");
    wait_until_running(&body);
    let _ = forget(run);
    status_of(&body)
        .signed(key("first"))
        .send()
        .problem(404, "step-unknown");
    // The next step of a run of this id sees nothing of it, and nothing of it comes later.
    let next = scripted(run, "s2", json!([{ "sleep_ms": 1_500 }]));
    assert_eq!(invoke("script", &next).completed()["output"]["state"], Value::Null);
    assert_no_state(run);
    assert_eq!(described(run)["steps"].as_array().map(Vec::len), Some(1));
}

/// The old execution knows its attempt by the same key, place and generation as the new one's.
#[test]
fn an_execution_of_a_forgotten_run_does_not_answer_for_the_run_that_came_after_it() {
    let old = fresh_script(json!([{ "merge_state": { "count": 1 } }, { "sleep_ms": 900 }]));
    let run = old["run"].as_str().expect("text");
    let new = scripted(
        run,
        "s1",
        json!([{ "merge_state": { "count": 2 } }, { "sleep_ms": 2_500 }]),
    );
    let _ = in_background("script", &old).send().message(202, "step-status");
    wait_until_running(&old);
    let _ = forget(run);
    let _ = in_background("script", &new).send().message(202, "step-status");
    let ended = ended(&new);
    assert_eq!(ended["answer"]["body"]["status"], "completed", "{ended}");
    assert!(
        ended["answer"]["body"]["usage"]["duration_ms"].as_u64() >= Some(2_000),
        "the old execution's answer: {ended}"
    );
    assert_eq!(state(run), json!({ "count": 2 }));
}
