//! Telemetry on its way: at a real collector, at a receiver that refuses, and in the history; straight from the runs, and
//! through a queue.

mod calls;
mod command;
mod delivery;
mod links;
mod operations;
mod outage;
mod queue;
mod sampling;
mod scrape;
mod signals;
mod traces;

use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::outside::wait_for;
use contract_tests::receiver::Received;
use serde_json::{Value, json};

/// A gateway whose telemetry goes to this endpoint.
fn gateway(endpoint: &str, protocol: &str, orchestrator: Configured) -> Gateway {
    Gateway::start(options(endpoint, protocol, orchestrator))
}

fn options(endpoint: &str, protocol: &str, orchestrator: Configured) -> Options {
    Options {
        keys: Keys::new([
            Key::new("first", "acme", "invoke"),
            Key::new("register", "acme", "register"),
            Key::new("operator", "acme", "operate"),
        ]),
        orchestrators: vec![orchestrator],
        variables: vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.to_owned()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ("OTEL_SERVICE_NAME", "front desk".to_owned()),
        ],
        secrets: vec![("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=abc%20def".to_owned())],
        history: true,
        ..Options::default()
    }
}

fn nobody() -> Configured {
    Configured::new("acme", "http://127.0.0.1:1")
}

/// A step of this run that echoes at once.
fn step(gateway: &Gateway, run: &str, step: &str) -> Message {
    let body = json!({ "run": run, "step": step, "input": { "actions": [] } });
    Message::step(gateway, "script", &body)
}

fn invoke(gateway: &Gateway, message: Message) -> Value {
    message.signed(gateway.key("first")).send().completed()
}

/// What an operator asks.
fn operate(gateway: &Gateway, method: &str, path: &str, query: &str) -> Message {
    Message::new(gateway, method, path)
        .query(query)
        .signed(gateway.key("operator"))
}

fn outbox(gateway: &Gateway) -> Value {
    operate(gateway, "GET", "/operator/outbox", "")
        .send()
        .message(200, "outbox")
}

/// The ids of the events in these requests, one for each of their spans.
fn events<'r>(received: impl IntoIterator<Item = &'r Received>) -> Vec<String> {
    let mut events = Vec::new();
    for received in received {
        let body: Value = serde_json::from_slice(&received.body).expect("JSON");
        let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array();
        for span in spans.expect("spans") {
            let attributes = span["attributes"].as_array().expect("attributes");
            let event = attributes.iter().find(|attribute| attribute["key"] == "baton.event");
            events.push(event.expect("an event")["value"]["stringValue"].to_string());
        }
    }
    events
}

/// Waits for so many executions that have ended in the history, and answers them. There are no more.
#[track_caller]
fn ended_executions(gateway: &Gateway, count: usize) -> Vec<Value> {
    let rows = wait_for("the executions in the history", || {
        let rows = history(gateway);
        (rows.len() >= count && rows.iter().all(|row| !row["outcome"].is_null())).then_some(rows)
    });
    assert_eq!(rows.len(), count, "none is there twice");
    rows
}

/// All executions of the history, page by page.
fn history(gateway: &Gateway) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut query = "limit=500".to_owned();
    loop {
        let page = operate(gateway, "GET", "/executions", &query)
            .send()
            .message(200, "executions");
        rows.extend(page["executions"].as_array().expect("rows").iter().cloned());
        let Some(next) = page["next"].as_str() else {
            return rows;
        };
        query = format!("limit=500&cursor={next}");
    }
}
