//! What the gateway and its agents declare about themselves.
//!
//! `manifests/` holds one JSON file per agent and `gateway.json`. [`load`] checks them all and makes a [`Team`] of them;
//! the build script writes the team into the Worker, so that a wrong manifest fails the build and never a request.
//! This module is compiled into the build script as well: it knows the agents' names, not their code.

mod agent;
mod alert;
mod channel;
mod direct;
mod gateway;
mod http;
mod kept;
mod memory;
mod model;
mod notification;
mod service;
mod team;
mod template;
pub mod workflow;

#[cfg(not(target_arch = "wasm32"))]
mod bundle;
#[cfg(not(target_arch = "wasm32"))]
mod check;
pub(crate) mod check_adjustable;
#[cfg(not(target_arch = "wasm32"))]
mod check_http;
#[cfg(not(target_arch = "wasm32"))]
mod check_memory;
mod check_model;
#[cfg(not(target_arch = "wasm32"))]
mod check_notices;
#[cfg(not(target_arch = "wasm32"))]
mod check_service;
#[cfg(not(target_arch = "wasm32"))]
mod check_tools;
mod check_variables;
#[cfg(not(target_arch = "wasm32"))]
mod finding;
#[cfg(not(target_arch = "wasm32"))]
mod load;

pub use agent::{
    AgentManifest, Example, Fallback, Implementation, Keyword, Limits, RetryPolicy, Routing, Rule, RuleHandOff,
    RuleState, RulesConfig, RustConfig, Visibility,
};
pub use alert::{ALERT_CHANNELS_MAX, ALERT_MINUTES_MAX, ALERTS_MAX, AlertConfig, Percentile, Watch};
pub use channel::{CHANNELS_MAX, ChannelConfig, ChannelKind};
pub use direct::{BUDGET_MS, Direct, budget_ms, input_of};
pub use gateway::{Discovery, GatewayLimits, GatewayManifest, GatewayRouting};
pub use http::{
    Exchange, HTTP_TIMEOUT_MS, HeaderValue, HttpConfig, HttpTemplates, Method, RESPONSE_MAX_BYTES, RETRIES_MAX,
    SecretReference, StatusFailure, StatusRule,
};
pub use memory::{
    MEMORY_MESSAGES, MEMORY_MESSAGES_MAX, MEMORY_TOKENS, MEMORY_TOKENS_MAX, MEMORY_TTL_MAX_S, MEMORY_TTL_S, Memory,
};
pub use model::{
    CACHE_TTL_MAX_S, CACHE_TTL_MIN_S, CacheConfig, FALLBACK_MODELS_MAX, MODEL_RETRIES, MODEL_TIMEOUT_MS, Message,
    ModelConfig, ModelName, ModelTemplates, OUTPUT_TOKENS, Role, TOOL_ROUNDS, TOOL_ROUNDS_MAX, TOOLS_MAX,
};
pub use notification::{MESSAGE_MAX_CHARS, NOTIFICATION_NAMES, NOTIFICATIONS_MAX, Notification, NotifiedOutcome};
pub use service::{BoundWorker, RemoteAgent, ServiceConfig};
pub use team::{Overridden, Team};
pub use template::{Names, Reference, RenderError, Template, TemplateError};
pub use workflow::WorkflowConfig;

#[cfg(not(target_arch = "wasm32"))]
pub use finding::Finding;
#[cfg(not(target_arch = "wasm32"))]
pub use load::{load, load_with};

/// The largest body of a request in bytes, unless a manifest says otherwise.
pub const BODY_MAX_BYTES: u64 = 1024 * 1024;
/// The largest body that a manifest may allow, in bytes: the platform keeps a whole isolate within 128 MiB.
pub const BODY_MAX_BYTES_LIMIT: u64 = 16 * 1024 * 1024;
/// The deepest nesting of a JSON body, in containers.
pub const JSON_DEPTH_MAX: usize = 64;
/// The time an agent has for one step, in milliseconds, unless its manifest says otherwise.
pub const DEADLINE_MS: u64 = 30_000;
/// The longest deadline that a manifest or a caller may ask for, in milliseconds.
pub const DEADLINE_MAX_MS: u64 = 300_000;
/// The most attempts of a step that a retry policy may allow, the first included.
pub const ATTEMPTS_MAX: u32 = 10;
/// The longest wait between two attempts, in milliseconds.
pub const BACKOFF_MAX_MS: u64 = 60_000;
/// The most characters of an agent's id.
pub const AGENT_ID_MAX_CHARS: usize = 63;
/// The most agents that an agent may hand off to.
pub const HANDOFFS_MAX: usize = 20;
/// The most agents that an agent may fall back to.
pub const FALLBACK_AGENTS_MAX: usize = 8;
/// The most agents of one gateway.
pub const AGENTS_MAX: usize = 100;
/// The largest manifest or file of definitions, in bytes.
pub const MANIFEST_MAX_BYTES: usize = 256 * 1024;
/// The longest Markdown prompt, in bytes.
pub const PROMPT_MAX_BYTES: usize = 64 * 1024;

/// The agents written in Rust that a manifest may name. `agent::registry` has the code to each of them.
pub const RUST_AGENTS: &[&str] = &[
    "redact",
    "summarize",
    "triage",
    #[cfg(feature = "fixtures")]
    "bad-output",
    #[cfg(feature = "fixtures")]
    "echo",
    #[cfg(feature = "fixtures")]
    "escalate",
    #[cfg(feature = "fixtures")]
    "fail",
    #[cfg(feature = "fixtures")]
    "greet",
    #[cfg(feature = "fixtures")]
    "panic",
    #[cfg(feature = "fixtures")]
    "script",
    #[cfg(feature = "fixtures")]
    "sleep",
];
