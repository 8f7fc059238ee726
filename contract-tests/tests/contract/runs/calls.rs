//! What the tests of runs share: calls on runs of the shared gateway.

use std::thread::{self, ScopedJoinHandle};

use contract_tests::answer::Answer;
use contract_tests::gateway::shared;
use contract_tests::message::Message;
use contract_tests::outside::{fresh, wait_for};
use serde_json::{Value, json};

use crate::support::{invoke, key};

/// The path to a run, or to something in it.
pub fn path(run: &str, rest: &str) -> String {
    format!("/runs/{}{rest}", encoded(run))
}

/// A path's segment, percent-encoded.
pub fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| match plain(&byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// A read, not signed.
pub fn get(run: &str, rest: &str) -> Message {
    Message::new(&shared(), "GET", &path(run, rest))
}

/// A write of this text, not signed, that does not say what it replaces.
pub fn put(run: &str, text: &str) -> Message {
    Message::new(&shared(), "PUT", &path(run, "/state")).with_json(text.as_bytes())
}

/// The run's description.
#[track_caller]
pub fn described(run: &str) -> Value {
    get(run, "").signed(key("first")).send().message(200, "run")
}

/// The state that the run keeps.
#[track_caller]
pub fn state(run: &str) -> Value {
    get(run, "/state").signed(key("first")).send().message(200, "state")
}

/// Checks that the run keeps no state.
#[track_caller]
pub fn assert_no_state(run: &str) {
    let answer = get(run, "/state").signed(key("first")).send();
    answer.problem(404, "state-unknown");
}

/// The number of the current version, as its entity tag begins.
#[track_caller]
pub fn version_of(etag: &str) -> u64 {
    let number = etag.strip_prefix('"').and_then(|rest| rest.split('-').next());
    number.and_then(|number| number.parse().ok()).expect("a version")
}

/// Writes the first version, and gives its entity tag.
#[track_caller]
pub fn create(run: &str, state: &Value) -> String {
    let message = put(run, &state.to_string()).precondition("if-none-match", "*");
    let answer = message.signed(key("first")).send();
    let _ = answer.message(201, "state-receipt");
    answer.header("etag").expect("an entity tag").to_owned()
}

/// Writes a further version, whatever is current, and gives its entity tag.
#[track_caller]
pub fn overwrite(run: &str, state: &Value) -> String {
    let message = put(run, &state.to_string()).precondition("if-match", "*");
    let answer = message.signed(key("first")).send();
    let _ = answer.message(200, "state-receipt");
    answer.header("etag").expect("an entity tag").to_owned()
}

/// The body of a scripted step of this run.
pub fn scripted(run: &str, step: &str, actions: Value) -> Value {
    json!({ "run": run, "step": step, "input": { "actions": actions } })
}

/// The body of a scripted step of a fresh run.
pub fn fresh_script(actions: Value) -> Value {
    scripted(&fresh(), "s1", actions)
}

/// A step that runs in the background, signed.
pub fn in_background(agent: &str, body: &Value) -> Message {
    preferring("respond-async", agent, body)
}

/// A step with these preferences, signed.
pub fn preferring(preferences: &str, agent: &str, body: &Value) -> Message {
    Message::step(&shared(), agent, body)
        .header("prefer", preferences)
        .signed(key("first"))
}

/// The path to the step of this body.
pub fn step_path(body: &Value) -> (String, String) {
    let text = |name: &str| body[name].as_str().expect("text");
    (text("run").to_owned(), format!("/steps/{}", encoded(text("step"))))
}

/// A read of how far the step of this body has come, not signed.
pub fn status_of(body: &Value) -> Message {
    let (run, step) = step_path(body);
    get(&run, &step)
}

/// How far the step of this body has come.
#[track_caller]
pub fn status(body: &Value) -> Value {
    status_of(body).signed(key("first")).send().message(200, "step-status")
}

/// Waits until the step is executed.
#[track_caller]
pub fn wait_until_running(body: &Value) {
    wait_for("the step to be executed", || {
        let answer = status_of(body).signed(key("first")).send();
        // Until it is accepted there is no such step.
        (answer.status() == 200 && answer.json()["status"] == "running").then_some(())
    });
}

/// Waits until the step has ended, and gives its status.
#[track_caller]
pub fn ended(body: &Value) -> Value {
    wait_for("the step's end", || {
        let status = status(body);
        (status["status"] == "ended").then_some(status)
    })
}

/// Runs a step in the background to its end, and gives its outcome.
#[track_caller]
pub fn outcome_in_background(agent: &str, body: &Value) -> Value {
    let _ = in_background(agent, body).send().message(202, "step-status");
    let answer = ended(body)["answer"].clone();
    assert_eq!(answer["status"], 200, "{answer}");
    answer["body"].clone()
}

/// A cancellation, not signed.
pub fn cancel_of(body: &Value) -> Message {
    let (run, step) = step_path(body);
    Message::new(&shared(), "POST", &path(&run, &format!("{step}/cancel")))
}

/// Cancels the step.
#[track_caller]
pub fn cancel(body: &Value) -> Value {
    cancel_of(body).signed(key("first")).send().message(200, "step-status")
}

/// Forgets the run.
#[track_caller]
pub fn forget(run: &str) -> Answer {
    let answer = Message::new(&shared(), "DELETE", &path(run, ""))
        .signed(key("first"))
        .send();
    assert_eq!((answer.status(), answer.text().as_str()), (204, ""));
    assert!(answer.is_signed());
    answer
}

/// Invokes a step as one does who waits for the answer, and does something else once it is executed.
#[track_caller]
pub fn while_waiting(agent: &str, body: &Value, meanwhile: impl FnOnce()) -> Answer {
    thread::scope(|scope| {
        let caller: ScopedJoinHandle<'_, Answer> = scope.spawn(|| invoke(agent, body));
        wait_until_running(body);
        meanwhile();
        caller.join().expect("an answer")
    })
}
