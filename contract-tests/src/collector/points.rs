//! Metrics as the collector prints them.

use std::collections::BTreeMap;

/// A data point.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Point {
    /// The name of its metric.
    pub metric: String,
    /// In which unit.
    pub unit: String,
    /// `AGGREGATION_TEMPORALITY_DELTA` and the like.
    pub temporality: String,
    /// By name, as `Str(text)`.
    pub attributes: BTreeMap<String, String>,
    /// After when and until when, in Unix nanoseconds.
    pub time: (u64, u64),
    /// How many.
    pub count: u64,
    /// Of a histogram: the values together.
    pub sum: Option<f64>,
    /// Of a histogram: how many there are in each bucket.
    pub buckets: Vec<u64>,
}

/// Reads `Name: value` lines below `Metric #n`, and its points below them.
pub(super) fn read(log: &str) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    let mut metric: Option<Point> = None;
    let mut in_point = false;
    for line in log.lines() {
        if line.starts_with("Metric #") {
            (metric, in_point) = (Some(Point::default()), false);
            continue;
        }
        if line.contains("DataPoints #") {
            points.extend(metric.clone());
            in_point = metric.is_some();
            continue;
        }
        if line.starts_with("Resource") || line.starts_with("Scope") {
            (metric, in_point) = (None, false);
        }
        let Some(metric) = &mut metric else { continue };
        let pair = line.trim().trim_start_matches("-> ").split_once(':');
        let Some((name, value)) = pair.map(|(name, value)| (name.trim(), value.trim())) else {
            continue;
        };
        let Some(point) = points.last_mut().filter(|_| in_point) else {
            match name {
                "Name" => value.clone_into(&mut metric.metric),
                "Unit" => value.clone_into(&mut metric.unit),
                "AggregationTemporality" => value.clone_into(&mut metric.temporality),
                _ => {}
            }
            continue;
        };
        let number = || value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        match name {
            "StartTimestamp" => point.time.0 = number(),
            "Timestamp" => point.time.1 = number(),
            "Value" | "Count" => point.count = number(),
            "Sum" => point.sum = value.parse().ok(),
            _ if name.starts_with("Buckets #") => {
                let count = value.strip_prefix("Count:").unwrap_or(value).trim();
                point.buckets.push(count.parse().expect("a count"));
            }
            _ if line.trim().starts_with("-> ") => {
                point.attributes.insert(name.to_owned(), value.to_owned());
            }
            _ => {}
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
ResourceMetrics #0
Resource attributes:
     -> service.name: Str(baton)
ScopeMetrics #0
Metric #0
Descriptor:
     -> Name: baton.executions
     -> Unit: {execution}
     -> DataType: Sum
     -> AggregationTemporality: AGGREGATION_TEMPORALITY_DELTA
NumberDataPoints #0
Data point attributes:
     -> baton.outcome: Str(completed)
StartTimestamp: 1000000
Timestamp: 2000000
Value: 3
NumberDataPoints #1
StartTimestamp: 1000000
Timestamp: 3000000
Value: 4
Metric #1
Descriptor:
     -> Name: baton.execution.duration
     -> Unit: s
     -> DataType: Histogram
     -> AggregationTemporality: AGGREGATION_TEMPORALITY_DELTA
HistogramDataPoints #0
StartTimestamp: 1000000
Timestamp: 2000000
Count: 3
Sum: 1.5
ExplicitBounds #0: 0.5
Buckets #0, Count: 1
Buckets #1, Count: 2
ResourceLog #0
Resource attributes:
     -> service.name: Str(baton)
";

    #[test]
    fn reads_what_it_prints() {
        let points = read(LOG);
        assert_eq!(points.len(), 3);
        let first = &points[0];
        assert_eq!(
            (first.metric.as_str(), first.unit.as_str()),
            ("baton.executions", "{execution}")
        );
        assert_eq!(first.temporality, "AGGREGATION_TEMPORALITY_DELTA");
        assert_eq!(first.attributes["baton.outcome"], "Str(completed)");
        assert_eq!((first.time, first.count), ((1_000_000, 2_000_000), 3));
        assert_eq!((points[1].count, points[1].attributes.len()), (4, 0));
        let last = &points[2];
        assert_eq!((last.metric.as_str(), last.count), ("baton.execution.duration", 3));
        assert_eq!((last.sum, last.buckets.as_slice()), (Some(1.5), &[1, 2][..]));
        assert!(last.attributes.is_empty(), "{last:?}");
    }
}
