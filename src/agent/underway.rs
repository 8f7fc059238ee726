//! What an agent has others do, taken down from its beginning to its end for what is told of its execution.

use super::{Context, Host, Journal};
use crate::telemetry::operation::{Doing, Operation, Upshot};
use crate::telemetry::trace_context::TraceContext;

/// The code of an operation whose agent was dropped meanwhile: the step's deadline had passed, or it was cancelled.
pub const INTERRUPTED: &str = "interrupted";

/// An operation that is under way. One that is dropped before its end was interrupted, and is told as that.
pub(super) struct Underway<'a> {
    journal: &'a Journal,
    host: &'a dyn Host,
    /// Nothing where the agent is in no trace.
    operation: Option<Operation>,
}

impl<'a> Underway<'a> {
    /// It begins now, as a part of what the context's agent does.
    pub(super) fn begin(context: &Context<'a>, what: Doing) -> Self {
        let started_at_ms = context.host.now_ms();
        let parent = context.traceparent.and_then(TraceContext::parse);
        let operation = parent.map(|parent| {
            let place = format!("operation/{}", context.journal.next_operation());
            Operation {
                traceparent: parent.within(&place).traceparent(),
                parent_span: parent.span_id().to_owned(),
                what,
                started_at_ms,
                ended_at_ms: started_at_ms,
                upshot: Upshot::failed(INTERRUPTED),
            }
        });
        Self {
            journal: context.journal,
            host: context.host,
            operation,
        }
    }

    /// Its span: the parent of what is done within it.
    pub(super) fn span(&self) -> Option<&str> {
        self.operation.as_ref().map(|operation| operation.traceparent.as_str())
    }

    /// It ends now, with this.
    pub(super) fn end(mut self, upshot: Upshot) {
        if let Some(operation) = &mut self.operation {
            operation.upshot = upshot;
        }
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if let Some(mut operation) = self.operation.take() {
            operation.ended_at_ms = self.host.now_ms();
            self.journal.did(operation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{BEGIN_MS, FakeOutside, SPAN, connections};
    use super::*;
    use crate::manifest::Team;
    use crate::telemetry::operation::OPERATIONS_MAX;

    fn tool(agent: &str) -> Doing {
        Doing::Tool { agent: agent.into() }
    }

    #[test]
    fn each_has_a_span_of_its_own_within_the_agents() {
        let (outside, journal) = (FakeOutside::new(connections(&[]), []), Journal::default());
        let context = outside.context(Team::embedded(), &journal, None);
        let first = Underway::begin(&context, tool("a"));
        let first_span = first.span().expect("a span").to_owned();
        outside.now_ms.set(BEGIN_MS + 7);
        first.end(Upshot::default());
        Underway::begin(&context, tool("b")).end(Upshot::failed("boom"));
        let told = journal.take_operations();
        assert_eq!(told.len(), 2);
        assert_eq!((&told[0].traceparent, &told[0].what), (&first_span, &tool("a")));
        assert_eq!((told[0].started_at_ms, told[0].ended_at_ms), (BEGIN_MS, BEGIN_MS + 7));
        assert_eq!(told[0].upshot, Upshot::default());
        assert_eq!(told[1].upshot.error.as_deref(), Some("boom"));
        assert_ne!(told[0].traceparent, told[1].traceparent);
        for operation in &told {
            assert!(SPAN.contains(&operation.parent_span));
            assert_eq!(operation.traceparent[..36], SPAN[..36], "the same trace");
        }
    }

    #[test]
    fn what_is_dropped_was_interrupted() {
        let (outside, journal) = (FakeOutside::new(connections(&[]), []), Journal::default());
        let context = outside.context(Team::embedded(), &journal, None);
        drop(Underway::begin(&context, tool("a")));
        assert_eq!(journal.take_operations()[0].upshot, Upshot::failed(INTERRUPTED));
    }

    #[test]
    fn so_many_are_told_and_those_of_no_trace_are_not() {
        let (outside, journal) = (FakeOutside::new(connections(&[]), []), Journal::default());
        let context = outside.context(Team::embedded(), &journal, None);
        for number in 0..=OPERATIONS_MAX {
            Underway::begin(&context, tool(&number.to_string())).end(Upshot::default());
        }
        let told = journal.take_operations();
        assert_eq!(told.len(), OPERATIONS_MAX);
        assert_eq!(told[0].what, tool("0"));
        let context = Context {
            traceparent: None,
            ..context
        };
        let none = Underway::begin(&context, tool("a"));
        assert_eq!(none.span(), None);
        none.end(Upshot::default());
        assert!(journal.take_operations().is_empty());
    }
}
