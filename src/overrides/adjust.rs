//! What an override may change of an agent, and whether the agent still holds with it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::snapshot::{Overrides, Snapshot, canonical, digest};
use crate::connections::Connections;
use crate::manifest::{
    AgentManifest, Implementation, Keyword, Limits, ModelConfig, ModelName, Overridden, PROMPT_MAX_BYTES, Team,
    check_adjustable,
};
use crate::schema::{VIOLATIONS_MAX, Violation};
use crate::signature::digest::hex_digest;
use crate::wire;

/// So many hexadecimal digits of an override's digest stand in its agent's version.
const VERSION_DIGEST_CHARS: usize = 8;

/// What an operator changes of an agent: the message `agent-override`. What is left out stays as its manifest has it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentOverride {
    /// Whether the agent is there at all.
    pub enabled: Option<bool>,
    /// The text of the prompt of a model.
    pub prompt: Option<String>,
    /// The model, and how it is asked.
    pub model: Option<ModelOverride>,
    /// The time for one step in milliseconds.
    pub deadline_ms: Option<u64>,
    /// Limits where they differ from the gateway's.
    pub limits: Option<Limits>,
    /// What makes a router choose the agent.
    pub routing: Option<RoutingOverride>,
}

/// What an operator changes of a model. The fields are those of [`ModelConfig`].
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "stated where they are overridden")]
pub struct ModelOverride {
    pub provider: Option<String>,
    pub model: Option<String>,
    pub temperature: Option<f64>,
    pub max_output_tokens: Option<u32>,
    pub timeout_ms: Option<u64>,
    pub retries: Option<u32>,
    pub fallback_models: Option<Vec<ModelName>>,
    pub tool_rounds_max: Option<u32>,
}

/// What an operator changes of a router's hints: each list as a whole.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoutingOverride {
    /// Words and phrases that speak for the agent.
    pub keywords: Option<Vec<Keyword>>,
    /// Words and phrases that speak against it.
    pub negative: Option<Vec<Keyword>>,
}

/// An override that is not followed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// Whose it is.
    pub agent: String,
    /// What is wrong, with the place in the manifest as it would be.
    pub errors: Vec<Violation>,
}

/// An agent with its override.
#[derive(Debug, Clone, PartialEq)]
struct Adjusted {
    manifest: AgentManifest,
    prompt: Option<String>,
    enabled: bool,
}

/// The team with a version of the overrides: those that hold are followed, each of the others is left out as a whole.
#[must_use]
pub fn overridden(declared: &Team, snapshot: &Snapshot) -> (Team, Vec<Ignored>) {
    let mut team = declared.clone();
    let (mut followed, mut ignored) = (Overrides::new(), Vec::new());
    team.overridden = Overridden {
        version: snapshot.version,
        ..Overridden::default()
    };
    for (id, value) in &snapshot.overrides {
        match adjusted(declared, id, value) {
            Ok(adjusted) => {
                follow(&mut team, id, adjusted);
                followed.insert(id.clone(), value.clone());
            }
            Err(errors) => ignored.push(Ignored {
                agent: id.clone(),
                errors,
            }),
        }
    }
    if !followed.is_empty() {
        team.overridden.digest = Some(digest(&followed));
    }
    (team, ignored)
}

fn follow(team: &mut Team, id: &str, adjusted: Adjusted) {
    if !adjusted.enabled {
        team.agents.retain(|agent| agent.id != id);
        team.overridden.disabled.insert(id.to_owned());
        return;
    }
    if let Some(agent) = team.agents.iter_mut().find(|agent| agent.id == id) {
        *agent = adjusted.manifest;
    }
    if let Some(prompt) = adjusted.prompt {
        team.prompts.insert(id.to_owned(), prompt);
    }
}

/// Checks an override as a manifest is checked, and its providers against what is configured.
///
/// # Errors
/// All that is wrong with it.
pub fn check(declared: &Team, connections: &Connections, id: &str, value: &Value) -> Result<(), Vec<Violation>> {
    let adjusted = adjusted(declared, id, value)?;
    let Implementation::Model { model } = &adjusted.manifest.implementation else {
        return Ok(());
    };
    // What the manifest says by itself is not the override's fault.
    if value["model"]["provider"].is_null() && value["model"]["fallback_models"].is_null() {
        return Ok(());
    }
    let unknown = model.models().enumerate().filter_map(|(place, name)| {
        if connections.provider(&name.provider).is_some() {
            return None;
        }
        let at = match place {
            0 => "/model/provider".to_owned(),
            place => format!("/model/fallback_models/{}/provider", place - 1),
        };
        let message = format!("The variable BATON_MODELS has no provider `{}`.", name.provider);
        Some(violation(&at, message))
    });
    let unknown: Vec<_> = unknown.collect();
    if unknown.is_empty() { Ok(()) } else { Err(unknown) }
}

/// The agent with this override.
fn adjusted(declared: &Team, id: &str, value: &Value) -> Result<Adjusted, Vec<Violation>> {
    let alone = |at: &str, message: &str| vec![violation(at, message.to_owned())];
    let Some(agent) = declared.agent(id) else {
        return Err(alone("", "There is no agent of this id."));
    };
    let schema = wire::compiled("agent-override").and_then(|schema| schema.get().ok());
    let schema = schema.ok_or_else(|| alone("", "The schema of overrides is of no use."))?;
    let violations = schema.violations(value, VIOLATIONS_MAX);
    if !violations.is_empty() {
        return Err(violations);
    }
    let change: AgentOverride = serde_json::from_value(value.clone())
        .map_err(|_| alone("", "It fits the schema of overrides, and cannot be read all the same."))?;
    let mut violations = Vec::new();
    let mut manifest = agent.clone();
    manifest.version = version_with(&agent.version, value);
    manifest.deadline_ms = change.deadline_ms.unwrap_or(agent.deadline_ms);
    if let Some(limits) = change.limits {
        manifest.limits = limits;
    }
    if let Some(routing) = change.routing {
        replace(&mut manifest.routing.keywords, routing.keywords);
        replace(&mut manifest.routing.negative, routing.negative);
    }
    match (&mut manifest.implementation, change.model) {
        (Implementation::Model { model }, Some(change)) => adjust_model(model, change),
        (Implementation::Model { .. }, None) | (_, None) => {}
        (_, Some(_)) => violations.push(of_another_kind(agent, "/model")),
    }
    let prompt = change.prompt.as_deref();
    match prompt {
        Some(_) if agent.kind() != "model" => violations.push(of_another_kind(agent, "/prompt")),
        Some(text) if text.len() > PROMPT_MAX_BYTES => {
            let message = format!("The prompt has {} bytes; the limit is {PROMPT_MAX_BYTES}.", text.len());
            violations.push(violation("/prompt", message));
        }
        _ => {}
    }
    let problems = check_adjustable::problems(&manifest, prompt.or(declared.prompt(id)));
    let deadline = check_adjustable::deadline_problem(&manifest, &declared.gateway);
    let deadline = deadline.map(|reason| ("/deadline_ms".to_owned(), reason));
    violations.extend(
        problems
            .into_iter()
            .chain(deadline)
            .map(|(at, reason)| violation(&at, reason)),
    );
    if !violations.is_empty() {
        violations.truncate(VIOLATIONS_MAX);
        return Err(violations);
    }
    Ok(Adjusted {
        manifest,
        prompt: change.prompt,
        enabled: change.enabled.unwrap_or(true),
    })
}

/// The version of an agent with an override: its own, with the override's digest as build metadata (Semantic Versioning). So
/// whatever tells an agent's version tells with which override it worked.
fn version_with(version: &str, value: &Value) -> String {
    let digest = hex_digest(&canonical(value));
    let separator = if version.contains('+') { '.' } else { '+' };
    format!("{version}{separator}override.{}", &digest[..VERSION_DIGEST_CHARS])
}

fn adjust_model(model: &mut ModelConfig, change: ModelOverride) {
    replace(&mut model.provider, change.provider);
    replace(&mut model.model, change.model);
    model.temperature = change.temperature.or(model.temperature);
    replace(&mut model.max_output_tokens, change.max_output_tokens);
    replace(&mut model.timeout_ms, change.timeout_ms);
    replace(&mut model.retries, change.retries);
    replace(&mut model.fallback_models, change.fallback_models);
    replace(&mut model.tool_rounds_max, change.tool_rounds_max);
}

fn replace<T>(slot: &mut T, change: Option<T>) {
    if let Some(new) = change {
        *slot = new;
    }
}

fn of_another_kind(agent: &AgentManifest, at: &str) -> Violation {
    let message = format!(
        "The agent is of kind `{}`: only one of kind `model` has this.",
        agent.kind()
    );
    violation(at, message)
}

fn violation(at: &str, message: String) -> Violation {
    let member = at.split('/').nth(1);
    Violation {
        instance: at.to_owned(),
        schema: member.map_or_else(String::new, |member| format!("/properties/{member}")),
        message,
    }
}

/// What an operator is told of overrides that are not followed.
#[must_use]
pub fn describe(ignored: &[Ignored]) -> Value {
    let error = |violation: &Violation| json!({"instance": violation.instance, "message": violation.message});
    let one = |ignored: &Ignored| {
        let errors: Vec<_> = ignored.errors.iter().map(error).collect();
        json!({"agent": ignored.agent, "errors": errors})
    };
    ignored.iter().map(one).collect()
}

#[cfg(test)]
mod tests;
