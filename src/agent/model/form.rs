//! The form in which a model is to answer, made of the agent's output schema; and the output, made of what it said.

use serde_json::{Map, Value, json};

use super::strict_schema::{Optional, strict, take_out_nulls};
use crate::connections::Api;
use crate::json::parse_strict;
use crate::manifest::JSON_DEPTH_MAX;
use crate::schema::{LazySchema, VIOLATIONS_MAX};

/// The member that holds an output which is no object: providers enforce objects alone.
const ANSWER: &str = "answer";

/// The form of an answer.
pub(super) struct Form {
    /// The schema of what the model writes; nothing where it writes plain text.
    schema: Option<Value>,
    /// The same as the provider enforces it; nothing where it cannot, and the instructions have to say it.
    pub(super) enforced: Option<Value>,
    /// Whether the output is within an object.
    wrapped: bool,
}

impl Form {
    /// The form for an output schema.
    pub(super) fn of(output: &LazySchema, api: Api) -> Self {
        let document = output.document();
        let any_text = document["type"] == "string" && document.get("enum").or(document.get("const")).is_none();
        if any_text {
            return Self {
                schema: None,
                enforced: None,
                wrapped: false,
            };
        }
        let wrapped = document["type"] != "object";
        let schema = if wrapped { wrap(document) } else { document.clone() };
        let optional = match api {
            Api::OpenaiResponses | Api::OpenaiChat => Optional::Null,
            Api::Anthropic | Api::WorkersAi => Optional::Absent,
        };
        Self {
            enforced: strict(&schema, optional),
            schema: Some(schema),
            wrapped,
        }
    }

    /// The instructions, with the form where the provider does not enforce it.
    pub(super) fn instructions(&self, own: &str) -> String {
        match (&self.schema, &self.enforced) {
            (Some(schema), None) => format!(
                "{own}\n\nAnswer with one JSON value and nothing else. It must be valid for this JSON Schema:\n{schema}"
            ),
            _ => own.to_owned(),
        }
    }

    /// Which part of what the model writes is shown while it comes, where `member` is the one that the manifest names.
    pub(super) fn shown<'a>(&self, member: Option<&'a str>) -> Option<Shows<'a>> {
        match &self.schema {
            None => Some(Shows::All),
            Some(_) if self.wrapped => None,
            Some(_) => member.map(Shows::Member),
        }
    }

    /// The output that the model wrote, valid for the schema.
    ///
    /// # Errors
    /// What is wrong with it, for the model to read: made of the schema alone.
    pub(super) fn read(&self, text: &str, output: &LazySchema) -> Result<Value, String> {
        let mut value = match &self.schema {
            None => text.into(),
            Some(schema) => {
                let mut value = parse_strict(without_fence(text).as_bytes(), JSON_DEPTH_MAX)
                    .map_err(|error| format!("it is not JSON: line {}, column {}", error.line, error.column))?;
                take_out_nulls(schema, &mut value);
                value
            }
        };
        if self.wrapped {
            let inner = value.as_object_mut().and_then(|object| object.remove(ANSWER));
            value = inner.ok_or_else(|| format!("it is no object with the member `{ANSWER}`"))?;
        }
        let schema = output.get().map_err(ToString::to_string)?;
        let violations = schema.violations(&value, VIOLATIONS_MAX);
        if violations.is_empty() {
            return Ok(value);
        }
        let lines = violations.iter();
        let lines: Vec<_> = lines
            .map(|violation| format!("at `{}`: {}", violation.instance, violation.message))
            .collect();
        Err(lines.join("\n"))
    }
}

/// What is shown of an answer that is still coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows<'a> {
    /// All of it.
    All,
    /// A member of the object that it is, a string.
    Member(&'a str),
}

fn wrap(schema: &Value) -> Value {
    let mut inner = schema.clone();
    let definitions = inner.as_object_mut().and_then(|object| object.remove("$defs"));
    let mut outer = Map::new();
    outer.insert("type".to_owned(), "object".into());
    outer.insert("required".to_owned(), json!([ANSWER]));
    outer.insert("additionalProperties".to_owned(), false.into());
    outer.insert("properties".to_owned(), json!({ANSWER: inner}));
    if let Some(definitions) = definitions {
        outer.insert("$defs".to_owned(), definitions);
    }
    Value::Object(outer)
}

/// The JSON in a Markdown code block, which models like to write around it.
fn without_fence(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    match inner.and_then(|inner| inner.split_once('\n')) {
        Some((language, json)) if language.trim().is_empty() || language.trim() == "json" => json,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: Value, text: &str, expected: Result<Value, &str>) {
        let schema = LazySchema::new(schema);
        for api in [Api::OpenaiChat, Api::Anthropic] {
            let read = Form::of(&schema, api).read(text, &schema);
            match (&read, &expected) {
                (Ok(value), Ok(expected)) => assert_eq!(value, expected),
                (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn outputs_are_read() {
        check(json!({"type": "string"}), "Hello", Ok(json!("Hello")));
        check(json!({"type": "string", "maxLength": 2}), "Hello", Err("at ``:"));
        check(json!({"enum": ["a", "b"]}), r#"{"answer": "a"}"#, Ok(json!("a")));
        check(
            json!({"enum": ["a", "b"]}),
            r#""a""#,
            Err("no object with the member `answer`"),
        );
        let list = json!({"type": "array", "items": {"$ref": "#/$defs/N"}, "$defs": {"N": {"type": "integer"}}});
        check(list.clone(), r#"{"answer": [1]}"#, Ok(json!([1])));
        check(list, r#"{"answer": ["x"]}"#, Err("at `/0`:"));
        let object = json!({"type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "integer"}}});
        check(object.clone(), r#"{"a": null, "n": 1}"#, Ok(json!({"n": 1})));
        check(object.clone(), "```json\n{\"n\": 1}\n```", Ok(json!({"n": 1})));
        check(object.clone(), "Here you are: {}", Err("not JSON: line 1"));
        check(object, r#"{"a": 1, "a": 2}"#, Err("not JSON"));
    }

    #[test]
    fn a_schema_that_nobody_enforces_stands_in_the_instructions() {
        let open = LazySchema::new(json!({"type": "object", "additionalProperties": {"type": "integer"}}));
        let form = Form::of(&open, Api::Anthropic);
        assert_eq!(form.enforced, None);
        assert!(
            form.instructions("Count.")
                .starts_with("Count.\n\nAnswer with one JSON value")
        );
        assert!(form.instructions("Count.").contains(r#"{"type":"integer"}"#));
        assert_eq!(form.read(r#"{"x": 1}"#, &open), Ok(json!({"x": 1})));
        let closed = LazySchema::new(json!({"type": "object", "properties": {"a": {"type": "string"}}}));
        assert_eq!(Form::of(&closed, Api::OpenaiChat).instructions("Count."), "Count.");
    }
}
