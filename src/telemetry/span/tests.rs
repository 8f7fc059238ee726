use super::*;
use crate::telemetry::operation::Upshot;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Of a run, with this.
pub(crate) fn event(what: What) -> Event {
    Event {
        id: "evt_1".into(),
        at_ms: 1_100,
        orchestrator: "acme".into(),
        run: "run_01".into(),
        traceparent: format!("00-{TRACE}-b7ad6b7169203331-01"),
        parent_span: Some("00f067aa0ba902b7".into()),
        what,
    }
}

/// The first attempt of a step.
pub(crate) fn subject() -> Subject {
    Subject {
        ordinal: 1,
        step: "s1".into(),
        attempt: 1,
        agent: "triage".into(),
        agent_version: "1.0.0".into(),
        parent: None,
        route: Route::Orchestrated,
        background: false,
    }
}

/// As it should be.
pub(crate) fn completed() -> Ending {
    Ending {
        outcome: "completed".into(),
        error_code: None,
    }
}

/// An attempt that completed.
pub(crate) fn ended() -> Event {
    event(What::AttemptEnded {
        subject: subject(),
        accepted_at_ms: 1_000,
        executions: 1,
        status: 200,
        ending: completed(),
    })
}

/// An execution that ended like this, after so many hops.
pub(crate) fn execution(ending: Ending, hops: Vec<Hop>) -> Event {
    event(What::ExecutionEnded {
        subject: subject(),
        execution: 1,
        claimed_until_ms: 9_000,
        started_at_ms: 1_010,
        ending,
        hops,
        usage: Usage {
            input_tokens: Some(7),
            output_tokens: None,
            cost_micros: Some(40),
            cached: false,
        },
        operations: Vec::new(),
    })
}

/// An execution that failed.
pub(crate) fn failed() -> Event {
    let ending = Ending {
        outcome: "failed".into(),
        error_code: Some("agent-panicked".into()),
    };
    execution(ending, Vec::new())
}

/// A model that an agent asked.
pub(crate) fn chat(upshot: Upshot) -> Operation {
    let what = Doing::Chat {
        provider: "openai".into(),
        model: "small".into(),
        host: "models.example.com".into(),
    };
    operation(what, upshot)
}

fn operation(what: Doing, upshot: Upshot) -> Operation {
    Operation {
        traceparent: format!("00-{TRACE}-00000000000000c4-01"),
        parent_span: "00000000000000a6".into(),
        what,
        started_at_ms: 1_020,
        ended_at_ms: 1_060,
        upshot,
    }
}

/// An execution in which this was done.
pub(crate) fn with_operations(mut event: Event, done: Vec<Operation>) -> Event {
    match &mut event.what {
        What::ExecutionEnded { operations, .. } => *operations = done,
        other => panic!("{other:?}"),
    }
    event
}

fn attribute<'s>(span: &'s Span, name: &str) -> Option<&'s Value> {
    span.attributes
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

#[test]
fn an_attempt_is_the_callers_child_and_an_execution_is_the_attempts() {
    let attempt = &spans_of(&ended())[0];
    assert_eq!(
        (attempt.kind, attempt.parent.as_deref()),
        (Kind::Server, Some("00f067aa0ba902b7"))
    );
    assert_eq!(attempt.context.span_id(), "b7ad6b7169203331");
    assert_eq!((attempt.started_at_ms, attempt.ended_at_ms), (1_000, 1_100));
    let agent = &spans_of(&execution(completed(), Vec::new()))[0];
    assert_eq!(
        (agent.kind, agent.name.as_str()),
        (Kind::Internal, "invoke_agent triage")
    );
    assert_eq!(agent.parent.as_deref(), Some("b7ad6b7169203331"));
    assert_eq!(agent.context.trace_id(), TRACE);
    assert_eq!(attribute(agent, names::GENAI_INPUT_TOKENS), Some(&Value::Number(7)));
    assert_eq!(attribute(agent, names::GENAI_OUTPUT_TOKENS), None);
    assert_eq!(attribute(agent, names::COST_MICROS), Some(&Value::Number(40)));
    assert_eq!(attribute(agent, names::CACHED), None);
    assert!(!agent.is_error && attribute(agent, names::ERROR_TYPE).is_none());
}

#[test]
fn an_answer_that_was_kept_says_so() {
    let mut event = execution(completed(), Vec::new());
    if let What::ExecutionEnded { usage, .. } = &mut event.what {
        usage.cached = true;
    }
    assert_eq!(attribute(&spans_of(&event)[0], names::CACHED), Some(&Value::Flag(true)));
}

#[test]
fn what_failed_says_so() {
    let span = &spans_of(&failed())[0];
    assert!(span.is_error);
    assert_eq!(attribute(span, names::ERROR_TYPE), Some(&"agent-panicked".into()));
}

#[test]
fn a_workflows_call_is_a_part_of_the_workflow_and_no_request() {
    let mut called = ended();
    if let What::AttemptEnded { subject, .. } = &mut called.what {
        subject.parent = Some("s0".into());
    }
    let span = &spans_of(&called)[0];
    assert_eq!((span.name.as_str(), span.kind), ("call triage", Kind::Internal));
    assert_eq!(span.parent.as_deref(), Some("00f067aa0ba902b7"));
    assert_eq!(attribute(span, names::WORKFLOW_STEP), Some(&"s0".into()));
    assert_eq!(attribute(span, names::HTTP_STATUS), None);
    assert_eq!(attribute(span, names::OUTCOME), Some(&"completed".into()));
}

#[test]
fn agents_that_hand_off_are_spans_of_their_own_each_linked_to_the_one_before() {
    let hop = |agent: &str, to: &str| Hop {
        agent: agent.into(),
        duration_ms: 20,
        to: to.into(),
        ..Hop::default()
    };
    let hops = vec![hop("triage", "desk"), hop("desk", "refund")];
    let spans = spans_of(&execution(completed(), hops));
    let told: Vec<_> = spans
        .iter()
        .map(|span| (span.name.as_str(), span.started_at_ms, span.ended_at_ms))
        .collect();
    assert_eq!(
        told,
        [
            ("invoke_agent triage", 1_010, 1_030),
            ("invoke_agent desk", 1_030, 1_050),
            ("invoke_agent refund", 1_050, 1_100)
        ]
    );
    assert!(spans[0].links.is_empty());
    assert_eq!(spans[2].links, [spans[1].context.clone()]);
    assert_eq!(attribute(&spans[0], names::OUTCOME), Some(&"handed_off".into()));
    assert_eq!(attribute(&spans[2], names::OUTCOME), Some(&"completed".into()));
}

#[test]
fn other_events_are_parts_of_their_step() {
    let dead = event(What::CallbackEnded {
        delivery: "msg_1".into(),
        host: "o.example".into(),
        tries: 3,
        since_ms: 1_000,
        delivered: false,
    });
    let span = &spans_of(&dead)[0];
    assert_eq!(
        (span.kind, span.parent.as_deref()),
        (Kind::Client, Some("b7ad6b7169203331"))
    );
    assert!(span.is_error);
    let handed = |with_step| {
        event(What::HandedOff {
            handoff: "hnd_1".into(),
            agent: "refund".into(),
            from: "desk".into(),
            after: Some(format!("00-{TRACE}-1111111111111111-01")),
            with_step,
        })
    };
    let (with, alone) = (&spans_of(&handed(true))[0], &spans_of(&handed(false))[0]);
    assert_eq!(with.links[0].span_id(), "1111111111111111");
    assert_eq!((with.kind, alone.kind), (Kind::Internal, Kind::Server));
    assert_eq!(alone.parent.as_deref(), Some("00f067aa0ba902b7"));
    let settled = event(What::SettlementEnded {
        tries: 1,
        since_ms: 1_000,
        status: "acknowledged".into(),
    });
    assert!(!spans_of(&settled)[0].is_error);
    let taken = event(What::TakenOver {
        reason: "timeout".into(),
    });
    assert_eq!(spans_of(&taken)[0].started_at_ms, 1_100);
}

#[test]
fn a_call_that_an_orchestrator_coordinated_is_the_parent_of_its_steps() {
    let routed = |tried: &[&str], outcome: &str| {
        event(What::Routed {
            agent: "triage".into(),
            tried: tried.iter().map(|id| (*id).to_owned()).collect(),
            accepted_at_ms: 1_000,
            outcome: outcome.into(),
        })
    };
    let event = routed(&[], "completed");
    assert!(!event.is_notable());
    let span = &spans_of(&event)[0];
    assert_eq!(
        (span.name.as_str(), span.kind),
        ("POST /agents/{agent}/query", Kind::Server)
    );
    // Whoever coordinates it names this one as the parent of its steps.
    assert_eq!(span.context.span_id(), "b7ad6b7169203331");
    assert_eq!(span.parent.as_deref(), Some("00f067aa0ba902b7"));
    assert_eq!((span.started_at_ms, span.ended_at_ms), (1_000, 1_100));
    assert_eq!(attribute(span, names::ROUTE), Some(&"orchestrated".into()));
    assert_eq!(attribute(span, names::ROUTE_TRIED), None);
    assert!(!span.is_error);
    let event = routed(&["first", "second"], "failed");
    assert!(event.is_notable());
    let span = &spans_of(&event)[0];
    assert_eq!(attribute(span, names::ROUTE_TRIED), Some(&"first,second".into()));
    assert!(span.is_error);
}

#[test]
fn what_has_begun_is_no_span_yet_nor_is_what_has_no_trace() {
    let began = event(What::ExecutionBegan {
        subject: subject(),
        execution: 1,
        claimed_until_ms: 9_000,
    });
    assert!(spans_of(&began).is_empty());
    let mut broken = ended();
    broken.traceparent = "00-1-2-01".into();
    assert!(spans_of(&broken).is_empty());
}

#[test]
fn an_agent_that_failed_is_an_error_also_where_another_one_stood_in() {
    let hop = Hop {
        agent: "triage".into(),
        error: Some("no-model".into()),
        duration_ms: 20,
        to: "desk".into(),
    };
    let spans = spans_of(&execution(completed(), vec![hop]));
    let told: Vec<_> = spans.iter().map(|span| (span.name.as_str(), span.is_error)).collect();
    assert_eq!(told, [("invoke_agent triage", true), ("invoke_agent desk", false)]);
    assert_eq!(attribute(&spans[0], names::OUTCOME), Some(&"failed".into()));
    assert_eq!(attribute(&spans[0], names::ERROR_TYPE), Some(&"no-model".into()));
}

#[test]
fn what_an_agent_has_others_do_is_a_span_of_its_own() {
    let usage = Usage {
        input_tokens: Some(11),
        output_tokens: Some(3),
        ..Usage::default()
    };
    let answered = Upshot {
        usage,
        ..Upshot::default()
    };
    let status = Upshot {
        status: Some(503),
        ..Upshot::failed("503")
    };
    let remote = Doing::Remote {
        agent: "desk".into(),
        host: "east.example.com".into(),
    };
    let request = Doing::Request {
        method: "GET".into(),
        host: "crm.example.com".into(),
    };
    let tool = Doing::Tool { agent: "desk".into() };
    for (operation, name, kind, error, attributes) in [
        (
            chat(answered),
            "chat small",
            Kind::Client,
            None,
            vec![
                (names::GENAI_OPERATION, "chat".into()),
                (names::GENAI_PROVIDER, "openai".into()),
                (names::GENAI_MODEL, "small".into()),
                (names::SERVER_ADDRESS, "models.example.com".into()),
                (names::GENAI_INPUT_TOKENS, Value::Number(11)),
                (names::GENAI_OUTPUT_TOKENS, Value::Number(3)),
            ],
        ),
        (
            operation(tool, Upshot::failed("tool-timed-out")),
            "execute_tool desk",
            Kind::Internal,
            Some("tool-timed-out"),
            vec![
                (names::GENAI_OPERATION, "execute_tool".into()),
                (names::GENAI_TOOL_NAME, "desk".into()),
                (names::GENAI_TOOL_TYPE, "function".into()),
            ],
        ),
        (
            operation(remote, Upshot::default()),
            "invoke_agent desk",
            Kind::Client,
            None,
            vec![
                (names::GENAI_OPERATION, "invoke_agent".into()),
                (names::GENAI_AGENT_NAME, "desk".into()),
                (names::SERVER_ADDRESS, "east.example.com".into()),
            ],
        ),
        (
            operation(request, status),
            "GET",
            Kind::Client,
            Some("503"),
            vec![
                (names::HTTP_METHOD, "GET".into()),
                (names::SERVER_ADDRESS, "crm.example.com".into()),
                (names::HTTP_STATUS, Value::Number(503)),
            ],
        ),
    ] {
        let event = with_operations(execution(completed(), Vec::new()), vec![operation]);
        let spans = spans_of(&event);
        assert_eq!(spans.len(), 2, "{name}");
        let span = &spans[1];
        assert_eq!((span.name.as_str(), span.kind), (name, kind));
        assert_eq!(span.parent.as_deref(), Some("00000000000000a6"), "{name}");
        assert_eq!(span.context.span_id(), "00000000000000c4");
        assert_eq!((span.started_at_ms, span.ended_at_ms), (1_020, 1_060));
        for expected in attributes {
            assert!(span.attributes.contains(&expected), "{expected:?}: {span:?}");
        }
        assert_eq!(span.is_error, error.is_some(), "{name}");
        assert_eq!(attribute(span, names::ERROR_TYPE), error.map(Value::from).as_ref());
    }
}

#[test]
fn an_event_has_so_many_spans_at_most() {
    let hop = Hop {
        agent: "a".into(),
        duration_ms: 1,
        to: "b".into(),
        ..Hop::default()
    };
    let most = vec![hop; crate::invocation::HOPS_MAX + crate::manifest::FALLBACK_AGENTS_MAX];
    let event = with_operations(
        execution(completed(), most),
        vec![chat(Upshot::default()); OPERATIONS_MAX],
    );
    assert_eq!(spans_of(&event).len(), SPANS_MAX);
}

#[test]
fn a_change_of_a_link_is_a_span_of_its_own_and_of_no_run() {
    let changed = |change| {
        let event = Event {
            parent_span: None,
            ..event(What::LinkChanged(change))
        };
        spans_of(&event).remove(0)
    };
    let span = changed(Change::LeaseLost { generation: 3 });
    assert_eq!(
        (span.name.as_str(), span.parent.as_deref(), span.is_error),
        ("link", None, true)
    );
    assert_eq!((span.started_at_ms, span.ended_at_ms), (1_100, 1_100));
    let attributes: Vec<_> = span.attributes.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        attributes,
        [
            names::EVENT,
            names::ORCHESTRATOR,
            names::LINK_CHANGE,
            names::LINK_GENERATION,
            names::ERROR_TYPE
        ]
    );
    let key = Some("k2".to_owned());
    let span = changed(Change::KeyChanged { key });
    assert!(!span.is_error && span.attributes.contains(&(names::LINK_KEY, "k2".into())));
}
