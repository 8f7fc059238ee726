//! Steps as server-sent events.

use contract_tests::answer::Answer;
use contract_tests::event_stream::{Event, Part};
use contract_tests::gateway::shared;
use contract_tests::message::Message;
use contract_tests::outside::{fresh, wait_for};
use serde_json::{Value, json};

use crate::support::{body, key};

/// So many events of an attempt are kept.
const EVENTS_MAX: usize = 1_000;

fn scripted(actions: Value) -> Value {
    body(json!({ "actions": actions }))
}

/// A step that is asked for as a stream.
fn streamed(body: &Value) -> Message {
    Message::step(&shared(), "script", body)
        .header("accept", "text/event-stream")
        .signed(key("first"))
}

/// A read of a step's stream by whoever comes later.
fn attached(body: &Value) -> Message {
    let (run, step) = (
        body["run"].as_str().expect("text"),
        body["step"].as_str().expect("text"),
    );
    Message::new(&shared(), "GET", &format!("/runs/{run}/steps/{step}")).header("accept", "text/event-stream")
}

/// Polls a step to its end.
fn ended(body: &Value) -> Value {
    wait_for("the step's end", || {
        let status = attached(body).without("accept").signed(key("first")).send().json();
        (status["status"] == "ended").then_some(status)
    })
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

#[test]
fn a_stream_tells_what_happens_and_ends_with_the_signed_outcome() {
    let step = scripted(
        json!([{ "progress": "begun" }, { "delta": "one " }, { "delta": "two" }, { "sleep_ms": 300 }, { "delta": "\nthree" }]),
    );
    let mut stream = streamed(&step).stream();
    assert_eq!(
        stream.head.header("signature"),
        None,
        "nobody knows yet what it will say"
    );
    let parts = stream.rest();
    assert_eq!(parts[0], Part::Retry(1_000));
    let events: Vec<_> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Event(event) => Some(event.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(names(&events), ["started", "progress", "delta", "delta", "outcome"]);
    assert_eq!(events[0].json(), json!({ "execution": 1 }));
    assert_eq!(events[1].json(), json!({ "message": "begun" }));
    // What was told at once comes at once.
    assert_eq!(events[2].json(), json!({ "text": "one two" }));
    assert_eq!(events[3].json(), json!({ "text": "\nthree" }));
    let ids: Vec<_> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["1.1", "1.2", "1.3", "1.4", "1.5"]);
    let outcome = stream.answer(&events[4]).completed();
    assert_eq!(outcome["run"], step["run"]);
}

#[test]
fn a_silent_step_keeps_its_stream_alive() {
    let step = scripted(json!([{ "sleep_ms": 3_600 }]));
    let parts = streamed(&step).stream().rest();
    assert!(
        parts.iter().any(|part| *part == Part::Comment("keep-alive".into())),
        "{parts:?}"
    );
    assert!(matches!(parts.last(), Some(Part::Event(event)) if event.name == "outcome"));
}

#[test]
fn who_leaves_cancels_nothing_and_who_comes_later_gets_what_was() {
    let step = scripted(json!([{ "delta": "first" }, { "sleep_ms": 900 }, { "delta": "second" }]));
    let mut first = streamed(&step).stream();
    let _ = first.read_to("delta");
    drop(first);

    let mut second = attached(&step).signed(key("first")).stream();
    let events = second.rest_of_events();
    assert_eq!(names(&events), ["started", "delta", "delta", "outcome"]);
    assert_eq!(events[1].json(), json!({ "text": "first" }));
    let outcome = second.answer(events.last().expect("an outcome")).completed();
    assert_eq!(ended(&step)["answer"]["body"], outcome);
}

#[test]
fn a_stream_is_resumed_after_the_last_event_that_was_read() {
    let step = scripted(
        json!([{ "delta": "a" }, { "sleep_ms": 150 }, { "delta": "b" }, { "sleep_ms": 150 }, { "delta": "c" }]),
    );
    let all = streamed(&step).stream().rest_of_events();
    assert_eq!(names(&all), ["started", "delta", "delta", "delta", "outcome"]);
    let resumed = |id: &str| {
        let message = attached(&step).header("last-event-id", id).signed(key("first"));
        message.stream().rest_of_events()
    };
    assert_eq!(resumed(&all[1].id)[..2], all[2..4]);
    assert_eq!(names(&resumed(&all[3].id)), ["outcome"]);
    // Who has it all gets the outcome once more, rather than nothing.
    assert_eq!(names(&resumed(&all[4].id)), ["outcome"]);
    // What is no id of this attempt is passed over.
    assert_eq!(resumed("7.2")[..4], all[..4]);
    assert_eq!(resumed("x")[..4], all[..4]);
}

#[test]
fn the_same_call_again_attaches_or_gets_what_was() {
    let step = scripted(json!([{ "delta": "a" }, { "sleep_ms": 700 }]));
    let mut first = streamed(&step).stream();
    let _ = first.read_to("delta");
    let mut second = streamed(&step).stream();
    let events = second.rest_of_events();
    assert_eq!(names(&events), ["started", "delta", "outcome"]);
    assert!(!second.answer(&events[2]).is_replayed());
    let mut third = streamed(&step).stream();
    let events = third.rest_of_events();
    let answer = third.answer(events.last().expect("an outcome"));
    assert!(answer.is_replayed());
    assert_eq!(names(&events), ["started", "delta", "outcome"]);
    let one = first.read_to("outcome");
    assert_eq!(first.answer(&one).completed(), answer.completed());
}

#[test]
fn what_is_wrong_is_said_before_a_stream_begins() {
    let mut wrong = scripted(json!([]));
    wrong["input"] = json!({});
    let answer = streamed(&wrong).send();
    answer.problem(422, "schema-violated");
    assert!(answer.is_signed());
    let unknown = body(json!({}));
    let answer = attached(&unknown).signed(key("first")).send();
    answer.problem(404, "step-unknown");
}

#[test]
fn a_passed_deadline_is_the_streams_last_word_too() {
    let mut step = scripted(json!([{ "sleep_ms": 5_000 }]));
    step["deadline_ms"] = 200.into();
    let mut stream = streamed(&step).stream();
    let outcome = stream.read_to("outcome");
    let answer: Answer = stream.answer(&outcome);
    assert_eq!(
        (answer.status(), answer.json()["code"].as_str()),
        (504, Some("deadline-exceeded"))
    );
}

#[test]
fn every_execution_begins_anew_in_one_stream() {
    let step = scripted(json!([{ "delta": "a" }, { "fail": { "code": "busy", "retry_after_ms": 1 } }]));
    let message = Message::step(&shared(), "script-again", &step).header("accept", "text/event-stream");
    let mut stream = message.signed(key("first")).stream();
    let events = stream.rest_of_events();
    let one = ["started", "delta"];
    assert_eq!(names(&events), [&one[..], &one, &one, &["outcome"]].concat());
    for (execution, event) in (1..=3).zip(events.iter().step_by(2)) {
        assert_eq!(event.json(), json!({ "execution": execution }));
    }
    assert_eq!(stream.answer(&events[6]).outcome()["error"]["code"], "busy");
}

#[test]
fn a_cancelled_steps_stream_ends_with_that() {
    let step = scripted(json!([{ "delta": "a" }, "await_cancellation", { "delta": "b" }]));
    let mut stream = streamed(&step).stream();
    let _ = stream.read_to("delta");
    let status = super::calls::cancel(&step);
    let events = stream.rest_of_events();
    assert_eq!(names(&events), ["outcome"]);
    let outcome = stream.answer(&events[0]).outcome();
    assert_eq!(outcome["status"], "cancelled");
    assert_eq!(outcome, status["answer"]["body"]);
}

/// What is executed by a request that waits for it tells nothing on the way; who attaches gets the end.
#[test]
fn the_stream_of_a_step_that_somebody_waits_for_has_its_end() {
    let step = scripted(json!([{ "delta": "a" }, { "sleep_ms": 1_500 }]));
    let answer = super::calls::while_waiting("script", &step, || {
        let mut stream = attached(&step).signed(key("first")).stream();
        let events = stream.rest_of_events();
        assert_eq!(names(&events), ["outcome"]);
        let _ = stream.answer(&events[0]).completed();
    });
    let _ = answer.completed();
}

#[test]
fn the_stream_of_a_run_that_is_forgotten_ends_without_an_outcome() {
    let step = scripted(json!([{ "delta": "a" }, "await_cancellation"]));
    let mut stream = streamed(&step).stream();
    let _ = stream.read_to("delta");
    let _ = super::calls::forget(step["run"].as_str().expect("text"));
    assert_eq!(stream.rest_of_events(), []);
    attached(&step).signed(key("first")).send().problem(404, "step-unknown");
}

#[test]
fn a_text_comes_as_it_was_told_whatever_is_in_it() {
    let text = "\r\n\n: no comment\ndata: none\u{2028}\u{0}\u{e4}\u{1f600}\"\\";
    let step = scripted(json!([{ "delta": text }, { "progress": text }]));
    let mut stream = streamed(&step).stream();
    let events = stream.rest_of_events();
    assert_eq!(names(&events), ["started", "delta", "progress", "outcome"]);
    assert_eq!(events[1].json(), json!({ "text": text }));
    assert_eq!(events[2].json(), json!({ "message": text }));
}

/// A step that tells more than is kept ends as it should.
#[test]
fn what_is_told_is_bounded_and_the_outcome_is_not_lost() {
    let actions = (0..EVENTS_MAX + 50).map(|number| json!({ "progress": number.to_string() }));
    let step = scripted(actions.collect());
    let mut stream = streamed(&step).stream();
    let events = stream.rest_of_events();
    assert_eq!(events.len(), EVENTS_MAX + 1);
    let (outcome, told) = events.split_last().expect("events");
    assert!(told[1..].iter().all(|event| event.name == "progress"));
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.id, format!("1.{}", index + 1));
    }
    let _ = stream.answer(outcome).completed();
}

#[test]
fn another_orchestrators_key_reads_no_stream() {
    let step = scripted(json!([]));
    let _ = streamed(&step).stream().rest();
    attached(&step).signed(key("other")).send().problem(404, "step-unknown");
    let elsewhere = json!({ "run": fresh(), "step": step["step"] });
    attached(&elsewhere)
        .signed(key("first"))
        .send()
        .problem(404, "step-unknown");
}
