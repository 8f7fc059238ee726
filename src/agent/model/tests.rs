mod ends;
mod kept;
mod operations;
mod workers_ai;

use serde_json::{Value, json};

use super::super::testing::{BEGIN_MS, FakeOutside, Reply, connections, done};
use super::super::{Failure, Journal, Retry, Spent, Stop};
use super::*;
use crate::manifest::{Implementation, Team};
use crate::run::events::Event;

const KEY: &str = "sk-sesame-1234";

/// An agent by these changes to a good one; null takes a field out.
fn agent(id: &str, model: Value, changes: Value) -> AgentManifest {
    let mut agent = json!({
        "id": id, "version": "1.0.0", "title": "Helper", "description": "Helps.", "kind": "model",
        "input": {"type": "object", "properties": {"text": {"type": "string"}}},
        "output": {"type": "string"},
        "model": {
            "provider": "chat", "model": "small", "instructions": "Help {{ input.name | default('them') }}.",
            "messages": [{"role": "user", "content": "{{ input.text }}"}]
        }
    });
    for (into, changes) in [("model", &model), ("", &changes)] {
        let place = if into.is_empty() { &mut agent } else { &mut agent[into] };
        for (field, value) in changes.as_object().unwrap() {
            place[field] = value.clone();
        }
    }
    serde_json::from_value(agent).unwrap()
}

fn outside(replies: Vec<Reply>) -> FakeOutside {
    let models = r#"{
        "chat": {"api": "openai-chat", "base_url": "https://models.example.com/v1", "key": "KEY",
                 "prices": {"small": {"input": 0.1, "output": 1}}},
        "openai": {"key": "KEY"},
        "completions": {"api": "openai-chat", "base_url": "https://api.openai.com/v1", "key": "KEY"},
        "anthropic": {"key": "KEY"}
    }"#;
    let secrets = format!(r#"{{"KEY": "{KEY}", "OTHER": "other-secret-1"}}"#);
    FakeOutside::new(
        connections(&[("BATON_MODELS", models), ("BATON_SECRETS", &secrets)]),
        replies,
    )
}

struct Ran {
    result: Result<Value, Failure>,
    journal: Journal,
}

impl Ran {
    fn told(&self) -> Vec<Event> {
        self.journal.take_events()
    }

    fn code(&self) -> &str {
        self.result
            .as_ref()
            .map_or_else(|failure| failure.code.as_str(), |_| "ok")
    }
}

fn ask_of(team: &Team, outside: &FakeOutside, input: Value) -> Ran {
    ask_agent(team, "helper", outside, input)
}

fn ask_agent(team: &Team, id: &str, outside: &FakeOutside, input: Value) -> Ran {
    let journal = Journal::default();
    let agent = team.agent(id).unwrap();
    let Implementation::Model { model } = &agent.implementation else {
        panic!("it is a model");
    };
    let context = outside.context(team, &journal, None);
    let result = done(run(agent, model, &input, &context)).map_err(|stop| match stop {
        Stop::Failed(failure) => failure,
        Stop::HandOff(handoff) => panic!("{handoff:?}"),
    });
    Ran { result, journal }
}

fn team(agents: Vec<AgentManifest>) -> Team {
    let mut team = Team::embedded().clone();
    team.agents.extend(agents);
    team
}

/// Asks the agent `helper` with these changes.
fn ask(outside: &FakeOutside, model: Value, changes: Value) -> Ran {
    ask_of(
        &team(vec![agent("helper", model, changes)]),
        outside,
        json!({"text": "Hi"}),
    )
}

fn stream(events: &[Value]) -> Reply {
    let text: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    Reply::Answer(
        200,
        Vec::new(),
        text.into_bytes().chunks(7).map(<[u8]>::to_vec).collect(),
    )
}

#[test]
fn the_end_of_an_answer_is_not_waited_for() {
    let mut all: String = chat_events(&[json!({"content": "Hi"})], "stop")
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    all.push_str("data: [DONE]\n\n");
    let outside = outside(vec![Reply::Stalls(vec![all.into_bytes()])]);
    let ran = ask(&outside, json!({}), json!({}));
    assert_eq!(ran.result, Ok(json!("Hi")));
    assert_eq!(ran.journal.take_spent().unwrap().output_tokens, 3);
    assert_eq!(outside.now_ms.get(), BEGIN_MS);
}

fn chat_events(deltas: &[Value], finish: &str) -> Vec<Value> {
    let mut events: Vec<_> = deltas
        .iter()
        .map(|delta| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}))
        .collect();
    events.push(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}));
    events.push(json!({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}}));
    events
}

#[test]
fn each_answer_costs_and_a_model_without_a_price_leaves_the_cost_unknown() {
    let bad = || says("");
    let check = |replies: Vec<Reply>, model: Value, expected: Option<u64>| {
        let ran = ask(
            &outside(replies),
            model,
            json!({"output": {"type": "string", "minLength": 1}}),
        );
        assert_eq!(ran.journal.take_spent().unwrap().cost_micros, expected);
    };
    // 11 tokens at 0.1 and 3 at 1 are 4.1 millionths, and 5 as they are told.
    check(vec![says("Hi")], json!({}), Some(5));
    check(vec![bad(), says("Hi")], json!({}), Some(10));
    check(vec![says("Hi")], json!({"model": "large"}), None);
    let fallback = json!({"fallback_models": [{"provider": "chat", "model": "large"}]});
    check(vec![bad(), bad(), says("Hi")], fallback, None);
}

fn says(text: &str) -> Reply {
    stream(&chat_events(&[json!({"content": text})], "stop"))
}

fn delta(text: &str) -> Event {
    Event::Delta { text: text.into() }
}

fn wants(id: &str, name: &str, arguments: &str) -> Reply {
    let (first, second) = arguments.split_at(arguments.len() / 2);
    let deltas = [
        json!({"tool_calls": [{"index": 0, "id": id, "type": "function", "function": {"name": name, "arguments": first}}]}),
        json!({"tool_calls": [{"index": 0, "function": {"arguments": second}}]}),
    ];
    stream(&chat_events(&deltas, "tool_calls"))
}

#[test]
fn a_model_is_asked_and_answers() {
    let outside = outside(vec![says("Good m\u{f6}rning \u{1f600}")]);
    let ran = ask(
        &outside,
        json!({"temperature": 0.5, "max_output_tokens": 99}),
        json!({}),
    );
    assert_eq!(ran.result, Ok(json!("Good m\u{f6}rning \u{1f600}")));
    assert_eq!(ran.told(), [delta("Good m\u{f6}rning \u{1f600}")]);
    let spent = Spent {
        model: "small".into(),
        input_tokens: 11,
        output_tokens: 3,
        cost_micros: Some(5),
        cached: false,
    };
    assert_eq!(ran.journal.take_spent(), Some(spent));
    assert_eq!(
        outside.sent_bodies(),
        [json!({
            "model": "small",
            "messages": [{"role": "system", "content": "Help them."}, {"role": "user", "content": "Hi"}],
            "max_tokens": 99, "temperature": 0.5, "stream": true, "stream_options": {"include_usage": true},
        })]
    );
    let sent = outside.sent.borrow();
    assert_eq!(sent[0].uri(), "https://models.example.com/v1/chat/completions");
    assert_eq!(sent[0].headers()["authorization"], format!("Bearer {KEY}"));
    assert!(!format!("{:?}", sent[0]).contains(KEY));
}

#[test]
fn each_api_is_spoken() {
    let output = json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}});
    let schema = json!({
        "type": "object", "required": ["n"], "additionalProperties": false, "properties": {"n": {"type": "integer"}}
    });
    let check = |provider: &str, events: &[Value], url: &str, key: (&str, &str), body: Value| {
        let outside = outside(vec![stream(events)]);
        let ran = ask(&outside, json!({"provider": provider}), json!({"output": output}));
        assert_eq!(ran.result, Ok(json!({"n": 5})), "{provider}");
        assert_eq!(outside.sent_bodies(), [body]);
        let spent = ran.journal.take_spent().unwrap();
        assert_eq!((spent.input_tokens, spent.output_tokens), (11, 3), "{provider}");
        let sent = outside.sent.borrow();
        assert_eq!(
            (sent[0].uri().to_string().as_str(), &sent[0].headers()[key.0]),
            (url, &key.1.parse::<http::HeaderValue>().unwrap())
        );
    };
    check(
        "openai",
        &[
            json!({"type": "response.created", "response": {}}),
            json!({"type": "response.output_text.delta", "delta": "{\"n\""}),
            json!({"type": "response.output_text.delta", "delta": ": 5}"}),
            json!({"type": "response.output_item.done", "item": {"type": "message"}}),
            json!({"type": "response.completed", "response": {"usage": {"input_tokens": 11, "output_tokens": 3}}}),
        ],
        "https://api.openai.com/v1/responses",
        ("authorization", &format!("Bearer {KEY}")),
        json!({
            "model": "small", "instructions": "Help them.", "input": [{"role": "user", "content": "Hi"}],
            "max_output_tokens": 1024, "store": false, "stream": true,
            "text": {"format": {"type": "json_schema", "name": "output", "schema": schema, "strict": true}},
        }),
    );
    check(
        "anthropic",
        &[
            json!({"type": "message_start", "message": {"usage": {"input_tokens": 11, "output_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "ping"}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "{\"n\": 5}"}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}),
            json!({"type": "message_stop"}),
        ],
        "https://api.anthropic.com/v1/messages",
        ("x-api-key", KEY),
        json!({
            "model": "small", "max_tokens": 1024, "system": "Help them.", "stream": true,
            "messages": [{"role": "user", "content": "Hi"}],
            "output_config": {"format": {"type": "json_schema", "schema": schema}},
        }),
    );
    check(
        "chat",
        &chat_events(&[json!({"content": "{\"n\": 5}"})], "stop"),
        "https://models.example.com/v1/chat/completions",
        ("authorization", &format!("Bearer {KEY}")),
        json!({
            "model": "small",
            "messages": [{"role": "system", "content": "Help them."}, {"role": "user", "content": "Hi"}],
            "max_tokens": 1024, "stream": true, "stream_options": {"include_usage": true},
            "response_format": {"type": "json_schema", "json_schema": {"name": "output", "schema": schema, "strict": true}},
        }),
    );
    // OpenAI's own newest models refuse `max_tokens`.
    check(
        "completions",
        &chat_events(&[json!({"content": "{\"n\": 5}"})], "stop"),
        "https://api.openai.com/v1/chat/completions",
        ("authorization", &format!("Bearer {KEY}")),
        json!({
            "model": "small",
            "messages": [{"role": "system", "content": "Help them."}, {"role": "user", "content": "Hi"}],
            "max_completion_tokens": 1024, "stream": true, "stream_options": {"include_usage": true},
            "response_format": {"type": "json_schema", "json_schema": {"name": "output", "schema": schema, "strict": true}},
        }),
    );
}

#[test]
fn an_answer_that_does_not_fit_is_repaired_once() {
    let output = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}});
    let check = |answers: &[&str], expected: &str| {
        let outside = outside(answers.iter().map(|answer| says(answer)).collect());
        let ran = ask(&outside, json!({}), json!({"output": output}));
        assert_eq!(ran.code(), expected, "{answers:?}");
        assert_eq!(outside.sent.borrow().len(), answers.len());
        outside.sent_bodies()
    };
    let bodies = check(&[r#"{"n": 1}"#, r#"{"n": 3}"#], "ok");
    let messages = bodies[1]["messages"].as_array().unwrap();
    assert_eq!(messages[2], json!({"role": "assistant", "content": "{\"n\": 1}"}));
    let request = messages[3]["content"].as_str().unwrap();
    assert!(request.contains("at `/n`: The number must be 3 at least."), "{request}");
    let bodies = check(&["no JSON", r#"{"n": 3}"#], "ok");
    assert!(
        bodies[1]["messages"][3]["content"]
            .as_str()
            .unwrap()
            .contains("it is not JSON")
    );
    check(&[r#"{"n": 1}"#, r#"{"n": 2}"#], "model-output-invalid");
}

#[test]
fn a_member_of_the_output_is_told_while_it_comes() {
    let output = json!({"type": "object", "properties": {"text": {"type": "string"}, "n": {"type": "integer"}}});
    let outside = outside(vec![says(r#"{"n": 1, "text": "Good\nmorning"}"#)]);
    let ran = ask(&outside, json!({"stream": "text"}), json!({"output": output}));
    assert_eq!(ran.result, Ok(json!({"n": 1, "text": "Good\nmorning"})));
    assert_eq!(ran.told(), [delta("Good\nmorning")]);
}

#[test]
fn tools_are_used() {
    let with_tool = || agent("helper", json!({"tools": ["greeter"]}), json!({}));
    let greet: AgentManifest = serde_json::from_value(json!({
        "id": "greeter", "version": "1.0.0", "title": "Greeter", "description": "Greets.", "kind": "rules",
        "input": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "maxLength": 9}}},
        "output": {"type": "object"},
        "rules": {"rules": [{"name": "any", "when": true, "then": {"text": "Hello {{ input.name }}"}}]}
    }))
    .unwrap();
    let check = |name: &str, arguments: &str, result: &str| {
        let outside = outside(vec![wants("call_1", name, arguments), says("done")]);
        let ran = ask_of(&team(vec![with_tool(), greet.clone()]), &outside, json!({"text": "Hi"}));
        assert_eq!(ran.result, Ok(json!("done")), "{arguments}");
        let spent = ran.journal.take_spent().unwrap();
        assert_eq!((spent.input_tokens, spent.output_tokens), (22, 6));
        let bodies = outside.sent_bodies();
        let tool = json!({
            "type": "function",
            "function": {"name": "greeter", "description": "Greets.", "parameters": greet.input.document()}
        });
        assert_eq!(bodies[0]["tools"], json!([tool]));
        assert_eq!(
            bodies[1]["messages"].as_array().unwrap()[2..],
            [
                json!({"role": "assistant", "content": "", "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
                ]}),
                json!({"role": "tool", "tool_call_id": "call_1", "content": result}),
            ]
        );
    };
    check("greeter", r#"{"name": "Ada"}"#, r#"{"text":"Hello Ada"}"#);
    check(
        "greeter",
        r#"{"name": "{{ input }}!"}"#,
        "call-input-invalid: the input is wrong at `/name`: The string must have 9 characters at most.",
    );
    check("greeter", r#"{"name": "{{n}}"}"#, r#"{"text":"Hello {{n}}"}"#);
    check(
        "greeter",
        "{",
        "call-input-invalid: the input is not JSON: line 1, column 1",
    );
    // Agents that the manifest does not give to it are not there.
    check("triage", r#"{"text": "x"}"#, "there is no such tool");
}

#[test]
fn rounds_of_tools_are_bounded() {
    let wants = || wants("c", "triage", r#"{"text": "I was charged twice"}"#);
    let outside = outside(vec![wants(), wants(), wants()]);
    let ran = ask(&outside, json!({"tools": ["triage"], "tool_rounds_max": 2}), json!({}));
    assert_eq!(ran.code(), "model-tools-exceeded");
    assert_eq!(outside.sent.borrow().len(), 3);
}

#[test]
fn tools_are_used_by_each_api() {
    let check = |provider: &str, events: &[Value], after: Value| {
        let outside = outside(vec![stream(events), Reply::Hangs]);
        let ran = ask(&outside, json!({"provider": provider, "tools": ["redact"]}), json!({}));
        assert_eq!(ran.code(), "model-timed-out");
        let bodies = outside.sent_bodies();
        let said = if provider == "openai" { "input" } else { "messages" };
        let mut said = bodies[1][said].as_array().unwrap()[1..].to_vec();
        // What the tool says is not what is tested here.
        let result = if provider == "openai" {
            "/output"
        } else {
            "/content/0/content"
        };
        let result = said[1].pointer_mut(result).unwrap();
        assert!(result.take().as_str().unwrap().contains("[email]"));
        assert_eq!(Value::from(said), after);
    };
    check(
        "openai",
        &[
            json!({"type": "response.output_item.done", "item": {
                "type": "function_call", "id": "fc_1", "call_id": "c1", "name": "redact", "arguments": "{\"text\":\"a@b.example\"}"
            }}),
            json!({"type": "response.completed", "response": {"usage": {"input_tokens": 1, "output_tokens": 1}}}),
        ],
        json!([
            {"type": "function_call", "call_id": "c1", "name": "redact", "arguments": "{\"text\":\"a@b.example\"}"},
            {"type": "function_call_output", "call_id": "c1", "output": null},
        ]),
    );
    check(
        "anthropic",
        &[
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t1", "name": "redact", "input": {}}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{\"text\":"}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "\"a@b.example\"}"}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 3}}),
            json!({"type": "message_stop"}),
        ],
        json!([
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "redact", "input": {"text": "a@b.example"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": null, "is_error": false}]},
        ]),
    );
}

#[test]
fn what_may_pass_is_tried_again() {
    let error = |status: u16, fields: &[(&'static str, &str)]| {
        let fields = fields
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        let body =
            json!({"error": {"type": "some_type", "code": "some_code", "message": format!("the key {KEY} is bad")}});
        Reply::Answer(status, fields, vec![body.to_string().into_bytes()])
    };
    let check = |replies: Vec<Reply>, expected: &str, tries: usize, waited_ms: u64| {
        let outside = outside(replies);
        let ran = ask(&outside, json!({"timeout_ms": 3_000, "retries": 1}), json!({}));
        assert_eq!(ran.code(), expected);
        assert_eq!(outside.sent.borrow().len(), tries, "{expected}");
        assert_eq!(outside.now_ms.get() - BEGIN_MS, waited_ms, "{expected}");
        if let Err(failure) = ran.result {
            assert!(!failure.message.contains(KEY), "{}", failure.message);
            assert!(!failure.message.contains("10.1.2.3"), "{}", failure.message);
        }
    };
    check(vec![error(429, &[("retry-after", "2")]), says("x")], "ok", 2, 2_000);
    check(vec![error(529, &[]), says("x")], "ok", 2, 100);
    check(vec![Reply::Fails, says("x")], "ok", 2, 100);
    check(vec![error(500, &[]), error(500, &[])], "model-unavailable", 2, 100);
    check(vec![error(429, &[("retry-after", "60")])], "model-unavailable", 1, 0);
    check(vec![error(400, &[])], "model-request-refused", 1, 0);
    check(vec![error(401, &[])], "model-key-refused", 1, 0);
    check(
        vec![error(307, &[("location", "https://evil.example.org")])],
        "model-request-refused",
        1,
        0,
    );
    check(vec![Reply::Hangs], "model-timed-out", 1, 3_000);
    check(
        vec![Reply::Stalls(vec![b": hello\n\n".to_vec()])],
        "model-timed-out",
        1,
        3_000,
    );
    // An answer without its end is none.
    check(
        vec![Reply::Answer(200, Vec::new(), Vec::new()), says("x")],
        "ok",
        2,
        100,
    );
}

#[test]
fn an_answer_that_breaks_off_is_told_anew() {
    let half = |text: &str| {
        format!(
            "data: {}\n\n",
            json!({"choices": [{"index": 0, "delta": {"content": text}}]})
        )
        .into_bytes()
    };
    let outside = outside(vec![
        Reply::Breaks(vec![half("Good mor"), b"data: {\"cho".to_vec()]),
        says("Good evening"),
    ]);
    let ran = ask(&outside, json!({}), json!({}));
    assert_eq!(ran.result, Ok(json!("Good evening")));
    let anew = Event::Progress {
        message: "The model broke off and begins again".into(),
        fraction: None,
    };
    assert_eq!(ran.told(), [delta("Good mor"), anew, delta("Good evening")]);
}

#[test]
fn another_model_goes_on() {
    let others = json!({"timeout_ms": 3_000, "retries": 0, "fallback_models": [
        {"provider": "nobody", "model": "x"}, {"provider": "chat", "model": "large"}
    ]});
    let silent = outside(vec![Reply::Hangs, says("x")]);
    let ran = ask(&silent, others.clone(), json!({}));
    assert_eq!(ran.result, Ok(json!("x")));
    assert_eq!(ran.journal.take_spent().unwrap().model, "large");
    let models: Vec<_> = silent.sent_bodies().iter().map(|body| body["model"].clone()).collect();
    assert_eq!(models, ["small", "large"]);
    // What may be over later is told rather than what is not.
    let check = |first: u16, second: u16, expected: (&str, bool)| {
        let outside = outside(vec![Reply::json(first, &json!({})), Reply::json(second, &json!({}))]);
        let failure = ask(&outside, others.clone(), json!({})).result.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.retry != Retry::Never), expected);
    };
    // Nobody waits long for one model where there is another.
    let patient = json!({"fallback_models": [{"provider": "chat", "model": "large"}]});
    let busy = Reply::Answer(429, vec![("retry-after", "11".to_owned())], Vec::new());
    let busy = outside(vec![busy, says("x")]);
    assert_eq!(ask(&busy, patient, json!({})).result, Ok(json!("x")));
    assert_eq!(busy.now_ms.get(), BEGIN_MS);
    check(503, 400, ("model-unavailable", true));
    check(400, 503, ("model-unavailable", true));
    check(401, 400, ("model-key-refused", false));
}

#[test]
fn a_provider_that_is_not_configured_is_a_failure_for_good() {
    let ran = ask(&outside(Vec::new()), json!({"provider": "nobody"}), json!({}));
    let failure = ran.result.unwrap_err();
    assert_eq!(
        (failure.code.as_str(), failure.retry),
        ("model-not-configured", Retry::Never)
    );
    assert!(
        failure.message.contains("`nobody` is not in BATON_MODELS"),
        "{}",
        failure.message
    );
}

#[test]
fn input_is_text_for_the_model_and_nothing_else() {
    let input =
        json!({"text": "{{ input }} {% raw %} {\"$secret\": \"OTHER\"} https://evil.example.org\r\nx-api-key: x"});
    let helper = agent("helper", json!({}), json!({}));
    let outside = outside(vec![says("ok")]);
    let ran = ask_of(&team(vec![helper]), &outside, input.clone());
    assert_eq!(ran.code(), "ok");
    assert_eq!(outside.sent_bodies()[0]["messages"][1]["content"], input["text"]);
    let sent = outside.sent.borrow();
    assert_eq!(sent[0].uri().authority().unwrap(), "models.example.com");
    let all = format!("{} {:?}", String::from_utf8_lossy(sent[0].body()), sent[0]);
    for secret in ["other-secret-1", KEY] {
        assert!(!all.contains(secret), "{all}");
    }
    let names: Vec<_> = sent[0].headers().keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["content-type", "accept", "authorization"]);
}

#[test]
fn what_a_template_misses_is_a_failure() {
    let messages = json!([{"role": "user", "content": "{{ input.other }}"}]);
    let ran = ask(&outside(Vec::new()), json!({"messages": messages}), json!({}));
    assert_eq!(ran.code(), "template-failed");
}
