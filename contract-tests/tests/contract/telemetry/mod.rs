//! Telemetry on its way: at a real collector, at a receiver that refuses, and in the history.

mod delivery;
mod outage;
mod traces;

use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use serde_json::{Value, json};

/// A gateway whose telemetry goes to this endpoint.
fn gateway(endpoint: &str, protocol: &str, orchestrator: Configured) -> Gateway {
    Gateway::start(Options {
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
    })
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
