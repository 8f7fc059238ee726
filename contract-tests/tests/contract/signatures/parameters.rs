//! The two signature fields themselves: parameters, time, components, labels.

use contract_tests::message::Message;
use contract_tests::outside::now_s;

use super::{attacks, check_accepted};
use crate::support::{key, signed, step};

/// Beyond what clocks may differ (60 s), and beyond how long a test takes.
const FAR_S: u64 = 90;

fn stamped() -> Message {
    step().stamped(key("first"))
}

fn with_parameter(name: &str, value: &str) -> Message {
    stamped().parameter(name, value).signed_as("sig1", key("first"))
}

fn without_parameter(name: &str) -> Message {
    stamped().without_parameter(name).signed_as("sig1", key("first"))
}

fn with_window(created_s: u64, expires_s: u64) -> Message {
    stamped().window(created_s, expires_s).signed_as("sig1", key("first"))
}

fn covering(identifier: &str) -> Message {
    step().cover(identifier).signed(key("first"))
}

attacks! {
    created_missing: without_parameter("created") => 401 "signature-parameters";
    expires_missing: without_parameter("expires") => 401 "signature-parameters";
    nonce_missing: without_parameter("nonce") => 401 "signature-parameters";
    key_id_missing: without_parameter("keyid") => 401 "signature-parameters";
    algorithm_missing: without_parameter("alg") => 401 "signature-algorithm";
    tag_missing: without_parameter("tag") => 401 "signature-tag";
    algorithm_other: with_parameter("alg", "\"hmac-sha512\"") => 401 "signature-algorithm";
    algorithm_none: with_parameter("alg", "\"none\"") => 401 "signature-algorithm";
    algorithm_as_a_token: with_parameter("alg", "hmac-sha256") => 401 "signature-algorithm";
    tag_other: with_parameter("tag", "\"baton-request-v2\"") => 401 "signature-tag";
    unknown_parameter: with_parameter("context", "\"x\"") => 401 "signature-parameters";
    created_as_a_string: with_parameter("created", "\"1764000000\"") => 401 "signature-parameters";
    created_changed: signed().edit("signature-input", ";created=1", ";created=2") => 401 "signature-window";
    nonce_changed: signed().edit("signature-input", ";nonce=\"", ";nonce=\"0") => 401 "signature-invalid";
    parameter_key_twice: signed().edit("signature-input", ";created=", ";created=1;created=")
        => 401 "signature-malformed";
    parameter_order_changed: signed().edit("signature-input", ";alg=\"hmac-sha256\";tag=\"baton-request-v1\"",
        ";tag=\"baton-request-v1\";alg=\"hmac-sha256\"") => 401 "signature-invalid";

    stale: with_window(now_s() - 300, now_s() - FAR_S) => 401 "signature-expired";
    from_the_future: with_window(now_s() + FAR_S, now_s() + 200) => 401 "signature-not-yet-valid";
    window_empty: with_window(now_s(), now_s()) => 401 "signature-window";
    window_reversed: with_window(now_s(), now_s() - 1) => 401 "signature-window";
    window_too_long: { let now_s = now_s(); with_window(now_s, now_s + 301) } => 401 "signature-window";

    component_twice: covering("\"@method\"") => 401 "signature-coverage";
    component_target_uri: covering("\"@target-uri\"") => 401 "signature-coverage";
    component_of_the_request: covering("\"@method\";req") => 401 "signature-coverage";
    component_structured: covering("\"content-type\";sf") => 401 "signature-malformed";
    component_of_a_missing_header: covering("\"x-team\"") => 401 "signature-coverage";

    two_signatures_with_our_tag: signed().signed_as("sig2", key("first")) => 401 "signature-ambiguous";
    two_signatures_of_two_keys: signed().stamped(key("second")).signed_as("sig2", key("second"))
        => 401 "signature-ambiguous";
    labels_differ: signed().edit("signature", "sig1=", "sig2=") => 401 "signature-malformed";
    label_without_signature: signed().append("signature-input", "sig2=()") => 401 "signature-malformed";
    label_twice_with_another_signature: signed().append("signature-input", "sig1=();tag=\"other\"")
        .append("signature", "sig1=:AAAA:") => 401 "signature-malformed";
    signature_not_base64: signed().header("signature", "sig1=:!!!!:") => 401 "signature-malformed";
    input_not_closed: signed().header("signature-input", "sig1=(\"@method\"") => 401 "signature-malformed";
}

#[test]
fn times_within_the_allowed_skew_are_accepted() {
    let now_s = now_s();
    check_accepted(&with_window(now_s - 200, now_s - 10));
    check_accepted(&with_window(now_s + 30, now_s + 100));
    check_accepted(&with_window(now_s, now_s + 300));
}

#[test]
fn a_signature_for_somebody_else_is_passed_over() {
    check_accepted(
        &signed()
            .append("signature-input", "sig2=();tag=\"other\"")
            .append("signature", "sig2=:AAAA:"),
    );
}
