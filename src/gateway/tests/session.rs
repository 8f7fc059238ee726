//! Operators in a browser: signed in by signature, known by a cookie.

use http::header::{AUTHORIZATION, COOKIE, ORIGIN as ORIGIN_FIELD, SET_COOKIE};

use super::*;
use crate::access::{SESSION_MAX_S, SESSION_S};

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A bench whose calls are an operator's, where they are signed.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.signer.set("operator");
    bench
}

/// The cookie of an answer: name and value.
fn cookie(response: &http::Response<Vec<u8>>) -> Option<String> {
    let field = response.headers().get(SET_COOKIE)?.to_str().expect("text");
    field.split(';').next().map(str::to_owned)
}

/// Signs in, and answers the cookie.
fn signed_in(bench: &Bench) -> String {
    let (response, record) = bench.send(&Call::new("POST", "/session"));
    assert_eq!((response.status().as_u16(), record.problem), (200, None));
    cookie(&response).expect("a cookie")
}

/// A call of the gateway's own page.
fn of_page(method: &'static str, path: &str, cookie: &str) -> http::Request<Vec<u8>> {
    let request = http::Request::builder().method(method).uri(format!("{ORIGIN}{path}"));
    let request = request.header(COOKIE, cookie).header(SITE, "same-origin");
    request.body(Vec::new()).expect("a request")
}

fn body(response: &http::Response<Vec<u8>>) -> Value {
    serde_json::from_slice(response.body()).expect("JSON")
}

fn check(bench: &Bench, request: &http::Request<Vec<u8>>, status: u16, code: Option<&'static str>) {
    let (response, record) = bench.handle(request);
    assert_eq!(
        (response.status().as_u16(), record.problem),
        (status, code),
        "{request:?}"
    );
    assert!(!response.headers().contains_key("signature"), "nobody signed");
}

fn pass_s(bench: &Bench, seconds: u64) {
    bench.platform.now_ms.set(bench.platform.now_ms() + seconds * 1_000);
}

#[test]
fn a_signature_begins_a_session() {
    let bench = bench();
    let (response, record) = bench.send(&Call::new("POST", "/session"));
    assert_eq!(record.key_id.as_deref(), Some("operator"));
    let field = response.headers()[SET_COOKIE].to_str().expect("text");
    assert!(field.starts_with("__Host-baton-session="), "{field}");
    assert!(
        field.ends_with("; Path=/; Max-Age=900; HttpOnly; SameSite=Strict; Secure"),
        "{field}"
    );
    let described = body(&response);
    assert_eq!(
        described,
        json!({
            "signed_in": true,
            "key_id": "operator",
            "orchestrator": "o",
            "expires_at_ms": (NOW_S + SESSION_S) * 1_000,
            "ends_at_ms": (NOW_S + SESSION_MAX_S) * 1_000,
        })
    );
    let cookie = cookie(&response).expect("a cookie");
    let (response, _) = bench.handle(&of_page("GET", "/session", &cookie));
    assert_eq!(body(&response), described);
    let (response, _) = bench.handle(&of_page("GET", "/session", "a=b"));
    assert_eq!(
        (response.status().as_u16(), body(&response)),
        (200, json!({"signed_in": false}))
    );
}

#[test]
fn only_an_operators_signature_begins_one_and_only_once() {
    let bench = bench();
    let (request, _) = bench.sign(&Call::new("POST", "/session"));
    let (response, _) = bench.handle(&request);
    let cookie = cookie(&response).expect("a cookie");
    let (again, record) = bench.handle(&request);
    assert_eq!(
        (again.status().as_u16(), record.problem),
        (401, Some("signature-replayed"))
    );
    assert!(
        !again.headers().contains_key(SET_COOKIE),
        "whoever captured it gets nothing"
    );
    // A cookie cannot put its own end off.
    check(
        &bench,
        &of_page("POST", "/session", &cookie),
        401,
        Some("signature-missing"),
    );
    bench.signer.set("k");
    let (refused, record) = bench.handle(&bench.sign(&Call::new("POST", "/session")).0);
    assert_eq!(
        (refused.status().as_u16(), record.problem),
        (403, Some("key-not-allowed"))
    );
    assert!(!refused.headers().contains_key(SET_COOKIE));
}

#[test]
fn a_session_does_what_an_operators_signature_does_and_nothing_else() {
    let bench = bench();
    let cookie = signed_in(&bench);
    let (response, record) = bench.handle(&of_page("GET", "/operator/dead-letters", &cookie));
    assert_eq!(
        (response.status().as_u16(), record.key_id.as_deref()),
        (200, Some("operator"))
    );
    assert!(
        !response.headers().contains_key("signature"),
        "there is no request signature to bind one to"
    );
    check(
        &bench,
        &of_page("GET", "/runs/r", &cookie),
        401,
        Some("signature-missing"),
    );
    check(
        &bench,
        &of_page("DELETE", "/runs/r", &cookie),
        401,
        Some("signature-missing"),
    );
    let mut step = of_page("POST", "/agents/triage/steps", &cookie);
    step.headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    check(&bench, &step, 401, Some("signature-missing"));
    let mut query = of_page("POST", "/query", &cookie);
    query
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    check(&bench, &query, 401, Some("api-key-missing"));
}

#[test]
fn a_call_that_changes_something_must_come_from_the_gateways_page() {
    let bench = bench();
    let cookie = signed_in(&bench);
    let path = "/operator/api-keys/0123456789abcdef";
    let with = |method: &'static str, fields: &[(HeaderName, &'static str)]| {
        let mut request = of_page(method, path, &cookie);
        request.headers_mut().remove(SITE);
        for (name, value) in fields {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        request
    };
    let refused = (403, Some("origin-not-allowed"));
    let passed = (404, Some("api-key-unknown"));
    for (fields, (status, code)) in [
        (vec![], refused),
        (vec![(SITE, "cross-site")], refused),
        (vec![(SITE, "same-site")], refused),
        (vec![(SITE, "none")], refused),
        (vec![(SITE, "cross-site"), (ORIGIN_FIELD, ORIGIN)], refused),
        (vec![(ORIGIN_FIELD, "https://evil.example.com")], refused),
        (vec![(ORIGIN_FIELD, "null")], refused),
        (vec![(SITE, "same-origin")], passed),
        (vec![(ORIGIN_FIELD, ORIGIN)], passed),
    ] {
        check(&bench, &with("DELETE", &fields), status, code);
    }
    let mut list = of_page("GET", "/operator/api-keys", &cookie);
    list.headers_mut().remove(SITE);
    check(&bench, &list, 200, None);
}

#[test]
fn a_session_that_is_not_good_is_refused() {
    let bench = bench();
    let cookie = signed_in(&bench);
    let list = |cookie: &str| of_page("GET", "/operator/api-keys", cookie);
    let changed = cookie.replace("operator", "narrow");
    for bad in [
        "__Host-baton-session=",
        "__Host-baton-session=x",
        &changed,
        &format!("{cookie}; {cookie}"),
    ] {
        check(&bench, &list(bad), 401, Some("session-invalid"));
    }
    // Over TLS no cookie of the other name counts.
    let other = cookie.replace("__Host-", "");
    check(&bench, &list(&other), 401, Some("signature-missing"));
    let mut elsewhere = list(&cookie);
    *elsewhere.uri_mut() = "https://evil.example.com/operator/api-keys".parse().expect("a URI");
    check(&bench, &elsewhere, 421, Some("authority-unknown"));
    pass_s(&bench, SESSION_S);
    check(&bench, &list(&cookie), 401, Some("session-invalid"));
}

#[test]
fn a_session_is_void_with_its_key() {
    let mut bench = bench();
    let cookie = signed_in(&bench);
    bench.config.keyring = Keyring::default();
    check(
        &bench,
        &of_page("GET", "/operator/api-keys", &cookie),
        401,
        Some("session-invalid"),
    );
    let (response, _) = bench.handle(&of_page("GET", "/session", &cookie));
    assert_eq!(body(&response)["signed_in"], false);
}

#[test]
fn use_renews_a_session_until_its_end() {
    let bench = bench();
    let mut newest = signed_in(&bench);
    let (response, _) = bench.handle(&of_page("GET", "/operator/api-keys", &newest));
    assert_eq!(cookie(&response), None, "it is new");
    let mut passed_s = 0;
    while passed_s + SESSION_S / 2 + 1 < SESSION_MAX_S - SESSION_S / 2 {
        pass_s(&bench, SESSION_S / 2 + 1);
        passed_s += SESSION_S / 2 + 1;
        let (response, _) = bench.handle(&of_page("GET", "/operator/api-keys", &newest));
        newest = cookie(&response).expect("a new one");
    }
    pass_s(&bench, SESSION_MAX_S - 1 - passed_s);
    let (response, _) = bench.handle(&of_page("GET", "/operator/api-keys", &newest));
    assert_eq!((response.status().as_u16(), cookie(&response)), (200, None));
    pass_s(&bench, 1);
    check(
        &bench,
        &of_page("GET", "/operator/api-keys", &newest),
        401,
        Some("session-invalid"),
    );
}

#[test]
fn signing_out_takes_the_cookie_away() {
    let bench = bench();
    let cookie = signed_in(&bench);
    pass_s(&bench, SESSION_S - 1);
    let (response, _) = bench.handle(&of_page("DELETE", "/session", &cookie));
    assert_eq!(response.status(), 204);
    let field = response.headers()[SET_COOKIE].to_str().expect("text");
    assert!(
        field.starts_with("__Host-baton-session=; Path=/; Max-Age=0;"),
        "{field}"
    );
    let mut elsewhere = of_page("DELETE", "/session", &cookie);
    elsewhere
        .headers_mut()
        .insert(SITE, HeaderValue::from_static("cross-site"));
    check(&bench, &elsewhere, 403, Some("origin-not-allowed"));
}

fn trial(cookie: &str, body: &Value) -> http::Request<Vec<u8>> {
    let mut request = of_page("POST", "/agents/triage/query", cookie);
    request
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *request.body_mut() = body.to_string().into_bytes();
    request
}

#[test]
fn an_operator_tries_an_agent() {
    let bench = bench();
    let cookie = signed_in(&bench);
    let request = trial(&cookie, &json!({"text": "I was charged twice"}));
    let (response, record) = bench.handle(&request);
    assert_eq!(
        (response.status().as_u16(), body(&response)["status"].as_str()),
        (200, Some("completed"))
    );
    assert_eq!(record.key_id.as_deref(), Some("operator/operator"));
    assert_eq!(response.headers()["ratelimit"], "\"address\";r=119;t=1");
    let mut elsewhere = request.clone();
    elsewhere
        .headers_mut()
        .insert(SITE, HeaderValue::from_static("cross-site"));
    check(&bench, &elsewhere, 403, Some("origin-not-allowed"));
    // A key is given on purpose; a cookie comes by itself.
    let mut with_key = request.clone();
    with_key
        .headers_mut()
        .insert(AUTHORIZATION, HeaderValue::from_static("Bearer no-key"));
    check(&bench, &with_key, 401, Some("api-key-invalid"));
}

#[test]
fn an_operator_is_slowed_down_by_address() {
    let bench = bench();
    let cookie = signed_in(&bench);
    let request = trial(&cookie, &json!({"text": "I was charged twice"}));
    for call in 0..120 {
        assert_eq!(bench.handle(&request).0.status(), 200, "{call}");
    }
    check(&bench, &request, 429, Some("rate-limited"));
}

#[test]
fn an_operator_tries_what_its_key_is_for() {
    let mut bench = bench();
    let keys = json!([{
        "id": "operator",
        "orchestrator": "o",
        "purposes": ["operate"],
        "secret": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
        "agents": ["redact"],
    }]);
    bench.config.keyring = Keyring::parse(&keys.to_string()).expect("a key");
    let cookie = signed_in(&bench);
    check(
        &bench,
        &trial(&cookie, &json!({"text": "hi"})),
        403,
        Some("agent-not-allowed"),
    );
}

#[test]
fn an_operator_reads_closed_documents() {
    let mut bench = bench();
    bench.team.gateway.discovery.public = false;
    let cookie = signed_in(&bench);
    let path = "/.well-known/baton.json";
    let (response, _) = bench.handle(&of_page("GET", path, &cookie));
    assert_eq!(
        (response.status().as_u16(), body(&response)["protocol"].as_str()),
        (200, Some("baton/1"))
    );
    assert!(
        !response.headers()["cache-control"]
            .to_str()
            .expect("text")
            .contains("public")
    );
    check(&bench, &of_page("GET", path, "a=b"), 401, Some("signature-missing"));
}

#[test]
fn keys_that_a_session_makes_are_different_ones() {
    let bench = bench();
    let cookie = signed_in(&bench);
    let mut request = of_page("POST", "/operator/api-keys", &cookie);
    request
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *request.body_mut() = json!({"name": "Acme"}).to_string().into_bytes();
    let made = || {
        body(&bench.handle(&request).0)["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    };
    assert_ne!(made(), made());
}

#[test]
fn the_page_is_there_for_everybody() {
    let bench = bench();
    let get = |path: &str| bench.handle(&of_page("GET", path, "")).0;
    let page = get("/");
    assert_eq!(page.status(), 200);
    assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    assert_eq!(get("/page/main.js").status(), 200);
    assert_eq!(get("/page/nothing.js").status(), 404);
    let (head, _) = bench.handle(&of_page("HEAD", "/", ""));
    assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
}
