//! The two signature fields themselves: parameters, components, labels.

use super::{CREATED_S, KEY, NOW_S, check_at, checks, signed, step};
use crate::signature::Rejection;

checks! {
    // Mandatory parameters, one after the other.
    created_missing: step().without_parameter("created").sign() => Err(Rejection::Parameters);
    expires_missing: step().without_parameter("expires").sign() => Err(Rejection::Parameters);
    nonce_missing: step().without_parameter("nonce").sign() => Err(Rejection::Parameters);
    key_id_missing: step().without_parameter("keyid").sign() => Err(Rejection::Parameters);
    algorithm_missing: step().without_parameter("alg").sign() => Err(Rejection::Algorithm);
    tag_missing: step().without_parameter("tag").sign() => Err(Rejection::Tag);

    // Other values and other types.
    algorithm_other: step().parameter("alg", "\"hmac-sha512\"").sign() => Err(Rejection::Algorithm);
    algorithm_none: step().parameter("alg", "\"none\"").sign() => Err(Rejection::Algorithm);
    algorithm_in_upper_case: step().parameter("alg", "\"HMAC-SHA256\"").sign() => Err(Rejection::Algorithm);
    algorithm_as_a_token: step().parameter("alg", "hmac-sha256").sign() => Err(Rejection::Algorithm);
    tag_other: step().parameter("tag", "\"baton-request-v2\"").sign() => Err(Rejection::Tag);
    tag_as_a_token: step().parameter("tag", "baton-request-v1").sign() => Err(Rejection::Tag);
    created_as_a_string: step().parameter("created", "\"1764000000\"").sign() => Err(Rejection::Parameters);
    created_as_a_decimal: step().parameter("created", "1764000000.0").sign() => Err(Rejection::Parameters);
    created_as_a_date: step().parameter("created", "@1764000000").sign() => Err(Rejection::Parameters);
    created_negative: step().parameter("created", "-1764000000").sign() => Err(Rejection::Parameters);
    created_with_a_plus: step().parameter("created", "+1764000000").sign() => Err(Rejection::Malformed);
    created_of_15_digits: step().window(999_999_999_999_900, 999_999_999_999_999).sign()
        => Err(Rejection::NotYetValid);
    created_of_16_digits: step().parameter("created", "1764000000000000").sign() => Err(Rejection::Malformed);
    expires_negative: step().parameter("expires", "-1").sign() => Err(Rejection::Parameters);
    expires_without_a_value: step().parameter("expires", "?1").sign() => Err(Rejection::Parameters);
    nonce_as_bytes: step().parameter("nonce", ":YjNrMnBwNWs3ei01MGdud3A=:").sign() => Err(Rejection::Parameters);
    key_id_as_a_token: step().parameter("keyid", "first").sign() => Err(Rejection::Parameters);
    unknown_parameter: step().parameter("context", "\"x\"").sign() => Err(Rejection::Parameters);
    unknown_parameter_without_a_value: signed().edit("signature-input", ";tag=", ";a;tag=")
        => Err(Rejection::Parameters);
    parameter_key_twice: signed().edit("signature-input", ";created=1764000000", ";created=1;created=1764000000")
        => Err(Rejection::Malformed);
    tag_twice: signed().edit("signature-input", ";tag=", ";tag=\"x\";tag=") => Err(Rejection::Malformed);

    // Time.
    expired: step().window(CREATED_S - 1000, CREATED_S - 900).sign() => Err(Rejection::Expired);
    from_the_future: step().window(NOW_S + 61, NOW_S + 100).sign() => Err(Rejection::NotYetValid);
    window_empty: step().window(CREATED_S, CREATED_S).sign() => Err(Rejection::Window);
    window_reversed: step().window(CREATED_S, CREATED_S - 1).sign() => Err(Rejection::Window);
    window_too_long: step().window(CREATED_S, CREATED_S + 301).sign() => Err(Rejection::Window);
    window_far_too_long: step().window(0, 999_999_999_999_999).sign() => Err(Rejection::Window);

    // Components that the profile does not know.
    component_twice: step().cover("\"@method\"").sign() => Err(Rejection::Coverage);
    header_twice: step().cover("\"content-type\"").sign() => Err(Rejection::Coverage);
    component_signature_params: step().cover("\"@signature-params\"").sign() => Err(Rejection::Coverage);
    component_request_target: step().cover("\"@request-target\"").sign() => Err(Rejection::Coverage);
    component_target_uri: step().cover("\"@target-uri\"").sign() => Err(Rejection::Coverage);
    component_scheme: step().cover("\"@scheme\"").sign() => Err(Rejection::Coverage);
    component_status: step().cover("\"@status\"").sign() => Err(Rejection::Coverage);
    component_unknown: step().cover("\"@x\"").sign() => Err(Rejection::Coverage);
    component_empty: step().cover("\"\"").sign() => Err(Rejection::Coverage);
    component_with_a_line_break: step().cover("\"a\\\\nb\"").sign() => Err(Rejection::Coverage);
    component_with_a_quote: step().cover("\"a\\\"b\"").sign() => Err(Rejection::Coverage);
    component_of_the_request: step().cover("\"@method\";req").sign() => Err(Rejection::Coverage);
    component_query_param: step().query("a=b").cover("\"@query-param\";name=\"a\"").sign()
        => Err(Rejection::Malformed);
    component_structured: step().cover("\"content-type\";sf").sign() => Err(Rejection::Malformed);
    component_of_bytes: step().cover("\"content-type\";bs").sign() => Err(Rejection::Malformed);
    component_of_trailers: step().cover("\"content-type\";tr").sign() => Err(Rejection::Malformed);
    component_req_false: step().cover("\"content-type\";req=?0").sign() => Err(Rejection::Malformed);
    component_as_a_token: step().cover("x-team").sign() => Err(Rejection::Malformed);
    component_in_upper_case: step().line("x-team", "a").cover("\"X-Team\"").sign() => Err(Rejection::Coverage);
    mandatory_component_in_upper_case: step().uncover("content-type").cover("\"Content-Type\"").sign()
        => Err(Rejection::Coverage);
    mandatory_component_of_the_request: step().uncover("@path").cover("\"@path\";req").sign()
        => Err(Rejection::Coverage);
    header_missing: step().cover("\"x-team\"").sign() => Err(Rejection::Coverage);

    // Labels and the shape of the two fields.
    label_twice: { let message = signed(); let input = message.get("signature-input").to_owned();
        message.append("signature-input", &input) } => Err(Rejection::Malformed);
    label_twice_in_both: signed().append("signature-input", "sig1=();tag=\"other\"").append("signature", "sig1=:AAAA:")
        => Err(Rejection::Malformed);
    label_twice_in_signature: { let message = signed(); let signature = message.get("signature").to_owned();
        message.append("signature", &signature) } => Err(Rejection::Malformed);
    two_signatures_with_our_tag: signed().sign_as("sig2", &KEY) => Err(Rejection::TwoSignatures);
    two_signatures_with_our_tag_one_no_list: signed().append("signature-input", "sig2=1;tag=\"baton-request-v1\"")
        .append("signature", "sig2=::") => Err(Rejection::TwoSignatures);
    a_signature_for_somebody_else: signed().append("signature-input", "sig2=();tag=\"other\"")
        .append("signature", "sig2=:AAAA:") => Ok(());
    labels_differ: signed().edit("signature", "sig1=", "sig2=") => Err(Rejection::Malformed);
    labels_of_somebody_else_differ: signed().append("signature-input", "sig2=()").append("signature", "sig3=:AAAA:")
        => Err(Rejection::Malformed);
    label_without_signature: signed().append("signature-input", "sig2=()") => Err(Rejection::Malformed);
    label_without_input: signed().append("signature", "sig2=:AAAA:") => Err(Rejection::Malformed);
    signature_missing: signed().without("signature") => Err(Rejection::Missing);
    signature_input_missing: signed().without("signature-input") => Err(Rejection::Missing);
    both_fields_empty: signed().header("signature", "").header("signature-input", "") => Err(Rejection::Tag);
    signature_no_bytes: signed().header("signature", "sig1=\"AAAA\"") => Err(Rejection::Malformed);
    signature_a_list: signed().header("signature", "sig1=(:AAAA:)") => Err(Rejection::Malformed);
    signature_with_a_parameter: { let value = format!("{};a", signed().get("signature"));
        signed().header("signature", &value) } => Err(Rejection::Malformed);
    signature_not_base64: signed().header("signature", "sig1=:!!!!:") => Err(Rejection::Malformed);
    input_no_list: signed().header("signature-input", "sig1=1;tag=\"baton-request-v1\"")
        => Err(Rejection::Malformed);
    input_not_closed: signed().header("signature-input", "sig1=(\"@method\"") => Err(Rejection::Malformed);
    input_with_more_behind: { let value = format!("{} x", signed().get("signature-input"));
        signed().header("signature-input", &value) } => Err(Rejection::Malformed);
    input_not_ascii: signed().edit("signature-input", "b3k2", "bäk2") => Err(Rejection::Malformed);
    whitespace_within_the_list: signed().edit("signature-input", "(\"@method\" ", "(  \"@method\"   ") => Ok(());
}

#[test]
fn a_far_away_clock_is_no_overflow() {
    check_at(0, &signed(), Err(Rejection::NotYetValid));
    check_at(u64::MAX, &signed(), Err(Rejection::Expired));
}
