//! A captured request that is sent again. After a restart: see `restarts.rs`.

use std::thread;

use contract_tests::answer::Answer;
use contract_tests::outside::fresh;

use crate::support::{key, signed, step};

/// Whoever sends a captured request again is not its caller, and gets nothing that is signed.
#[track_caller]
pub fn check_replayed(answer: &Answer) {
    let problem = answer.problem(401, "signature-replayed");
    // By its caller, who signs anew.
    assert_eq!(problem["retryable"], true);
    assert!(!answer.is_signed());
    assert!(answer.header("accept-signature").is_some());
    assert_eq!(answer.header("www-authenticate"), Some("Signature realm=\"baton\""));
}

#[test]
fn a_captured_request_sent_again_is_refused() {
    let message = signed();
    let first = message.send();
    let _ = first.completed();
    for _ in 0..2 {
        check_replayed(&message.send());
    }
    // A retry is signed anew, and gets the stored answer.
    let retry = message.signed(key("first")).send();
    assert!(retry.is_replayed());
    assert_eq!(retry.response.body, first.response.body);
}

#[test]
fn of_copies_that_arrive_together_one_is_accepted() {
    let message = signed();
    let answers: Vec<_> = thread::scope(|scope| {
        let copies: Vec<_> = (0..6).map(|_| scope.spawn(|| message.send())).collect();
        copies.into_iter().map(|copy| copy.join().expect("an answer")).collect()
    });
    let accepted = answers.iter().filter(|answer| answer.status() == 200).count();
    assert_eq!(accepted, 1, "{answers:#?}");
    for refused in answers.iter().filter(|answer| answer.status() != 200) {
        check_replayed(refused);
    }
}

/// Under one key a nonce is used once; another key's nonces are its own.
#[test]
fn a_nonce_serves_no_second_request_of_its_run() {
    let nonce = format!("\"{}\"", fresh());
    let first = step();
    let with_nonce = |idempotency_key: &str, id: &str| {
        let message = first.clone().idempotency_key(idempotency_key);
        message
            .stamped(key(id))
            .parameter("nonce", &nonce)
            .signed_as("sig1", key(id))
            .send()
    };
    let _ = with_nonce("one", "first").completed();
    check_replayed(&with_nonce("two", "first"));
    assert!(with_nonce("two", "second").is_replayed());
}
