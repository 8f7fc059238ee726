//! What holds for every message, and parsers that no input makes panic.

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::{BODY, KEY, Message, NOW_S, keyring, read, step};
use crate::signature::base::{Component, Subject, signature_base, signature_params};
use crate::signature::digest::content_digest;
use crate::signature::profile::{REQUEST_TAG, find};
use crate::signature::structured::{parse_dictionary, parse_string, serialise_string};
use crate::signature::{
    Keyring, Origins, Policy, Purpose, Rejection, RequestView, Stamp, Verified, digest, path, sign_request,
    sign_response, verify, webhook,
};

type Request = http::Request<Vec<u8>>;

prop_compose! {
    fn any_path()(segments in prop::collection::vec("[a-zA-Z0-9_~!$&'()*+,;=:@-]{1,12}|%2F|%C3%A4", 1..5)) -> String {
        format!("/{}", segments.join("/"))
    }
}

prop_compose! {
    /// Anything that a sender may send: method, path, query, body, idempotency key.
    fn any_request()(
        method in prop::sample::select(vec!["GET", "POST", "PUT", "DELETE", "PATCH"]),
        path in any_path(),
        query in prop::option::of("[a-zA-Z0-9=&%+/?:@._~-]{0,40}"),
        body in prop::collection::vec(any::<u8>(), 0..200),
        content_type in "[a-z]{1,8}/[a-z]{1,8}(; [a-z]{1,8}=[a-z]{1,8})?",
        idempotency_key in prop::option::of("[ -~]{1,40}"),
    ) -> Request {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("https://gw.example.com{path}{query}"))
            .header("content-type", content_type);
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", serialise_string(&key).expect("printable"));
        }
        request.body(body).expect("a request")
    }
}

fn received(request: &Request) -> Result<Verified, Rejection> {
    let keyring = keyring();
    let origins = Origins::parse("https://gw.example.com").expect("origins");
    let policy = Policy {
        keyring: &keyring,
        origins: &origins,
        purpose: Purpose::Invoke,
        idempotency: false,
        preconditions: false,
        webhook: None,
        now_s: NOW_S,
    };
    verify(&RequestView::of(request).expect("a view"), request.body(), &policy)
}

fn stamp(nonce: &str) -> Stamp {
    Stamp {
        created_s: NOW_S,
        nonce: nonce.into(),
    }
}

/// Another byte in its place, and one that a header may hold.
fn flipped(text: &str, index: prop::sample::Index, by: u8) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let at = index.index(bytes.len());
    bytes[at] = b' ' + (bytes[at] - b' ' + by) % 95;
    // Whitespace at the ends is not part of a value.
    let changed = String::from_utf8(bytes).ok()?;
    (changed.trim() != text.trim()).then_some(changed)
}

fn with_team(value: &str) -> Message {
    step().line("x-team", value).cover("\"x-team\"").sign()
}

proptest! {
    #[test]
    fn what_is_signed_verifies(mut request in any_request(), nonce in "[ -~]{16,64}") {
        let key = keyring().get("first").cloned().expect("the record");
        let sent = sign_request(&mut request, &key, stamp(&nonce));
        prop_assert!(sent.is_ok(), "{:?}", sent.err());
        let verified = received(&request);
        prop_assert!(verified.is_ok(), "{:?}", verified.err());
        prop_assert_eq!(verified.ok().and_then(|caller| caller.nonce().map(|(own, _)| own.to_owned())), Some(nonce));
    }

    #[test]
    fn the_second_implementation_agrees(
        method in "[A-Z]{1,8}",
        path in any_path(),
        query in prop::option::of("[!-~]{0,30}"),
        body in prop::collection::vec(any::<u8>(), 0..100),
        nonce in "[a-zA-Z0-9_.~-]{16,64}",
        extra in prop::collection::vec("([!-~]([ -~]{0,20}[!-~])?)?", 0..5),
    ) {
        let digest = content_digest(&body);
        let mut message = step().method(&method).path(&path).header("content-digest", &digest).body(&body);
        message.query = query;
        for (index, value) in extra.iter().enumerate() {
            message = message.line(&format!("x-{index}"), value).cover(&format!("\"x-{index}\""));
        }
        let message = message.parameter("nonce", &format!("\"{nonce}\"")).sign();
        prop_assert_eq!(message.verify().map(|_| ()), Ok(()));
    }

    #[test]
    fn any_other_body_is_refused(index in any::<prop::sample::Index>(), by in 1..=255_u8) {
        let mut body = BODY.to_vec();
        let at = index.index(body.len());
        body[at] ^= by;
        prop_assert_eq!(step().sign().body(&body).verify().map(|_| ()), Err(Rejection::Digest));
    }

    #[test]
    fn any_other_covered_header_is_refused(
        name in prop::sample::select(vec!["content-type", "content-digest", "idempotency-key"]),
        index in any::<prop::sample::Index>(),
        by in 1..95_u8,
    ) {
        let message = step().sign();
        if let Some(changed) = flipped(message.get(name), index, by) {
            prop_assert_eq!(message.header(name, &changed).verify().map(|_| ()), Err(Rejection::Invalid));
        }
    }

    #[test]
    fn any_other_extra_header_is_refused(
        value in "[!-~]{1,30}",
        index in any::<prop::sample::Index>(),
        by in 1..95_u8,
    ) {
        if let Some(changed) = flipped(&value, index, by) {
            let message = with_team(&value).header("x-team", &changed);
            prop_assert_eq!(message.verify().map(|_| ()), Err(Rejection::Invalid));
        }
    }

    /// Some changes leave the same list in another spelling (whitespace); no other one verifies.
    #[test]
    fn any_other_signature_field_is_refused(
        name in prop::sample::select(vec!["signature-input", "signature"]),
        index in any::<prop::sample::Index>(),
        by in 1..95_u8,
    ) {
        let message = step().sign();
        if let Some(changed) = flipped(message.get(name), index, by) {
            let same = parse_dictionary(&changed) == parse_dictionary(message.get(name));
            prop_assert_eq!(message.header(name, &changed).verify().is_ok(), same, "{}", changed);
        }
    }

    #[test]
    fn any_other_path_method_or_query_is_refused(
        path in any_path(),
        method in "[A-Z]{1,8}",
        query in "[!-~]{1,20}",
    ) {
        let check = |message: Message| {
            let found = message.verify().map(|_| ());
            found == Err(Rejection::Invalid)
        };
        prop_assert!(check(step().sign().path(&path)) || path == step().path);
        prop_assert!(check(step().sign().method(&method)) || method == step().method);
        prop_assert!(check(step().sign().query(&query)));
    }

    #[test]
    fn a_response_verifies_for_its_request_alone(
        mut request in any_request(),
        mut other in any_request(),
        status in 200..600_u16,
        body in prop::collection::vec(any::<u8>(), 0..200),
        by in 1..=255_u8,
        index in any::<prop::sample::Index>(),
    ) {
        let key = keyring().get("first").cloned().expect("the record");
        let sent = sign_request(&mut request, &key, stamp("the-same-nonce-0")).expect("signed");
        let other_sent = sign_request(&mut other, &key, stamp("the-same-nonce-0")).expect("signed");
        let caller = received(&request).expect("verified");
        let mut response = http::Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .body(body)
            .expect("a response");
        sign_response(&mut response, &caller, NOW_S);
        prop_assert_eq!(sent.verify(&response, NOW_S), Ok(()));
        let same = signature_of(&request) == signature_of(&other);
        prop_assert_eq!(other_sent.verify(&response, NOW_S).is_ok(), same);

        let nonce = sign_request(&mut request.clone(), &key, stamp("another-nonce-00")).expect("signed");
        prop_assert_eq!(nonce.verify(&response, NOW_S), Err(Rejection::Invalid));

        let mut changed = response.clone();
        let other = 200 + (status - 200 + u16::from(by)) % 400;
        *changed.status_mut() = http::StatusCode::from_u16(other).expect("a status");
        prop_assert_eq!(sent.verify(&changed, NOW_S), Err(Rejection::Invalid));

        if !response.body().is_empty() {
            let at = index.index(response.body().len());
            response.body_mut()[at] ^= by;
            prop_assert_eq!(sent.verify(&response, NOW_S), Err(Rejection::Digest));
        }
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in any_text()) {
        let _ = parse_dictionary(&text);
        let _ = parse_string(&text);
        let _ = serialise_string(&text);
        let _ = digest::matches(&text, b"");
        let _ = path::is_canonical(&text);
        let _ = Origins::parse(&text).map(|origins| origins.serve(&text));
        let _ = webhook::key_id(Some(&text));
        let _ = Keyring::parse(&text);
        let _ = Keyring::parse_record(&text);
    }

    #[test]
    fn no_header_makes_a_verifier_panic(
        values in prop::collection::vec(prop::collection::vec(any_header_byte(), 0..120), 7),
        now_s in any::<u64>(),
    ) {
        let names = [
            "signature-input", "signature", "content-digest", "idempotency-key",
            "webhook-id", "webhook-timestamp", "webhook-signature",
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in names.into_iter().zip(&values) {
            headers.insert(name, HeaderValue::from_bytes(value).expect("a value"));
        }
        let _ = find(&headers, REQUEST_TAG);
        if let Ok(delivery) = webhook::find(&headers) {
            let _ = delivery.verify(&KEY, b"");
            let _ = webhook::check_timestamp(delivery.timestamp_s, now_s);
        }
        let mut message = step();
        message.headers = names.into_iter().zip(&values)
            .filter_map(|(name, value)| Some((name.to_owned(), String::from_utf8(value.clone()).ok()?)))
            .collect();
        let _ = message.verify_with(|policy| policy.now_s = now_s);
    }

    #[test]
    fn no_parameters_make_a_verifier_panic(created in any::<i64>(), expires in any::<i64>(), now_s in any::<u64>()) {
        let (created, expires) = (created.to_string(), expires.to_string());
        let message = read().parameter("created", &created).parameter("expires", &expires).sign();
        let _ = message.verify_with(|policy| policy.now_s = now_s);
    }

    #[test]
    fn strings_are_read_as_written(text in "[ -~]{0,60}") {
        let written = serialise_string(&text).expect("printable");
        prop_assert_eq!(parse_string(&written), Ok(text));
    }

    /// No two lists of values have one base: nothing moves from one component into its neighbour.
    #[test]
    fn a_base_has_one_reading(one in any_headers(), two in any_headers()) {
        let base = |values: &[String]| {
            let mut headers = HeaderMap::new();
            let mut components = Vec::new();
            for (index, value) in values.iter().enumerate() {
                let name: http::HeaderName = format!("x-{index}").parse().expect("a name");
                components.push(Component::own(name.as_str()));
                headers.insert(name, value.parse().expect("a value"));
            }
            let view = RequestView { method: "GET", authority: "a", path: "/", query: None, headers: &headers };
            let params = signature_params(&components, &Vec::new()).expect("parameters");
            (params, signature_base(&Subject::Request(view), &components, &Vec::new()).expect("a base"))
        };
        prop_assert_eq!(base(&one) == base(&two), one == two);
    }

    #[test]
    fn a_derived_secret_belongs_to_one_triple(one in any_triple(), two in any_triple()) {
        let secret = |(a, b, c): &(String, String, String)| webhook::derived_secret(&KEY, a, b, c);
        prop_assert_eq!(secret(&one) == secret(&two), one == two);
    }
}

fn signature_of(request: &Request) -> Option<&HeaderValue> {
    request.headers().get("signature")
}

/// Text near to what the parsers read, and anything else.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z0-9=;:,()\"\\\\@%?*. +/A-F-]{0,60}",
        "sig1=\\(\"[ -~]{0,20}\"\\);[a-z]=[ -~]{0,20}",
        "https?://[ -~]{0,30}",
        "/[ -~]{0,30}",
    ]
}

fn any_header_byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        4 => prop::sample::select(b"=;:,()\"\\@%?*. +/-0123456789abcv".to_vec()),
        1 => 32..127_u8,
        1 => 128..=255_u8,
    ]
}

fn any_headers() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[\"x:,;01-]{0,3}", 0..4)
}

fn any_triple() -> impl Strategy<Value = (String, String, String)> {
    ("[a1:,]{0,4}", "[a1:,]{0,4}", "[a1:,]{0,4}")
}
