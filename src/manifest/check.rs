//! What the schema of manifests cannot say: whether the parts of a manifest, and the agents of a team, fit together.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{AgentManifest, Finding, GatewayManifest, Implementation, RUST_AGENTS, RuleState, RulesConfig, Template};
use crate::schema::{self, LazySchema, VIOLATIONS_MAX};

/// Checks one agent by itself.
pub(super) fn agent(agent: &AgentManifest, file: &Path, findings: &mut Vec<Finding>) {
    let mut found = |pointer: String, reason: String| {
        let file = file.to_owned();
        findings.push(Finding { file, pointer, reason });
    };
    if file.file_stem() != Some(OsStr::new(&agent.id)) {
        let reason = format!(
            "the file must be named `{}.json`, or the id be that of the file",
            agent.id
        );
        found("/id".into(), reason);
    }
    let input_fits = lint(&agent.input, "/input", &mut found);
    let output_fits = lint(&agent.output, "/output", &mut found);
    if let Some(state) = &agent.state {
        lint(state, "/state", &mut found);
    }
    for (index, example) in agent.examples.iter().enumerate() {
        let at = format!("/examples/{index}");
        if input_fits {
            conforms(&agent.input, &example.input, &format!("{at}/input"), &mut found);
        }
        if let (true, Some(output)) = (output_fits, &example.output) {
            conforms(&agent.output, output, &format!("{at}/output"), &mut found);
        }
    }
    match &agent.implementation {
        Implementation::Rules { rules } => check_rules(rules, &agent.handoffs, &mut found),
        Implementation::Rust { rust } => {
            if !RUST_AGENTS.contains(&rust.name.as_str()) {
                let known = RUST_AGENTS.join(", ");
                let reason = format!("no Rust agent is registered as `{}`; there are {known}", rust.name);
                found("/rust/name".into(), reason);
            }
        }
    }
    if agent.retry.backoff_ms > agent.retry.backoff_max_ms {
        found(
            "/retry/backoff_ms".into(),
            "must not be longer than `backoff_max_ms`".into(),
        );
    }
}

fn check_rules(rules: &RulesConfig, handoffs: &[String], found: &mut impl FnMut(String, String)) {
    let mut names = BTreeSet::new();
    for (index, rule) in rules.rules.iter().enumerate() {
        let at = format!("/rules/rules/{index}");
        if !names.insert(&rule.name) {
            found(
                format!("{at}/name"),
                format!("another rule is named `{}` already", rule.name),
            );
        }
        lint(&rule.when, &format!("{at}/when"), found);
        for (name, value) in [
            ("then", rule.then.as_ref()),
            (
                "hand_off/input",
                rule.hand_off.as_ref().and_then(|hand_off| hand_off.input.as_ref()),
            ),
        ] {
            if let Some(value) = value {
                template(value, &format!("{at}/{name}"), found);
            }
        }
        match &rule.state {
            Some(RuleState::Replace(value)) => template(value, &format!("{at}/state/replace"), found),
            Some(RuleState::Merge(value)) => template(value, &format!("{at}/state/merge"), found),
            None => {}
        }
        if let Some(hand_off) = &rule.hand_off {
            template(
                &hand_off.reason.as_str().into(),
                &format!("{at}/hand_off/reason"),
                found,
            );
            if !handoffs.contains(&hand_off.agent) {
                let reason = format!("`{}` is not among the agents that `handoffs` names", hand_off.agent);
                found(format!("{at}/hand_off/agent"), reason);
            }
        }
    }
    if let Some(otherwise) = &rules.otherwise {
        template(otherwise, "/rules/otherwise", found);
    }
}

fn template(value: &Value, at: &str, found: &mut impl FnMut(String, String)) {
    if let Err(error) = Template::compile(value) {
        found(format!("{at}{}", error.pointer), error.reason);
    }
}

/// Whether the schema is fit for use.
fn lint(schema: &LazySchema, at: &str, found: &mut impl FnMut(String, String)) -> bool {
    let errors = schema::lint(schema.document());
    let fits = errors.is_empty();
    for error in errors {
        found(format!("{at}{}", error.pointer), error.reason);
    }
    fits
}

fn conforms(schema: &LazySchema, value: &Value, at: &str, found: &mut impl FnMut(String, String)) {
    let violations = match schema.get() {
        Ok(schema) => schema.violations(value, VIOLATIONS_MAX),
        Err(_) => return,
    };
    for violation in violations {
        found(format!("{at}{}", violation.instance), violation.message);
    }
}

/// Checks what agents say about each other and about the gateway.
pub(super) fn team(
    agents: &[(PathBuf, AgentManifest)],
    gateway: Option<&GatewayManifest>,
    findings: &mut Vec<Finding>,
) {
    let mut by_id: BTreeMap<&str, &AgentManifest> = BTreeMap::new();
    for (file, agent) in agents {
        let mut found = |pointer: &str, reason: String| {
            let (file, pointer) = (file.clone(), pointer.to_owned());
            findings.push(Finding { file, pointer, reason });
        };
        if by_id.insert(&agent.id, agent).is_some() {
            found("/id", format!("another agent has the id `{}` already", agent.id));
        }
        let limit = gateway.map(|gateway| gateway.limits.deadline_max_ms);
        if let Some(limit) = limit.filter(|limit| agent.deadline_ms > *limit) {
            found(
                "/deadline_ms",
                format!("the gateway allows {limit} at most (limits.deadline_max_ms)"),
            );
        }
    }
    for (file, agent) in agents {
        for (index, id) in agent.handoffs.iter().enumerate() {
            let reason = if *id == agent.id {
                "an agent does not hand off to itself".to_owned()
            } else if by_id.contains_key(id.as_str()) {
                continue;
            } else {
                format!("there is no agent `{id}`")
            };
            let (file, pointer) = (file.clone(), format!("/handoffs/{index}"));
            findings.push(Finding { file, pointer, reason });
        }
        if let Some(reason) = fallback_problem(agent, &by_id) {
            let (file, pointer) = (file.clone(), "/fallback".to_owned());
            findings.push(Finding { file, pointer, reason });
        }
    }
}

/// What is wrong with the chain of fallbacks that begins at `agent`, as far as it is this agent's part of it.
fn fallback_problem(agent: &AgentManifest, by_id: &BTreeMap<&str, &AgentManifest>) -> Option<String> {
    let first = agent.fallback.as_deref()?;
    if !by_id.contains_key(first) {
        return Some(format!("there is no agent `{first}`"));
    }
    let mut chain = vec![agent.id.as_str()];
    let mut next = Some(first);
    while let Some(id) = next {
        chain.push(id);
        if id == agent.id {
            return Some(format!("the fallbacks form a cycle: {}", chain.join(" -> ")));
        }
        // A cycle further down the chain is reported at the agents that are part of it.
        next = by_id.get(id).and_then(|agent| agent.fallback.as_deref());
        next = next.filter(|id| *id == agent.id || !chain.contains(id));
    }
    None
}
