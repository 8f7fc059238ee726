//! What a receiver that refuses does to it.

use contract_tests::gateway::Gateway;
use contract_tests::message::Message;
use contract_tests::outside::{fresh, wait_for};
use contract_tests::receiver::{Reaction, Receiver};
use serde_json::json;

use super::{events, gateway, invoke, nobody, operate, outbox, step};

const TRACES: &str = "/v1/traces";

fn stage(reaction: Reaction) -> (Receiver, Gateway) {
    let receiver = Receiver::start();
    receiver.plan(TRACES, [reaction]);
    let gateway = gateway(&receiver.origin(), "http/json", nobody());
    (receiver, gateway)
}

/// The events that arrived, but for those that came together with this text.
fn arrived(receiver: &Receiver, except: &str) -> Vec<String> {
    let mut received = receiver.received(TRACES);
    received.retain(|received| !String::from_utf8_lossy(&received.body).contains(except));
    events(&received)
}

#[test]
fn a_poison_batch_is_split_and_only_its_culprit_is_given_up() {
    const POISON: &str = "poison-step";
    let (receiver, gateway) = stage(Reaction::StatusIfBodyHas(400, POISON.to_owned()));
    let run = fresh();
    let names: Vec<String> = (0..6).map(|number| format!("s{number}")).collect();
    for name in names.iter().map(String::as_str).chain([POISON]) {
        invoke(&gateway, step(&gateway, &run, name));
    }
    // The culprit is two events: its execution's end, and its attempt's.
    let listed = wait_for("the culprit on the operator's list", || {
        let outbox = outbox(&gateway);
        (outbox["dead_letters"].as_array()?.len() == 2).then_some(outbox)
    });
    for letter in listed["dead_letters"].as_array().expect("letters") {
        assert_eq!(
            (&letter["run"], &letter["reason"]),
            (&run.as_str().into(), &"status 400".into())
        );
        assert_eq!(letter["destination"], "otlp");
    }
    let arrived = wait_for("all others", || {
        let arrived = arrived(&receiver, POISON);
        (arrived.len() >= 2 * names.len()).then_some(arrived)
    });
    let unique: std::collections::BTreeSet<_> = arrived.iter().collect();
    assert_eq!((arrived.len(), unique.len()), (12, 12), "all others, once each");

    // Put right, an operator sends it again: it goes off the list.
    receiver.plan(TRACES, [Reaction::Status(200)]);
    for letter in listed["dead_letters"].as_array().expect("letters") {
        let path = format!("/operator/outbox/{}/resend", letter["letter"].as_str().expect("text"));
        let resent = operate(&gateway, "POST", &path, "")
            .send()
            .message(200, "outbox-resent");
        assert_eq!(resent["status"], "delivered");
    }
    assert_eq!(outbox(&gateway)["dead_letters"], json!([]));
}

#[test]
fn a_batch_that_is_too_large_is_halved() {
    let (receiver, gateway) = stage(Reaction::Status(413));
    receiver.plan(TRACES, [Reaction::Status(413), Reaction::Status(200)]);
    let run = fresh();
    for name in ["a", "b"] {
        invoke(&gateway, step(&gateway, &run, name));
    }
    let batches = wait_for("the halves", || {
        let received = receiver.received(TRACES);
        (events(&received).len() >= 8).then_some(received)
    });
    assert!(batches.len() >= 3, "one that was refused, and its halves");
    assert_eq!(outbox(&gateway)["dead_letters"], json!([]));
}

#[test]
fn wrong_credentials_pause_the_destination_and_lose_nothing() {
    let (receiver, gateway) = stage(Reaction::Status(401));
    let run = fresh();
    invoke(&gateway, step(&gateway, &run, "s1"));
    let waiting = wait_for("the destination to be paused", || {
        let outbox = outbox(&gateway);
        outbox["waiting"].as_array()?.first().cloned()
    });
    assert_eq!(
        (&waiting["health"], &waiting["destination"]),
        (&"paused".into(), &"otlp".into())
    );
    assert_eq!(
        (&waiting["run"], &waiting["last_error"]),
        (&run.as_str().into(), &"status 401".into())
    );
    let alarm = gateway.events().into_iter().any(|line| {
        line["event"] == "alarm"
            && line["message"]
                .as_str()
                .is_some_and(|text| text.contains("credentials"))
    });
    assert!(alarm, "the operator is told");
    // It is not asked again for the next step either; and the history is not held up by it.
    let asked = receiver.received(TRACES).len();
    invoke(&gateway, step(&gateway, &run, "s2"));
    wait_for("the history", || {
        let page = operate(&gateway, "GET", "/executions", &format!("run={run}"))
            .send()
            .json();
        (page["executions"].as_array()?.len() == 2).then_some(())
    });
    assert_eq!(receiver.received(TRACES).len(), asked);
    assert_eq!(outbox(&gateway)["dead_letters"], json!([]));
}

#[test]
fn a_receiver_that_hangs_holds_up_nobody() {
    let (_receiver, gateway) = stage(Reaction::Hang);
    let run = fresh();
    invoke(&gateway, step(&gateway, &run, "s1"));
    let path = format!("/runs/{run}/state");
    wait_for("the history", || {
        let page = operate(&gateway, "GET", "/executions", &format!("run={run}"))
            .send()
            .json();
        (page["executions"].as_array()?.len() == 1).then_some(())
    });
    let put = Message::new(&gateway, "PUT", &path)
        .with_json(b"{}")
        .precondition("if-none-match", "*");
    assert_eq!(put.signed(gateway.key("first")).send().status(), 201);
}
