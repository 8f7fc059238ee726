//! The link to orchestrators: one gateway with three of them. They are real, and the gateway is killed under them.
//!
//! `reference` is well; `late` is started long after the gateway; `stranger` has another secret for the gateway's key.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::orchestrator::Orchestrator;
use contract_tests::outside::{fresh, wait_for};
use serde_json::{Value, json};

/// Short, so that a test sees renewals, in milliseconds.
const LEASE_MS: u64 = 4_000;

struct World {
    gateway: Gateway,
    reference: Orchestrator,
    late: Orchestrator,
    late_runs: bool,
    stranger: Orchestrator,
}

/// The one world; a test has it for itself, since it may kill a part of it. What a failed test left behind is mended.
fn world() -> MutexGuard<'static, World> {
    static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
    let world = WORLD.get_or_init(|| Mutex::new(World::start()));
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pair(orchestrator: &str) -> [Key; 2] {
    ["invoke", "register"].map(|purpose| Key::new(&format!("{orchestrator}-{purpose}"), orchestrator, purpose))
}

impl World {
    fn start() -> Self {
        let (known, late, theirs) = (pair("reference"), pair("late"), pair("stranger"));
        // The same ids with other secrets.
        let ours = pair("stranger");
        let orchestrator = |id: &str, keys: &[Key]| Orchestrator::new(id, &Keys::new(keys.to_vec()), LEASE_MS);
        let mut reference = orchestrator("reference", &known);
        let mut stranger = orchestrator("stranger", &theirs);
        let late_one = orchestrator("late", &late);
        reference.start();
        stranger.start();
        let orchestrators = [("reference", &reference), ("late", &late_one), ("stranger", &stranger)];
        let gateway = Gateway::start(Options {
            keys: Keys::new([known, late, ours].concat()),
            orchestrators: orchestrators.map(|(id, it)| Configured::new(id, &it.url())).to_vec(),
            ..Options::default()
        });
        Self {
            gateway,
            reference,
            late: late_one,
            late_runs: false,
            stranger,
        }
    }

    /// What the gateway logged about its link to an orchestrator.
    fn link_events(&self, orchestrator: &str) -> Vec<Value> {
        let mut events = self.gateway.events();
        events.retain(|event| event["event"] == "link" && event["orchestrator"] == orchestrator);
        events
    }
}

/// No generation is ever given twice, and a later registration has a higher one.
#[track_caller]
fn check_fencing(orchestrator: &Orchestrator) {
    let registrations = orchestrator.registrations();
    let generations: Vec<_> = registrations
        .iter()
        .map(|registration| registration["generation"].as_u64().expect("a generation"))
        .collect();
    assert!(
        generations.is_sorted_by(|newer, older| newer > older),
        "{registrations:?}"
    );
}

#[test]
fn a_gateway_registers_by_itself() {
    let world = world();
    let live = world.reference.wait_for_live();
    assert_eq!(live["gateway"], "baton");
    assert_eq!(live["origin"], world.gateway.origin());
    // The digest is that of the manifest as anybody gets it, and the agents are those that it lists.
    let manifest = Message::new(&world.gateway, "GET", "/.well-known/baton.json").send();
    assert_eq!(
        live["manifest_digest"],
        contract_tests::mac::content_digest(&manifest.response.body)
    );
    let listed: Vec<_> = manifest.json()["agents"]
        .as_array()
        .expect("agents")
        .iter()
        .map(|agent| agent["id"].clone())
        .collect();
    assert_eq!(live["agents"], Value::from(listed));
}

#[test]
fn a_lease_is_renewed_before_it_ends() {
    let world = world();
    let first = world.reference.wait_for_live();
    let ends_at = |registration: &Value| registration["lease_expires_at_ms"].as_u64().expect("a time");
    // Longer than one lease: without renewals it would have ended.
    let later = wait_for("the lease to be renewed", || {
        let live = world.reference.live()?;
        (ends_at(&live) > ends_at(&first) + LEASE_MS).then_some(live)
    });
    assert_eq!(
        later["registration"], first["registration"],
        "renewed, not registered anew"
    );
    assert_eq!(later["generation"], first["generation"]);
    assert_eq!(later["health"], "ok");
}

#[test]
fn a_forgotten_gateway_registers_anew_under_the_next_generation() {
    let world = world();
    let first = world.reference.wait_for_live();
    let id = first["registration"].as_str().expect("an id");
    let before = world.link_events("reference").len();
    world.reference.post(&format!("/admin/forget/{id}"), None, 204);
    let second = world.reference.wait_for_live();
    assert_ne!(second["registration"], first["registration"]);
    assert_eq!(
        second["generation"].as_u64(),
        first["generation"].as_u64().map(|before| before + 1)
    );
    check_fencing(&world.reference);
    // As soon as it learns of it, and not when the lease would have ended.
    let calls = wait_for("the calls in the log", || {
        let calls = world.link_events("reference").split_off(before);
        let forgotten = calls.iter().position(|call| call["result"]["forgotten"].is_string())?;
        (calls.len() > forgotten + 1).then(|| [calls[forgotten].clone(), calls[forgotten + 1].clone()])
    });
    assert_eq!(calls[0]["call"], "renew", "{calls:?}");
    assert_eq!(calls[1]["call"], "register", "{calls:?}");
    assert_eq!(
        calls[1]["result"]["granted"]["generation"], second["generation"],
        "{calls:?}"
    );
}

#[test]
fn an_orchestrator_that_is_down_at_first_is_registered_with_when_it_is_up() {
    let mut world = world();
    if !world.late_runs {
        let failed = wait_for("a registration that fails", || {
            let events = world.link_events("late");
            events.into_iter().find(|event| event["result"]["failed"].is_string())
        });
        assert_eq!(failed["call"], "register");
        world.late.start();
        world.late_runs = true;
    }
    let live = world.late.wait_for_live();
    assert_eq!(live["origin"], world.gateway.origin());
    let events = world.link_events("late");
    let granted = events.iter().find(|event| event["result"]["granted"].is_object());
    let granted = granted.expect("the call that succeeded is in the log");
    assert_eq!(granted["call"], "register");
    assert_eq!(granted["result"]["granted"]["generation"], 1);
}

#[test]
fn an_orchestrator_that_is_killed_keeps_its_registrations() {
    let mut world = world();
    let before = world.reference.wait_for_live();
    world.reference.kill_hard();
    world.reference.start();
    let registrations = world.reference.registrations();
    let kept = registrations
        .iter()
        .find(|registration| registration["registration"] == before["registration"])
        .expect("the registration is kept");
    assert_eq!(kept["generation"], before["generation"]);
    let _ = world.reference.wait_for_live();
    check_fencing(&world.reference);
}

#[test]
fn a_gateway_that_is_killed_keeps_its_registration_or_gets_the_next() {
    let mut world = world();
    let before = world.reference.wait_for_live();
    world.gateway.kill_hard();
    world.gateway.restart();
    let generation = |registration: &Value| registration["generation"].as_u64().expect("a generation");
    // The lease that it held when it died has ended by then; whether it is renewed before that is a race.
    let after = wait_for("the link to go on", || {
        let live = world.reference.live()?;
        let ends_at = |registration: &Value| registration["lease_expires_at_ms"].as_u64();
        (ends_at(&live) > ends_at(&before)).then_some(live)
    });
    if after["registration"] == before["registration"] {
        assert_eq!(generation(&after), generation(&before));
    } else {
        assert_eq!(generation(&after), generation(&before) + 1);
    }
    check_fencing(&world.reference);
}

#[test]
fn an_orchestrator_that_refuses_the_key_raises_an_alarm() {
    let world = world();
    let alarm = wait_for("an alarm", || {
        let mut events = world.gateway.events().into_iter();
        events.find(|event| event["event"] == "alarm" && event["message"].to_string().contains("stranger"))
    });
    assert_eq!(alarm["subject"], "link");
    let message = alarm["message"].as_str().expect("text");
    assert!(message.contains("refuses the gateway's key"), "{message}");
    assert_eq!(world.stranger.live(), None);
    let calls = world.link_events("stranger");
    assert!(
        calls.iter().all(|call| call["result"]["refused"].is_string()),
        "{calls:?}"
    );
}

#[test]
fn a_run_is_driven_through_the_gateway_and_its_answers_are_verified() {
    let world = world();
    let _ = world.reference.wait_for_live();
    let run = json!({
        "run": fresh(),
        "steps": [
            { "agent": "triage", "input": { "text": "I was charged twice and want a refund!" } },
            { "agent": "redact", "input": { "text": "Write to ada@example.org" } },
        ],
    });
    let ended = world.reference.post("/runs", Some(&run), 200);
    assert_eq!(ended["status"], "completed", "{ended}");
    let steps = ended["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 2);
    for step in steps {
        assert_eq!(
            (&step["status"], &step["verified"]),
            (&json!("completed"), &json!(true)),
            "{step}"
        );
        let calls = step["invocations"].as_array().expect("invocations");
        let last = calls.last().expect("an invocation");
        assert_eq!(
            (&last["verified"], &last["http_status"]),
            (&json!(true), &json!(200)),
            "{step}"
        );
    }
    assert_eq!(steps[0]["outcome"]["output"]["category"], "support");
    assert_eq!(steps[1]["outcome"]["output"]["text"], "Write to [email]");
    // It is what the orchestrator shows to people, too.
    let shown = world.reference.get("/runs");
    let shown = shown
        .as_array()
        .and_then(|runs| runs.iter().find(|shown| shown["run"] == run["run"]));
    assert_eq!(shown, Some(&ended));
}

#[test]
fn a_step_that_fails_for_now_is_tried_again_by_the_orchestrator() {
    let world = world();
    let _ = world.reference.wait_for_live();
    let run = json!({
        "agent": "fail",
        "input": { "code": "busy", "retry_after_ms": 10, "until_attempt": 2 },
    });
    let ended = world.reference.post("/runs", Some(&run), 200);
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(ended["steps"][0]["attempt"], 2);
}

#[test]
fn a_run_survives_the_death_of_the_gateway_with_one_effect() {
    let mut world = world();
    let _ = world.reference.wait_for_live();
    let id = fresh();
    let run = json!({ "run": id, "agent": "sleep", "input": { "ms": 1_900 }, "deadline_ms": 120_000 });
    let World { gateway, reference, .. } = &mut *world;
    let reference = &*reference;
    let ended = thread::scope(|scope| {
        let driven = scope.spawn(|| reference.post("/runs", Some(&run), 200));
        wait_for("the run to begin", || {
            let runs = reference.get("/runs");
            let begun = runs.as_array()?.iter().any(|run| run["run"] == id.as_str());
            begun.then_some(())
        });
        // The step sleeps: in the middle of that.
        thread::sleep(Duration::from_millis(900));
        gateway.kill_hard();
        gateway.restart();
        driven.join().expect("the run ends")
    });
    assert_eq!(ended["status"], "completed", "{ended}");
    let step = &ended["steps"][0];
    assert_eq!(step["verified"], true);
    let calls = step["invocations"].as_array().expect("invocations");
    assert!(calls.len() > 1, "the gateway did not die in the middle: {calls:?}");
    assert_eq!(calls[0]["verified"], false, "{calls:?}");
    // One execution was answered, and all calls were the same one.
    let answered: Vec<_> = calls.iter().filter(|call| call["outcome"] == "completed").collect();
    assert_eq!(answered.len(), 1, "{calls:?}");
    assert_eq!(answered[0]["replayed"], false, "{calls:?}");
    assert!(
        calls
            .iter()
            .all(|call| call["idempotency_key"] == calls[0]["idempotency_key"]),
        "{calls:?}"
    );
}
