//! The log record that an event is told as: one for each, with what its span knows, and never anything that a caller or an
//! agent wrote.

use super::event::{Ending, Event, What, agent_span};
use super::names;
use super::span::{Attribute, attributes_of_agent, attributes_of_event, attributes_of_subject, own_spans_of};
use super::trace_context::TraceContext;

/// A log record, in no encoding yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The span that it belongs to; nothing where its trace cannot be read.
    pub context: Option<TraceContext>,
    /// When it happened, in Unix milliseconds.
    pub at_ms: u64,
    /// How bad it is.
    pub severity: Severity,
    /// What happened: `baton.execution_ended` and the like.
    pub name: String,
    /// The same for people, in a few words.
    pub body: String,
    /// What is known of it.
    pub attributes: Vec<Attribute>,
}

/// How bad something is, with its number in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Info = 9,
    /// It failed, and somebody was told so or took over.
    Warn = 13,
    /// It was given up: nobody tries it again by itself.
    Error = 17,
}

impl Severity {
    /// In a word, as the protocol has it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// The log record of an event, whatever was decided about the sampling of its trace.
#[must_use]
pub fn record_of(event: &Event) -> Record {
    let (context, attributes) = match own_spans_of(event).pop() {
        Some(span) => (Some(span.context), span.attributes),
        None => without_span(event),
    };
    Record {
        context,
        at_ms: event.at_ms,
        severity: severity(&event.what),
        name: format!("{}{}", names::EVENT_PREFIX, event.what.name()),
        body: body(&event.what),
        attributes,
    }
}

/// Where it belongs, and what is known of it, while no span tells it.
fn without_span(event: &Event) -> (Option<TraceContext>, Vec<Attribute>) {
    let own = TraceContext::parse(&event.traceparent);
    let mut attributes = attributes_of_event(event);
    let What::ExecutionBegan { subject, execution, .. } = &event.what else {
        return (own, attributes);
    };
    attributes.extend(attributes_of_agent(&subject.agent, *execution));
    attributes.extend(attributes_of_subject(subject));
    (own.map(|own| agent_span(&own, *execution, 0)), attributes)
}

fn severity(what: &What) -> Severity {
    let warn_if = |failed: bool| if failed { Severity::Warn } else { Severity::Info };
    match what {
        What::ExecutionBegan { .. } | What::HandedOff { .. } => Severity::Info,
        What::ExecutionEnded { ending, hops, .. } => {
            warn_if(ending.is_error() || hops.iter().any(|hop| hop.error.is_some()))
        }
        What::AttemptEnded { ending, .. } => warn_if(ending.is_error()),
        What::TakenOver { .. } => Severity::Warn,
        What::Routed { outcome, tried, .. } => warn_if(outcome == "failed" || !tried.is_empty()),
        What::LinkChanged(change) => warn_if(change.is_error()),
        What::CallbackEnded { delivered: true, .. } => Severity::Info,
        What::CallbackEnded { delivered: false, .. } => Severity::Error,
        What::SettlementEnded { status, .. } => match status.as_str() {
            "acknowledged" => Severity::Info,
            "given_up" => Severity::Error,
            _ => Severity::Warn,
        },
    }
}

fn body(what: &What) -> String {
    match what {
        What::ExecutionBegan { subject, .. } => format!("{} began to work", subject.agent),
        What::ExecutionEnded { subject, ending, .. } => format!("execution of {}: {}", subject.agent, words(ending)),
        What::AttemptEnded { subject, ending, .. } => format!("attempt with {}: {}", subject.agent, words(ending)),
        What::HandedOff { agent, from, .. } => format!("{from} handed over to {agent}"),
        What::TakenOver { reason } => format!("taken over from the orchestrator: {reason}"),
        What::Routed { agent, outcome, .. } => format!("a call of {agent}, handed on: {outcome}"),
        What::CallbackEnded { tries, delivered, .. } => {
            let ending = if *delivered { "delivered" } else { "given up" };
            format!("callback {ending} after {tries} tries")
        }
        What::LinkChanged(change) => format!("link: {}", change.name()),
        What::SettlementEnded { tries, status, .. } => format!("settlement after {tries} tries: {status}"),
    }
}

fn words(ending: &Ending) -> String {
    match &ending.error_code {
        Some(code) => format!("{}, {code}", ending.outcome),
        None => ending.outcome.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::{Hop, Route, Subject};
    use super::super::span::Value;
    use super::super::span::tests::{completed, ended, event, execution, failed, subject};
    use super::*;
    use crate::link::Change;

    fn value<'r>(record: &'r Record, name: &str) -> Option<&'r Value> {
        let found = record.attributes.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value)
    }

    fn began() -> Event {
        event(What::ExecutionBegan {
            subject: subject(),
            execution: 1,
            claimed_until_ms: 9_000,
        })
    }

    #[test]
    fn it_is_as_bad_as_what_happened() {
        let stand_in = Hop {
            error: Some("agent-panicked".into()),
            to: "other".into(),
            ..Hop::default()
        };
        let callback = |delivered| {
            event(What::CallbackEnded {
                delivery: "msg_1".into(),
                host: "o.example.com".into(),
                tries: 3,
                since_ms: 1_000,
                delivered,
            })
        };
        let settled = |status: &str| {
            event(What::SettlementEnded {
                tries: 2,
                since_ms: 1_000,
                status: status.into(),
            })
        };
        let handed_off = What::HandedOff {
            handoff: "h1".into(),
            agent: "other".into(),
            from: "triage".into(),
            after: None,
            with_step: false,
        };
        for (event, severity, name, body) in [
            (began(), Severity::Info, "execution_began", "triage began to work"),
            (
                execution(completed(), Vec::new()),
                Severity::Info,
                "execution_ended",
                "execution of triage: completed",
            ),
            (
                execution(completed(), vec![stand_in]),
                Severity::Warn,
                "execution_ended",
                "execution of triage: completed",
            ),
            (
                failed(),
                Severity::Warn,
                "execution_ended",
                "execution of triage: failed, agent-panicked",
            ),
            (
                execution(Ending::lost(), Vec::new()),
                Severity::Warn,
                "execution_ended",
                "execution of triage: lost, attempt-lost",
            ),
            (
                ended(),
                Severity::Info,
                "attempt_ended",
                "attempt with triage: completed",
            ),
            (
                event(handed_off),
                Severity::Info,
                "handed_off",
                "triage handed over to other",
            ),
            (
                event(What::TakenOver {
                    reason: "breaker-open".into(),
                }),
                Severity::Warn,
                "taken_over",
                "taken over from the orchestrator: breaker-open",
            ),
            (
                event(What::Routed {
                    agent: "triage".into(),
                    tried: Vec::new(),
                    accepted_at_ms: 1_000,
                    outcome: "completed".into(),
                }),
                Severity::Info,
                "routed",
                "a call of triage, handed on: completed",
            ),
            (
                event(What::LinkChanged(Change::Draining)),
                Severity::Info,
                "link_changed",
                "link: draining",
            ),
            (
                event(What::LinkChanged(Change::LeaseLost { generation: 2 })),
                Severity::Warn,
                "link_changed",
                "link: lease_lost",
            ),
            (
                callback(true),
                Severity::Info,
                "callback_ended",
                "callback delivered after 3 tries",
            ),
            (
                callback(false),
                Severity::Error,
                "callback_ended",
                "callback given up after 3 tries",
            ),
            (
                settled("acknowledged"),
                Severity::Info,
                "settlement_ended",
                "settlement after 2 tries: acknowledged",
            ),
            (
                settled("conflict"),
                Severity::Warn,
                "settlement_ended",
                "settlement after 2 tries: conflict",
            ),
            (
                settled("given_up"),
                Severity::Error,
                "settlement_ended",
                "settlement after 2 tries: given_up",
            ),
        ] {
            let record = record_of(&event);
            assert_eq!(
                (record.severity, record.name.as_str(), record.body.as_str()),
                (severity, format!("baton.{name}").as_str(), body)
            );
            assert_eq!(value(&record, names::EVENT), Some(&"evt_1".into()), "{name}");
            assert_eq!(record.at_ms, event.at_ms);
        }
    }

    #[test]
    fn a_beginning_and_its_end_belong_to_the_same_span() {
        let (began, ended) = (record_of(&began()), record_of(&failed()));
        assert!(began.context.is_some());
        assert_eq!(began.context, ended.context);
        for name in [
            names::RUN,
            names::STEP,
            names::GENAI_AGENT_NAME,
            names::EXECUTION,
            names::ROUTE,
        ] {
            assert!(value(&began, name).is_some(), "{name}");
            assert_eq!(value(&began, name), value(&ended, name), "{name}");
        }
        assert_eq!(value(&ended, names::ERROR_TYPE), Some(&"agent-panicked".into()));
    }

    #[test]
    fn one_whose_trace_cannot_be_read_is_told_all_the_same() {
        let record = record_of(&Event {
            traceparent: "x".into(),
            ..ended()
        });
        assert_eq!(record.context, None);
        assert_eq!(value(&record, names::RUN), Some(&"run_01".into()));
    }

    #[test]
    fn who_coordinated_is_among_it() {
        let local = What::ExecutionBegan {
            subject: Subject {
                route: Route::Local,
                ..subject()
            },
            execution: 2,
            claimed_until_ms: 9_000,
        };
        let record = record_of(&event(local));
        assert_eq!(value(&record, names::ROUTE), Some(&"local".into()));
        assert_eq!(value(&record, names::EXECUTION), Some(&Value::Number(2)));
    }
}
