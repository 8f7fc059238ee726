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
mod tests;
