//! OTLP in protobuf: the few messages of `opentelemetry-proto` 1.x that traces need, by their field numbers.

use prost::Message;

use super::{Export, SCOPE, SCOPE_VERSION, STATUS_ERROR, flags, nanos};
use crate::telemetry::span;
use crate::telemetry::trace_context::TraceContext;

#[derive(Clone, PartialEq, Message)]
struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
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
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "13")]
    links: Vec<Link>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Link {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(fixed32, tag = "6")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
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

/// The answer to an export.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportTraceServiceResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}

/// What a receiver did not take.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

pub(super) fn encode(export: &Export<'_>) -> Vec<u8> {
    let resource = export
        .resource
        .iter()
        .map(|(name, text)| attribute(name, &span::Value::Text(text.clone())));
    let scope = InstrumentationScope {
        name: SCOPE.into(),
        version: SCOPE_VERSION.into(),
        attributes: attributes(&export.scope_attributes()),
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: resource.collect(),
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans: export.spans.iter().map(Span::from).collect(),
            }],
        }],
    };
    request.encode_to_vec()
}

impl From<&span::Span> for Span {
    fn from(span: &span::Span) -> Self {
        Self {
            trace_id: bytes(span.context.trace_id()),
            span_id: bytes(span.context.span_id()),
            parent_span_id: span.parent.as_deref().map(bytes).unwrap_or_default(),
            name: span.name.clone(),
            kind: span.kind as i32,
            start_time_unix_nano: nanos(span.started_at_ms),
            end_time_unix_nano: nanos(span.ended_at_ms),
            attributes: attributes(&span.attributes),
            links: span.links.iter().map(Link::from).collect(),
            status: span.is_error.then_some(Status { code: STATUS_ERROR }),
            flags: flags(span.context.is_sampled()),
        }
    }
}

impl From<&TraceContext> for Link {
    fn from(context: &TraceContext) -> Self {
        Self {
            trace_id: bytes(context.trace_id()),
            span_id: bytes(context.span_id()),
            flags: flags(context.is_sampled()),
        }
    }
}

fn attributes(attributes: &[(&'static str, span::Value)]) -> Vec<KeyValue> {
    attributes.iter().map(|(name, value)| attribute(name, value)).collect()
}

fn attribute(name: &str, value: &span::Value) -> KeyValue {
    let value = match value {
        span::Value::Text(text) => OneValue::Text(text.clone()),
        // A count that is larger than the protocol's integers is told as the largest of them.
        span::Value::Number(number) => OneValue::Number(i64::try_from(*number).unwrap_or(i64::MAX)),
        span::Value::Flag(flag) => OneValue::Flag(*flag),
    };
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}

/// The bytes that hexadecimal digits stand for.
fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).unwrap_or(0);
    digits.chunks_exact(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{export, resource, sample};
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn what_was_encoded_is_read_again() {
        let (resource, spans) = (resource(), sample());
        let encoded = encode(&export(&resource, &spans));
        let request = ExportTraceServiceRequest::decode(encoded.as_slice()).expect("protobuf");
        let scope_spans = &request.resource_spans[0].scope_spans[0];
        let attributes = &scope_spans.scope.as_ref().expect("a scope").attributes;
        assert_eq!(attributes[1].key, "baton.outbox.dropped_events");
        assert_eq!(attributes[1].value.clone().unwrap().value, Some(OneValue::Number(3)));
        assert_eq!(scope_spans.spans.len(), spans.len());
        for (read, span) in scope_spans.spans.iter().zip(&spans) {
            assert_eq!(hex(&read.trace_id), span.context.trace_id());
            assert_eq!(hex(&read.span_id), span.context.span_id());
            assert_eq!(Some(hex(&read.parent_span_id)), span.parent);
            assert_eq!((&read.name, read.kind), (&span.name, span.kind as i32));
            assert_eq!(read.end_time_unix_nano, span.ended_at_ms * 1_000_000);
            assert_eq!(read.attributes.len(), span.attributes.len());
            assert_eq!(read.links.len(), span.links.len());
            assert_eq!(read.status.is_some(), span.is_error);
            assert_eq!(read.flags, 1);
        }
    }

    /// The field numbers are the standard's: bytes written by hand.
    #[test]
    fn field_numbers() {
        let span = Span {
            trace_id: vec![1],
            kind: 2,
            flags: 1,
            ..Span::default()
        };
        assert_eq!(span.encode_to_vec(), [0x0a, 1, 1, 0x30, 2, 0x85, 1, 1, 0, 0, 0]);
        let link = Link {
            span_id: vec![7],
            ..Link::default()
        };
        assert_eq!(link.encode_to_vec(), [0x12, 1, 7]);
        assert_eq!(Status { code: 2 }.encode_to_vec(), [0x18, 2]);
        let flag = attribute("a", &span::Value::Flag(true));
        assert_eq!(flag.encode_to_vec(), [0x0a, 1, b'a', 0x12, 2, 0x10, 1]);
    }
}
