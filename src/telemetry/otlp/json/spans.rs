//! Spans in JSON.

use serde_json::{Value as Json, json};

use super::super::{STATUS_ERROR, flags, nanos};
use super::attributes;
use crate::telemetry::span::Span;
use crate::telemetry::trace_context::TraceContext;

pub(super) fn span(span: &Span) -> Json {
    let mut json = json!({
        "traceId": span.context.trace_id(),
        "spanId": span.context.span_id(),
        "flags": flags(span.context.is_sampled()),
        "name": span.name,
        "kind": span.kind as i32,
        "startTimeUnixNano": nanos(span.started_at_ms).to_string(),
        "endTimeUnixNano": nanos(span.ended_at_ms).to_string(),
        "attributes": attributes(&span.attributes),
    });
    if let Some(parent) = &span.parent {
        json["parentSpanId"] = parent.as_str().into();
    }
    if !span.links.is_empty() {
        let link = |link: &TraceContext| {
            json!({
                "traceId": link.trace_id(),
                "spanId": link.span_id(),
                "flags": flags(link.is_sampled()),
            })
        };
        json["links"] = span.links.iter().map(link).collect();
    }
    if span.is_error {
        json["status"] = json!({ "code": STATUS_ERROR });
    }
    json
}
