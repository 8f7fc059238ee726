//! The spans that an event is told as.

use super::event::{Ending, Event, Hop, Route, Subject, Usage, What, agent_span};
use super::names;
use super::operation::{Doing, OPERATIONS_MAX, Operation};
use super::trace_context::TraceContext;
use crate::link::Change;

/// A span, in no encoding yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Where it is.
    pub context: TraceContext,
    /// The span that it is a part of, in 16 hexadecimal digits.
    pub parent: Option<String>,
    /// What is done.
    pub name: String,
    /// From which side.
    pub kind: Kind,
    /// Unix milliseconds.
    pub started_at_ms: u64,
    /// Unix milliseconds.
    pub ended_at_ms: u64,
    /// What is known of it.
    pub attributes: Vec<Attribute>,
    /// Whether it failed.
    pub is_error: bool,
    /// What it follows from, without being a part of it.
    pub links: Vec<TraceContext>,
}

/// From which side a span is told, with its number in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Within.
    Internal = 1,
    /// A request that was received.
    Server = 2,
    /// A request that was sent.
    Client = 3,
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
}

/// What is known of something: a name of [`names`], and its value.
pub type Attribute = (&'static str, Value);

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// The most spans that one event is told as: an execution, with every hop, every agent that may stand in, and what they had
/// others do.
pub const SPANS_MAX: usize = 1 + crate::invocation::HOPS_MAX + crate::manifest::FALLBACK_AGENTS_MAX + OPERATIONS_MAX;

/// The spans of an event: none for what has only begun, and none where its trace cannot be read.
#[must_use]
pub fn spans_of(event: &Event) -> Vec<Span> {
    let Some(teller) = Teller::of(event) else {
        return Vec::new();
    };
    let mut spans = own_spans(&teller);
    if let What::ExecutionEnded { operations, .. } = &event.what {
        spans.extend(operations.iter().filter_map(|operation| teller.operation(operation)));
    }
    spans
}

/// The same without what agents had others do: of several agents the last one is the one that it ended with.
#[must_use]
pub(super) fn own_spans_of(event: &Event) -> Vec<Span> {
    Teller::of(event).as_ref().map(own_spans).unwrap_or_default()
}

fn own_spans(teller: &Teller<'_>) -> Vec<Span> {
    let event = teller.event;
    match &event.what {
        What::ExecutionBegan { .. } => Vec::new(),
        What::ExecutionEnded {
            subject,
            execution,
            started_at_ms,
            ending,
            hops,
            usage,
            ..
        } => teller.execution(subject, (*execution, *started_at_ms), ending, hops, *usage),
        What::AttemptEnded {
            subject,
            accepted_at_ms,
            executions,
            status,
            ending,
        } => vec![teller.attempt(subject, *accepted_at_ms, *executions, *status, ending)],
        What::HandedOff {
            handoff,
            agent,
            from,
            after,
            with_step,
        } => vec![teller.handoff((handoff, agent, from), after.as_deref(), *with_step)],
        What::TakenOver { reason } => vec![teller.part("takeover", Kind::Internal, event.at_ms, {
            vec![(names::TAKEOVER_REASON, reason.as_str().into())]
        })],
        What::Routed {
            agent,
            tried,
            accepted_at_ms,
            outcome,
        } => vec![teller.routed(agent, tried, *accepted_at_ms, outcome)],
        What::CallbackEnded {
            delivery,
            host,
            tries,
            since_ms,
            delivered,
        } => {
            let attributes = vec![
                (names::DELIVERY, delivery.as_str().into()),
                (names::SERVER_ADDRESS, host.as_str().into()),
                (names::TRIES, Value::Number((*tries).into())),
            ];
            let mut span = teller.part("callback", Kind::Client, *since_ms, attributes);
            span.fail_if(!delivered, "callback-dead");
            vec![span]
        }
        What::LinkChanged(change) => vec![teller.link(change)],
        What::SettlementEnded {
            tries,
            since_ms,
            status,
        } => {
            let attributes = vec![
                (names::OUTCOME, status.as_str().into()),
                (names::TRIES, Value::Number((*tries).into())),
            ];
            let mut span = teller.part("settlement", Kind::Client, *since_ms, attributes);
            span.fail_if(status != "acknowledged", status);
            vec![span]
        }
    }
}

struct Teller<'e> {
    event: &'e Event,
    own: TraceContext,
}

impl<'e> Teller<'e> {
    fn of(event: &'e Event) -> Option<Self> {
        let own = TraceContext::parse(&event.traceparent)?;
        Some(Self { event, own })
    }

    fn span(&self, name: String, kind: Kind, context: TraceContext, started_at_ms: u64) -> Span {
        let event = self.event;
        Span {
            parent: None,
            context,
            name,
            kind,
            started_at_ms: started_at_ms.min(event.at_ms),
            ended_at_ms: event.at_ms,
            attributes: attributes_of_event(event),
            is_error: false,
            links: Vec::new(),
        }
    }

    /// A part of what the event belongs to.
    fn part(&self, name: &str, kind: Kind, since_ms: u64, attributes: Vec<Attribute>) -> Span {
        let context = self.own.within(&format!("{name}/{}", self.event.id));
        let mut span = self.span(name.to_owned(), kind, context, since_ms);
        span.parent = Some(self.own.span_id().to_owned());
        span.attributes.extend(attributes);
        span
    }

    /// A change of a link, as a moment.
    fn link(&self, change: &Change) -> Span {
        let mut span = self.span("link".to_owned(), Kind::Internal, self.own.clone(), self.event.at_ms);
        span.attributes.push((names::LINK_CHANGE, change.name().into()));
        match change {
            Change::Registered { generation } | Change::Renewed { generation } | Change::LeaseLost { generation } => {
                span.attributes
                    .push((names::LINK_GENERATION, Value::Number(*generation)));
            }
            Change::KeyChanged { key: Some(key) } => span.attributes.push((names::LINK_KEY, key.as_str().into())),
            Change::Breaker { forced, .. } => span.attributes.push((names::BREAKER_FORCED, Value::Flag(*forced))),
            Change::KeyChanged { key: None } | Change::Refused | Change::Draining | Change::Deregistered => {}
        }
        span.fail_if(change.is_error(), change.name());
        span
    }

    fn attempt(&self, subject: &Subject, accepted_at_ms: u64, executions: u32, status: u16, ending: &Ending) -> Span {
        let mut span = match &subject.parent {
            Some(workflow) => self.call_of(workflow, &subject.agent, accepted_at_ms),
            None => self.request(path(subject.route), accepted_at_ms, status),
        };
        span.parent.clone_from(&self.event.parent_span);
        let executions = Value::Number(executions.into());
        span.attributes.push((names::EXECUTION, executions));
        span.attributes.extend(attributes_of_subject(subject));
        span.attributes.push((names::OUTCOME, ending.outcome.as_str().into()));
        span.fail_as(ending);
        span
    }

    /// A direct call that an orchestrator coordinated: the steps that it invoked for it are parts of it.
    fn routed(&self, agent: &str, tried: &[String], accepted_at_ms: u64, outcome: &str) -> Span {
        let mut span = self.request(DIRECT, accepted_at_ms, 200);
        span.parent.clone_from(&self.event.parent_span);
        span.attributes.extend([
            (names::GENAI_AGENT_NAME, agent.into()),
            (names::ROUTE, Route::Orchestrated.name().into()),
            (names::OUTCOME, outcome.into()),
        ]);
        if !tried.is_empty() {
            span.attributes
                .push((names::ROUTE_TRIED, tried.join(",").as_str().into()));
        }
        span.fail_if(outcome == "failed", outcome);
        span
    }

    /// A request that somebody sent.
    fn request(&self, route: &'static str, accepted_at_ms: u64, status: u16) -> Span {
        let mut span = self.span(format!("POST {route}"), Kind::Server, self.own.clone(), accepted_at_ms);
        span.attributes.extend([
            (names::HTTP_METHOD, "POST".into()),
            (names::HTTP_ROUTE, route.into()),
            (names::HTTP_STATUS, Value::Number(status.into())),
        ]);
        span
    }

    /// An attempt that a workflow's step called.
    fn call_of(&self, workflow: &str, agent: &str, accepted_at_ms: u64) -> Span {
        let name = format!("call {agent}");
        let mut span = self.span(name, Kind::Internal, self.own.clone(), accepted_at_ms);
        span.attributes.push((names::WORKFLOW_STEP, workflow.into()));
        span
    }

    /// One span per agent that worked in it, one after the other. How it ended is the last one's.
    fn execution(
        &self,
        subject: &Subject,
        (execution, started_at_ms): (u32, u64),
        ending: &Ending,
        hops: &[Hop],
        usage: Usage,
    ) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let mut since_ms = started_at_ms;
        let mut agent = &subject.agent;
        for place in 0..=hops.len() {
            let context = agent_span(&self.own, execution, place);
            let name = format!("{} {agent}", names::INVOKE_AGENT);
            let mut span = self.span(name, Kind::Internal, context, since_ms);
            span.parent = Some(self.own.span_id().to_owned());
            // What it goes on from.
            span.links.extend(spans.last().map(|earlier| earlier.context.clone()));
            span.attributes.extend(attributes_of_agent(agent, execution));
            if subject.route == Route::Orchestrated {
                // Of other routes the run's id is the gateway's own, and no conversation of anybody's.
                let run = self.event.run.as_str().into();
                span.attributes.push((names::GENAI_CONVERSATION, run));
            }
            if let Some(hop) = hops.get(place) {
                since_ms = (since_ms + hop.duration_ms).min(self.event.at_ms);
                span.ended_at_ms = since_ms;
                let outcome = if hop.error.is_some() { "failed" } else { "handed_off" };
                span.attributes.push((names::OUTCOME, outcome.into()));
                span.fail_if(hop.error.is_some(), hop.error.as_deref().unwrap_or_default());
                agent = &hop.to;
            } else {
                span.attributes.extend(attributes_of_subject(subject));
                span.attributes.push((names::OUTCOME, ending.outcome.as_str().into()));
                span.attributes.extend(attributes_of_usage(usage));
                if usage.cached {
                    span.attributes.push((names::CACHED, Value::Flag(true)));
                }
                span.fail_as(ending);
            }
            if place == 0 {
                // The version is known of the one that was asked for alone.
                let version = subject.agent_version.as_str().into();
                span.attributes.push((names::GENAI_AGENT_VERSION, version));
            }
            spans.push(span);
        }
        spans
    }

    /// What an agent had somebody else do; nothing where its trace cannot be read.
    fn operation(&self, operation: &Operation) -> Option<Span> {
        let context = TraceContext::parse(&operation.traceparent)?;
        let (name, kind) = match &operation.what {
            Doing::Chat { model, .. } => (format!("{} {model}", names::CHAT), Kind::Client),
            Doing::Tool { agent } => (format!("{} {agent}", names::EXECUTE_TOOL), Kind::Internal),
            Doing::Call { agent } => (format!("{} {agent}", names::INVOKE_AGENT), Kind::Internal),
            Doing::Remote { agent, .. } => (format!("{} {agent}", names::INVOKE_AGENT), Kind::Client),
            Doing::Request { method, .. } => (method.clone(), Kind::Client),
        };
        let mut span = self.span(name, kind, context, operation.started_at_ms);
        span.parent = Some(operation.parent_span.clone());
        span.ended_at_ms = operation.ended_at_ms.clamp(span.started_at_ms, self.event.at_ms);
        span.attributes.extend(attributes_of_operation(&operation.what));
        let upshot = &operation.upshot;
        let status = upshot.status.map(|status| Value::Number(status.into()));
        span.attributes
            .extend(status.map(|status| (names::HTTP_STATUS, status)));
        span.attributes.extend(attributes_of_usage(upshot.usage));
        let error = upshot.error.as_deref();
        span.fail_if(error.is_some(), error.unwrap_or_default());
        Some(span)
    }

    fn handoff(&self, (handoff, agent, from): (&str, &str, &str), after: Option<&str>, with_step: bool) -> Span {
        let attributes = vec![
            (names::HANDOFF, handoff.into()),
            (names::HANDOFF_FROM, from.into()),
            (names::GENAI_AGENT_NAME, agent.into()),
        ];
        let mut span = if with_step {
            self.part(
                &format!("handoff {agent}"),
                Kind::Internal,
                self.event.at_ms,
                attributes,
            )
        } else {
            let route = "/agents/{agent}/handoffs";
            let mut span = self.span(
                format!("POST {route}"),
                Kind::Server,
                self.own.clone(),
                self.event.at_ms,
            );
            span.parent.clone_from(&self.event.parent_span);
            span.attributes.extend(attributes);
            let request = [(names::HTTP_METHOD, "POST".into()), (names::HTTP_ROUTE, route.into())];
            span.attributes.extend(request);
            span
        };
        span.links.extend(after.and_then(TraceContext::parse));
        span
    }
}

const DIRECT: &str = "/agents/{agent}/query";

/// Where an attempt was asked for, as its caller sees it: who calls an orchestrator's agent, and who calls directly.
const fn path(route: Route) -> &'static str {
    match route {
        Route::Orchestrated => "/agents/{agent}/steps",
        Route::Fallback | Route::Local => DIRECT,
    }
}

/// Which event it is, and whose.
pub(super) fn attributes_of_event(event: &Event) -> Vec<Attribute> {
    let mut attributes = vec![(names::EVENT, event.id.as_str().into())];
    if !matches!(event.what, What::LinkChanged(_)) {
        attributes.push((names::RUN, event.run.as_str().into()));
    }
    if event.orchestrator != crate::direct::NOBODY {
        attributes.push((names::ORCHESTRATOR, event.orchestrator.as_str().into()));
    }
    attributes
}

/// Which agent is at work, in which execution of its attempt.
pub(super) fn attributes_of_agent(agent: &str, execution: u32) -> [Attribute; 3] {
    [
        (names::GENAI_OPERATION, names::INVOKE_AGENT.into()),
        (names::GENAI_AGENT_NAME, agent.into()),
        (names::EXECUTION, Value::Number(execution.into())),
    ]
}

/// Which attempt it is.
pub(super) fn attributes_of_subject(subject: &Subject) -> [Attribute; 4] {
    [
        (names::STEP, subject.step.as_str().into()),
        (names::ATTEMPT, Value::Number(subject.attempt.into())),
        (names::ROUTE, subject.route.name().into()),
        (names::BACKGROUND, Value::Flag(subject.background)),
    ]
}

/// What somebody else does for an agent.
pub(super) fn attributes_of_operation(what: &Doing) -> Vec<Attribute> {
    let text = |name, text: &String| (name, text.as_str().into());
    match what {
        Doing::Chat { provider, model, host } => vec![
            (names::GENAI_OPERATION, names::CHAT.into()),
            text(names::GENAI_PROVIDER, provider),
            text(names::GENAI_MODEL, model),
            text(names::SERVER_ADDRESS, host),
        ],
        Doing::Tool { agent } => vec![
            (names::GENAI_OPERATION, names::EXECUTE_TOOL.into()),
            text(names::GENAI_TOOL_NAME, agent),
            (names::GENAI_TOOL_TYPE, "function".into()),
        ],
        Doing::Call { agent } => vec![
            (names::GENAI_OPERATION, names::INVOKE_AGENT.into()),
            text(names::GENAI_AGENT_NAME, agent),
        ],
        Doing::Remote { agent, host } => vec![
            (names::GENAI_OPERATION, names::INVOKE_AGENT.into()),
            text(names::GENAI_AGENT_NAME, agent),
            text(names::SERVER_ADDRESS, host),
        ],
        Doing::Request { method, host } => {
            vec![text(names::HTTP_METHOD, method), text(names::SERVER_ADDRESS, host)]
        }
    }
}

/// What was used, as far as it is known.
fn attributes_of_usage(usage: Usage) -> impl Iterator<Item = Attribute> {
    let counts = [
        (names::GENAI_INPUT_TOKENS, usage.input_tokens),
        (names::GENAI_OUTPUT_TOKENS, usage.output_tokens),
        (names::COST_MICROS, usage.cost_micros),
    ];
    let counts = counts.into_iter();
    counts.filter_map(|(name, count)| Some((name, Value::Number(count?))))
}

impl Span {
    fn fail_as(&mut self, ending: &Ending) {
        let code = ending.error_code.as_deref().unwrap_or(&ending.outcome);
        self.fail_if(ending.is_error(), code);
    }

    fn fail_if(&mut self, failed: bool, code: &str) {
        if failed {
            self.is_error = true;
            self.attributes.push((names::ERROR_TYPE, code.into()));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
