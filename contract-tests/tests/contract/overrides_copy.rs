//! The copy of the overrides in KV: lost, damaged, old or made by hand, while the gateway is killed. What was accepted holds.

use baton::overrides::snapshot::{Overrides, digest};
use baton::overrides::{CURRENT_KEY, Change, Snapshot};
use contract_tests::gateway::{Gateway, Options};
use contract_tests::outside::wait_for;
use serde_json::{Value, json};

use crate::overrides::{current, keys, set, step};

/// A version as it might be written into KV by hand.
fn written_by_hand(version: u64, overrides: &[(&str, Value)]) -> String {
    let overrides: Overrides = overrides
        .iter()
        .map(|(id, value)| ((*id).to_owned(), value.clone()))
        .collect();
    let snapshot = Snapshot {
        version,
        at_ms: 0,
        by: "nobody".into(),
        change: Some(Change::RollBack { to: 0 }),
        digest: digest(&overrides),
        overrides,
    };
    snapshot.copy().expect("JSON")
}

/// The messages of alarms about overrides.
fn alarms(gateway: &Gateway) -> Vec<String> {
    let events = gateway.events().into_iter();
    let alarms = events.filter(|event| event["event"] == "alarm" && event["subject"] == "overrides");
    alarms
        .map(|event| event["message"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn overrides_outlive_a_kill_and_what_is_invalid_in_kv_is_never_served() {
    let mut gateway = Gateway::start(Options {
        keys: keys(),
        ..Options::default()
    });
    let _ = step(&gateway, "echo", &json!({})).completed();
    set(&gateway, "echo", &json!({"enabled": false}));
    // Perhaps before it was copied: then that is made up for.
    gateway.kill_hard();
    gateway.restart();
    wait_for("the override to be in force again", || {
        (step(&gateway, "echo", &json!({})).status() == 403).then_some(())
    });
    assert_eq!(alarms(&gateway), Vec::<String>::new());

    // What is no version at all gives way to what was accepted, and is replaced by it.
    gateway.kill_hard();
    gateway.write_kv("OVERRIDES", CURRENT_KEY, "{\"version\": 99, \"overrides\": {}}");
    gateway.restart();
    step(&gateway, "echo", &json!({})).problem(403, "agent-disabled");
    let told = alarms(&gateway);
    assert!(told[0].contains("what KV has is ignored"), "{told:?}");
    wait_for("KV to be mended", || {
        gateway
            .read_kv("OVERRIDES", CURRENT_KEY)
            .contains("\"by\":\"operator\"")
            .then_some(())
    });

    // What looks like a version, and does not hold, is left out; the rest of it is followed.
    gateway.kill_hard();
    let prompt_of_no_model = json!({"prompt": "Be kind.", "enabled": false});
    let by_hand = written_by_hand(
        99,
        &[("echo", prompt_of_no_model), ("sleep", json!({"enabled": false}))],
    );
    gateway.write_kv("OVERRIDES", CURRENT_KEY, &by_hand);
    gateway.restart();
    let _ = step(&gateway, "echo", &json!({})).completed();
    step(&gateway, "sleep", &json!({"ms": 1})).problem(403, "agent-disabled");
    let told = alarms(&gateway);
    let about_echo = |message: &String| message.starts_with("that of echo in version 99 is ignored: /prompt");
    assert!(told.iter().any(about_echo), "{told:?}");

    // Whoever asks the writer is told what was accepted; the gateway asks in the end, too, and does not believe in KV again.
    assert_eq!(current(&gateway)["overrides"], json!({"echo": {"enabled": false}}));
    wait_for("what was accepted to be in force", || {
        (step(&gateway, "echo", &json!({})).status() == 403).then_some(())
    });
    let told = alarms(&gateway);
    let about_99 = |message: &String| message.contains("it is version 99, and 1 is the newest");
    assert!(told.iter().any(about_99), "{told:?}");
    wait_for("KV to be mended", || {
        gateway
            .read_kv("OVERRIDES", CURRENT_KEY)
            .contains("\"by\":\"operator\"")
            .then_some(())
    });
}

/// A gateway whose agent `echo` is switched off, killed, once KV has that.
fn switched_off_and_copied() -> Gateway {
    let mut gateway = Gateway::start(Options {
        keys: keys(),
        ..Options::default()
    });
    set(&gateway, "echo", &json!({"enabled": false}));
    wait_for("the copy in KV", || {
        gateway
            .read_kv("OVERRIDES", CURRENT_KEY)
            .contains("\"version\":1")
            .then_some(())
    });
    gateway.kill_hard();
    gateway
}

#[test]
fn a_copy_that_is_gone_is_told_and_changes_nothing() {
    let mut gateway = switched_off_and_copied();
    gateway.delete_kv("OVERRIDES", CURRENT_KEY);
    gateway.restart();
    for _ in 0..2 {
        step(&gateway, "echo", &json!({})).problem(403, "agent-disabled");
    }
    let told = alarms(&gateway);
    assert_eq!(told.len(), 1, "once: {told:?}");
    assert!(told[0].starts_with("KV has lost version 1"), "{told:?}");
}

#[test]
fn a_copy_that_is_damaged_in_its_number_alone_is_refused() {
    let mut gateway = switched_off_and_copied();
    let copy = gateway.read_kv("OVERRIDES", CURRENT_KEY);
    gateway.write_kv(
        "OVERRIDES",
        CURRENT_KEY,
        &copy.replace("\"version\":1", "\"version\":7"),
    );
    gateway.restart();
    step(&gateway, "echo", &json!({})).problem(403, "agent-disabled");
    assert_eq!(current(&gateway)["version"], 1);
    let told = alarms(&gateway);
    assert!(
        told[0].contains("its check digest is not that of its members"),
        "{told:?}"
    );
}

/// As KV shows it that takes no writes.
#[test]
fn a_gateway_that_began_with_an_old_copy_follows_the_object_in_the_end() {
    let mut gateway = switched_off_and_copied();
    gateway.write_kv("OVERRIDES", CURRENT_KEY, &Snapshot::none().copy().expect("JSON"));
    gateway.restart();
    wait_for("the override to be in force again", || {
        (step(&gateway, "echo", &json!({})).status() == 403).then_some(())
    });
}
