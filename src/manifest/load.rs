//! Reads a folder of manifests and checks all of it, so that one look shows everything that is wrong.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::bundle::Definitions;
use super::{
    AGENTS_MAX, AgentManifest, GatewayManifest, JSON_DEPTH_MAX, MANIFEST_MAX_BYTES, Overridden, PROMPT_MAX_BYTES, Team,
};
use super::{Finding, check};
use crate::json;
use crate::schema::{Schema, VIOLATIONS_MAX, Violation};

const AGENT_SCHEMA: &str = include_str!("../../manifests/schema/agent.schema.json");
const GATEWAY_SCHEMA: &str = include_str!("../../manifests/schema/gateway.schema.json");
const GATEWAY_FILE: &str = "gateway.json";

/// Loads and checks `gateway.json` and every other `*.json` of a folder. Folders in it are not searched; definitions that
/// schemas share by `$ref` may be there.
///
/// # Errors
/// Everything that is wrong, in the order of the files.
pub fn load(dir: &Path) -> Result<Team, Vec<Finding>> {
    load_with(dir, &[])
}

/// Like [`load`], with the agents of further folders. What a `gateway.json` there says stands in the place of what the
/// first one says, field by field.
///
/// # Errors
/// Everything that is wrong, in the order of the files.
pub fn load_with(dir: &Path, more_agents: &[&Path]) -> Result<Team, Vec<Finding>> {
    let mut loader = Loader::default();
    let gateway_file = dir.join(GATEWAY_FILE);
    let gateway = loader.gateway(&gateway_file, more_agents);
    loader.agents(dir);
    for dir in more_agents {
        loader.agents(dir);
    }
    loader.check_together(gateway.as_ref().map(|gateway| (gateway_file.as_path(), gateway)));
    match gateway {
        Some(gateway) if loader.findings.is_empty() => {
            let mut agents: Vec<_> = loader.agents.into_iter().map(|(_, agent)| agent).collect();
            agents.sort_by(|a, b| a.id.cmp(&b.id));
            let prompts = loader.prompts;
            Ok(Team {
                gateway,
                agents,
                prompts,
                overridden: Overridden::default(),
            })
        }
        _ => Err(loader.findings),
    }
}

#[derive(Default)]
struct Loader {
    agents: Vec<(PathBuf, AgentManifest)>,
    prompts: BTreeMap<String, String>,
    findings: Vec<Finding>,
}

impl Loader {
    fn found(&mut self, file: &Path, pointer: impl Into<String>, reason: impl Into<String>) {
        self.findings.push(Finding {
            file: file.to_owned(),
            pointer: pointer.into(),
            reason: reason.into(),
        });
    }

    fn gateway(&mut self, file: &Path, more: &[&Path]) -> Option<GatewayManifest> {
        let mut value = self.read(file)?;
        for file in more
            .iter()
            .map(|dir| dir.join(GATEWAY_FILE))
            .filter(|file| file.exists())
        {
            if let (Value::Object(all), Value::Object(more)) = (&mut value, self.read(&file)?) {
                all.extend(more);
            }
        }
        self.conforms(file, &value, GATEWAY_SCHEMA)?;
        self.typed(file, value)
    }

    fn agents(&mut self, dir: &Path) {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => return self.found(dir, "", format!("the folder cannot be read: {error}")),
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let is_agent = |path: &PathBuf| {
            path.extension() == Some(OsStr::new("json"))
                && path.file_name() != Some(OsStr::new(GATEWAY_FILE))
                && path.is_file()
        };
        let mut files: Vec<_> = paths.filter(is_agent).collect();
        files.sort();
        let mut definitions = Definitions::new(dir);
        for file in files {
            self.agent(&file, &mut definitions);
        }
    }

    fn agent(&mut self, file: &Path, definitions: &mut Definitions) -> Option<()> {
        let mut value = self.read(file)?;
        self.conforms(file, &value, AGENT_SCHEMA)?;
        let before = self.findings.len();
        for pointer in schemas_of(&value) {
            if let Some(schema) = value.pointer_mut(&pointer) {
                for (at, reason) in definitions.bundle(schema) {
                    self.found(file, format!("{pointer}{at}"), reason);
                }
            }
        }
        if self.findings.len() > before {
            return None;
        }
        let agent: AgentManifest = self.typed(file, value)?;
        self.prompt(file, &agent);
        let prompt = self.prompts.get(&agent.id).map(String::as_str);
        check::agent(&agent, file, prompt, &mut self.findings);
        self.agents.push((file.to_owned(), agent));
        Some(())
    }

    fn prompt(&mut self, file: &Path, agent: &AgentManifest) {
        let Some(name) = &agent.prompt else { return };
        match std::fs::read_to_string(file.with_file_name(name)) {
            Ok(text) if text.len() > PROMPT_MAX_BYTES => {
                self.found(
                    file,
                    "/prompt",
                    format!("the prompt has {} bytes; the limit is {PROMPT_MAX_BYTES}", text.len()),
                );
            }
            Ok(text) if text.trim().is_empty() => self.found(file, "/prompt", format!("`{name}` is empty")),
            Ok(text) => {
                self.prompts.insert(agent.id.clone(), text);
            }
            Err(error) => self.found(file, "/prompt", format!("`{name}` cannot be read: {error}")),
        }
    }

    fn check_together(&mut self, gateway: Option<(&Path, &GatewayManifest)>) {
        check::team(&self.agents, gateway, &mut self.findings);
        if self.agents.len() > AGENTS_MAX {
            let file = self.agents.last().map(|(file, _)| file.clone()).unwrap_or_default();
            self.found(&file, "", format!("a gateway has {AGENTS_MAX} agents at most"));
        }
    }

    fn read(&mut self, file: &Path) -> Option<Value> {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.found(file, "", format!("the file cannot be read: {error}"));
                return None;
            }
        };
        if bytes.len() > MANIFEST_MAX_BYTES {
            self.found(
                file,
                "",
                format!("the file has {} bytes; the limit is {MANIFEST_MAX_BYTES}", bytes.len()),
            );
            return None;
        }
        match json::parse_strict(&bytes, JSON_DEPTH_MAX) {
            Ok(value) => Some(value),
            Err(error) => {
                let reason = format!("line {}, column {}: {}", error.line, error.column, error.kind);
                self.found(file, error.pointer, reason);
                None
            }
        }
    }

    fn conforms(&mut self, file: &Path, value: &Value, schema: &str) -> Option<()> {
        let compiled = json::parse_strict(schema.as_bytes(), JSON_DEPTH_MAX)
            .map_err(|error| error.to_string())
            .and_then(|document| {
                let schema = Schema::compile(&document).map_err(|error| error.to_string())?;
                Ok((document, schema))
            });
        match compiled {
            Ok((document, schema)) => {
                let violations = schema.violations(value, VIOLATIONS_MAX);
                for violation in &violations {
                    let unknown = unknown_fields(&document, value, violation);
                    for (pointer, reason) in &unknown {
                        self.found(file, pointer, *reason);
                    }
                    if unknown.is_empty() {
                        self.found(file, &violation.instance, &violation.message);
                    }
                }
                violations.is_empty().then_some(())
            }
            Err(reason) => {
                self.found(file, "", format!("the schema of manifests is broken: {reason}"));
                None
            }
        }
    }

    fn typed<T: DeserializeOwned>(&mut self, file: &Path, value: Value) -> Option<T> {
        match serde_json::from_value(value) {
            Ok(typed) => Some(typed),
            Err(error) => {
                self.found(file, "", error.to_string());
                None
            }
        }
    }
}

/// The fields of a manifest that its schema does not know, one by one: a typing error should be easy to see.
fn unknown_fields(schema: &Value, manifest: &Value, violation: &Violation) -> Vec<(String, &'static str)> {
    let object = violation.schema.strip_suffix("/additionalProperties");
    let known = object.and_then(|object| schema.pointer(&format!("{object}/properties")));
    let present = manifest.pointer(&violation.instance).and_then(Value::as_object);
    let (Some(known), Some(present)) = (known, present) else {
        return Vec::new();
    };
    let unknown = present.keys().filter(|key| known.get(key).is_none());
    let pointer = |key: &String| format!("{}/{}", violation.instance, json::escape_token(key));
    unknown
        .map(|key| (pointer(key), "a manifest has no such field"))
        .collect()
}

/// Pointers to the schemas in an agent's file.
fn schemas_of(agent: &Value) -> Vec<String> {
    let rules = agent
        .pointer("/rules/rules")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    let conditions = (0..rules).map(|index| format!("/rules/rules/{index}/when"));
    let own = ["/input", "/output", "/state"].map(str::to_owned);
    own.into_iter().chain(conditions).collect()
}

#[cfg(test)]
mod tests;
