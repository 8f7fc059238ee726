//! Templates of JSON: the answer of a rule, with its gaps filled from the input and the state.
//!
//! A template is JSON. A string in it may be a [minijinja](https://docs.rs/minijinja) template over `input` and
//! `state`; an object `{"$value": "/input/items/0"}` becomes the value at that JSON Pointer, of whatever type, or its
//! `$default` when nothing is there. Everything else stands for itself. Where there is more than input and state, such as
//! an answer to be mapped, [`Template::compile_over`] names it.

use std::cell::OnceCell;
use std::fmt;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use serde_json::{Map, Value};

use crate::json::escape_token;

/// What one template may spend: about as many instructions, and 64 times as many bytes of memory (3 MB).
pub const TEMPLATE_FUEL: u64 = 50_000;

/// What a template sees where nothing else is said.
const USUAL_ROOTS: [&str; 2] = ["input", "state"];

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    root: Part,
    strings: Environment<'static>,
}

#[derive(Debug)]
enum Part {
    Literal(Value),
    /// The name of a template in the environment, which is its JSON Pointer.
    Text(String),
    Value {
        pointer: String,
        default: Option<Value>,
    },
    Array(Vec<Part>),
    Object(Vec<(String, Part)>),
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// JSON Pointer into the template.
    pub pointer: String,
    /// What is wrong there, as a sentence.
    pub reason: String,
}

/// Why a template could not be filled in. Says nothing of the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderError {
    /// JSON Pointer into the template.
    pub pointer: String,
    /// What happened, as a sentence.
    pub reason: String,
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template#{}: {}", self.pointer, self.reason)
    }
}

/// What a template can see: as JSON for `$value`, and as minijinja sees it, converted when it is first needed.
struct Scope<'a> {
    roots: &'a [(&'a str, &'a Value)],
    converted: OnceCell<minijinja::Value>,
}

impl Scope<'_> {
    fn converted(&self) -> minijinja::Value {
        let convert = || {
            let fields = self.roots.iter();
            minijinja::Value::from_pairs(fields.map(|(name, value)| (*name, minijinja::Value::from(Serde(value)))))
        };
        self.converted.get_or_init(convert).clone()
    }
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// The first string that is not a minijinja template, or the first `$value` that is not a pointer to `/input` or
    /// `/state`.
    pub fn compile(template: &Value) -> Result<Template, TemplateError> {
        Self::compile_over(template, &USUAL_ROOTS)
    }

    /// Compiles a template over the values of these names, which [`Template::render_over`] is given.
    ///
    /// # Errors
    /// As [`Template::compile`].
    pub fn compile_over(template: &Value, roots: &[&str]) -> Result<Template, TemplateError> {
        let mut strings = Environment::new();
        strings.set_undefined_behavior(UndefinedBehavior::Strict);
        strings.set_auto_escape_callback(|_| AutoEscape::None);
        strings.set_fuel(Some(TEMPLATE_FUEL));
        let root = part(template, String::new(), roots, &mut strings)?;
        Ok(Template { root, strings })
    }

    /// Fills the template in.
    ///
    /// # Errors
    /// A string or a `$value` without default refers to something that is not there, or the template takes more than
    /// [`TEMPLATE_FUEL`].
    pub fn render(&self, input: &Value, state: Option<&Value>) -> Result<Value, RenderError> {
        let state = state.unwrap_or(&Value::Null);
        self.render_over(&[("input", input), ("state", state)])
    }

    /// Fills the template in with values by the names that it was compiled over.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn render_over(&self, roots: &[(&str, &Value)]) -> Result<Value, RenderError> {
        let scope = Scope {
            roots,
            converted: OnceCell::new(),
        };
        self.fill(&self.root, "", &scope)
    }

    /// The variables that the strings of the template use and do not set themselves, as in `input.name`.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn variables(&self) -> std::collections::BTreeSet<String> {
        let templates = self.strings.templates();
        templates
            .flat_map(|(_, template)| template.undeclared_variables(true))
            .collect()
    }

    fn fill(&self, part: &Part, at: &str, scope: &Scope<'_>) -> Result<Value, RenderError> {
        match part {
            Part::Literal(value) => Ok(value.clone()),
            Part::Text(name) => {
                let template = self.strings.get_template(name);
                template
                    .and_then(|template| template.render(scope.converted()))
                    .map(Value::String)
                    .map_err(|error| RenderError {
                        pointer: name.clone(),
                        reason: reason(&error).to_owned(),
                    })
            }
            Part::Value { pointer, default } => {
                let missing = || RenderError {
                    pointer: at.to_owned(),
                    reason: format!("nothing is at {pointer}, and there is no $default"),
                };
                let found = resolve(pointer, scope).or(default.as_ref());
                found.cloned().ok_or_else(missing)
            }
            Part::Array(parts) => {
                let numbered = parts.iter().enumerate();
                numbered
                    .map(|(index, part)| self.fill(part, &format!("{at}/{index}"), scope))
                    .collect()
            }
            Part::Object(parts) => {
                let mut object = Map::new();
                for (key, part) in parts {
                    let at = format!("{at}/{}", escape_token(key));
                    object.insert(key.clone(), self.fill(part, &at, scope)?);
                }
                Ok(Value::Object(object))
            }
        }
    }
}

fn resolve<'a>(pointer: &str, scope: &Scope<'a>) -> Option<&'a Value> {
    let (name, rest) = split_root(pointer)?;
    let (_, value) = scope.roots.iter().find(|(root, _)| *root == name)?;
    value.pointer(rest)
}

/// The first token of a pointer, which names a value, and the pointer into that.
fn split_root(pointer: &str) -> Option<(&str, &str)> {
    let tokens = pointer.strip_prefix('/')?;
    Some(tokens.split_at(tokens.find('/').unwrap_or(tokens.len())))
}

/// A sentence of ours for an error of minijinja, whose own text may quote a value.
fn reason(error: &minijinja::Error) -> &'static str {
    match error.kind() {
        ErrorKind::UndefinedError => "refers to something that is not there; use `is defined` or the filter `default`",
        ErrorKind::OutOfFuel => "takes too long",
        ErrorKind::SyntaxError => "is not a template that minijinja understands",
        ErrorKind::UnknownFilter | ErrorKind::UnknownFunction | ErrorKind::UnknownMethod | ErrorKind::UnknownTest => {
            "uses a filter, function, method or test that does not exist"
        }
        _ => "an operation does not fit the value it is applied to",
    }
}

fn part(
    template: &Value,
    at: String,
    roots: &[&str],
    strings: &mut Environment<'static>,
) -> Result<Part, TemplateError> {
    let wrong = |reason: String| TemplateError {
        pointer: at.clone(),
        reason,
    };
    match template {
        Value::String(text) if ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark)) => {
            let added = strings.add_template_owned(at.clone(), text.clone());
            added.map_err(|error| {
                let detail = error.detail().unwrap_or("not a template");
                wrong(format!("line {}: {detail}", error.line().unwrap_or(1)))
            })?;
            Ok(Part::Text(at))
        }
        Value::Object(object) if object.contains_key("$value") => {
            let pointer = object.get("$value").and_then(Value::as_str);
            let inside = |pointer: &&str| split_root(pointer).is_some_and(|(root, _)| roots.contains(&root));
            let Some(pointer) = pointer.filter(inside) else {
                let roots: Vec<_> = roots.iter().map(|root| format!("/{root}")).collect();
                let roots = roots.join(" or ");
                return Err(wrong(format!(
                    "`$value` must be a JSON Pointer that begins with {roots}"
                )));
            };
            if let Some(other) = object
                .keys()
                .find(|key| !["$value", "$default"].contains(&key.as_str()))
            {
                return Err(wrong(format!(
                    "`{other}` cannot stand beside `$value`; only `$default` can"
                )));
            }
            Ok(Part::Value {
                pointer: pointer.to_owned(),
                default: object.get("$default").cloned(),
            })
        }
        Value::Object(object) => {
            let parts = object.iter().map(|(key, value)| {
                let part = part(value, format!("{at}/{}", escape_token(key)), roots, strings)?;
                Ok((key.clone(), part))
            });
            Ok(Part::Object(parts.collect::<Result<_, TemplateError>>()?))
        }
        Value::Array(items) => {
            let parts = items.iter().enumerate();
            let parts = parts.map(|(index, value)| part(value, format!("{at}/{index}"), roots, strings));
            Ok(Part::Array(parts.collect::<Result<_, TemplateError>>()?))
        }
        other => Ok(Part::Literal(other.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(template: Value, expected: Result<Value, (&str, &str)>) {
        let input = json!({"name": "Ada <a@b.c>", "n": 2, "tags": ["x", "y"], "deep": {"a/b": null}});
        let rendered = Template::compile(&template)
            .unwrap()
            .render(&input, Some(&json!({"seen": 3})));
        match (rendered, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected),
            (Err(got), Err((pointer, reason))) => {
                assert_eq!(got.pointer, pointer);
                assert!(got.reason.contains(reason), "{got}");
                assert!(!got.reason.contains("Ada"));
            }
            (got, expected) => panic!("{template}: {got:?}, not {expected:?}"),
        }
    }

    #[test]
    fn fills_strings_and_values() {
        check(
            json!({"text": "Dear {{ input.name }}, {{ input.n + state.seen }}", "n": {"$value": "/input/n"}, "same": [1, "{", null]}),
            Ok(json!({"text": "Dear Ada <a@b.c>, 5", "n": 2, "same": [1, "{", null]})),
        );
        check(json!({"$value": "/input/tags"}), Ok(json!(["x", "y"])));
        check(json!({"$value": "/input/deep/a~1b", "$default": 1}), Ok(json!(null)));
        check(
            json!([{"$value": "/state/none", "$default": {"k": "{{ input.n }}"}}]),
            Ok(json!([{"k": "{{ input.n }}"}])),
        );
        check(
            json!("{% for t in input.tags %}{{ t|upper }}{% endfor %}"),
            Ok(json!("XY")),
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        check(json!({"a": ["{{ input.none }}"]}), Err(("/a/0", "not there")));
        check(json!({"a": {"$value": "/input/none"}}), Err(("/a", "/input/none")));
        check(json!("{{ input.name / 2 }}"), Err(("", "does not fit")));
    }

    #[test]
    fn work_is_bounded() {
        let endless = "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}";
        check(json!(endless), Err(("", "too long")));
        check(json!("{{ 'x' * 1000000000 }}"), Err(("", "")));
    }

    #[test]
    fn wrong_templates_do_not_compile() {
        for (template, pointer) in [
            (json!({"a": "{{ input.name"}), "/a"),
            (json!(["{% if %}"]), "/0"),
            (json!({"$value": "/other"}), ""),
            (json!({"$value": "/inputs"}), ""),
            (json!({"$value": 1}), ""),
            (json!({"$value": "/input", "or": 1}), ""),
        ] {
            let error = Template::compile(&template).unwrap_err();
            assert_eq!(error.pointer, pointer, "{template}: {}", error.reason);
        }
    }
}
