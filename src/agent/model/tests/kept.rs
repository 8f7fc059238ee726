//! Answers that are kept: what is asked again, what is not, and what a bad cache does about it.

use super::super::super::testing::{DEADLINE_AT_MS, Works};
use super::super::kept::{KEPT_MAX_BYTES, READ_MAX_MS, WRITE_MAX_MS};
use super::*;
use crate::overrides::{Snapshot, overridden};

const TTL_S: u64 = 3_600;

fn keeping() -> Value {
    json!({"temperature": 0, "cache": {"ttl_s": TTL_S}})
}

/// The agent `helper` that keeps its answers, with these changes.
fn helper(model: Value, changes: Value) -> Team {
    let mut all = keeping();
    for (field, value) in model.as_object().unwrap() {
        all[field] = value.clone();
    }
    team(vec![agent("helper", all, changes)])
}

fn hi() -> Value {
    json!({"text": "Hi"})
}

/// The one text that is kept.
fn kept(outside: &FakeOutside) -> String {
    let kept = outside.cache.kept.borrow();
    assert_eq!(kept.len(), 1, "{kept:?}");
    kept.values().next().unwrap().0.clone()
}

#[test]
fn the_same_request_is_not_made_again() {
    let output =
        json!({"output": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}});
    let team = helper(json!({"stream": "text"}), output);
    let outside = outside(vec![says(r#"{"text": "Gr\u00fc\u00dfe"}"#)]);
    let first = ask_of(&team, &outside, hi());
    assert_eq!(first.journal.take_spent().unwrap().output_tokens, 3);
    let second = ask_of(&team, &outside, hi());
    assert_eq!(second.result, Ok(json!({"text": "Gr\u{fc}\u{df}e"})));
    assert_eq!(second.result, first.result);
    assert_eq!(second.told(), [delta("Gr\u{fc}\u{df}e")]);
    let spent = Spent {
        model: "small".into(),
        input_tokens: 0,
        output_tokens: 0,
        cost_micros: Some(0),
        cached: true,
    };
    assert_eq!(second.journal.take_spent(), Some(spent));
    assert_eq!(outside.sent.borrow().len(), 1);
    let ttls: Vec<_> = outside.cache.kept.borrow().values().map(|(_, ttl_s)| *ttl_s).collect();
    assert_eq!(ttls, [TTL_S]);
    assert!(outside.logged.borrow().is_empty());
}

#[test]
fn an_answer_needs_no_provider_that_works() {
    let team = helper(json!({"retries": 0}), json!({}));
    let outside = outside(vec![says("x")]);
    assert_eq!(ask_of(&team, &outside, hi()).code(), "ok");
    let other = json!({"text": "Ho"});
    for _ in 0..crate::breaker::SAMPLES_MIN {
        outside.replies.borrow_mut().push_back(Reply::Fails);
        assert_eq!(ask_of(&team, &outside, other.clone()).code(), "model-unavailable");
    }
    let sent = outside.sent.borrow().len();
    assert_eq!(ask_of(&team, &outside, other).code(), "model-unavailable");
    assert_eq!(outside.sent.borrow().len(), sent, "the breaker is open");
    assert_eq!(ask_of(&team, &outside, hi()).result, Ok(json!("x")));
}

/// A gateway whose providers are the same API with the same key, at two places.
fn two_places(replies: Vec<Reply>) -> FakeOutside {
    let models = r#"{
        "chat": {"api": "openai-chat", "base_url": "https://models.example.com/v1"},
        "path": {"api": "openai-chat", "base_url": "https://models.example.com/v2"},
        "other": {"api": "openai-chat", "base_url": "https://models.example.org/v1"}
    }"#;
    FakeOutside::new(connections(&[("BATON_MODELS", models)]), replies)
}

#[test]
fn whatever_decides_about_the_answer_makes_another_request() {
    let check = |what: &str, team: &Team, input: Value| {
        let outside = two_places(vec![says("first"), says("second")]);
        assert_eq!(
            ask_of(&helper(json!({}), json!({})), &outside, hi()).result,
            Ok(json!("first"))
        );
        assert_eq!(ask_of(team, &outside, input).result, Ok(json!("second")), "{what}");
        assert_eq!(outside.cache.kept.borrow().len(), 2, "{what}");
    };
    let changed = |model: Value| helper(model, json!({}));
    check("the input", &changed(json!({})), json!({"text": "Hi "}));
    check("the instructions", &changed(json!({"instructions": "Help!"})), hi());
    check("the model", &changed(json!({"model": "large"})), hi());
    check("the provider's origin", &changed(json!({"provider": "other"})), hi());
    check("the provider's path", &changed(json!({"provider": "path"})), hi());
    check("the tokens", &changed(json!({"max_output_tokens": 99})), hi());
    check("the version", &helper(json!({}), json!({"version": "1.0.1"})), hi());
    // Another agent, which says the same.
    let mut other = helper(json!({}), json!({}));
    let agent = other.agents.last_mut().unwrap();
    agent.id = "helper2".into();
    let outside = two_places(vec![says("first"), says("second")]);
    assert_eq!(
        ask_of(&helper(json!({}), json!({})), &outside, hi()).result,
        Ok(json!("first"))
    );
    assert_eq!(ask_agent(&other, "helper2", &outside, hi()).result, Ok(json!("second")));
}

#[test]
fn an_override_makes_another_request_and_going_back_does_not() {
    let input = json!({"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}});
    let instructions = json!({"instructions": "Help."});
    let declared = helper(instructions, json!({"input": input}));
    let with = |value: Value| {
        let snapshot = Snapshot {
            version: 1,
            overrides: [("helper".to_owned(), value)].into(),
            ..Snapshot::none()
        };
        overridden(&declared, &snapshot)
    };
    let (changed, ignored) = with(json!({"prompt": "Help in rhymes."}));
    assert_eq!(ignored, []);
    let outside = outside(vec![says("first"), says("second")]);
    assert_eq!(ask_of(&declared, &outside, hi()).result, Ok(json!("first")));
    assert_eq!(ask_of(&changed, &outside, hi()).result, Ok(json!("second")));
    assert_eq!(ask_of(&declared, &outside, hi()).result, Ok(json!("first")));
    // An override that would vary the answers does not hold.
    let (_, ignored) = with(json!({"model": {"temperature": 0.5}}));
    let error = &ignored[0].errors[0];
    assert_eq!(error.instance, "/model/temperature");
    assert!(error.message.contains("must be 0"), "{}", error.message);
}

#[test]
fn each_model_that_stands_in_keeps_its_own() {
    let model = json!({"retries": 0, "fallback_models": [{"provider": "chat", "model": "large"}]});
    let team = helper(model, json!({}));
    let outside = outside(vec![Reply::Fails, says("of large"), Reply::Fails]);
    assert_eq!(ask_of(&team, &outside, hi()).result, Ok(json!("of large")));
    let again = ask_of(&team, &outside, hi());
    assert_eq!(again.result, Ok(json!("of large")));
    assert_eq!(again.journal.take_spent().unwrap().model, "large");
    assert_eq!(outside.sent.borrow().len(), 3, "the first model is asked in any case");
}

#[test]
fn only_a_whole_answer_that_fits_at_once_is_kept() {
    let check = |replies: Vec<Reply>, code: &str| {
        let outside = outside(replies);
        let team = helper(json!({}), json!({"output": {"type": "string", "minLength": 3}}));
        assert_eq!(ask_of(&team, &outside, hi()).code(), code);
        assert!(outside.cache.kept.borrow().is_empty(), "{code}");
        assert_eq!(
            outside.cache.gets.get(),
            1,
            "a request to repair an answer is not looked for"
        );
    };
    check(vec![says("x"), says("good")], "ok");
    check(vec![says("x"), says("y")], "model-output-invalid");
    check(
        vec![stream(&chat_events(&[json!({"content": "good"})], "length"))],
        "model-output-cut",
    );
    check(
        vec![stream(&chat_events(&[json!({"refusal": "No, never."})], "stop"))],
        "model-refused",
    );
    check(vec![Reply::json(400, &json!({}))], "model-request-refused");
}

#[test]
fn a_long_answer_is_not_kept() {
    // What stands around the text: {"text":""}
    let longest = KEPT_MAX_BYTES - 11;
    for (bytes, requests) in [(longest, 1), (longest + 1, 2)] {
        let answer = "x".repeat(bytes);
        let outside = outside(vec![says(&answer), says(&answer)]);
        for _ in 0..2 {
            let ran = ask_of(&helper(json!({}), json!({})), &outside, hi());
            assert_eq!(ran.result, Ok(json!(answer)));
        }
        assert_eq!(outside.sent.borrow().len(), requests, "{bytes}");
        assert!(outside.logged.borrow().is_empty());
    }
}

#[test]
fn what_is_no_answer_is_asked_for_again_and_replaced() {
    let team = helper(json!({}), json!({"output": {"type": "string", "minLength": 3}}));
    let large = json!({"text": "x".repeat(KEPT_MAX_BYTES)}).to_string();
    for damaged in [
        "",
        "{",
        r#"{"text": "fir"#,
        r#"{"text": 5}"#,
        r#"{"text": "abc", "more": 1}"#,
        r#"{"text": "x"}"#,
        &large,
    ] {
        let outside = outside(vec![says("first"), says("second")]);
        assert_eq!(ask_of(&team, &outside, hi()).result, Ok(json!("first")));
        for (text, _) in outside.cache.kept.borrow_mut().values_mut() {
            damaged.clone_into(text);
        }
        let ran = ask_of(&team, &outside, hi());
        assert_eq!(ran.result, Ok(json!("second")), "{damaged:.20}");
        assert_eq!(ran.told(), [delta("second")]);
        assert!(!ran.journal.take_spent().unwrap().cached);
        assert_eq!(kept(&outside), r#"{"text":"second"}"#);
        let logged = outside.logged.borrow();
        assert_eq!(logged.len(), 1, "{damaged:.20}");
        assert_eq!(logged[0]["message"], "what the cache has is of no use");
        assert_eq!(logged[0]["fields"]["bytes"], damaged.len());
    }
}

#[test]
fn a_cache_that_does_not_work_is_done_without() {
    use Works::{NotAtAll, Well, WithAnError};
    for (get, put, waited_ms) in [
        (WithAnError, Well, 0),
        (Well, WithAnError, 0),
        (NotAtAll, Well, READ_MAX_MS),
        (Well, NotAtAll, WRITE_MAX_MS),
        // One that did not answer is not waited for twice.
        (NotAtAll, NotAtAll, READ_MAX_MS),
    ] {
        let outside = outside(vec![says("x")]);
        outside.cache.get.set(get);
        outside.cache.put.set(put);
        let ran = ask_of(&helper(json!({}), json!({})), &outside, hi());
        assert_eq!(ran.result, Ok(json!("x")), "{get:?}, {put:?}");
        assert_eq!(outside.now_ms.get() - BEGIN_MS, waited_ms, "{get:?}, {put:?}");
        assert!(outside.cache.kept.borrow().is_empty());
        assert_eq!(outside.logged.borrow().len(), 1, "{get:?}, {put:?}");
    }
}

#[test]
fn the_deadline_is_not_missed_over_the_cache() {
    let outside = outside(vec![says("x")]);
    outside.cache.get.set(Works::NotAtAll);
    outside.now_ms.set(DEADLINE_AT_MS - 60);
    let ran = ask_of(&helper(json!({}), json!({})), &outside, hi());
    assert_eq!(ran.result, Ok(json!("x")));
    assert_eq!(outside.now_ms.get(), DEADLINE_AT_MS - 50);
}

#[test]
fn nothing_is_kept_where_the_manifest_does_not_say_so() {
    let outside = outside(vec![says("x"), says("y")]);
    let silent = || team(vec![agent("helper", json!({"temperature": 0}), json!({}))]);
    assert_eq!(ask_of(&silent(), &outside, hi()).result, Ok(json!("x")));
    assert_eq!(ask_of(&silent(), &outside, hi()).result, Ok(json!("y")));
    assert_eq!(outside.cache.gets.get(), 0);
    assert!(outside.cache.kept.borrow().is_empty());
}
