//! A scrape of `/metrics`.

use contract_tests::answer::Answer;
use contract_tests::gateway::Options;
use contract_tests::outside::{fresh, wait_for};

use super::*;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn scrape(gateway: &Gateway, token: &str) -> Answer {
    Message::new(gateway, "GET", "/metrics")
        .line("authorization", &format!("Bearer {token}"))
        .send()
}

/// The value of a series.
fn value(text: &str, series: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a whole number"))
}

fn completed(gateway: &Gateway) -> u64 {
    let answer = scrape(gateway, TOKEN);
    assert_eq!(answer.status(), 200);
    let series = r#"baton_executions_total{agent="script",route="orchestrated",outcome="completed"}"#;
    value(&answer.text(), series).unwrap_or(0)
}

#[test]
fn counters_count_each_step_once_and_stay_over_a_restart() {
    let mut gateway = Gateway::start(Options {
        orchestrators: vec![nobody()],
        secrets: vec![("BATON_METRICS_TOKEN", TOKEN.to_owned())],
        ..Options::with_operator()
    });
    for number in 0..3 {
        let _ = invoke(&gateway, step(&gateway, &fresh(), &format!("s{number}")));
    }
    wait_for("three steps in the totals", || (completed(&gateway) == 3).then_some(()));
    gateway.kill_hard();
    gateway.restart();
    assert_eq!(completed(&gateway), 3);
    let _ = invoke(&gateway, step(&gateway, &fresh(), "s"));
    wait_for("the fourth", || (completed(&gateway) == 4).then_some(()));
    let answer = scrape(&gateway, TOKEN);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = answer.text();
    let labels = r#"agent="script",route="orchestrated""#;
    assert_eq!(
        value(&text, &format!("baton_execution_duration_seconds_count{{{labels}}}")),
        Some(4)
    );
    let bucket = format!(r#"baton_execution_duration_seconds_bucket{{{labels},le="+Inf"}}"#);
    assert_eq!(value(&text, &bucket), Some(4));
    // Nobody answers there.
    assert_eq!(value(&text, r#"baton_link_answers{orchestrator="acme"}"#), Some(1));
    assert_eq!(
        value(&text, r#"baton_link_state{orchestrator="acme",state="registered"}"#),
        Some(0)
    );
    assert_eq!(value(&text, "baton_dead_callbacks"), Some(0));
    scrape(&gateway, "0123456789abcdef0123456789abcdee").problem(401, "metrics-token-invalid");
    assert!(!gateway.log().contains(TOKEN), "the token is in the log");
}
