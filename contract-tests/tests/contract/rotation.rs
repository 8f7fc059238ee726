//! Keys that take over from others: by the operator, and by the orchestrator's answer. What is under way is not lost.

use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::orchestrator::Orchestrator;
use contract_tests::outside::{fresh, now_ms, now_s, wait_for};
use contract_tests::receiver::Receiver;
use serde_json::{Value, json};

use crate::direct::{api_key, call};

/// The old keys end this long after their gateway was begun, in seconds: it has started by then.
const OVERLAP_S: u64 = 18;

fn step(run: &str, id: &str, sleep_ms: u64) -> Value {
    json!({ "run": run, "step": id, "input": { "actions": [{ "sleep_ms": sleep_ms }] } })
}

#[test]
fn steps_that_were_signed_by_the_old_key_come_to_their_end_after_it() {
    let ends_at_s = now_s() + OVERLAP_S;
    let receiver = Receiver::start();
    let gateway = Gateway::start(Options {
        keys: Keys::new([
            Key::new("old", "acme", "invoke").with("not_after", ends_at_s),
            Key::new("new", "acme", "invoke"),
            Key::new("callback-old", "acme", "callback").with("not_after", ends_at_s),
            Key::new("callback-new", "acme", "callback"),
        ]),
        orchestrators: vec![Configured::new("acme", "http://127.0.0.1:1").calling_back([receiver.origin()])],
        ..Options::default()
    });
    let send = |body: &Value, key: &str, prefer: Option<&str>| {
        let message = Message::step(&gateway, "script", body);
        let message = prefer
            .into_iter()
            .fold(message, |message, value| message.header("prefer", value));
        message.signed(gateway.key(key)).send()
    };
    let (run, target) = (fresh(), format!("/callbacks/{}", fresh()));
    let left_ms = (ends_at_s * 1_000).saturating_sub(now_ms());
    assert!(left_ms > 2_000, "the gateway took too long to start");
    let mut background = step(&run, "background", left_ms + 1_000);
    background["callback"] = json!({ "url": receiver.url(&target) });
    let waiting = step(&run, "waiting", left_ms + 1_000);
    assert_eq!(send(&background, "old", Some("respond-async")).status(), 202);
    let answer = send(&waiting, "old", None);
    assert!(now_s() >= ends_at_s, "the old key is still valid");
    // Whoever waited is answered under the key of its request, and it counts.
    let outcome = answer.completed();
    // What is told from now on is signed by what is valid now, and by nothing else.
    let told = receiver.wait_for(&target, 1);
    assert_eq!(
        told[0].callback(&[gateway.key("callback-new")])["type"],
        "step.completed"
    );
    send(&waiting, "old", None).problem(401, "key-expired");
    // The same calls, signed by the new key, are the same calls.
    for (body, output) in [(&waiting, Some(&outcome["output"])), (&background, None)] {
        let again = send(body, "new", None);
        assert!(again.is_replayed());
        let again = again.completed();
        assert!(output.is_none_or(|output| *output == again["output"]), "{again}");
    }
}

#[test]
fn an_orchestrator_says_with_which_key_the_gateway_is_to_sign() {
    let ends_at_s = now_s() + OVERLAP_S;
    let invoke = Key::new("invoke", "reference", "invoke");
    let operator = Key::new("operator", "reference", "operate");
    let (wanted, retired) = (
        Key::new("wanted", "reference", "register"),
        Key::new("retired", "reference", "register"),
    );
    // Of two keys that have always been valid the gateway takes the last one, by itself.
    let ours = [invoke.clone(), operator, wanted.clone(), retired.clone()];
    let theirs = [invoke, wanted, retired.with("not_after", ends_at_s)];
    let mut orchestrator =
        Orchestrator::new("reference", &Keys::new(theirs), 3_000).behaving(json!({ "signing_keyid": "wanted" }));
    orchestrator.start();
    let careless = ["invoke", "register"].map(|purpose| Key::new(&format!("careless-{purpose}"), "careless", purpose));
    let mut another = Orchestrator::new("careless", &Keys::new(careless.clone()), 3_000)
        .behaving(json!({ "signing_keyid": "nobodys" }));
    another.start();
    let gateway = Gateway::start(Options {
        keys: Keys::new([ours.to_vec(), careless.to_vec()].concat()),
        orchestrators: vec![
            Configured::new("reference", &orchestrator.url()),
            Configured::new("careless", &another.url()),
        ],
        history: true,
        ..Options::default()
    });
    let first = orchestrator.wait_for_live();
    let later = wait_for("a renewal after the end of the other key", || {
        let live = orchestrator.live()?;
        (live["lease_expires_at_ms"].as_u64()? > ends_at_s * 1_000 + 5_000).then_some(live)
    });
    assert_eq!(
        later["registration"], first["registration"],
        "it was renewed, and not registered anew"
    );
    let alarms = |text: &str| {
        let mut events = gateway.events();
        events.retain(|event| event["event"] == "alarm" && event["message"].to_string().contains(text));
        events.len()
    };
    assert_eq!(alarms("refuses the gateway's key"), 0);
    // Runs are handed on under it as well.
    let customer = api_key(&gateway, "operator", &json!({ "name": "tests" }));
    let body = json!({ "input": { "text": "hi" } });
    let answer = call(&gateway, &customer, "/agents/echo/query", &body).send().json();
    assert_eq!(answer["route"]["by"], "orchestrated", "{answer}");
    // One that asks for a key which is not there keeps its gateway, and the operator is told once.
    let _ = another.wait_for_live();
    assert_eq!(alarms("nobodys"), 1);
}
