//! Customers' calls: by themselves, and with an orchestrator that answers, does not, or should not be believed.

mod abuse;
mod calls;
mod hedges;
mod orchestrator;
mod refused;
mod settlements;
mod several;
mod streams;
mod world;

use contract_tests::answer::Answer;
use contract_tests::gateway::Gateway;
use contract_tests::message::Message;
use contract_tests::schemas::assert_fits;
use serde_json::{Value, json};

/// Makes an API key by the operator's surface, and answers its text. `operator` names the operator's key.
#[track_caller]
pub(crate) fn api_key(gateway: &Gateway, operator: &str, request: &Value) -> String {
    let made = Message::post(gateway, "/operator/api-keys", request)
        .signed_by_baton(gateway.key(operator))
        .send();
    let made = made.message(201, "api-key-created");
    made["api_key"].as_str().expect("a key").to_owned()
}

/// A call of a customer.
pub(crate) fn call(gateway: &Gateway, api_key: &str, path: &str, body: &Value) -> Message {
    Message::post(gateway, path, body).line("authorization", &format!("Bearer {api_key}"))
}

/// The answer to a direct call: 200, by its schema, with the header field that says the same as its body.
#[track_caller]
pub(crate) fn answered(answer: &Answer) -> Value {
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let body = answer.json();
    assert_fits("query-answer", &body);
    let mut route = body["route"]["by"].as_str().expect("a route").to_owned();
    if let Some(reason) = body["route"]["reason"].as_str() {
        route.push_str(&format!(";reason={reason}"));
    }
    if body["route"]["degraded"] == true {
        route.push_str(";degraded");
    }
    assert_eq!(answer.header("baton-route"), Some(route.as_str()));
    body
}

/// An input of the fixture `echo`.
fn echo() -> Value {
    json!({ "input": { "text": "hi" } })
}
