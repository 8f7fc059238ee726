//! The history, and the outbox as an operator sees it.

use http::header::{ACCEPT, LINK};

use super::*;
use crate::run::outbox::Health;
use crate::run::outbox_report::{DeadEvent, Lag};
use crate::telemetry::event::{Event, Route, Subject, What};
use crate::telemetry::history::{BucketCount, Count, rows_of};
use crate::telemetry::otlp::Verdict;

fn bench() -> Bench {
    let bench = Bench::new();
    bench.signer.set("operator");
    bench
}

fn event(run: &str) -> Event {
    Event {
        id: format!("evt_{run}"),
        at_ms: 7,
        orchestrator: "o".into(),
        run: run.into(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        parent_span: None,
        what: What::ExecutionBegan {
            subject: Subject {
                ordinal: 1,
                step: "s".into(),
                attempt: 1,
                agent: "triage".into(),
                agent_version: "1.0.0".into(),
                parent: None,
                route: Route::Orchestrated,
                background: false,
            },
            execution: 1,
            claimed_until_ms: 9,
        },
    }
}

fn fits(schema: &str, value: &Value) {
    let compiled = crate::wire::compiled(schema).expect("the schema");
    assert_eq!(compiled.get().expect("compiles").violations(value, 9), [], "{value}");
}

fn dead(run: &str) -> DeadEvent {
    DeadEvent {
        letter: format!("evt_{run}.otlp"),
        destination: "otlp".into(),
        event: event(run),
        reason: "status 400".into(),
        dead_at_ms: 8,
    }
}

#[test]
fn metrics_fit_their_schema_and_are_of_agents_that_there_are() {
    let bench = bench();
    let (status, metrics, _) = bench.call(&Call::new("GET", "/agents/triage/metrics?window=1h"));
    assert_eq!(
        (status, &metrics["count"], &metrics["success_rate"]),
        (200, &json!(0), &Value::Null)
    );
    fits("agent-metrics", &metrics);
    bench.platform.history.borrow_mut().count = Count {
        count: 4,
        completed: 3,
        failed: 1,
        p50_ms: Some(5),
        ..Count::default()
    };
    let (_, metrics, _) = bench.call(&Call::new("GET", "/agents/triage/metrics"));
    assert_eq!(
        (&metrics["success_rate"], &metrics["duration_ms"]["p50"]),
        (&json!(0.75), &json!(5))
    );
    let window = &metrics["window"];
    assert_eq!(
        window["to_ms"].as_u64().unwrap() - window["from_ms"].as_u64().unwrap(),
        WINDOW_DEFAULT_MS
    );
    fits("agent-metrics", &metrics);
    assert_eq!(metrics.get("buckets"), None, "nobody asked for them");
    let (status, _, record) = bench.call(&Call::new("GET", "/agents/nobody/metrics"));
    assert_eq!((status, record.problem), (404, Some("agent-unknown")));
}

#[test]
fn metrics_are_told_by_time_where_that_is_asked_for() {
    let bench = bench();
    bench.platform.history.borrow_mut().buckets = vec![BucketCount {
        bucket: 2,
        completed: 3,
        failed: 1,
        p50_ms: Some(5),
        p95_ms: Some(9),
        p99_ms: Some(9),
        ..BucketCount::default()
    }];
    let (status, metrics, _) = bench.call(&Call::new("GET", "/agents/triage/metrics?window=1h&buckets=4"));
    assert_eq!(status, 200);
    fits("agent-metrics", &metrics);
    let buckets = metrics["buckets"].as_array().expect("buckets");
    assert_eq!(buckets.len(), 4);
    assert_eq!(buckets[0]["from_ms"], metrics["window"]["from_ms"]);
    assert_eq!(
        (
            &buckets[2]["count"],
            &buckets[2]["outcomes"]["failed"],
            &buckets[2]["duration_ms"]["p95"]
        ),
        (&json!(4), &json!(1), &json!(9))
    );
    assert_eq!(
        (&buckets[3]["count"], &buckets[3]["duration_ms"]["p50"]),
        (&json!(0), &Value::Null)
    );
    let (_, metrics, _) = bench.call(&Call::new("GET", "/agents/triage/metrics?buckets=96"));
    assert_eq!(metrics["buckets"].as_array().map(Vec::len), Some(96));
    fits("agent-metrics", &metrics);
    let (status, problem, record) = bench.call(&Call::new("GET", "/agents/triage/metrics?buckets=97"));
    assert_eq!((status, record.problem), (400, Some("path-invalid")));
    assert!(
        problem["detail"].as_str().expect("text").contains("from 1 to 96"),
        "{problem}"
    );
}

#[test]
fn executions_are_told_page_by_page_in_three_forms() {
    let bench = bench();
    let rows = rows_of([&event("a"), &event("b")]).executions;
    bench.platform.history.borrow_mut().executions = rows.clone();
    let (status, page, _) = bench.call(&Call::new("GET", "/executions?run=a%2Fb&limit=1&cursor=9-exe_x"));
    assert_eq!((status, page["executions"].as_array().map(Vec::len)), (200, Some(1)));
    assert_eq!(page["next"], format!("7-{}", rows[0].id));
    fits("executions", &page);
    let (filter, before) = bench.platform.history.borrow_mut().asked.pop().expect("a question");
    assert_eq!(
        (filter.run.as_deref(), before),
        (Some("a/b"), Some((9, "exe_x".to_owned())))
    );
    for (accept, content_type, begins) in [
        ("text/csv", "text/csv; charset=utf-8", "id,orchestrator,run"),
        ("application/jsonl", "application/jsonl", "{\"id\":\"exe_"),
    ] {
        let (response, _) = bench.send(&Call::new("GET", "/executions?limit=1").with(ACCEPT, accept));
        assert_eq!(response.headers()["content-type"], content_type);
        let next = format!("</executions?limit=1&cursor=7-{}>; rel=\"next\"", rows[0].id);
        assert_eq!(response.headers()[LINK], next);
        let body = response.body();
        assert!(body.starts_with(begins.as_bytes()), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn the_outbox_is_listed_and_its_dead_letters_are_sent_again() {
    let bench = bench();
    {
        let mut history = bench.platform.history.borrow_mut();
        history.dead = vec![dead("a"), dead("b")];
        history.lags = vec![Lag {
            destination: "otlp".into(),
            orchestrator: "o".into(),
            run: "r".into(),
            health: Health::Paused,
            waiting: 3,
            oldest_at_ms: 1,
            last_error: Some("status 401".into()),
            dropped: 0,
        }];
        history.verdicts = vec![Verdict::Refused {
            reason: "status 400".into(),
            divisible: true,
        }];
    }
    let (status, outbox, _) = bench.call(&Call::new("GET", "/operator/outbox?limit=1"));
    assert_eq!((status, &outbox["next"]), (200, &json!("8-evt_a.otlp")));
    fits("outbox", &outbox);
    let resend = |letter: &str| bench.call(&Call::new("POST", &format!("/operator/outbox/{letter}/resend")));
    let (status, resent, _) = resend("evt_a.otlp");
    assert_eq!(
        (status, &resent["status"], &resent["reason"]),
        (200, &json!("dead"), &json!("status 400"))
    );
    fits("outbox-resent", &resent);
    let (_, resent, _) = resend("evt_a.otlp");
    assert_eq!(resent["status"], "delivered");
    fits("outbox-resent", &resent);
    let (status, _, record) = resend("evt_a.otlp");
    assert_eq!((status, record.problem), (404, Some("outbox-letter-unknown")));
    assert_eq!(bench.platform.history.borrow().exported, ["evt_a", "evt_a"]);
}

#[test]
fn all_of_it_is_an_operators() {
    let bench = Bench::new();
    for (method, path) in [
        ("GET", "/executions"),
        ("GET", "/agents/triage/metrics"),
        ("GET", "/operator/outbox"),
        ("POST", "/operator/outbox/evt_a.otlp/resend"),
    ] {
        // Whoever may not ask gets no signed answer.
        let (request, _) = bench.sign(&Call::new(method, path));
        let (response, record) = bench.handle(&request);
        assert_eq!(
            (response.status().as_u16(), record.problem),
            (403, Some("key-not-allowed")),
            "{path}"
        );
    }
}
