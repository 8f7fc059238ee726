//! Metrics in protobuf.

use prost::Message;

use super::super::{DELTA, nanos};
use super::{KeyValue, attributes, signed};
use crate::telemetry::metric::{self, Distribution, Point, Scale};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Metric {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) description: String,
    #[prost(string, tag = "3")]
    pub(super) unit: String,
    #[prost(oneof = "Data", tags = "7, 9")]
    pub(super) data: Option<Data>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Data {
    #[prost(message, tag = "7")]
    Sum(Sum),
    #[prost(message, tag = "9")]
    Histogram(Histogram),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Sum {
    #[prost(message, repeated, tag = "1")]
    pub(super) data_points: Vec<NumberDataPoint>,
    #[prost(int32, tag = "2")]
    pub(super) aggregation_temporality: i32,
    #[prost(bool, tag = "3")]
    pub(super) is_monotonic: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Histogram {
    #[prost(message, repeated, tag = "1")]
    pub(super) data_points: Vec<HistogramDataPoint>,
    #[prost(int32, tag = "2")]
    pub(super) aggregation_temporality: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NumberDataPoint {
    #[prost(fixed64, tag = "2")]
    pub(super) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    pub(super) time_unix_nano: u64,
    #[prost(oneof = "Number", tags = "6")]
    pub(super) value: Option<Number>,
    #[prost(message, repeated, tag = "7")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Number {
    #[prost(sfixed64, tag = "6")]
    Int(i64),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HistogramDataPoint {
    #[prost(fixed64, tag = "2")]
    pub(super) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    pub(super) time_unix_nano: u64,
    #[prost(fixed64, tag = "4")]
    pub(super) count: u64,
    #[prost(double, optional, tag = "5")]
    pub(super) sum: Option<f64>,
    #[prost(fixed64, repeated, tag = "6")]
    pub(super) bucket_counts: Vec<u64>,
    #[prost(double, repeated, tag = "7")]
    pub(super) explicit_bounds: Vec<f64>,
    #[prost(message, repeated, tag = "9")]
    pub(super) attributes: Vec<KeyValue>,
}

impl From<&metric::Metric> for Metric {
    fn from(metric: &metric::Metric) -> Self {
        let data = match &metric.data {
            metric::Data::Sum(points) => Data::Sum(Sum {
                data_points: points.iter().map(NumberDataPoint::from).collect(),
                aggregation_temporality: DELTA,
                is_monotonic: true,
            }),
            metric::Data::Histogram(scale, points) => Data::Histogram(Histogram {
                data_points: points.iter().map(|point| histogram_point(*scale, point)).collect(),
                aggregation_temporality: DELTA,
            }),
        };
        Self {
            name: metric.name.into(),
            description: metric.description.into(),
            unit: metric.unit.into(),
            data: Some(data),
        }
    }
}

impl From<&Point<u64>> for NumberDataPoint {
    fn from(point: &Point<u64>) -> Self {
        Self {
            start_time_unix_nano: nanos(point.after_ms),
            time_unix_nano: nanos(point.until_ms),
            value: Some(Number::Int(signed(point.value))),
            attributes: attributes(&point.attributes),
        }
    }
}

fn histogram_point(scale: Scale, point: &Point<Distribution>) -> HistogramDataPoint {
    HistogramDataPoint {
        start_time_unix_nano: nanos(point.after_ms),
        time_unix_nano: nanos(point.until_ms),
        count: point.value.count(),
        sum: Some(scale.in_units(point.value.sum)),
        bucket_counts: point.value.buckets.clone(),
        explicit_bounds: scale.bounds.iter().map(|bound| scale.in_units(*bound)).collect(),
        attributes: attributes(&point.attributes),
    }
}
