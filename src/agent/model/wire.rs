//! What is said to a model and what it says, whoever provides it; and what an API makes of that.

use http::HeaderMap;
use serde_json::Value;

use crate::connections::{Api, Provider, Secret};
use crate::sse::Event;

use super::{anthropic, openai_chat, openai_responses, workers_ai};

/// A request to a model.
pub(super) struct Ask<'a> {
    pub(super) model: &'a str,
    pub(super) instructions: &'a str,
    pub(super) turns: &'a [Turn],
    pub(super) tools: &'a [Tool<'a>],
    /// The JSON Schema of the answer, in the subset that providers enforce; nothing where the answer is text.
    pub(super) format: Option<&'a Value>,
    pub(super) temperature: Option<f64>,
    pub(super) max_output_tokens: u32,
}

/// Something that was said.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Turn {
    /// By whoever asks.
    User(String),
    /// By the model.
    Assistant { text: String, calls: Vec<ToolCall> },
    /// What its tools answered.
    Results(Vec<ToolResult>),
}

/// A tool that the model may use.
pub(super) struct Tool<'a> {
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    /// The JSON Schema of its input.
    pub(super) input: &'a Value,
}

/// The model wants to use a tool.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ToolCall {
    pub(super) id: String,
    pub(super) name: String,
    /// The input as JSON, as the model wrote it: unchecked.
    pub(super) arguments: String,
}

/// What a tool answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ToolResult {
    pub(super) id: String,
    pub(super) content: String,
    pub(super) failed: bool,
}

/// What the model said, as far as it came.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) calls: Vec<ToolCall>,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) end: Option<End>,
    /// Whether nothing more comes, though the stream may still be open.
    pub(super) over: bool,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Whole,
    /// At the most tokens.
    Cut,
    /// The model, or its provider, did not want to answer.
    Refused,
}

/// The provider says in the middle of its answer that something went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    /// What, in the provider's own word.
    pub(super) code: Option<String>,
}

/// Reads the events of an answer.
pub(super) trait Decoder {
    /// Takes down what an event says.
    fn event(&mut self, event: &Event, reply: &mut Reply) -> Result<(), Broken>;
}

/// The path of the API's one method, below its base URL.
pub(super) const fn path(api: Api) -> &'static str {
    match api {
        Api::OpenaiResponses => "/responses",
        Api::OpenaiChat => "/chat/completions",
        Api::Anthropic => "/messages",
        Api::WorkersAi => "/run",
    }
}

/// The body of a request to a provider.
pub(super) fn body(provider: &Provider, ask: &Ask<'_>) -> Value {
    match provider.api {
        Api::OpenaiResponses => openai_responses::body(ask),
        Api::OpenaiChat => openai_chat::body(ask, openai_chat::limit(&provider.origin)),
        Api::Anthropic => anthropic::body(ask),
        Api::WorkersAi => workers_ai::body(ask),
    }
}

/// Adds the header fields that the API wants; nothing where the key is none that can be sent.
pub(super) fn add_headers(api: Api, key: Option<&Secret>, headers: &mut HeaderMap) -> Option<()> {
    headers.insert("content-type", "application/json".parse().ok()?);
    headers.insert("accept", "text/event-stream".parse().ok()?);
    let (name, before) = match api {
        Api::WorkersAi | Api::OpenaiResponses | Api::OpenaiChat => ("authorization", "Bearer "),
        Api::Anthropic => {
            headers.insert("anthropic-version", anthropic::VERSION.parse().ok()?);
            ("x-api-key", "")
        }
    };
    if let Some(key) = key {
        let mut value: http::HeaderValue = format!("{before}{}", key.text()).parse().ok()?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Some(())
}

/// Reads an answer of the API.
pub(super) fn decoder(api: Api) -> Box<dyn Decoder> {
    match api {
        Api::OpenaiResponses => Box::new(openai_responses::Reading),
        Api::OpenaiChat => Box::new(openai_chat::Reading),
        Api::Anthropic => Box::<anthropic::Reading>::default(),
        Api::WorkersAi => Box::new(workers_ai::Reading),
    }
}

/// A provider's word for what went wrong, by the body of its answer.
pub(super) fn error_code(api: Api, body: &Value) -> Option<String> {
    match api {
        Api::WorkersAi => workers_ai::code(body),
        _ => word(&body["error"]["code"]).or_else(|| word(&body["error"]["type"])),
    }
}

/// The data of an event; null where it is no JSON.
pub(super) fn data(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap_or_default()
}

/// A provider's word for an error, where it is a word: nothing else of what it writes is passed on, for it may repeat what
/// was sent.
pub(super) fn word(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    let is_word = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    is_word.then(|| text.to_owned())
}
