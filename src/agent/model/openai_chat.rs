//! Chat Completions of OpenAI, and of all that are compatible with it.

use serde_json::{Value, json};

use super::CALLS_MAX;
use super::wire::{Ask, Broken, Decoder, End, Reply, ToolCall, Turn, data, word};
use crate::connections::OPENAI_ORIGIN;
use crate::sse::Event;

/// The field that bounds an answer, by the provider's origin: OpenAI's own newest models refuse `max_tokens`, and many that
/// are compatible know nothing else.
pub(super) fn limit(origin: &str) -> &'static str {
    match origin {
        OPENAI_ORIGIN => "max_completion_tokens",
        _ => "max_tokens",
    }
}

/// What was said, as messages.
pub(super) fn messages(ask: &Ask<'_>) -> Value {
    let mut messages = vec![json!({"role": "system", "content": ask.instructions})];
    for turn in ask.turns {
        match turn {
            Turn::User(text) => messages.push(json!({"role": "user", "content": text})),
            Turn::Assistant { text, calls } => {
                let mut message = json!({"role": "assistant", "content": text});
                if !calls.is_empty() {
                    message["tool_calls"] = calls.iter().map(tool_call).collect();
                }
                messages.push(message);
            }
            Turn::Results(results) => messages.extend(
                results
                    .iter()
                    .map(|result| json!({"role": "tool", "tool_call_id": result.id, "content": result.content})),
            ),
        }
    }
    messages.into()
}

/// The tools that the model may use.
pub(super) fn tools(ask: &Ask<'_>) -> Value {
    let tools = ask.tools.iter().map(|tool| {
        let function = json!({"name": tool.name, "description": tool.description, "parameters": tool.input});
        json!({"type": "function", "function": function})
    });
    tools.collect()
}

/// The body of a request, with the bound of the answer in the field `limit`.
pub(super) fn body(ask: &Ask<'_>, limit: &str) -> Value {
    let mut body = json!({
        "model": ask.model,
        "messages": messages(ask),
        limit: ask.max_output_tokens,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    if let Some(temperature) = ask.temperature {
        body["temperature"] = temperature.into();
    }
    if !ask.tools.is_empty() {
        body["tools"] = tools(ask);
    }
    if let Some(schema) = ask.format {
        let format = json!({"name": "output", "schema": schema, "strict": true});
        body["response_format"] = json!({"type": "json_schema", "json_schema": format});
    }
    body
}

fn tool_call(call: &ToolCall) -> Value {
    let function = json!({"name": call.name, "arguments": call.arguments});
    json!({"id": call.id, "type": "function", "function": function})
}

/// Reads chunks of a completion.
pub(super) struct Reading;

impl Decoder for Reading {
    fn event(&mut self, event: &Event, reply: &mut Reply) -> Result<(), Broken> {
        if event.data == "[DONE]" {
            reply.over = reply.end.is_some();
            return Ok(());
        }
        let chunk = data(event);
        if let Some(error) = chunk.get("error") {
            let code = word(&error["code"]).or_else(|| word(&error["type"]));
            return Err(Broken { code });
        }
        if let Some(tokens) = chunk["usage"]["prompt_tokens"].as_u64() {
            reply.input_tokens = tokens;
            reply.output_tokens = chunk["usage"]["completion_tokens"].as_u64().unwrap_or_default();
        }
        let choice = &chunk["choices"][0];
        let delta = &choice["delta"];
        reply.text.push_str(delta["content"].as_str().unwrap_or_default());
        let refused = delta["refusal"].as_str().is_some_and(|refusal| !refusal.is_empty());
        for part in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = part["index"].as_u64().and_then(|index| usize::try_from(index).ok());
            let Some(index) = index.filter(|index| *index <= CALLS_MAX) else {
                return Err(Broken { code: None });
            };
            if reply.calls.len() <= index {
                reply.calls.resize(index + 1, ToolCall::default());
            }
            let call = &mut reply.calls[index];
            call.id.push_str(part["id"].as_str().unwrap_or_default());
            call.name
                .push_str(part["function"]["name"].as_str().unwrap_or_default());
            call.arguments
                .push_str(part["function"]["arguments"].as_str().unwrap_or_default());
        }
        let end = match choice["finish_reason"].as_str() {
            Some("length") => Some(End::Cut),
            Some("content_filter") => Some(End::Refused),
            Some(_) => Some(End::Whole),
            None => None,
        };
        // The reason for the end does not say that the model refused: what it said does.
        if refused || (end == Some(End::Whole) && reply.end == Some(End::Refused)) {
            reply.end = Some(End::Refused);
        } else if end.is_some() {
            reply.end = end;
        }
        Ok(())
    }
}
