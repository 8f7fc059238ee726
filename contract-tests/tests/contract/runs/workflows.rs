//! Workflows: each kind of node, tries, time, cancelling, and a gateway that is killed in the middle.

use std::thread;

use contract_tests::gateway::{Configured, Gateway, Options, shared};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::outside::{fresh, wait_for};
use contract_tests::schemas::assert_fits;
use serde_json::{Value, json};

use super::calls::{cancel, described, ended, get, in_background, state, status, wait_until_running};
use crate::support::{invoke, invoke_as, key};

fn step(input: Value) -> Value {
    json!({ "run": fresh(), "step": "s1", "input": input })
}

/// The steps of the run of this body, with how they ended.
fn steps(body: &Value) -> Vec<(String, String)> {
    let described = described(body["run"].as_str().expect("a run"));
    let steps = described["steps"].as_array().expect("steps").iter();
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    steps
        .map(|step| (text(&step["step"]), text(&step["outcome"])))
        .collect()
}

fn completed(ids: &[&str]) -> Vec<(String, String)> {
    ids.iter()
        .map(|id| ((*id).to_owned(), "completed".to_owned()))
        .collect()
}

#[test]
fn every_kind_of_node_does_its_work() {
    let body = step(json!({ "text": "left", "items": ["a", "b", "c"] }));
    let output = invoke("flow-kinds", &body).completed()["output"].clone();
    assert_eq!(
        (&output["first"], &output["both"]),
        (&json!({ "said": "left" }), &json!(1))
    );
    assert_eq!(output["race"]["fast"]["slept_ms"], 20);
    assert_eq!(output["race"].as_object().expect("branches").len(), 1);
    let vote: Vec<_> = output["vote"].as_object().expect("branches").keys().collect();
    assert_eq!(vote, ["a", "c"]);
    assert_eq!(
        (&output["way"], &output["turns"]),
        (&json!("went left"), &json!({ "turn": 2, "before": 1 }))
    );
    let each = output["each"].as_array().expect("a list").iter();
    let each: Vec<_> = each.map(|one| one["input"].clone()).collect();
    let expected = ["a", "b", "c"].iter().enumerate();
    let expected: Vec<_> = expected
        .map(|(index, item)| json!({ "item": item, "index": index }))
        .collect();
    assert_eq!(each, expected);

    let steps = steps(&body);
    let ending = |id: &str| {
        steps
            .iter()
            .find(|(step, _)| step == id)
            .map(|(_, ending)| ending.as_str())
    };
    for (id, expected) in [
        ("s1", Some("completed")),
        ("s1/first", Some("completed")),
        ("s1/slow", Some("cancelled")),
        ("s1/b", Some("cancelled")),
        ("s1/left", Some("completed")),
        ("s1/right", None),
        ("s1/turns.2/turn", Some("completed")),
        ("s1/turns.3/turn", None),
        ("s1/each.2/item", Some("completed")),
    ] {
        assert_eq!(ending(id), expected, "{id} of {steps:?}");
    }
}

#[test]
fn the_sample_workflow_answers() {
    let body =
        step(json!({ "text": "I was charged twice and want a refund! Write to ada@example.org.", "tier": "business" }));
    let output = invoke("support-desk", &body).completed()["output"].clone();
    assert_eq!(output["category"], "support");
    assert_eq!(
        (&output["removed"]["email"], &output["ticket"]["priority"]),
        (&json!(1), &json!("p3")),
        "{output}"
    );
    assert!(!output["summary"].as_str().expect("text").contains("ada@"));
    assert_eq!(
        steps(&body),
        completed(&["s1", "s1/triage", "s1/redacted", "s1/summary", "s1/priority"])
    );
}

#[test]
fn an_answer_is_kept_and_each_call_has_a_status_and_a_span() {
    let body = step(json!({ "ms": 1 }));
    let message = Message::step(&shared(), "flow-slow", &body).idempotency_key("k");
    let first = message.clone().signed(key("first")).send();
    let outcome = first.completed();
    let again = message.signed(key("first")).send();
    assert!(again.is_replayed());
    assert_eq!(again.text(), first.text());

    let child = get(body["run"].as_str().expect("a run"), "/steps/s1%2Fnap");
    let child = child.signed(key("first")).send().message(200, "step-status");
    assert_eq!((&child["agent"], &child["executions"]), (&json!("script"), &json!(1)));
    let span = |outcome: &Value| outcome["trace"]["traceparent"].as_str().expect("a span").to_owned();
    let (own, part) = (span(&outcome), span(&child["answer"]["body"]));
    assert_eq!(own[..35], part[..35], "one trace");
    assert_ne!(own, part);
}

#[test]
fn a_call_is_tried_again_and_its_failure_is_told() {
    let fail =
        |until_attempt: u32| step(json!({ "code": "busy", "retry_after_ms": 10, "until_attempt": until_attempt }));
    let body = fail(3);
    assert_eq!(
        invoke("flow-retry", &body).completed()["output"],
        json!({ "attempt": 3 })
    );

    let body = fail(4);
    let outcome = invoke("flow-retry", &body).outcome();
    assert_eq!(outcome["error"]["code"], "workflow-call-failed");
    assert_eq!(outcome["error"]["retryable"], true);
    // Another attempt of the workflow tries its call again.
    let mut second = body;
    second["attempt"] = 2.into();
    assert_eq!(
        invoke_as(second["run"].as_str().expect("a run"), "flow-retry", &second).completed()["output"],
        json!({ "attempt": 4 })
    );
}

#[test]
fn a_workflow_has_its_time() {
    let body = step(json!({ "ms": 1_500 }));
    invoke("flow-brief", &body).problem(504, "deadline-exceeded");
    let endings = steps(&body);
    assert_eq!(endings[0], ("s1".to_owned(), "failed".to_owned()));
    assert_eq!(endings[1], ("s1/before".to_owned(), "completed".to_owned()));
    assert_ne!(endings[2].1, "completed");
    assert_eq!(
        invoke("flow-brief", &step(json!({ "ms": 1 }))).completed()["output"]["slept_ms"],
        1
    );
}

#[test]
fn calls_share_the_state_and_hand_over() {
    let body = step(json!({}));
    let output = invoke("flow-state", &body).completed()["output"].clone();
    assert_eq!(output, json!({ "left": 1, "right": 2 }));
    assert_eq!(state(body["run"].as_str().expect("a run")), output);
}

#[test]
fn a_workflow_takes_no_state_and_leaves_room_for_its_calls() {
    let with = |member: &str, value: Value| {
        let mut body = step(json!({ "ms": 1 }));
        body[member] = value;
        invoke("flow-outer", &body)
    };
    for (member, value) in [
        ("state", json!({})),
        ("state_version", json!(1)),
        ("step", json!("s".repeat(118))),
    ] {
        let problem = with(member, value).problem(422, "schema-violated");
        assert!(
            problem["errors"][0]["instance"]
                .as_str()
                .expect("a place")
                .contains(member),
            "{problem}"
        );
    }
    // `/one/before` is the longest place.
    let _ = with("step", json!("s".repeat(117))).completed();
}

#[test]
fn a_stream_tells_which_nodes_begin_and_end() {
    let body = step(json!({ "ms": 1 }));
    let message = Message::step(&shared(), "flow-slow", &body).header("accept", "text/event-stream");
    let mut stream = message.signed(key("first")).stream();
    let events = stream.rest_of_events();
    let told: Vec<_> = events
        .iter()
        .filter(|event| event.name == "progress")
        .map(|event| event.json()["message"].clone())
        .collect();
    let expected = ["before", "nap", "after"]
        .iter()
        .flat_map(|id| [format!("{id}: begun"), format!("{id}: completed")]);
    assert_eq!(told, expected.collect::<Vec<_>>());
    let _ = stream.answer(events.last().expect("an outcome")).completed();
}

#[test]
fn cancelling_a_workflow_cancels_what_it_calls() {
    let body = step(json!({}));
    let _ = in_background("flow-patient", &body).send().message(202, "step-status");
    wait_until_running(&json!({ "run": body["run"], "step": "s1/wait" }));
    let cancelled = cancel(&body);
    assert_eq!(cancelled["answer"]["body"]["status"], "cancelled");
    let child = json!({ "run": body["run"], "step": "s1/wait" });
    // The agent was told, and answered late.
    let late = wait_for("the agent's last word", || {
        let status = status(&child);
        status.get("late_answer").cloned()
    });
    assert_eq!(late["body"]["output"]["cancelled"], true);
    assert_eq!(ended(&body)["answer"]["body"]["status"], "cancelled");
}

struct Stage {
    gateway: Gateway,
    customer: String,
}

/// A gateway of its own, whose orchestrator is not there.
fn stage() -> Stage {
    let gateway = Gateway::start(Options {
        keys: Keys::new([
            Key::new("first", "acme", "invoke"),
            Key::new("register", "acme", "register"),
            Key::new("operator", "acme", "operate"),
        ]),
        orchestrators: vec![Configured::new("acme", "http://127.0.0.1:1")],
        history: true,
        ..Options::default()
    });
    let made = Message::post(&gateway, "/operator/api-keys", &json!({ "name": "tests" }));
    let made = made
        .signed_by_baton(gateway.key("operator"))
        .send()
        .message(201, "api-key-created");
    let customer = made["api_key"].as_str().expect("a key").to_owned();
    Stage { gateway, customer }
}

impl Stage {
    fn status(&self, run: &str, step: &str) -> Value {
        let message = Message::new(
            &self.gateway,
            "GET",
            &format!("/runs/{run}/steps/{}", step.replace('/', "%2F")),
        );
        message.signed(self.gateway.key("first")).send().json()
    }

    fn query(&self, path: &str, body: &Value) -> Message {
        Message::post(&self.gateway, path, body).line("authorization", &format!("Bearer {}", self.customer))
    }
}

#[test]
fn a_workflow_that_was_killed_goes_on_and_repeats_nothing() {
    let mut stage = stage();
    let run = fresh();
    let body = json!({ "run": run, "step": "s", "input": { "ms": 2_500 } });
    let message = Message::step(&stage.gateway, "flow-outer", &body).header("prefer", "respond-async");
    assert_eq!(message.signed(stage.gateway.key("first")).send().status(), 202);
    wait_for("the slow call", || {
        (stage.status(&run, "s/one/nap")["status"] == "running").then_some(())
    });
    let before = wait_for("the quick branch", || {
        let status = stage.status(&run, "s/two");
        (status["status"] == "ended").then_some(status)
    });
    let first = stage.status(&run, "s/one/before");
    stage.gateway.kill_hard();
    stage.gateway.restart();

    // Nobody asks for it: the alarm of the run's object brings it back.
    let end = wait_for("the workflow's end", || {
        let status = stage.status(&run, "s");
        (status["status"] == "ended").then_some(status)
    });
    let outcome = &end["answer"]["body"];
    assert_eq!(outcome["status"], "completed", "{end}");
    for (step, executions) in [
        ("s", 2),
        ("s/one", 2),
        ("s/one/before", 1),
        ("s/one/nap", 2),
        ("s/one/after", 1),
        ("s/two", 1),
        ("s/two/nap", 1),
    ] {
        assert_eq!(stage.status(&run, step)["executions"], executions, "{step}");
    }
    assert_eq!(stage.status(&run, "s/two"), before, "what was completed is as it was");
    let output = &outcome["output"]["one"];
    assert_eq!(output["before"], first["answer"]["body"]["output"]);
    assert_eq!(output["after"]["input"], output["before"]["executed_at_ms"]);
}

#[test]
fn a_customer_is_answered_by_a_workflow_while_the_orchestrator_is_down() {
    let stage = stage();
    let answer = stage
        .query(
            "/agents/support-desk/query",
            &json!({ "text": "I was charged twice and want a refund!" }),
        )
        .send();
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let body = answer.json();
    assert_fits("query-answer", &body);
    assert_eq!(
        (&body["status"], &body["output"]["category"]),
        (&json!("completed"), &json!("support")),
        "{body}"
    );
    assert_eq!(body["route"]["by"], "fallback");
    let text = "Triage it and write me a nice answer";
    let answer = stage
        .query("/agents/flow-kinds/query", &json!({ "text": text }))
        .send()
        .json();
    assert_eq!(answer["output"]["first"], json!({ "said": text }), "{answer}");
}

#[test]
fn a_customers_workflow_survives_its_gateway() {
    let mut stage = stage();
    let ask = |stage: &Stage| {
        let query = json!({ "input": { "ms": 2_500 } });
        stage
            .query("/agents/flow-slow/query", &query)
            .line("idempotency-key", "\"once\"")
    };
    let first = ask(&stage);
    let caller = thread::spawn(move || first.try_send().is_ok_and(|answer| answer.status() == 200));
    wait_for("the slow call to be begun", || {
        let begun = stage
            .gateway
            .events()
            .into_iter()
            .any(|event| event["event"] == "execution" && event["agent"] == "echo");
        begun.then_some(())
    });
    stage.gateway.kill_hard();
    stage.gateway.restart();
    assert!(!caller.join().expect("a caller"), "its connection is gone");
    let answer = wait_for("the answer", || {
        let answer = ask(&stage).send();
        (answer.status() == 200).then(|| answer.json())
    });
    let output = &answer["output"];
    assert_eq!(output["after"]["input"], output["before"]["executed_at_ms"], "{answer}");
    assert_eq!(output["after"]["attempt"], 1);
}
