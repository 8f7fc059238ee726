//! Reads a folder of manifests and checks all of it, so that one look shows everything that is wrong.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::bundle::Definitions;
use super::{AGENTS_MAX, AgentManifest, GatewayManifest, JSON_DEPTH_MAX, MANIFEST_MAX_BYTES, PROMPT_MAX_BYTES, Team};
use super::{Finding, check};
use crate::json;
use crate::schema::{Schema, VIOLATIONS_MAX, Violation};

const AGENT_SCHEMA: &str = include_str!("../../manifests/schema/agent.schema.json");
const GATEWAY_SCHEMA: &str = include_str!("../../manifests/schema/gateway.schema.json");
const GATEWAY_FILE: &str = "gateway.json";

/// Kinds that are designed and not there yet.
const LATER_KINDS: [&str; 1] = ["service"];

/// Loads and checks `gateway.json` and every other `*.json` of a folder. Folders in it are not searched; definitions that
/// schemas share by `$ref` may be there.
///
/// # Errors
/// Everything that is wrong, in the order of the files.
pub fn load(dir: &Path) -> Result<Team, Vec<Finding>> {
    load_with(dir, &[])
}

/// Like [`load`], with the agents of further folders, which have no `gateway.json`.
///
/// # Errors
/// Everything that is wrong, in the order of the files.
pub fn load_with(dir: &Path, more_agents: &[&Path]) -> Result<Team, Vec<Finding>> {
    let mut loader = Loader::default();
    let gateway_file = dir.join(GATEWAY_FILE);
    let gateway = loader.gateway(&gateway_file);
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

    fn gateway(&mut self, file: &Path) -> Option<GatewayManifest> {
        let value = self.read(file)?;
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
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
        if LATER_KINDS.contains(&kind) {
            let reason = format!(
                "agents of kind `{kind}` are not supported yet by this version; it has `rules`, `rust`, `http`, `model` and `workflow`"
            );
            self.found(file, "/kind", reason);
            return None;
        }
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
mod tests {
    use super::*;
    use crate::manifest::{
        ATTEMPTS_MAX, BACKOFF_MAX_MS, BODY_MAX_BYTES_LIMIT, DEADLINE_MAX_MS, FALLBACK_AGENTS_MAX, RETRIES_MAX,
        RUST_AGENTS, workflow,
    };
    use serde_json::json;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Loads a folder with these files beside a good `gateway.json`, and answers the findings without the folder's name.
    fn findings(files: &[(&str, String)]) -> Vec<String> {
        findings_with(json!({}), files)
    }

    /// The same, with this `routing` of the gateway.
    fn findings_with(routing: Value, files: &[(&str, String)]) -> Vec<String> {
        static FOLDERS: AtomicUsize = AtomicUsize::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("baton-manifests-{}-{number}", std::process::id()));
        std::fs::create_dir_all(dir.join("shared")).unwrap();
        let gateway = json!({"id": "g", "version": "1.0.0", "title": "G", "description": "G.",
            "limits": {"deadline_max_ms": 60000}, "routing": routing});
        std::fs::write(dir.join("gateway.json"), gateway.to_string()).unwrap();
        for (name, text) in files {
            std::fs::write(dir.join(name), text).unwrap();
        }
        let found = load(&dir).err().unwrap_or_default();
        std::fs::remove_dir_all(&dir).unwrap();
        let prefix = format!("{}{}", dir.display(), std::path::MAIN_SEPARATOR);
        found
            .iter()
            .map(|finding| finding.to_string().replace(&prefix, ""))
            .collect()
    }

    /// A good agent with some fields changed, or taken out where they are null.
    fn agent(id: &str, changes: Value) -> (String, String) {
        let mut agent = json!({
            "id": id, "version": "1.0.0", "title": "A", "description": "A.", "kind": "rules",
            "input": {"type": "object", "properties": {"n": {"type": "integer"}}},
            "output": {"type": "string"},
            "rules": {"rules": [{"name": "any", "when": true, "then": "{{ input.n }}"}]}
        });
        for (field, value) in changes.as_object().unwrap() {
            agent[field] = value.clone();
        }
        agent.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        (format!("{id}.json"), agent.to_string())
    }

    #[track_caller]
    fn check(agents: &[(String, String)], expected: &[&str]) {
        let files: Vec<_> = agents
            .iter()
            .map(|(name, text)| (name.as_str(), text.clone()))
            .collect();
        let found = findings(&files);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}\nis not: {expected}");
        }
    }

    #[test]
    fn a_good_agent_passes() {
        check(
            &[
                agent("a", json!({})),
                agent("b", json!({"fallback": {"agents": ["a"], "answer": "none"}})),
            ],
            &[],
        );
    }

    #[test]
    fn everything_that_is_wrong_is_named() {
        check(
            &[
                agent(
                    "a",
                    json!({"id": "b", "input": {"type": "object", "properties": {"n": {"minLenght": 1}}}}),
                ),
                agent(
                    "c",
                    json!({
                        "examples": [{"title": "E", "input": {"n": "x"}, "output": 1}],
                        "rules": {"rules": [
                            {"name": "one", "when": {"pattern": "(?=x)"}, "then": {"x": ["{{ input."]}},
                            {"name": "one", "when": {"$ref": "https://example.com/x"}, "then": 1}
                        ], "otherwise": {"$value": "n"}},
                        "deadline_ms": 60001,
                        "retry": {"backoff_ms": 10, "backoff_max_ms": 5},
                        "prompt": "c.md"
                    }),
                ),
                agent("d", json!({"colour": "red", "limits": {"size": 1}, "deadline_ms": 1})),
                agent("e", json!({"kind": "rust", "rust": {"name": "triage"}})),
                agent("f", json!({"kind": "service"})),
                ("g.json".to_owned(), "{\"id\":\n{\"x\":1,\"x\":2}}".to_owned()),
            ],
            &[
                "a.json#/id: the file must be named `b.json`",
                "a.json#/input/properties/n/minLenght: not a keyword",
                "c.json#/prompt: `c.md` cannot be read",
                "c.json#/examples/0/input/n: The value must be an integer.",
                "c.json#/examples/0/output: The value must be a string.",
                "c.json#/rules/rules/0/when/pattern: ",
                "c.json#/rules/rules/0/then/x/0: line 1: ",
                "c.json#/rules/rules/1/name: another rule is named `one`",
                "c.json#/rules/rules/1/when/$ref: a reference to another host is refused",
                "c.json#/rules/otherwise: `$value` must be a JSON Pointer",
                "c.json#/retry/backoff_ms: must not be longer",
                "d.json#/limits/size: a manifest has no such field",
                "d.json#/deadline_ms: The number must be 100 at least.",
                "d.json#/colour: a manifest has no such field",
                "e.json#/rules: No value is allowed here.",
                "f.json#/kind: agents of kind `service` are not supported yet",
                "g.json#/id/x: line 2, column 10: the object has this key twice",
                "c.json#/deadline_ms: the gateway allows 60000 at most",
            ],
        );
        check(
            &[agent(
                "a",
                json!({"kind": "rust", "rust": {"name": "none"}, "rules": null}),
            )],
            &["a.json#/rust/name: no Rust agent is registered as `none`; there are redact, summarize, triage"],
        );
    }

    #[test]
    fn a_workflow_is_checked() {
        let flow = |steps: Value, changes: Value| {
            let mut manifest = json!({"kind": "workflow", "rules": null, "workflow": {"steps": steps, "output": "x"}});
            manifest
                .as_object_mut()
                .unwrap()
                .extend(changes.as_object().unwrap().clone());
            [agent("flow", manifest), agent("a", json!({}))]
        };
        let call = |id: &str| json!({"id": id, "call": "a", "input": {}});
        check(&flow(json!([call("one")]), json!({})), &[]);
        for (node, finding) in [
            (
                json!({"id": "x"}),
                "flow.json#/workflow/steps/0: The value must match exactly one",
            ),
            (
                json!({"id": "x", "call": "a", "input": {}, "sequence": [call("y")]}),
                "flow.json#/workflow/steps/0: The value matches several alternatives",
            ),
            (
                json!({"id": "x", "call": "a", "input": {}, "until": "true"}),
                "flow.json#/workflow/steps/0: The property \"loop\" is required.",
            ),
            (
                json!({"id": "x", "map": [call("y")], "over": []}),
                "flow.json#/workflow/steps/0: The property \"items_max\" is required.",
            ),
            (
                json!({"id": "x", "call": "a", "input": {}, "retries": 3}),
                "flow.json#/workflow/steps/0/retries: a manifest has no such field",
            ),
            (
                json!({"id": "x-y", "call": "a", "input": {}}),
                "flow.json#/workflow/steps/0/id: The string must match",
            ),
            (
                json!({"id": "x", "call": "b", "input": {"$value": "/steps/y/output"}}),
                "flow.json#/workflow/steps/0/input: there is no step `y`",
            ),
        ] {
            let folder = flow(json!([node]), json!({}));
            let files: Vec<_> = folder
                .iter()
                .map(|(name, text)| (name.as_str(), text.clone()))
                .collect();
            let found = findings(&files);
            assert!(
                found.iter().any(|found| found.starts_with(finding)),
                "{found:#?}\nhas not: {finding}"
            );
        }
        for field in ["state", "retry", "handoffs", "rules"] {
            let value = match field {
                "handoffs" => json!(["a"]),
                "rules" => json!({"rules": [{"name": "x", "when": true, "then": 1}]}),
                _ => json!({}),
            };
            let finding = format!("flow.json#/{field}: No value is allowed here.");
            check(&flow(json!([call("one")]), json!({ field: value })), &[&finding]);
        }
    }

    #[test]
    fn the_manifest_in_the_documentation_passes() {
        let page = include_str!("../../docs/agents.md");
        let (_, rest) = page.split_once("```json\n").unwrap();
        let (manifest, _) = rest.split_once("```").unwrap();
        check(&[("greet.json".to_owned(), manifest.to_owned())], &[]);
    }

    fn calling(id: &str, http: Value) -> (String, String) {
        let mut all = json!({"origin": "crm", "method": "GET", "path": "/a"});
        for (field, value) in http.as_object().unwrap() {
            all[field] = value.clone();
        }
        agent(id, json!({"kind": "http", "rules": null, "http": all}))
    }

    #[test]
    fn calls_of_others_are_checked() {
        check(
            &[
                calling("a", json!({"path": "/", "origin": "http://127.0.0.1:8080"})),
                calling(
                    "b",
                    json!({"path": "/a//{{ input.n }}", "origin": "https://10.0.0.1", "body": 1}),
                ),
                calling("c", json!({"path": "/a?b={{ input.n }}"})),
                calling(
                    "d",
                    json!({"path": "/{{ input. }}", "headers": {"host": "x", "a b": "x"}}),
                ),
                calling(
                    "e",
                    json!({"headers": {"host": "x", "x": {"$secret": "A", "prefix": "Bearer "}}}),
                ),
                calling(
                    "f",
                    json!({"method": "POST", "retries": 1, "body": {"a": [{"$secret": "A"}]}}),
                ),
                calling(
                    "g",
                    json!({"output": {"$value": "/other"}, "statuses": {"404": {"output": "{{ b"}}}),
                ),
                calling(
                    "h",
                    json!({"retries": RETRIES_MAX, "query": {"a": {"$value": "/input/n"}}}),
                ),
                calling(
                    "i",
                    json!({"retries": RETRIES_MAX + 1, "statuses": {"4xx": {"output": 1}}}),
                ),
                agent("j", json!({"http": {"origin": "crm", "method": "GET", "path": "/"}})),
            ],
            &[
                "b.json#/http/origin: the address 10.0.0.1 is private",
                "b.json#/http/path: a segment is empty",
                "b.json#/http/body: a GET has no body",
                "c.json#/http/path: has a `?`",
                "d.json#/http/headers: ",
                "e.json#/http/headers/host: the gateway sets this field",
                "f.json#/http/retries: a POST must not be sent again",
                "f.json#/http/body: a secret may stand in a header field alone",
                "g.json#/http/output: `$value` must be a JSON Pointer that begins with /body or /status or /input or /state",
                "i.json#/http/retries: ",
                "i.json#/http/statuses: ",
                "j.json#/http: No value is allowed here.",
            ],
        );
    }

    fn modelled(id: &str, model: Value, changes: Value) -> (String, String) {
        let mut all = json!({"provider": "openai", "model": "m", "instructions": "Do.",
            "messages": [{"role": "user", "content": "{{ input.n }}"}]});
        for (field, value) in model.as_object().unwrap() {
            all[field] = value.clone();
        }
        all.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let mut all = json!({"kind": "model", "rules": null, "model": all});
        for (field, value) in changes.as_object().unwrap() {
            all[field] = value.clone();
        }
        agent(id, all)
    }

    #[test]
    fn models_are_checked() {
        let said = |content: &str| json!([{"role": "user", "content": content}]);
        check(
            &[
                modelled("a", json!({"tools": ["tool"]}), json!({})),
                modelled(
                    "b",
                    json!({"messages": said("{% for x in range(3) %}{{ x }}{{ input.n }}{% endfor %}")}),
                    json!({}),
                ),
                modelled(
                    "c",
                    json!({"messages": said("{{ input.m }} {{ state.a }} {{ secrets }}")}),
                    json!({}),
                ),
                modelled("d", json!({"instructions": null}), json!({})),
                modelled("e", json!({"instructions": "{{ input.", "stream": "text"}), json!({})),
                modelled(
                    "f",
                    json!({"messages": [{"role": "assistant", "content": "x"}]}),
                    json!({}),
                ),
                modelled("g", json!({}), json!({"prompt": "g.md"})),
                modelled("h", json!({"tools": ["h", "none", "i"]}), json!({})),
                modelled("i", json!({"tools": ["j"]}), json!({})),
                modelled("j", json!({"tools": ["h", "keeps", "text"]}), json!({})),
                agent("keeps", json!({"state": {"type": "object"}})),
                agent(
                    "text",
                    json!({"input": {"type": "string"}, "rules": {"rules": [{"name": "a", "when": true, "then": "x"}]}}),
                ),
                agent("tool", json!({})),
                ("g.md".to_owned(), "Say {{ input.none }}.".to_owned()),
            ],
            &[
                "c.json#/model/messages/0/content: uses `input.m`, which the schema of the input does not declare",
                "c.json#/model/messages/0/content: uses `secrets`, which is not there",
                "c.json#/model/messages/0/content: uses `state`, and the manifest declares none",
                "d.json#/model: there are no instructions",
                "e.json#/model/stream: the output has no member `text`",
                "e.json#/model/instructions: line 1",
                "f.json#/model/messages: the last message must be one of `user`",
                "g.json#/model/instructions: the manifest has a `prompt` already",
                "g.json#/prompt: uses `input.none`",
                "h.json#/model/tools/0: an agent is not its own tool",
                "h.json#/model/tools/1: there is no agent `none`",
                "h.json#/model/tools/2: `i` comes back to `h`",
                "i.json#/model/tools/0: `j` comes back to `i`",
                "j.json#/model/tools/0: `h` comes back to `j`",
                "j.json#/model/tools/1: `keeps` keeps a state",
                "j.json#/model/tools/2: the input of `text` is not of the type `object`",
            ],
        );
    }

    #[test]
    fn the_workflow_in_the_documentation_passes() {
        let page = include_str!("../../docs/workflows.md");
        let (_, rest) = page.split_once("```json\n").unwrap();
        let (manifest, _) = rest.split_once("```").unwrap();
        check(
            &[
                ("brief.json".to_owned(), manifest.to_owned()),
                agent("redact", json!({})),
                agent("summarize", json!({})),
            ],
            &[],
        );
    }

    #[test]
    fn fallbacks_exist_and_end() {
        let to = |id: &str, agents: Value| agent(id, json!({"fallback": {"agents": agents}}));
        let eight: Vec<_> = (0..8).map(|n| format!("x{n}")).collect();
        let nine: Vec<_> = (0..9).map(|n| format!("x{n}")).collect();
        check(
            &[
                to("a", json!(["a"])),
                to("b", json!(["x0", "c"])),
                to("c", json!(["d", "b"])),
                to("d", json!(["b"])),
                to("e", json!(["b"])),
                to("f", json!(["x0", "none"])),
                to("x0", json!([])),
            ],
            &[
                "a.json#/fallback/agents/0: an agent does not fall back to itself",
                "b.json#/fallback/agents/1: the fallbacks form a cycle: b -> c -> b",
                "c.json#/fallback/agents/0: the fallbacks form a cycle: c -> d -> b -> c",
                "c.json#/fallback/agents/1: the fallbacks form a cycle: c -> b -> c",
                "d.json#/fallback/agents/0: the fallbacks form a cycle: d -> b -> c -> d",
                "f.json#/fallback/agents/1: there is no agent `none`",
            ],
        );
        let others = eight.iter().map(|id| agent(id, json!({})));
        let all: Vec<_> = others.chain([to("a", json!(eight))]).collect();
        check(&all, &[]);
        check(
            &[
                to("a", json!(nine)),
                to("b", json!(["x0", "x0"])),
                agent("c", json!({"fallback": "a"})),
                agent("d", json!({"fallback": {}})),
                agent("e", json!({"fallback": {"answer": null}})),
            ],
            &[
                "a.json#/fallback/agents: ",
                "b.json#/fallback/agents: ",
                "c.json#/fallback: ",
                "d.json#/fallback: ",
                "e.json#/fallback/answer: ",
            ],
        );
    }

    #[test]
    fn the_answer_that_stands_ready_is_an_output() {
        check(&[agent("a", json!({"fallback": {"answer": "none"}}))], &[]);
        check(
            &[agent("a", json!({"fallback": {"answer": {"n": 1}}}))],
            &["a.json#/fallback/answer: The value must be a string."],
        );
    }

    #[test]
    fn a_text_becomes_an_input_of_the_agent() {
        let direct = |direct: Value| {
            let input = json!({"type": "object", "required": ["t"], "properties": {
                "t": {"type": "string", "maxLength": 3, "pattern": "^[a-z]+$"}, "n": {"type": "integer"}}});
            [agent("a", json!({"input": input, "direct": direct}))]
        };
        // Whether the text itself fits is known only when there is one.
        check(&direct(json!({"text": {"t": {"$value": "/input/text"}}})), &[]);
        check(&direct(json!({"fallback": false, "budget_ms": 1})), &[]);
        check(&direct(json!({"budget_ms": 300_000})), &[]);
        for (wrong, finding) in [
            (json!({"text": {"t": "{{"}}), "a.json#/direct/text/t: line 1: "),
            (
                json!({"text": {"t": "{{ input.body }}"}}),
                "a.json#/direct/text/t: refers to something that is not there",
            ),
            (
                json!({"text": {"t": "{{ state.n }}"}}),
                "a.json#/direct/text/t: refers to something that is not there",
            ),
            (
                json!({"text": {}}),
                "a.json#/direct/text: what it makes of a text is no input of the agent: ",
            ),
            (
                json!({"text": {"t": "abc", "n": {"$value": "/input/text"}}}),
                "a.json#/direct/text/n: what it makes of a text is no input of the agent: ",
            ),
            (json!({"text": null}), "a.json#/direct/text: "),
            (json!({"budget_ms": 0}), "a.json#/direct/budget_ms: "),
            (json!({"budget_ms": 300_001}), "a.json#/direct/budget_ms: "),
            (
                json!({"words": 1}),
                "a.json#/direct/words: a manifest has no such field",
            ),
        ] {
            check(&direct(wrong), &[finding]);
        }
    }

    #[test]
    fn hints_for_the_router_are_phrases() {
        let routing = |phrase: &str| {
            let hints = json!({"keywords": [{"phrase": "ok"}, {"phrase": phrase}], "negative": [{"phrase": phrase}]});
            [agent("a", json!({"routing": hints}))]
        };
        check(&routing(&"x ".repeat(8)), &[]);
        for wrong in ["?!", &"x ".repeat(9)] {
            check(
                &routing(wrong),
                &[
                    "a.json#/routing/keywords/1/phrase: ",
                    "a.json#/routing/negative/0/phrase: ",
                ],
            );
        }
    }

    #[test]
    fn the_default_agent_can_be_called_with_a_text() {
        let agents = [
            agent("a", json!({"direct": {"text": {}}})),
            agent("b", json!({"direct": {"text": {}}, "visibility": "orchestrator"})),
            agent("c", json!({})),
        ];
        let files: Vec<_> = agents
            .iter()
            .map(|(name, text)| (name.as_str(), text.clone()))
            .collect();
        for (routing, expected) in [
            (json!({"default": "a", "confidence_min": 1}), ""),
            (json!({"confidence_min": 0}), ""),
            (
                json!({"default": "b"}),
                "gateway.json#/routing/default: customers may not call `b`",
            ),
            (
                json!({"default": "c"}),
                "gateway.json#/routing/default: `c` takes no text",
            ),
            (
                json!({"default": "d"}),
                "gateway.json#/routing/default: there is no agent `d`",
            ),
            (
                json!({"confidence_min": 1.01}),
                "gateway.json#/routing/confidence_min: ",
            ),
            (
                json!({"confidence_min": -0.01}),
                "gateway.json#/routing/confidence_min: ",
            ),
        ] {
            let found = findings_with(routing, &files).join("\n");
            assert_eq!(found.is_empty(), expected.is_empty(), "{found}");
            assert!(found.starts_with(expected), "{found}\nis not: {expected}");
        }
    }

    #[test]
    fn the_classifier_takes_the_question_and_gives_a_verdict() {
        let question = json!({"type": "object", "required": ["text", "agents"], "properties": {
            "text": {"type": "string"},
            "agents": {"type": "array", "items": {"type": "object", "required": ["id", "description"]}}}});
        let verdict = json!({"type": "object", "required": ["agent", "confidence", "reason"],
            "properties": {"agent": {"enum": ["a"]}}});
        let answering = |output: &Value| {
            agent(
                "c",
                json!({"input": question, "output": output, "visibility": "internal"}),
            )
        };
        let taking = agent("a", json!({"direct": {"text": {}}}));
        let narrow = json!({"type": "object", "properties": {"agent": {"enum": ["nobody"]}}});
        let closed = json!({"type": "object", "properties": {"text": {}}, "additionalProperties": false});
        for (files, expected) in [
            (vec![taking.clone(), answering(&verdict)], ""),
            (
                vec![taking.clone()],
                "gateway.json#/routing/classifier: there is no agent `c`",
            ),
            (
                vec![answering(&verdict)],
                "gateway.json#/routing/classifier: there is nothing to choose from",
            ),
            (
                vec![taking.clone(), answering(&narrow)],
                "gateway.json#/routing/classifier: `c` is to answer {agent, confidence, reason}, which its output schema does not take: at /agent",
            ),
            (
                vec![taking.clone(), agent("c", json!({"input": closed, "output": verdict}))],
                "gateway.json#/routing/classifier: `c` is asked with {text, agents: [{id, description}]}, which its input schema does not take",
            ),
        ] {
            let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
            let found = findings_with(json!({"classifier": "c"}), &files).join("\n");
            assert_eq!(found.is_empty(), expected.is_empty(), "{found}");
            assert!(found.starts_with(expected), "{found}\nis not: {expected}");
        }
    }

    #[test]
    fn a_hedge_begins_within_the_budget() {
        let direct = |direct: Value| [agent("a", json!({"deadline_ms": 4_000, "direct": direct}))];
        check(&direct(json!({"hedge_after_ms": 1_999})), &[]);
        check(&direct(json!({"hedge_after_ms": 99, "budget_ms": 100})), &[]);
        for wrong in [
            json!({"hedge_after_ms": 2_000}),
            json!({"hedge_after_ms": 100, "budget_ms": 100}),
            json!({"hedge_after_ms": 100, "fallback": false}),
            json!({"hedge_after_ms": 0}),
        ] {
            check(&direct(wrong), &["a.json#/direct/hedge_after_ms: "]);
        }
    }

    #[test]
    fn shared_definitions_are_found() {
        let shared = |text: &str| ("shared/d.json".to_owned(), text.to_owned());
        let refers = || agent("a", json!({"input": {"$ref": "shared/d.json#/$defs/Word"}}));
        check(&[refers(), shared("{\"$defs\":{\"Word\":{\"type\":\"string\"}}}")], &[]);
        check(
            &[refers(), shared("{\"$defs\":{}}")],
            &["a.json#/input/$ref: nothing is at"],
        );
        check(&[refers()], &["a.json#/input/$ref: shared/d.json: cannot be read"]);
        check(&[refers(), shared("{")], &["a.json#/input/$ref: shared/d.json: line 1"]);
    }

    #[test]
    fn the_schema_of_manifests_has_the_limits_of_the_code() {
        let schema: Value = serde_json::from_str(AGENT_SCHEMA).unwrap();
        let gateway: Value = serde_json::from_str(GATEWAY_SCHEMA).unwrap();
        for (schema, pointer, limit) in [
            (&schema, "/properties/deadline_ms/maximum", DEADLINE_MAX_MS),
            (&schema, "/properties/deadline_ms/default", super::super::DEADLINE_MS),
            (
                &schema,
                "/properties/retry/properties/max_attempts/maximum",
                ATTEMPTS_MAX.into(),
            ),
            (
                &schema,
                "/properties/retry/properties/backoff_max_ms/maximum",
                BACKOFF_MAX_MS,
            ),
            (
                &schema,
                "/properties/limits/properties/body_max_bytes/maximum",
                BODY_MAX_BYTES_LIMIT,
            ),
            (
                &schema,
                "/properties/fallback/properties/agents/maxItems",
                FALLBACK_AGENTS_MAX as u64,
            ),
            (
                &schema,
                "/properties/direct/properties/budget_ms/maximum",
                DEADLINE_MAX_MS,
            ),
            (
                &gateway,
                "/properties/limits/properties/deadline_max_ms/maximum",
                DEADLINE_MAX_MS,
            ),
            (
                &gateway,
                "/properties/limits/properties/json_depth_max/maximum",
                JSON_DEPTH_MAX as u64,
            ),
            (
                &gateway,
                "/properties/limits/properties/body_max_bytes/maximum",
                BODY_MAX_BYTES_LIMIT,
            ),
        ] {
            assert_eq!(schema.pointer(pointer), Some(&json!(limit)), "{pointer}");
        }
        for (pointer, limit) in [
            ("Condition/maxLength", workflow::CONDITION_MAX_CHARS as u64),
            ("Nodes/maxItems", workflow::NODES_MAX as u64),
            ("Node/properties/parallel/maxItems", workflow::FAN_OUT_MAX as u64),
            ("Node/properties/concurrency/maximum", workflow::FAN_OUT_MAX as u64),
            ("Node/properties/items_max/maximum", workflow::ITEMS_MAX),
            ("Node/properties/times_max/maximum", workflow::TIMES_MAX),
            (
                "Node/properties/retry/properties/max_attempts/maximum",
                ATTEMPTS_MAX.into(),
            ),
            (
                "Node/properties/retry/properties/backoff_max_ms/maximum",
                BACKOFF_MAX_MS,
            ),
        ] {
            let pointer = format!("/$defs/{pointer}");
            assert_eq!(schema.pointer(&pointer), Some(&json!(limit)), "{pointer}");
        }
        let id = format!("^[a-z][a-z0-9-]{{0,{}}}$", super::super::AGENT_ID_MAX_CHARS - 1);
        assert_eq!(schema.pointer("/properties/id/pattern"), Some(&json!(id)));
        let named = Schema::compile(schema.pointer("/properties/rust/properties/name").unwrap()).unwrap();
        assert!(RUST_AGENTS.iter().all(|name| named.accepts(&json!(name))));
    }
}
