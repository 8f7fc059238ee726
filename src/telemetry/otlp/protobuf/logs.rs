//! Log records in protobuf.

use prost::Message;

use super::super::{flags, nanos};
use super::{AnyValue, KeyValue, attributes, bytes};
use crate::telemetry::log::Record;
use crate::telemetry::span::Value;

#[derive(Clone, PartialEq, Message)]
pub(super) struct LogRecord {
    #[prost(fixed64, tag = "1")]
    pub(super) time_unix_nano: u64,
    #[prost(int32, tag = "2")]
    pub(super) severity_number: i32,
    #[prost(string, tag = "3")]
    pub(super) severity_text: String,
    #[prost(message, optional, tag = "5")]
    pub(super) body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(fixed32, tag = "8")]
    pub(super) flags: u32,
    #[prost(bytes = "vec", tag = "9")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    pub(super) span_id: Vec<u8>,
    #[prost(fixed64, tag = "11")]
    pub(super) observed_time_unix_nano: u64,
    #[prost(string, tag = "12")]
    pub(super) event_name: String,
}

impl From<&Record> for LogRecord {
    fn from(record: &Record) -> Self {
        let context = record.context.as_ref();
        Self {
            time_unix_nano: nanos(record.at_ms),
            severity_number: record.severity as i32,
            severity_text: record.severity.text().into(),
            body: Some(AnyValue::from(&Value::Text(record.body.clone()))),
            attributes: attributes(&record.attributes),
            flags: flags(context.is_some_and(|context| context.is_sampled())),
            trace_id: context.map(|context| bytes(context.trace_id())).unwrap_or_default(),
            span_id: context.map(|context| bytes(context.span_id())).unwrap_or_default(),
            observed_time_unix_nano: nanos(record.at_ms),
            event_name: record.name.clone(),
        }
    }
}
