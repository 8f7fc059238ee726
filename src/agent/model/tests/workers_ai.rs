//! Workers AI by its binding: what it is asked, and both forms of its answers.

use super::*;

fn bound(replies: Vec<Reply>) -> FakeOutside {
    let mut outside = FakeOutside::new(connections(&[("BATON_MODELS", r#"{"workers-ai": {}}"#)]), replies);
    outside.bound = vec!["AI"];
    outside
}

fn at_once(body: Value) -> Reply {
    Reply::json(200, &body)
}

fn ask_it(outside: &FakeOutside, model: Value, changes: Value) -> Ran {
    let mut model = model;
    model["provider"] = "workers-ai".into();
    ask(outside, model, changes)
}

fn of_form() -> Value {
    json!({"output": {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}})
}

#[test]
fn text_comes_as_a_stream() {
    let mut events: String = [
        json!({"response": "Good m\u{f6}r"}),
        json!({"response": "ning"}),
        json!({"response": "", "usage": {"prompt_tokens": 11, "completion_tokens": 3}}),
    ]
    .iter()
    .map(|event| format!("data: {event}\n\n"))
    .collect();
    events.push_str("data: [DONE]\n\n");
    let chunks = events.into_bytes().chunks(7).map(<[u8]>::to_vec).collect();
    let fields = vec![("content-type", "text/event-stream".to_owned())];
    let outside = bound(vec![Reply::Answer(200, fields, chunks)]);
    let ran = ask_it(&outside, json!({"temperature": 0.5}), json!({}));
    assert_eq!(ran.result, Ok(json!("Good m\u{f6}rning")));
    let spent = ran.journal.take_spent().unwrap();
    assert_eq!((spent.input_tokens, spent.output_tokens), (11, 3));
    assert_eq!(outside.sent_to.borrow()[..], ["AI"]);
    let messages = json!([{"role": "system", "content": "Help them."}, {"role": "user", "content": "Hi"}]);
    assert_eq!(
        outside.sent_bodies(),
        [json!({
            "model": "small",
            "inputs": {"messages": messages, "max_tokens": 1024, "temperature": 0.5, "stream": true},
        })]
    );
    assert!(outside.sent.borrow()[0].headers().get("authorization").is_none());
}

#[test]
fn what_has_a_form_comes_at_once_in_either_form() {
    for said in [
        json!({"response": {"n": 5}, "usage": {"prompt_tokens": 11, "completion_tokens": 3}}),
        json!({"response": "{\"n\": 5}", "usage": {"prompt_tokens": 11, "completion_tokens": 3}}),
        json!({
            "choices": [{"message": {"role": "assistant", "content": "{\"n\": 5}"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 3},
        }),
    ] {
        let outside = bound(vec![at_once(said.clone())]);
        let ran = ask_it(&outside, json!({}), of_form());
        assert_eq!(ran.result, Ok(json!({"n": 5})), "{said}");
        assert_eq!(ran.journal.take_spent().unwrap().input_tokens, 11, "{said}");
        let inputs = &outside.sent_bodies()[0]["inputs"];
        assert_eq!(inputs["stream"], false);
        assert_eq!(inputs["response_format"]["type"], "json_schema");
        assert_eq!(inputs["response_format"]["json_schema"]["required"], json!(["n"]));
    }
}

#[test]
fn tools_are_used_in_either_form() {
    let arguments = json!({"text": "I was charged twice"});
    let older = json!({"response": null, "tool_calls": [{"name": "triage", "arguments": arguments}]});
    let function = json!({"name": "triage", "arguments": arguments.to_string()});
    let call = json!({"id": "c1", "type": "function", "function": function});
    let newer = json!({
        "choices": [{"message": {"content": null, "tool_calls": [call]}, "finish_reason": "tool_calls"}],
    });
    for wants in [older, newer] {
        let outside = bound(vec![at_once(wants.clone()), at_once(json!({"response": "done"}))]);
        let ran = ask_it(&outside, json!({"tools": ["triage"]}), json!({}));
        assert_eq!(ran.result, Ok(json!("done")), "{wants}");
        let bodies = outside.sent_bodies();
        assert_eq!(bodies[0]["inputs"]["tools"][0]["function"]["name"], "triage");
        let messages = bodies[1]["inputs"]["messages"].as_array().unwrap();
        assert_eq!(messages[2]["tool_calls"][0]["function"]["name"], "triage");
        assert_eq!(messages[3]["role"], "tool");
        assert!(messages[3]["content"].as_str().unwrap().contains("support"), "{wants}");
    }
}

#[test]
fn its_errors_are_told_by_their_numbers() {
    let busy = json!({"internalCode": 3040, "name": "AiError", "description": "Capacity temporarily exceeded: Hi"});
    let outside = bound(vec![Reply::json(429, &busy), at_once(json!({"response": "Hi"}))]);
    assert_eq!(ask_it(&outside, json!({"retries": 1}), json!({})).code(), "ok");
    assert_eq!(outside.sent.borrow().len(), 2);
    let unknown = json!({"errors": [{"code": 5007, "message": "No such model Hi"}]});
    let outside = bound(vec![Reply::json(400, &unknown)]);
    let failure = ask_it(&outside, json!({"retries": 0}), json!({})).result.unwrap_err();
    assert_eq!(failure.code, "model-request-refused");
    assert!(
        failure.message.contains("5007") && !failure.message.contains("Hi"),
        "{failure:?}"
    );
}

#[test]
fn without_the_binding_nothing_is_sent() {
    let mut outside = bound(Vec::new());
    outside.bound.clear();
    let failure = ask_it(&outside, json!({}), json!({})).result.unwrap_err();
    assert_eq!(failure.code, "call-not-allowed");
    assert!(failure.message.contains("not bound as `AI`"), "{failure:?}");
    assert!(outside.sent.borrow().is_empty());
}
