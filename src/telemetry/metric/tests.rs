use super::super::event::{Ending, Hop};
use super::super::operation::Upshot;
use super::super::span::Value;
use super::super::span::tests::{chat, completed, ended, event, execution, failed, subject, with_operations};
use super::*;
use crate::link::Change;

fn data<'m>(metrics: &'m [Metric], name: &str) -> &'m Data {
    &metrics.iter().find(|metric| metric.name == name).expect(name).data
}

fn histogram<'m>(metrics: &'m [Metric], name: &str) -> &'m [Point<Distribution>] {
    match data(metrics, name) {
        Data::Histogram(_, points) => points,
        Data::Sum(points) => panic!("{points:?}"),
    }
}

fn texts<V>(point: &Point<V>) -> Vec<&str> {
    let mut texts = Vec::new();
    for (name, value) in &point.attributes {
        match value {
            Value::Text(text) => texts.push(text.as_str()),
            other => panic!("{name}: {other:?}"),
        }
    }
    texts
}

/// An execution that took so long, in milliseconds.
fn that_took(ms: u64) -> Event {
    let mut event = execution(completed(), Vec::new());
    if let What::ExecutionEnded { started_at_ms, .. } = &mut event.what {
        event.at_ms = *started_at_ms + ms;
    }
    event
}

#[test]
fn executions_are_counted_by_agent_route_and_outcome() {
    let events = [that_took(90), failed(), that_took(10), ended()];
    let metrics = metrics_of(&events);
    let Data::Sum(points) = data(&metrics, names::EXECUTIONS) else {
        panic!("{metrics:?}");
    };
    let found: Vec<_> = points.iter().map(|point| (texts(point), point.value)).collect();
    assert_eq!(
        found,
        [
            (vec!["triage", "orchestrated", "completed"], 2),
            (vec!["triage", "orchestrated", "failed"], 1),
        ]
    );
    let durations = histogram(&metrics, names::EXECUTION_DURATION);
    assert_eq!(durations.len(), 1, "whatever they came to");
    assert_eq!((durations[0].value.count(), durations[0].value.sum), (3, 190));
    let others = metrics_of([&ended()]);
    assert_eq!(others.len(), 1, "an attempt's end is no execution's");
}

#[test]
fn what_is_no_execution_is_counted_by_what_happened_and_what_came_of_it() {
    let handed_off = || What::HandedOff {
        handoff: "h1".into(),
        agent: "triage".into(),
        from: "the front desk".into(),
        after: None,
        with_step: false,
    };
    let called_back = |delivered| What::CallbackEnded {
        delivery: "msg_1".into(),
        host: "example.com".into(),
        tries: 2,
        since_ms: 1_000,
        delivered,
    };
    let settled = What::SettlementEnded {
        tries: 1,
        since_ms: 1_000,
        status: "conflict".into(),
    };
    let taken_over = What::TakenOver {
        reason: "lease-lost".into(),
    };
    let began = What::ExecutionBegan {
        subject: subject(),
        execution: 1,
        claimed_until_ms: 9_000,
    };
    let mut events: Vec<_> = [
        handed_off(),
        called_back(true),
        called_back(false),
        handed_off(),
        settled,
        taken_over,
        What::LinkChanged(Change::Refused),
        began,
    ]
    .map(event)
    .into();
    events.push(ended());
    events[3].at_ms += 500;
    let metrics = metrics_of(&events);
    let Data::Sum(points) = data(&metrics, names::EVENTS) else {
        panic!("{metrics:?}");
    };
    let found: Vec<_> = points.iter().map(|point| (texts(point), point.value)).collect();
    assert_eq!(
        found,
        [
            (vec!["handed_off"], 2),
            (vec!["callback_ended", "delivered"], 1),
            (vec!["callback_ended", "given_up"], 1),
            (vec!["settlement_ended", "conflict"], 1),
            (vec!["taken_over", "lease-lost"], 1),
            (vec!["link_changed", "refused"], 1),
            (vec!["attempt_ended", "completed"], 1),
        ]
    );
    assert_eq!((points[0].after_ms, points[0].until_ms), (1_099, 1_600));
    assert_eq!(metrics.len(), 1, "no execution ended");
}

#[test]
fn the_same_events_make_the_same_points_at_the_times_of_their_executions() {
    let events = [that_took(30), that_took(90)];
    assert_eq!(metrics_of(&events), metrics_of(&events));
    let metrics = metrics_of(&events);
    let point = &histogram(&metrics, names::EXECUTION_DURATION)[0];
    assert_eq!((point.after_ms, point.until_ms), (1_010, 1_100));
    let metrics = metrics_of([&that_took(0)]);
    let point = &histogram(&metrics, names::EXECUTION_DURATION)[0];
    assert_eq!((point.after_ms, point.until_ms), (1_009, 1_010), "never of no length");
}

#[test]
fn a_bucket_has_what_does_not_exceed_its_bound() {
    for (ms, bucket) in [(0, 0), (10, 0), (11, 1), (20, 1), (327_680, 15), (327_681, 16)] {
        let metrics = metrics_of([&that_took(ms)]);
        let buckets = &histogram(&metrics, names::EXECUTION_DURATION)[0].value.buckets;
        assert_eq!(buckets.iter().position(|count| *count == 1), Some(bucket), "{ms}");
        assert_eq!(buckets.len(), DURATION_BOUNDS_MS.len() + 1);
    }
    assert!((AGENT_DURATION.in_units(AGENT_DURATION.bounds[0]) - 0.1).abs() < f64::EPSILON);
}

#[test]
fn each_agent_worked_as_long_as_its_span_and_the_last_one_used_the_tokens() {
    let hop = |agent: &str, error: Option<&str>, to: &str| Hop {
        agent: agent.into(),
        error: error.map(str::to_owned),
        duration_ms: 20,
        to: to.into(),
    };
    let event = execution(
        completed(),
        vec![hop("triage", Some("boom"), "second"), hop("second", None, "third")],
    );
    let metrics = metrics_of([&event]);
    let agents = histogram(&metrics, names::GENAI_AGENT_DURATION);
    let found: Vec<_> = agents.iter().map(|point| (texts(point), point.value.sum)).collect();
    assert_eq!(
        found,
        [(vec!["triage", "boom"], 20), (vec!["second"], 20), (vec!["third"], 50),]
    );
    let tokens = histogram(&metrics, names::GENAI_TOKEN_USAGE);
    assert_eq!(tokens.len(), 1, "what was not told is not counted");
    assert_eq!(texts(&tokens[0]), ["invoke_agent", "third", "input"]);
    assert_eq!((tokens[0].value.count(), tokens[0].value.sum), (1, 7));
}

#[test]
fn models_are_counted_by_name_and_what_no_model_used_is_the_agents() {
    let answered = |input_tokens| {
        chat(Upshot {
            usage: Usage {
                input_tokens: Some(input_tokens),
                output_tokens: None,
                ..Usage::default()
            },
            ..Upshot::default()
        })
    };
    // The execution used 7 tokens.
    for (asked, rest) in [(vec![4], Some(3)), (vec![4, 3], None), (vec![8], None)] {
        let operations = asked.iter().map(|tokens| answered(*tokens)).collect();
        let metrics = metrics_of([&with_operations(execution(completed(), Vec::new()), operations)]);
        let points = histogram(&metrics, names::GENAI_TOKEN_USAGE);
        assert_eq!(texts(&points[0]), ["chat", "openai", "small", "input"]);
        assert_eq!(points[0].value.sum, asked.iter().sum::<u64>());
        let left = points.get(1).map(|point| (texts(point), point.value.sum));
        assert_eq!(left, rest.map(|rest| (vec!["invoke_agent", "triage", "input"], rest)));
    }
    let event = with_operations(
        execution(completed(), Vec::new()),
        vec![answered(7), chat(Upshot::failed("model-timed-out"))],
    );
    let metrics = metrics_of([&event]);
    let durations = histogram(&metrics, names::GENAI_OPERATION_DURATION);
    let found: Vec<_> = durations.iter().map(|point| (texts(point), point.value.sum)).collect();
    assert_eq!(
        found,
        [
            (vec!["chat", "openai", "small"], 40),
            (vec!["chat", "openai", "small", "model-timed-out"], 40),
        ]
    );
}

#[test]
fn one_whose_trace_cannot_be_read_or_is_not_sampled_is_counted() {
    for traceparent in ["x".to_owned(), failed().traceparent.replace("-01", "-00")] {
        let event = Event {
            traceparent,
            ..execution(Ending::lost(), Vec::new())
        };
        let metrics = metrics_of([&event]);
        let Data::Sum(points) = data(&metrics, names::EXECUTIONS) else {
            panic!("{metrics:?}");
        };
        assert_eq!(points[0].value, 1);
        assert_eq!(histogram(&metrics, names::GENAI_TOKEN_USAGE)[0].value.sum, 7);
    }
}
