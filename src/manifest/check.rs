//! What the schema of manifests cannot say: whether the parts of a manifest, and the agents of a team, fit together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{
    AgentManifest, Finding, GatewayManifest, Implementation, RUST_AGENTS, RuleState, RulesConfig, Template, Visibility,
    input_of, workflow,
};
use super::{check_adjustable, check_http, check_memory, check_notices, check_service, check_tools};
use crate::schema::{self, LazySchema, VIOLATIONS_MAX};

/// What a customer might say: a template that cannot wrap this one cannot wrap any.
const SAMPLE_TEXT: &str = "Hello, how are you?";
/// Keywords of schemas that may refuse one text and accept another.
const ABOUT_CONTENT: [&str; 9] = [
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "enum",
    "const",
    "anyOf",
    "oneOf",
    "not",
];

/// Checks one agent by itself. `prompt` is the text of its prompt, where it has one that can be read.
pub(super) fn agent(agent: &AgentManifest, file: &Path, prompt: Option<&str>, findings: &mut Vec<Finding>) {
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
        Implementation::Http { http } => {
            for (at, reason) in check_http::problems(http) {
                found(format!("/http{at}"), reason);
            }
        }
        Implementation::Service { service } => {
            for (at, reason) in check_service::problems(agent, service) {
                found(at, reason);
            }
        }
        // Checked with what is adjustable, below.
        Implementation::Model { .. } => {}
        Implementation::Workflow { workflow } => workflow::check::alone(workflow, &mut found),
    }
    if let Some(text) = &agent.direct.text {
        template(text, "/direct/text", &mut found);
        check_text(agent, &mut found);
    }
    if let (true, Some(answer)) = (output_fits, &agent.fallback.answer) {
        conforms(&agent.output, answer, "/fallback/answer", &mut found);
    }
    for (at, reason) in check_adjustable::problems(agent, prompt) {
        found(at, reason);
    }
    for (at, reason) in check_notices::alone(agent) {
        found(at, reason);
    }
    if agent.retry.backoff_ms > agent.retry.backoff_max_ms {
        found(
            "/retry/backoff_ms".into(),
            "must not be longer than `backoff_max_ms`".into(),
        );
    }
}

/// Whether the input that is made of a text can be one of the agent's. What depends on the text itself, such as its
/// length or a pattern, cannot be known here.
fn check_text(agent: &AgentManifest, found: &mut impl FnMut(String, String)) {
    if agent.direct.text_template().is_err() {
        return;
    }
    let input = match input_of(agent, SAMPLE_TEXT) {
        Some(Ok(input)) => input,
        Some(Err(error)) => {
            let reason = format!("{}; there is `input.text`, and no state", error.reason);
            return found(format!("/direct/text{}", error.pointer), reason);
        }
        None => return,
    };
    let Ok(schema) = agent.input.get() else { return };
    for violation in schema.violations(&input, VIOLATIONS_MAX) {
        let keyword = violation.schema.rsplit('/').next().unwrap_or_default();
        let value = input.pointer(&violation.instance);
        let has_the_text = value.is_some_and(|value| value.to_string().contains(SAMPLE_TEXT));
        if !(has_the_text && ABOUT_CONTENT.contains(&keyword)) {
            let reason = format!(
                "what it makes of a text is no input of the agent: {}",
                violation.message
            );
            found(format!("/direct/text{}", violation.instance), reason);
        }
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
    gateway: Option<(&Path, &GatewayManifest)>,
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
        if let Some(reason) = gateway.and_then(|(_, gateway)| check_adjustable::deadline_problem(agent, gateway)) {
            found("/deadline_ms", reason);
        }
    }
    for (file, agent) in agents {
        workflow::check::in_team(agent, &by_id, &mut |pointer, reason| {
            let file = file.clone();
            findings.push(Finding { file, pointer, reason });
        });
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
        let of_memory = check_memory::problems(agent, &by_id);
        for (pointer, reason) in check_tools::problems(agent, &by_id).into_iter().chain(of_memory) {
            let file = file.clone();
            findings.push(Finding { file, pointer, reason });
        }
        for (index, id) in agent.fallback.agents.iter().enumerate() {
            if let Some(reason) = fallback_problem(agent, id, &by_id) {
                let (file, pointer) = (file.clone(), format!("/fallback/agents/{index}"));
                findings.push(Finding { file, pointer, reason });
            }
        }
    }
    let Some((file, gateway)) = gateway else { return };
    for (file, agent) in agents {
        for (pointer, reason) in check_notices::in_gateway(agent, gateway) {
            let file = file.clone();
            findings.push(Finding { file, pointer, reason });
        }
    }
    for (pointer, reason) in check_notices::of_gateway(gateway, &by_id) {
        let file = file.to_owned();
        findings.push(Finding { file, pointer, reason });
    }
    for (name, problem) in [
        ("default", default_problem(gateway, &by_id)),
        ("classifier", classifier_problem(gateway, &by_id)),
    ] {
        if let Some(reason) = problem {
            let (file, pointer) = (file.to_owned(), format!("/routing/{name}"));
            findings.push(Finding { file, pointer, reason });
        }
    }
}

/// What is wrong with the agent that is asked where the phrases do not decide.
fn classifier_problem(gateway: &GatewayManifest, by_id: &BTreeMap<&str, &AgentManifest>) -> Option<String> {
    let id = gateway.routing.classifier.as_deref()?;
    let Some(classifier) = by_id.get(id) else {
        return Some(format!("there is no agent `{id}`"));
    };
    let candidates = by_id
        .values()
        .filter(|agent| agent.visibility == Visibility::Public && agent.takes_text());
    let agents: Vec<_> = candidates
        .map(|agent| json!({"id": agent.id, "description": agent.description}))
        .collect();
    let Some(first) = agents.first() else {
        return Some("there is nothing to choose from: no agent of the visibility `public` has `direct.text`".into());
    };
    let verdict = json!({"agent": first["id"], "confidence": 1, "reason": SAMPLE_TEXT});
    let question = json!({"text": SAMPLE_TEXT, "agents": agents});
    let refused = |schema: &LazySchema, sample: &Value| schema.get().ok()?.violations(sample, 1).pop();
    if let Some(violation) = refused(&classifier.input, &question) {
        return Some(format!(
            "`{id}` is asked with {{text, agents: [{{id, description}}]}}, which its input schema does not take: {}{}",
            place(&violation.instance),
            violation.message
        ));
    }
    let violation = refused(&classifier.output, &verdict)?;
    Some(format!(
        "`{id}` is to answer {{agent, confidence, reason}}, which its output schema does not take: {}{}",
        place(&violation.instance),
        violation.message
    ))
}

/// Where in a value something is wrong, as the beginning of a sentence.
fn place(instance: &str) -> String {
    match instance {
        "" => String::new(),
        pointer => format!("at {pointer}: "),
    }
}

/// What is wrong with the agent that answers where nothing speaks for another one.
fn default_problem(gateway: &GatewayManifest, by_id: &BTreeMap<&str, &AgentManifest>) -> Option<String> {
    let id = gateway.routing.default.as_deref()?;
    match by_id.get(id) {
        None => Some(format!("there is no agent `{id}`")),
        Some(agent) if agent.visibility != Visibility::Public => {
            Some(format!("customers may not call `{id}`: its visibility is not `public`"))
        }
        Some(agent) if !agent.takes_text() => Some(format!("`{id}` takes no text: its manifest has no `direct.text`")),
        Some(_) => None,
    }
}

/// What is wrong with falling back from `agent` to the agent `first`.
fn fallback_problem(agent: &AgentManifest, first: &str, by_id: &BTreeMap<&str, &AgentManifest>) -> Option<String> {
    if first == agent.id {
        return Some("an agent does not fall back to itself".to_owned());
    }
    let Some(stand_in) = by_id.get(first) else {
        return Some(format!("there is no agent `{first}`"));
    };
    if stand_in.is_workflow() {
        let way = "a workflow is a step of its own, and stands in for no agent within that agent's step: name the agents that it \
                   calls, or let customers call a workflow that chooses";
        return Some(format!("`{first}` is a workflow: {way}"));
    }
    // A cycle that this agent is no part of is reported at the agents that are.
    let mut cycle = vec![agent.id.as_str()];
    cycle.extend(shortest_way(first, &agent.id, by_id)?);
    Some(format!("the fallbacks form a cycle: {}", cycle.join(" -> ")))
}

/// The shortest way over fallbacks, both ends included.
fn shortest_way<'a>(from: &'a str, to: &str, by_id: &BTreeMap<&str, &'a AgentManifest>) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::from([from]);
    let mut ways = VecDeque::from([vec![from]]);
    while let Some(way) = ways.pop_front() {
        let last = way.last()?;
        if *last == to {
            return Some(way);
        }
        let next = by_id.get(last).map(|agent| agent.fallback.agents.as_slice());
        for id in next.unwrap_or_default() {
            if seen.insert(id) {
                let mut longer = way.clone();
                longer.push(id);
                ways.push_back(longer);
            }
        }
    }
    None
}
