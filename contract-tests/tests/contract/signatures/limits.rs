//! The profile's limits, at their edge and one beyond.

use contract_tests::message::Message;

use super::{check_accepted, check_refused};
use crate::support::{key, signed, step};
use crate::surface::discovery;

/// Fields that `wrangler dev` adds to a request on its way to the Worker, by the pinned version.
const ADDED_HEADERS: u64 = 2;

/// A limit of the profile: it is published, and a change of it is a change of the protocol.
#[track_caller]
fn limit(name: &str, expected: u64) -> u64 {
    assert_eq!(discovery()["limits"][name], expected, "{name}");
    expected
}

#[test]
fn header_fields_are_counted() {
    let with_headers = |count: u64| {
        let message = signed();
        // `Host` and `Content-Length` are lines as well.
        let present = message.headers.len() as u64 + 2;
        (present..count).fold(message, |message, index| message.line(&format!("x-{index}"), "v"))
    };
    let max = limit("headers_max", 64) - ADDED_HEADERS;
    check_accepted(&with_headers(max));
    check_refused(&with_headers(max + 1), 431, "headers-too-many");
}

#[test]
fn labels_are_counted() {
    let with_labels = |count: u64| {
        (1..count).fold(signed(), |message, index| {
            message
                .append("signature-input", &format!("other{index}=();tag=\"other\""))
                .append("signature", &format!("other{index}=:AAAA:"))
        })
    };
    let max = limit("signature_labels_max", 4);
    check_accepted(&with_labels(max));
    check_refused(&with_labels(max + 1), 401, "signature-labels");
}

#[test]
fn components_are_counted() {
    let with_components = |count: u64| {
        let step = step();
        let extra = (step.components.len() as u64..count).map(|index| format!("x-{index}"));
        extra
            .fold(step, |message, name| {
                message.line(&name, "v").cover(&format!("\"{name}\""))
            })
            .signed(key("first"))
    };
    let max = limit("signature_components_max", 16);
    check_accepted(&with_components(max));
    check_refused(&with_components(max + 1), 401, "signature-components");
}

#[test]
fn a_signature_field_has_a_size() {
    let with_bytes = |bytes: usize| {
        let message = signed()
            .append("signature-input", "pad=();p=\"\"")
            .append("signature", "pad=:AAAA:");
        let missing = bytes - message.get("signature-input").len();
        message.edit("signature-input", "p=\"\"", &format!("p=\"{}\"", "a".repeat(missing)))
    };
    check_accepted(&with_bytes(4096));
    check_refused(&with_bytes(4097), 431, "signature-too-large");
}

#[test]
fn a_nonce_has_16_to_64_characters() {
    let with_nonce = |chars: u64| -> Message {
        let nonce: String = contract_tests::outside::random::<64>()
            .iter()
            .map(|byte| char::from(b'a' + byte % 26))
            .cycle()
            .take(usize::try_from(chars).expect("a length"))
            .collect();
        step()
            .stamped(key("first"))
            .parameter("nonce", &format!("\"{nonce}\""))
            .signed_as("sig1", key("first"))
    };
    let signature = discovery()["signature"].clone();
    let (min, max) = (
        signature["nonce_min_chars"].as_u64().expect("a limit"),
        signature["nonce_max_chars"].as_u64().expect("a limit"),
    );
    assert_eq!((min, max), (16, 64));
    check_refused(&with_nonce(min - 1), 401, "signature-parameters");
    check_accepted(&with_nonce(min));
    check_accepted(&with_nonce(max));
    check_refused(&with_nonce(max + 1), 401, "signature-parameters");
}

#[test]
fn an_idempotency_key_has_a_size() {
    let with_key = |bytes: u64| {
        let bytes = usize::try_from(bytes).expect("a size");
        step().idempotency_key(&"k".repeat(bytes)).signed(key("first"))
    };
    let max = limit("idempotency_key_max_bytes", 256);
    check_accepted(&with_key(max));
    check_refused(&with_key(max + 1), 400, "idempotency-key-invalid");
}
