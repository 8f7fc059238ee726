//! How an answer ends other than by itself, as each API says it: cut, refused, or given up by the provider.

use super::*;

/// The beginning of an answer of text.
fn begins(provider: &str, text: &str) -> Vec<Value> {
    match provider {
        "openai" => vec![json!({"type": "response.output_text.delta", "delta": text})],
        "anthropic" => vec![
            json!({"type": "message_start", "message": {"usage": {"input_tokens": 11, "output_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
        ],
        _ => vec![json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]})],
    }
}

/// The end of an answer, by itself.
fn ends(provider: &str) -> Vec<Value> {
    let usage = json!({"input_tokens": 11, "output_tokens": 3});
    match provider {
        "openai" => vec![json!({"type": "response.completed", "response": {"usage": usage}})],
        "anthropic" => stops("end_turn"),
        _ => chat_events(&[], "stop"),
    }
}

fn stops(reason: &str) -> Vec<Value> {
    vec![
        json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 3}}),
        json!({"type": "message_stop"}),
    ]
}

fn incomplete(reason: &str) -> Vec<Value> {
    let response = json!({"status": "incomplete", "incomplete_details": {"reason": reason}, "usage": null});
    vec![json!({"type": "response.incomplete", "response": response})]
}

#[test]
fn an_answer_may_be_cut_or_refused() {
    let check = |provider: &str, end: Vec<Value>, expected: &str| {
        let events = [begins(provider, "Go"), end].concat();
        let outside = outside(vec![stream(&events)]);
        let ran = ask(&outside, json!({"provider": provider}), json!({}));
        assert_eq!(ran.code(), expected, "{provider}: {events:?}");
        // The same question would end the same.
        assert_eq!(outside.sent.borrow().len(), 1, "{provider}: {events:?}");
    };
    check("chat", chat_events(&[], "length"), "model-output-cut");
    check("chat", chat_events(&[], "content_filter"), "model-refused");
    check(
        "chat",
        chat_events(&[json!({"refusal": "No."})], "stop"),
        "model-refused",
    );
    check("openai", incomplete("max_output_tokens"), "model-output-cut");
    check("openai", incomplete("content_filter"), "model-refused");
    let refusal = vec![json!({"type": "response.refusal.delta", "delta": "No."})];
    check("openai", [refusal, ends("openai")].concat(), "model-refused");
    check("anthropic", stops("max_tokens"), "model-output-cut");
    check("anthropic", stops("model_context_window_exceeded"), "model-output-cut");
    check("anthropic", stops("refusal"), "model-refused");
}

#[test]
fn a_provider_may_give_up_in_the_middle() {
    let check = |provider: &str, error: Value, code: &str| {
        let broken = || stream(&[begins(provider, "Good mor"), vec![error.clone()]].concat());
        let changes = json!({"provider": provider, "retries": 1});
        let twice = outside(vec![broken(), broken()]);
        let failure = ask(&twice, changes.clone(), json!({})).result.unwrap_err();
        assert_eq!(
            (failure.code.as_str(), failure.retry != Retry::Never),
            ("model-unavailable", true),
            "{error}"
        );
        assert_eq!(failure.message, format!("the provider broke off ({code})"));
        assert_eq!(twice.sent.borrow().len(), 2, "{error}");
        let whole = [begins(provider, "Good evening"), ends(provider)].concat();
        let once = outside(vec![broken(), stream(&whole)]);
        let ran = ask(&once, changes, json!({}));
        assert_eq!(ran.result, Ok(json!("Good evening")), "{error}");
        let anew = Event::Progress {
            message: "The model broke off and begins again".into(),
            fraction: None,
        };
        assert_eq!(ran.told(), [delta("Good mor"), anew, delta("Good evening")], "{error}");
        // What broke off is not counted, though it may cost.
        assert_eq!(ran.journal.take_spent().unwrap().output_tokens, 3, "{error}");
    };
    check(
        "chat",
        json!({"error": {"message": KEY, "type": "server_error", "code": null}}),
        "server_error",
    );
    let failed = json!({"error": {"code": "rate_limit_exceeded", "message": KEY}});
    check(
        "openai",
        json!({"type": "response.failed", "response": failed}),
        "rate_limit_exceeded",
    );
    check(
        "openai",
        json!({"type": "error", "code": "server_error", "message": KEY}),
        "server_error",
    );
    check(
        "openai",
        json!({"type": "error", "error": {"code": "server_error", "message": KEY}}),
        "server_error",
    );
    check(
        "anthropic",
        json!({"type": "error", "error": {"type": "overloaded_error", "message": KEY}}),
        "overloaded_error",
    );
}
