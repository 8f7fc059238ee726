//! The three APIs: which requests they take, and what their streams look like.

use std::sync::LazyLock;

use baton::schema::{Schema, VIOLATIONS_MAX};
use serde_json::{Value, json};

use crate::receiver::Received;

/// One of the APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Chat,
    Responses,
    Messages,
}

/// What was used, as every answer here counts it.
const INPUT_TOKENS: u64 = 21;
const OUTPUT_TOKENS: u64 = 8;

fn schema(text: &str) -> Schema {
    let document: Value = serde_json::from_str(text).expect("JSON");
    Schema::compile(&document).expect("a schema")
}

static CHAT: LazyLock<Schema> = LazyLock::new(|| schema(include_str!("chat-completions.schema.json")));
static RESPONSES: LazyLock<Schema> = LazyLock::new(|| schema(include_str!("responses.schema.json")));
static MESSAGES: LazyLock<Schema> = LazyLock::new(|| schema(include_str!("messages.schema.json")));

/// An error as providers write it.
pub(super) fn error(status: u16, message: &str) -> Value {
    let kind = match status {
        401 => "authentication_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    json!({"type": "error", "error": {"type": kind, "code": null, "param": null, "message": message}})
}

impl Dialect {
    pub(super) fn of(target: &str) -> Option<Self> {
        match target {
            "/v1/chat/completions" => Some(Self::Chat),
            "/v1/responses" => Some(Self::Responses),
            "/v1/messages" => Some(Self::Messages),
            _ => None,
        }
    }

    /// Whether the header fields are as they have to be.
    pub(super) fn accepts_head(self, received: &Received, key: &str) -> bool {
        let is = |name: &str, value: &str| {
            let mut lines = received.headers.iter().filter(|(own, _)| own == name);
            lines.next().is_some_and(|(_, own)| own == value) && lines.next().is_none()
        };
        let knows_the_key = match self {
            Self::Chat | Self::Responses => is("authorization", &format!("Bearer {key}")),
            Self::Messages => is("x-api-key", key) && is("anthropic-version", "2023-06-01"),
        };
        knows_the_key && is("content-type", "application/json")
    }

    /// Whether the body is as published. Why it is not stands in the output of the test.
    pub(super) fn accepts_body(self, body: &Value) -> bool {
        let schema = match self {
            Self::Chat => &CHAT,
            Self::Responses => &RESPONSES,
            Self::Messages => &MESSAGES,
        };
        let violations = schema.violations(body, VIOLATIONS_MAX);
        for violation in &violations {
            eprintln!("{self:?} refuses {}: {}: {body}", violation.instance, violation.message);
        }
        violations.is_empty() && (self == Self::Messages || requires_all(format_of(body)))
    }

    /// A whole answer of text.
    pub(super) fn says(self, text: &str) -> Vec<u8> {
        let mut events = self.opening();
        events.extend(self.deltas(text));
        events.extend(self.closing(text, None));
        self.write(&events)
    }

    /// The beginning of an answer of text.
    pub(super) fn begins(self, text: &str) -> Vec<u8> {
        let mut events = self.opening();
        events.extend(self.deltas(text));
        self.write(&events)
    }

    /// The beginning of an answer of text that is cut after the first byte of its last character.
    ///
    /// # Panics
    /// When that character has one byte only, or was written in another way.
    pub(super) fn breaks_within(self, text: &str) -> Vec<u8> {
        let last = text.chars().last().filter(|last| last.len_utf8() > 1);
        let last = last.expect("a last character of several bytes");
        let (before, last) = text.split_at(text.len() - last.len_utf8());
        let mut bytes = self.begins(before);
        let begun = bytes.len();
        bytes.extend(self.write(&[self.delta(last)]));
        let written = bytes.windows(last.len()).rposition(|window| window == last.as_bytes());
        let written = written.filter(|at| *at >= begun);
        bytes.truncate(written.expect("JSON leaves such a character as it is") + 1);
        bytes
    }

    /// A whole answer that wants a tool.
    pub(super) fn wants(self, tool: &str, input: &Value) -> Vec<u8> {
        let arguments = input.to_string();
        let (first, second) = arguments.split_at(arguments.len() / 2);
        let mut events = self.opening();
        match self {
            Self::Chat => {
                let call = |function: Value, more: Value| {
                    let mut call = json!({"index": 0, "function": function});
                    for (field, value) in more.as_object().into_iter().flatten() {
                        call[field] = value.clone();
                    }
                    chunk(&json!({"tool_calls": [call]}), None)
                };
                let head = json!({"id": "call_1", "type": "function"});
                events.push(call(json!({"name": tool, "arguments": ""}), head));
                events.push(call(json!({"arguments": first}), json!({})));
                events.push(call(json!({"arguments": second}), json!({})));
            }
            Self::Responses => {
                let item = |arguments: &str, status: &str| {
                    json!({
                        "id": "fc_1", "type": "function_call", "status": status, "call_id": "call_1", "name": tool,
                        "arguments": arguments,
                    })
                };
                events.push(
                    json!({"type": "response.output_item.added", "output_index": 0, "item": item("", "in_progress")}),
                );
                for delta in [first, second] {
                    events.push(json!({"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 0, "delta": delta}));
                }
                events.push(json!({"type": "response.function_call_arguments.done", "item_id": "fc_1", "output_index": 0, "arguments": arguments}));
                events.push(json!({"type": "response.output_item.done", "output_index": 0, "item": item(&arguments, "completed")}));
            }
            Self::Messages => {
                let block = json!({"type": "tool_use", "id": "toolu_1", "name": tool, "input": {}});
                events.push(json!({"type": "content_block_start", "index": 0, "content_block": block}));
                for part in [first, second] {
                    let delta = json!({"type": "input_json_delta", "partial_json": part});
                    events.push(json!({"type": "content_block_delta", "index": 0, "delta": delta}));
                }
            }
        }
        events.extend(self.closing("", Some(tool)));
        self.write(&events)
    }

    fn opening(self) -> Vec<Value> {
        match self {
            Self::Chat => vec![chunk(
                &json!({"role": "assistant", "content": "", "refusal": null}),
                None,
            )],
            Self::Responses => {
                let response =
                    json!({"id": "resp_1", "object": "response", "status": "in_progress", "output": [], "usage": null});
                vec![
                    json!({"type": "response.created", "response": response}),
                    json!({"type": "response.in_progress", "response": response}),
                ]
            }
            Self::Messages => {
                let usage = json!({"input_tokens": INPUT_TOKENS, "output_tokens": 1});
                let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "content": [], "stop_reason": null, "usage": usage});
                let block = json!({"type": "text", "text": ""});
                vec![
                    json!({"type": "message_start", "message": message}),
                    json!({"type": "ping"}),
                    json!({"type": "content_block_start", "index": 0, "content_block": block}),
                ]
            }
        }
    }

    /// A text in pieces of a few characters.
    fn deltas(self, text: &str) -> Vec<Value> {
        let characters: Vec<_> = text.chars().collect();
        let pieces = characters.chunks(4).map(|piece| piece.iter().collect::<String>());
        pieces.map(|piece| self.delta(&piece)).collect()
    }

    fn delta(self, text: &str) -> Value {
        match self {
            Self::Chat => chunk(&json!({"content": text}), None),
            Self::Responses => {
                json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": text})
            }
            Self::Messages => {
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
            }
        }
    }

    fn closing(self, text: &str, tool: Option<&str>) -> Vec<Value> {
        match self {
            Self::Chat => {
                let mut usage = chunk(&json!({}), None);
                usage["choices"] = json!([]);
                usage["usage"] = json!({
                    "prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
                });
                let reason = if tool.is_some() { "tool_calls" } else { "stop" };
                vec![chunk(&json!({}), Some(reason)), usage]
            }
            Self::Responses => {
                let usage = json!({"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS});
                let response = json!({"id": "resp_1", "object": "response", "status": "completed", "usage": usage});
                vec![
                    json!({"type": "response.output_text.done", "item_id": "msg_1", "output_index": 0, "content_index": 0, "text": text}),
                    json!({"type": "response.completed", "response": response}),
                ]
            }
            Self::Messages => {
                let reason = if tool.is_some() { "tool_use" } else { "end_turn" };
                vec![
                    json!({"type": "content_block_stop", "index": 0}),
                    json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": {"output_tokens": OUTPUT_TOKENS}}),
                    json!({"type": "message_stop"}),
                ]
            }
        }
    }

    fn write(self, events: &[Value]) -> Vec<u8> {
        let mut text = String::new();
        for event in events {
            if self != Self::Chat {
                text.push_str(&format!("event: {}\n", event["type"].as_str().unwrap_or_default()));
            }
            text.push_str(&format!("data: {event}\n\n"));
        }
        let whole = events.last().is_some_and(|last| last["choices"] == json!([]));
        if whole {
            text.push_str("data: [DONE]\n\n");
        }
        text.into_bytes()
    }
}

/// The schema of the answer that a request to OpenAI asks for; null where it asks for none.
fn format_of(body: &Value) -> &Value {
    let chat = &body["response_format"]["json_schema"]["schema"];
    if chat.is_null() {
        &body["text"]["format"]["schema"]
    } else {
        chat
    }
}

/// Whether each object of a schema requires all of its properties, as OpenAI's strict mode wants it: no schema of the request
/// can say so.
fn requires_all(schema: &Value) -> bool {
    let properties = schema["properties"].as_object();
    let required = schema["required"].as_array();
    let is_required = |name: &String| required.is_some_and(|all| all.contains(&name.as_str().into()));
    let parts = match schema {
        Value::Object(members) => members.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    properties.is_none_or(|properties| properties.keys().all(is_required)) && parts.into_iter().all(requires_all)
}

fn chunk(delta: &Value, finish: Option<&str>) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_764_000_000, "model": "any",
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}], "usage": null,
    })
}
