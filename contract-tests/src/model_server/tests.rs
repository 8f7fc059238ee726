//! The server's own strictness: without it, the tests of agents would prove nothing about their requests.

use serde_json::{Value, json};

use super::*;
use crate::http1::exchange;

const KEY: &str = "sk-strict-0123456789";

/// What strict mode takes.
fn strict() -> Value {
    json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"type": ["string", "null"]}},
    })
}

/// By API: its path, the header lines with the key, and a request that is as published.
fn good() -> [(&'static str, String, Value); 3] {
    let bearer = format!("authorization: Bearer {KEY}\r\n");
    let tool = json!({"name": "look", "description": "Looks.", "parameters": {"type": "object"}});
    let mut flat = tool.clone();
    (flat["type"], flat["strict"]) = ("function".into(), false.into());
    let chat = json!({
        "model": "m", "stream": true, "max_tokens": 99, "stream_options": {"include_usage": true},
        "messages": [
            {"role": "system", "content": "Help."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "x"},
        ],
        "tools": [{"type": "function", "function": tool}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "output", "schema": strict(), "strict": true}},
    });
    let responses = json!({
        "model": "m", "stream": true, "max_output_tokens": 99, "store": false, "instructions": "Help.",
        "input": [
            {"role": "user", "content": "Hi"},
            {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "x"},
        ],
        "tools": [flat],
        "text": {"format": {"type": "json_schema", "name": "output", "schema": strict(), "strict": true}},
    });
    let messages = json!({
        "model": "m", "stream": true, "max_tokens": 99, "system": "Help.",
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "x", "is_error": false}
            ]},
        ],
        "tools": [{"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}],
        "output_config": {"format": {"type": "json_schema", "schema": strict()}},
    });
    [
        ("/v1/chat/completions", bearer.clone(), chat),
        ("/v1/responses", bearer, responses),
        (
            "/v1/messages",
            format!("x-api-key: {KEY}\r\nanthropic-version: 2023-06-01\r\n"),
            messages,
        ),
    ]
}

/// The status that a request is answered with.
fn status(server: &ModelServer, path: &str, lines: &str, body: &Value) -> u16 {
    let body = body.to_string();
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{lines}");
    let request = format!("{head}content-length: {length}\r\n\r\n{body}");
    exchange(server.server.port, request.as_bytes())
        .expect("an answer")
        .status
}

/// A request with the value at this pointer set; taken out where it is null.
fn with(body: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = body.clone();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = changed.pointer_mut(parent).and_then(Value::as_object_mut);
    let parent = parent.unwrap_or_else(|| panic!("no object above {pointer} in {body}"));
    match value {
        Value::Null => drop(parent.remove(name).expect("a field to take out")),
        value => drop(parent.insert(name.to_owned(), value)),
    }
    changed
}

#[test]
fn a_request_as_published_is_answered_and_any_other_is_refused() {
    let server = ModelServer::start(KEY);
    for (path, lines, good) in good() {
        let check = |body: &Value, expected: u16| assert_eq!(status(&server, path, &lines, body), expected, "{body}");
        check(&good, 200);
        // By API: where a message, a tool and the format are, and what a message may not lack.
        let (message, tool, format, needed) = match path {
            "/v1/chat/completions" => (
                "/messages/1",
                "/tools/0/function",
                "/response_format/json_schema",
                "/messages",
            ),
            "/v1/responses" => ("/input/0", "/tools/0", "/text/format", "/input"),
            _ => ("/messages/0", "/tools/0", "/output_config/format", "/max_tokens"),
        };
        let schema = format!("{format}/schema");
        let in_schema = |rest: &str| format!("{schema}{rest}");
        let mut wrong = vec![
            with(&good, "/unknown", json!(1)),
            with(&good, &format!("{message}/unknown"), json!(1)),
            with(&good, &format!("{tool}/unknown"), json!(1)),
            with(&good, &format!("{format}/unknown"), json!(1)),
            with(&good, "/model", Value::Null),
            with(&good, needed, Value::Null),
            with(&good, &format!("{message}/content"), Value::Null),
            with(&good, &format!("{tool}/name"), Value::Null),
            with(&good, &schema, Value::Null),
            with(&good, "/model", json!(1)),
            with(&good, "/temperature", json!(2.5)),
            // Nothing but streams is served.
            with(&good, "/stream", json!(false)),
            // No strict schema: open objects, and keywords that nobody enforces.
            with(&good, &in_schema("/additionalProperties"), Value::Null),
            with(&good, &in_schema("/additionalProperties"), json!(true)),
            with(&good, &in_schema("/properties/a/minLength"), json!(1)),
            with(&good, &in_schema("/required"), Value::Null),
        ];
        if path != "/v1/messages" {
            wrong.push(with(&good, &format!("{format}/strict"), json!(false)));
            wrong.push(with(&good, &format!("{format}/strict"), Value::Null));
            wrong.push(with(&good, &in_schema("/required"), json!([])));
            wrong.push(with(
                &good,
                &in_schema("/properties/b"),
                json!({"type": "object", "properties": {"c": {}}, "required": [], "additionalProperties": false}),
            ));
        }
        for body in wrong {
            check(&body, 400);
        }
    }
}

#[test]
fn an_answer_is_bounded_by_one_field_of_the_two() {
    let server = ModelServer::start(KEY);
    let [(path, lines, good), ..] = good();
    let newer = with(
        &with(&good, "/max_tokens", Value::Null),
        "/max_completion_tokens",
        json!(99),
    );
    assert_eq!(status(&server, path, &lines, &newer), 200);
    let both = with(&good, "/max_completion_tokens", json!(99));
    assert_eq!(status(&server, path, &lines, &both), 400);
}

#[test]
fn nobody_else_is_served() {
    let server = ModelServer::start(KEY);
    for (path, lines, body) in good() {
        let wrong_lines = [
            String::new(),
            lines.replace(KEY, "sk-wrong"),
            // Twice is not once.
            format!("{lines}{lines}"),
            lines.replace("2023-06-01", "2020-01-01").replace("Bearer", "Basic"),
        ];
        for wrong in wrong_lines {
            assert_eq!(status(&server, path, &wrong, &body), 401, "{wrong}");
        }
        assert_eq!(status(&server, "/v1/other", &lines, &body), 404);
    }
}

#[test]
fn a_stream_breaks_within_the_last_character() {
    for dialect in [Dialect::Chat, Dialect::Responses, Dialect::Messages] {
        let bytes = dialect.breaks_within("{\"answer\": \"Gr\u{fc}");
        let error = std::str::from_utf8(&bytes).expect_err("half a character");
        assert_eq!((error.valid_up_to(), error.error_len()), (bytes.len() - 1, None));
        let whole = String::from_utf8_lossy(&bytes);
        assert!(whole.contains("Gr"), "{whole}");
    }
}
