//! OTLP in protobuf: the few messages of `opentelemetry-proto` 1.x that we need, by their field numbers.

mod logs;
mod metrics;
mod spans;

use std::fmt::Debug;

use prost::Message;

use super::{Export, Items, SCOPE, SCOPE_VERSION};
use crate::telemetry::span::{Attribute, Value};

/// A request to export: `ExportTraceServiceRequest`, `ExportMetricsServiceRequest`, `ExportLogsServiceRequest`. They have the
/// same field numbers, and so have what they consist of.
#[derive(Clone, PartialEq, Message)]
struct Request<I: Message + Default + Debug> {
    #[prost(message, repeated, tag = "1")]
    of_resources: Vec<OfResource<I>>,
}

#[derive(Clone, PartialEq, Message)]
struct OfResource<I: Message + Default + Debug> {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    of_scopes: Vec<OfScope<I>>,
}

#[derive(Clone, PartialEq, Message)]
struct OfScope<I: Message + Default + Debug> {
    #[prost(message, optional, tag = "1")]
    scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    items: Vec<I>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct InstrumentationScope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(message, repeated, tag = "3")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "OneValue", tags = "1, 2, 3")]
    value: Option<OneValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum OneValue {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Flag(bool),
    #[prost(int64, tag = "3")]
    Number(i64),
}

/// The answer to an export. That to traces, that to metrics and that to logs have the same field numbers.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Response {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}

/// What a receiver did not take.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PartialSuccess {
    /// How many spans, data points or log records.
    #[prost(int64, tag = "1")]
    pub(super) rejected: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

pub(super) fn encode(export: &Export<'_>) -> Vec<u8> {
    match export.items {
        Items::Spans(spans) => request(export, spans.iter().map(spans::Span::from).collect()),
        Items::Metrics(metrics) => request(export, metrics.iter().map(metrics::Metric::from).collect()),
        Items::Records(records) => request(export, records.iter().map(logs::LogRecord::from).collect()),
    }
}

fn request<I: Message + Default + Debug>(export: &Export<'_>, items: Vec<I>) -> Vec<u8> {
    let resource = export
        .resource
        .iter()
        .map(|(name, text)| attribute(name, &Value::Text(text.clone())));
    let scope = InstrumentationScope {
        name: SCOPE.into(),
        version: SCOPE_VERSION.into(),
        attributes: attributes(&export.scope_attributes()),
    };
    let request = Request {
        of_resources: vec![OfResource {
            resource: Some(Resource {
                attributes: resource.collect(),
            }),
            of_scopes: vec![OfScope {
                scope: Some(scope),
                items,
            }],
        }],
    };
    request.encode_to_vec()
}

fn attributes(attributes: &[Attribute]) -> Vec<KeyValue> {
    attributes.iter().map(|(name, value)| attribute(name, value)).collect()
}

fn attribute(name: &str, value: &Value) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue::from(value)),
    }
}

impl From<&Value> for AnyValue {
    fn from(value: &Value) -> Self {
        let value = match value {
            Value::Text(text) => OneValue::Text(text.clone()),
            Value::Number(number) => OneValue::Number(signed(*number)),
            Value::Flag(flag) => OneValue::Flag(*flag),
        };
        Self { value: Some(value) }
    }
}

/// A count that is larger than the protocol's integers is told as the largest of them.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The bytes that hexadecimal digits stand for.
fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).unwrap_or(0);
    digits.chunks_exact(2).map(byte).collect()
}

#[cfg(test)]
pub(super) mod tests;
