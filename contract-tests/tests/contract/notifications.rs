//! Notifications: what channels are told when a step of the fixture `notify` ends.

use std::sync::OnceLock;

use contract_tests::gateway::{Gateway, Options};
use contract_tests::message::Message;
use contract_tests::outside::{fresh, wait_for};
use contract_tests::ports::free_port;
use contract_tests::receiver::{Reaction, Received, Receiver};
use serde_json::{Value, json};

/// What the channel `hook` is signed with.
pub const HOOK_KEY: &[u8] = b"a key for the channel hook";

/// A gateway whose channels go to these targets of a receiver.
pub fn options(origin: &str, hook: &str, slack: &str) -> Options {
    let secrets = json!({
        "HOOK_URL": format!("{origin}{hook}"),
        "SLACK_URL": format!("{origin}{slack}"),
        "HOOK_KEY": baton::signature::webhook::given_secret(HOOK_KEY),
    });
    Options {
        variables: vec![("BATON_HTTP_ORIGINS", json!({ "hooks": origin }).to_string())],
        secrets: vec![("BATON_SECRETS", secrets.to_string())],
        ..Options::with_operator()
    }
}

/// A step of the fixture in a run of its own; the run's id.
pub fn step(gateway: &Gateway, input: &Value) -> (String, Value) {
    let run = fresh();
    let body = json!({ "run": run, "step": "s1", "input": input });
    let answer = Message::step(gateway, "notify", &body)
        .signed(gateway.key("first"))
        .send();
    (run, answer.json())
}

struct Stage {
    gateway: Gateway,
    receiver: Receiver,
}

/// The one stage. A test finds its own messages by its run, or by its text.
fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let receiver = Receiver::start();
        let gateway = Gateway::start(options(&receiver.origin(), "/hook", "/slack"));
        Stage { gateway, receiver }
    })
}

/// Waits for the one message with this text in it.
#[track_caller]
fn message_with(receiver: &Receiver, target: &str, text: &str) -> Received {
    wait_for("a message", || {
        let mut received = receiver.received(target);
        received.retain(|received| String::from_utf8_lossy(&received.body).contains(text));
        assert!(received.len() <= 1, "{received:#?}");
        received.pop()
    })
}

#[test]
fn a_step_whose_output_has_the_word_is_told_signed_and_with_nothing_else_of_it() {
    let Stage { gateway, receiver } = stage();
    let (run, outcome) = step(gateway, &json!({"text": "CRITICAL: disk <full>", "private": "s3cret"}));
    assert_eq!(outcome["status"], "completed");
    let received = message_with(receiver, "/hook", &run);
    let message = received.webhook(&[HOOK_KEY], "notice");
    assert_eq!(
        (&message["type"], &message["id"]),
        (&json!("notification"), &json!(received.id()))
    );
    let data = &message["data"];
    assert_eq!(data["text"], "notify says: CRITICAL: disk <full>");
    assert_eq!(
        (&data["rule"], &data["run"], &data["step"], &data["outcome"]),
        (&json!("critical"), &json!(run), &json!("s1"), &json!("completed"))
    );
    assert!(!String::from_utf8_lossy(&received.body).contains("s3cret"));
}

#[test]
fn slack_is_told_in_its_own_form() {
    let Stage { gateway, receiver } = stage();
    let mark = fresh();
    let _ = step(
        gateway,
        &json!({ "text": format!("CRITICAL {mark} <!channel> & more") }),
    );
    let received = message_with(receiver, "/slack", &mark);
    assert_eq!(
        (received.method.as_str(), received.header("content-type")),
        ("POST", "application/json")
    );
    let body: Value = serde_json::from_slice(&received.body).expect("JSON");
    let section = &body["blocks"][0];
    assert_eq!(
        (&section["type"], &section["text"]["type"]),
        (&json!("section"), &json!("mrkdwn"))
    );
    assert_eq!(
        section["text"]["text"],
        format!("*notify: critical-for-people*\nCRITICAL {mark} &lt;!channel&gt; &amp; more")
    );
    assert_eq!(body["text"], "notify: critical-for-people");
}

#[test]
fn a_failure_is_told_by_its_code_and_other_ends_are_not() {
    let Stage { gateway, receiver } = stage();
    let (quiet, outcome) = step(gateway, &json!({"text": "all well"}));
    assert_eq!(outcome["status"], "completed");
    let (run, outcome) = step(gateway, &json!({}));
    assert_eq!(outcome["status"], "failed");
    let message = message_with(receiver, "/hook", &run).webhook(&[HOOK_KEY], "notice");
    assert_eq!(
        (&message["data"]["rule"], &message["data"]["text"]),
        (&json!("failed"), &json!("no-rule-matched"))
    );
    for received in receiver.received_anywhere() {
        assert!(!String::from_utf8_lossy(&received.body).contains(&quiet));
    }
}

#[test]
fn a_notice_outlives_a_receiver_that_is_down_and_a_runtime_that_is_killed() {
    let port = free_port();
    let mut gateway = Gateway::start(options(&format!("http://127.0.0.1:{port}"), "/hook", "/slack"));
    let (run, outcome) = step(&gateway, &json!({"text": "CRITICAL"}));
    assert_eq!(outcome["status"], "completed");
    wait_for("a try", || {
        let mut tries = gateway.events();
        tries.retain(|line| line["event"] == "delivery" && line["result"] == "failed");
        (!tries.is_empty()).then_some(())
    });
    gateway.kill_hard();
    let receiver = Receiver::on(port);
    gateway.restart();
    let message = message_with(&receiver, "/hook", &run).webhook(&[HOOK_KEY], "notice");
    assert_eq!(message["data"]["text"], "notify says: CRITICAL");
}

#[test]
fn what_a_receiver_refuses_is_on_the_operators_list_and_sent_again_by_hand() {
    let receiver = Receiver::start();
    receiver.plan("/refusing", [Reaction::Status(410), Reaction::Status(204)]);
    let gateway = Gateway::start(options(&receiver.origin(), "/refusing", "/slack"));
    let (run, _) = step(&gateway, &json!({}));
    let operate = |method: &str, path: &str| {
        Message::new(&gateway, method, path)
            .signed(gateway.key("operator"))
            .send()
    };
    let letters = || operate("GET", "/operator/dead-letters").message(200, "dead-letters");
    let letter = wait_for("a dead letter", || {
        letters()["dead_letters"].as_array()?.first().cloned()
    });
    assert_eq!((&letter["url"], &letter["run"]), (&json!("channel:hook"), &json!(run)));
    let delivery = letter["delivery"].as_str().expect("an id");
    let resent = operate("POST", &format!("/operator/dead-letters/{delivery}/resend")).message(200, "resent");
    assert_eq!(resent["status"], "pending");
    let received = receiver.wait_for("/refusing", 2);
    assert_eq!(
        (received[0].id(), &received[0].body),
        (received[1].id(), &received[1].body)
    );
    assert_eq!(letters()["dead_letters"], json!([]));
}
