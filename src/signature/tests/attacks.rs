//! What an attacker changes on the way, and what a careless sender leaves out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{BODY, KEY, Message, NOW_S, OTHER_KEY, check, checks, read, signed, step};
use crate::signature::base::BaseError;
use crate::signature::digest::content_digest;
use crate::signature::{IDEMPOTENCY_REPLAYED, Rejection, RequestView, Verified, sign_response};

checks! {
    a_step_verifies: signed() => Ok(());
    a_read_verifies: read().sign() => Ok(());
    a_query_verifies: step().query("a=b&a=%2F").sign() => Ok(());
    a_covered_header_verifies: step().line("x-team", "blue").cover("\"x-team\"").sign() => Ok(());
    an_empty_covered_header_verifies: step().line("x-team", "").cover("\"x-team\"").sign() => Ok(());
    another_order_verifies: step().uncover("@method").cover("\"@method\"").sign() => Ok(());
    whitespace_around_a_value_is_not_signed: signed().header("content-type", " application/json\t") => Ok(());
    an_uncovered_header_may_change: step().line("x-hop", "1").sign().header("x-hop", "2") => Ok(());
    the_authority_has_no_case: signed().authority("GW.Example.com") => Ok(());

    // Changed after it was signed.
    method_changed: signed().method("PUT") => Err(Rejection::Invalid);
    method_in_lower_case: signed().method("post") => Err(Rejection::Invalid);
    path_changed: signed().path("/agents/triage/steps") => Err(Rejection::Invalid);
    query_added: signed().query("dry=1") => Err(Rejection::Invalid);
    query_changed: step().query("dry=1").sign().query("dry=0") => Err(Rejection::Invalid);
    authority_changed_to_another_of_ours: signed().authority("other.example.com") => Err(Rejection::Invalid);
    body_changed: signed().body(br#"{"run":"run_02"}"#) => Err(Rejection::Digest);
    body_taken_away: signed().body(b"") => Err(Rejection::Digest);
    body_and_digest_changed: signed().body(b"{}").header("content-digest", &content_digest(b"{}"))
        => Err(Rejection::Invalid);
    body_and_digest_taken_away: signed().body(b"").without("content-digest") => Err(Rejection::Coverage);
    body_added_to_a_read: read().sign().body(b"{}") => Err(Rejection::Coverage);
    body_and_digest_added_to_a_read: read().sign().body(b"{}").line("content-digest", &content_digest(b"{}"))
        => Err(Rejection::Coverage);
    content_type_changed: signed().header("content-type", "text/plain") => Err(Rejection::Invalid);
    content_type_in_upper_case: signed().header("content-type", "Application/JSON") => Err(Rejection::Invalid);
    idempotency_key_changed: signed().header("idempotency-key", "\"run_01/s2\"") => Err(Rejection::Invalid);
    idempotency_key_taken_away: signed().without("idempotency-key") => Err(Rejection::Coverage);
    idempotency_key_added_to_a_read: read().sign().line("idempotency-key", "\"k\"") => Err(Rejection::Coverage);
    covered_header_changed: step().line("x-team", "blue").cover("\"x-team\"").sign().header("x-team", "red")
        => Err(Rejection::Invalid);
    covered_header_taken_away: step().line("x-team", "blue").cover("\"x-team\"").sign().without("x-team")
        => Err(Rejection::Coverage);
    // An absent header and an empty one are not the same.
    empty_covered_header_taken_away: step().line("x-team", "").cover("\"x-team\"").sign().without("x-team")
        => Err(Rejection::Coverage);
    mac_changed: signed().edit("signature", "sig1=:", "sig1=:AAAA") => Err(Rejection::Invalid);
    mac_of_another_length: signed().header("signature", "sig1=:AAAA:") => Err(Rejection::Invalid);
    mac_empty: signed().header("signature", "sig1=::") => Err(Rejection::Invalid);
    created_changed: signed().edit("signature-input", "1764000000", "1764000001") => Err(Rejection::Invalid);
    expires_changed: signed().edit("signature-input", "1764000300", "1764000299") => Err(Rejection::Invalid);
    nonce_changed: signed().edit("signature-input", "b3k2", "b3k3") => Err(Rejection::Invalid);
    key_id_changed: signed().edit("signature-input", "first", "second") => Err(Rejection::Invalid);
    key_id_changed_to_one_with_the_same_secret: signed().edit("signature-input", "first", "first-second")
        => Err(Rejection::Invalid);
    component_taken_off: step().line("x-team", "a").cover("\"x-team\"").sign()
        .edit("signature-input", " \"x-team\"", "") => Err(Rejection::Invalid);
    component_order_changed: signed()
        .edit("signature-input", "\"@method\" \"@authority\"", "\"@authority\" \"@method\"")
        => Err(Rejection::Invalid);
    parameter_order_changed: signed()
        .edit("signature-input", "created=1764000000;expires=1764000300", "expires=1764000300;created=1764000000")
        => Err(Rejection::Invalid);

    // The envelope.
    not_signed: step() => Err(Rejection::Missing);
    authority_unknown: step().authority("evil.example.com").sign() => Err(Rejection::Authority);
    authority_with_a_port: step().authority("gw.example.com:8443").sign() => Err(Rejection::Authority);
    authority_with_a_user: step().authority("user@gw.example.com").sign() => Err(Rejection::Authority);
    authority_with_a_final_dot: step().authority("gw.example.com.").sign() => Err(Rejection::Authority);
    authority_empty: step().authority("").sign() => Err(Rejection::Authority);
    path_with_dot_segments: step().path("/agents/x/../summarizer/steps").sign() => Err(Rejection::Path);
    path_with_an_empty_segment: step().path("/agents//summarizer/steps").sign() => Err(Rejection::Path);
    path_with_needless_encoding: step().path("/agents/summ%61rizer/steps").sign() => Err(Rejection::Path);
    path_with_a_final_slash: step().path("/agents/summarizer/steps/").sign() => Err(Rejection::Path);
    content_encoding: step().line("content-encoding", "gzip").sign() => Err(Rejection::ContentEncoding);
    content_encoding_covered: step().line("content-encoding", "gzip").cover("\"content-encoding\"").sign()
        => Err(Rejection::ContentEncoding);
    content_encoding_on_a_second_line: step().line("content-encoding", "identity").line("content-encoding", "br").sign()
        => Err(Rejection::ContentEncoding);
    content_encodings_joined: step().line("content-encoding", "identity, gzip").sign()
        => Err(Rejection::ContentEncoding);
    content_encoding_empty: step().line("content-encoding", "").sign() => Err(Rejection::ContentEncoding);
    content_encoding_identity: step().line("content-encoding", "Identity").sign() => Ok(());

    // Fewer components covered.
    method_uncovered: step().uncover("@method").sign() => Err(Rejection::Coverage);
    authority_uncovered: step().uncover("@authority").sign() => Err(Rejection::Coverage);
    path_uncovered: step().uncover("@path").sign() => Err(Rejection::Coverage);
    query_uncovered: step().uncover("@query").sign() => Err(Rejection::Coverage);
    content_type_uncovered: step().uncover("content-type").sign() => Err(Rejection::Coverage);
    content_digest_uncovered: step().uncover("content-digest").sign() => Err(Rejection::Coverage);
    idempotency_key_uncovered: step().uncover("idempotency-key").sign() => Err(Rejection::Coverage);
    nothing_covered: { let mut message = step(); message.components.clear(); message.sign() }
        => Err(Rejection::Coverage);
    content_digest_uncovered_without_a_body: read().line("content-digest", &content_digest(b"")).sign()
        => Err(Rejection::Coverage);
    idempotency_key_uncovered_on_a_read: read().line("idempotency-key", "\"k\"").sign() => Err(Rejection::Coverage);

    // The digest.
    digest_left_out: step().without("content-digest").uncover("content-digest").sign() => Err(Rejection::Coverage);
    digest_wrong: step().header("content-digest", &content_digest(b"other")).sign() => Err(Rejection::Digest);
    digest_of_another_algorithm: step().header("content-digest", &content_digest(BODY).replace("256", "512")).sign()
        => Err(Rejection::Digest);
    digest_beside_another: step().header("content-digest", &format!("{}, sha-512=:AAAA:", content_digest(BODY))).sign()
        => Err(Rejection::Digest);
    digest_key_twice: step().header("content-digest", &format!("{0}, {0}", content_digest(BODY))).sign()
        => Err(Rejection::Digest);
    digest_in_hexadecimal: step().header("content-digest", "sha-256=e3b0c442").sign() => Err(Rejection::Digest);
    digest_with_a_parameter: step().header("content-digest", &format!("{};a", content_digest(BODY))).sign()
        => Err(Rejection::Digest);
    digest_wrong_without_a_body: step().body(b"").sign() => Err(Rejection::Digest);

    // The idempotency key.
    idempotency_key_missing: step().without("idempotency-key").uncover("idempotency-key").sign()
        => Err(Rejection::Coverage);
    idempotency_key_unquoted: step().header("idempotency-key", "run_01/s1").sign() => Err(Rejection::IdempotencyKey);
    idempotency_key_empty: step().header("idempotency-key", "\"\"").sign() => Err(Rejection::IdempotencyKey);
    idempotency_key_no_text: step().header("idempotency-key", "1").sign() => Err(Rejection::IdempotencyKey);
    idempotency_key_with_a_parameter: step().header("idempotency-key", "\"k\";a").sign()
        => Err(Rejection::IdempotencyKey);
    idempotency_keys_joined: step().header("idempotency-key", "\"k\", \"k\"").sign()
        => Err(Rejection::IdempotencyKey);

    // Header fields on two lines.
    signature_input_line_twice: { let message = signed(); let value = message.get("signature-input").to_owned();
        message.line("signature-input", &value) } => Err(Rejection::DuplicateHeader);
    signature_line_twice: { let message = signed(); let value = message.get("signature").to_owned();
        message.line("signature", &value) } => Err(Rejection::DuplicateHeader);
    content_type_line_twice: step().line("content-type", "application/json").sign() => Err(Rejection::DuplicateHeader);
    content_digest_line_twice: step().line("content-digest", &content_digest(BODY)).sign()
        => Err(Rejection::DuplicateHeader);
    idempotency_key_line_twice: step().line("idempotency-key", "\"run_01/s1\"").sign()
        => Err(Rejection::DuplicateHeader);
    covered_header_line_twice: step().line("x-team", "a").line("x-team", "b").cover("\"x-team\"").sign()
        => Err(Rejection::DuplicateHeader);
    covered_header_not_ascii: step().line("x-team", "bläu").cover("\"x-team\"").sign() => Err(Rejection::Malformed);
}

/// A precondition decides about the effect: on a route that has them, one that is not covered refuses the call.
#[test]
fn preconditions() {
    let check = |message: &Message, demanded: bool, expected| {
        let found = message.verify_with(|policy| policy.preconditions = demanded);
        assert_eq!(found.map(|_| ()), expected, "{message:#?}");
    };
    let put = || step().method("PUT");
    check(&put().sign(), true, Ok(()));
    for name in ["if-match", "if-none-match"] {
        let other = if name == "if-match" {
            "if-none-match"
        } else {
            "if-match"
        };
        let identifier = format!("\"{name}\"");
        let uncovered = put().line(name, "*").sign();
        check(&uncovered, true, Err(Rejection::Coverage));
        check(&uncovered, false, Ok(()));
        let covered = put().line(name, "*").cover(&identifier).sign();
        check(&covered, true, Ok(()));
        check(&covered.clone().line(other, "*"), true, Err(Rejection::Coverage));
        check(&covered.clone().header(name, "\"1-a\""), true, Err(Rejection::Invalid));
        check(&covered.clone().without(name), true, Err(Rejection::Coverage));
        check(&covered.line(name, "*"), true, Err(Rejection::DuplicateHeader));
        check(&put().sign().line(name, "*"), true, Err(Rejection::Coverage));
    }
}

/// The generation decides about the effect, and the depth about where a circle of gateways ends: on whatever route they are sent.
#[test]
fn a_number_uncovered_or_changed() {
    let generation = |found: Verified| found.generation().unwrap_or(0);
    let depth = |found: Verified| u64::from(found.depth());
    check_number("baton-generation", generation);
    check_number("baton-depth", depth);
}

fn check_number(name: &str, read: fn(Verified) -> u64) {
    let with = |value: &str| step().line(name, value);
    let covered = with("3").cover(&format!("\"{name}\"")).sign();
    let check = |message: &Message, expected| {
        assert_eq!(message.verify().map(read), expected, "{message:#?}");
    };
    check(&signed(), Ok(0));
    check(&covered, Ok(3));
    check(&with("3").sign(), Err(Rejection::Coverage));
    check(&signed().line(name, "3"), Err(Rejection::Coverage));
    check(&covered.clone().header(name, "2"), Err(Rejection::Invalid));
    check(&covered.clone().without(name), Err(Rejection::Coverage));
    check(&covered.line(name, "3"), Err(Rejection::DuplicateHeader));
}

#[test]
fn a_response_presented_as_a_request() {
    let caller = signed().verify().expect("verified");
    let mut response = http::Response::new(BODY.to_vec());
    response
        .headers_mut()
        .insert("content-type", "application/json".parse().expect("a value"));
    sign_response(&mut response, &caller, NOW_S);
    let mut message = step();
    for name in ["signature-input", "signature", "content-digest"] {
        let value = response.headers()[name].to_str().expect("a text");
        message = message.header(name, value);
    }
    check(&message, Err(Rejection::Tag));
    assert!(!response.headers().contains_key(IDEMPOTENCY_REPLAYED));
}

/// Only the tag tells the two apart here: even a response that covers all that a request must is refused.
#[test]
fn a_response_that_covers_a_request() {
    check(
        &step().parameter("tag", "\"baton-response-v1\"").sign(),
        Err(Rejection::Tag),
    );
}

#[test]
fn what_is_verified_is_what_was_sent() {
    let verified = signed().verify().expect("verified");
    assert_eq!(verified.key_id(), "first");
    assert_eq!(verified.orchestrator(), "acme");
    assert_eq!(verified.idempotency_key(), Some("run_01/s1"));
    assert_eq!(verified.nonce().map(|(nonce, _)| nonce), Some("b3k2pp5k7z-50gnwp.yemd"));
    let read = read().sign().verify().expect("verified");
    assert_eq!(read.idempotency_key(), None);
}

/// A part of the right MAC is no MAC, neither its beginning nor one with more behind it.
#[test]
fn mac_truncated_or_extended() {
    let whole = signed().get("signature").replace("sig1=:", "").replace(':', "");
    let whole = STANDARD.decode(whole).expect("base64");
    let with_mac = |mac: &[u8]| signed().header("signature", &format!("sig1=:{}:", STANDARD.encode(mac)));
    check(&with_mac(&whole), Ok(()));
    check(&with_mac(&whole[..31]), Err(Rejection::Invalid));
    check(&with_mac(&whole[..16]), Err(Rejection::Invalid));
    check(&with_mac(&whole[1..]), Err(Rejection::Invalid));
    check(&with_mac(&[&whole[..], &[0]].concat()), Err(Rejection::Invalid));
}

/// Two keys at once make a rotation; neither signs in the other's name.
#[test]
fn two_active_keys() {
    check(&signed(), Ok(()));
    check(&step().key("second").sign_as("sig1", &OTHER_KEY), Ok(()));
    check(&step().key("second").sign_as("sig1", &KEY), Err(Rejection::Invalid));
    check(
        &step().key("first").sign_as("sig1", &OTHER_KEY),
        Err(Rejection::Invalid),
    );
}

/// The default port is not part of an authority, another scheme's is.
#[test]
fn authority_of_a_request() {
    let check_uri = |uri: &str, expected: Result<&str, BaseError>| {
        let request = http::Request::get(uri).body(()).expect("a request");
        assert_eq!(RequestView::of(&request).map(|view| view.authority), expected, "{uri}");
    };
    check_uri("https://gw.example.com:443/a", Ok("gw.example.com"));
    check_uri("http://gw.example.com:80/a", Ok("gw.example.com"));
    check_uri("http://gw.example.com:443/a", Ok("gw.example.com:443"));
    check_uri("https://gw.example.com:80/a", Ok("gw.example.com:80"));
    check_uri("https://gw.example.com:8443/a", Ok("gw.example.com:8443"));
    check_uri("https://[fe80::443]/a", Ok("[fe80::443]"));
    check_uri("/a", Err(BaseError::NoAuthority));
}
