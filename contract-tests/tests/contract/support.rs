//! What the topics share: steps on the shared gateway.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use contract_tests::answer::Answer;
use contract_tests::gateway::{Configured, Gateway, Options, shared};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::orchestrator::Orchestrator;
use contract_tests::outside::fresh;
use serde_json::{Value, json};

/// A key of the shared gateway.
#[track_caller]
pub fn key(id: &str) -> &'static Key {
    shared().key(id)
}

/// The one world of some tests, each of which has it for itself. What an earlier one left behind is mended.
pub fn alone_in<W>(
    world: &'static OnceLock<Mutex<W>>,
    start: impl FnOnce() -> W,
    mend: impl FnOnce(&W),
) -> MutexGuard<'static, W> {
    let world = world.get_or_init(|| Mutex::new(start()));
    let world = world.lock().unwrap_or_else(PoisonError::into_inner);
    mend(&world);
    world
}

/// A gateway, the orchestrator `reference` with leases of so many milliseconds, and a customer's API key without a limit
/// that matters.
pub fn orchestrated(lease_ms: u64) -> (Gateway, Orchestrator, String) {
    orchestrated_with(lease_ms, Options::default())
}

/// The same, with what these options say of everything else.
pub fn orchestrated_with(lease_ms: u64, options: Options) -> (Gateway, Orchestrator, String) {
    orchestrated_as(lease_ms, options, |configured| configured)
}

/// The same, with an orchestrator that the gateway is configured with so.
pub fn orchestrated_as(
    lease_ms: u64,
    options: Options,
    configure: impl FnOnce(Configured) -> Configured,
) -> (Gateway, Orchestrator, String) {
    let keys = Keys::new([
        Key::new("invoke", "reference", "invoke"),
        Key::new("register", "reference", "register"),
        Key::new("operator", "reference", "operate"),
    ]);
    let mut orchestrator = Orchestrator::new("reference", &keys, lease_ms);
    orchestrator.start();
    let gateway = Gateway::start(Options {
        keys,
        orchestrators: vec![configure(Configured::new("reference", &orchestrator.url()))],
        history: true,
        ..options
    });
    let rate = json!({ "burst": 10_000, "per_minute": 10_000 });
    let api_key = crate::direct::api_key(&gateway, "operator", &json!({ "name": "tests", "rate": rate }));
    (gateway, orchestrator, api_key)
}

/// The body of a step of a fresh run.
pub fn body(input: Value) -> Value {
    json!({ "run": fresh(), "step": "s1", "input": input })
}

/// A step of a fresh run on the fixture `echo`, not signed.
pub fn step() -> Message {
    Message::step(&shared(), "echo", &body(json!({ "text": "hi" })))
}

/// The same, signed under the key `first`.
pub fn signed() -> Message {
    step().signed(key("first"))
}

/// Signs and sends a step as an orchestrator's library does.
#[track_caller]
pub fn invoke(agent: &str, body: &Value) -> Answer {
    Message::step(&shared(), agent, body)
        .signed_by_baton(key("first"))
        .send()
}

/// The same with an idempotency key of its own.
#[track_caller]
pub fn invoke_as(idempotency_key: &str, agent: &str, body: &Value) -> Answer {
    Message::step(&shared(), agent, body)
        .idempotency_key(idempotency_key)
        .signed_by_baton(key("first"))
        .send()
}

/// Checks that nothing was executed under the run and step of this body: the same step with another input, sent honestly,
/// is executed now. Were there an effect, the step would be known with the first input, and this refused.
#[track_caller]
pub fn assert_no_effect(body: &[u8]) {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    if body["run"].is_string() && body["step"].is_string() {
        let honest = json!({ "run": body["run"], "step": body["step"], "input": { "honest": true } });
        let answer = invoke_as(&format!("{}/honest", fresh()), "echo", &honest);
        assert_eq!(answer.completed()["output"]["input"], honest["input"]);
        assert!(!answer.is_replayed());
    }
}
