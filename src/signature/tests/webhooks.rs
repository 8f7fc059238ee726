//! Standard Webhooks, and the border between the two schemes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};

use super::{BODY, KEY, Message, NOW_S, OTHER_KEY, check, check_at, checks, keyring, signed, step};
use crate::signature::keys::Secret;
use crate::signature::profile::IDEMPOTENCY_KEY_MAX_BYTES;
use crate::signature::webhook::{SIGNATURES_MAX, TOLERANCE_S, derived_secret, find, sign};
use crate::signature::{KeyRecord, Rejection, sign_response, verify_response};

const ID: &str = "msg_01";

/// A delivery to the step's endpoint under the key `hooks`.
fn delivered() -> Message {
    delivery(ID, NOW_S).key_in_url("hooks")
}

fn delivery(id: &str, timestamp_s: u64) -> Message {
    let secret = derived_secret(&KEY, "acme", "summarizer", "steps");
    bare().webhook(id, &timestamp_s.to_string(), &sign(&secret, id, timestamp_s, BODY))
}

/// The step without any signature.
fn bare() -> Message {
    step().without("content-digest").without("idempotency-key")
}

fn signed_by(secret: &[u8]) -> Message {
    bare()
        .webhook(ID, &NOW_S.to_string(), &sign(secret, ID, NOW_S, BODY))
        .key_in_url("hooks")
}

impl Message {
    fn webhook(self, id: &str, timestamp: &str, signature: &str) -> Self {
        self.header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
    }

    fn key_in_url(self, key: &str) -> Self {
        self.query(&format!("key_id={key}"))
    }

    /// Puts text before the signature.
    fn before_signature(self, text: &str) -> Self {
        let signature = format!("{text}{}", self.get("webhook-signature"));
        self.header("webhook-signature", &signature)
    }
}

checks! {
    a_delivery_verifies: delivered() => Ok(());
    another_signature_of_another_version: delivered().before_signature("v1a,AAAA v2,xx ") => Ok(());
    another_signature_of_an_old_secret: delivered().before_signature("v1,AAAA ") => Ok(());

    webhook_body_changed: delivered().body(b"{}") => Err(Rejection::Invalid);
    webhook_id_changed: delivered().header("webhook-id", "msg_02") => Err(Rejection::Invalid);
    webhook_time_changed: delivered().header("webhook-timestamp", "1764000011") => Err(Rejection::Invalid);
    webhook_signature_changed: delivered().header("webhook-signature", "v1,AAAA") => Err(Rejection::Invalid);
    webhook_signature_of_another_version: delivered().edit("webhook-signature", "v1,", "v1a,")
        => Err(Rejection::Invalid);
    webhook_signature_empty: delivered().header("webhook-signature", "") => Err(Rejection::Invalid);
    webhook_signature_not_base64: delivered().header("webhook-signature", "v1,!") => Err(Rejection::Malformed);

    // A secret opens one agent's one action for one orchestrator.
    webhook_for_another_agent: signed_by(&derived_secret(&KEY, "acme", "triage", "steps"))
        => Err(Rejection::Invalid);
    webhook_for_another_action: signed_by(&derived_secret(&KEY, "acme", "summarizer", "handoffs"))
        => Err(Rejection::Invalid);
    webhook_of_another_orchestrator: signed_by(&derived_secret(&KEY, "other", "summarizer", "steps"))
        => Err(Rejection::Invalid);
    webhook_under_the_key_itself: signed_by(&KEY) => Err(Rejection::Invalid);
    webhook_under_another_key: signed_by(&derived_secret(&OTHER_KEY, "acme", "summarizer", "steps"))
        => Err(Rejection::Invalid);

    // The scheme is the key record's.
    webhook_under_a_baton_key: delivered().key_in_url("first") => Err(Rejection::Scheme);
    baton_request_under_a_webhook_key: step().key("hooks").sign() => Err(Rejection::Scheme);
    both_schemes: { let webhook = delivered(); webhook.headers.iter().fold(signed(), |message, (name, value)|
        message.header(name, value)) } => Err(Rejection::Scheme);
    both_schemes_the_other_broken: signed().line("webhook-signature", "v1,AAAA") => Err(Rejection::Scheme);
    both_schemes_by_an_id_alone: signed().line("webhook-id", ID) => Err(Rejection::Scheme);
    both_schemes_by_a_time_alone: signed().line("webhook-timestamp", "1") => Err(Rejection::Scheme);
    both_schemes_by_an_input_alone: delivered().line("signature-input", "") => Err(Rejection::Scheme);
    both_schemes_by_a_signature_alone: delivered().line("signature", "") => Err(Rejection::Scheme);

    // The key.
    webhook_without_a_key: { let mut message = delivered(); message.query = None; message }
        => Err(Rejection::Parameters);
    webhook_with_a_key_of_another_name: delivered().query("keyid=hooks") => Err(Rejection::Parameters);
    webhook_with_two_keys: delivered().query("key_id=hooks&key_id=hooks") => Err(Rejection::Parameters);
    webhook_with_an_unknown_key: delivered().key_in_url("nobody") => Err(Rejection::Invalid);
    webhook_with_an_unknown_key_signed_with_zeros: signed_by(&derived_secret(&[0; 32], "", "summarizer", "steps"))
        .key_in_url("nobody") => Err(Rejection::Invalid);
    webhook_with_a_key_for_another_purpose: delivered().key_in_url("hooks-register")
        => Err(Rejection::KeyNotAllowed);

    // The headers.
    webhook_id_missing: delivered().without("webhook-id") => Err(Rejection::Missing);
    webhook_time_missing: delivered().without("webhook-timestamp") => Err(Rejection::Missing);
    webhook_signature_missing: delivered().without("webhook-signature") => Err(Rejection::Missing);
    webhook_id_line_twice: delivered().line("webhook-id", ID) => Err(Rejection::DuplicateHeader);
    webhook_time_line_twice: delivered().line("webhook-timestamp", "1") => Err(Rejection::DuplicateHeader);
    webhook_signature_line_twice: delivered().line("webhook-signature", "v1,AAAA")
        => Err(Rejection::DuplicateHeader);
    // As a runtime joins the lines that it received.
    webhook_signature_lines_joined: delivered().before_signature("v1,AAAA, ") => Err(Rejection::Malformed);
    webhook_ids_joined: delivered().header("webhook-id", "msg_01, msg_01") => Err(Rejection::Malformed);
    webhook_id_empty: delivered().header("webhook-id", "") => Err(Rejection::Malformed);
    webhook_id_not_ascii: delivered().header("webhook-id", "msg_ä") => Err(Rejection::Malformed);
    // `id.time.body`: with a full stop in the id, one text could be read in two ways.
    webhook_id_with_a_full_stop: delivery("msg.1764000000", NOW_S).key_in_url("hooks")
        => Err(Rejection::Malformed);
    webhook_time_with_a_plus: delivered().header("webhook-timestamp", "+1764000010") => Err(Rejection::Malformed);
    webhook_time_with_a_zero: delivered().header("webhook-timestamp", "01764000010") => Err(Rejection::Malformed);
    webhook_time_negative: delivered().header("webhook-timestamp", "-1") => Err(Rejection::Malformed);
    webhook_time_empty: delivered().header("webhook-timestamp", "") => Err(Rejection::Malformed);
    webhook_time_a_fraction: delivered().header("webhook-timestamp", "1764000010.0") => Err(Rejection::Malformed);
    webhook_time_of_21_digits: delivered().header("webhook-timestamp", "176400001000000000000")
        => Err(Rejection::Malformed);
    webhook_with_a_content_encoding: delivered().line("content-encoding", "gzip") => Err(Rejection::ContentEncoding);
}

/// A delivery covers no header field, so it names no generation.
#[test]
fn webhook_with_a_generation() {
    let found = delivered().line("baton-generation", "7").verify();
    assert_eq!(found.map(|verified| verified.generation()), Ok(None));
}

/// A delivery covers no header field: a route with preconditions takes none.
#[test]
fn webhook_with_preconditions() {
    let found = delivered().verify_with(|policy| policy.preconditions = true);
    assert_eq!(found.map(|_| ()), Err(Rejection::Scheme));
}

#[test]
fn a_route_without_webhooks() {
    let found = delivered().verify_with(|policy| policy.webhook = None);
    assert_eq!(found.map(|_| ()), Err(Rejection::Scheme));
}

#[test]
fn a_route_of_another_agent_or_action() {
    for endpoint in [("triage", "steps"), ("summarizer", "handoffs")] {
        let found = delivered().verify_with(|policy| policy.webhook = Some(endpoint));
        assert_eq!(found.map(|_| ()), Err(Rejection::Invalid), "{endpoint:?}");
    }
}

#[test]
fn the_id_is_the_idempotency_key() {
    let verified = delivered()
        .line("idempotency-key", "\"other\"")
        .verify()
        .expect("verified");
    assert_eq!(verified.idempotency_key(), Some(ID));
    assert_eq!(verified.nonce(), None);
    assert_eq!(verified.key_id(), "hooks");
    assert_eq!(verified.orchestrator(), "acme");
}

#[test]
fn time_at_the_edge() {
    check_at(NOW_S + TOLERANCE_S, &delivered(), Ok(()));
    check_at(NOW_S + TOLERANCE_S + 1, &delivered(), Err(Rejection::Expired));
    check_at(NOW_S - TOLERANCE_S, &delivered(), Ok(()));
    check_at(NOW_S - TOLERANCE_S - 1, &delivered(), Err(Rejection::NotYetValid));
}

#[test]
fn signature_count() {
    let with_signatures = |count: usize| delivered().before_signature(&"v1,AAAA ".repeat(count - 1));
    check(&with_signatures(SIGNATURES_MAX), Ok(()));
    check(&with_signatures(SIGNATURES_MAX + 1), Err(Rejection::TooManyLabels));
}

#[test]
fn id_length() {
    let with_id = |bytes: usize| delivery(&"m".repeat(bytes), NOW_S).key_in_url("hooks");
    check(&with_id(1), Ok(()));
    check(&with_id(IDEMPOTENCY_KEY_MAX_BYTES), Ok(()));
    check(&with_id(IDEMPOTENCY_KEY_MAX_BYTES + 1), Err(Rejection::Malformed));
}

#[test]
fn webhook_signature_truncated() {
    let whole = delivered().get("webhook-signature").replace("v1,", "");
    let whole = STANDARD.decode(whole).expect("base64");
    let with_mac = |mac: &[u8]| delivered().header("webhook-signature", &format!("v1,{}", STANDARD.encode(mac)));
    check(&with_mac(&whole), Ok(()));
    check(&with_mac(&whole[..31]), Err(Rejection::Invalid));
    check(&with_mac(&whole[..16]), Err(Rejection::Invalid));
    check(&with_mac(&whole[1..]), Err(Rejection::Invalid));
}

#[test]
fn any_of_the_signatures_may_hold() {
    let right = sign(&KEY, ID, NOW_S, BODY);
    for signatures in [right.clone(), format!("{right} v1,AAAA"), format!("v1,AAAA {right}")] {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", HeaderValue::from_static(ID));
        headers.insert("webhook-timestamp", NOW_S.into());
        headers.insert("webhook-signature", signatures.parse().expect("a value"));
        let delivery = find(&headers).expect("a delivery");
        assert!(delivery.verify(&KEY, BODY), "{signatures}");
        assert!(!delivery.verify(&OTHER_KEY, BODY), "{signatures}");
    }
}

/// A sender verifies the answer with the secret that it has; its ids are shorter than a nonce.
#[test]
fn an_answer_to_a_delivery() {
    let message = delivered();
    let caller = message.verify().expect("verified");
    let mut response = http::Response::new(b"{}".to_vec());
    let content_type = HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", content_type);
    sign_response(&mut response, &caller, NOW_S);
    let mut key = keyring().get("hooks").cloned().expect("the record");
    let check = |key: &KeyRecord, id: &str, expected| {
        let found = verify_response(&response, &caller.binding, id, key, NOW_S);
        assert_eq!(found, expected, "{id}");
    };
    check(&key, ID, Err(Rejection::Invalid));
    key.secret = Secret::new(derived_secret(&KEY, "acme", "summarizer", "steps")).expect("a secret");
    check(&key, ID, Ok(()));
    check(&key, "msg_02", Err(Rejection::Invalid));
}
