//! An agent in Rust that asks another agent and the CRM.

use contract_tests::outside::fresh;
use contract_tests::receiver::Reaction;
use serde_json::{Value, json};

use super::{CRM_TOKEN, failure, output, world};

/// A customer of its own, and the target under which the CRM has it.
fn customer() -> (Value, String) {
    let digits: String = fresh()
        .bytes()
        .map(|byte| char::from(b'0' + byte % 10))
        .take(9)
        .collect();
    let target = format!("/customers/1{digits}");
    let id: u64 = format!("1{digits}").parse().expect("digits");
    (
        json!({"customer": id, "text": "I was charged twice and want a refund!"}),
        target,
    )
}

#[test]
fn another_agent_and_an_api_are_asked() {
    let (input, target) = customer();
    world()
        .crm
        .plan(&target, [Reaction::Json(200, json!({"plan": "gold"}))]);
    let expected = json!({"category": "support", "plan": "gold", "urgent": true});
    assert_eq!(output("escalate", &input), expected);
    let received = &world().crm.received(&target)[0];
    assert_eq!(received.method, "GET");
    assert_eq!(received.header("authorization"), format!("Bearer {CRM_TOKEN}"));
}

#[test]
fn what_the_api_says_is_the_agents_to_judge() {
    for (status, expected) in [(503, ("crm-unavailable", true)), (200, ("crm-answer-malformed", false))] {
        let (input, target) = customer();
        world().crm.plan(&target, [Reaction::Status(status)]);
        let (code, retryable) = failure("escalate", &input);
        assert_eq!((code.as_str(), retryable), expected);
    }
    let (input, target) = customer();
    world().crm.plan(&target, [Reaction::Status(404)]);
    assert_eq!(output("escalate", &input)["plan"], "none");
}

#[test]
fn without_the_operators_word_nothing_is_sent() {
    let (input, _) = customer();
    let answer = crate::support::invoke("escalate", &json!({"run": fresh(), "step": "s1", "input": input}));
    let outcome = answer.outcome();
    assert_eq!(outcome["error"]["code"], "call-not-allowed", "{outcome}");
    let message = outcome["error"]["message"].as_str().expect("a message");
    assert!(message.contains("CRM_TOKEN"), "{message}");
}
