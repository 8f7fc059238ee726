//! The published vectors, byte for byte: they were computed by other programs than ours.

use http::HeaderMap;
use serde_json::Value;
use sfv::BareItem;

use crate::signature::base::{Component, RequestView, Subject, signature_base};
use crate::signature::keys::{KeyRecord, Keyring, Purpose};
use crate::signature::profile::{self, REQUEST_TAG, RESPONSE_TAG};
use crate::signature::response::{Binding, verify_response};
use crate::signature::structured::{Member, Parameters, parse_dictionary};
use crate::signature::{Origins, Policy, mac, verify, webhook};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const NONCE: &str = "b3k2pp5k7z-50gnwp.yemd";

fn vectors() -> Value {
    let text = include_str!("../../../contract-tests/vectors/signature.json");
    serde_json::from_str(text).expect("the vectors are JSON")
}

fn case(name: &str) -> Value {
    let vectors = vectors();
    let cases = vectors["cases"].as_array().expect("cases");
    let case = cases.iter().find(|case| case["name"] == name).expect("the case");
    case.clone()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} is no string"))
}

fn secret() -> Vec<u8> {
    STANDARD.decode(text(&vectors(), "key_base64")).expect("base64")
}

fn key() -> KeyRecord {
    let id = "orch-acme-2026-11";
    keyring().get(id).cloned().expect("the record")
}

fn keyring() -> Keyring {
    let secret = text(&vectors(), "key_base64").to_owned();
    Keyring::parse(&format!(
        r#"[{{"id":"orch-acme-2026-11","orchestrator":"acme","purposes":["invoke"],"secret":"{secret}"}}]"#
    ))
    .expect("a keyring")
}

fn headers(case: &Value) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in case["headers"].as_object().expect("headers") {
        let name: http::HeaderName = name.parse().expect("a name");
        let value = value.as_str().expect("a text").parse().expect("a value");
        map.insert(name, value);
    }
    map
}

fn request<'a>(case: &'a Value, headers: &'a HeaderMap) -> RequestView<'a> {
    RequestView {
        method: text(case, "method"),
        authority: text(case, "authority"),
        path: text(case, "path"),
        query: Some(text(case, "query")),
        headers,
    }
}

/// The base is the vector's, our MAC of it is the vector's, and the vector's MAC holds.
fn check_base(case: &Value, base: &str) {
    assert_eq!(base, text(case, "base"));
    let expected = STANDARD.decode(text(case, "signature")).expect("base64");
    assert_eq!(mac::sign(&secret(), base.as_bytes()), expected);
    assert!(mac::verify(&secret(), base.as_bytes(), &expected));
}

#[test]
fn rfc_9421_b_2_5() {
    let case = case("RFC 9421 B.2.5");
    let mut headers = HeaderMap::new();
    headers.insert("date", "Tue, 20 Apr 2021 02:07:55 GMT".parse().expect("a value"));
    headers.insert("content-type", "application/json".parse().expect("a value"));
    let view = RequestView {
        method: "POST",
        authority: "example.com",
        path: "/foo",
        query: Some("param=Value&Pet=dog"),
        headers: &headers,
    };
    let components = ["date", "@authority", "content-type"].map(Component::own);
    let parameters: Parameters = vec![
        ("created".into(), BareItem::Integer(1_618_884_473.into())),
        (
            "keyid".into(),
            BareItem::String(sfv::string_ref("test-shared-secret").to_owned()),
        ),
    ];
    let base = signature_base(&Subject::Request(view), &components, &parameters).expect("a base");
    check_base(&case, &base);
}

/// The same from the field that section B.2.5 sends, through our parser.
#[test]
fn rfc_9421_b_2_5_as_received() {
    let case = case("RFC 9421 B.2.5");
    let base = text(&case, "base");
    let params = base.rsplit_once("\"@signature-params\": ").expect("the last line").1;
    let members = parse_dictionary(&format!("sig-b25={params}")).expect("a dictionary");
    let Some((_, Member::InnerList(items, parameters))) = members.first() else {
        panic!("an inner list");
    };
    let components: Vec<_> = items
        .iter()
        .map(|item| Component::from_item(item).expect("a component"))
        .collect();
    let rebuilt = crate::signature::base::signature_params(&components, parameters).expect("parameters");
    assert_eq!(rebuilt, params);
}

#[test]
fn request_base_and_mac() {
    let case = case("baton-request-v1");
    let headers = headers(&case);
    let found = profile::find(&headers, REQUEST_TAG).expect("a signature");
    let subject = Subject::Request(request(&case, &headers));
    let base = signature_base(&subject, &found.components, &found.received).expect("a base");
    check_base(&case, &base);
    assert_eq!(STANDARD.encode(&found.mac), text(&case, "signature"));
}

#[test]
fn request_verifies() {
    let case = case("baton-request-v1");
    let headers = headers(&case);
    let origins = Origins::parse("https://gw.example.com").expect("origins");
    let policy = Policy {
        keyring: &keyring(),
        origins: &origins,
        purpose: Purpose::Invoke,
        idempotency: true,
        preconditions: false,
        webhook: None,
        now_s: case["now"].as_u64().expect("a time"),
    };
    let verified = verify(&request(&case, &headers), text(&case, "body").as_bytes(), &policy).expect("verified");
    assert_eq!(verified.key_id(), "orch-acme-2026-11");
    assert_eq!(verified.orchestrator(), "acme");
    assert_eq!(verified.idempotency_key(), Some("run_01/s1"));
    assert_eq!(verified.nonce().map(|(nonce, _)| nonce), Some(NONCE));
    assert_eq!(verified.authorise("summarizer"), Ok(()));
}

#[test]
fn response_base_and_mac() {
    let (request_case, case) = (case("baton-request-v1"), case("baton-response-v1"));
    let (request_headers, headers) = (headers(&request_case), headers(&case));
    let found = profile::find(&headers, RESPONSE_TAG).expect("a signature");
    let subject = Subject::Response {
        status: 200,
        headers: &headers,
        request: request(&request_case, &request_headers),
    };
    let base = signature_base(&subject, &found.components, &found.received).expect("a base");
    check_base(&case, &base);
}

#[test]
fn response_verifies() {
    let (request_case, case) = (case("baton-request-v1"), case("baton-response-v1"));
    let (request_headers, headers) = (headers(&request_case), headers(&case));
    let binding = Binding::of(&request(&request_case, &request_headers));
    let mut response = http::Response::new(text(&case, "body").as_bytes().to_vec());
    *response.headers_mut() = headers;
    assert_eq!(
        verify_response(&response, &binding, NONCE, &key(), 1_764_000_010),
        Ok(())
    );
}

#[test]
fn standard_webhooks() {
    let vector = &vectors()["standard_webhooks"];
    let encoded = text(vector, "secret").strip_prefix("whsec_").expect("the prefix");
    let secret = STANDARD.decode(encoded).expect("base64");
    let (id, body) = (text(vector, "id"), text(vector, "body").as_bytes());
    let timestamp_s = vector["timestamp"].as_u64().expect("a time");
    assert_eq!(webhook::sign(&secret, id, timestamp_s, body), text(vector, "signature"));

    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", id.parse().expect("a value"));
    headers.insert("webhook-timestamp", timestamp_s.into());
    headers.insert("webhook-signature", text(vector, "signature").parse().expect("a value"));
    let delivery = webhook::find(&headers).expect("a delivery");
    assert!(delivery.verify(&secret, body));
    assert!(!delivery.verify(&secret, b"{}"));
}
