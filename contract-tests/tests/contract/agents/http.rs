//! Agents of kind `http`: a CRM's API, as a server on this machine has it.

use contract_tests::outside::fresh;
use contract_tests::receiver::Reaction;
use serde_json::{Value, json};

use super::{CRM_TOKEN, failure, output, world};

/// A customer of its own, and the target under which the CRM has it.
fn customer() -> (Value, String) {
    let id = format!("c-{}", fresh());
    let target = format!("/customers/{id}?expand=plan");
    (json!({ "id": id }), target)
}

fn ada() -> Reaction {
    Reaction::Json(200, json!({"name": "Ada", "plan": {"name": "gold"}}))
}

#[test]
fn a_customer_is_looked_up() {
    let (input, target) = customer();
    world().crm.plan(&target, [ada()]);
    assert_eq!(
        output("crm-customer", &input),
        json!({"found": true, "name": "Ada", "plan": "gold"})
    );
    let received = &world().crm.received(&target)[0];
    assert_eq!(received.method, "GET");
    assert_eq!(received.header("authorization"), format!("Bearer {CRM_TOKEN}"));
    assert_eq!(received.header("accept"), "application/json");
    assert!(received.body.is_empty());
}

#[test]
fn a_note_is_written() {
    let (mut input, _) = customer();
    input["text"] = "{{ input }} \"quoted\"\r\nx-evil: 1".into();
    let target = format!("/customers/{}/notes", input["id"].as_str().expect("text"));
    world().crm.plan(
        &target,
        [
            Reaction::Json(201, json!({"id": "n-1"})),
            Reaction::Status(409),
            Reaction::Status(503),
        ],
    );
    assert_eq!(output("crm-note", &input), json!({"note": "n-1"}));
    let received = &world().crm.received(&target)[0];
    let body: Value = serde_json::from_slice(&received.body).expect("JSON");
    assert_eq!(body, json!({"text": input["text"], "source": "baton"}));
    assert_eq!(received.header("x-api-key"), CRM_TOKEN);
    assert_eq!(received.header("content-type"), "application/json");
    assert_eq!(failure("crm-note", &input), ("customer-locked".into(), true));
    // A POST is not sent again by itself.
    assert_eq!(failure("crm-note", &input), ("http-unavailable".into(), true));
    assert_eq!(world().crm.received(&target).len(), 3);
}

#[test]
fn statuses_mean_what_the_manifest_says() {
    let check = |reactions: Vec<Reaction>, expected: Result<Value, (&str, bool)>, tries: usize| {
        let (input, target) = customer();
        world().crm.plan(&target, reactions);
        match expected {
            Ok(expected) => assert_eq!(output("crm-customer", &input), expected),
            Err((code, retryable)) => assert_eq!(failure("crm-customer", &input), (code.to_owned(), retryable)),
        }
        assert_eq!(world().crm.received(&target).len(), tries);
    };
    check(vec![Reaction::Status(404)], Ok(json!({"found": false})), 1);
    check(vec![Reaction::Status(403)], Err(("http-refused", false)), 1);
    check(
        vec![Reaction::RetryAfter(429, 1), ada()],
        Ok(json!({"found": true, "name": "Ada", "plan": "gold"})),
        2,
    );
    check(
        vec![Reaction::Json(200, json!({"nothing": 1}))],
        Err(("http-answer-unfit", false)),
        1,
    );
    check(
        vec![Reaction::Json(200, json!({"name": "x".repeat(5_000)}))],
        Err(("http-answer-too-large", false)),
        1,
    );
}

#[test]
fn a_silent_side_is_asked_again_and_then_given_up() {
    let (input, target) = customer();
    world().crm.plan(&target, [Reaction::Hang, ada()]);
    assert_eq!(output("crm-customer", &input)["name"], "Ada");
    assert_eq!(world().crm.received(&target).len(), 2);
}

#[test]
fn no_redirect_is_followed() {
    let (input, target) = customer();
    let elsewhere = world().crm.url("/elsewhere");
    world().crm.plan(&target, [Reaction::Redirect(elsewhere)]);
    assert_eq!(failure("crm-customer", &input), ("http-redirected".into(), false));
    assert!(world().crm.received("/elsewhere").is_empty());
}

#[test]
fn input_goes_nowhere_else() {
    for id in [
        "../../admin",
        "a?x=1#y",
        "@127.0.0.1:1/",
        "%2e%2e",
        "{{ input.id }}",
        "a\r\nhost: evil",
    ] {
        let tag = fresh();
        let _ = failure("crm-customer", &json!({"id": format!("{id}{tag}")}));
        let received = world().crm.received_anywhere();
        let sent: Vec<_> = received
            .iter()
            .filter(|received| received.target.contains(&tag))
            .collect();
        assert_eq!(sent.len(), 1, "{id}");
        let segments: Vec<_> = sent[0].target.split('/').collect();
        assert_eq!(segments.len(), 3, "{}", sent[0].target);
        assert_eq!(segments[1], "customers");
        assert!(sent[0].target.ends_with("?expand=plan"), "{}", sent[0].target);
    }
    assert_eq!(
        failure("crm-customer", &json!({"id": ".."})),
        ("input-not-sendable".into(), false)
    );
}
