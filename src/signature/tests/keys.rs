//! Which key may sign what.

use super::{NOW_S, OTHER_KEY, check, check_at, checks, signed, step};
use crate::signature::{Purpose, Rejection};

checks! {
    unknown_key: step().key("nobody").sign() => Err(Rejection::Invalid);
    key_id_empty: step().key("").sign() => Err(Rejection::Invalid);
    key_id_in_upper_case: step().key("FIRST").sign() => Err(Rejection::Invalid);
    // What stands in for a key that does not exist opens nothing.
    unknown_key_signed_with_zeros: step().key("nobody").sign_as("sig1", &[0; 32]) => Err(Rejection::Invalid);
    expired_key: step().key("expired").sign() => Err(Rejection::KeyExpired);
    key_in_its_last_second: step().key("last-second").sign() => Ok(());
    key_not_yet_valid: step().key("future").sign() => Err(Rejection::KeyNotYetValid);
    key_in_its_first_second: step().key("first-second").sign() => Ok(());
    key_for_another_purpose: step().key("register").sign() => Err(Rejection::KeyNotAllowed);

    // What else is wrong with a key is told only to one who holds it.
    expired_key_not_held: step().key("expired").sign_as("sig1", &OTHER_KEY) => Err(Rejection::Invalid);
    key_not_yet_valid_not_held: step().key("future").sign_as("sig1", &OTHER_KEY) => Err(Rejection::Invalid);
    key_for_another_purpose_not_held: step().key("register").sign_as("sig1", &OTHER_KEY)
        => Err(Rejection::Invalid);
    key_of_the_other_scheme_not_held: step().key("hooks").sign_as("sig1", &OTHER_KEY) => Err(Rejection::Invalid);
    // The key is checked before the body: a wrong digest tells nothing to one without a key.
    unknown_key_and_wrong_body: step().key("nobody").sign().body(b"{}") => Err(Rejection::Invalid);
}

#[test]
fn an_unknown_key_looks_like_a_wrong_mac() {
    let unknown = step().key("nobody").sign().verify().expect_err("refused");
    let wrong = step().sign_as("sig1", &OTHER_KEY).verify().expect_err("refused");
    assert_eq!(unknown, wrong);
    assert_eq!(unknown.code(), wrong.code());
    assert_eq!(unknown.status(), wrong.status());
    assert_eq!(unknown.to_string(), wrong.to_string());
}

#[test]
fn an_agent_that_the_key_may_not_invoke() {
    let check_agent = |key: &str, secret: &[u8], agent: &str, expected| {
        let verified = step().key(key).sign_as("sig1", secret).verify().expect("verified");
        assert_eq!(verified.authorise(agent), expected, "{key} {agent}");
    };
    check_agent("first", &super::KEY, "summarizer", Ok(()));
    check_agent("first", &super::KEY, "triage", Ok(()));
    check_agent("first", &super::KEY, "redact", Err(Rejection::KeyNotAllowed));
    check_agent("first", &super::KEY, "summarizer2", Err(Rejection::KeyNotAllowed));
    check_agent("first", &super::KEY, "*", Err(Rejection::KeyNotAllowed));
    check_agent("first", &super::KEY, "", Err(Rejection::KeyNotAllowed));
    check_agent("second", &OTHER_KEY, "redact", Ok(()));
}

#[test]
fn a_purpose_is_asked_for_by_the_route() {
    let verify = |key: &str, purpose| {
        let message = step().key(key).sign();
        message.verify_with(|policy| policy.purpose = purpose).map(|_| ())
    };
    assert_eq!(verify("register", Purpose::Register), Ok(()));
    assert_eq!(verify("first", Purpose::Register), Err(Rejection::KeyNotAllowed));
}

/// A signature outlives neither its key nor its window.
#[test]
fn a_key_expires_within_the_window() {
    let message = step().key("last-second").sign();
    check_at(NOW_S, &message, Ok(()));
    check_at(NOW_S + 1, &message, Err(Rejection::KeyExpired));
}

#[test]
fn a_nonce_is_remembered_as_long_as_its_request_is_accepted() {
    let verified = signed().verify().expect("verified");
    let (_, until_s) = verified.nonce().expect("a nonce");
    check_at(until_s, &signed(), Err(Rejection::Expired));
    check(&signed(), Ok(()));
}
