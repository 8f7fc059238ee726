//! What a schema must not do, found when manifests are checked rather than when a caller pays for it.

use std::collections::HashSet;

use serde_json::Value;

use super::expansion::{Expansion, id};
use super::{Schema, SchemaError};
use crate::json::escape_token;

/// The longest schema, in bytes of compact JSON, shared definitions included.
pub const SCHEMA_MAX_BYTES: usize = 64 * 1024;

/// The values of `format` that are checked. `regex` is left out: it would compile callers' patterns.
pub const FORMATS: [&str; 12] = [
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "json-pointer",
    "time",
    "uri",
    "uri-reference",
    "uuid",
];

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Keywords whose value is a schema, applied to the same value as the schema they stand in.
pub(super) const IN_PLACE: [&str; 4] = ["not", "if", "then", "else"];
/// Keywords whose value is an array of schemas, applied to the same value.
pub(super) const IN_PLACE_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords whose value is a schema, applied to parts of the value.
const PARTS: [&str; 6] = [
    "items",
    "contains",
    "additionalProperties",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords whose value is an object of schemas.
const MAPS: [&str; 4] = ["$defs", "properties", "patternProperties", "dependentSchemas"];
/// Keywords that hold no schema.
const PLAIN: [&str; 33] = [
    "$comment",
    "$ref",
    "$schema",
    "const",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "default",
    "dependentRequired",
    "deprecated",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "readOnly",
    "required",
    "title",
    "type",
    "uniqueItems",
];
/// Keywords of 2020-12 that the gateway leaves out on purpose, so that `#/...` is the only kind of reference.
const LEFT_OUT: [&str; 5] = ["$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary"];

/// Everything that is wrong with a schema: its size, its keywords, its references, its patterns and formats, and how
/// much work it may cause. An empty list means that it compiles and stays bounded.
pub fn lint(document: &Value) -> Vec<SchemaError> {
    let mut findings = Vec::new();
    let size_bytes = document.to_string().len();
    if size_bytes > SCHEMA_MAX_BYTES {
        findings.push(SchemaError {
            pointer: String::new(),
            reason: format!("the schema has {size_bytes} bytes; the limit is {SCHEMA_MAX_BYTES}"),
        });
    }
    let mut schemas = HashSet::new();
    walk(document, "", &mut |schema, _| {
        schemas.insert(id(schema));
    });
    let target = |reference: &str| {
        let target = target(document, reference)?;
        Some(schemas.contains(&id(target)))
    };
    walk(document, "", &mut |schema, pointer| {
        keywords(schema, pointer, &target, &mut findings);
    });
    if findings.is_empty() {
        findings.extend(Schema::compile(document).err());
    }
    if findings.is_empty() {
        findings.extend(Expansion::check(document));
    }
    findings
}

/// Calls `visit` for `schema` and for every schema in it, with its pointer. Data (`const`, `enum`, `default`,
/// `examples`) and property names are not schemas and are passed over.
pub(crate) fn walk<'s>(schema: &'s Value, pointer: &str, visit: &mut impl FnMut(&'s Value, &str)) {
    visit(schema, pointer);
    let Some(object) = schema.as_object() else {
        return;
    };
    for (keyword, value) in object {
        let name = keyword.as_str();
        let at = format!("{pointer}/{}", escape_token(name));
        if IN_PLACE.contains(&name) || PARTS.contains(&name) {
            walk(value, &at, visit);
        } else if IN_PLACE_LISTS.contains(&name) || name == "prefixItems" {
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                walk(item, &format!("{at}/{index}"), visit);
            }
        } else if MAPS.contains(&name) {
            for (key, item) in value.as_object().into_iter().flatten() {
                walk(item, &format!("{at}/{}", escape_token(key)), visit);
            }
        }
    }
}

/// The schema that a reference of this document (`#` or `#/...`) points to.
pub(super) fn target<'s>(document: &'s Value, reference: &str) -> Option<&'s Value> {
    document.pointer(reference.strip_prefix('#')?)
}

/// Checks the keywords of one schema object. `target` says whether a reference points to a schema, or to nothing.
fn keywords(schema: &Value, pointer: &str, target: &impl Fn(&str) -> Option<bool>, findings: &mut Vec<SchemaError>) {
    let mut found = |keyword: &str, reason: String| {
        let pointer = format!("{pointer}/{}", escape_token(keyword));
        findings.push(SchemaError { pointer, reason });
    };
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        let name = keyword.as_str();
        let text = value.as_str();
        match name {
            "$ref" => match text {
                Some(text) if text.contains("://") => found(
                    name,
                    "a reference to another host is refused; copy the definition into a file beside the manifests"
                        .to_owned(),
                ),
                Some(text) => match target(text) {
                    None => found(name, format!("nothing is at `{text}` in this schema")),
                    Some(false) => found(name, format!("what is at `{text}` is not a schema")),
                    Some(true) => {}
                },
                None => {}
            },
            "$schema" if text != Some(DRAFT) => found(name, format!("only {DRAFT} is supported")),
            "format" if text.is_some_and(|text| !FORMATS.contains(&text)) => {
                let known = FORMATS.join(", ");
                found(
                    name,
                    format!("this format is not checked; use one of {known}, or `pattern`"),
                );
            }
            _ if LEFT_OUT.contains(&name) => found(
                name,
                "this keyword is not supported; put definitions into `$defs` and refer to them as `#/$defs/Name`"
                    .to_owned(),
            ),
            _ if name == "prefixItems" || name.starts_with("x-") => {}
            _ if [&IN_PLACE[..], &IN_PLACE_LISTS, &PARTS, &MAPS, &PLAIN]
                .iter()
                .any(|known| known.contains(&name)) => {}
            _ => found(
                name,
                "not a keyword of JSON Schema 2020-12; own annotations begin with `x-`".to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(schema: Value, expected: &[(&str, &str)]) {
        let findings = lint(&schema);
        assert_eq!(findings.len(), expected.len(), "{schema}: {findings:?}");
        for (finding, (pointer, reason)) in findings.iter().zip(expected) {
            assert_eq!(finding.pointer, *pointer, "{finding}");
            assert!(finding.reason.contains(reason), "{finding}");
        }
    }

    #[test]
    fn usual_schemas_pass() {
        check(json!(true), &[]);
        check(
            json!({"properties": {"$id": {"enum": [{"nonsense": 1}]}}, "x-note": 1}),
            &[],
        );
        let everything = json!({"$defs": {"Any": {"anyOf": [
            {"type": ["string", "number", "boolean", "null"]},
            {"type": "array", "items": {"$ref": "#/$defs/Any"}},
            {"type": "object", "additionalProperties": {"$ref": "#/$defs/Any"}}
        ]}}, "$ref": "#/$defs/Any"});
        check(everything, &[]);
        let tree = json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}});
        check(tree, &[]);
    }

    #[test]
    fn every_wrong_keyword_is_named() {
        check(
            json!({
                "properties": {"a": {"minLenght": 1}, "b/c": {"format": "phone"}},
                "items": {"$ref": "https://example.com/x.json"},
                "not": {"$ref": "#/$defs/None"},
                "$id": "x",
                "$schema": "http://json-schema.org/draft-07/schema#"
            }),
            &[
                ("/$id", "not supported"),
                ("/$schema", "only https://json-schema.org/draft/2020-12"),
                ("/properties/a/minLenght", "not a keyword"),
                ("/properties/b~1c/format", "not checked"),
                ("/items/$ref", "another host"),
                ("/not/$ref", "nothing is at"),
            ],
        );
        check(
            json!({"not": {"$ref": "#/not/default"}, "default": 1}),
            &[("/not/$ref", "nothing is at")],
        );
        check(
            json!({"not": {"$ref": "#/default"}, "default": {}}),
            &[("/not/$ref", "not a schema")],
        );
        check(json!({"pattern": "(?<=x)"}), &[("/pattern", "")]);
        check(json!({"type": "text"}), &[("/type", "")]);
        check(
            json!({"description": "x".repeat(SCHEMA_MAX_BYTES)}),
            &[("", "the limit is")],
        );
    }
}
