//! What a Prometheus that scrapes the gateway is told: `GET /metrics`.
//!
//! A Worker has no memory of its own that lasts: counters come from the totals in D1, which only grow, and everything else
//! is a gauge of what is so now.

mod text;

use std::collections::BTreeMap;

pub use self::text::MEDIA_TYPE;
use self::text::{Family, Kind, Text, seconds};
use crate::breaker::BreakerState;
use crate::link::{LinkReport, LinkState};
use crate::telemetry::history::{DURATION_BOUNDS_MS, ExecutionTotal, OutboxTotal, Totals};

/// What is told.
#[derive(Debug, Clone, Copy)]
pub struct Scrape<'a> {
    /// The gateway's id.
    pub gateway: &'a str,
    /// The totals.
    pub totals: &'a Totals,
    /// The links by orchestrator, each with how it stands where its object answered.
    pub links: &'a [(&'a str, Option<LinkReport>)],
    /// Destinations that are told of also while nothing waits for them.
    pub destinations: &'a [&'a str],
    /// Now, in Unix milliseconds.
    pub now_ms: u64,
}

impl Scrape<'_> {
    /// As text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = Text::default();
        text.family(
            "baton_build_info",
            Kind::Gauge,
            "Which gateway this is, in which version",
        )
        .sample(&[("gateway", self.gateway), ("version", env!("CARGO_PKG_VERSION"))], 1);
        executions(&mut text, &self.totals.executions);
        self.links(&mut text);
        self.outbox(&mut text);
        text.family(
            "baton_dead_callbacks",
            Kind::Gauge,
            "Callbacks that were given up and not sent again",
        )
        .sample(&[], self.totals.dead_callbacks);
        text.into_string()
    }

    fn links(&self, text: &mut Text) {
        let mut family = text.family(
            "baton_link_answers",
            Kind::Gauge,
            "Whether the Link object answered: without it the orchestrator has no samples below",
        );
        for (orchestrator, report) in self.links {
            family.sample(&[("orchestrator", orchestrator)], u8::from(report.is_some()));
        }
        let known = || {
            let links = self.links.iter();
            links.filter_map(|(orchestrator, report)| Some((*orchestrator, report.as_ref()?)))
        };
        let mut family = text.family("baton_link_state", Kind::Gauge, "How the link stands: 1 for its state");
        for (orchestrator, report) in known() {
            for (name, state) in LINK_STATES {
                state_of(&mut family, orchestrator, name, report.link.state == state);
            }
        }
        let mut family = text.family(
            "baton_link_lease_remaining_seconds",
            Kind::Gauge,
            "How long the lease still lasts; 0 without one",
        );
        for (orchestrator, report) in known() {
            let left_ms = report.link.lease_left_ms.unwrap_or(0);
            family.sample(&[("orchestrator", orchestrator)], seconds(left_ms));
        }
        let mut family = text.family(
            "baton_link_failures",
            Kind::Gauge,
            "Failed calls of the link since the last that did not fail",
        );
        for (orchestrator, report) in known() {
            family.sample(&[("orchestrator", orchestrator)], report.link.failures);
        }
        let mut family = text.family(
            "baton_breaker_state",
            Kind::Gauge,
            "How the breaker before the orchestrator stands: 1 for its state",
        );
        for (orchestrator, report) in known() {
            for (name, state) in BREAKER_STATES {
                state_of(&mut family, orchestrator, name, report.breaker.state == state);
            }
        }
    }

    fn outbox(&self, text: &mut Text) {
        let mut totals: BTreeMap<&str, OutboxTotal> = BTreeMap::new();
        for destination in self.destinations {
            totals.entry(destination).or_default();
        }
        for total in &self.totals.outbox {
            totals.insert(&total.destination, total.clone());
        }
        let age = |total: &OutboxTotal| {
            let age_ms = total.oldest_at_ms.map(|at_ms| self.now_ms.saturating_sub(at_ms));
            seconds(age_ms.unwrap_or(0))
        };
        type Of<'o> = &'o dyn Fn(&OutboxTotal) -> String;
        let families: [(&'static str, &str, Of<'_>); 5] = [
            (
                "baton_outbox_waiting_runs",
                "Runs whose events the destination did not take when it was last tried",
                &|total| total.runs.to_string(),
            ),
            (
                "baton_outbox_waiting_events",
                "Events of these runs that waited when the destination first failed",
                &|total| total.waiting.to_string(),
            ),
            (
                "baton_outbox_oldest_event_age_seconds",
                "How long the oldest of these events has waited; 0 without one",
                &age,
            ),
            (
                "baton_outbox_dropped_events",
                "Events that these runs have lost",
                &|total| total.dropped.to_string(),
            ),
            (
                "baton_outbox_dead_events",
                "Events that were given up and not sent again",
                &|total| total.dead.to_string(),
            ),
        ];
        for (name, help, value) in families {
            let mut family = text.family(name, Kind::Gauge, help);
            for (destination, total) in &totals {
                family.sample(&[("destination", destination)], value(total));
            }
        }
    }
}

const LINK_STATES: [(&str, LinkState); 7] = [
    ("unregistered", LinkState::Unregistered),
    ("registering", LinkState::Registering),
    ("registered", LinkState::Registered),
    ("degraded", LinkState::Degraded),
    ("draining", LinkState::Draining),
    ("deregistered", LinkState::Deregistered),
    ("refused", LinkState::Refused),
];

const BREAKER_STATES: [(&str, BreakerState); 3] = [
    ("closed", BreakerState::Closed),
    ("open", BreakerState::Open),
    ("half-open", BreakerState::HalfOpen),
];

fn state_of(family: &mut Family<'_>, orchestrator: &str, name: &str, is_it: bool) {
    family.sample(&[("orchestrator", orchestrator), ("state", name)], u8::from(is_it));
}

/// What is counted of the executions of an agent on a route.
#[derive(Default)]
struct Counted<'a> {
    by_outcome: BTreeMap<&'a str, u64>,
    by_bound: BTreeMap<u64, u64>,
    duration_ms: u64,
    input_tokens: u64,
    output_tokens: u64,
}

fn executions(text: &mut Text, totals: &[ExecutionTotal]) {
    let mut counted: BTreeMap<(&str, &str), Counted<'_>> = BTreeMap::new();
    for total in totals {
        let counted = counted.entry((&total.agent, &total.route)).or_default();
        *counted.by_outcome.entry(&total.outcome).or_default() += total.count;
        *counted.by_bound.entry(total.le_ms).or_default() += total.count;
        counted.duration_ms += total.duration_ms;
        counted.input_tokens += total.input_tokens;
        counted.output_tokens += total.output_tokens;
    }
    let mut family = text.family(
        "baton_executions_total",
        Kind::Counter,
        "Executions that ended, since the database was made",
    );
    for ((agent, route), counted) in &counted {
        for (outcome, count) in &counted.by_outcome {
            family.sample(&[("agent", agent), ("route", route), ("outcome", outcome)], count);
        }
    }
    let mut family = text.family(
        "baton_execution_duration_seconds",
        Kind::Histogram,
        "How long they took, whatever they came to",
    );
    for ((agent, route), counted) in &counted {
        let labels = [("agent", *agent), ("route", *route)];
        let mut below = 0;
        for bound_ms in DURATION_BOUNDS_MS {
            below += counted.by_bound.get(&bound_ms).unwrap_or(&0);
            let le = seconds(bound_ms);
            family.part("_bucket", &[labels[0], labels[1], ("le", &le)], below);
        }
        let count: u64 = counted.by_bound.values().sum();
        family.part("_bucket", &[labels[0], labels[1], ("le", "+Inf")], count);
        family.part("_sum", &labels, seconds(counted.duration_ms));
        family.part("_count", &labels, count);
    }
    let mut family = text.family(
        "baton_execution_tokens_total",
        Kind::Counter,
        "Tokens of models, as far as agents told",
    );
    for ((agent, route), counted) in &counted {
        let tokens = [("input", counted.input_tokens), ("output", counted.output_tokens)];
        for (kind, count) in tokens {
            family.sample(&[("agent", agent), ("route", route), ("type", kind)], count);
        }
    }
}

#[cfg(test)]
mod tests {
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
}
