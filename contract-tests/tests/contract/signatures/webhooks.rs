//! Standard Webhooks, and the border between the two schemes.

use contract_tests::gateway::shared;
use contract_tests::message::Message;
use contract_tests::outside::{fresh, now_s};
use serde_json::json;

use super::{attacks, check_accepted, check_refused};
use crate::support::{body, key, signed, step};

/// Beyond how old a delivery may be (300 s), and beyond how long a test takes.
const FAR_S: u64 = 330;

fn delivered() -> Message {
    step().delivered(key("hooks"), "echo", &fresh(), now_s())
}

/// Both schemes at once, each right by itself.
fn both() -> Message {
    let id = fresh();
    let delivery = step().delivered(key("hooks"), "echo", &id, now_s());
    let webhook = |name: &str| delivery.get(name).to_owned();
    let signed = step().body(&delivery.body).query("key_id=hooks");
    let digest = contract_tests::mac::content_digest(&delivery.body);
    signed
        .header("content-digest", &digest)
        .signed(key("first"))
        .line("webhook-id", &webhook("webhook-id"))
        .line("webhook-timestamp", &webhook("webhook-timestamp"))
        .line("webhook-signature", &webhook("webhook-signature"))
}

attacks! {
    webhook_under_a_baton_key: step().delivered(key("first"), "echo", &fresh(), now_s()) => 401 "signature-scheme";
    baton_request_under_a_webhook_key: step().signed(key("hooks")) => 401 "signature-scheme";
    both_schemes: both() => 401 "signature-scheme";
    both_schemes_the_other_broken: signed().line("webhook-signature", "v1,AAAA") => 401 "signature-scheme";
    both_schemes_by_an_id_alone: signed().line("webhook-id", "msg_01") => 401 "signature-scheme";
    both_schemes_by_an_input_alone: delivered().line("signature-input", "sig1=()") => 401 "signature-scheme";
    webhook_body_changed: { let delivery = delivered(); let body = [delivery.body.as_slice(), b" "].concat();
        delivery.body(&body) } => 401 "signature-invalid";
    webhook_id_changed: delivered().header("webhook-id", "msg_02") => 401 "signature-invalid";
    webhook_time_changed: delivered().header("webhook-timestamp", &(now_s() - 5).to_string())
        => 401 "signature-invalid";
    webhook_for_another_agent: step().delivered(key("hooks"), "triage", &fresh(), now_s()) => 401 "signature-invalid";
    webhook_stale: step().delivered(key("hooks"), "echo", &fresh(), now_s() - FAR_S) => 401 "signature-expired";
    webhook_from_the_future: step().delivered(key("hooks"), "echo", &fresh(), now_s() + FAR_S)
        => 401 "signature-not-yet-valid";
    webhook_without_a_key: { let mut delivery = delivered(); delivery.query = None; delivery }
        => 401 "signature-parameters";
    webhook_with_two_keys: delivered().query("key_id=hooks&key_id=hooks") => 401 "signature-parameters";
    webhook_with_an_unknown_key: delivered().query("key_id=nobody") => 401 "signature-invalid";
    webhook_id_missing: delivered().without("webhook-id") => 401 "signature-missing";
    webhook_signature_line_twice: { let delivery = delivered(); let mac = delivery.get("webhook-signature").to_owned();
        delivery.line("webhook-signature", &mac) } => 401 "signature-malformed";
    webhook_with_a_content_encoding: delivered().line("content-encoding", "gzip") => 415 "content-encoding-unsupported";
}

#[test]
fn a_delivery_is_accepted_and_its_answer_is_signed_under_the_derived_secret() {
    let delivery = delivered();
    let first = delivery.send();
    let _ = first.completed();
    assert!(!first.is_replayed());
    // The id is the idempotency key, and a delivery is repeated on purpose.
    let again = delivery.send();
    assert!(again.is_replayed());
    assert_eq!(again.response.body, first.response.body);
}

#[test]
fn another_version_of_signature_beside_ours_is_passed_over() {
    let delivery = delivered();
    let signatures = format!("v1a,AAAA {}", delivery.get("webhook-signature"));
    check_accepted(&delivery.header("webhook-signature", &signatures));
}

#[test]
fn a_webhook_key_that_may_not_invoke_the_agent() {
    let delivery = step().delivered(key("hooks-narrow"), "echo", &fresh(), now_s());
    let answer = delivery.send();
    answer.problem(403, "key-not-allowed");
    assert!(answer.is_signed());
    crate::support::assert_no_effect(&delivery.body);

    let text = body(json!({ "text": "Where is my order?" }));
    let allowed = Message::step(&shared(), "triage", &text);
    check_accepted(&allowed.delivered(key("hooks-narrow"), "triage", &fresh(), now_s()));
}

#[test]
fn the_challenge_takes_no_webhook() {
    let challenge = json!({ "gateway": "baton", "challenge": "0123456789abcdef" });
    let delivery = Message::post(&shared(), "/link/challenge", &challenge);
    check_refused(
        &delivery.delivered(key("hooks"), "echo", &fresh(), now_s()),
        401,
        "signature-scheme",
    );
}
