//! Responses of OpenAI. Nothing is kept there (`store: false`): each request says all that was said before.

use serde_json::{Value, json};

use super::wire::{Ask, Broken, Decoder, End, Reply, ToolCall, Turn, data, word};
use crate::sse::Event;

pub(super) fn body(ask: &Ask<'_>) -> Value {
    let mut input = Vec::new();
    for turn in ask.turns {
        match turn {
            Turn::User(text) => input.push(json!({"role": "user", "content": text})),
            Turn::Assistant { text, calls } => {
                if !text.is_empty() {
                    input.push(json!({"role": "assistant", "content": text}));
                }
                input.extend(calls.iter().map(|call| {
                    json!({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments})
                }));
            }
            Turn::Results(results) => {
                input.extend(results.iter().map(
                    |result| json!({"type": "function_call_output", "call_id": result.id, "output": result.content}),
                ))
            }
        }
    }
    let mut body = json!({
        "model": ask.model,
        "instructions": ask.instructions,
        "input": input,
        "max_output_tokens": ask.max_output_tokens,
        "store": false,
        "stream": true,
    });
    if let Some(temperature) = ask.temperature {
        body["temperature"] = temperature.into();
    }
    if !ask.tools.is_empty() {
        let tools = ask.tools.iter().map(|tool| {
            // The schema of a tool's input is the agent's own, which says more than the strict subset can.
            json!({
                "type": "function", "name": tool.name, "description": tool.description,
                "parameters": tool.input, "strict": false,
            })
        });
        body["tools"] = tools.collect();
    }
    if let Some(schema) = ask.format {
        body["text"] = json!({"format": {"type": "json_schema", "name": "output", "schema": schema, "strict": true}});
    }
    body
}

/// Reads the events of a response.
pub(super) struct Reading;

impl Decoder for Reading {
    fn event(&mut self, event: &Event, reply: &mut Reply) -> Result<(), Broken> {
        let event = data(event);
        match event["type"].as_str().unwrap_or_default() {
            "response.output_text.delta" => reply.text.push_str(event["delta"].as_str().unwrap_or_default()),
            "response.refusal.delta" => reply.end = Some(End::Refused),
            "response.output_item.done" if event["item"]["type"] == "function_call" => {
                let text = |field: &str| event["item"][field].as_str().unwrap_or_default().to_owned();
                reply.calls.push(ToolCall {
                    id: text("call_id"),
                    name: text("name"),
                    arguments: text("arguments"),
                });
            }
            kind @ ("response.completed" | "response.incomplete") => {
                let response = &event["response"];
                reply.input_tokens = response["usage"]["input_tokens"].as_u64().unwrap_or_default();
                reply.output_tokens = response["usage"]["output_tokens"].as_u64().unwrap_or_default();
                let filtered = response["incomplete_details"]["reason"] == "content_filter";
                let end = match kind {
                    "response.completed" => End::Whole,
                    _ if filtered => End::Refused,
                    _ => End::Cut,
                };
                reply.end.get_or_insert(end);
                reply.over = true;
            }
            "response.failed" => {
                let code = word(&event["response"]["error"]["code"]);
                return Err(Broken { code });
            }
            "error" => {
                // On this event some write the error flat, and some in a member of its own.
                let code = word(&event["code"]).or_else(|| word(&event["error"]["code"]));
                return Err(Broken { code });
            }
            _ => {}
        }
        Ok(())
    }
}
