//! OTLP in JSON: ids in hexadecimal, enums as integers, names in lowerCamelCase, integers of 64 bits as text.

use serde_json::{Value as Json, json};

use super::{Export, SCOPE, SCOPE_VERSION, STATUS_ERROR, flags, nanos};
use crate::telemetry::span::{Span, Value};

pub(super) fn encode(export: &Export<'_>) -> Json {
    let resource = export
        .resource
        .iter()
        .map(|(name, text)| attribute(name, &Value::Text(text.clone())));
    json!({
        "resourceSpans": [{
            "resource": { "attributes": resource.collect::<Json>() },
            "scopeSpans": [{
                "scope": {
                    "name": SCOPE,
                    "version": SCOPE_VERSION,
                    "attributes": attributes(&export.scope_attributes()),
                },
                "spans": export.spans.iter().map(span).collect::<Json>(),
            }],
        }],
    })
}

fn span(span: &Span) -> Json {
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
        let link = |link: &crate::telemetry::trace_context::TraceContext| {
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

fn attributes(attributes: &[(&'static str, Value)]) -> Json {
    attributes.iter().map(|(name, value)| attribute(name, value)).collect()
}

fn attribute(name: &str, value: &Value) -> Json {
    let value = match value {
        Value::Text(text) => json!({ "stringValue": text }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::Flag(flag) => json!({ "boolValue": flag }),
    };
    json!({ "key": name, "value": value })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{export, resource, sample};
    use super::*;

    #[test]
    fn golden() {
        let (resource, spans) = (resource(), sample());
        let mut encoded = encode(&export(&resource, &spans));
        // The one part that changes with each release.
        encoded["resourceSpans"][0]["scopeSpans"][0]["scope"]["version"] = "0".into();
        let golden: Json = serde_json::from_str(include_str!("golden.json")).expect("JSON");
        assert_eq!(encoded, golden, "{encoded:#}");
    }
}
