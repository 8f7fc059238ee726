//! Agents of kind `service` that are agents of another gateway: two gateways on workerd, one calling the other.

use std::sync::OnceLock;

use baton::signature::profile::DEPTH_MAX;
use contract_tests::answer::Answer;
use contract_tests::gateway::{Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::outside::{fresh, now_ms, wait_for};
use contract_tests::ports::free_port;
use serde_json::{Value, json};

/// The gateway that is called, and the key with which it is: its record there has another purpose than here.
struct East {
    gateway: Gateway,
    key: Key,
}

fn east() -> &'static East {
    static EAST: OnceLock<East> = OnceLock::new();
    EAST.get_or_init(|| {
        let key = Key::new("from-west", "west", "invoke");
        let gateway = Gateway::start(Options {
            keys: Keys::new([key.clone()]),
            ..Options::default()
        });
        East { gateway, key }
    })
}

impl East {
    /// What its agents logged with this message.
    fn logged(&self, message: &str) -> Vec<Value> {
        let mut events = self.gateway.events();
        events.retain(|event| event["event"] == "agent" && event["message"] == message);
        events
    }

    /// What it logged with this message, once it has.
    fn heard(&self, message: &str) -> Value {
        wait_for("an agent of the other gateway to begin", || {
            self.logged(message).into_iter().next()
        })
    }

    /// The status of the step in which it logged something, once it has ended.
    fn ended(&self, logged: &Value) -> Value {
        let text = |name: &str| logged[name].as_str().expect("text").to_owned();
        let path = format!("/runs/{}/steps/{}", text("run"), text("step"));
        wait_for("a step on the other gateway to end", || {
            let message = Message::new(&self.gateway, "GET", &path).signed_by_baton(&self.key);
            let status = message.send().json();
            (status["status"] == "ended").then_some(status)
        })
    }
}

/// Starts a gateway that calls the other one, itself, and one more that does not know its key.
fn start_west() -> Gateway {
    let east = east();
    let port = free_port();
    let call = |id: &str, gateway: &str| Key::new(id, gateway, "call");
    Gateway::start(Options {
        port: Some(port),
        keys: Keys::new([
            Key::new("first", "acme", "invoke"),
            east.key
                .clone()
                .with("orchestrator", "east")
                .with("purposes", vec!["call"]),
            call("unknown-there", "stranger"),
            Key::new("own", "around", "invoke").with("purposes", vec!["invoke", "call"]),
        ]),
        variables: vec![(
            "BATON_GATEWAYS",
            json!({
                "east": east.gateway.origin(),
                "stranger": east.gateway.origin(),
                "around": format!("http://127.0.0.1:{port}"),
            })
            .to_string(),
        )],
        ..Options::default()
    })
}

fn west() -> &'static Gateway {
    static WEST: OnceLock<Gateway> = OnceLock::new();
    WEST.get_or_init(start_west)
}

fn body_of(input: &Value) -> Value {
    json!({"run": fresh(), "step": "s1", "input": input})
}

fn script(actions: &Value) -> Value {
    body_of(&json!({ "actions": actions }))
}

fn step(gateway: &Gateway, agent: &str, body: &Value) -> Message {
    Message::step(gateway, agent, body)
}

fn send(gateway: &Gateway, message: Message) -> Answer {
    message.signed_by_baton(gateway.key("first")).send()
}

/// The status of a step of the gateway that calls, once it has ended.
fn ended(gateway: &Gateway, body: &Value) -> Value {
    let text = |name: &str| body[name].as_str().expect("text").to_owned();
    let path = format!("/runs/{}/steps/{}", text("run"), text("step"));
    wait_for("the step to end", || {
        let status = send(gateway, Message::new(gateway, "GET", &path)).json();
        (status["status"] == "ended").then_some(status)
    })
}

#[test]
fn an_agent_of_another_gateway_answers_in_the_same_trace() {
    let (west, tag) = (west(), fresh());
    let trace_id = "0af7651916cd43dd8448eb211c80319c";
    let body = script(&json!([{ "log": tag }]));
    let message = step(west, "east-script", &body).header("traceparent", &format!("00-{trace_id}-b7ad6b7169203331-01"));
    let outcome = send(west, message).completed();
    assert_eq!(outcome["agent"], "east-script");
    assert!(outcome["output"]["executed_at_ms"].is_u64(), "{outcome}");
    let heard = east().heard(&tag);
    assert_eq!(heard["trace_id"], trace_id, "{heard}");
    // Ids of its own: two orchestrators may give their runs the same.
    assert_ne!(heard["run"], body["run"]);
    let status = east().ended(&heard);
    assert_eq!((&status["agent"], &status["executions"]), (&json!("script"), &json!(1)));
}

#[test]
fn a_run_here_is_a_run_there() {
    let west = west();
    let there = |body: &Value| send(west, step(west, "east-echo", body)).completed()["output"].clone();
    let mut body = body_of(&json!({ "n": 1 }));
    let first = there(&body);
    assert_eq!(first["input"], json!({ "n": 1 }));
    body["step"] = "s2".into();
    let second = there(&body);
    assert_eq!(first["run"], second["run"]);
    assert_ne!(first["step"], second["step"]);
    assert_ne!(first["run"], there(&body_of(&json!({ "n": 1 })))["run"]);
}

#[test]
fn how_it_fails_is_how_we_fail() {
    let west = west();
    let attempt = |body: &Value, code: &str, retryable: bool| {
        let key = format!("{}/{}", body["run"], body["attempt"]).replace('"', "");
        let answer = send(west, step(west, "east-script", body).idempotency_key(&key));
        let outcome = answer.outcome();
        assert_eq!(outcome["error"]["code"], code, "{outcome}");
        assert_eq!(outcome["error"]["retryable"], retryable, "{outcome}");
    };
    let failing = |fail: Value| {
        let tag = fresh();
        (script(&json!([{ "log": tag }, { "fail": fail }])), tag)
    };
    let (body, tag) = failing(json!({"code": "no-such-order"}));
    attempt(&body, "no-such-order", false);
    assert_eq!(east().heard(&tag)["agent"], "script");
    // A further attempt here is one there; the same attempt once more is not.
    let (mut body, tag) = failing(json!({"code": "busy", "retry_after_ms": 5}));
    body["attempt"] = 1.into();
    attempt(&body, "busy", true);
    body["attempt"] = 2.into();
    attempt(&body, "busy", true);
    wait_for("two executions on the other gateway", || {
        (east().logged(&tag).len() >= 2).then_some(())
    });
    attempt(&body, "busy", true);
    assert_eq!(east().logged(&tag).len(), 2);
}

#[test]
fn a_key_that_the_other_gateway_does_not_know_opens_nothing() {
    let west = west();
    let outcome = send(west, step(west, "stranger-echo", &body_of(&json!(1)))).outcome();
    assert_eq!(outcome["error"]["code"], "gateway-refused", "{outcome}");
    let message = outcome["error"]["message"].as_str().expect("a message");
    assert!(message.contains("signature-invalid"), "{message}");
}

#[test]
fn a_key_for_calls_opens_nothing_here() {
    let west = west();
    let key = east().key.clone();
    let answer = step(west, "triage", &body_of(&json!({ "text": "hi" })))
        .signed_by_baton(&key)
        .send();
    answer.problem(403, "key-not-allowed");
}

#[test]
fn a_circle_of_gateways_ends() {
    let west = west();
    let body = body_of(&json!({ "tag": fresh() }));
    let outcome = send(west, step(west, "around", &body)).outcome();
    // A workflow is part of the circle: its calls go on from where it is.
    assert_eq!(outcome["error"]["code"], "workflow-call-failed", "{outcome}");
    let message = outcome["error"]["message"].as_str().expect("a message");
    assert!(message.contains("gateway-depth-exceeded"), "{message}");
    assert_eq!(outcome["error"]["retryable"], false);
    let around = || {
        let mut lines = west.events();
        lines.retain(|line| line["event"] == "request" && line["key_id"] == "own");
        lines.len()
    };
    let calls = wait_for("the calls to be logged", || {
        let calls = around();
        (calls >= DEPTH_MAX as usize).then_some(calls)
    });
    assert_eq!(calls, DEPTH_MAX as usize);
}

#[test]
fn what_is_cancelled_here_is_cancelled_there() {
    let (west, tag) = (west(), fresh());
    let body = script(&json!([{ "log": tag }, "await_cancellation"]));
    let message = step(west, "east-script", &body).header("prefer", "respond-async");
    assert_eq!(send(west, message).status(), 202);
    let heard = east().heard(&tag);
    let path = format!("/runs/{}/steps/s1/cancel", body["run"].as_str().expect("a run"));
    let cancelled = send(west, Message::new(west, "POST", &path)).json();
    assert_eq!(cancelled["status"], "ended", "{cancelled}");
    let status = east().ended(&heard);
    assert_eq!(status["answer"]["body"]["status"], "cancelled", "{status}");
}

#[test]
fn one_effect_though_the_caller_is_killed_in_the_middle() {
    let (mut west, tag) = (start_west(), fresh());
    let body = script(&json!([{ "log": tag }, { "sleep_ms": 1_000 }]));
    let message = step(&west, "east-script", &body).header("prefer", "respond-async");
    assert_eq!(send(&west, message).status(), 202);
    let heard = east().heard(&tag);
    west.kill_hard();
    let there = east().ended(&heard);
    let restarted_at_ms = now_ms();
    west.restart();
    let here = ended(&west, &body);
    // It was executed twice here, and once there: before the second time.
    assert_eq!(
        (&here["executions"], &there["executions"]),
        (&json!(2), &json!(1)),
        "{here}"
    );
    let answer = &here["answer"]["body"];
    assert_eq!(answer["status"], "completed", "{here}");
    let executed_at_ms = answer["output"]["executed_at_ms"].as_u64().expect("a time");
    assert!(executed_at_ms < restarted_at_ms, "{executed_at_ms} {restarted_at_ms}");
    assert_eq!(east().logged(&tag).len(), 1);
}
