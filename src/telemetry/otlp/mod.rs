//! OTLP/HTTP 1.11, traces: a request's body in both encodings, and what a receiver's answer means.

mod answer;
mod json;
mod protobuf;

pub use self::answer::{Verdict, verdict};

use super::names;
use super::span::{Span, Value};

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

/// Spans to tell, and who tells them.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    /// Who tells them: attributes by name.
    pub resource: &'a [(String, String)],
    /// The spans.
    pub spans: &'a [Span],
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

    /// What is said of all spans together.
    fn scope_attributes(&self) -> Vec<(&'static str, Value)> {
        let mut attributes = vec![(names::CONVENTIONS, names::GENAI_CONVENTIONS.into())];
        if self.dropped > 0 {
            attributes.push((names::DROPPED, Value::Number(self.dropped)));
        }
        attributes
    }
}

const SCOPE: &str = "baton";
const SCOPE_VERSION: &str = env!("CARGO_PKG_VERSION");
const STATUS_ERROR: i32 = 2;
/// The flags of a span whose trace is sampled, and of one whose is not.
fn flags(sampled: bool) -> u32 {
    u32::from(sampled)
}

const fn nanos(ms: u64) -> u64 {
    ms.saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::super::span::spans_of;
    use super::super::span::tests::{ended, failed};
    use super::*;

    /// What both encodings are tested with: an attempt, and an execution that failed, linked to it.
    pub(super) fn sample() -> Vec<Span> {
        let mut spans = spans_of(&ended());
        spans.extend(spans_of(&failed()));
        let attempt = spans[0].context.clone();
        spans[1].links.push(attempt);
        spans
    }

    pub(super) fn export<'a>(resource: &'a [(String, String)], spans: &'a [Span]) -> Export<'a> {
        Export {
            resource,
            spans,
            dropped: 3,
        }
    }

    pub(super) fn resource() -> Vec<(String, String)> {
        vec![("service.name".into(), "baton".into())]
    }
}
