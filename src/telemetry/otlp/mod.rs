//! OTLP/HTTP 1.11: the bodies of requests for each signal in both encodings, and what a receiver's answer means.

mod answer;
mod json;
mod protobuf;
mod signal;

pub use self::answer::{Verdict, verdict};
pub use self::signal::Signal;

use super::event::Event;
use super::log::{Record, record_of};
use super::metric::{Metric, metrics_of};
use super::names;
use super::sampling::is_told;
use super::span::{Attribute, Span, Value, spans_of};

/// How a request's body is written: `OTEL_EXPORTER_OTLP_PROTOCOL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// `http/json`
    Json,
    /// `http/protobuf`, which the standard has as the default.
    #[default]
    Protobuf,
}

impl Encoding {
    /// The media type of requests and answers.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }
}

/// What is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Items {
    /// Traces.
    Spans(Vec<Span>),
    /// Metrics.
    Metrics(Vec<Metric>),
    /// Logs.
    Records(Vec<Record>),
}

impl Items {
    /// What is told of these events. Sampling is for traces: every event has its log record, and whatever ends or changes is counted.
    #[must_use]
    pub fn of<'e>(signal: Signal, events: impl IntoIterator<Item = &'e Event>) -> Self {
        let events = events.into_iter();
        match signal {
            Signal::Traces => Self::Spans(events.filter(|event| is_told(event)).flat_map(spans_of).collect()),
            Signal::Metrics => Self::Metrics(metrics_of(events)),
            Signal::Logs => Self::Records(events.map(record_of).collect()),
        }
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Spans(spans) => spans.is_empty(),
            Self::Metrics(metrics) => metrics.is_empty(),
            Self::Records(records) => records.is_empty(),
        }
    }
}

/// What is to be told, and who tells it.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    /// Who tells it: attributes by name.
    pub resource: &'a [(String, String)],
    /// What is told.
    pub items: &'a Items,
    /// How many events of the run were dropped so far.
    pub dropped: u64,
}

impl Export<'_> {
    /// As a request's body.
    #[must_use]
    pub fn encode(&self, encoding: Encoding) -> Vec<u8> {
        match encoding {
            Encoding::Json => json::encode(self).to_string().into_bytes(),
            Encoding::Protobuf => protobuf::encode(self),
        }
    }

    /// What is said of all items together.
    fn scope_attributes(&self) -> Vec<Attribute> {
        let mut attributes = vec![(names::CONVENTIONS, names::GENAI_CONVENTIONS.into())];
        // A metric of another scope is another metric: a number that changes would make a new one each time.
        if self.dropped > 0 && !matches!(self.items, Items::Metrics(_)) {
            attributes.push((names::DROPPED, Value::Number(self.dropped)));
        }
        attributes
    }
}

const SCOPE: &str = "baton";
const SCOPE_VERSION: &str = env!("CARGO_PKG_VERSION");
const STATUS_ERROR: i32 = 2;
/// A metric's points tell what happened since those before them.
const DELTA: i32 = 1;

/// The flags of a span whose trace is sampled, and of one whose is not.
fn flags(sampled: bool) -> u32 {
    u32::from(sampled)
}

const fn nanos(ms: u64) -> u64 {
    ms.saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests;
