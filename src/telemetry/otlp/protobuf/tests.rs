use serde_json::{Value as Json, json};

use super::super::Signal;
use super::logs::LogRecord;
use super::metrics::{Data, Histogram, HistogramDataPoint, Metric, Number, NumberDataPoint, Sum};
use super::spans::{Link, Span, Status};
use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What was written is read, and told as the other encoding has it.
pub(in crate::telemetry::otlp) fn read(signal: Signal, encoded: &[u8]) -> Json {
    match signal {
        Signal::Traces => request_in_json(encoded, ["resourceSpans", "scopeSpans", "spans"], span),
        Signal::Metrics => request_in_json(encoded, ["resourceMetrics", "scopeMetrics", "metrics"], metric),
        Signal::Logs => request_in_json(encoded, ["resourceLogs", "scopeLogs", "logRecords"], record),
    }
}

fn request_in_json<I: Message + Default + Debug>(
    encoded: &[u8],
    [resources, scopes, items]: [&str; 3],
    item: impl Fn(&I) -> Json,
) -> Json {
    let request = Request::<I>::decode(encoded).expect("protobuf");
    let of_resource = &request.of_resources[0];
    let of_scope = &of_resource.of_scopes[0];
    let scope = of_scope.scope.as_ref().expect("a scope");
    json!({ resources: [{
        "resource": { "attributes": all(&of_resource.resource.as_ref().expect("a resource").attributes) },
        scopes: [{
            "scope": { "name": scope.name, "version": scope.version, "attributes": all(&scope.attributes) },
            items: of_scope.items.iter().map(item).collect::<Json>(),
        }],
    }] })
}

fn all(attributes: &[KeyValue]) -> Json {
    let attribute = |attribute: &KeyValue| json!({ "key": attribute.key, "value": value(attribute.value.as_ref()) });
    attributes.iter().map(attribute).collect()
}

fn value(value: Option<&AnyValue>) -> Json {
    match value.and_then(|value| value.value.as_ref()).expect("a value") {
        OneValue::Text(text) => json!({ "stringValue": text }),
        OneValue::Flag(flag) => json!({ "boolValue": flag }),
        OneValue::Number(number) => json!({ "intValue": number.to_string() }),
    }
}

fn span(span: &Span) -> Json {
    let mut json = json!({
        "traceId": hex(&span.trace_id),
        "spanId": hex(&span.span_id),
        "flags": span.flags,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": span.start_time_unix_nano.to_string(),
        "endTimeUnixNano": span.end_time_unix_nano.to_string(),
        "attributes": all(&span.attributes),
    });
    if !span.parent_span_id.is_empty() {
        json["parentSpanId"] = hex(&span.parent_span_id).into();
    }
    if !span.links.is_empty() {
        let link =
            |link: &Link| json!({ "traceId": hex(&link.trace_id), "spanId": hex(&link.span_id), "flags": link.flags });
        json["links"] = span.links.iter().map(link).collect();
    }
    if let Some(status) = &span.status {
        json["status"] = json!({ "code": status.code });
    }
    json
}

fn metric(metric: &Metric) -> Json {
    let mut json = json!({ "name": metric.name, "description": metric.description, "unit": metric.unit });
    match metric.data.as_ref().expect("data") {
        Data::Sum(sum) => {
            let point = |point: &NumberDataPoint| {
                let Some(Number::Int(value)) = point.value else {
                    panic!("{point:?}")
                };
                json!({
                    "attributes": all(&point.attributes),
                    "startTimeUnixNano": point.start_time_unix_nano.to_string(),
                    "timeUnixNano": point.time_unix_nano.to_string(),
                    "asInt": value,
                })
            };
            json["sum"] = json!({
                "dataPoints": sum.data_points.iter().map(point).collect::<Json>(),
                "aggregationTemporality": sum.aggregation_temporality,
                "isMonotonic": sum.is_monotonic,
            });
        }
        Data::Histogram(histogram) => {
            let point = |point: &HistogramDataPoint| {
                json!({
                    "attributes": all(&point.attributes),
                    "startTimeUnixNano": point.start_time_unix_nano.to_string(),
                    "timeUnixNano": point.time_unix_nano.to_string(),
                    "count": point.count,
                    "sum": point.sum.expect("a sum"),
                    "bucketCounts": point.bucket_counts,
                    "explicitBounds": point.explicit_bounds,
                })
            };
            json["histogram"] = json!({
                "dataPoints": histogram.data_points.iter().map(point).collect::<Json>(),
                "aggregationTemporality": histogram.aggregation_temporality,
            });
        }
    }
    json
}

fn record(record: &LogRecord) -> Json {
    let mut json = json!({
        "timeUnixNano": record.time_unix_nano.to_string(),
        "observedTimeUnixNano": record.observed_time_unix_nano.to_string(),
        "severityNumber": record.severity_number,
        "severityText": record.severity_text,
        "eventName": record.event_name,
        "body": value(record.body.as_ref()),
        "attributes": all(&record.attributes),
    });
    if !record.trace_id.is_empty() {
        json["traceId"] = hex(&record.trace_id).into();
        json["spanId"] = hex(&record.span_id).into();
        json["flags"] = record.flags.into();
    }
    json
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
    let flag = attribute("a", &Value::Flag(true));
    assert_eq!(flag.encode_to_vec(), [0x0a, 1, b'a', 0x12, 2, 0x10, 1]);
}

/// Where a field begins: its number, and how it is written (0 as a varint, 1 in 8 bytes, 2 with its length, 5 in 4 bytes).
const fn key(number: u8, wire: u8) -> u8 {
    number << 3 | wire
}

#[test]
fn field_numbers_of_metrics() {
    let number = NumberDataPoint {
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        value: Some(Number::Int(3)),
        attributes: vec![KeyValue::default()],
    };
    let eight = |number, value| [key(number, 1), value, 0, 0, 0, 0, 0, 0, 0];
    let expected = [&eight(2, 1)[..], &eight(3, 2), &eight(6, 3), &[key(7, 2), 0]].concat();
    assert_eq!(number.encode_to_vec(), expected);

    let one: [u8; 8] = 1_f64.to_le_bytes();
    let point = HistogramDataPoint {
        count: 4,
        sum: Some(1.0),
        bucket_counts: vec![5],
        explicit_bounds: vec![1.0],
        attributes: vec![KeyValue::default()],
        ..HistogramDataPoint::default()
    };
    let expected = [
        &eight(4, 4)[..],
        &[key(5, 1)],
        &one,
        &[key(6, 2), 8, 5, 0, 0, 0, 0, 0, 0, 0],
        &[key(7, 2), 8],
        &one,
        &[key(9, 2), 0],
    ];
    assert_eq!(point.encode_to_vec(), expected.concat());

    let sum = Sum {
        data_points: vec![NumberDataPoint::default()],
        aggregation_temporality: 1,
        is_monotonic: true,
    };
    assert_eq!(sum.encode_to_vec(), [key(1, 2), 0, key(2, 0), 1, key(3, 0), 1]);
    let histogram = Histogram {
        data_points: vec![HistogramDataPoint::default()],
        aggregation_temporality: 1,
    };
    assert_eq!(histogram.encode_to_vec(), [key(1, 2), 0, key(2, 0), 1]);
    for (data, number) in [
        (Data::Sum(Sum::default()), 7),
        (Data::Histogram(Histogram::default()), 9),
    ] {
        let metric = Metric {
            name: "n".into(),
            description: "d".into(),
            unit: "s".into(),
            data: Some(data),
        };
        let texts = [key(1, 2), 1, b'n', key(2, 2), 1, b'd', key(3, 2), 1, b's'];
        assert_eq!(metric.encode_to_vec(), [&texts[..], &[key(number, 2), 0]].concat());
    }
}

#[test]
fn field_numbers_of_log_records() {
    let record = LogRecord {
        time_unix_nano: 1,
        severity_number: 9,
        severity_text: "I".into(),
        body: Some(AnyValue::default()),
        attributes: vec![KeyValue::default()],
        flags: 1,
        trace_id: vec![2],
        span_id: vec![3],
        observed_time_unix_nano: 4,
        event_name: "e".into(),
    };
    let expected = [
        &[key(1, 1), 1, 0, 0, 0, 0, 0, 0, 0][..],
        &[key(2, 0), 9, key(3, 2), 1, b'I', key(5, 2), 0, key(6, 2), 0],
        &[key(8, 5), 1, 0, 0, 0, key(9, 2), 1, 2, key(10, 2), 1, 3],
        &[key(11, 1), 4, 0, 0, 0, 0, 0, 0, 0, key(12, 2), 1, b'e'],
    ];
    assert_eq!(record.encode_to_vec(), expected.concat());
}
