//! Which key may sign what.

use contract_tests::gateway::shared;
use contract_tests::keys::Key;
use contract_tests::message::Message;
use serde_json::json;

use super::{attacks, check_accepted, check_refused};
use crate::support::{assert_no_effect, body, key, step};

/// Names a key that its sender does not hold.
fn forged(id: &str) -> Message {
    step()
        .stamped(key(id))
        .signed_as("sig1", &Key::new(id, "acme", "invoke"))
}

attacks! {
    unknown_key: step().signed(&Key::new("nobody", "acme", "invoke")) => 401 "signature-invalid";
    key_not_held: forged("first") => 401 "signature-invalid";
    key_of_another_id: step().stamped(key("first")).signed_as("sig1", key("second")) => 401 "signature-invalid";
    expired_key: step().signed(key("expired")) => 401 "key-expired";
    key_not_yet_valid: step().signed(key("future")) => 401 "key-not-yet-valid";
    key_for_another_purpose: step().signed(key("register")) => 403 "key-not-allowed";
    // What else is wrong with a key is told only to one who holds it.
    expired_key_not_held: forged("expired") => 401 "signature-invalid";
    key_not_yet_valid_not_held: forged("future") => 401 "signature-invalid";
    key_for_another_purpose_not_held: forged("register") => 401 "signature-invalid";
    key_of_the_other_scheme_not_held: forged("hooks") => 401 "signature-invalid";
}

#[test]
fn two_active_keys_make_a_rotation() {
    let body = body(json!({ "text": "hi" }));
    let under = |id: &str| Message::step(&shared(), "echo", &body).signed(key(id)).send();
    let (old, new) = (under("first"), under("second"));
    // Both are the same orchestrator: a retry under the new key gets the stored answer.
    assert_eq!(old.completed(), new.completed());
    assert!(new.is_replayed());
}

#[test]
fn a_key_that_may_not_invoke_the_agent() {
    let message = step().signed(key("narrow"));
    let answer = message.send();
    answer.problem(403, "key-not-allowed");
    // The caller is known.
    assert!(answer.is_signed());
    assert_no_effect(&message.body);

    let allowed = Message::step(&shared(), "triage", &body(json!({ "text": "Where is my order?" })));
    check_accepted(&allowed.signed(key("narrow")));
}

/// Nobody learns by a narrow key which agents there are.
#[test]
fn an_unknown_agent_and_a_forbidden_one_look_the_same_to_a_narrow_key() {
    let invoke = |agent: &str| {
        let step = Message::step(&shared(), agent, &body(json!({ "text": "hi" })));
        step.signed(key("narrow")).send().problem(403, "key-not-allowed")["detail"].clone()
    };
    assert_eq!(invoke("echo"), invoke("no-such-agent"));
}

#[test]
fn an_unknown_key_and_a_wrong_mac_look_the_same() {
    let text = |message: &Message| {
        let answer = message.send();
        let mut problem = answer.problem(401, "signature-invalid");
        problem["request_id"].take();
        let mut headers = answer.response.headers;
        headers.retain(|(name, _)| name != "x-request-id" && name != "date");
        (problem, headers)
    };
    assert_eq!(
        text(&step().signed(&Key::new("nobody", "acme", "invoke"))),
        text(&forged("first"))
    );
}

#[test]
fn runs_of_one_orchestrator_are_none_of_another() {
    let body = body(json!({ "text": "hi" }));
    let under = |id: &str| Message::step(&shared(), "echo", &body).signed(key(id)).send();
    let _ = under("first").completed();
    let other = under("other");
    let _ = other.completed();
    assert!(!other.is_replayed(), "the answer of another orchestrator's run");
}

#[test]
fn the_challenge_needs_a_key_for_it() {
    let challenge = json!({ "gateway": "baton", "challenge": "0123456789abcdef" });
    let ask = || Message::post(&shared(), "/link/challenge", &challenge);
    check_refused(&ask(), 401, "signature-missing");
    check_refused(&ask().signed(key("register")), 403, "key-not-allowed");
    check_refused(
        &ask().signed(&Key::new("nobody", "acme", "invoke")),
        401,
        "signature-invalid",
    );
}
