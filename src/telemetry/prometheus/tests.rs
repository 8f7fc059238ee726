//! What a scrape tells of totals and links.

use super::*;
use crate::breaker::Circuit;
use crate::link::{Link, view};
use crate::telemetry::history::LONGER_MS;

fn total(outcome: &str, le_ms: u64, count: u64) -> ExecutionTotal {
    ExecutionTotal {
        agent: "triage".into(),
        route: "local".into(),
        outcome: outcome.into(),
        le_ms,
        count,
        duration_ms: 1_500,
        input_tokens: 3,
        output_tokens: 0,
    }
}

fn text(totals: &Totals) -> String {
    let report = LinkReport {
        link: view(&Link::default(), 0),
        breaker: Circuit::default().view(0),
    };
    let scrape = Scrape {
        gateway: "front-desk",
        totals,
        links: &[("acme", Some(report)), ("quiet", None)],
        destinations: &["otlp"],
        now_ms: 10_000,
    };
    scrape.text()
}

#[track_caller]
fn has(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
}

#[test]
fn executions_are_counted_by_outcome_and_cumulated_by_duration() {
    let executions = vec![
        total("completed", 10, 2),
        total("completed", 640, 1),
        total("failed", LONGER_MS, 4),
    ];
    let text = text(&Totals {
        executions,
        ..Totals::default()
    });
    let labels = r#"agent="triage",route="local""#;
    has(
        &text,
        &format!(r#"baton_executions_total{{{labels},outcome="completed"}} 3"#),
    );
    has(
        &text,
        &format!(r#"baton_executions_total{{{labels},outcome="failed"}} 4"#),
    );
    for (le, count) in [("0.01", 2), ("0.32", 2), ("0.64", 3), ("327.68", 3), ("+Inf", 7)] {
        has(
            &text,
            &format!(r#"baton_execution_duration_seconds_bucket{{{labels},le="{le}"}} {count}"#),
        );
    }
    has(&text, &format!("baton_execution_duration_seconds_sum{{{labels}}} 4.5"));
    has(&text, &format!("baton_execution_duration_seconds_count{{{labels}}} 7"));
    has(
        &text,
        &format!(r#"baton_execution_tokens_total{{{labels},type="input"}} 9"#),
    );
}

#[test]
fn a_link_that_does_not_answer_says_so_and_nothing_else() {
    let text = text(&Totals::default());
    has(&text, r#"baton_link_answers{orchestrator="acme"} 1"#);
    has(&text, r#"baton_link_answers{orchestrator="quiet"} 0"#);
    has(&text, r#"baton_link_state{orchestrator="acme",state="unregistered"} 1"#);
    has(&text, r#"baton_link_state{orchestrator="acme",state="registered"} 0"#);
    has(&text, r#"baton_breaker_state{orchestrator="acme",state="closed"} 1"#);
    assert_eq!(text.matches("quiet").count(), 1, "{text}");
}

#[test]
fn a_destination_is_told_of_while_nothing_waits_for_it() {
    let waiting = OutboxTotal {
        destination: "orchestrator".into(),
        runs: 1,
        waiting: 5,
        oldest_at_ms: Some(7_500),
        dropped: 2,
        dead: 0,
    };
    let text = text(&Totals {
        outbox: vec![waiting],
        ..Totals::default()
    });
    has(&text, r#"baton_outbox_waiting_events{destination="otlp"} 0"#);
    has(&text, r#"baton_outbox_waiting_events{destination="orchestrator"} 5"#);
    has(
        &text,
        r#"baton_outbox_oldest_event_age_seconds{destination="orchestrator"} 2.5"#,
    );
    has(&text, r#"baton_outbox_dropped_events{destination="orchestrator"} 2"#);
    has(&text, "baton_dead_callbacks 0");
}

#[test]
fn each_family_is_there_once_and_each_series_as_well() {
    let text = text(&Totals {
        executions: vec![total("completed", 10, 2)],
        ..Totals::default()
    });
    let mut seen = std::collections::BTreeSet::new();
    for line in text.lines() {
        let name = line.rsplit_once(' ').map_or(line, |(series, _)| series);
        let key = line
            .strip_prefix("# ")
            .map_or(name, |comment| comment.split(' ').next().unwrap_or_default());
        let key = match line.starts_with("# ") {
            true => format!("{key} {}", line.split(' ').nth(2).unwrap_or_default()),
            false => key.to_owned(),
        };
        assert!(seen.insert(key), "twice: {line}");
    }
}
