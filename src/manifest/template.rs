//! Templates of JSON: the answer of a rule, or the input of a workflow's call, with its gaps filled from data.
//!
//! A template is JSON. A string in it may be a [minijinja](https://docs.rs/minijinja) template over the names that it can
//! see, such as `input` and `state`; an object `{"$value": "/input/items/0"}` becomes the value at that JSON Pointer, of
//! whatever type, or its `$default` when nothing is there. Everything else stands for itself.

mod trial;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fmt;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use serde_json::{Map, Value};

pub use self::trial::{Trial, Trouble};
use crate::json::{escape_token, unescape_token};

/// What one template may spend: about as many instructions, and 64 times as many bytes of memory (3 MB).
pub const TEMPLATE_FUEL: u64 = 50_000;

/// What the template of a rule can see.
const OF_RULES: &[&str] = &["input", "state"];

/// What a template or a condition can see, by name.
pub type Names<'a> = &'a [(&'static str, &'a Value)];

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    root: Part,
    strings: Environment<'static>,
}

/// A place in a template that refers to data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// JSON Pointer into the template.
    pub at: String,
    /// The name that it begins with, and the members from there on, as far as they are written out.
    pub path: Vec<String>,
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
    names: Names<'a>,
    converted: OnceCell<minijinja::Value>,
}

impl<'a> Scope<'a> {
    fn converted(&self) -> minijinja::Value {
        self.converted.get_or_init(|| convert(self.names)).clone()
    }

    fn at(&self, pointer: &str) -> Option<&'a Value> {
        self.names.iter().find_map(|(name, value)| {
            let rest = pointer.strip_prefix('/')?.strip_prefix(name)?;
            value.pointer(rest)
        })
    }
}

/// Names as minijinja sees them.
pub(super) fn convert(names: Names<'_>) -> minijinja::Value {
    let names = names.iter();
    minijinja::Value::from_pairs(names.map(|(name, value)| (*name, minijinja::Value::from(Serde(*value)))))
}

/// An environment whose every evaluation is bounded, and in which nothing stands for what is not there.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(TEMPLATE_FUEL));
    environment
}

impl Template {
    /// Compiles a template over `input` and `state`.
    ///
    /// # Errors
    /// The first string that is not a minijinja template, or the first `$value` that is not a pointer to `/input` or
    /// `/state`.
    pub fn compile(template: &Value) -> Result<Template, TemplateError> {
        Self::compile_over(OF_RULES, template)
    }

    /// Compiles a template over these names.
    ///
    /// # Errors
    /// The first string that is not a minijinja template, or the first `$value` that begins with none of the names.
    pub fn compile_over(names: &[&str], template: &Value) -> Result<Template, TemplateError> {
        let mut strings = environment();
        let root = part(template, String::new(), (names, &mut strings))?;
        Ok(Template { root, strings })
    }

    /// What the template refers to, in the order of its parts.
    #[must_use]
    pub fn references(&self) -> Vec<Reference> {
        let mut found = Vec::new();
        self.refer(&self.root, "", &mut found);
        found
    }

    fn refer(&self, part: &Part, at: &str, found: &mut Vec<Reference>) {
        let mut refers = |path: Vec<String>| {
            let at = at.to_owned();
            found.push(Reference { at, path });
        };
        match part {
            Part::Literal(_) => {}
            Part::Value { pointer, .. } => refers(pointer.split('/').skip(1).map(unescape_token).collect()),
            Part::Text(name) => {
                let variables = self
                    .strings
                    .get_template(name)
                    .map(|text| text.undeclared_variables(true));
                // A set without an order of its own.
                let variables: BTreeSet<String> = variables.unwrap_or_default().into_iter().collect();
                for variable in variables {
                    refers(variable.split('.').map(str::to_owned).collect());
                }
            }
            Part::Array(parts) => {
                for (index, part) in parts.iter().enumerate() {
                    self.refer(part, &format!("{at}/{index}"), found);
                }
            }
            Part::Object(parts) => {
                for (key, part) in parts {
                    self.refer(part, &format!("{at}/{}", escape_token(key)), found);
                }
            }
        }
    }

    /// Fills a template over `input` and `state` in.
    ///
    /// # Errors
    /// What [`Template::render_over`] says.
    pub fn render(&self, input: &Value, state: Option<&Value>) -> Result<Value, RenderError> {
        self.render_over(&[("input", input), ("state", state.unwrap_or(&Value::Null))])
    }

    /// Fills the template in with the values of these names.
    ///
    /// # Errors
    /// A string or a `$value` without default refers to something that is not there, or the template takes more than
    /// [`TEMPLATE_FUEL`].
    pub fn render_over(&self, names: Names<'_>) -> Result<Value, RenderError> {
        let converted = OnceCell::new();
        self.fill(&self.root, "", &Scope { names, converted })
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
                let found = scope.at(pointer).or(default.as_ref());
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

/// A sentence of ours for an error of minijinja, whose own text may quote a value.
pub(super) fn reason(error: &minijinja::Error) -> &'static str {
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
    (names, strings): (&[&str], &mut Environment<'static>),
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
            let inside = |pointer: &&str| {
                let first = pointer.strip_prefix('/').and_then(|rest| rest.split('/').next());
                first.is_some_and(|first| names.contains(&first))
            };
            let Some(pointer) = pointer.filter(inside) else {
                let names = names.join(" or /");
                let message = format!("`$value` must be a JSON Pointer that begins with /{names}");
                return Err(wrong(message));
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
                let part = part(value, format!("{at}/{}", escape_token(key)), (names, &mut *strings))?;
                Ok((key.clone(), part))
            });
            Ok(Part::Object(parts.collect::<Result<_, TemplateError>>()?))
        }
        Value::Array(items) => {
            let parts = items.iter().enumerate();
            let parts = parts.map(|(index, value)| part(value, format!("{at}/{index}"), (names, &mut *strings)));
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
    fn other_names_can_be_seen() {
        let names = ["item", "steps"];
        let (item, steps) = (json!({"a/b": 1}), json!({"s": {"output": [2]}}));
        let template = json!({"one": {"$value": "/item/a~1b"}, "two": ["{{ steps.s.output[0] }} {{ item|length }}", {"$value": "/steps"}]});
        let template = Template::compile_over(&names, &template).unwrap();
        let rendered = template.render_over(&[("item", &item), ("steps", &steps)]).unwrap();
        assert_eq!(rendered, json!({"one": 1, "two": ["2 1", {"s": {"output": [2]}}]}));
        let references: Vec<_> = template
            .references()
            .into_iter()
            .map(|reference| (reference.at, reference.path.join(".")))
            .collect();
        let expected = [
            ("/one", "item.a/b"),
            ("/two/0", "item"),
            ("/two/0", "steps.s.output"),
            ("/two/1", "steps"),
        ];
        assert_eq!(references, expected.map(|(at, path)| (at.to_owned(), path.to_owned())));
        assert!(Template::compile_over(&names, &json!({"$value": "/input"})).is_err());
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
