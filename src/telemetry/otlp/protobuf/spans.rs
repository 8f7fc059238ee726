//! Spans in protobuf.

use prost::Message;

use super::super::{STATUS_ERROR, flags, nanos};
use super::{KeyValue, attributes, bytes};
use crate::telemetry::span;
use crate::telemetry::trace_context::TraceContext;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) name: String,
    #[prost(int32, tag = "6")]
    pub(super) kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(super) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub(super) end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "13")]
    pub(super) links: Vec<Link>,
    #[prost(message, optional, tag = "15")]
    pub(super) status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    pub(super) flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Link {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) span_id: Vec<u8>,
    #[prost(fixed32, tag = "6")]
    pub(super) flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "3")]
    pub(super) code: i32,
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
