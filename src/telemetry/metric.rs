//! The metrics that events are told as: what the executions among them came to, how many others there are of each kind, and
//! nothing before (delta temporality), so that no run needs to know what another one counted.
//!
//! A point's time is that of its events. So the same events make the same points, whenever they are sent; but whoever
//! adds up a request that arrives twice counts it twice.

use super::event::{Event, Usage, What};
use super::history::DURATION_BOUNDS_MS;
use super::names;
use super::operation::{Doing, Operation};
use super::span::{Attribute, own_spans_of};

/// A metric, in no encoding yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// A name of [`names`].
    pub name: &'static str,
    /// What it counts, for people.
    pub description: &'static str,
    /// In UCUM.
    pub unit: &'static str,
    /// What was counted.
    pub data: Data,
}

/// What was counted, by attributes.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// How many; it only grows.
    Sum(Vec<Point<u64>>),
    /// How large.
    Histogram(Scale, Vec<Point<Distribution>>),
}

/// What was counted under the same attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point<V> {
    /// By what.
    pub attributes: Vec<Attribute>,
    /// After when, in Unix milliseconds.
    pub after_ms: u64,
    /// Until when, in Unix milliseconds; later than that.
    pub until_ms: u64,
    /// What came of it.
    pub value: V,
}

/// How values are spread over the buckets of a [`Scale`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Distribution {
    /// The values together, in the scale's steps.
    pub sum: u64,
    /// How many there are in each bucket; one bucket more than bounds, for what is above all of them.
    pub buckets: Vec<u64>,
}

/// Buckets, in whole steps: a step is a part of the unit, so that nothing is rounded when it is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// The upper bound of each bucket but the last, which the values in it do not exceed.
    pub bounds: &'static [u64],
    /// How many steps the unit has.
    pub steps: u64,
}

/// As the conventions ask for.
const AGENT_DURATION: Scale = Scale {
    bounds: &[
        100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400, 204_800, 409_600,
    ],
    steps: 1_000,
};
/// As the conventions ask for.
const MODEL_DURATION: Scale = Scale {
    bounds: &[
        10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 5_120, 10_240, 20_480, 40_960, 81_920,
    ],
    steps: 1_000,
};
/// As the conventions ask for.
const TOKENS: Scale = Scale {
    bounds: &[
        1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864,
    ],
    steps: 1,
};
/// As a Prometheus is told.
const EXECUTION_DURATION: Scale = Scale {
    bounds: &DURATION_BOUNDS_MS,
    steps: 1_000,
};

impl Scale {
    /// So many steps in the unit.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a number of so many digits is exact enough")]
    pub fn in_units(self, steps: u64) -> f64 {
        steps as f64 / self.steps as f64
    }
}

impl Distribution {
    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    fn add(&mut self, scale: Scale, value: u64) {
        self.buckets.resize(scale.bounds.len() + 1, 0);
        self.buckets[scale.bounds.partition_point(|bound| *bound < value)] += 1;
        self.sum = self.sum.saturating_add(value);
    }
}

/// What the executions that ended among these events came to, and how many others there are; nothing where nothing came to
/// an end or changed.
#[must_use]
pub fn metrics_of<'e>(events: impl IntoIterator<Item = &'e Event>) -> Vec<Metric> {
    let mut counted = Counted::default();
    for event in events {
        counted.add(event);
    }
    counted.metrics()
}

#[derive(Default)]
struct Counted {
    executions: Vec<Point<u64>>,
    durations: Vec<Point<Distribution>>,
    agents: Vec<Point<Distribution>>,
    models: Vec<Point<Distribution>>,
    tokens: Vec<Point<Distribution>>,
    events: Vec<Point<u64>>,
}

impl Counted {
    fn add(&mut self, event: &Event) {
        let What::ExecutionEnded {
            subject,
            started_at_ms,
            ending,
            usage,
            operations,
            ..
        } = &event.what
        else {
            return self.other(event);
        };
        let time = (*started_at_ms, event.at_ms);
        let agent = |name: &str| (names::GENAI_AGENT_NAME, name.into());
        let of_route = vec![agent(&subject.agent), (names::ROUTE, subject.route.name().into())];
        let mut of_outcome = of_route.clone();
        of_outcome.push((names::OUTCOME, ending.outcome.as_str().into()));
        *at(&mut self.executions, of_outcome, time) += 1;
        let took_ms = event.at_ms.saturating_sub(*started_at_ms);
        at(&mut self.durations, of_route, time).add(EXECUTION_DURATION, took_ms);

        let spans = own_spans_of(event);
        for span in &spans {
            let is_told = |(name, _): &&Attribute| matches!(*name, names::GENAI_AGENT_NAME | names::ERROR_TYPE);
            let attributes = span.attributes.iter().filter(is_told).cloned().collect();
            let took_ms = span.ended_at_ms.saturating_sub(span.started_at_ms);
            at(&mut self.agents, attributes, (span.started_at_ms, span.ended_at_ms)).add(AGENT_DURATION, took_ms);
        }

        let asked = operations.iter().filter_map(|operation| self.model(operation));
        let of_models = asked.fold(Usage::default(), |all, usage| Usage {
            input_tokens: sum(all.input_tokens, usage.input_tokens),
            output_tokens: sum(all.output_tokens, usage.output_tokens),
            ..Usage::default()
        });
        // What no operation tells is of whoever worked last.
        let last = spans.last().and_then(|span| {
            let mut attributes = span.attributes.iter();
            attributes.find(|(name, _)| *name == names::GENAI_AGENT_NAME).cloned()
        });
        let last = last.unwrap_or_else(|| agent(&subject.agent));
        let by = [(names::GENAI_OPERATION, names::INVOKE_AGENT.into()), last];
        let rest = Usage {
            input_tokens: rest(usage.input_tokens, of_models.input_tokens),
            output_tokens: rest(usage.output_tokens, of_models.output_tokens),
            ..Usage::default()
        };
        self.tokens(&by, rest, time);
    }

    /// Counts what is no execution's end, with the attribute of its span that says what came of it.
    fn other(&mut self, event: &Event) {
        let result = match &event.what {
            // Its end is counted.
            What::ExecutionBegan { .. } | What::ExecutionEnded { .. } => return,
            What::HandedOff { .. } => None,
            What::AttemptEnded { ending, .. } => Some((names::OUTCOME, ending.outcome.as_str())),
            What::Routed { outcome, .. } => Some((names::OUTCOME, outcome.as_str())),
            What::SettlementEnded { status, .. } => Some((names::OUTCOME, status.as_str())),
            What::CallbackEnded { delivered, .. } => {
                let outcome = if *delivered { "delivered" } else { "given_up" };
                Some((names::OUTCOME, outcome))
            }
            What::TakenOver { reason } => Some((names::TAKEOVER_REASON, reason.as_str())),
            What::LinkChanged(change) => Some((names::LINK_CHANGE, change.name())),
        };
        let mut attributes = vec![(names::EVENT_NAME, event.what.name().into())];
        attributes.extend(result.map(|(name, value)| (name, value.into())));
        *at(&mut self.events, attributes, (event.at_ms, event.at_ms)) += 1;
    }

    /// Counts a model that was asked. Answers what it used.
    fn model(&mut self, operation: &Operation) -> Option<Usage> {
        let Doing::Chat { provider, model, .. } = &operation.what else {
            return None;
        };
        let time = (operation.started_at_ms, operation.ended_at_ms);
        let by = [
            (names::GENAI_OPERATION, names::CHAT.into()),
            (names::GENAI_PROVIDER, provider.as_str().into()),
            (names::GENAI_MODEL, model.as_str().into()),
        ];
        self.tokens(&by, operation.upshot.usage, time);
        let mut of_duration = by.to_vec();
        let error = operation.upshot.error.as_deref();
        of_duration.extend(error.map(|code| (names::ERROR_TYPE, code.into())));
        let took_ms = operation.ended_at_ms.saturating_sub(operation.started_at_ms);
        at(&mut self.models, of_duration, time).add(MODEL_DURATION, took_ms);
        Some(operation.upshot.usage)
    }

    fn tokens(&mut self, by: &[Attribute], usage: Usage, time: (u64, u64)) {
        for (kind, tokens) in [("input", usage.input_tokens), ("output", usage.output_tokens)] {
            let Some(tokens) = tokens else { continue };
            let mut attributes = by.to_vec();
            attributes.push((names::GENAI_TOKEN_TYPE, kind.into()));
            at(&mut self.tokens, attributes, time).add(TOKENS, tokens);
        }
    }

    fn metrics(self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        let mut tell = |name, description, unit, data| {
            let is_empty = match &data {
                Data::Sum(points) => points.is_empty(),
                Data::Histogram(_, points) => points.is_empty(),
            };
            if !is_empty {
                metrics.push(Metric {
                    name,
                    description,
                    unit,
                    data,
                });
            }
        };
        tell(
            names::EXECUTIONS,
            "Executions that ended",
            "{execution}",
            Data::Sum(self.executions),
        );
        tell(
            names::EXECUTION_DURATION,
            "How long executions took, whatever they came to",
            "s",
            Data::Histogram(EXECUTION_DURATION, self.durations),
        );
        tell(
            names::GENAI_AGENT_DURATION,
            "How long agents worked",
            "s",
            Data::Histogram(AGENT_DURATION, self.agents),
        );
        tell(
            names::GENAI_OPERATION_DURATION,
            "How long models took to answer",
            "s",
            Data::Histogram(MODEL_DURATION, self.models),
        );
        tell(
            names::GENAI_TOKEN_USAGE,
            "Tokens that executions used, as far as agents told",
            "{token}",
            Data::Histogram(TOKENS, self.tokens),
        );
        tell(
            names::EVENTS,
            "What happened beside executions",
            "{event}",
            Data::Sum(self.events),
        );
        metrics
    }
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (known, None) | (None, known) => known,
    }
}

/// What is left of all; nothing where it was all told.
fn rest(all: Option<u64>, told: Option<u64>) -> Option<u64> {
    match (all, told) {
        (Some(all), Some(told)) => all.checked_sub(told).filter(|rest| *rest > 0),
        // Where an answer was kept, nothing was used.
        (all, None) => all.filter(|all| *all > 0),
        (None, Some(_)) => None,
    }
}

/// What is counted under these attributes, from then to then. A time of no length is none: it begins a millisecond earlier.
fn at<V: Default>(points: &mut Vec<Point<V>>, attributes: Vec<Attribute>, (from_ms, until_ms): (u64, u64)) -> &mut V {
    let after_ms = from_ms.min(until_ms.saturating_sub(1));
    let known = points.iter().position(|point| point.attributes == attributes);
    let place = known.unwrap_or_else(|| {
        points.push(Point {
            attributes,
            after_ms,
            until_ms,
            value: V::default(),
        });
        points.len() - 1
    });
    let point = &mut points[place];
    point.after_ms = point.after_ms.min(after_ms);
    point.until_ms = point.until_ms.max(until_ms);
    &mut point.value
}

#[cfg(test)]
mod tests;
