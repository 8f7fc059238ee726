//! Answers of models that are kept: on a real KV namespace, by a gateway that is killed in between.

use contract_tests::gateway::{Gateway, Options};
use contract_tests::message::Message;
use contract_tests::model_server::{Act, ModelServer};
use contract_tests::outside::fresh;
use serde_json::{Value, json};

use super::{MODEL_KEY, provider};

fn start(models: &ModelServer) -> Gateway {
    let mut providers = json!({"chat": provider("openai-chat", models)});
    providers["chat"]["prices"] = json!({"chat-model": {"input": 0.25, "output": 2}});
    Gateway::start(Options {
        variables: vec![("BATON_MODELS", providers.to_string())],
        secrets: vec![("BATON_SECRETS", json!({ "MODEL_KEY": MODEL_KEY }).to_string())],
        ..Options::with_operator()
    })
}

/// Asks in a run of its own, and answers what came of it: the events that were told, and the outcome.
#[track_caller]
fn ask(gateway: &Gateway, agent: &str, text: &str) -> (Vec<String>, Value) {
    let body = json!({"run": fresh(), "step": "s1", "input": {"text": text}});
    let mut stream = Message::step(gateway, agent, &body)
        .header("accept", "text/event-stream")
        .signed(gateway.key("first"))
        .stream();
    let events = stream.rest_of_events();
    let outcome = stream.answer(events.last().expect("an outcome")).completed();
    let told = events.iter().filter(|event| event.name == "delta");
    let told = told.map(|event| event.json()["text"].as_str().expect("text").to_owned());
    (told.collect(), outcome)
}

#[test]
fn the_same_request_reaches_the_model_once() {
    let models = ModelServer::start(MODEL_KEY);
    let mut gateway = start(&models);
    let word = fresh();
    let text = format!("Where is my parcel? ({word})");
    let answers = ["one", "two", "three", "four"].map(|answer| json!({"answer": answer, "urgent": false}));
    models.plan(&word, answers.iter().map(|answer| Act::Says(answer.to_string())));

    let (_, outcome) = ask(&gateway, "ask-kept", &text);
    assert_eq!(outcome["output"], answers[0], "{outcome}");
    assert_eq!(outcome["usage"].get("cached"), None, "{outcome}");
    let (told, outcome) = ask(&gateway, "ask-kept", &text);
    assert_eq!(outcome["output"], answers[0], "{outcome}");
    assert_eq!(told.concat(), "one");
    let mut usage = outcome["usage"].clone();
    usage.as_object_mut().expect("an object").remove("duration_ms");
    let nothing =
        json!({"model": "chat-model", "input_tokens": 0, "output_tokens": 0, "cost_micros": 0, "cached": true});
    assert_eq!(usage, nothing, "{outcome}");
    assert_eq!(models.asked(&word).len(), 1);

    // Another agent, and another text, are other requests.
    assert_eq!(ask(&gateway, "ask-kept-again", &text).1["output"], answers[1]);
    let more = format!("{text} Please.");
    assert_eq!(ask(&gateway, "ask-kept", &more).1["output"], answers[2]);
    assert_eq!(models.asked(&word).len(), 3);

    // What is damaged is as good as nothing, and is replaced.
    gateway.kill_hard();
    // On this machine it is one namespace with the overrides': both have the id of the template.
    let mut keys = gateway.kv_keys("CACHE");
    keys.retain(|key| key.starts_with("model/1/"));
    assert_eq!(keys.len(), 3, "{keys:?}");
    for key in &keys {
        gateway.write_kv("CACHE", key, "{\"text\": \"{");
    }
    gateway.restart();
    let (told, outcome) = ask(&gateway, "ask-kept", &text);
    assert_eq!(outcome["output"], answers[3], "{outcome}");
    assert_eq!(told.concat(), "four");
    assert_eq!(ask(&gateway, "ask-kept", &text).1["usage"]["cached"], true);
    assert_eq!(models.asked(&word).len(), 4);
    let is_told = |line: &Value| line["message"] == "what the cache has is of no use";
    assert_eq!(gateway.events().iter().filter(|line| is_told(line)).count(), 1);
}
