//! Log records as the collector prints them.

use std::collections::BTreeMap;

/// A log record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// `INFO` and the like.
    pub severity: String,
    /// `baton.execution_ended` and the like.
    pub name: String,
    /// As `Str(text)`.
    pub body: String,
    /// By name, as `Str(text)`, `Int(1)`, `Bool(true)`.
    pub attributes: BTreeMap<String, String>,
    /// Its trace.
    pub trace_id: String,
    /// The span that it belongs to.
    pub span_id: String,
}

/// Reads `Name: value` lines below `LogRecord #n`.
pub(super) fn read(log: &str) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut in_record = false;
    for line in log.lines() {
        if line.starts_with("LogRecord #") {
            records.push(Record::default());
            in_record = true;
            continue;
        }
        if line.starts_with("Resource") || line.starts_with("Scope") {
            in_record = false;
        }
        let Some(record) = records.last_mut().filter(|_| in_record) else {
            continue;
        };
        let pair = line.trim().trim_start_matches("-> ").split_once(':');
        let Some((name, value)) = pair.map(|(name, value)| (name.trim(), value.trim().to_owned())) else {
            continue;
        };
        match name {
            "SeverityText" => record.severity = value,
            "EventName" => record.name = value,
            "Body" => record.body = value,
            "Trace ID" => record.trace_id = value,
            "Span ID" => record.span_id = value,
            _ if line.trim().starts_with("-> ") => {
                record.attributes.insert(name.to_owned(), value);
            }
            _ => {}
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
ResourceLog #0
Resource attributes:
     -> service.name: Str(baton)
ScopeLogs #0
LogRecord #0
Timestamp: 1000000
SeverityText: INFO
EventName: baton.execution_ended
Body: Str(execution of triage: completed)
Attributes:
     -> baton.run: Str(run_1)
    Trace ID       : 0af7651916cd43dd8448eb211c80319c
    Span ID        : b7ad6b7169203331
Flags: 1
ResourceLog #1
Resource attributes:
     -> service.name: Str(baton)
";

    #[test]
    fn reads_what_it_prints() {
        let records = read(LOG);
        assert_eq!(records.len(), 1);
        let first = &records[0];
        assert_eq!(
            (first.severity.as_str(), first.name.as_str(), first.body.as_str()),
            ("INFO", "baton.execution_ended", "Str(execution of triage: completed)")
        );
        assert_eq!(first.attributes.len(), 1, "{first:?}");
        assert_eq!(first.attributes["baton.run"], "Str(run_1)");
        assert_eq!(first.trace_id, "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(first.span_id, "b7ad6b7169203331");
    }
}
