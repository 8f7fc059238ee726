//! Workers AI, by its binding: what `env.AI.run` takes and answers.
//!
//! Its older models answer `{"response": …}`, its newer ones as OpenAI's Chat Completions do; either may be asked by the same
//! request. An answer that has a form, or may use tools, does not come as a stream: the platform streams text alone.

use serde_json::{Value, json};

use super::openai_chat;
use super::wire::{Ask, Broken, Decoder, End, Reply, ToolCall, data};
use crate::sse::Event;

/// The model, and the inputs that it is run with: the edge calls the binding with these two.
pub(super) fn body(ask: &Ask<'_>) -> Value {
    let mut inputs = json!({
        "messages": openai_chat::messages(ask),
        "max_tokens": ask.max_output_tokens,
        "stream": ask.format.is_none() && ask.tools.is_empty(),
    });
    if let Some(temperature) = ask.temperature {
        inputs["temperature"] = temperature.into();
    }
    if !ask.tools.is_empty() {
        inputs["tools"] = openai_chat::tools(ask);
    }
    if let Some(schema) = ask.format {
        inputs["response_format"] = json!({"type": "json_schema", "json_schema": schema});
    }
    json!({"model": ask.model, "inputs": inputs})
}

/// Reads the events of a stream, or an answer that came whole as one of them.
pub(super) struct Reading;

impl Decoder for Reading {
    fn event(&mut self, event: &Event, reply: &mut Reply) -> Result<(), Broken> {
        if event.data == "[DONE]" {
            reply.end.get_or_insert(End::Whole);
            reply.over = true;
            return Ok(());
        }
        let said = data(event);
        if said.get("choices").is_none() {
            return older(&said, reply);
        }
        let message = said.pointer("/choices/0/message").cloned();
        match message {
            None => openai_chat::Reading.event(event, reply),
            Some(message) => {
                // The same as a chunk, but for the name of the member.
                let mut chunk = said;
                chunk["choices"][0]["delta"] = numbered(message);
                let data = chunk.to_string();
                let name = event.name.clone();
                openai_chat::Reading.event(&Event { name, data }, reply)
            }
        }
    }
}

/// In a stream calls of tools have places; in a whole message they stand in their order.
fn numbered(mut message: Value) -> Value {
    let calls = message["tool_calls"].as_array_mut();
    for (index, call) in calls.into_iter().flatten().enumerate() {
        call["index"] = index.into();
    }
    message
}

/// What an older model says.
fn older(said: &Value, reply: &mut Reply) -> Result<(), Broken> {
    if said.get("error").is_some() || said.get("errors").is_some() {
        return Err(Broken { code: code(said) });
    }
    match &said["response"] {
        Value::Null => {}
        Value::String(text) => reply.text.push_str(text),
        // What has a form is answered as what it is.
        other => reply.text.push_str(&other.to_string()),
    }
    for (index, call) in said["tool_calls"].as_array().into_iter().flatten().enumerate() {
        let function = call.get("function").unwrap_or(call);
        let arguments = match &function["arguments"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let id = call["id"]
            .as_str()
            .map_or_else(|| format!("call_{index}"), str::to_owned);
        let name = function["name"].as_str().unwrap_or_default().to_owned();
        reply.calls.push(ToolCall { id, name, arguments });
    }
    if let Some(tokens) = said["usage"]["prompt_tokens"].as_u64() {
        reply.input_tokens = tokens;
        reply.output_tokens = said["usage"]["completion_tokens"].as_u64().unwrap_or_default();
    }
    Ok(())
}

/// The platform's number for an error, and nothing else of what it says.
pub(super) fn code(error: &Value) -> Option<String> {
    let number = error["internalCode"].as_u64();
    let number = number.or_else(|| error.pointer("/errors/0/code")?.as_u64());
    number.map(|number| number.to_string())
}
