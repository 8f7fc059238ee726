//! How much work a schema may cause: the number of subschemas that one path into a value can meet.
//!
//! References are what makes a short schema expensive. In place (`allOf`, `$ref` ...) they multiply within one value; across
//! levels (`properties`, `items` ...) they multiply with its depth, but only where several of them go to the *same* part of
//! the value: a tree with a left and a right child is linear. So the count follows one path at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::SchemaError;
use super::lint::{IN_PLACE, IN_PLACE_LISTS, target, walk};

/// The most subschemas that may be applied along one path into a value of [`DEPTH_CHECKED`] levels. References that
/// double (`allOf` of two references to an `allOf` of two references ...) pass any bound after some 20 lines.
pub const EXPANSION_MAX: u64 = 20_000;

/// How deep a value may nest at most; the gateway refuses deeper JSON before it looks at a schema.
const DEPTH_CHECKED: usize = 64;

/// The schema object of a document, told apart by its address.
type Node<'s> = &'s Value;

pub(super) fn id(node: Node<'_>) -> usize {
    std::ptr::from_ref(node) as usize
}

/// Counts how many subschemas one path into a value can meet.
pub(super) struct Expansion<'s> {
    document: &'s Value,
    /// Per schema: the schemas that apply to the same value, itself included, once for each way to them.
    in_place: HashMap<usize, Vec<Node<'s>>>,
    /// Per schema and remaining levels of the value: the count.
    counted: HashMap<(usize, usize), u64>,
}

impl<'s> Expansion<'s> {
    pub(super) fn check(document: &'s Value) -> Option<SchemaError> {
        let mut expansion = Expansion {
            document,
            in_place: HashMap::new(),
            counted: HashMap::new(),
        };
        let error = |reason: String| SchemaError {
            pointer: String::new(),
            reason,
        };
        // From shallow to deep, so that the recursion of `count` never goes deeper than one level.
        let mut nodes = Vec::new();
        walk(document, "", &mut |schema, _| nodes.push(schema));
        for node in &nodes {
            if let Err(reason) = expansion.expand(node, &mut Vec::new()) {
                return Some(error(reason));
            }
        }
        for levels in 0..DEPTH_CHECKED {
            for node in &nodes {
                expansion.count(node, levels);
            }
        }
        let total = expansion.count(document, DEPTH_CHECKED);
        (total > EXPANSION_MAX).then(|| {
            error(format!(
                "its references multiply: one path into a value could meet more than {EXPANSION_MAX} subschemas; let \
                 fewer alternatives refer to the same definition"
            ))
        })
    }

    /// The schemas that apply to the same value as `node`, in place.
    fn expand(&mut self, node: Node<'s>, open: &mut Vec<usize>) -> Result<Vec<Node<'s>>, String> {
        if let Some(known) = self.in_place.get(&id(node)) {
            return Ok(known.clone());
        }
        if open.contains(&id(node)) {
            return Err("a reference leads back to itself without going into the value".to_owned());
        }
        open.push(id(node));
        let mut all = vec![node];
        for (keyword, value) in node.as_object().into_iter().flatten() {
            let mut next: Vec<Node<'s>> = Vec::new();
            match keyword.as_str() {
                "$ref" => next.extend(value.as_str().and_then(|text| target(self.document, text))),
                "dependentSchemas" => next.extend(value.as_object().into_iter().flat_map(|m| m.values())),
                name if IN_PLACE.contains(&name) => next.push(value),
                name if IN_PLACE_LISTS.contains(&name) => next.extend(value.as_array().into_iter().flatten()),
                _ => {}
            }
            for part in next {
                all.extend(self.expand(part, open)?);
                if all.len() as u64 > EXPANSION_MAX {
                    return Err(format!(
                        "its references multiply: more than {EXPANSION_MAX} subschemas apply to one value"
                    ));
                }
            }
        }
        open.pop();
        self.in_place.insert(id(node), all.clone());
        Ok(all)
    }

    /// How many subschemas the worst path of `levels` levels meets from `node` on.
    fn count(&mut self, node: Node<'s>, levels: usize) -> u64 {
        if let Some(known) = self.counted.get(&(id(node), levels)) {
            return *known;
        }
        let here = self.in_place.get(&id(node)).cloned().unwrap_or_default();
        let mut worst = 0;
        if levels > 0 {
            for place in places(&here) {
                let mut met: u64 = 0;
                for schema in here.iter().flat_map(|schema| place.schemas(schema)) {
                    met = met.saturating_add(self.count(schema, levels - 1));
                }
                worst = worst.max(met);
            }
        }
        let total = worst.saturating_add(here.len() as u64);
        self.counted.insert((id(node), levels), total);
        total
    }
}

/// A part of a value, as far as schemas tell parts apart.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place<'s> {
    Property(&'s str),
    OtherProperty,
    PropertyName,
    Item(usize),
    OtherItem,
}

/// The parts that any of these schemas tells apart.
fn places<'s>(schemas: &[Node<'s>]) -> BTreeSet<Place<'s>> {
    let mut places = BTreeSet::from([Place::OtherProperty, Place::PropertyName, Place::OtherItem]);
    for object in schemas.iter().filter_map(|schema| schema.as_object()) {
        if let Some(properties) = object.get("properties").and_then(Value::as_object) {
            places.extend(properties.keys().map(|name| Place::Property(name)));
        }
        if let Some(items) = object.get("prefixItems").and_then(Value::as_array) {
            places.extend((0..items.len()).map(Place::Item));
        }
    }
    places
}

impl Place<'_> {
    /// The schemas that `schema` applies to this part. Where that depends on the value, all of them.
    fn schemas<'s>(&self, schema: Node<'s>) -> Vec<Node<'s>> {
        let mut found: BTreeMap<usize, Node<'s>> = BTreeMap::new();
        let mut add = |node: Option<&'s Value>| {
            if let Some(node) = node {
                found.insert(id(node), node);
            }
        };
        match self {
            Place::Property(_) | Place::OtherProperty => {
                let named = match self {
                    Place::Property(name) => schema.get("properties").and_then(|all| all.get(name)),
                    _ => None,
                };
                add(named);
                let patterns = schema.get("patternProperties").and_then(Value::as_object);
                patterns
                    .into_iter()
                    .flat_map(|all| all.values())
                    .for_each(|node| add(Some(node)));
                if named.is_none() {
                    add(schema.get("additionalProperties"));
                    add(schema.get("unevaluatedProperties"));
                }
            }
            Place::PropertyName => add(schema.get("propertyNames")),
            Place::Item(_) | Place::OtherItem => {
                let prefixed = match self {
                    Place::Item(index) => schema.get("prefixItems").and_then(|all| all.get(index)),
                    _ => None,
                };
                add(prefixed);
                add(schema.get("contains"));
                if prefixed.is_none() {
                    add(schema.get("items"));
                    add(schema.get("unevaluatedItems"));
                }
            }
        }
        found.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(schema: Value, expected: &str) {
        let reason = Expansion::check(&schema).map_or(String::new(), |error| error.reason);
        assert!(
            reason.contains(expected) && reason.is_empty() == expected.is_empty(),
            "{schema}: {reason}"
        );
    }

    #[test]
    fn recursion_into_the_value_is_fine() {
        check(
            json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}),
            "",
        );
        check(
            json!({"anyOf": [{"items": {"$ref": "#"}}, {"additionalProperties": {"$ref": "#"}}]}),
            "",
        );
    }

    #[test]
    fn work_is_bounded() {
        let mut defs = serde_json::Map::new();
        for level in 0..22 {
            let next = json!({"$ref": format!("#/$defs/L{}", level + 1)});
            defs.insert(format!("L{level}"), json!({"allOf": [next, next]}));
        }
        defs.insert("L22".into(), json!({"type": "string"}));
        check(json!({"$defs": defs, "$ref": "#/$defs/L0"}), "multiply");
        let doubling = json!({"properties": {"x": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}});
        check(doubling, "multiply");
        let overlapping = json!({"properties": {"x": {"$ref": "#"}}, "patternProperties": {"^x": {"$ref": "#"}}});
        check(overlapping, "multiply");
        check(
            json!({"anyOf": [{"type": "string"}, {"$ref": "#"}]}),
            "leads back to itself",
        );
    }
}
