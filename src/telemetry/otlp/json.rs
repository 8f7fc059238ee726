//! OTLP in JSON: ids in hexadecimal, enums as integers, names in lowerCamelCase, integers of 64 bits as text.
//!
//! Counts of metrics are written as numbers all the same: every reader has to take both, they are exact, and there are
//! receivers that leave out a histogram whose counts are text, and say nothing.

mod logs;
mod metrics;
mod spans;

use serde_json::{Value as Json, json};

use super::{Export, Items, SCOPE, SCOPE_VERSION};
use crate::telemetry::span::{Attribute, Value};

pub(super) fn encode(export: &Export<'_>) -> Json {
    let (resources, scopes, name, items): (_, _, _, Json) = match export.items {
        Items::Spans(items) => (
            "resourceSpans",
            "scopeSpans",
            "spans",
            items.iter().map(spans::span).collect(),
        ),
        Items::Metrics(items) => (
            "resourceMetrics",
            "scopeMetrics",
            "metrics",
            items.iter().map(metrics::metric).collect(),
        ),
        Items::Records(items) => (
            "resourceLogs",
            "scopeLogs",
            "logRecords",
            items.iter().map(logs::record).collect(),
        ),
    };
    let resource = export
        .resource
        .iter()
        .map(|(name, text)| attribute(name, &Value::Text(text.clone())));
    json!({
        resources: [{
            "resource": { "attributes": resource.collect::<Json>() },
            scopes: [{
                "scope": {
                    "name": SCOPE,
                    "version": SCOPE_VERSION,
                    "attributes": attributes(&export.scope_attributes()),
                },
                name: items,
            }],
        }],
    })
}

fn attributes(attributes: &[Attribute]) -> Json {
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
