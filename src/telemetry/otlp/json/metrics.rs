//! Metrics in JSON.

use serde_json::{Value as Json, json};

use super::super::{DELTA, nanos};
use super::attributes;
use crate::telemetry::metric::{Data, Distribution, Metric, Point, Scale};

pub(super) fn metric(metric: &Metric) -> Json {
    let mut json = json!({
        "name": metric.name,
        "description": metric.description,
        "unit": metric.unit,
    });
    match &metric.data {
        Data::Sum(points) => {
            json["sum"] = json!({
                "dataPoints": points.iter().map(number).collect::<Json>(),
                "aggregationTemporality": DELTA,
                "isMonotonic": true,
            });
        }
        Data::Histogram(scale, points) => {
            let points = points.iter().map(|point| histogram(*scale, point));
            json["histogram"] = json!({
                "dataPoints": points.collect::<Json>(),
                "aggregationTemporality": DELTA,
            });
        }
    }
    json
}

fn number(point: &Point<u64>) -> Json {
    json!({
        "attributes": attributes(&point.attributes),
        "startTimeUnixNano": nanos(point.after_ms).to_string(),
        "timeUnixNano": nanos(point.until_ms).to_string(),
        "asInt": point.value,
    })
}

fn histogram(scale: Scale, point: &Point<Distribution>) -> Json {
    let bounds = scale.bounds.iter().map(|bound| scale.in_units(*bound));
    json!({
        "attributes": attributes(&point.attributes),
        "startTimeUnixNano": nanos(point.after_ms).to_string(),
        "timeUnixNano": nanos(point.until_ms).to_string(),
        "count": point.value.count(),
        "sum": scale.in_units(point.value.sum),
        "bucketCounts": point.value.buckets,
        "explicitBounds": bounds.collect::<Json>(),
    })
}
