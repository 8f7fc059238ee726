//! Log records in JSON.

use serde_json::{Value as Json, json};

use super::super::{flags, nanos};
use super::attributes;
use crate::telemetry::log::Record;

pub(super) fn record(record: &Record) -> Json {
    // It is observed when it happens: a record that is sent again is the same one.
    let time = nanos(record.at_ms).to_string();
    let mut json = json!({
        "timeUnixNano": time,
        "observedTimeUnixNano": time,
        "severityNumber": record.severity as i32,
        "severityText": record.severity.text(),
        "eventName": record.name,
        "body": { "stringValue": record.body },
        "attributes": attributes(&record.attributes),
    });
    if let Some(context) = &record.context {
        json["traceId"] = context.trace_id().into();
        json["spanId"] = context.span_id().into();
        json["flags"] = flags(context.is_sampled()).into();
    }
    json
}
