use super::super::span::tests::{ended, execution, failed};
use super::*;
use crate::telemetry::event::Ending;

/// What both encodings are tested with: an attempt, and an execution that failed, linked to it.
pub(super) fn sample() -> Items {
    let mut spans = spans_of(&ended());
    spans.extend(spans_of(&failed()));
    let attempt = spans[0].context.clone();
    spans[1].links.push(attempt);
    Items::Spans(spans)
}

/// Metrics and log records of an attempt's end and of two executions, one of them of a trace that cannot be read.
pub(super) fn sample_of(signal: Signal) -> Items {
    let unread = Event {
        traceparent: "x".into(),
        ..execution(Ending::lost(), Vec::new())
    };
    Items::of(signal, [&ended(), &failed(), &unread])
}

pub(super) fn export<'a>(resource: &'a [(String, String)], items: &'a Items) -> Export<'a> {
    Export {
        resource,
        items,
        dropped: 3,
    }
}

pub(super) fn resource() -> Vec<(String, String)> {
    vec![("service.name".into(), "baton".into())]
}

#[test]
fn sampling_is_for_traces() {
    let unsampled = Event {
        traceparent: ended().traceparent.replace("-01", "-00"),
        ..execution(
            Ending {
                outcome: "completed".into(),
                error_code: None,
            },
            Vec::new(),
        )
    };
    for (signal, is_empty) in [(Signal::Traces, true), (Signal::Metrics, false), (Signal::Logs, false)] {
        assert_eq!(Items::of(signal, [&unsampled]).is_empty(), is_empty, "{signal:?}");
        assert!(Items::of(signal, []).is_empty(), "{signal:?}");
    }
}

#[test]
fn a_count_that_changes_makes_no_new_metric() {
    let resource = resource();
    for (signal, is_told) in [(Signal::Traces, true), (Signal::Metrics, false), (Signal::Logs, true)] {
        let items = sample_of(signal);
        let attributes = export(&resource, &items).scope_attributes();
        let found = attributes.iter().any(|(name, _)| *name == names::DROPPED);
        assert_eq!(found, is_told, "{signal:?}");
    }
}

#[test]
fn both_encodings_say_the_same() {
    let resource = resource();
    for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
        let items = if signal == Signal::Traces {
            sample()
        } else {
            sample_of(signal)
        };
        let export = export(&resource, &items);
        let read = protobuf::tests::read(signal, &export.encode(Encoding::Protobuf));
        assert_eq!(read, json::encode(&export), "{signal:?}: {read:#}");
    }
}
