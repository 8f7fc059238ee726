//! Every limit, at its edge and one beyond.

use super::{CREATED_S, Message, NOW_S, check, check_at, step};
use crate::signature::Rejection;
use crate::signature::profile::{
    COMPONENTS_MAX, DEPTH_MAX, GENERATION_MAX, HEADERS_MAX, IDEMPOTENCY_KEY_MAX_BYTES, LABELS_MAX, NONCE_MAX_CHARS,
    NONCE_MIN_CHARS, SIGNATURE_FIELD_MAX_BYTES, SKEW_MAX_S, WINDOW_MAX_S,
};

/// The profile's numbers are a promise to those who sign: a change is a change of the protocol.
#[test]
fn the_published_limits() {
    assert_eq!((WINDOW_MAX_S, SKEW_MAX_S), (300, 60));
    assert_eq!((NONCE_MIN_CHARS, NONCE_MAX_CHARS), (16, 64));
    assert_eq!((LABELS_MAX, COMPONENTS_MAX, HEADERS_MAX), (4, 16, 64));
    assert_eq!(GENERATION_MAX, 999_999_999_999_999);
    assert_eq!((SIGNATURE_FIELD_MAX_BYTES, IDEMPOTENCY_KEY_MAX_BYTES), (4096, 256));
}

#[test]
fn header_count() {
    let with_headers = |count: usize| {
        // The step has three fields, its signature two.
        (5..count).fold(step().sign(), |message, index| message.line(&format!("x-{index}"), "v"))
    };
    check(&with_headers(HEADERS_MAX), Ok(()));
    check(&with_headers(HEADERS_MAX + 1), Err(Rejection::TooManyHeaders));
    // Lines count, not names.
    let message = with_headers(HEADERS_MAX).line("x-6", "again");
    check(&message, Err(Rejection::TooManyHeaders));
}

#[test]
fn label_count() {
    let with_labels = |count: usize| {
        (1..count).fold(step().sign(), |message, index| {
            message
                .append("signature-input", &format!("other{index}=();tag=\"other\""))
                .append("signature", &format!("other{index}=:AAAA:"))
        })
    };
    check(&with_labels(LABELS_MAX), Ok(()));
    check(&with_labels(LABELS_MAX + 1), Err(Rejection::TooManyLabels));
}

#[test]
fn component_count() {
    let with_components = |count: usize| {
        let extra = (step().components.len()..count).map(|index| format!("x-{index}"));
        extra
            .fold(step(), |message, name| {
                message.line(&name, "v").cover(&format!("\"{name}\""))
            })
            .sign()
    };
    check(&with_components(COMPONENTS_MAX), Ok(()));
    check(&with_components(COMPONENTS_MAX + 1), Err(Rejection::TooManyComponents));
}

#[test]
fn signature_input_size() {
    let with_bytes = |bytes: usize| {
        let message = step()
            .sign()
            .append("signature-input", "pad=();p=\"\"")
            .append("signature", "pad=:AAAA:");
        let missing = bytes - message.get("signature-input").len();
        message.edit("signature-input", "p=\"\"", &format!("p=\"{}\"", "a".repeat(missing)))
    };
    check(&with_bytes(SIGNATURE_FIELD_MAX_BYTES), Ok(()));
    check(
        &with_bytes(SIGNATURE_FIELD_MAX_BYTES + 1),
        Err(Rejection::FieldTooLarge),
    );
}

#[test]
fn signature_size() {
    let with_bytes = |bytes: usize| {
        let message = step()
            .sign()
            .append("signature-input", "pad=()")
            .append("signature", "pad=:AAAA:;p=\"\"");
        let missing = bytes - message.get("signature").len();
        message.edit("signature", "p=\"\"", &format!("p=\"{}\"", "a".repeat(missing)))
    };
    check(&with_bytes(SIGNATURE_FIELD_MAX_BYTES), Ok(()));
    check(
        &with_bytes(SIGNATURE_FIELD_MAX_BYTES + 1),
        Err(Rejection::FieldTooLarge),
    );
}

#[test]
fn nonce_length() {
    let with_nonce = |chars: usize| step().parameter("nonce", &format!("\"{}\"", "n".repeat(chars))).sign();
    check(&with_nonce(NONCE_MIN_CHARS - 1), Err(Rejection::Parameters));
    check(&with_nonce(NONCE_MIN_CHARS), Ok(()));
    check(&with_nonce(NONCE_MAX_CHARS), Ok(()));
    check(&with_nonce(NONCE_MAX_CHARS + 1), Err(Rejection::Parameters));
    check(&with_nonce(0), Err(Rejection::Parameters));
    // Escapes are not characters of the nonce.
    let escaped = format!("\"{}\"", "\\\"".repeat(NONCE_MIN_CHARS - 1));
    check(&step().parameter("nonce", &escaped).sign(), Err(Rejection::Parameters));
}

#[test]
fn numbers() {
    for (name, max, rejection) in [
        ("baton-generation", GENERATION_MAX, Rejection::Generation),
        ("baton-depth", u64::from(DEPTH_MAX), Rejection::Depth),
    ] {
        let with = |text: &str| {
            let message = step().line(name, text);
            message.cover(&format!("\"{name}\"")).sign()
        };
        check(&with("1"), Ok(()));
        check(&with(&max.to_string()), Ok(()));
        for text in [
            &(max + 1).to_string(),
            "0",
            "01",
            "+1",
            "-1",
            "1.0",
            "1;a",
            "\"1\"",
            "1, 1",
            "",
        ] {
            check(&with(text), Err(rejection));
        }
    }
}

#[test]
fn idempotency_key_length() {
    let with_key = |bytes: usize| {
        step()
            .header("idempotency-key", &format!("\"{}\"", "k".repeat(bytes)))
            .sign()
    };
    check(&with_key(1), Ok(()));
    check(&with_key(IDEMPOTENCY_KEY_MAX_BYTES), Ok(()));
    check(&with_key(IDEMPOTENCY_KEY_MAX_BYTES + 1), Err(Rejection::IdempotencyKey));
}

#[test]
fn window_length() {
    let with_window = |seconds: u64| step().window(CREATED_S, CREATED_S + seconds).sign();
    check(&with_window(0), Err(Rejection::Window));
    check(&with_window(1), Ok(()));
    check(&with_window(WINDOW_MAX_S), Ok(()));
    check(&with_window(WINDOW_MAX_S + 1), Err(Rejection::Window));
}

fn signed_at(created_s: u64, expires_s: u64) -> Message {
    step().window(created_s, expires_s).sign()
}

#[test]
fn skew_of_a_fast_clock() {
    check(&signed_at(NOW_S + SKEW_MAX_S, NOW_S + 200), Ok(()));
    check(
        &signed_at(NOW_S + SKEW_MAX_S + 1, NOW_S + 200),
        Err(Rejection::NotYetValid),
    );
}

#[test]
fn skew_of_a_slow_clock() {
    check(&signed_at(NOW_S - 200, NOW_S - SKEW_MAX_S), Ok(()));
    check(&signed_at(NOW_S - 200, NOW_S - SKEW_MAX_S - 1), Err(Rejection::Expired));
}

#[test]
fn the_whole_life_of_a_signature() {
    let message = signed_at(CREATED_S, CREATED_S + WINDOW_MAX_S);
    check_at(CREATED_S - SKEW_MAX_S - 1, &message, Err(Rejection::NotYetValid));
    check_at(CREATED_S - SKEW_MAX_S, &message, Ok(()));
    check_at(CREATED_S + WINDOW_MAX_S + SKEW_MAX_S, &message, Ok(()));
    check_at(
        CREATED_S + WINDOW_MAX_S + SKEW_MAX_S + 1,
        &message,
        Err(Rejection::Expired),
    );
}

/// What a stranger can make us read is bounded before it is read: the size is told, not the grammar.
#[test]
fn size_before_structure() {
    let message = step()
        .sign()
        .header("signature-input", &"(".repeat(SIGNATURE_FIELD_MAX_BYTES + 1));
    check(&message, Err(Rejection::FieldTooLarge));
}
