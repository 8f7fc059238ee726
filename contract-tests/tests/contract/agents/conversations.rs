//! Conversations: agents that know what was said before.

use std::thread;

use contract_tests::answer::Answer;
use contract_tests::folder::Folder;
use contract_tests::gateway::Options;
use contract_tests::message::Message;
use contract_tests::model_server::{Act, Asked, ModelServer};
use contract_tests::outside::{fresh, wait_for};
use contract_tests::schemas::assert_fits;
use serde_json::{Value, json};

use super::{MODEL_KEY, World, new_world, provider, world};
use crate::cli::baton_at;
use crate::direct::{answered, api_key, call};
use crate::support::orchestrated_with;

/// How long the lease of an orchestrator lasts, in milliseconds.
const LEASE_MS: u64 = 3_000;

/// A model's answer.
fn says(text: &str) -> Act {
    Act::Says(json!({"answer": text, "urgent": false, "topic": null}).to_string())
}

/// A step in a conversation.
fn step(world: &World, agent: &str, conversation: &str, text: &str) -> Message {
    let body = json!({"run": fresh(), "step": "s1", "input": {"text": text}, "conversation": conversation});
    Message::step(&world.gateway, agent, &body).signed_by_baton(world.gateway.key("first"))
}

/// What an operator sees of a conversation.
fn kept(world: &World, owner: &str, conversation: &str) -> Answer {
    let path = format!("/operator/conversations/{owner}/{conversation}");
    Message::new(&world.gateway, "GET", &path)
        .signed_by_baton(world.gateway.key("operator"))
        .send()
}

/// The texts that customers wrote, as a model was told them, the instructions left out.
fn said(asked: &Asked) -> Vec<String> {
    let messages = asked.body["messages"].as_array().expect("messages");
    let users = messages.iter().filter(|message| message["role"] == "user");
    users
        .map(|message| message["content"].as_str().expect("a text").to_owned())
        .collect()
}

/// Sends twenty messages at once into a conversation of this owner, by what makes an output of a conversation and a text.
fn twenty_at_once(owner: &str, say: impl Fn(&str, &str) -> Value + Sync) {
    const MESSAGES: usize = 20;
    let (world, conversation) = (world(), fresh());
    world.models.plan(&conversation, [says("Noted.")]);
    let texts: Vec<_> = (0..MESSAGES)
        .map(|number| format!("{conversation}: message {number}"))
        .collect();
    let (id, say) = (conversation.as_str(), &say);
    let outputs: Vec<Value> = thread::scope(|scope| {
        let calls: Vec<_> = texts.iter().map(|text| scope.spawn(move || say(id, text))).collect();
        calls.into_iter().map(|call| call.join().expect("an answer")).collect()
    });
    assert!(outputs.iter().all(|output| output["answer"] == "Noted."));

    let kept = kept(world, owner, &conversation).message(200, "conversation");
    let turns = kept["turns"].as_array().expect("turns");
    let numbers: Vec<_> = turns.iter().filter_map(|turn| turn["number"].as_u64()).collect();
    assert_eq!(numbers, (1..=MESSAGES as u64).collect::<Vec<_>>());
    let order: Vec<_> = turns
        .iter()
        .map(|turn| turn["said"].as_str().expect("a text").to_owned())
        .collect();
    let mut sorted = (order.clone(), texts);
    sorted.0.sort();
    sorted.1.sort();
    assert_eq!(sorted.0, sorted.1);
    // Each was told all that came before it, in that order.
    let asked = world.models.asked(&conversation);
    assert_eq!(asked.len(), MESSAGES);
    for (place, asked) in asked.iter().enumerate() {
        assert_eq!(said(asked), order[..=place]);
    }
}

#[test]
fn twenty_messages_at_once_keep_their_order_and_all_of_their_content() {
    twenty_at_once("orchestrator:acme", |conversation, text| {
        let step = step(world(), "remember", conversation, text);
        step.send().completed()["output"].clone()
    });
}

#[test]
fn twenty_messages_of_a_customer_at_once_do_so_as_well() {
    let rate = json!({"burst": 100, "per_minute": 100});
    let made = Message::post(
        &world().gateway,
        "/operator/api-keys",
        &json!({"name": "Ada", "rate": rate}),
    );
    let made = made.signed_by_baton(world().gateway.key("operator")).send();
    let made = made.message(201, "api-key-created");
    let key = made["api_key"].as_str().expect("a key");
    let owner = format!("key:{}", made["id"].as_str().expect("an id"));
    twenty_at_once(&owner, |conversation, text| {
        let body = json!({"text": text, "conversation": conversation});
        let body = answered(&call(&world().gateway, key, "/agents/remember/query", &body).send());
        body["output"].clone()
    });
}

#[test]
fn a_repeated_step_is_said_once() {
    let (world, conversation) = (world(), fresh());
    world.models.plan(&conversation, [says("Yes.")]);
    let step = step(world, "remember", &conversation, &format!("{conversation}: once"));
    let body: Value = serde_json::from_slice(&step.body).expect("the body");
    let first = step.send().completed();
    let again = Message::step(&world.gateway, "remember", &body).signed_by_baton(world.gateway.key("first"));
    assert_eq!(again.send().completed(), first);
    let kept = kept(world, "orchestrator:acme", &conversation).message(200, "conversation");
    assert_eq!(kept["turns"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_customer_finds_its_own_conversation_and_no_others_and_erases_it() {
    let (world, conversation) = (world(), fresh());
    world.models.plan(&conversation, [says("Hello.")]);
    let key = |name: &str| api_key(&world.gateway, "operator", &json!({ "name": name }));
    let (ada, bob) = (key("Ada"), key("Bob"));
    let ask = |key: &str, text: &str| {
        let text = format!("{conversation}: {text}");
        let body = json!({"text": text, "conversation": conversation});
        answered(&call(&world.gateway, key, "/agents/remember/query", &body).send());
        let asked = world.models.asked(&text);
        said(asked.last().expect("a request")).len()
    };
    let erase = |key: &str| {
        let message = Message::new(&world.gateway, "DELETE", &format!("/conversations/{conversation}"));
        message.line("authorization", &format!("Bearer {key}")).send().status()
    };
    assert_eq!((ask(&ada, "one"), ask(&ada, "two")), (1, 2));
    // The same id, another caller: a customer, and an orchestrator.
    assert_eq!(ask(&bob, "three"), 1);
    let text = format!("{conversation}: four");
    let _ = step(world, "remember", &conversation, &text).send().completed();
    assert_eq!(said(&world.models.asked(&text)[0]).len(), 1);
    // Nor does anybody else erase it.
    assert_eq!(erase(&bob), 204);
    assert_eq!(ask(&ada, "five"), 3);
    assert_eq!(erase(&ada), 204);
    assert_eq!(ask(&ada, "six"), 1);
}

#[test]
fn a_conversation_ends_by_itself() {
    let (world, conversation) = (world(), fresh());
    world.models.plan(&conversation, [says("Bye.")]);
    let _ = step(world, "remember-briefly", &conversation, &conversation)
        .send()
        .completed();
    wait_for("the conversation to end", || {
        let kept = kept(world, "orchestrator:acme", &conversation);
        (kept.status() == 404).then(|| kept.problem(404, "conversation-unknown"))
    });
}

#[test]
fn what_does_not_fit_is_summarised() {
    let (world, conversation) = (world(), fresh());
    world.models.plan(&conversation, [says("Noted.")]);
    for text in ["My parcel is lost.", "It was red.", "It came from Oslo."] {
        let text = format!("{text} ({conversation})");
        let _ = step(world, "remember-little", &conversation, &text).send().completed();
    }
    let asked = world.models.asked(&conversation);
    let last = said(asked.last().expect("a request"));
    assert_eq!(last.len(), 3, "{last:?}");
    assert!(last[0].starts_with("A summary of what was said before:\n"), "{last:?}");
    assert!(last[0].contains("My parcel is lost."), "{last:?}");
    assert_eq!(last[1], format!("It was red. ({conversation})"));
}

#[test]
fn what_cannot_be_summarised_is_kept_and_the_answer_comes() {
    let (world, conversation) = (world(), fresh());
    world.models.plan(&conversation, [says("Noted.")]);
    let texts = [
        "My parcel is lost.",
        "It was red.",
        "It came from Oslo.",
        "Where is it?",
    ];
    let texts = texts.map(|text| format!("{text} ({conversation})"));
    let (last, before) = texts.split_last().expect("texts");
    for text in before {
        let _ = step(world, "remember-clumsily", &conversation, text).send().completed();
    }
    let body = json!({"run": fresh(), "step": "s1", "input": {"text": last}, "conversation": conversation});
    let message = Message::step(&world.gateway, "remember-clumsily", &body).header("accept", "text/event-stream");
    let mut stream = message.signed(world.gateway.key("first")).stream();
    let events = stream.rest_of_events();
    let outcome = stream.answer(events.last().expect("an outcome")).completed();
    assert_eq!(outcome["output"]["answer"], "Noted.");
    let progress = events.iter().find(|event| event.name == "progress");
    let progress = progress.expect("a word about it").json();
    assert_eq!(progress["message"], "Older messages could not be summarised");
    // The model is told what fits, and the rest is kept for the next try.
    let asked = world.models.asked(&conversation);
    assert_eq!(said(asked.last().expect("a request")), texts[1..]);
    let kept = kept(world, "orchestrator:acme", &conversation).message(200, "conversation");
    assert!(kept["summary"].is_null(), "{kept}");
    let turns = kept["turns"].as_array().expect("turns").iter();
    let kept: Vec<_> = turns.map(|turn| turn["said"].clone()).collect();
    assert_eq!(kept, texts.map(Value::from));
}

#[test]
fn a_gateway_that_is_killed_in_the_middle_of_a_turn_loses_none_that_ended() {
    let (mut world, conversation) = (new_world(), fresh());
    let text = |number: u32| format!("{conversation}: message {number}");
    world.models.plan(&text(2), [Act::Stalls("{\"answer\": \"It ")]);
    world.models.plan(&text(1), [says("Noted.")]);
    let _ = step(&world, "remember", &conversation, &text(1)).send().completed();
    let interrupted = step(&world, "remember", &conversation, &text(2));
    // Its answer never comes.
    world.models.plan(&text(1), [Act::Stalls("{\"answer\": \"It ")]);
    thread::spawn(move || interrupted.try_send().ok());
    wait_for("the second message", || {
        (world.models.asked(&text(2)).len() == 1).then_some(())
    });
    world.gateway.kill_hard();
    world.gateway.restart();
    world.models.plan(&text(1), [says("Noted.")]);
    // It waits until the turn that died is given up.
    let _ = step(&world, "remember", &conversation, &text(3)).send().completed();
    let asked = world.models.asked(&text(3));
    assert_eq!(said(&asked[0]), [text(1), text(3)]);
}

#[test]
fn a_conversation_goes_on_whoever_coordinates() {
    let (models, conversation) = (ModelServer::start(MODEL_KEY), fresh());
    models.plan(&conversation, [says("Noted.")]);
    let options = Options {
        variables: vec![(
            "BATON_MODELS",
            json!({"chat": provider("openai-chat", &models)}).to_string(),
        )],
        secrets: vec![("BATON_SECRETS", json!({"MODEL_KEY": MODEL_KEY}).to_string())],
        ..Options::default()
    };
    let (gateway, mut orchestrator, api_key) = orchestrated_with(LEASE_MS, options);
    let _ = orchestrator.wait_for_live();
    let ask = |text: &str, conversation: &str| {
        let body = json!({"text": text, "conversation": conversation});
        let body = answered(&call(&gateway, &api_key, "/agents/remember/query", &body).send());
        assert_eq!(body["status"], "completed", "{body}");
        body["route"]["by"].as_str().expect("a route").to_owned()
    };
    wait_for("the orchestrator to coordinate", || {
        // Each time in another conversation.
        let other = format!("{conversation}/{}", fresh());
        (ask(&other, &other) == "orchestrated").then_some(())
    });
    let text = |number: u32| format!("{conversation}: message {number}");
    assert_eq!(ask(&text(1), &conversation), "orchestrated");
    orchestrator.kill_hard();
    assert_eq!(ask(&text(2), &conversation), "fallback");
    let asked = models.asked(&text(2));
    assert_eq!(said(&asked[0]), [text(1), text(2)]);
}

#[test]
fn what_waits_while_its_conversation_is_erased_is_answered_and_not_kept() {
    let (world, conversation) = (world(), fresh());
    let text = |number: u32| format!("{conversation}: message {number}");
    world.models.plan(&text(1), [Act::Stalls("{\"answer\": \"It ")]);
    world.models.plan(&text(2), [says("Noted.")]);
    world.models.plan(&text(3), [says("Noted.")]);
    let begin = |number: u32| {
        let step = step(world, "remember", &conversation, &text(number));
        thread::spawn(move || step.try_send().ok().map(|answer| answer.completed()))
    };
    let is_waiting = |count: u64| {
        wait_for("the turns", || {
            let kept = kept(world, "orchestrator:acme", &conversation);
            (kept.status() == 200 && kept.json()["waiting"] == count).then_some(())
        });
    };
    // It is at work until its deadline, and its answer is no matter.
    drop(begin(1));
    is_waiting(1);
    let waiting = begin(2);
    is_waiting(2);
    let path = format!("/operator/conversations/orchestrator:acme/{conversation}");
    let erase = Message::new(&world.gateway, "DELETE", &path).signed_by_baton(world.gateway.key("operator"));
    assert_eq!(erase.send().status(), 204);
    let outcome = waiting.join().expect("no panic").expect("an answer");
    assert_eq!(outcome["output"]["answer"], "Noted.");
    kept(world, "orchestrator:acme", &conversation).problem(404, "conversation-unknown");
    let _ = step(world, "remember", &conversation, &text(3)).send().completed();
    assert_eq!(said(&world.models.asked(&text(3))[0]), [text(3)]);
}

#[test]
fn an_operator_sees_and_erases_a_conversation_from_the_command_line() {
    let (world, conversation) = (world(), fresh());
    world.models.plan(&conversation, [says("Noted.")]);
    let text = format!("{conversation}: my parcel is lost");
    let _ = step(world, "remember", &conversation, &text).send().completed();
    let folder = Folder::new("cli");
    let baton = |verb: &str, more: &[&str]| {
        let arguments = [&["conversation", verb, &conversation, "--orchestrator", "acme"], more].concat();
        baton_at(&world.gateway, &folder, world.gateway.key("operator"), &arguments)
    };
    let shown = baton("show", &[]).expect(0);
    for expected in [&text, "Noted."] {
        assert!(shown.stdout.contains(expected), "no {expected} in:\n{}", shown.stdout);
    }
    let shown = baton("show", &["--json"]).expect(0);
    let kept = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_fits("conversation", &kept);
    let _ = baton("erase", &[]).expect(0);
    let gone = baton("show", &[]).expect(3);
    assert!(
        gone.stdout.contains("conversation-unknown"),
        "{}{}",
        gone.stdout,
        gone.stderr
    );
}
