//! What an attacker changes on the way, and what a careless sender leaves out.

use contract_tests::gateway::shared;
use contract_tests::mac::content_digest;
use contract_tests::message::Message;
use serde_json::json;

use super::{attacks, check_accepted};
use crate::support::{body, key, signed, step};

fn another_body() -> String {
    body(json!({ "text": "injected" })).to_string()
}

/// Repeats a line that is there.
fn twice(message: Message, name: &str) -> Message {
    let value = message.get(name).to_owned();
    message.line(name, &value)
}

attacks! {
    // Changed after it was signed.
    method_changed: signed().method("PUT") => 405 "method-not-allowed";
    path_changed: signed().path("/agents/triage/steps") => 401 "signature-invalid";
    query_added: signed().query("dry=1") => 401 "signature-invalid";
    query_changed: step().query("dry=1").signed(key("first")).query("dry=0") => 401 "signature-invalid";
    query_taken_away: { let mut message = step().query("dry=1").signed(key("first")); message.query = None; message }
        => 401 "signature-invalid";
    authority_changed: signed().authority("evil.example.com") => 421 "authority-unknown";
    authority_changed_to_another_name_of_the_machine: signed().authority(&format!("localhost:{}", shared().port()))
        => 421 "authority-unknown";
    body_changed: signed().body(another_body().as_bytes()) => 401 "content-digest-invalid";
    body_and_digest_changed: signed().body(another_body().as_bytes())
        .header("content-digest", &content_digest(another_body().as_bytes())) => 401 "signature-invalid";
    body_taken_away: signed().body(b"") => 401 "content-digest-invalid";
    body_and_digest_taken_away: signed().body(b"").without("content-digest") => 401 "signature-coverage";
    content_type_changed: signed().header("content-type", "application/json;charset=utf-8") => 401 "signature-invalid";
    idempotency_key_changed: signed().header("idempotency-key", "\"another\"") => 401 "signature-invalid";
    idempotency_key_taken_away: signed().without("idempotency-key") => 401 "signature-coverage";
    covered_header_changed: step().line("x-team", "blue").cover("\"x-team\"").signed(key("first"))
        .header("x-team", "red") => 401 "signature-invalid";
    covered_header_taken_away: step().line("x-team", "blue").cover("\"x-team\"").signed(key("first"))
        .without("x-team") => 401 "signature-coverage";
    mac_changed: signed().edit("signature", "sig1=:", "sig1=:AAAA") => 401 "signature-invalid";
    mac_of_another_length: signed().header("signature", "sig1=:AAAA:") => 401 "signature-invalid";
    mac_empty: signed().header("signature", "sig1=::") => 401 "signature-invalid";
    component_order_changed: signed()
        .edit("signature-input", "\"@method\" \"@authority\"", "\"@authority\" \"@method\"") => 401 "signature-invalid";
    component_taken_off: step().line("x-team", "a").cover("\"x-team\"").signed(key("first"))
        .edit("signature-input", " \"x-team\"", "") => 401 "signature-invalid";

    // The envelope.
    not_signed: step() => 401 "signature-missing";
    signature_missing: signed().without("signature") => 401 "signature-missing";
    signature_input_missing: signed().without("signature-input") => 401 "signature-missing";
    authority_unknown: step().authority("evil.example.com").signed(key("first")) => 421 "authority-unknown";
    authority_in_a_forwarded_header: step().authority("evil.example.com").signed(key("first"))
        .line("x-forwarded-host", &shared().authority()) => 421 "authority-unknown";
    path_with_needless_encoding: step().path("/agents/%65cho/steps").signed(key("first")) => 400 "path-not-canonical";
    path_with_a_final_slash: step().path("/agents/echo/steps/").signed(key("first")) => 404 "not-found";
    path_with_an_empty_segment: step().path("//agents/echo/steps").signed(key("first")) => 404 "not-found";
    // The platform resolves them before anybody sees them: what was signed is then not what is routed.
    path_with_dot_segments: step().path("/agents/x/../echo/steps").signed(key("first")) => 401 "signature-invalid";
    content_encoding: step().line("content-encoding", "gzip").signed(key("first")) => 415 "content-encoding-unsupported";
    content_encoding_covered: step().line("content-encoding", "gzip").cover("\"content-encoding\"").signed(key("first"))
        => 415 "content-encoding-unsupported";
    content_encodings_joined: step().line("content-encoding", "identity, gzip").signed(key("first"))
        => 415 "content-encoding-unsupported";

    // Fewer components covered.
    method_uncovered: step().uncover("@method").signed(key("first")) => 401 "signature-coverage";
    authority_uncovered: step().uncover("@authority").signed(key("first")) => 401 "signature-coverage";
    path_uncovered: step().uncover("@path").signed(key("first")) => 401 "signature-coverage";
    query_uncovered: step().uncover("@query").signed(key("first")) => 401 "signature-coverage";
    content_type_uncovered: step().uncover("content-type").signed(key("first")) => 401 "signature-coverage";
    content_digest_uncovered: step().uncover("content-digest").signed(key("first")) => 401 "signature-coverage";
    idempotency_key_uncovered: step().uncover("idempotency-key").signed(key("first")) => 401 "signature-coverage";
    nothing_covered: { let mut message = step(); message.components.clear(); message.signed(key("first")) }
        => 401 "signature-coverage";

    // The digest.
    digest_left_out: step().without("content-digest").uncover("content-digest").signed(key("first"))
        => 401 "signature-coverage";
    digest_wrong: step().header("content-digest", &content_digest(b"other")).signed(key("first"))
        => 401 "content-digest-invalid";
    digest_of_another_algorithm: { let message = step();
        let digest = message.get("content-digest").replace("sha-256", "sha-512");
        message.header("content-digest", &digest).signed(key("first")) } => 401 "content-digest-invalid";
    digest_beside_another: step().append("content-digest", "sha-512=:AAAA:").signed(key("first"))
        => 401 "content-digest-invalid";

    // The idempotency key.
    idempotency_key_missing: step().without("idempotency-key").uncover("idempotency-key").signed(key("first"))
        => 401 "signature-coverage";
    idempotency_key_unquoted: step().header("idempotency-key", "run_01/s1").signed(key("first"))
        => 400 "idempotency-key-invalid";
    idempotency_key_empty: step().header("idempotency-key", "\"\"").signed(key("first")) => 400 "idempotency-key-invalid";

    // Header lines and dictionary keys that occur twice. The platform joins lines with a comma before the gateway sees
    // them, so the code is that of the joined text.
    signature_input_line_twice: twice(signed(), "signature-input") => 401 "signature-malformed";
    signature_line_twice: twice(signed(), "signature") => 401 "signature-malformed";
    content_type_line_twice: twice(step(), "content-type").signed(key("first")) => 415 "media-type-unsupported";
    content_digest_line_twice: twice(step(), "content-digest").signed(key("first")) => 401 "content-digest-invalid";
    content_digest_line_added: twice(signed(), "content-digest") => 401 "signature-invalid";
    idempotency_key_line_twice: twice(step(), "idempotency-key").signed(key("first")) => 400 "idempotency-key-invalid";
    idempotency_key_line_added: twice(signed(), "idempotency-key") => 401 "signature-invalid";
    label_twice: { let message = signed(); let input = message.get("signature-input").to_owned();
        let mac = message.get("signature").to_owned();
        message.append("signature-input", &input).append("signature", &mac) } => 401 "signature-malformed";
}

#[test]
fn a_request_without_a_body_has_no_length_to_hide() {
    // A body that is not announced does not become one that is not looked at.
    let answer = signed().body(b"").line("content-length", "0").send();
    answer.problem(401, "content-digest-invalid");
}

#[test]
fn a_response_presented_as_a_request() {
    let answer = signed().send();
    let mut message = step();
    for name in ["signature-input", "signature", "content-digest"] {
        message = message.header(name, answer.header(name).expect("the answer is signed"));
    }
    super::check_refused(&message, 401, "signature-tag");
    // Only the tag tells the two apart here.
    let message = step()
        .stamped(key("first"))
        .parameter("tag", "\"baton-response-v1\"")
        .signed_as("sig1", key("first"));
    super::check_refused(&message, 401, "signature-tag");
}

#[test]
fn what_is_no_attack_is_accepted() {
    check_accepted(&signed());
    check_accepted(&step().query("a=b&a=%2F").signed(key("first")));
    check_accepted(&step().uncover("@method").cover("\"@method\"").signed(key("first")));
    check_accepted(&step().line("x-team", "blue").cover("\"x-team\"").signed(key("first")));
    check_accepted(&signed().line("x-hop", "1"));
    check_accepted(&step().line("content-encoding", "identity").signed(key("first")));
    check_accepted(&signed().chunked());
    check_accepted(
        &step()
            .header("content-type", "application/json; charset=utf-8")
            .signed(key("first")),
    );
}
