//! The log: one JSON line per event. Never a secret, never a body.

use std::panic;
use std::sync::Once;

use serde_json::{Value, json};
use worker::{console_error, console_log};

use super::incoming::Head;
use crate::channel::Notice;
use crate::gateway::{Body, Record};
use crate::invocation::Occasion;
use crate::link::Change;
use crate::run::StoredAnswer;
use crate::run::call::Call;
use crate::run::delivery::{Parcel, Sent};
use crate::run::ledger::Commit;
use crate::run::settlement::{self, Told};
use crate::telemetry::otlp::Verdict;
use crate::telemetry::trace_context::TraceContext;

/// The line of a request, which saw this version of the overrides.
pub fn request(
    head: &Head,
    occasion: &Occasion,
    response: &http::Response<Body>,
    (record, overrides_version): (&Record, u64),
    duration_ms: u64,
) {
    let line = json!({
        "event": "request",
        "request_id": occasion.request_id,
        "method": head.method.as_str(),
        "route": record.route,
        "agent": record.agent,
        "status": response.status().as_u16(),
        "outcome": record.outcome,
        "direct_route": record.direct_route,
        "problem": record.problem,
        "key_id": record.key_id,
        "replayed": record.replayed,
        "overrides_version": overrides_version,
        "duration_ms": duration_ms,
    });
    traced(line, record.span.as_ref());
}

/// A direct call that was answered as a stream: how it ended, after the line of its request.
pub fn live(occasion: &Occasion, record: &Record, duration_ms: u64) {
    let line = json!({
        "event": "answered",
        "request_id": occasion.request_id,
        "agent": record.agent,
        "outcome": record.outcome,
        "direct_route": record.direct_route,
        "problem": record.problem,
        "duration_ms": duration_ms,
    });
    traced(line, record.span.as_ref());
}

/// An execution in the background, and what became of it.
pub fn execution(call: &Call, answer: &StoredAnswer, commit: &Commit, duration_ms: u64) {
    let line = json!({
        "event": "execution",
        "request_id": call.request_id,
        "agent": call.agent,
        "outcome": answer.ending(),
        "commit": commit.name(),
        "duration_ms": duration_ms,
    });
    traced(line, TraceContext::parse(&call.traceparent).as_ref());
}

fn result_of(sent: &Sent) -> (&'static str, Option<&String>) {
    match sent {
        Sent::Delivered => ("delivered", None),
        Sent::Refused(reason) => ("refused", Some(reason)),
        Sent::Failed { reason, .. } => ("failed", Some(reason)),
    }
}

/// A try to tell a channel of an alert.
pub fn notice(notice: &Notice, sent: &Sent, duration_ms: u64) {
    let (result, reason) = result_of(sent);
    line(&json!({
        "event": "notice",
        "notice": notice.id,
        "channel": notice.channel,
        "kind": notice.kind,
        "result": result,
        "reason": reason,
        "duration_ms": duration_ms,
    }));
}

/// A try of a callback or a notification.
pub fn delivery(parcel: &Parcel, sent: &Sent, duration_ms: u64) {
    let (result, reason) = result_of(sent);
    let line = json!({
        "event": "delivery",
        "delivery": parcel.id,
        "orchestrator": parcel.orchestrator,
        "try": parcel.tries,
        "result": result,
        "reason": reason,
        "duration_ms": duration_ms,
    });
    traced(line, TraceContext::parse(&parcel.traceparent).as_ref());
}

/// A try of a settlement.
pub fn settlement(notice: &settlement::Notice, told: &Told) {
    let (result, reason) = match told {
        Told::Acknowledged => ("settled", None),
        Told::Conflict(reason) => ("conflict", Some(reason)),
        Told::Refused(reason) => ("refused", Some(reason)),
        Told::Failed(reason) => ("failed", Some(reason)),
    };
    let span = notice.traceparent.as_deref().and_then(TraceContext::parse);
    let line = json!({
        "event": "settlement",
        "orchestrator": notice.name.orchestrator,
        "run": notice.name.run,
        "edition": notice.edition,
        "try": notice.tries,
        "result": result,
        "reason": reason,
    });
    traced(line, span.as_ref());
}

/// A try to send so many events to a destination: which try of the run, or which request for a batch of the queue.
pub fn export(
    (destination, orchestrator): (&str, &str),
    (events, tries): (usize, u64),
    verdict: &Verdict,
    duration_ms: u64,
) {
    let (result, reason) = match verdict {
        Verdict::Delivered { rejected: None } => ("delivered", None),
        Verdict::Delivered {
            rejected: Some((_, reason)),
        } => ("delivered-in-part", Some(reason)),
        Verdict::Retry { reason, .. } => ("failed", Some(reason)),
        Verdict::Paused { reason } => ("paused", Some(reason)),
        Verdict::Refused { reason, .. } => ("refused", Some(reason)),
    };
    line(&json!({
        "event": "export",
        "destination": destination,
        "orchestrator": orchestrator,
        "events": events,
        "try": tries,
        "result": result,
        "reason": reason,
        "duration_ms": duration_ms,
    }));
}

/// A batch of the queue: so many messages, and so many events of them that go back into it.
pub fn batch(messages: usize, again: usize, duration_ms: u64) {
    line(&json!({"event": "batch", "messages": messages, "again": again, "duration_ms": duration_ms}));
}

/// What an operator should look at.
pub fn alarm(subject: &str, message: &str) {
    console_error!("{}", json!({"event": "alarm", "subject": subject, "message": message}));
}

/// A call that a link made, and how it ended.
pub fn link(orchestrator: &str, call: &str, result: &Value) {
    line(&json!({"event": "link", "orchestrator": orchestrator, "call": call, "result": result}));
}

/// A change of a link, with the span that tells of it.
pub fn link_change(orchestrator: &str, change: &Change, span: &TraceContext) {
    let (mut generation, mut key, mut forced) = (None, None, None);
    match change {
        Change::Registered { generation: number }
        | Change::Renewed { generation: number }
        | Change::LeaseLost { generation: number } => generation = Some(number),
        Change::KeyChanged { key: asked } => key = asked.as_deref(),
        Change::Breaker { forced: held, .. } => forced = Some(held),
        Change::Refused | Change::Draining | Change::Deregistered => {}
    }
    let line = json!({
        "event": "link-change",
        "orchestrator": orchestrator,
        "change": change.name(),
        "generation": generation,
        "key": key,
        "forced": forced,
    });
    traced(line, Some(span));
}

/// Says where the core panicked: that is a fault of ours. The message may hold a caller's data and is left out; so this
/// replaces the `worker` crate's own hook, which prints it, and is called by every entry point, after that was set.
pub fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|info| {
            let place = info
                .location()
                .map(|place| format!("{}:{}", place.file(), place.line()));
            console_error!("{}", json!({"event": "panic", "place": place}));
        }));
    });
}

/// A line of something that has a span, or could have one.
fn traced(mut of: Value, span: Option<&TraceContext>) {
    of["trace_id"] = span.map(TraceContext::trace_id).into();
    of["span_id"] = span.map(TraceContext::span_id).into();
    line(&of);
}

/// A line as it is.
pub fn line(value: &Value) {
    console_log!("{value}");
}
