//! Providers that are busy, silent, cut off or refuse: what comes of it, by each API, in plain answers and streams.

use contract_tests::event_stream::Event;
use contract_tests::message::Message;
use contract_tests::model_server::{Act, ModelServer};
use serde_json::{Value, json};

use super::models::{AGENTS, deltas, good, message, says, told};
use super::{CRM_TOKEN, MODEL_KEY, World, invoke, step_in, world, world_with_key};

/// So many good answers before one that fails keep the provider's breaker closed: it looks at the share of those that failed.
const GOOD_ANSWERS: usize = 3;

/// By API: the agent, and the provider that it asks first. A model of the reliable provider stands in.
fn shaky() -> [(&'static str, &'static ModelServer); 3] {
    let shaky = &world().shaky;
    [
        ("ask-shaky", &shaky.chat),
        ("ask-shaky-responses", &shaky.responses),
        ("ask-shaky-claude", &shaky.claude),
    ]
}

/// Has the provider answer well.
#[track_caller]
fn keep_closed(agent: &str, server: &ModelServer) {
    for _ in 0..GOOD_ANSWERS {
        let (input, word) = message();
        server.plan(&word, [says(&good())]);
        let outcome = invoke(agent, &input);
        assert_eq!(outcome["usage"]["model"], "shaky-model", "{agent}: {outcome}");
    }
}

/// Where the last answer begins: after the last word about one that did not come to its end.
fn last_answer(events: &[Event]) -> &[Event] {
    let last = events.iter().rposition(|event| event.name == "progress");
    last.map_or(events, |last| &events[last..])
}

#[test]
fn a_provider_in_trouble_is_asked_again_or_another_one_is() {
    let cases = [
        ("503", vec![Act::Refuses(503, None)], "shaky-model"),
        ("overloaded", vec![Act::Refuses(529, None)], "shaky-model"),
        ("rate-limited", vec![Act::Refuses(429, Some(1))], "shaky-model"),
        ("cut", vec![Act::Breaks("{\"answer\": \"Gr\u{fc}")], "shaky-model"),
        // Who is silent is not asked again.
        ("silent", vec![Act::Stalls("{\"answer\": \"It ")], "stand-in"),
    ];
    for (agent, server) in shaky() {
        for (name, trouble, model) in &cases {
            for streamed in [false, true] {
                keep_closed(agent, server);
                let (input, word) = message();
                server.plan(&word, trouble.iter().cloned().chain([says(&good())]));
                world().models.plan(&word, [says(&good())]);
                let case = format!("{agent}, {name}, streamed: {streamed}");
                let outcome = if streamed {
                    let (events, outcome) = told(agent, &input);
                    let whole = deltas(last_answer(&events));
                    assert_eq!(whole, good()["answer"].as_str().expect("text"), "{case}: {events:?}");
                    outcome
                } else {
                    invoke(agent, &input)
                };
                assert_eq!(outcome["output"], good(), "{case}: {outcome}");
                assert_eq!(outcome["usage"]["model"], *model, "{case}: {outcome}");
                let tries = if *model == "shaky-model" { 2 } else { 1 };
                assert_eq!(server.asked(&word).len(), tries, "{case}");
                assert_eq!(world().models.asked(&word).len(), 2 - tries, "{case}");
                if *name == "rate-limited" {
                    let waited_ms = outcome["usage"]["duration_ms"].as_u64().expect("a number");
                    assert!(waited_ms >= 1_000, "{case}: {outcome}");
                }
            }
        }
    }
}

#[test]
fn an_answer_that_is_cut_within_a_character_is_told_anew() {
    for (agent, server) in shaky() {
        keep_closed(agent, server);
        let (input, word) = message();
        server.plan(&word, [Act::Breaks("{\"answer\": \"Gr\u{fc}"), says(&good())]);
        let (events, outcome) = told(agent, &input);
        let broke_off = events.iter().position(|event| event.name == "progress");
        let (before, after) = events.split_at(broke_off.expect("a word about it"));
        assert_eq!(deltas(before), "Gr", "{agent}");
        assert_eq!(
            after[0].json()["message"],
            "The model broke off and begins again",
            "{agent}"
        );
        assert_eq!(deltas(after), good()["answer"].as_str().expect("text"), "{agent}");
        assert!(
            events.iter().all(|event| !event.data.contains('\u{fffd}')),
            "{agent}: {events:?}"
        );
        assert_eq!(outcome["output"], good(), "{agent}");
        assert_eq!(server.asked(&word).len(), 2, "{agent}");
    }
}

#[test]
fn what_a_silent_model_said_is_told_before_another_one_begins() {
    for (agent, server) in shaky() {
        keep_closed(agent, server);
        let (input, word) = message();
        server.plan(&word, [Act::Stalls("{\"answer\": \"It ")]);
        world().models.plan(&word, [says(&good())]);
        let (events, outcome) = told(agent, &input);
        let another = events.iter().position(|event| event.name == "progress");
        let (before, after) = events.split_at(another.expect("a word about it"));
        assert_eq!(before[0].name, "started", "{agent}");
        assert_eq!(deltas(before), "It ", "{agent}");
        assert_eq!(after[0].json()["message"], "Another model begins", "{agent}");
        assert_eq!(outcome["output"], good(), "{agent}");
        assert_eq!(world().models.asked(&word)[0].body["model"], "stand-in", "{agent}");
    }
}

#[test]
fn who_asks_for_more_time_than_there_is_is_not_waited_for() {
    for agent in AGENTS {
        let (input, word) = message();
        world().models.plan(&word, [Act::Refuses(429, Some(3_600))]);
        let outcome = invoke(agent, &input);
        assert_eq!(outcome["error"]["code"], "model-unavailable", "{agent}: {outcome}");
        assert_eq!(outcome["error"]["retry_after_ms"], 3_600_000, "{agent}: {outcome}");
        assert_eq!(world().models.asked(&word).len(), 1, "{agent}");
    }
}

#[test]
fn where_no_model_answers_another_agent_does() {
    let shaky = &world().shaky.chat;
    keep_closed("ask-shaky", shaky);
    let (input, word) = message();
    shaky.plan(&word, [Act::Stalls("{\"answer\": \"It ")]);
    world().models.plan(&word, [Act::Refuses(400, None)]);
    let outcome = invoke("ask-anybody", &input);
    assert_eq!(
        (&outcome["status"], &outcome["answered_by"]),
        (&json!("completed"), &json!("echo")),
        "{outcome}"
    );
    assert_eq!(outcome["output"]["input"], input, "{outcome}");
    assert_eq!(outcome.get("stand_in"), None, "{outcome}");
    let failed = outcome["failed"].as_array().expect("who failed");
    assert_eq!(failed.len(), 1, "{outcome}");
    // Of two failures the one that may be over later is told.
    assert_eq!(
        (&failed[0]["agent"], &failed[0]["code"]),
        (&json!("ask-anybody"), &json!("model-timed-out")),
        "{outcome}"
    );
    let statuses = |server: &ModelServer| -> Vec<u16> {
        let asked = server.asked(&word).into_iter();
        asked.map(|asked| asked.status).collect()
    };
    assert_eq!(statuses(shaky), [200]);
    assert_eq!(statuses(&world().models), [400]);
}

/// Fails unless these secrets are in nothing that the world's gateway tells: the log, the open documents, an outcome, the
/// events of a step.
#[track_caller]
fn tells_no_secret(world: &World, agent: &str, input: &Value, code: &str, secrets: &[&str]) {
    let steps = [false, true].map(|streamed| {
        let message = step_in(world, agent, input);
        if streamed {
            let message = message.header("accept", "text/event-stream");
            let mut stream = message.signed(world.gateway.key("first")).stream();
            let events = stream.rest_of_events();
            let outcome = stream.answer(events.last().expect("an outcome")).outcome();
            (outcome, events.into_iter().map(|event| event.data).collect::<String>())
        } else {
            let answer = message.signed_by_baton(world.gateway.key("first")).send();
            (answer.outcome(), answer.text())
        }
    });
    let mut told = vec![world.gateway.log()];
    assert!(told[0].contains(agent), "the log tells of the step");
    for (outcome, text) in steps {
        assert_eq!(outcome["error"]["code"], code, "{agent}: {outcome}");
        told.push(text);
    }
    for path in ["/.well-known/baton.json", "/openapi.json"] {
        let document = Message::new(&world.gateway, "GET", path).send();
        assert_eq!(document.status(), 200);
        told.push(document.text());
    }
    for text in told {
        for secret in secrets {
            assert!(!text.contains(secret), "{agent}, {code}: a secret in {text}");
        }
    }
}

#[test]
fn a_key_is_in_no_log_no_event_and_no_document() {
    for agent in AGENTS {
        for (status, code) in [(400, "model-request-refused"), (401, "model-key-refused")] {
            let (input, word) = message();
            // The provider's answer repeats the key.
            world().models.plan(&word, [Act::Refuses(status, None)]);
            tells_no_secret(world(), agent, &input, code, &[MODEL_KEY, CRM_TOKEN]);
            assert_eq!(world().models.asked(&word).len(), 2, "{agent}");
        }
    }
}

#[test]
fn a_wrong_key_is_told_to_nobody_either() {
    const WRONG: &str = "sk-mistaken-5550123456";
    let world = world_with_key(WRONG);
    for agent in AGENTS {
        let (input, word) = message();
        world.models.plan(&word, [says(&good())]);
        tells_no_secret(
            &world,
            agent,
            &input,
            "model-key-refused",
            &[WRONG, MODEL_KEY, CRM_TOKEN],
        );
        let asked = world.models.asked(&word);
        assert!(asked.iter().all(|asked| asked.status == 401), "{agent}: {asked:?}");
        assert_eq!(asked.len(), 2, "{agent}");
    }
}
