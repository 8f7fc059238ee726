//! The subset of JSON Schema that providers enforce while a model writes, and what is lost on the way there.
//!
//! They know types, properties, items, alternatives and definitions; all objects are closed. What a schema says beyond that,
//! such as lengths and patterns, is checked when the answer is there. Where OpenAI wants every property to be required, an
//! optional one may be null instead, and the nulls are taken out of the answer again.

use serde_json::{Map, Value, json};

/// How an optional property is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Optional {
    /// As a required one that may be null.
    Null,
    /// As one that may be left out.
    Absent,
}

/// Alternatives within alternatives are looked into so deep.
const ALTERNATIVES_DEPTH_MAX: u32 = 4;

/// Keywords that say less than the subset can, when they are left out: the answer is checked for them later.
const CHECKED_LATER: [&str; 16] = [
    "$comment",
    "$schema",
    "default",
    "deprecated",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "multipleOf",
    "pattern",
];

/// The schema in the subset; nothing where it cannot be written so.
pub(super) fn strict(schema: &Value, optional: Optional) -> Option<Value> {
    let object = schema.as_object()?;
    let mut strict = Map::new();
    for (keyword, value) in object {
        match keyword.as_str() {
            "type" | "enum" | "const" | "description" | "title" | "$ref" => {
                strict.insert(keyword.clone(), value.clone());
            }
            "properties" => {
                let properties = strict_properties(value.as_object()?, required(object), optional)?;
                strict.insert(keyword.clone(), properties);
            }
            "items" => {
                strict.insert(keyword.clone(), self::strict(value, optional)?);
            }
            // An answer that fits more than one alternative of `oneOf` is found by the check.
            "anyOf" | "oneOf" => {
                let alternatives = value.as_array()?.iter().map(|one| self::strict(one, optional));
                strict.insert("anyOf".to_owned(), alternatives.collect::<Option<_>>()?);
            }
            "$defs" => {
                let definitions = value.as_object()?.iter();
                let definitions = definitions.map(|(name, one)| Some((name.clone(), self::strict(one, optional)?)));
                strict.insert(keyword.clone(), Value::Object(definitions.collect::<Option<_>>()?));
            }
            "required" => {}
            "additionalProperties" if value.is_boolean() => {}
            "uniqueItems" | "minProperties" | "maxProperties" => {}
            other if CHECKED_LATER.contains(&other) || other.starts_with("x-") => {}
            _ => return None,
        }
    }
    if object.get("type") == Some(&json!("object")) {
        let properties = object.get("properties")?.as_object()?;
        let required = match optional {
            Optional::Null => properties.keys().cloned().map(Value::from).collect(),
            Optional::Absent => required(object).cloned().collect(),
        };
        strict.insert("required".to_owned(), Value::Array(required));
        strict.insert("additionalProperties".to_owned(), false.into());
    }
    // What says nothing at all cannot be enforced.
    let says = ["type", "enum", "const", "$ref", "anyOf"];
    says.iter()
        .any(|keyword| strict.contains_key(*keyword))
        .then(|| Value::Object(strict))
}

fn required(object: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    object.get("required").and_then(Value::as_array).into_iter().flatten()
}

fn strict_properties<'a>(
    properties: &Map<String, Value>,
    required: impl Iterator<Item = &'a Value>,
    optional: Optional,
) -> Option<Value> {
    let required: Vec<_> = required.collect();
    let strict = properties.iter().map(|(name, schema)| {
        let written = strict(schema, optional)?;
        let may_be_null = optional == Optional::Null && !required.contains(&&Value::from(name.as_str()));
        let written = match written {
            // What is said of it stays where a model reads it first.
            Value::Object(mut inner) if may_be_null => {
                let description = inner.remove("description");
                let mut outer = json!({"anyOf": [inner, {"type": "null"}]});
                if let Some(description) = description {
                    outer["description"] = description;
                }
                outer
            }
            written => written,
        };
        Some((name.clone(), written))
    });
    Some(Value::Object(strict.collect::<Option<_>>()?))
}

/// Takes the nulls out of an answer that stand for optional properties, where the schema itself knows no null.
pub(super) fn take_out_nulls(schema: &Value, value: &mut Value) {
    take_out(schema, schema, value, ALTERNATIVES_DEPTH_MAX);
}

/// `alternatives` bounds how deep alternatives of alternatives are looked into, for they may lead back to themselves.
fn take_out(root: &Value, schema: &Value, value: &mut Value, alternatives: u32) {
    let schema = resolved(root, schema);
    for keyword in ["anyOf", "oneOf"] {
        let all = schema[keyword].as_array().filter(|_| alternatives > 0);
        for alternative in all.into_iter().flatten() {
            take_out(root, alternative, value, alternatives - 1);
        }
    }
    match value {
        Value::Array(items) => {
            for item in items {
                take_out(root, &schema["items"], item, ALTERNATIVES_DEPTH_MAX);
            }
        }
        Value::Object(members) => {
            let Some(properties) = schema["properties"].as_object() else {
                return;
            };
            let required = schema["required"].as_array();
            let optional = |name: &str| !required.is_some_and(|all| all.iter().any(|one| one == name));
            members.retain(|name, value| {
                let declared = properties.get(name).map(|schema| resolved(root, schema));
                let stands_in = declared.is_some_and(|schema| optional(name) && !knows_null(schema));
                !(value.is_null() && stands_in)
            });
            for (name, member) in members {
                if let Some(schema) = properties.get(name) {
                    take_out(root, schema, member, ALTERNATIVES_DEPTH_MAX);
                }
            }
        }
        _ => {}
    }
}

/// What a schema refers to, one step far; itself where it refers to nothing.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = schema["$ref"].as_str().and_then(|text| text.strip_prefix('#'));
    reference.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

fn knows_null(schema: &Value) -> bool {
    let null = json!("null");
    let types = &schema["type"];
    *types == null
        || types.as_array().is_some_and(|types| types.contains(&null))
        || schema["enum"]
            .as_array()
            .is_some_and(|values| values.contains(&Value::Null))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_written_is() {
        let check = |schema: Value, null: Option<Value>, absent: Option<Value>| {
            assert_eq!(strict(&schema, Optional::Null), null, "{schema}");
            assert_eq!(strict(&schema, Optional::Absent), absent, "{schema}");
        };
        let both = |schema: Value, expected: Option<Value>| check(schema, expected.clone(), expected);
        both(
            json!({"type": "string", "minLength": 1, "x-note": 1}),
            Some(json!({"type": "string"})),
        );
        both(json!({"enum": ["a", null]}), Some(json!({"enum": ["a", null]})));
        both(
            json!({"oneOf": [{"const": 1}, {"$ref": "#/$defs/A"}], "$defs": {"A": {"type": "integer", "minimum": 1}}}),
            Some(json!({"anyOf": [{"const": 1}, {"$ref": "#/$defs/A"}], "$defs": {"A": {"type": "integer"}}})),
        );
        check(
            json!({"type": "object", "required": ["a"], "properties": {
                "a": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
                "b": {"type": "number", "description": "B."}
            }}),
            Some(
                json!({"type": "object", "required": ["a", "b"], "additionalProperties": false, "properties": {
                    "a": {"type": "array", "items": {"type": "string"}},
                    "b": {"anyOf": [{"type": "number"}, {"type": "null"}], "description": "B."}
                }}),
            ),
            Some(
                json!({"type": "object", "required": ["a"], "additionalProperties": false, "properties": {
                    "a": {"type": "array", "items": {"type": "string"}},
                    "b": {"type": "number", "description": "B."}
                }}),
            ),
        );
        for cannot in [
            json!(true),
            json!({}),
            json!({"type": "object"}),
            json!({"type": "object", "properties": {"a": {}}}),
            json!({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}),
            json!({"allOf": [{"type": "string"}]}),
            json!({"type": "array", "prefixItems": [{"type": "string"}]}),
        ] {
            both(cannot, None);
        }
    }

    #[test]
    fn nulls_are_taken_out_where_they_stand_for_nothing() {
        let schema = json!({
            "type": "object", "required": ["kept"],
            "properties": {
                "kept": {"type": "string"},
                "gone": {"type": "string"},
                "null": {"type": ["string", "null"]},
                "ref": {"$ref": "#/$defs/Inner"},
                "list": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/Inner"}, {"type": "string"}]}}
            },
            "$defs": {"Inner": {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"$ref": "#/$defs/Inner"}}}}
        });
        let mut value = json!({
            "kept": null, "gone": null, "null": null, "unknown": null,
            "ref": {"x": null, "y": {"x": 1, "y": null}}, "list": [{"x": null}, "a"]
        });
        take_out_nulls(&schema, &mut value);
        assert_eq!(
            value,
            json!({"kept": null, "null": null, "unknown": null, "ref": {"y": {"x": 1}}, "list": [{}, "a"]})
        );
    }
}
