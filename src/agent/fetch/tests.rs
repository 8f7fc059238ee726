use serde_json::json;

use super::super::testing::{BEGIN_MS, FakeOutside, Reply, connections, done};
use super::super::{Journal, Retry};
use super::*;
use crate::breaker::SAMPLES_MIN;
use crate::manifest::Team;

const SECRET: &str = "sesame-1234";

fn outside(replies: Vec<Reply>) -> FakeOutside {
    let secrets = format!(r#"{{"CRM_TOKEN": "{SECRET}"}}"#);
    let configured = connections(&[
        ("BATON_HTTP_ORIGINS", r#"{"crm": "https://crm.example.com"}"#),
        ("BATON_SECRETS", &secrets),
    ]);
    FakeOutside::new(configured, replies)
}

fn get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path).body(Vec::new()).unwrap()
}

/// What comes of a request, and what is told of it.
fn fetch(
    outside: &FakeOutside,
    origin: &str,
    request: http::Request<Vec<u8>>,
) -> (Result<http::Response<Vec<u8>>, Failure>, Vec<Upshot>) {
    let journal = Journal::default();
    let context = outside.context(Team::embedded(), &journal, None);
    let result = done(context.fetch(origin, request));
    let told = journal.take_operations();
    (result, told.into_iter().map(|told| told.upshot).collect())
}

#[test]
fn a_request_goes_to_the_origin_of_that_name() {
    let outside = outside(vec![Reply::json(404, &json!({"error": "none"}))]);
    let request = http::Request::put("/customers/5?expand=plan")
        .header("authorization", "Bearer x")
        .body(b"{}".to_vec())
        .unwrap();
    let (response, told) = fetch(&outside, "crm", request);
    let response = response.unwrap();
    assert_eq!(response.status(), 404, "whatever the status, it is an answer");
    assert_eq!(response.body(), br#"{"error":"none"}"#);
    assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
    let sent = &outside.sent.borrow()[0];
    assert_eq!(sent.uri(), "https://crm.example.com/customers/5?expand=plan");
    assert_eq!((sent.method().as_str(), sent.body().as_slice()), ("PUT", &b"{}"[..]));
    assert_eq!(sent.headers()["authorization"], "Bearer x");
    assert_eq!((told[0].status, told[0].error.as_deref()), (Some(404), Some("404")));
}

#[test]
fn nothing_is_sent_where_the_operator_does_not_allow_it() {
    let outside = outside(Vec::new());
    for (origin, path) in [
        ("other", "/"),
        ("https://127.0.0.1", "/"),
        ("https://169.254.169.254", "/latest/meta-data"),
        ("crm", "https://evil.example.com/"),
        ("crm", "/a/../b"),
        ("crm", "/a/%2E%2e"),
        ("crm", "*"),
    ] {
        let (result, _) = fetch(&outside, origin, get(path));
        assert_eq!(result.expect_err(path).code, "call-not-allowed", "{origin} {path}");
    }
    assert!(outside.sent.borrow().is_empty());
}

#[test]
fn what_may_be_over_later_says_so_and_nothing_is_sent_twice() {
    for (reply, code) in [(Reply::Fails, "http-unreachable"), (Reply::Hangs, "http-timed-out")] {
        let outside = outside(vec![reply]);
        let (result, told) = fetch(&outside, "crm", get("/"));
        let failure = result.expect_err(code);
        assert_eq!(failure.code, code);
        assert!(matches!(failure.retry, Retry::After { .. }));
        assert_eq!(told, [Upshot::failed(code)]);
        assert_eq!(outside.sent.borrow().len(), 1);
        assert!(outside.now_ms.get() <= BEGIN_MS + FETCH_MAX_MS);
    }
}

#[test]
fn who_fails_is_left_alone() {
    let replies = (0..SAMPLES_MIN).map(|_| Reply::json(500, &json!({}))).collect();
    let outside = outside(replies);
    for _ in 0..SAMPLES_MIN {
        assert_eq!(fetch(&outside, "crm", get("/")).0.unwrap().status(), 500);
    }
    assert_eq!(
        fetch(&outside, "crm", get("/")).0.unwrap_err().code,
        "http-breaker-open"
    );
}

#[test]
fn an_answer_has_so_many_bytes_at_most() {
    for (bytes, expected) in [
        (FETCH_MAX_BYTES, None),
        (FETCH_MAX_BYTES + 1, Some("http-answer-too-large")),
    ] {
        let outside = outside(vec![Reply::Answer(200, Vec::new(), vec![vec![b'x'; bytes]])]);
        let code = fetch(&outside, "crm", get("/")).0.err().map(|failure| failure.code);
        assert_eq!(code.as_deref(), expected);
    }
}

#[test]
fn a_secret_is_there_for_requests_and_shows_nothing() {
    let (outside, journal) = (outside(Vec::new()), Journal::default());
    let context = outside.context(Team::embedded(), &journal, None);
    let secret = context.secret("CRM_TOKEN").unwrap();
    assert_eq!(secret.text(), SECRET);
    assert!(!format!("{secret:?}").contains(SECRET));
    assert_eq!(context.secret("OTHER").unwrap_err().code, "call-not-allowed");
}
