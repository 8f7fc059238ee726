//! Values that a schema accepts, chosen where a type written by hand may refuse them: each alternative, each bound, each
//! optional property left out, and a property that nobody named.
//!
//! They are made from the schema's keywords and from examples, then held against the schema itself: what is not valid is
//! dropped. So a keyword that is not understood here costs samples, and never makes a wrong one.

use serde_json::{Map, Value, json};

use super::Schema;

/// The most samples of one schema, or of one part of it.
const SAMPLES_MAX: usize = 512;
/// How deep parts are followed; a schema may contain itself.
const DEPTH_MAX: usize = 8;
/// The longest string that is tried, in characters.
const STRING_MAX_CHARS: u64 = 64;
/// The largest integer that every JSON reader knows exactly (RFC 8259 section 6): tried where there is no bound.
const INTEGER_MAX: i64 = (1 << 53) - 1;
/// A property that no schema names.
const UNNAMED: &str = "x-unnamed";

/// Samples of what `document` accepts, the examples among them. The same arguments give the same samples.
pub(crate) fn samples(document: &Value, examples: &[&Value]) -> Vec<Value> {
    let Ok(schema) = Schema::compile(document) else {
        return Vec::new();
    };
    let mut samples = candidates(document, document, examples, 0);
    samples.retain(|sample| schema.accepts(sample));
    samples
}

/// Values for one part of the document, of which some may not be valid; the examples come first.
fn candidates(document: &Value, part: &Value, examples: &[&Value], depth: usize) -> Vec<Value> {
    let mut found: Vec<Value> = examples.iter().map(|example| (*example).clone()).collect();
    if depth <= DEPTH_MAX {
        for flat in flatten(document, part, depth) {
            found.extend(of_keywords(document, &flat, examples, depth));
        }
    }
    distinct(found)
}

fn distinct(values: Vec<Value>) -> Vec<Value> {
    let mut kept = Vec::new();
    for value in values {
        if kept.len() < SAMPLES_MAX && !kept.contains(&value) {
            kept.push(value);
        }
    }
    kept
}

/// A part of the document with its references followed and its `allOf` joined: once for each alternative that it has.
pub(crate) fn flattened(document: &Value, part: &Value) -> Vec<Map<String, Value>> {
    flatten(document, part, 0)
}

fn flatten(document: &Value, part: &Value, depth: usize) -> Vec<Map<String, Value>> {
    let mut flat = match part {
        Value::Object(part) => vec![part.clone()],
        Value::Bool(true) => vec![Map::new()],
        _ => return Vec::new(),
    };
    if depth > DEPTH_MAX {
        return flat;
    }
    let expand = |part: &Value| flatten(document, part, depth + 1);
    let target = part["$ref"]
        .as_str()
        .and_then(|reference| document.pointer(reference.strip_prefix('#')?));
    let all = part["allOf"].as_array().into_iter().flatten();
    for more in target.into_iter().chain(all) {
        flat = joined(&flat, &expand(more));
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(list) = part[keyword].as_array() {
            let branches: Vec<_> = list.iter().flat_map(expand).collect();
            flat = joined(&flat, &branches);
        }
    }
    if let Some(condition) = part.get("if") {
        let branch = |keyword: &str| part.get(keyword).map_or_else(|| vec![Map::new()], expand);
        let met = joined(&flat, &joined(&expand(condition), &branch("then")));
        let unmet = joined(&flat, &branch("else"));
        flat = [met, unmet].concat();
    }
    flat
}

fn joined(some: &[Map<String, Value>], others: &[Map<String, Value>]) -> Vec<Map<String, Value>> {
    let pairs = some.iter().flat_map(|one| others.iter().map(move |other| (one, other)));
    pairs
        .take(SAMPLES_MAX)
        .map(|(one, other)| {
            let mut both = one.clone();
            for (keyword, value) in other {
                match (both.get_mut(keyword), value) {
                    (Some(Value::Object(own)), Value::Object(more)) => own.extend(more.clone()),
                    (Some(Value::Array(own)), Value::Array(more)) if keyword == "required" => own.extend(more.clone()),
                    _ => {
                        both.insert(keyword.clone(), value.clone());
                    }
                }
            }
            both
        })
        .collect()
}

fn of_keywords(document: &Value, part: &Map<String, Value>, examples: &[&Value], depth: usize) -> Vec<Value> {
    if let Some(only) = part.get("const") {
        return vec![only.clone()];
    }
    if let Some(Value::Array(all)) = part.get("enum") {
        return all.clone();
    }
    let types: Vec<&str> = match part.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => vec!["object", "array", "string", "integer", "number", "boolean", "null"],
    };
    let mut found = Vec::new();
    found.extend(part.get("default").cloned());
    found.extend(
        part.get("examples")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .cloned(),
    );
    for name in types {
        match name {
            "null" => found.push(Value::Null),
            "boolean" => found.extend([json!(true), json!(false)]),
            "integer" => found.extend(numbers(part, false)),
            "number" => found.extend(numbers(part, true)),
            "string" => found.extend(strings(part)),
            // What says nothing of its parts has too many of them.
            "array" if !has(part, &["items", "prefixItems", "minItems"]) => found.extend([json!([]), json!([1])]),
            "object" if !has(part, &["properties", "required", "additionalProperties"]) => {
                found.extend([json!({}), json!({ UNNAMED: 1 })]);
            }
            "array" => found.extend(arrays(document, part, examples, depth)),
            "object" => found.extend(objects(document, part, examples, depth)),
            _ => {}
        }
    }
    found
}

fn has(part: &Map<String, Value>, keywords: &[&str]) -> bool {
    keywords.iter().any(|keyword| part.contains_key(*keyword))
}

/// The bounds, what is next to them, and what every reader of JSON numbers knows.
fn numbers(part: &Map<String, Value>, fractions: bool) -> Vec<Value> {
    let mut found = vec![json!(1), json!(0), json!(-1)];
    for keyword in [
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
    ] {
        let Some(bound) = part.get(keyword) else { continue };
        found.push(bound.clone());
        if let Some(bound) = bound.as_i64() {
            found.extend([json!(bound.saturating_add(1)), json!(bound.saturating_sub(1))]);
        }
    }
    found.extend([json!(INTEGER_MAX), json!(-INTEGER_MAX)]);
    // JSON has one kind of number: 1.0 is an integer, too.
    found.push(json!(1.0));
    if fractions {
        found.extend([json!(0.5), json!(-0.5), json!(1e300)]);
    }
    found
}

fn strings(part: &Map<String, Value>) -> Vec<Value> {
    let length = |keyword: &str| part.get(keyword).and_then(Value::as_u64);
    let (shortest, longest) = (
        length("minLength").unwrap_or(0),
        length("maxLength").unwrap_or(STRING_MAX_CHARS),
    );
    let of = |chars: u64| "ä".repeat(usize::try_from(chars.min(STRING_MAX_CHARS)).unwrap_or(0));
    let mut found = vec![of(shortest.max(1)), of(shortest), of(longest)];
    let formatted = part.get("format").and_then(Value::as_str).map(|format| match format {
        "date" => "2024-02-29",
        "date-time" => "2024-02-29T12:00:00.5+01:00",
        "duration" => "P1DT2H",
        "email" => "ada@example.com",
        "hostname" => "host.example.com",
        "ipv4" => "192.0.2.1",
        "ipv6" => "2001:db8::1",
        "json-pointer" => "/a~1b/0",
        "time" => "12:00:00Z",
        "uri" => "https://example.com/a?b=c",
        "uri-reference" => "../a",
        "uuid" => "123e4567-e89b-12d3-a456-426614174000",
        _ => "",
    });
    found.extend(formatted.map(str::to_owned));
    found.into_iter().map(Value::String).collect()
}

fn arrays(document: &Value, part: &Map<String, Value>, examples: &[&Value], depth: usize) -> Vec<Value> {
    let of_examples: Vec<&Value> = examples
        .iter()
        .filter_map(|example| example.as_array())
        .flatten()
        .collect();
    let any = Value::Bool(true);
    let items = candidates(document, part.get("items").unwrap_or(&any), &of_examples, depth + 1);
    let prefix: Vec<Value> = part
        .get("prefixItems")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|item| candidates(document, item, &[], depth + 1).into_iter().next())
        .collect();
    let count = |keyword: &str, otherwise: usize| {
        let set = part.get(keyword).and_then(Value::as_u64);
        set.map_or(otherwise, |count| usize::try_from(count).unwrap_or(otherwise))
    };
    let least = count("minItems", 0).saturating_sub(prefix.len());
    let most = count("maxItems", SAMPLES_MAX)
        .min(SAMPLES_MAX)
        .saturating_sub(prefix.len());
    let mut rests: Vec<Vec<Value>> = vec![Vec::new(), items.iter().take(most).cloned().collect()];
    // Each item once, with others beside it where one is too few.
    rests.extend((0..items.len()).map(|at| items.iter().cycle().skip(at).take(least.max(1)).cloned().collect()));
    rests
        .into_iter()
        .map(|rest| Value::Array([prefix.clone(), rest].concat()))
        .collect()
}

fn objects(document: &Value, part: &Map<String, Value>, examples: &[&Value], depth: usize) -> Vec<Value> {
    let none = Map::new();
    let properties = part.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let values: Vec<(&String, Vec<Value>)> = properties
        .iter()
        .map(|(name, property)| {
            let of_examples: Vec<&Value> = examples.iter().filter_map(|example| example.get(name)).collect();
            (name, candidates(document, property, &of_examples, depth + 1))
        })
        .collect();
    let all: Map<String, Value> = values
        .iter()
        .filter_map(|(name, values)| Some(((*name).clone(), values.first()?.clone())))
        .collect();
    let required: Vec<&str> = part
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut needed = all.clone();
    needed.retain(|name, _| required.contains(&name.as_str()));

    let mut found = vec![needed];
    let unnamed = part.get("additionalProperties").unwrap_or(&Value::Bool(true));
    let unnamed = candidates(document, unnamed, &[], depth + 1).into_iter().next();
    let examples = examples.iter().filter_map(|example| example.as_object());
    for whole in examples.chain([&all]) {
        let with = |name: &str, value: &Value| {
            let mut changed = whole.clone();
            changed.insert(name.to_owned(), value.clone());
            changed
        };
        found.push(whole.clone());
        found.extend(unnamed.as_ref().map(|value| with(UNNAMED, value)));
        for (name, values) in &values {
            let mut without = whole.clone();
            without.shift_remove(*name);
            found.push(without);
            found.extend(values.iter().map(|value| with(name, value)));
        }
    }
    found.into_iter().map(Value::Object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails unless these are among the samples, and those are not.
    fn check(schema: Value, present: &[Value], absent: &[Value]) {
        let found = samples(&schema, &[]);
        for value in present {
            assert!(found.contains(value), "{schema}: no {value} in {found:?}");
        }
        for value in absent {
            assert!(!found.contains(value), "{schema}: {value} in {found:?}");
        }
    }

    #[test]
    fn plain_values() {
        check(
            json!({"enum": ["a", "b", null]}),
            &[json!("a"), json!("b"), json!(null)],
            &[],
        );
        check(json!({"type": "boolean"}), &[json!(true), json!(false)], &[json!(null)]);
        check(
            json!({"type": "integer", "minimum": 3, "maximum": 9}),
            &[json!(3), json!(9), json!(4)],
            &[json!(2), json!(10), json!(1.0)],
        );
        check(
            json!({"type": "integer"}),
            &[json!(INTEGER_MAX), json!(1.0)],
            &[json!(0.5)],
        );
        check(
            json!({"type": ["number", "null"]}),
            &[json!(0.5), json!(null)],
            &[json!("ä")],
        );
        check(
            json!({"type": "string", "minLength": 2, "maxLength": 3}),
            &[json!("ää"), json!("äää")],
            &[json!("")],
        );
        check(
            json!({"type": "string", "pattern": "^a+$", "examples": ["aa"]}),
            &[json!("aa")],
            &[json!("ä")],
        );
        for format in crate::schema::FORMATS {
            assert_ne!(
                samples(&json!({"type": "string", "format": format}), &[]),
                [Value::Null; 0],
                "{format}"
            );
        }
    }

    #[test]
    fn objects_and_arrays() {
        let schema =
            json!({"type": "object", "required": ["a"], "properties": {"a": {"const": 1}, "b": {"type": "boolean"}}});
        let unnamed = json!({"a": 1, "b": true, UNNAMED: {}});
        check(
            schema.clone(),
            &[json!({"a": 1}), json!({"a": 1, "b": false}), unnamed.clone()],
            &[json!({"b": true})],
        );
        let mut closed = schema;
        closed["additionalProperties"] = json!(false);
        check(closed, &[json!({"a": 1})], &[unnamed]);
        let list = json!({"type": "array", "items": {"enum": [1, 2]}, "minItems": 2, "uniqueItems": true});
        check(list, &[json!([1, 2]), json!([2, 1])], &[json!([]), json!([1, 1])]);
        check(
            json!({"type": "array", "prefixItems": [{"const": "x"}], "items": {"const": 1}}),
            &[json!(["x"]), json!(["x", 1])],
            &[],
        );
    }

    #[test]
    fn alternatives_references_and_examples() {
        let schema = json!({
            "$defs": {"Name": {"type": "string", "minLength": 1}},
            "type": "object", "properties": {"name": {"$ref": "#/$defs/Name"}},
            "oneOf": [{"required": ["name"]}, {"required": ["id"], "properties": {"id": {"type": "null"}, "name": false}}],
        });
        check(schema, &[json!({"name": "ä"}), json!({"id": null})], &[json!({})]);
        let both = json!({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}], "type": "object"});
        check(both, &[json!({"a": 1, "b": 2})], &[]);
        let if_then = json!({"type": "object", "if": {"properties": {"a": {"const": 1}}, "required": ["a"]}, "then": {"properties": {"b": {"const": 2}}, "required": ["b"]}});
        check(if_then, &[json!({}), json!({"a": 1, "b": 2})], &[json!({"a": 1})]);
        let itself = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        check(itself, &[json!({}), json!({"next": {}})], &[]);

        // What cannot be made is taken from the examples, and changed from there.
        let schema = json!({"type": "object", "required": ["code", "n"], "properties": {"code": {"type": "string", "pattern": "^[A-Z]{2}-\\d$"}, "n": {"enum": [1, 2]}}});
        let example = json!({"code": "AB-1", "n": 1});
        let found = samples(&schema, &[&example]);
        assert!(found.contains(&json!({"code": "AB-1", "n": 2})), "{found:?}");
        check(schema, &[], &[example]);
    }
}
