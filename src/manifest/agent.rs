//! One agent's file: identity, schemas, what runs it, and how it may be called.

use std::any::Any;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::kept::Kept;
use super::{
    DEADLINE_MS, Direct, HttpConfig, Memory, ModelConfig, Notification, ServiceConfig, Template, WorkflowConfig,
};
use crate::schema::LazySchema;
use crate::text::{NEGATIONS, Phrases};

/// What an agent's file says. Unknown fields are refused by `agent.schema.json`, against which every file is checked
/// before it gets here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentManifest {
    /// The schema for editors; not part of the team.
    #[serde(rename = "$schema", default, skip_serializing)]
    pub editor_schema: Option<String>,
    /// `[a-z][a-z0-9-]{0,62}`, the name of the file without `.json`.
    pub id: String,
    /// Version of the agent, as in Semantic Versioning.
    pub version: String,
    /// A name for people.
    pub title: String,
    /// What the agent does, for people and for a router that has to choose.
    pub description: String,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Inputs that work, with the output where it is always the same. Checked against the schemas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
    /// What the agent takes.
    pub input: LazySchema,
    /// What it answers.
    pub output: LazySchema,
    /// What it keeps from step to step of a run, if it keeps anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<LazySchema>,
    /// What it remembers of a conversation, if it remembers anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// What runs it: the field `kind`, and a field of the same name with the configuration.
    #[serde(flatten)]
    pub implementation: Implementation,
    /// The Markdown file beside the manifest that instructs a model. [`super::Team::prompt`] has its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The time for one step in milliseconds.
    #[serde(default = "deadline_ms")]
    pub deadline_ms: u64,
    /// When a failed step may be tried again.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// Who or what answers a customer's call when this agent fails for good.
    #[serde(default, skip_serializing_if = "Fallback::is_empty")]
    pub fallback: Fallback,
    /// The agents that it may hand a run over to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handoffs: Vec<String>,
    /// What makes a router choose this agent.
    #[serde(default, skip_serializing_if = "Routing::is_empty")]
    pub routing: Routing,
    /// What is told to channels when a step of it has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notifications: Vec<Notification>,
    /// How customers call it without an orchestrator.
    #[serde(default, skip_serializing_if = "Direct::is_usual")]
    pub direct: Direct,
    /// Who may call it.
    #[serde(default)]
    pub visibility: Visibility,
    /// Limits of this agent where they differ from the gateway's.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
}

fn deadline_ms() -> u64 {
    DEADLINE_MS
}

impl AgentManifest {
    /// The agent's `kind` as it stands in its file.
    pub fn kind(&self) -> &'static str {
        match self.implementation {
            Implementation::Rules { .. } => "rules",
            Implementation::Rust { .. } => "rust",
            Implementation::Http { .. } => "http",
            Implementation::Service { .. } => "service",
            Implementation::Model { .. } => "model",
            Implementation::Workflow { .. } => "workflow",
        }
    }

    /// Whether it calls other agents: then it is executed where its run is kept, as a step of its own.
    #[must_use]
    pub const fn is_workflow(&self) -> bool {
        matches!(self.implementation, Implementation::Workflow { .. })
    }
}

/// An input to try, and what the agent answers to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// What the example shows.
    pub title: String,
    /// Valid for the input schema.
    pub input: Value,
    /// Valid for the output schema; left out where the answer may vary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

/// What runs an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Implementation {
    /// Ordered conditions on the input, with templates for the output.
    Rules {
        /// The conditions and templates.
        rules: Box<RulesConfig>,
    },
    /// A Rust type that implements `agent::Agent`.
    Rust {
        /// Which one, and its configuration.
        rust: RustConfig,
    },
    /// A call of somebody else's HTTP API.
    Http {
        /// Where it goes, what is sent, and what the answers mean.
        http: Box<HttpConfig>,
    },
    /// Another Worker, or an agent of another gateway.
    Service {
        /// Which one.
        service: Box<ServiceConfig>,
    },
    /// A language model.
    Model {
        /// Which one, and how it is instructed.
        model: Box<ModelConfig>,
    },
    /// Other agents of the team, called in an order.
    Workflow {
        /// The order.
        workflow: Box<WorkflowConfig>,
    },
}

/// The configuration of kind `rules`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesConfig {
    /// Tried from first to last; the first that matches answers.
    pub rules: Vec<Rule>,
    /// The template for when no rule matches; without it such a step fails with `no-rule-matched`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Value>,
    #[serde(skip)]
    otherwise_compiled: Kept<Option<Template>>,
}

impl RulesConfig {
    /// The template for when no rule matches, compiled once.
    ///
    /// # Errors
    /// What [`Template::compile`] says; never for a manifest that passed its check.
    pub fn otherwise_template(&self) -> Result<Option<&Template>, &super::TemplateError> {
        let compile = || self.otherwise.as_ref().map(Template::compile).transpose();
        self.otherwise_compiled.get(compile).map(Option::as_ref)
    }
}

/// One rule: if the input is valid for `when`, the output is `then`, or the run is handed off as `hand_off` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A name for logs and error messages.
    pub name: String,
    /// A JSON Schema (2020-12) on the input.
    pub when: LazySchema,
    /// A template of the output. A rule has this or `hand_off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Value>,
    /// Who goes on with the run instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_off: Option<RuleHandOff>,
    /// How the state changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<RuleState>,
    #[serde(skip)]
    then_compiled: Kept<Option<Template>>,
    #[serde(skip)]
    state_compiled: Kept<Option<Template>>,
}

/// Who goes on with a run, by a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleHandOff {
    /// One of the agents that the manifest's `handoffs` name.
    pub agent: String,
    /// A template of the reason: a string.
    pub reason: String,
    /// A template of the next agent's input; this agent's own where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    #[serde(skip)]
    compiled: Kept<(Template, Option<Template>)>,
}

impl RuleHandOff {
    /// The templates of the reason and of the input, compiled once.
    ///
    /// # Errors
    /// What [`Template::compile`] says; never for a manifest that passed its check.
    pub fn templates(&self) -> Result<&(Template, Option<Template>), &super::TemplateError> {
        let compile = || {
            let reason = Template::compile(&Value::from(self.reason.as_str()))?;
            Ok((reason, self.input.as_ref().map(Template::compile).transpose()?))
        };
        self.compiled.get(compile)
    }
}

/// How a rule changes the state: by a template of the whole, or of a JSON Merge Patch (RFC 7396).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleState {
    /// This is the new state.
    Replace(Value),
    /// This makes the new state of the old one.
    Merge(Value),
}

impl RuleState {
    /// The template.
    #[must_use]
    pub const fn template(&self) -> &Value {
        match self {
            Self::Replace(template) | Self::Merge(template) => template,
        }
    }
}

impl Rule {
    /// The template of the output, compiled once.
    ///
    /// # Errors
    /// What [`Template::compile`] says; never for a manifest that passed its check.
    pub fn then_template(&self) -> Result<Option<&Template>, &super::TemplateError> {
        let compile = || self.then.as_ref().map(Template::compile).transpose();
        self.then_compiled.get(compile).map(Option::as_ref)
    }

    /// The template of the state, compiled once.
    ///
    /// # Errors
    /// What [`Template::compile`] says; never for a manifest that passed its check.
    pub fn state_template(&self) -> Result<Option<&Template>, &super::TemplateError> {
        let compile = || {
            let template = self.state.as_ref().map(RuleState::template);
            template.map(Template::compile).transpose()
        };
        self.state_compiled.get(compile).map(Option::as_ref)
    }
}

/// The configuration of kind `rust`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RustConfig {
    /// One of [`super::RUST_AGENTS`].
    pub name: String,
    /// The configuration that the Rust type is made from; an empty object if there is none.
    #[serde(default = "empty_object")]
    pub config: Value,
    #[serde(skip)]
    instance: Kept<Box<dyn Any + Send + Sync>, String>,
}

impl RustConfig {
    /// The agent made from this configuration, made by `make` when it is first needed. `agent::registry` knows its type.
    ///
    /// # Errors
    /// What `make` answered when it was called.
    pub fn instance(
        &self,
        make: impl FnOnce() -> Result<Box<dyn Any + Send + Sync>, String>,
    ) -> Result<&(dyn Any + Send + Sync), &String> {
        self.instance.get(make).map(Box::as_ref)
    }
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}

/// When a failed step may be tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// How often the gateway itself executes an attempt in the background, the first time included: 1 means not again. Who
    /// waits for the answer makes further attempts itself.
    pub max_attempts: u32,
    /// The wait before the second execution in milliseconds; it doubles from then on.
    pub backoff_ms: u64,
    /// The longest wait in milliseconds.
    pub backoff_max_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            max_attempts: 1,
            backoff_ms: 200,
            backoff_max_ms: 5_000,
        }
    }
}

/// Who or what answers when an agent fails for good, whoever called it. First the agents are tried, then there is the answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fallback {
    /// The agents in the order in which they are tried, at most [`super::FALLBACK_AGENTS_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// An output that stands ready when no agent could answer. Valid for the agent's own output schema, and never null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
}

impl Fallback {
    /// Whether nothing takes over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty() && self.answer.is_none()
    }
}

/// What makes a router choose this agent for a query.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Routing {
    /// Words and phrases that speak for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<Keyword>,
    /// Words and phrases that speak against it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub negative: Vec<Keyword>,
    #[serde(skip)]
    phrases: Kept<Phrases, String>,
}

impl Routing {
    /// What speaks for the agent and then what speaks against it, ready to be found in a text by that order.
    ///
    /// # Errors
    /// What [`Phrases::new`] says; never for a manifest that passed its check.
    pub fn phrases(&self) -> Result<&Phrases, &String> {
        let hints = self.keywords.iter().chain(&self.negative);
        let phrases = hints.map(|keyword| keyword.phrase.as_str());
        self.phrases.get(|| Phrases::new(phrases, NEGATIONS.iter().copied()))
    }

    fn is_empty(&self) -> bool {
        self.keywords.is_empty() && self.negative.is_empty()
    }
}

/// A word or phrase with its weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyword {
    /// The words, in lower case; a trailing `*` also takes longer words.
    pub phrase: String,
    /// How much it says, more than 0; 1 is usual.
    #[serde(default = "usual_weight")]
    pub weight: f64,
}

fn usual_weight() -> f64 {
    1.0
}

/// Who may call an agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Orchestrators, and customers with an API key.
    #[default]
    Public,
    /// Orchestrators only.
    Orchestrator,
    /// Other agents of this gateway only; it appears in no document.
    Internal,
}

/// Limits of one agent where they differ from the gateway's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest body in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_max_bytes: Option<u64>,
}

impl Limits {
    fn is_empty(&self) -> bool {
        *self == Limits::default()
    }
}
