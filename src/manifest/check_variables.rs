//! The variables of a model's prompt and messages: each must be one that the schemas declare, and be there, with a text of
//! its own, in every input that they allow.

use serde_json::{Map, Value};

use super::template::{Trial, Trouble};
use super::{AgentManifest, Template};
use crate::json::escape_token;
use crate::schema::{flattened, samples};

/// Functions that every template may call.
pub(super) const FUNCTIONS: [&str; 3] = ["dict", "namespace", "range"];
/// A template is tried with at most so many inputs, and as many states.
pub(super) const TRIALS_MAX: usize = 256;
/// At most so many members are named in a message.
pub(super) const NAMED_MAX: usize = 12;
/// At most this much of an input is shown, in characters.
const SHOWN_MAX_CHARS: usize = 200;

/// What to do about a variable that may be missing.
const WAYS_OUT: &str = "use the filter `default`, or ask whether it `is defined`";

/// What is wrong with the variables of one template of an agent.
pub(super) fn problems(agent: &AgentManifest, template: &Template) -> Vec<String> {
    let references = template.references();
    let undeclared = references
        .iter()
        .filter_map(|reference| undeclared(agent, &reference.path));
    let undeclared: Vec<_> = undeclared.collect();
    if !undeclared.is_empty() {
        return undeclared;
    }
    failing(agent, template).into_iter().collect()
}

/// What is wrong with a variable such as `input.contact.name`, if the schemas do not declare it, where they say what there is.
fn undeclared(agent: &AgentManifest, path: &[String]) -> Option<String> {
    let root = path.first()?.as_str();
    let document = match root {
        "input" => agent.input.document(),
        "state" => match &agent.state {
            Some(state) => state.document(),
            None => return Some("uses `state`, and the manifest declares none".to_owned()),
        },
        function if FUNCTIONS.contains(&function) => return None,
        _ => {
            return Some(format!(
                "uses `{root}`, which is not there: templates see `input` and `state`"
            ));
        }
    };
    let mut parts = vec![document.clone()];
    for (place, name) in path.iter().enumerate().skip(1) {
        match members(document, &parts, name) {
            Members::Any => return None,
            Members::These(next) => parts = next,
            Members::Others(declared) => {
                let variable = path[..=place].join(".");
                let pointer: String = path[1..=place]
                    .iter()
                    .map(|name| format!("/{}", escape_token(name)))
                    .collect();
                let declared = match declared.as_slice() {
                    [] => "nothing has members there".to_owned(),
                    names => format!("there is `{}`", names.join("`, `")),
                };
                return Some(format!(
                    "uses `{variable}`, which the schema of the {root} does not declare at `{pointer}`: {declared}"
                ));
            }
        }
    }
    None
}

/// What a schema says of a member.
enum Members {
    /// It may be anything.
    Any,
    /// It is one of these parts.
    These(Vec<Value>),
    /// It is not declared, but these are.
    Others(Vec<String>),
}

/// What some parts of a document say of a member of theirs. A schema that names properties is taken to name all of them,
/// unless it says something of others: who writes a variable down is told of a typing error.
fn members(document: &Value, parts: &[Value], name: &str) -> Members {
    let (mut these, mut others) = (Vec::new(), Vec::new());
    for flat in parts.iter().flat_map(|part| flattened(document, part)) {
        let properties = flat.get("properties").and_then(Value::as_object);
        match properties.and_then(|properties| properties.get(name)) {
            Some(part) if these.contains(part) => {}
            Some(part) => these.push(part.clone()),
            None if is_open(&flat) => return Members::Any,
            None => {
                let names = properties.into_iter().flat_map(Map::keys);
                others.extend(names.take(NAMED_MAX).cloned());
            }
        }
    }
    if these.is_empty() {
        others.sort_unstable();
        others.dedup();
        others.truncate(NAMED_MAX);
        Members::Others(others)
    } else {
        Members::These(these)
    }
}

/// Whether values of this part may have members that it does not name.
fn is_open(part: &Map<String, Value>) -> bool {
    let may_be_object = match part.get("type") {
        None => !part.contains_key("const") && !part.contains_key("enum"),
        Some(Value::Array(types)) => types.contains(&"object".into()),
        Some(one) => one == "object",
    };
    let others = part.get("additionalProperties");
    let says_others = others.is_some_and(|others| *others != false) || part.contains_key("patternProperties");
    let says_nothing = others.is_none() && !part.contains_key("properties");
    may_be_object && (says_others || says_nothing)
}

/// Why the template fails with some input or state that the schemas allow, as far as the examples and samples made of the
/// schemas show it.
fn failing(agent: &AgentManifest, template: &Template) -> Option<String> {
    let trial = Trial::of(template)?;
    let examples: Vec<_> = agent.examples.iter().map(|example| &example.input).collect();
    let mut inputs = samples(agent.input.document(), &examples);
    // Before a run has a state there is none, whatever the schema.
    let mut states = vec![Value::Null];
    if let Some(state) = &agent.state {
        states.extend(samples(state.document(), &[]));
    }
    inputs.truncate(TRIALS_MAX);
    states.truncate(TRIALS_MAX);
    let (first, richest) = (inputs.first()?, states.get(1).unwrap_or(&Value::Null));
    let with_inputs = inputs.iter().map(|input| (input, richest));
    let with_states = states.iter().map(|state| (first, state));
    let mut all = with_inputs.chain(with_states);
    all.find_map(|(input, state)| {
        let trouble = trial.run(&[("input", input), ("state", state)]).err()?;
        Some(explain(&trouble, template, input, state))
    })
}

fn explain(trouble: &Trouble, template: &Template, input: &Value, state: &Value) -> String {
    match trouble {
        Trouble::Missing { line, variable } => {
            let variable = variable.clone().or_else(|| unresolved(template, input, state));
            let Some(variable) = variable else {
                return format!("line {line}: uses something that may be missing: {WAYS_OUT}");
            };
            let why = if variable.starts_with("state") && state.is_null() {
                "before a run has a state there is none"
            } else {
                "the schema does not require it"
            };
            format!("line {line}: uses `{variable}`, which may be missing, since {why}: {WAYS_OUT}")
        }
        Trouble::Bare { line, variable } => {
            let variable = variable
                .as_ref()
                .map_or_else(|| "what".to_owned(), |variable| format!("`{variable}`, which"));
            format!(
                "line {line}: writes {variable} may be an object or an array, and has no text of its own: write its members, \
                 or use the filter `tojson`"
            )
        }
        Trouble::Other { line, reason } => {
            let shown: String = input.to_string().chars().take(SHOWN_MAX_CHARS).collect();
            format!("line {line}: {reason}; the schema allows the input {shown}")
        }
    }
}

/// The first variable of the template that these values do not have.
fn unresolved(template: &Template, input: &Value, state: &Value) -> Option<String> {
    let references = template.references().into_iter();
    let mut missing = references.filter(|reference| {
        let root = if reference.path[0] == "state" { state } else { input };
        let found = reference.path[1..].iter().try_fold(root, |value, name| value.get(name));
        found.is_none()
    });
    missing.next().map(|reference| reference.path.join("."))
}
