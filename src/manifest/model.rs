//! The configuration of kind `model`: a language model, how it is instructed, and what it may use.

use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::{Template, TemplateError};

/// How long a model may be silent, in milliseconds, unless its manifest says otherwise.
pub const MODEL_TIMEOUT_MS: u64 = 30_000;
/// The most tokens of one answer, unless its manifest says otherwise.
pub const OUTPUT_TOKENS: u32 = 1024;
/// So many further tries of a request there are, unless its manifest says otherwise.
pub const MODEL_RETRIES: u32 = 2;
/// So often a model may use tools before it has to answer, unless its manifest says otherwise.
pub const TOOL_ROUNDS: u32 = 4;
/// The most rounds of tools that a manifest may allow.
pub const TOOL_ROUNDS_MAX: u32 = 16;
/// The most tools of one model.
pub const TOOLS_MAX: usize = 16;
/// An answer is kept for at least so long, in seconds: what the platform's store can do.
pub const CACHE_TTL_MIN_S: u64 = 60;
/// An answer is kept for at most so long, in seconds: 30 days.
pub const CACHE_TTL_MAX_S: u64 = 30 * 24 * 60 * 60;
/// The most other models that may stand in for one.
pub const FALLBACK_MODELS_MAX: usize = 4;

/// The configuration of kind `model`. Its instructions are the Markdown file that the manifest's `prompt` names, or stand
/// here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// A name of the variable `BATON_MODELS`.
    pub provider: String,
    /// The model, as its provider names it.
    pub model: String,
    /// The instructions, a template over `input` and `state`, where no `prompt` has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// What is said to the model.
    pub messages: Vec<Message>,
    /// How much it varies. Left out of the request where it is left out here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The most tokens of one answer.
    #[serde(default = "output_tokens")]
    pub max_output_tokens: u32,
    /// How long it may be silent, in milliseconds: before it begins to answer, and in between.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// So many further tries a request has, where its provider is busy.
    #[serde(default = "retries")]
    pub retries: u32,
    /// The models that are asked when this one gives no answer, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback_models: Vec<ModelName>,
    /// The agents that it may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// So often it may use them before it has to answer.
    #[serde(default = "tool_rounds")]
    pub tool_rounds_max: u32,
    /// The member of the output, a string, that is told while it comes. An output that is a string is always told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// For how long answers are kept, to be given again to the same request. None is kept where this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheConfig>,
    #[serde(skip)]
    compiled: Kept<ModelTemplates>,
}

fn output_tokens() -> u32 {
    OUTPUT_TOKENS
}

fn timeout_ms() -> u64 {
    MODEL_TIMEOUT_MS
}

fn retries() -> u32 {
    MODEL_RETRIES
}

fn tool_rounds() -> u32 {
    TOOL_ROUNDS
}

/// How answers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheConfig {
    /// For how long, in seconds.
    pub ttl_s: u64,
}

/// A model by its provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelName {
    /// A name of the variable `BATON_MODELS`.
    pub provider: String,
    /// The model, as its provider names it.
    pub model: String,
}

/// Something that is said to the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What, as a template over `input` and `state`.
    pub content: String,
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Whoever asks.
    User,
    /// The model: an example of how it answers.
    Assistant,
}

/// The templates of a model, compiled.
#[derive(Debug)]
pub struct ModelTemplates {
    /// The instructions.
    pub instructions: Template,
    /// What is said to the model.
    pub messages: Vec<(Role, Template)>,
}

impl ModelConfig {
    /// The templates, compiled once. `prompt` is the text of the manifest's prompt.
    ///
    /// # Errors
    /// What [`Template::compile`] says, with the pointer within the manifest; never for a manifest that passed its check.
    pub fn templates(&self, prompt: Option<&str>) -> Result<&ModelTemplates, &TemplateError> {
        self.compiled.get(|| {
            let (at, text) = match (prompt, &self.instructions) {
                (Some(prompt), _) => ("/prompt", prompt),
                (None, Some(instructions)) => ("/model/instructions", instructions.as_str()),
                (None, None) => {
                    return Err(TemplateError {
                        pointer: "/model".to_owned(),
                        reason: "there are no instructions: name a file by `prompt`, or write `instructions`"
                            .to_owned(),
                    });
                }
            };
            let messages = self.messages.iter().enumerate().map(|(index, message)| {
                let at = format!("/model/messages/{index}/content");
                Ok((message.role, compile(&message.content, &at)?))
            });
            Ok(ModelTemplates {
                instructions: compile(text, at)?,
                messages: messages.collect::<Result<_, _>>()?,
            })
        })
    }

    /// The model, and those that stand in for it.
    pub fn models(&self) -> impl Iterator<Item = ModelName> + '_ {
        let first = ModelName {
            provider: self.provider.clone(),
            model: self.model.clone(),
        };
        std::iter::once(first).chain(self.fallback_models.iter().cloned())
    }
}

fn compile(text: &str, at: &str) -> Result<Template, TemplateError> {
    Template::compile(&text.into()).map_err(|error| TemplateError {
        pointer: format!("{at}{}", error.pointer),
        reason: error.reason,
    })
}
