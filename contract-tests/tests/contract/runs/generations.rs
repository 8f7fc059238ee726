//! Calls that name the generation of a lease: what comes late has no effect.

use std::sync::OnceLock;

use contract_tests::answer::Answer;
use contract_tests::gateway::{Configured, Gateway, Options, shared};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::orchestrator::Orchestrator;
use contract_tests::outside::{fresh, wait_for};
use serde_json::{Value, json};

use super::calls::{assert_no_state, put};
use crate::support::key;

const FIELD: &str = "baton-generation";

fn step(run: &str, step: &str) -> Value {
    json!({ "run": run, "step": step, "input": { "text": "hi" } })
}

/// Sends a call under a lease of this generation.
#[track_caller]
fn under(generation: u64, message: Message) -> Answer {
    let message = message.precondition(FIELD, &generation.to_string());
    message.signed(key("first")).send()
}

fn invocation(run: &str, id: &str) -> Message {
    Message::step(&shared(), "echo", &step(run, id))
}

#[track_caller]
fn is_outdated(answer: &Answer, known: u64) {
    let problem = answer.problem(409, "generation-outdated");
    assert_eq!(problem["known_generation"], known, "{problem}");
}

#[test]
fn an_older_generation_executes_nothing() {
    let run = fresh();
    let first = under(2, invocation(&run, "a"));
    let _ = first.completed();
    is_outdated(&under(1, invocation(&run, "b")), 2);
    crate::support::assert_no_effect(step(&run, "b").to_string().as_bytes());
    // The same lease, a later one, and a call that names none.
    let _ = under(2, invocation(&run, "c")).completed();
    let _ = invocation(&run, "d").signed(key("first")).send().completed();
    let _ = under(3, invocation(&run, "e")).completed();
    is_outdated(&under(2, invocation(&run, "f")), 3);
    // An answer that is there is told under every generation.
    let again = under(1, invocation(&run, "a"));
    assert!(again.is_replayed());
    assert_eq!(again.completed()["output"], first.completed()["output"]);
}

#[test]
fn a_state_a_handoff_and_a_cancellation_are_fenced() {
    let run = fresh();
    let background = invocation(&run, "a").header("prefer", "respond-async");
    let _ = under(2, background).message(202, "step-status");
    is_outdated(&under(1, put(&run, "1").precondition("if-none-match", "*")), 2);
    assert_no_state(&run);
    let handoff = json!({ "run": run, "from": "me", "reason": "late" });
    let handoff = Message::post(&shared(), "/agents/echo/handoffs", &handoff).idempotency_key("h");
    is_outdated(&under(1, handoff), 2);
    let cancel = Message::new(&shared(), "POST", &format!("/runs/{run}/steps/a/cancel"));
    is_outdated(&under(1, cancel), 2);
    let delete = Message::new(&shared(), "DELETE", &format!("/runs/{run}"));
    is_outdated(&under(1, delete), 2);
}

#[test]
fn a_generation_that_is_not_signed_or_none_is_refused() {
    let uncovered = invocation(&fresh(), "a").header(FIELD, "1").signed(key("first")).send();
    uncovered.problem(401, "signature-coverage");
    let message = invocation(&fresh(), "a").precondition(FIELD, "07");
    message.signed(key("first")).send().problem(400, "generation-invalid");
}

/// A gateway that an orchestrator forgets, and which registers anew.
fn forgotten() -> &'static (Gateway, Orchestrator) {
    static WORLD: OnceLock<(Gateway, Orchestrator)> = OnceLock::new();
    WORLD.get_or_init(|| {
        let keys = Keys::new(["invoke", "register"].map(|purpose| Key::new(purpose, "reference", purpose)));
        let mut orchestrator = Orchestrator::new("reference", &keys, 4_000);
        orchestrator.start();
        let gateway = Gateway::start(Options {
            keys,
            orchestrators: vec![Configured::new("reference", &orchestrator.url())],
            ..Options::default()
        });
        let first = orchestrator.wait_for_live();
        let id = first["registration"].as_str().expect("an id");
        orchestrator.post(&format!("/admin/forget/{id}"), None, 204);
        let second = wait_for("the next registration", || orchestrator.live());
        assert_eq!(second["generation"], 2);
        // The link hears of its new lease a moment after the orchestrator has granted it.
        wait_for("the link to hold its new lease", || {
            let events = gateway.events();
            let is_granted = |event: &Value| event["result"]["granted"]["generation"] == 2;
            events.iter().any(is_granted).then_some(())
        });
        (gateway, orchestrator)
    })
}

#[test]
fn a_late_retry_of_a_forgotten_lease_is_refused_by_a_run_that_saw_no_other() {
    let (gateway, _) = forgotten();
    let send = |generation: &str, run: &str| {
        let message = Message::step(gateway, "echo", &step(run, "a")).precondition(FIELD, generation);
        message.signed(gateway.key("invoke")).send()
    };
    let run = fresh();
    is_outdated(&send("1", &run), 2);
    let _ = send("2", &run).completed();
}

#[test]
fn the_orchestrator_names_the_lease_that_is_live() {
    let (gateway, orchestrator) = forgotten();
    let run = json!({ "run": fresh(), "agent": "echo", "input": { "text": "hi" } });
    let ended = orchestrator.post("/runs", Some(&run), 200);
    assert_eq!(ended["status"], "completed", "{ended}");
    // Its run has seen the second generation.
    let id = run["run"].as_str().expect("an id");
    let late = Message::step(gateway, "echo", &step(id, "late")).precondition(FIELD, "1");
    is_outdated(&late.signed(gateway.key("invoke")).send(), 2);
}
