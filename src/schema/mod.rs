//! JSON Schema (draft 2020-12): compile once, validate many, and say what is wrong without echoing it.
//!
//! Decisions, the same for every schema of the gateway:
//! - Nothing is ever fetched: a schema is self-contained once its manifest has been loaded.
//! - Patterns run on the `regex` crate, which takes linear time, within [`PATTERN_MAX_BYTES`].
//! - `format` is an assertion, for the formats that [`lint`] knows; any other format is refused when the
//!   manifest is checked. An author who writes `"format": "email"` means it.
//!
//! A [`Schema`] takes milliseconds to compile and wants random numbers for its hash tables, which the platform refuses
//! outside of a request: compile it within one, and keep it (see [`LazySchema`]).

mod expansion;
mod lint;
mod samples;

use std::fmt;
use std::sync::OnceLock;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use expansion::EXPANSION_MAX;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use lint::walk;
pub use lint::{FORMATS, SCHEMA_MAX_BYTES, lint};
pub(crate) use samples::{flattened, samples};

/// The most violations that one answer lists.
pub const VIOLATIONS_MAX: usize = 32;

/// The most memory that one compiled `pattern` may take, and the cache it may use while it runs, in bytes each.
pub const PATTERN_MAX_BYTES: usize = 256 * 1024;

/// The most alternatives of a `const` or an `enum` that a message names.
const ALTERNATIVES_MAX: usize = 12;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
}

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// JSON Pointer into the schema.
    pub pointer: String,
    /// What is wrong there, as a sentence.
    pub reason: String,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}: {}", self.pointer, self.reason)
    }
}

impl std::error::Error for SchemaError {}

/// One way in which a value breaks its schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// JSON Pointer to the part of the value that is wrong.
    pub instance: String,
    /// JSON Pointer to the keyword of the schema that it breaks.
    pub schema: String,
    /// What would be right, as a sentence. Made from the schema alone: the value may be a secret.
    pub message: String,
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// The schema breaks the 2020-12 metaschema, refers to something outside of itself, or has a pattern that does not
    /// compile within [`PATTERN_MAX_BYTES`].
    pub fn compile(document: &Value) -> Result<Schema, SchemaError> {
        let patterns = PatternOptions::regex()
            .size_limit(PATTERN_MAX_BYTES)
            .dfa_size_limit(PATTERN_MAX_BYTES);
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .offline()
            .with_pattern_options(patterns)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(false)
            .build(document)
            .map_err(|error| SchemaError {
                // The metaschema was the schema here: its instance is the document.
                pointer: error.instance_path().as_str().to_owned(),
                reason: error.to_string(),
            })?;
        Ok(Schema { validator })
    }

    /// Whether `value` satisfies the schema.
    pub fn accepts(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }

    /// The first `limit` ways in which `value` breaks the schema, at most [`VIOLATIONS_MAX`]; none if it is valid.
    pub fn violations(&self, value: &Value, limit: usize) -> Vec<Violation> {
        // Most values are valid, and asking that first is several times cheaper than looking for errors.
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        let errors = self.validator.iter_errors(value);
        errors
            .take(limit.min(VIOLATIONS_MAX))
            .map(|error| violation(&error))
            .collect()
    }
}

/// A schema as it was written, compiled when it is first used and kept from then on.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LazySchema {
    document: Value,
    #[serde(skip)]
    compiled: OnceLock<Result<Schema, SchemaError>>,
}

impl LazySchema {
    /// A schema that compiles when it is first needed.
    pub fn new(document: Value) -> LazySchema {
        LazySchema {
            document,
            compiled: OnceLock::new(),
        }
    }

    /// The schema as JSON, as it is published.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// The compiled schema. On the Worker, call this within a request only.
    ///
    /// # Errors
    /// What [`Schema::compile`] says; never for a manifest that passed its check.
    pub fn get(&self) -> Result<&Schema, &SchemaError> {
        self.compiled.get_or_init(|| Schema::compile(&self.document)).as_ref()
    }
}

impl Clone for LazySchema {
    fn clone(&self) -> Self {
        LazySchema::new(self.document.clone())
    }
}

impl PartialEq for LazySchema {
    fn eq(&self, other: &Self) -> bool {
        self.document == other.document
    }
}

fn violation(error: &ValidationError<'_>) -> Violation {
    Violation {
        instance: error.instance_path().as_str().to_owned(),
        schema: error.schema_path().as_str().to_owned(),
        message: message(error.kind()),
    }
}

/// A sentence for every keyword. It names what the schema asks for, which is public, and nothing of the value.
fn message(kind: &ValidationErrorKind) -> String {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::AdditionalItems { limit } => format!("The array must have {} at most.", count(*limit as u64, "item")),
        Kind::AdditionalProperties { .. } | Kind::UnevaluatedProperties { .. } => {
            "The object has properties that the schema does not name.".into()
        }
        Kind::AnyOf { .. } => "The value must match at least one of the alternatives.".into(),
        Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } => {
            "The pattern could not be applied to this string.".into()
        }
        Kind::Constant { expected_value } => format!("The value must be {expected_value}."),
        Kind::Contains => "The array must contain as many matching items as the schema asks for.".into(),
        Kind::ContentEncoding { content_encoding } => format!("The string must be encoded as {content_encoding}."),
        Kind::ContentMediaType { content_media_type } => format!("The string must hold {content_media_type}."),
        Kind::Custom { .. } => "The value does not match.".into(),
        Kind::Enum { options } => format!("The value must be {}.", alternatives(options)),
        Kind::ExclusiveMaximum { limit } => format!("The number must be less than {limit}."),
        Kind::ExclusiveMinimum { limit } => format!("The number must be greater than {limit}."),
        Kind::FalseSchema => "No value is allowed here.".into(),
        Kind::Format { format } => format!("The string must have the format {format}."),
        Kind::FromUtf8 { .. } => "The decoded content must be UTF-8.".into(),
        Kind::MaxItems { limit } => format!("The array must have {} at most.", count(*limit, "item")),
        Kind::Maximum { limit } => format!("The number must be {limit} at most."),
        Kind::MaxLength { limit } => format!("The string must have {} at most.", count(*limit, "character")),
        Kind::MaxProperties { limit } => format!("The object must have {} at most.", count(*limit, "property")),
        Kind::MinItems { limit } => format!("The array must have {} at least.", count(*limit, "item")),
        Kind::Minimum { limit } => format!("The number must be {limit} at least."),
        Kind::MinLength { limit } => format!("The string must have {} at least.", count(*limit, "character")),
        Kind::MinProperties { limit } => format!("The object must have {} at least.", count(*limit, "property")),
        Kind::MultipleOf { multiple_of } => format!("The number must be a multiple of {multiple_of}."),
        Kind::Not { .. } => "The value matches what the schema excludes.".into(),
        Kind::OneOfMultipleValid { .. } => "The value matches several alternatives where one is allowed.".into(),
        Kind::OneOfNotValid { .. } => "The value must match exactly one of the alternatives.".into(),
        Kind::Pattern { pattern } => format!("The string must match the pattern {pattern}"),
        Kind::PropertyNames { .. } => "The object has a property name that the schema does not allow.".into(),
        Kind::Required { property } => format!("The property {property} is required."),
        Kind::Type { kind } => format!("The value must be {}.", types(kind)),
        Kind::UnevaluatedItems { .. } => "The array has items that the schema does not describe.".into(),
        Kind::UniqueItems => "The items of the array must differ from each other.".into(),
        Kind::Referencing(_) => "The schema refers to something that does not exist.".into(),
    }
}

fn count(limit: u64, noun: &str) -> String {
    match (limit, noun) {
        (1, _) => format!("1 {noun}"),
        (_, "property") => format!("{limit} properties"),
        _ => format!("{limit} {noun}s"),
    }
}

fn types(kind: &TypeKind) -> String {
    let with_article = |name: &str| match name {
        "null" => "null".to_owned(),
        "integer" | "array" | "object" => format!("an {name}"),
        _ => format!("a {name}"),
    };
    match kind {
        TypeKind::Single(single) => with_article(single.as_str()),
        TypeKind::Multiple(several) => {
            let names: Vec<_> = several.iter().map(|name| with_article(name.as_str())).collect();
            names.join(" or ")
        }
    }
}

fn alternatives(options: &Value) -> String {
    let all = options.as_array().map(Vec::as_slice).unwrap_or_default();
    let named: Vec<_> = all.iter().take(ALTERNATIVES_MAX).map(Value::to_string).collect();
    match all.len().checked_sub(ALTERNATIVES_MAX) {
        Some(more @ 1..) => format!("one of {} or {more} more", named.join(", ")),
        _ => format!("one of {}", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: Value, value: Value, expected: &[(&str, &str, &str)]) {
        let compiled = Schema::compile(&schema).unwrap();
        let got = compiled.violations(&value, VIOLATIONS_MAX);
        let got: Vec<_> = got
            .iter()
            .map(|v| (v.instance.as_str(), v.schema.as_str(), v.message.as_str()))
            .collect();
        assert_eq!(got, expected, "{schema} on {value}");
        assert_eq!(compiled.accepts(&value), expected.is_empty());
    }

    #[test]
    fn every_violation_names_both_places() {
        let schema = json!({
            "type": "object",
            "properties": {
                "text": {"type": "string", "minLength": 1},
                "n": {"type": ["integer", "null"], "maximum": 5},
                "kind": {"enum": ["a", "b"]},
                "mail": {"type": "string", "format": "email"}
            },
            "required": ["text", "who"],
            "additionalProperties": false
        });
        check(
            schema.clone(),
            json!({"text": "x", "who": 1}),
            &[(
                "",
                "/additionalProperties",
                "The object has properties that the schema does not name.",
            )],
        );
        check(
            schema,
            json!({"text": "", "n": 7, "kind": "c", "mail": "secret"}),
            &[
                ("", "/required", "The property \"who\" is required."),
                (
                    "/text",
                    "/properties/text/minLength",
                    "The string must have 1 character at least.",
                ),
                ("/n", "/properties/n/maximum", "The number must be 5 at most."),
                (
                    "/kind",
                    "/properties/kind/enum",
                    "The value must be one of \"a\", \"b\".",
                ),
                (
                    "/mail",
                    "/properties/mail/format",
                    "The string must have the format email.",
                ),
            ],
        );
        check(
            json!({"type": "integer"}),
            json!("x"),
            &[("", "/type", "The value must be an integer.")],
        );
    }

    #[test]
    fn violations_are_bounded() {
        let schema = Schema::compile(&json!({"items": {"type": "string"}})).unwrap();
        let bad = Value::Array(vec![json!(1); 100_000]);
        assert_eq!(schema.violations(&bad, usize::MAX).len(), VIOLATIONS_MAX);
        assert_eq!(schema.violations(&bad, 2).len(), 2);
    }

    #[test]
    fn references_follow_definitions() {
        let schema = json!({"$defs": {"W": {"type": "string"}}, "items": {"$ref": "#/$defs/W"}});
        check(
            schema,
            json!(["a", 1]),
            &[("/1", "/$defs/W/type", "The value must be a string.")],
        );
    }

    #[test]
    fn a_schema_that_is_wrong_does_not_compile() {
        for wrong in [
            json!({"type": "text"}),
            json!({"$ref": "https://example.com/schema.json"}),
            json!({"$ref": "#/$defs/missing"}),
            json!({"pattern": "("}),
            json!({"pattern": "(?=look)"}),
            json!({"pattern": "(a{500}){500}"}),
        ] {
            assert!(Schema::compile(&wrong).is_err(), "{wrong}");
        }
    }
}
