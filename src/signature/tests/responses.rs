//! Answers, tampered with between the gateway and its caller.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{BODY, KEY, NOW_S, OTHER_KEY, base_text, keyring, signature_params};
use crate::signature::digest::content_digest;
use crate::signature::profile::{SKEW_MAX_S, WINDOW_MAX_S};
use crate::signature::{
    IDEMPOTENCY_REPLAYED, Keyring, Origins, Policy, Purpose, Rejection, RequestView, Sent, Stamp, Verified, mac,
    sign_request, sign_response, verify,
};

type Request = http::Request<Vec<u8>>;
type Response = http::Response<Vec<u8>>;

const NONCE: &str = "nonce-of-a-request";

fn request() -> Request {
    http::Request::post("https://gw.example.com/agents/summarizer/steps?a=b")
        .header("content-type", "application/json")
        .header("idempotency-key", "\"run_01/s1\"")
        .body(BODY.to_vec())
        .expect("a request")
}

fn send(request: &mut Request, key: &str, nonce: &str) -> Sent {
    let keyring = keyring();
    let stamp = Stamp {
        created_s: NOW_S,
        nonce: nonce.into(),
    };
    sign_request(request, keyring.get(key).expect("the record"), stamp).expect("signed")
}

fn receive(request: &Request, keyring: &Keyring) -> Result<Verified, Rejection> {
    let origins = Origins::parse("https://gw.example.com").expect("origins");
    let policy = Policy {
        keyring,
        origins: &origins,
        purpose: Purpose::Invoke,
        idempotency: false,
        preconditions: false,
        webhook: None,
        now_s: NOW_S,
    };
    verify(&RequestView::of(request).expect("a view"), request.body(), &policy)
}

fn response() -> Response {
    http::Response::builder()
        .header("content-type", "application/json")
        .body(br#"{"status":"completed"}"#.to_vec())
        .expect("a response")
}

/// A response to [`request`], signed, and what its sender kept.
fn answered() -> (Sent, Response) {
    answered_with(response())
}

fn answered_with(mut response: Response) -> (Sent, Response) {
    let mut request = request();
    let sent = send(&mut request, "first", NONCE);
    let verified = receive(&request, &keyring()).expect("verified");
    sign_response(&mut response, &verified, NOW_S);
    (sent, response)
}

fn check(change: impl FnOnce(&mut Response), expected: Result<(), Rejection>) {
    let (sent, mut response) = answered();
    change(&mut response);
    assert_eq!(sent.verify(&response, NOW_S), expected, "{response:?}");
}

fn set(response: &mut Response, name: &'static str, value: &str) {
    response.headers_mut().insert(name, value.parse().expect("a value"));
}

#[test]
fn as_sent() {
    check(|_| {}, Ok(()));
    check(|response| set(response, "x-hop", "1"), Ok(()));
}

#[test]
fn status_changed() {
    check(
        |response| *response.status_mut() = http::StatusCode::ACCEPTED,
        Err(Rejection::Invalid),
    );
}

#[test]
fn body_changed() {
    check(
        |response| *response.body_mut() = br#"{"status":"failed"}"#.to_vec(),
        Err(Rejection::Digest),
    );
    check(|response| response.body_mut().clear(), Err(Rejection::Digest));
}

#[test]
fn body_and_digest_changed() {
    check(
        |response| {
            *response.body_mut() = b"{}".to_vec();
            set(response, "content-digest", &content_digest(b"{}"));
        },
        Err(Rejection::Invalid),
    );
}

#[test]
fn content_type_changed() {
    check(
        |response| set(response, "content-type", "text/html"),
        Err(Rejection::Invalid),
    );
}

#[test]
fn header_lines_doubled() {
    for name in ["content-type", "content-digest", "signature", "signature-input"] {
        check(
            |response| {
                let value = response.headers()[name].clone();
                response.headers_mut().append(name, value);
            },
            Err(Rejection::DuplicateHeader),
        );
    }
}

#[test]
fn signature_taken_away() {
    for name in ["signature", "signature-input"] {
        check(
            |response| {
                response.headers_mut().remove(name);
            },
            Err(Rejection::Missing),
        );
    }
}

#[test]
fn covered_header_taken_away() {
    for name in ["content-type", "content-digest"] {
        check(
            |response| {
                response.headers_mut().remove(name);
            },
            Err(Rejection::Coverage),
        );
    }
}

#[test]
fn marked_as_stored() {
    let mut stored = response();
    set(&mut stored, IDEMPOTENCY_REPLAYED, "true");
    let (sent, mut stored) = answered_with(stored);
    assert_eq!(sent.verify(&stored, NOW_S), Ok(()));
    set(&mut stored, IDEMPOTENCY_REPLAYED, "false");
    assert_eq!(sent.verify(&stored, NOW_S), Err(Rejection::Invalid));
    stored.headers_mut().remove(IDEMPOTENCY_REPLAYED);
    assert_eq!(sent.verify(&stored, NOW_S), Err(Rejection::Coverage));
}

#[test]
fn entity_tag_and_location() {
    for (name, one, other) in [
        ("etag", "\"1-a\"", "\"2-b\""),
        ("location", "/runs/r/steps/s", "/runs/r/steps/t"),
    ] {
        let mut response = response();
        set(&mut response, name, one);
        let (sent, response) = answered_with(response);
        let check = |change: &dyn Fn(&mut Response), expected| {
            let mut response = response.clone();
            change(&mut response);
            assert_eq!(sent.verify(&response, NOW_S), expected, "{name}");
        };
        check(&|_| {}, Ok(()));
        check(&|response| set(response, name, other), Err(Rejection::Invalid));
        check(
            &|response| {
                response.headers_mut().remove(name);
            },
            Err(Rejection::Coverage),
        );
        check(
            &|response| {
                response.headers_mut().append(name, other.parse().expect("a value"));
            },
            Err(Rejection::DuplicateHeader),
        );
    }
}

#[test]
fn field_added() {
    for name in [IDEMPOTENCY_REPLAYED, "etag", "location"] {
        check(|response| set(response, name, "\"true\""), Err(Rejection::Coverage));
    }
}

/// What a sender signs, a gateway takes that demands it; and nothing of it can be changed on the way.
#[test]
fn a_sender_covers_what_decides_about_the_call() {
    for (name, one, other) in [
        ("if-match", "\"1-a\"", "*"),
        ("if-none-match", "*", "\"1-a\""),
        ("baton-generation", "7", "8"),
        ("baton-depth", "2", "1"),
    ] {
        let mut request = request();
        let value = |text: &str| -> http::HeaderValue { text.parse().expect("a value") };
        request.headers_mut().insert(name, value(one));
        send(&mut request, "first", NONCE);
        assert_eq!(receive(&request, &keyring()).map(|_| ()), Ok(()), "{name}");
        request.headers_mut().insert(name, value(other));
        assert_eq!(
            receive(&request, &keyring()).map(|_| ()),
            Err(Rejection::Invalid),
            "{name}"
        );
        request.headers_mut().remove(name);
        assert_eq!(
            receive(&request, &keyring()).map(|_| ()),
            Err(Rejection::Coverage),
            "{name}"
        );
    }
}

#[test]
fn answer_to_another_request() {
    let check = |change: &dyn Fn(&mut Request)| {
        let mut other = request();
        change(&mut other);
        // The same nonce: nothing but the request itself tells the two apart.
        let sent = send(&mut other, "first", NONCE);
        let (_, response) = answered();
        assert_eq!(sent.verify(&response, NOW_S), Err(Rejection::Invalid), "{other:?}");
    };
    let uri = |text: &'static str| move |request: &mut Request| *request.uri_mut() = text.parse().expect("a URI");
    check(&|request| *request.method_mut() = http::Method::PUT);
    check(&uri("https://other.example.com/agents/summarizer/steps?a=b"));
    check(&uri("https://gw.example.com/agents/triage/steps?a=b"));
    check(&uri("https://gw.example.com/agents/summarizer/steps?a=c"));
    check(&uri("https://gw.example.com/agents/summarizer/steps"));
    check(&|request| *request.body_mut() = b"{}".to_vec());
    check(&|request| {
        let key = "\"run_01/s2\"".parse().expect("a value");
        request.headers_mut().insert("idempotency-key", key);
    });
}

#[test]
fn answer_to_a_request_without_body_or_key() {
    let mut other = request();
    other.headers_mut().remove("idempotency-key");
    other.body_mut().clear();
    let sent = send(&mut other, "first", NONCE);
    let (_, response) = answered();
    // The response covers what this request does not have.
    assert_eq!(sent.verify(&response, NOW_S), Err(Rejection::Coverage));
}

#[test]
fn answer_under_another_nonce() {
    let mut other = request();
    let sent = send(&mut other, "first", "nonce-of-another-request");
    let (_, response) = answered();
    assert_eq!(sent.verify(&response, NOW_S), Err(Rejection::Invalid));
}

#[test]
fn answer_under_another_key() {
    // `first-second` has the same secret, `second` has another.
    for key in ["first-second", "second"] {
        let sent = send(&mut request(), key, NONCE);
        let (_, response) = answered();
        assert_eq!(sent.verify(&response, NOW_S), Err(Rejection::Invalid), "{key}");
    }
}

#[test]
fn answer_by_one_who_does_not_hold_the_key() {
    let (_, mut response) = answered();
    let mut request = request();
    let sent = send(&mut request, "first", NONCE);
    let impostor = Keyring::parse(&format!(
        r#"[{{"id":"first","orchestrator":"acme","purposes":["invoke"],"secret":"{}"}}]"#,
        STANDARD.encode(OTHER_KEY)
    ))
    .expect("a keyring");
    assert_eq!(receive(&request, &impostor).map(|_| ()), Err(Rejection::Invalid));
    let mut verified = receive(&request, &keyring()).expect("verified");
    verified.secret = impostor.get("first").expect("the record").secret.clone();
    sign_response(&mut response, &verified, NOW_S);
    assert_eq!(sent.verify(&response, NOW_S), Err(Rejection::Invalid));
}

#[test]
fn age_at_the_edge() {
    let (sent, response) = answered();
    let check = |now_s, expected| assert_eq!(sent.verify(&response, now_s), expected, "{now_s}");
    check(NOW_S - SKEW_MAX_S, Ok(()));
    check(NOW_S - SKEW_MAX_S - 1, Err(Rejection::NotYetValid));
    check(NOW_S + WINDOW_MAX_S + SKEW_MAX_S, Ok(()));
    check(NOW_S + WINDOW_MAX_S + SKEW_MAX_S + 1, Err(Rejection::Expired));
    check(u64::MAX, Err(Rejection::Expired));
}

#[test]
fn a_request_presented_as_its_own_response() {
    let mut request = request();
    let sent = send(&mut request, "first", NONCE);
    let mut echo = http::Response::new(request.body().clone());
    *echo.headers_mut() = request.headers().clone();
    assert_eq!(sent.verify(&echo, NOW_S), Err(Rejection::Tag));
}

const COMPONENTS: [&str; 9] = [
    "\"@status\"",
    "\"content-type\"",
    "\"content-digest\"",
    "\"@method\";req",
    "\"@authority\";req",
    "\"@path\";req",
    "\"@query\";req",
    "\"content-digest\";req",
    "\"idempotency-key\";req",
];

/// Checks a response that somebody signs who holds the key and keeps to the profile as he likes.
fn check_signed(components: &[&str], parameters: &[(&str, &str)], expected: Result<(), Rejection>) {
    let mut request = request();
    let sent = send(&mut request, "first", NONCE);
    let mut response = response();
    let digest = content_digest(response.body());
    set(&mut response, "content-digest", &digest);
    let components: Vec<_> = components.iter().map(|&text| text.to_owned()).collect();
    let parameters: Vec<_> = parameters
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let params = signature_params(&components, &parameters);
    let base = base_text(&components, &params, |identifier| match identifier {
        "\"@status\"" => "200".into(),
        "\"content-type\"" => "application/json".into(),
        "\"content-digest\"" => digest.clone(),
        "\"@method\";req" => "POST".into(),
        "\"@authority\";req" => "gw.example.com".into(),
        "\"@path\";req" => "/agents/summarizer/steps".into(),
        "\"@query\";req" => "?a=b".into(),
        "\"content-digest\";req" => content_digest(BODY),
        "\"idempotency-key\";req" => "\"run_01/s1\"".into(),
        _ => String::new(),
    });
    let mac = STANDARD.encode(mac::sign(&KEY, base.as_bytes()));
    set(&mut response, "signature-input", &format!("any={params}"));
    set(&mut response, "signature", &format!("any=:{mac}:"));
    assert_eq!(sent.verify(&response, NOW_S), expected, "{params}");
}

const PARAMETERS: [(&str, &str); 5] = [
    ("created", "1764000010"),
    ("nonce", "\"nonce-of-a-request\""),
    ("alg", "\"hmac-sha256\""),
    ("keyid", "\"first\""),
    ("tag", "\"baton-response-v1\""),
];

#[test]
fn fewer_components_covered() {
    check_signed(&COMPONENTS, &PARAMETERS, Ok(()));
    for left_out in COMPONENTS {
        let rest: Vec<_> = COMPONENTS.into_iter().filter(|name| *name != left_out).collect();
        check_signed(&rest, &PARAMETERS, Err(Rejection::Coverage));
    }
}

#[test]
fn other_components_covered() {
    for more in [
        "\"@status\"",
        "\"@method\"",
        "\"@status\";req",
        "\"@signature-params\"",
        "\"x-team\"",
    ] {
        let components: Vec<_> = COMPONENTS.into_iter().chain([more]).collect();
        check_signed(&components, &PARAMETERS, Err(Rejection::Coverage));
    }
}

#[test]
fn parameters_missing_or_unknown() {
    for (left_out, rejection) in [
        ("created", Rejection::Parameters),
        ("nonce", Rejection::Parameters),
        ("alg", Rejection::Algorithm),
        ("keyid", Rejection::Parameters),
        ("tag", Rejection::Tag),
    ] {
        let rest: Vec<_> = PARAMETERS.into_iter().filter(|(name, _)| *name != left_out).collect();
        check_signed(&COMPONENTS, &rest, Err(rejection));
    }
    for unknown in ["expires", "context"] {
        let more: Vec<_> = PARAMETERS.into_iter().chain([(unknown, "1764000100")]).collect();
        check_signed(&COMPONENTS, &more, Err(Rejection::Parameters));
    }
}
