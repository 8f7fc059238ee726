use serde_json::{Value, json};

use super::super::call::AGAIN_MS;
use super::super::testing::{BEGIN_MS, DEADLINE_AT_MS, FakeOutside, Reply, connections, done};
use super::super::{Failure, Journal, Retry, Stop};
use super::*;
use crate::breaker::SAMPLES_MIN;
use crate::manifest::Team;

const SECRET: &str = "sesame-1234";

fn outside(replies: Vec<Reply>) -> FakeOutside {
    let configured = connections(&[
        ("BATON_HTTP_ORIGINS", r#"{"crm": "https://crm.example.com"}"#),
        ("BATON_SECRETS", &format!(r#"{{"CRM_TOKEN": "{SECRET}"}}"#)),
    ]);
    FakeOutside::new(configured, replies)
}

fn config(changes: Value) -> HttpConfig {
    let mut config = json!({
        "origin": "crm", "method": "GET", "path": "/customers/{{ input.id }}",
        "headers": {"authorization": {"$secret": "CRM_TOKEN", "prefix": "Bearer "}},
    });
    for (field, value) in changes.as_object().unwrap() {
        config[field] = value.clone();
    }
    serde_json::from_value(config).unwrap()
}

fn call(outside: &FakeOutside, config: &HttpConfig, input: &Value) -> Result<Value, Failure> {
    call_as("crm", outside, config, input)
}

fn call_as(agent: &str, outside: &FakeOutside, config: &HttpConfig, input: &Value) -> Result<Value, Failure> {
    let journal = Journal::default();
    let context = outside.context(Team::embedded(), &journal, None);
    done(run(agent, config, input, &context)).map_err(|stop| match stop {
        Stop::Failed(failure) => failure,
        Stop::HandOff(handoff) => panic!("{handoff:?}"),
    })
}

#[test]
fn a_call_is_made_as_declared() {
    let outside = outside(vec![Reply::json(201, &json!({"id": 7, "name": "Ada"}))]);
    let config = config(json!({
        "method": "POST",
        "path": "/v2/customers/{{ input.id }}/notes",
        "query": {"tag": {"$value": "/input/tags"}, "page": {"$value": "/input/page", "$default": null}, "n": 1},
        "body": {"text": "For {{ input.name }}", "id": {"$value": "/input/id"}},
        "output": {"who": {"$value": "/body/name"}, "status": {"$value": "/status"}, "asked": {"$value": "/input/id"}},
    }));
    let input = json!({"id": 5, "name": "\"A\"", "tags": ["a b", "c&d"]});
    assert_eq!(
        call(&outside, &config, &input),
        Ok(json!({"who": "Ada", "status": 201, "asked": 5}))
    );
    let sent = outside.sent.borrow();
    assert_eq!(sent[0].method(), "POST");
    assert_eq!(
        sent[0].uri(),
        "https://crm.example.com/v2/customers/5/notes?tag=a%20b&tag=c%26d&n=1"
    );
    assert_eq!(sent[0].headers()["authorization"], format!("Bearer {SECRET}"));
    assert_eq!(sent[0].headers()["content-type"], "application/json");
    assert_eq!(outside.sent_bodies(), [json!({"text": "For \"A\"", "id": 5})]);
    // Nothing that shows the request shows the secret.
    assert!(!format!("{:?}", sent[0]).contains(SECRET));
}

#[test]
fn input_stays_where_the_manifest_puts_it() {
    let check = |id: Value, expected: Result<&str, &str>| {
        let outside = outside(vec![Reply::json(200, &json!({}))]);
        let called = call(
            &outside,
            &config(json!({"query": {"q": {"$value": "/input/id"}}})),
            &json!({"id": id}),
        );
        match expected {
            Ok(path) => {
                assert!(called.is_ok(), "{id}: {called:?}");
                let sent = outside.sent.borrow();
                assert_eq!(sent[0].uri().authority().unwrap(), "crm.example.com");
                assert_eq!(sent[0].uri().path(), path);
            }
            Err(code) => {
                assert_eq!(called.unwrap_err().code, code, "{id}");
                assert!(outside.sent.borrow().is_empty());
            }
        }
    };
    check(json!("a/../b?c#d"), Ok("/customers/a%2F..%2Fb%3Fc%23d"));
    check(json!("@evil.example.org/"), Ok("/customers/%40evil.example.org%2F"));
    check(
        json!("https://evil.example.org"),
        Ok("/customers/https%3A%2F%2Fevil.example.org"),
    );
    check(json!("%2e%2e"), Ok("/customers/%252e%252e"));
    check(json!("{{ input.id }}"), Ok("/customers/%7B%7B%20input.id%20%7D%7D"));
    check(json!("a\r\nhost: evil"), Ok("/customers/a%0D%0Ahost%3A%20evil"));
    check(json!(".."), Err("input-not-sendable"));
    check(json!("."), Err("input-not-sendable"));
    check(json!(""), Err("input-not-sendable"));
    // It would make the query something else.
    check(json!({"$secret": "CRM_TOKEN"}), Err("input-not-sendable"));
}

#[test]
fn input_names_no_secret() {
    let outside = outside(vec![Reply::json(200, &json!({}))]);
    let config = config(json!({"method": "PUT", "body": {"all": {"$value": "/input"}, "text": "{{ input.id }}"}}));
    let input = json!({"id": "x", "deep": {"$secret": "CRM_TOKEN"}, "t": "{{ secrets.CRM_TOKEN }}"});
    assert!(call(&outside, &config, &input).is_ok());
    assert_eq!(outside.sent_bodies(), [json!({"all": input, "text": "x"})]);
}

#[test]
fn input_begins_no_header_field() {
    let check = |value: &str, sendable: bool| {
        let outside = outside(vec![Reply::json(200, &json!({}))]);
        let config = config(json!({"headers": {"x-name": "to {{ input.name }}"}}));
        let called = call(&outside, &config, &json!({"id": "1", "name": value}));
        assert_eq!(called.is_ok(), sendable, "{value:?}: {called:?}");
        if let Err(failure) = called {
            assert_eq!(failure.code, "input-not-sendable");
            assert!(!failure.message.contains(value), "{}", failure.message);
        }
    };
    check("Ada Lovelace", true);
    for value in ["a\r\nauthorization: x", "a\nb", "a\rb", "a\0b", "a\tb", "\u{e4}"] {
        check(value, false);
    }
}

#[test]
fn nothing_is_sent_where_the_operator_does_not_allow_it() {
    let check = |changes: Value, reason: &str| {
        let outside = outside(Vec::new());
        let failure = call(&outside, &config(changes), &json!({"id": "1"})).unwrap_err();
        assert_eq!(
            (failure.code.as_str(), failure.retry),
            ("call-not-allowed", Retry::Never)
        );
        assert!(failure.message.contains(reason), "{}", failure.message);
    };
    check(json!({"origin": "erp"}), "`erp` is not in BATON_HTTP_ORIGINS");
    check(json!({"origin": "https://10.0.0.1"}), "is private");
    check(json!({"origin": "https://metadata.internal"}), ".internal");
    check(
        json!({"headers": {"x": {"$secret": "OTHER"}}}),
        "`OTHER` is not in BATON_SECRETS",
    );
    check(
        json!({"path": format!("/{}", "x".repeat(crate::outgoing::CALLBACK_URL_MAX_BYTES))}),
        "bytes",
    );
}

#[test]
fn statuses_mean_what_the_manifest_says() {
    let check = |status: u16, expected: Result<Value, (&str, Retry)>| {
        let fields = vec![
            ("retry-after", "3".to_owned()),
            ("location", "https://evil.example.org".to_owned()),
        ];
        let outside = outside(vec![Reply::Answer(status, fields, vec![b"secret words".to_vec()])]);
        let config = config(json!({
            "output": {"found": true},
            "statuses": {
                "404": {"output": {"found": false}},
                "409": {"failure": {"code": "crm-conflict", "message": "Somebody else was faster.", "retry_after_ms": 50}},
                "410": {"failure": {"code": "crm-gone", "message": "The customer left."}},
            }
        }));
        let called = call(&outside, &config, &json!({"id": "1"}));
        if let Err(failure) = &called {
            assert!(!failure.message.contains("words"), "{}", failure.message);
        }
        let called = called.map_err(|failure| (failure.code, failure.retry));
        assert_eq!(
            called,
            expected.map_err(|(code, retry)| (code.to_owned(), retry)),
            "{status}"
        );
        assert_eq!(outside.sent.borrow().len(), 1);
    };
    check(204, Ok(json!({"found": true})));
    check(404, Ok(json!({"found": false})));
    check(409, Err(("crm-conflict", Retry::After { ms: 50 })));
    check(410, Err(("crm-gone", Retry::Never)));
    check(307, Err(("http-redirected", Retry::Never)));
    check(401, Err(("http-refused", Retry::Never)));
    check(429, Err(("http-unavailable", Retry::After { ms: 3_000 })));
    check(503, Err(("http-unavailable", Retry::After { ms: 3_000 })));
}

#[test]
fn an_answer_is_json_or_text_and_bounded() {
    let check = |media_type: &str, body: &[u8], expected: Result<Value, &str>| {
        let fields = vec![("content-type", media_type.to_owned())];
        let outside = outside(vec![Reply::Answer(200, fields, vec![body.to_vec()])]);
        let called = call(&outside, &config(json!({"response_max_bytes": 8})), &json!({"id": "1"}));
        assert_eq!(called.map_err(|failure| failure.code), expected.map_err(str::to_owned));
    };
    check("application/json", b"[1]", Ok(json!([1])));
    check("application/problem+json; charset=utf-8", b"[1]", Ok(json!([1])));
    check("text/plain", b"[1]", Ok(json!("[1]")));
    check("text/plain", b"", Ok(json!(null)));
    check("application/json", b"[1", Err("http-answer-malformed"));
    check("text/plain", b"\xff", Err("http-answer-malformed"));
    check("text/plain", b"12345678", Ok(json!("12345678")));
    check("text/plain", b"123456789", Err("http-answer-too-large"));
}

#[test]
fn what_may_be_repeated_is_tried_again() {
    let busy = |after: &str| Reply::Answer(503, vec![("retry-after", after.to_owned())], Vec::new());
    let good = || Reply::json(200, &json!(1));
    let check = |changes: Value, replies: Vec<Reply>, expected: Result<(), &str>, tries: usize, waited_ms: u64| {
        let outside = outside(replies);
        let called = call(&outside, &config(changes), &json!({"id": "1"}));
        assert_eq!(
            called.map(|_| ()).map_err(|failure| failure.code),
            expected.map_err(str::to_owned)
        );
        assert_eq!(outside.sent.borrow().len(), tries);
        assert_eq!(outside.now_ms.get() - BEGIN_MS, waited_ms);
    };
    check(json!({"retries": 1}), vec![busy("2"), good()], Ok(()), 2, 2_000);
    check(
        json!({"retries": 1}),
        vec![Reply::Fails, good()],
        Ok(()),
        2,
        AGAIN_MS / 2,
    );
    check(
        json!({"retries": 1, "timeout_ms": 700}),
        vec![Reply::Hangs, good()],
        Ok(()),
        2,
        700 + AGAIN_MS / 2,
    );
    check(
        json!({"retries": 2}),
        vec![busy("1"), busy("1"), busy("1")],
        Err("http-unavailable"),
        3,
        2_000,
    );
    check(json!({"retries": 1}), vec![busy("59"), good()], Ok(()), 2, 59_000);
    // Longer than the step has.
    check(json!({"retries": 2}), vec![busy("60")], Err("http-unavailable"), 1, 0);
    check(json!({}), vec![busy("1")], Err("http-unavailable"), 1, 0);
    check(json!({}), vec![Reply::Fails], Err("http-unreachable"), 1, 0);
    check(
        json!({"timeout_ms": 700}),
        vec![Reply::Stalls(vec![b"x".to_vec()])],
        Err("http-timed-out"),
        1,
        700,
    );
    // What the other side refuses is not tried again.
    check(
        json!({"retries": 2}),
        vec![Reply::json(400, &json!({}))],
        Err("http-refused"),
        1,
        0,
    );
}

#[test]
fn no_try_goes_beyond_the_deadline() {
    let outside = outside(vec![Reply::Hangs]);
    outside.now_ms.set(DEADLINE_AT_MS - 300);
    let called = call(&outside, &config(json!({"retries": 5})), &json!({"id": "1"}));
    assert_eq!(called.unwrap_err().code, "http-timed-out");
    assert_eq!(outside.now_ms.get(), DEADLINE_AT_MS);
}

#[test]
fn who_fails_is_left_alone() {
    let failing = (0..SAMPLES_MIN).map(|_| Reply::json(500, &json!({})));
    let outside = outside(failing.chain([Reply::json(200, &json!("fine"))]).collect());
    for _ in 0..SAMPLES_MIN {
        let called = call(&outside, &config(json!({})), &json!({"id": "1"}));
        assert_eq!(called.unwrap_err().code, "http-unavailable");
    }
    let called = call(&outside, &config(json!({"retries": 3})), &json!({"id": "1"}));
    assert_eq!(called.unwrap_err().code, "http-breaker-open");
    assert_eq!(outside.sent.borrow().len(), SAMPLES_MIN);
    // Each agent has a breaker of its own, also on the same origin: another method of it may be well.
    let called = call_as("crm-note", &outside, &config(json!({})), &json!({"id": "1"}));
    assert_eq!(called, Ok(json!("fine")));
    assert_eq!(outside.sent.borrow().len(), SAMPLES_MIN + 1);
}

#[test]
fn each_request_is_told_with_its_host_and_status_and_nothing_else() {
    let operations = |replies| {
        let (outside, journal) = (outside(replies), Journal::default());
        let context = outside.context(Team::embedded(), &journal, None);
        let input = json!({"id": "customer-7"});
        let _ = done(run("crm", &config(json!({"retries": 1})), &input, &context));
        let told = journal.take_operations();
        let shown = serde_json::to_string(&told).unwrap();
        assert!(!shown.contains(SECRET) && !shown.contains("customer-7"), "{shown}");
        told
    };
    let told = operations(vec![
        Reply::json(503, &json!({})),
        Reply::json(200, &json!({"name": "Ada"})),
    ]);
    let upshots: Vec<_> = told
        .iter()
        .map(|told| (told.upshot.status, told.upshot.error.as_deref()))
        .collect();
    assert_eq!(upshots, [(Some(503), Some("503")), (Some(200), None)]);
    let expected = Doing::Request {
        method: "GET".into(),
        host: "crm.example.com".into(),
    };
    assert!(told.iter().all(|told| told.what == expected));
    let told = operations(vec![Reply::Fails, Reply::Fails]);
    assert_eq!(told[1].upshot, Upshot::failed("http-unreachable"));
}
