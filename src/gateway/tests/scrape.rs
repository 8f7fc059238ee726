//! What a scraper may see, and who is one.

use http::header::AUTHORIZATION;

use super::*;
use crate::access::MetricsToken;
use crate::telemetry::history::{ExecutionTotal, Totals};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn open() -> Bench {
    let mut bench = Bench::new();
    bench.config.metrics_token = MetricsToken::parse(TOKEN).ok();
    bench.platform.history.borrow_mut().totals = Some(Totals {
        executions: vec![ExecutionTotal {
            agent: "triage".into(),
            route: "local".into(),
            outcome: "completed".into(),
            le_ms: 10,
            count: 2,
            duration_ms: 9,
            input_tokens: 0,
            output_tokens: 0,
        }],
        ..Totals::default()
    });
    bench
}

/// Status, media type and text of what is answered to these `Authorization` fields.
fn scrape(bench: &Bench, authorization: &[&str]) -> (u16, String, String) {
    let mut request = http::Request::get(format!("{ORIGIN}/metrics"));
    for field in authorization {
        request = request.header(AUTHORIZATION, *field);
    }
    let (response, _) = bench.handle(&request.body(Vec::new()).expect("a request"));
    let media_type = response.headers()[CONTENT_TYPE].to_str().expect("text").to_owned();
    let text = String::from_utf8(response.body().clone()).expect("text");
    (response.status().as_u16(), media_type, text)
}

#[test]
fn whoever_has_the_token_sees_the_totals() {
    let (status, media_type, text) = scrape(&open(), &[&format!("Bearer {TOKEN}")]);
    assert_eq!(
        (status, media_type.as_str()),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    let line = r#"baton_executions_total{agent="triage",route="local",outcome="completed"} 2"#;
    assert!(text.lines().any(|found| found == line), "{text}");
}

#[test]
fn a_gateway_without_orchestrators_tells_of_its_receiver() {
    let mut bench = open();
    let variable = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("https://collector.example.com".to_owned()),
        _ => None,
    };
    bench.config.telemetry = crate::telemetry::settings::Settings::read(variable, false).expect("settings");
    let (_, _, text) = scrape(&bench, &[&format!("Bearer {TOKEN}")]);
    let waiting: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("baton_outbox_waiting_events"))
        .collect();
    assert_eq!(waiting, [r#"baton_outbox_waiting_events{destination="otlp"} 0"#]);
}

#[test]
fn nobody_else_sees_anything() {
    let bench = open();
    let good = format!("Bearer {TOKEN}");
    for fields in [
        &[][..],
        &["Bearer "],
        &["Bearer 0123456789abcdef0123456789abcdee"],
        &[TOKEN],
        &[&good, &good],
    ] {
        let (status, _, text) = scrape(&bench, fields);
        assert_eq!(status, 401, "{fields:?}");
        assert!(
            text.contains("metrics-token-invalid") && !text.contains("triage"),
            "{text}"
        );
    }
}

#[test]
fn without_a_token_it_is_closed_to_everybody() {
    let mut bench = open();
    bench.config.metrics_token = None;
    for fields in [&[][..], &["Bearer "]] {
        let (status, _, text) = scrape(&bench, fields);
        assert_eq!(status, 404);
        assert!(text.contains("BATON_METRICS_TOKEN"), "{text}");
    }
}

/// An answer without them would look as if all counters began anew.
#[test]
fn totals_that_cannot_be_read_are_an_error() {
    let bench = open();
    bench.platform.history.borrow_mut().totals = None;
    let (status, _, text) = scrape(&bench, &[&format!("Bearer {TOKEN}")]);
    assert_eq!(status, 503);
    assert!(text.contains("storage-unavailable"), "{text}");
}
