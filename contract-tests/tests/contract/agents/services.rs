//! Agents of kind `service` that are another Worker: a CRM, bound to the gateway.

use std::sync::OnceLock;

use contract_tests::gateway::{Gateway, Options};
use contract_tests::message::Message;
use contract_tests::outside::fresh;
use serde_json::{Value, json};

use super::CRM_TOKEN;

/// The CRM. It answers who asks it by the token, and repeats what it was asked.
const CRM: &str = r#"
export default {
  async fetch(request) {
    const url = new URL(request.url);
    if (request.headers.get("authorization") !== "Bearer crm-contract-9876543210") {
      return new Response("", { status: 403 });
    }
    if (url.pathname.endsWith("/nobody")) return new Response("", { status: 404 });
    if (url.pathname.endsWith("/silent")) await scheduler.wait(60_000);
    const plan = { name: `${request.method} ${url.pathname}${url.search}` };
    return Response.json({ name: "Ada", plan });
  },
};
"#;

fn gateway() -> &'static Gateway {
    static GATEWAY: OnceLock<Gateway> = OnceLock::new();
    GATEWAY.get_or_init(|| {
        Gateway::start(Options {
            bound: vec![("CRM", CRM)],
            secrets: vec![("BATON_SECRETS", json!({ "CRM_TOKEN": CRM_TOKEN }).to_string())],
            ..Options::with_operator()
        })
    })
}

fn look_up(id: &str) -> Value {
    let body = json!({"run": fresh(), "step": "s1", "input": {"id": id}});
    let message = Message::step(gateway(), "bound-customer", &body);
    message.signed_by_baton(gateway().key("first")).send().outcome()
}

#[test]
fn a_bound_worker_is_called_as_declared() {
    let outcome = look_up("c-7");
    assert_eq!(
        outcome["output"],
        json!({"found": true, "name": "Ada", "plan": "GET /customers/c-7?expand=plan"}),
        "{outcome}"
    );
    // What the input says stays in its segment.
    assert_eq!(
        look_up("../x?y")["output"]["plan"],
        "GET /customers/..%2Fx%3Fy?expand=plan"
    );
}

#[test]
fn its_answers_mean_what_the_manifest_says() {
    assert_eq!(look_up("nobody")["output"], json!({ "found": false }));
    let outcome = look_up("silent");
    assert_eq!(outcome["error"]["code"], "http-timed-out", "{outcome}");
    assert_eq!(outcome["error"]["retryable"], true);
}

#[test]
fn where_no_worker_is_bound_nothing_is_sent() {
    let body = json!({"run": fresh(), "step": "s1", "input": {"id": "c-7"}});
    let message = Message::step(&super::world().gateway, "bound-customer", &body);
    let outcome = message
        .signed_by_baton(super::world().gateway.key("first"))
        .send()
        .outcome();
    assert_eq!(outcome["error"]["code"], "call-not-allowed", "{outcome}");
    let message = outcome["error"]["message"].as_str().expect("a message");
    assert!(message.contains("no Worker is bound as `CRM`"), "{message}");
}
