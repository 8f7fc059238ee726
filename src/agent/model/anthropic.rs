//! Messages of Anthropic.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::wire::{Ask, Broken, Decoder, End, Reply, ToolCall, Turn, data, word};
use crate::sse::Event;

/// The version of the API, as each request names it.
pub(super) const VERSION: &str = "2023-06-01";

pub(super) fn body(ask: &Ask<'_>) -> Value {
    let messages = ask.turns.iter().map(|turn| match turn {
        Turn::User(text) => json!({"role": "user", "content": text}),
        Turn::Assistant { text, calls } => {
            // It takes no empty text.
            let text = (!text.is_empty()).then(|| json!({"type": "text", "text": text}));
            let uses = calls.iter().map(|call| {
                let input: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
                json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input})
            });
            json!({"role": "assistant", "content": text.into_iter().chain(uses).collect::<Vec<_>>()})
        }
        Turn::Results(results) => {
            let blocks = results.iter().map(|result| {
                json!({
                    "type": "tool_result", "tool_use_id": result.id, "content": result.content,
                    "is_error": result.failed,
                })
            });
            json!({"role": "user", "content": blocks.collect::<Vec<_>>()})
        }
    });
    let mut body = json!({
        "model": ask.model,
        "max_tokens": ask.max_output_tokens,
        "system": ask.instructions,
        "messages": messages.collect::<Vec<_>>(),
        "stream": true,
    });
    if let Some(temperature) = ask.temperature {
        // Its scale ends where others' are in the middle.
        body["temperature"] = temperature.min(1.0).into();
    }
    if !ask.tools.is_empty() {
        let tools = ask.tools.iter();
        body["tools"] = tools
            .map(|tool| json!({"name": tool.name, "description": tool.description, "input_schema": tool.input}))
            .collect();
    }
    if let Some(schema) = ask.format {
        body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema}});
    }
    body
}

/// Reads the events of a message.
#[derive(Default)]
pub(super) struct Reading {
    /// The tools' places among the calls, by the index of their block.
    uses: BTreeMap<u64, usize>,
    end: Option<End>,
}

impl Decoder for Reading {
    fn event(&mut self, event: &Event, reply: &mut Reply) -> Result<(), Broken> {
        let event = data(event);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().unwrap_or_default() {
            "message_start" => {
                reply.input_tokens = event["message"]["usage"]["input_tokens"].as_u64().unwrap_or_default();
            }
            "content_block_start" if event["content_block"]["type"] == "tool_use" => {
                self.uses
                    .insert(event["index"].as_u64().unwrap_or_default(), reply.calls.len());
                reply.calls.push(ToolCall {
                    id: text(&event["content_block"]["id"]),
                    name: text(&event["content_block"]["name"]),
                    arguments: String::new(),
                });
            }
            "content_block_delta" => {
                reply.text.push_str(event["delta"]["text"].as_str().unwrap_or_default());
                let place = event["index"].as_u64().and_then(|index| self.uses.get(&index));
                if let (Some(place), Some(json)) = (place, event["delta"]["partial_json"].as_str()) {
                    reply.calls[*place].arguments.push_str(json);
                }
            }
            "message_delta" => {
                reply.output_tokens = event["usage"]["output_tokens"].as_u64().unwrap_or_default();
                self.end = match event["delta"]["stop_reason"].as_str() {
                    Some("max_tokens" | "model_context_window_exceeded") => Some(End::Cut),
                    Some("refusal") => Some(End::Refused),
                    _ => Some(End::Whole),
                };
            }
            "message_stop" => {
                // A tool without parameters is used without a word.
                for call in reply.calls.iter_mut().filter(|call| call.arguments.is_empty()) {
                    "{}".clone_into(&mut call.arguments);
                }
                reply.end = self.end;
                reply.over = reply.end.is_some();
            }
            "error" => {
                return Err(Broken {
                    code: word(&event["error"]["type"]),
                });
            }
            _ => {}
        }
        Ok(())
    }
}
