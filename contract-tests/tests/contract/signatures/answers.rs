//! Signed answers. Every answer that is signed is verified when it is received: see `contract_tests::answer`.

use contract_tests::gateway::shared;
use contract_tests::message::Message;
use contract_tests::schemas::assert_fits;
use serde_json::json;

use crate::support::{body, invoke, key, signed, step};

/// An answer that says what went wrong proves who says so, as soon as the caller is known.
#[test]
fn problems_are_signed_once_the_caller_is_known() {
    let check = |message: Message, status: u16, code: &str| {
        let answer = message.signed(key("first")).send();
        answer.problem(status, code);
        assert!(answer.is_signed(), "{code} is not signed");
    };
    let step = |agent: &str, body: &serde_json::Value| Message::step(&shared(), agent, body);
    check(step("no-such-agent", &body(json!({}))), 404, "agent-unknown");
    check(step("triage", &body(json!({ "text": 1 }))), 422, "schema-violated");
    check(step("echo", &json!({ "run": "r" })), 422, "schema-violated");
    let malformed = Message::new(&shared(), "POST", "/agents/echo/steps")
        .with_json(b"{")
        .idempotency_key("k");
    check(malformed, 400, "json-malformed");
}

/// The check of this harness would be worth nothing if it accepted what it should not.
#[test]
fn an_answer_that_was_changed_is_not_believed() {
    let answer = signed().send();
    let refused = |change: &dyn Fn(&mut contract_tests::answer::Answer)| {
        let mut changed = answer.clone();
        change(&mut changed);
        let verified = std::panic::catch_unwind(|| {
            let _ = contract_tests::answer::Answer::verified(changed.request.clone(), changed.response.clone());
        });
        assert!(verified.is_err(), "believed: {changed:#?}");
    };
    refused(&|answer| answer.response.body.push(b' '));
    refused(&|answer| answer.response.status = 201);
    refused(&|answer| answer.request.path.push('x'));
    refused(&|answer| answer.request.method = "PUT".into());
    refused(&|answer| answer.request.query = Some("a".into()));
    refused(&|answer| answer.request = step().signed(key("first")));
    refused(&|answer| {
        let line = answer
            .response
            .headers
            .iter_mut()
            .find(|(name, _)| name == "content-type");
        line.expect("the field").1 = "text/html".into();
    });
}

#[test]
fn an_answer_covers_the_mark_of_a_stored_one() {
    let body = body(json!({ "text": "hi" }));
    let _ = invoke("echo", &body).completed();
    let stored = invoke("echo", &body);
    assert!(stored.is_replayed());
    let input = stored.header("signature-input").expect("it is signed");
    assert!(input.contains("\"idempotency-replayed\""), "{input}");
}

#[test]
fn the_challenge_is_answered_under_the_key_that_asked() {
    let question = json!({ "gateway": "baton", "challenge": "a challenge nobody asked before" });
    let answer = Message::post(&shared(), "/link/challenge", &question)
        .signed(key("first"))
        .send();
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert!(answer.is_signed());
    let body = answer.json();
    assert_fits("challenge-answer", &body);
    assert_eq!(body["challenge"], question["challenge"]);
    assert_eq!(body["gateway"], question["gateway"]);
    // The digest is that of the manifest as anybody gets it.
    let manifest = Message::new(&shared(), "GET", "/.well-known/baton.json").send();
    assert_eq!(
        body["manifest_digest"],
        contract_tests::mac::content_digest(&manifest.response.body)
    );
}

#[test]
fn a_challenge_for_another_gateway_is_not_answered() {
    let question = json!({ "gateway": "another", "challenge": "0123456789abcdef" });
    let answer = Message::post(&shared(), "/link/challenge", &question)
        .signed(key("first"))
        .send();
    answer.problem(404, "not-found");
    assert!(answer.is_signed());
}
