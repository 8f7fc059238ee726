//! Agents of kind `model`, against a server that has the providers' APIs and is strict about them.

use contract_tests::event_stream::Event;
use contract_tests::message::Message;
use contract_tests::model_server::Act;
use contract_tests::outside::{fresh, wait_for};
use contract_tests::receiver::Reaction;
use serde_json::{Value, json};

use super::{CRM_TOKEN, failure, invoke, output, step, world};
use crate::direct::{answered, api_key, call};

/// The three APIs, by the agents that use them.
pub(super) const AGENTS: [&str; 3] = ["ask-chat", "ask-responses", "ask-claude"];

/// A message with a word of its own, by which the server knows it.
pub(super) fn message() -> (Value, String) {
    let word = fresh();
    (json!({"text": format!("Where is my parcel? ({word})")}), word)
}

pub(super) fn says(answer: &Value) -> Act {
    Act::Says(answer.to_string())
}

pub(super) fn good() -> Value {
    json!({"answer": "Gr\u{fc}\u{df}e \u{1f600}: it comes tomorrow.", "urgent": false, "topic": "other"})
}

#[test]
fn a_model_answers_by_the_output_schema() {
    for agent in AGENTS {
        let (input, word) = message();
        let mut said = good();
        // Where a provider wants every member, an optional one comes as null.
        said["topic"] = Value::Null;
        if agent == "ask-claude" {
            said.as_object_mut().expect("an object").remove("topic");
        }
        world().models.plan(&word, [says(&said)]);
        let outcome = invoke(agent, &input);
        let expected = json!({"answer": good()["answer"], "urgent": false});
        assert_eq!(outcome["output"], expected, "{agent}: {outcome}");
        let usage = &outcome["usage"];
        assert_eq!(
            (&usage["input_tokens"], &usage["output_tokens"]),
            (&json!(21), &json!(8)),
            "{agent}"
        );
        assert_eq!(usage["model"], format!("{}-model", agent.trim_start_matches("ask-")));
        let asked = world().models.asked(&word);
        assert_eq!(
            asked.iter().map(|asked| asked.status).collect::<Vec<_>>(),
            [200],
            "{agent}"
        );
    }
}

#[test]
fn an_answer_that_does_not_fit_is_repaired() {
    for agent in AGENTS {
        let (input, word) = message();
        let wrong = json!({"answer": "", "urgent": false});
        world().models.plan(&word, [says(&wrong), says(&good())]);
        assert_eq!(output(agent, &input), good(), "{agent}");
        let asked = world().models.asked(&word);
        assert_eq!(asked.len(), 2, "{agent}");
        let shown = asked[1].body.to_string();
        assert!(shown.contains("at `/answer`"), "{agent}: {shown}");
        let (input, word) = message();
        world().models.plan(&word, [Act::Says("I would rather not.".into())]);
        assert_eq!(
            failure(agent, &input),
            ("model-output-invalid".into(), false),
            "{agent}"
        );
        assert_eq!(world().models.asked(&word).len(), 2, "{agent}");
    }
}

/// The events of a step, and the outcome that ends them.
#[track_caller]
pub(super) fn told(agent: &str, input: &Value) -> (Vec<Event>, Value) {
    let mut stream = step(agent, input)
        .header("accept", "text/event-stream")
        .signed(world().gateway.key("first"))
        .stream();
    let events = stream.rest_of_events();
    let outcome = stream.answer(events.last().expect("an outcome")).completed();
    (events, outcome)
}

pub(super) fn deltas(events: &[Event]) -> String {
    let deltas = events.iter().filter(|event| event.name == "delta");
    let texts = deltas.map(|event| event.json()["text"].as_str().expect("text").to_owned());
    texts.collect()
}

#[test]
fn an_answer_is_told_while_it_comes() {
    for agent in AGENTS {
        let (input, word) = message();
        world().models.plan(&word, [says(&good())]);
        let (events, outcome) = told(agent, &input);
        assert_eq!(deltas(&events), good()["answer"].as_str().expect("text"), "{agent}");
        assert_eq!(outcome["output"], good(), "{agent}");
    }
}

#[test]
fn a_model_uses_an_agent_that_uses_the_crm() {
    for agent in AGENTS {
        let (input, word) = message();
        let id = format!("c-{word}");
        let target = format!("/customers/{id}?expand=plan");
        let ada = json!({"name": "Ada", "plan": {"name": "gold"}});
        world().crm.plan(&target, [Reaction::Json(200, ada)]);
        world()
            .models
            .plan(&word, [Act::Wants("crm-customer", json!({ "id": id })), says(&good())]);
        let outcome = invoke(agent, &input);
        assert_eq!(outcome["output"], good(), "{agent}: {outcome}");
        assert_eq!(outcome["usage"]["input_tokens"], 42, "{agent}");
        assert_eq!(world().crm.received(&target).len(), 1, "{agent}");
        let asked = world().models.asked(&word);
        assert_eq!(
            asked.iter().map(|asked| asked.status).collect::<Vec<_>>(),
            [200, 200],
            "{agent}"
        );
        let second = asked[1].body.to_string();
        assert!(second.contains(r#"\"name\":\"Ada\""#), "{agent}: {second}");
        for request in [asked[0].body.to_string(), second] {
            assert!(!request.contains(CRM_TOKEN), "{agent}");
        }
    }
}

#[test]
fn without_a_model_the_declared_answer_stands_in_and_says_so() {
    let (input, _) = message();
    let outcome = invoke("ask-nobody", &input);
    assert_eq!(
        (&outcome["status"], &outcome["stand_in"]),
        (&json!("completed"), &json!(true)),
        "{outcome}"
    );
    assert_eq!(outcome["failed"][0]["code"], "model-not-configured", "{outcome}");
    let key = api_key(&world().gateway, "operator", &json!({"name": "customer"}));
    let answer = call(
        &world().gateway,
        &key,
        "/agents/ask-nobody/query",
        &json!({"text": "Hello?"}),
    )
    .send();
    let body = answered(&answer);
    assert_eq!(body["status"], "completed", "{body}");
    assert_eq!(body["stand_in"], true, "{body}");
    assert_eq!(body["output"]["urgent"], false, "{body}");
    assert_eq!(body["failed"][0]["code"], "model-not-configured", "{body}");
}

#[test]
fn a_customer_is_answered_by_the_sample_teams_model() {
    let word = fresh();
    let key = api_key(&world().gateway, "operator", &json!({"name": word}));
    let said = json!({"text": "In your account, under Addresses.", "needs_person": false});
    world().models.plan(&word, [says(&said)]);
    let text = json!({"text": format!("How do I change my address? ({word})")});
    let body = answered(&call(&world().gateway, &key, "/query", &text).send());
    assert_eq!(body["output"], said, "{body}");
    assert_eq!(
        (&body["agent"], &body["choice"]["agent"]),
        (&json!("support"), &json!("support"))
    );
    assert_eq!(body.get("stand_in"), None, "{body}");
    assert_eq!(body["usage"]["output_tokens"], 8, "{body}");
    let asked = world().models.asked(&word);
    assert_eq!(asked.len(), 1);
    let instructions = asked[0].body["instructions"].as_str().expect("text");
    assert!(
        instructions.starts_with("You answer customers of a shop"),
        "{instructions}"
    );
}

#[test]
fn what_a_model_costs_is_told_with_the_outcome_and_in_the_history() {
    let (input, word) = message();
    world().models.plan(&word, [says(&good())]);
    let outcome = invoke("ask-chat", &input);
    // 21 tokens at 0.25 and 8 at 2, in millionths: 21.25 of them, rounded up.
    assert_eq!(outcome["usage"]["cost_micros"], 22, "{outcome}");
    let run = outcome["run"].as_str().expect("a run");
    let row = wait_for("the execution in the history", || {
        let page = Message::new(&world().gateway, "GET", "/executions").query(&format!("run={run}"));
        let page = page.signed(world().gateway.key("operator")).send();
        let page = page.message(200, "executions");
        page["executions"]
            .get(0)
            .filter(|row| !row["outcome"].is_null())
            .cloned()
    });
    assert_eq!(row["cost_micros"], 22, "{row}");
    // Where a model has no price, nothing is said of a cost.
    let (input, word) = message();
    world().models.plan(&word, [says(&good())]);
    assert_eq!(invoke("ask-responses", &input)["usage"].get("cost_micros"), None);
}
