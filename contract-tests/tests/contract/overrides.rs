//! Live configuration: an operator changes agents of a gateway that runs, and goes back. One world with a real orchestrator
//! and a provider of models; another gateway that is killed.

use std::process::Command;
use std::sync::{Barrier, Mutex, MutexGuard, OnceLock};
use std::thread;

use baton::overrides::snapshot::{Overrides, digest};
use baton::overrides::{CURRENT_KEY, Change, Snapshot};
use contract_tests::answer::Answer;
use contract_tests::command_line::Run;
use contract_tests::environment::Environment;
use contract_tests::folder::Folder;
use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::model_server::{Act, ModelServer};
use contract_tests::orchestrator::Orchestrator;
use contract_tests::outside::{fresh, wait_for};
use contract_tests::schemas::assert_fits;
use serde_json::{Value, json};

use crate::direct::{answered, api_key, call};
use crate::support::alone_in;

/// Long: no renewal comes while a test waits, so a new registration is the change's own. In milliseconds.
const LEASE_MS: u64 = 120_000;
const PATH: &str = "/operator/overrides";
const MODEL_KEY: &str = "sk-overrides-0123456789";

struct World {
    gateway: Gateway,
    orchestrator: Orchestrator,
    models: ModelServer,
}

fn keys() -> Keys {
    Keys::new([
        Key::new("first", "reference", "invoke"),
        Key::new("register", "reference", "register"),
        Key::new("operator", "reference", "operate"),
        Key::new("colleague", "reference", "operate"),
    ])
}

/// The one world, without overrides.
fn world() -> MutexGuard<'static, World> {
    static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
    alone_in(&WORLD, World::start, |world| {
        let _ = roll_back(&world.gateway, 0);
    })
}

impl World {
    fn start() -> Self {
        let (keys, models) = (keys(), ModelServer::start(MODEL_KEY));
        let mut orchestrator = Orchestrator::new("reference", &keys, LEASE_MS);
        orchestrator.start();
        let chat = json!({"api": "openai-chat", "base_url": models.base_url(), "key": "MODEL_KEY"});
        let gateway = Gateway::start(Options {
            keys,
            orchestrators: vec![Configured::new("reference", &orchestrator.url())],
            variables: vec![("BATON_MODELS", json!({ "chat": chat }).to_string())],
            secrets: vec![("BATON_SECRETS", json!({ "MODEL_KEY": MODEL_KEY }).to_string())],
            history: true,
            ..Options::default()
        });
        let _ = orchestrator.wait_for_live();
        Self {
            gateway,
            orchestrator,
            models,
        }
    }

    /// What a model agent's provider was asked when the agent was.
    fn asked_of_the_model(&self) -> Value {
        let word = fresh();
        let said = json!({"answer": "Tomorrow.", "urgent": false, "topic": "other"});
        self.models.plan(&word, [Act::Says(said.to_string())]);
        let input = json!({"text": format!("Where is my parcel? ({word})")});
        let outcome = step(&self.gateway, "ask-chat", &input).completed();
        assert_eq!(outcome["output"], said);
        self.models.asked(&word)[0].body.clone()
    }

    fn discovery(&self) -> Value {
        let manifest = Message::new(&self.gateway, "GET", "/.well-known/baton.json")
            .send()
            .json();
        assert_fits("discovery", &manifest);
        manifest
    }

    /// Waits for the registration of another manifest than this one.
    fn registered_anew(&self, digest: &Value) -> Value {
        wait_for("the orchestrator to hear of another manifest", || {
            let live = self.orchestrator.live()?;
            (live["manifest_digest"] != *digest).then_some(live)
        })
    }
}

fn operator(message: Message, key: &Key) -> Answer {
    message.signed(key).send()
}

fn current(gateway: &Gateway) -> Value {
    operator(Message::new(gateway, "GET", PATH), gateway.key("operator")).message(200, "overrides")
}

fn on_top_of(message: Message, version: &Value) -> Message {
    message.precondition("if-match", &format!("\"{version}\""))
}

fn put(gateway: &Gateway, agent: &str, version: &Value, value: &Value) -> Message {
    let message = Message::new(gateway, "PUT", &format!("{PATH}/{agent}"));
    on_top_of(message.with_json(value.to_string().as_bytes()), version)
}

#[track_caller]
fn set(gateway: &Gateway, agent: &str, value: &Value) -> Value {
    let message = put(gateway, agent, &current(gateway)["version"], value);
    operator(message, gateway.key("operator")).message(200, "overrides")
}

#[track_caller]
fn roll_back(gateway: &Gateway, to: u64) -> Value {
    let message = Message::post(gateway, &format!("{PATH}/rollback"), &json!({ "version": to }));
    let message = on_top_of(message, &current(gateway)["version"]);
    operator(message, gateway.key("operator")).message(200, "overrides")
}

fn step(gateway: &Gateway, agent: &str, input: &Value) -> Answer {
    let body = json!({"run": fresh(), "step": "s1", "input": input});
    Message::step(gateway, agent, &body)
        .signed_by_baton(gateway.key("first"))
        .send()
}

#[test]
fn a_prompt_changes_what_a_model_is_told_and_one_command_takes_it_back() {
    let world = world();
    let folder = Folder::new("overrides");
    let key = folder.write("key.json", world.gateway.key("operator").record().to_string());
    folder.write(
        "rhymes.md",
        "Answer in rhymes. The customer wrote {{ input.text | length }} characters.",
    );
    let baton = |arguments: &[&str], exit: i32| {
        let mut command = Command::new(&Environment::get().cli);
        command
            .arg("overrides")
            .args(arguments)
            .env("BATON_GATEWAY", world.gateway.origin())
            .env("BATON_KEY_FILE", &key);
        Run::of(&mut command, folder.path()).expect(exit).stdout
    };
    let before = world.asked_of_the_model();
    assert!(before.to_string().contains("You answer customers of a shop"));
    let set = baton(&["set", "ask-chat", "--prompt", "rhymes.md"], 0);
    assert!(set.contains("set ask-chat  by operator"), "{set}");
    baton(
        &[
            "set",
            "ask-chat",
            "--change",
            r#"{"model":{"model":"rhymer","temperature":0.9}}"#,
        ],
        0,
    );
    let changed = world.asked_of_the_model();
    assert_eq!(
        (&changed["model"], &changed["temperature"]),
        (&json!("rhymer"), &json!(0.9))
    );
    let told = changed.to_string();
    assert!(
        told.contains("Answer in rhymes. The customer wrote ") && !told.contains("of a shop"),
        "{told}"
    );
    let refused = baton(&["set", "ask-chat", "--change", r#"{"prompt":"{{ secrets.key }}"}"#], 3);
    assert!(
        refused.contains("/prompt") && refused.contains("uses `secrets`"),
        "{refused}"
    );
    baton(&["rollback"], 0);
    let half = world.asked_of_the_model();
    assert_eq!(half["model"], before["model"]);
    assert!(half.to_string().contains("Answer in rhymes."));
    baton(&["unset", "ask-chat"], 0);
    let after = world.asked_of_the_model().to_string();
    assert!(after.contains("You answer customers of a shop"), "{after}");
    let history = baton(&["history"], 0);
    let newest: Vec<_> = history.lines().take(4).collect();
    for (line, what) in newest
        .iter()
        .zip(["unset ask-chat", "rollback to ", "set ask-chat", "set ask-chat"])
    {
        assert!(line.contains(what), "{history}");
    }
    assert!(baton(&["show"], 0).contains("unset ask-chat"));
}

#[test]
fn limits_and_the_switch_hold_for_the_next_call() {
    let world = world();
    let input = json!({"text": "x".repeat(1_100)});
    let _ = step(&world.gateway, "echo", &input).completed();
    set(&world.gateway, "echo", &json!({"limits": {"body_max_bytes": 1_024}}));
    step(&world.gateway, "echo", &input).problem(413, "body-too-large");
    set(&world.gateway, "echo", &json!({"enabled": false}));
    let problem = step(&world.gateway, "echo", &json!({})).problem(403, "agent-disabled");
    assert_eq!(problem["retryable"], false);
    let manifest = world.discovery();
    let ids: Vec<_> = manifest["agents"]
        .as_array()
        .expect("agents")
        .iter()
        .map(|agent| &agent["id"])
        .collect();
    assert!(
        !ids.contains(&&json!("echo")) && ids.contains(&&json!("triage")),
        "{ids:?}"
    );
    roll_back(&world.gateway, 0);
    let outcome = step(&world.gateway, "echo", &input).completed();
    assert_eq!(outcome["agent_version"], "1.0.0");
    set(&world.gateway, "echo", &json!({"deadline_ms": 20_000}));
    let outcome = step(&world.gateway, "echo", &json!({})).completed();
    let version = outcome["agent_version"].as_str().unwrap_or_default();
    assert!(version.starts_with("1.0.0+override."), "{outcome}");
}

#[test]
fn a_routing_hint_changes_who_is_chosen() {
    let world = world();
    let key = api_key(&world.gateway, "operator", &json!({"name": "customer"}));
    let chosen = || {
        let text = json!({"text": "Frobnicate this: we moved to a new office. It is in Oslo."});
        let body = answered(&call(&world.gateway, &key, "/query", &text).send());
        body["choice"]["agent"].as_str().expect("an agent").to_owned()
    };
    let before = chosen();
    assert_ne!(before, "summarize");
    let keywords = json!([{"phrase": "frobnicat*", "weight": 50}]);
    set(&world.gateway, "summarize", &json!({"routing": {"keywords": keywords}}));
    assert_eq!(chosen(), "summarize");
    roll_back(&world.gateway, 0);
    assert_eq!(chosen(), before);
}

#[test]
fn the_orchestrator_hears_of_every_change() {
    let world = world();
    let as_built = world.discovery();
    let first = wait_for("the registration of what was deployed", || {
        let live = world.orchestrator.live()?;
        let bytes = Message::new(&world.gateway, "GET", "/.well-known/baton.json")
            .send()
            .response
            .body;
        (live["manifest_digest"] == contract_tests::mac::content_digest(&bytes)).then_some(live)
    });
    // It is in no field of the manifest.
    set(&world.gateway, "ask-chat", &json!({"prompt": "Answer in rhymes."}));
    let second = world.registered_anew(&first["manifest_digest"]);
    assert!(second["generation"].as_u64() > first["generation"].as_u64());
    let bytes = Message::new(&world.gateway, "GET", "/.well-known/baton.json")
        .send()
        .response
        .body;
    assert_eq!(second["manifest_digest"], contract_tests::mac::content_digest(&bytes));
    assert!(world.discovery()["gateway"]["overrides"].is_string());
    roll_back(&world.gateway, 0);
    let third = world.registered_anew(&second["manifest_digest"]);
    assert_eq!(
        third["manifest_digest"], first["manifest_digest"],
        "the same agents are the same manifest"
    );
    assert_eq!(world.discovery(), as_built);
}

#[test]
fn of_two_operators_at_once_one_is_told_so() {
    let world = world();
    let version = current(&world.gateway)["version"].clone();
    let barrier = Barrier::new(2);
    let change = |key: &str, deadline_ms: u64| {
        let message = put(
            &world.gateway,
            "triage",
            &version,
            &json!({ "deadline_ms": deadline_ms }),
        );
        let message = message.signed(world.gateway.key(key));
        barrier.wait();
        message.send()
    };
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(|| change("operator", 1_000));
        let other = scope.spawn(|| change("colleague", 2_000));
        (one.join().expect("an answer"), other.join().expect("an answer"))
    });
    let (made, refused) = if one.status() == 200 {
        (one, other)
    } else {
        (other, one)
    };
    let made = made.message(200, "overrides");
    let problem = refused.problem(412, "overrides-conflict");
    assert_eq!(problem["current_version"], made["version"]);
    assert_eq!(current(&world.gateway), made);
}

#[test]
fn a_repeated_change_is_made_once_and_a_captured_one_is_worth_nothing() {
    let world = world();
    let version = current(&world.gateway)["version"].clone();
    let message = || put(&world.gateway, "triage", &version, &json!({"enabled": false}));
    let made = operator(message(), world.gateway.key("operator")).message(200, "overrides");
    let again = operator(message(), world.gateway.key("operator")).message(200, "overrides");
    assert_eq!(made, again);
    operator(message(), world.gateway.key("colleague")).problem(412, "overrides-conflict");
    let captured = message().signed(world.gateway.key("operator"));
    roll_back(&world.gateway, 0);
    captured.send().problem(412, "overrides-conflict");
    operator(message(), world.gateway.key("first")).problem(403, "key-not-allowed");
}

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
    serde_json::to_string(&snapshot).expect("JSON")
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

    // Whoever asks the writer is told what was accepted.
    assert_eq!(current(&gateway)["overrides"], json!({"echo": {"enabled": false}}));
}
