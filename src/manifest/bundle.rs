//! Makes a schema self-contained: definitions that it shares with others by `$ref` to a file move into its own `$defs`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use super::{JSON_DEPTH_MAX, MANIFEST_MAX_BYTES};
use crate::json::{self, escape_token};
use crate::schema::walk;

/// The files of definitions that schemas of one folder refer to.
pub(super) struct Definitions {
    root: PathBuf,
    files: BTreeMap<PathBuf, Result<Value, String>>,
}

/// What is wrong, and where in the schema.
pub(super) type Problem = (String, String);

impl Definitions {
    pub(super) fn new(root: &Path) -> Self {
        Definitions {
            root: root.to_owned(),
            files: BTreeMap::new(),
        }
    }

    /// Copies every definition that `schema`, which stands in a manifest at the root of the folder, takes from a file
    /// into its `$defs`, and those that they refer to in turn.
    pub(super) fn bundle(&mut self, schema: &mut Value) -> Vec<Problem> {
        let own = schema.get("$defs").and_then(Value::as_object).cloned();
        let mut bundle = Bundle {
            definitions: self,
            named: BTreeMap::new(),
            defs: own.unwrap_or_default(),
            problems: Vec::new(),
        };
        bundle.resolve(schema, None, "");
        let Bundle {
            defs, problems, named, ..
        } = bundle;
        if let (false, Some(object)) = (named.is_empty(), schema.as_object_mut()) {
            // The schema's own definitions may have been rewritten in place: they win over the copies made before.
            let mut all = defs;
            if let Some(own) = object.get("$defs").and_then(Value::as_object) {
                all.extend(own.clone());
            }
            object.insert("$defs".to_owned(), Value::Object(all));
        }
        problems
    }

    fn file(&mut self, path: &Path) -> Result<&Value, String> {
        let full = self.root.join(path);
        let read = || {
            let bytes = std::fs::read(&full).map_err(|error| format!("cannot be read: {error}"))?;
            if bytes.len() > MANIFEST_MAX_BYTES {
                return Err(format!("has {} bytes; the limit is {MANIFEST_MAX_BYTES}", bytes.len()));
            }
            json::parse_strict(&bytes, JSON_DEPTH_MAX).map_err(|error| error.to_string())
        };
        let file = self.files.entry(path.to_owned()).or_insert_with(read);
        file.as_ref().map_err(|reason| format!("{}: {reason}", path.display()))
    }
}

/// One schema on its way to be self-contained.
struct Bundle<'d> {
    definitions: &'d mut Definitions,
    /// The name in `$defs` of each definition taken from a file, by file and pointer.
    named: BTreeMap<(PathBuf, String), String>,
    defs: Map<String, Value>,
    problems: Vec<Problem>,
}

impl Bundle<'_> {
    /// Rewrites the references of `schema`, which was written in `file` (none for the manifest itself). `shown` is where
    /// problems are reported: the place of the reference that led here.
    fn resolve(&mut self, schema: &mut Value, file: Option<&Path>, shown: &str) {
        let mut references = Vec::new();
        walk(schema, "", &mut |object, at| {
            if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
                references.push((format!("{at}/$ref"), reference.to_owned()));
            }
        });
        for (at, reference) in references {
            // A reference to another host and one within the manifest's own schema stay: the lint judges them.
            if reference.contains("://") || (file.is_none() && reference.starts_with('#')) {
                continue;
            }
            let shown = if file.is_some() { shown } else { &at };
            match self.name(&reference, file, shown) {
                Ok(name) => {
                    if let Some(slot) = schema.pointer_mut(&at) {
                        *slot = Value::String(format!("#/$defs/{}", escape_token(&name)));
                    }
                }
                Err(reason) => self.problems.push((shown.to_owned(), reason)),
            }
        }
    }

    /// The name in `$defs` of what `reference` points to, copied there if it is new.
    fn name(&mut self, reference: &str, file: Option<&Path>, shown: &str) -> Result<String, String> {
        let (path, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let path = match (path, file) {
            ("", Some(file)) => file.to_owned(),
            _ => within(file.and_then(Path::parent).unwrap_or(Path::new("")), path)?,
        };
        let key = (path.clone(), pointer.to_owned());
        if let Some(name) = self.named.get(&key) {
            return Ok(name.clone());
        }
        let document = self.definitions.file(&path)?;
        let target = document.pointer(pointer);
        let mut definition = target.cloned().ok_or_else(|| format!("nothing is at `{reference}`"))?;
        let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let last = pointer.rsplit('/').next().filter(|token| !token.is_empty());
        let wanted = last
            .map(str::to_owned)
            .or_else(stem)
            .unwrap_or_else(|| "Definition".to_owned());
        let name = self.free_name(&wanted);
        // Named before it is resolved, so that a definition may refer to itself.
        self.named.insert(key, name.clone());
        self.defs.insert(name.clone(), Value::Null);
        if pointer.is_empty() {
            // A whole file as a definition: what it defines for itself is reached by name, one by one.
            if let Some(object) = definition.as_object_mut() {
                object.shift_remove("$defs");
                object.shift_remove("$schema");
            }
        }
        self.resolve(&mut definition, Some(&path), shown);
        self.defs.insert(name.clone(), definition);
        Ok(name)
    }

    fn free_name(&self, wanted: &str) -> String {
        let numbered = (2..).map(|number| format!("{wanted}{number}"));
        let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
        names.find(|name| !self.defs.contains_key(name)).unwrap_or_default()
    }
}

/// `path`, written in a file of `folder`, relative to the root; refused when it leads out of it.
fn within(folder: &Path, path: &str) -> Result<PathBuf, String> {
    let mut whole = PathBuf::new();
    for component in folder.join(path).components() {
        let inside = match component {
            Component::Normal(name) => {
                whole.push(name);
                true
            }
            Component::CurDir => true,
            Component::ParentDir => whole.pop(),
            Component::RootDir | Component::Prefix(_) => false,
        };
        if !inside {
            return Err(format!("`{path}` leads out of the folder of the manifests"));
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definitions() -> Definitions {
        let mut definitions = Definitions::new(Path::new("/nowhere"));
        let shared = json!({"$defs": {
            "Word": {"type": "string"},
            "Words": {"type": "array", "items": {"$ref": "#/$defs/Word"}},
            "Tree": {"properties": {"child": {"$ref": "#/$defs/Tree"}}},
            "Other": {"$ref": "more/other.json"},
            "Up": {"$ref": "../../secrets.json"}
        }});
        let other = json!({"$defs": {"Word": {"type": "integer"}}, "items": {"$ref": "#/$defs/Word"}});
        let back = json!({"$ref": "../defs.json#/$defs/Word"});
        for (path, document) in [
            ("shared/defs.json", shared),
            ("shared/more/other.json", other),
            ("shared/more/back.json", back),
        ] {
            definitions.files.insert(path.into(), Ok(document));
        }
        definitions
    }

    fn check(mut schema: Value, expected: Value, problems: &[(&str, &str)]) {
        let found = definitions().bundle(&mut schema);
        assert_eq!(schema, expected);
        let found: Vec<_> = found
            .iter()
            .map(|(at, reason)| (at.as_str(), reason.as_str()))
            .collect();
        assert_eq!(found, problems);
    }

    #[test]
    fn definitions_move_in_with_what_they_need() {
        check(
            json!({"properties": {"a": {"$ref": "shared/defs.json#/$defs/Words"}, "b": {"$ref": "./shared/defs.json#/$defs/Word"}}}),
            json!({
                "properties": {"a": {"$ref": "#/$defs/Words"}, "b": {"$ref": "#/$defs/Word"}},
                "$defs": {"Words": {"type": "array", "items": {"$ref": "#/$defs/Word"}}, "Word": {"type": "string"}}
            }),
            &[],
        );
        check(
            json!({"$ref": "shared/defs.json#/$defs/Tree"}),
            json!({"$ref": "#/$defs/Tree", "$defs": {"Tree": {"properties": {"child": {"$ref": "#/$defs/Tree"}}}}}),
            &[],
        );
        let own = json!({"$ref": "#/$defs/Mine", "$defs": {"Mine": {"type": "null"}}});
        check(own.clone(), own, &[]);
    }

    #[test]
    fn names_that_collide_are_numbered() {
        check(
            json!({
                "$defs": {"Word": {"const": 1}, "Mine": {"$ref": "shared/defs.json#/$defs/Word"}},
                "items": {"$ref": "shared/more/other.json"},
                "contains": {"$ref": "shared/more/back.json"}
            }),
            json!({
                "$defs": {
                    "Word": {"const": 1},
                    "Mine": {"$ref": "#/$defs/Word2"},
                    "other": {"items": {"$ref": "#/$defs/Word3"}},
                    "Word3": {"type": "integer"},
                    "back": {"$ref": "#/$defs/Word2"},
                    "Word2": {"type": "string"}
                },
                "items": {"$ref": "#/$defs/other"},
                "contains": {"$ref": "#/$defs/back"}
            }),
            &[],
        );
    }

    #[test]
    fn paths_stay_inside() {
        for path in ["../x.json", "/etc/x.json", "a/../../x.json"] {
            assert!(within(Path::new(""), path).is_err(), "{path}");
        }
        let outside = json!({"not": {"$ref": "shared/defs.json#/$defs/Up"}});
        let mut schema = outside;
        let found = definitions().bundle(&mut schema);
        assert_eq!(
            found,
            [(
                "/not/$ref".to_owned(),
                "`../../secrets.json` leads out of the folder of the manifests".to_owned()
            )]
        );
        let mut schema = json!({"$ref": "shared/defs.json#/$defs/Nothing"});
        assert_eq!(definitions().bundle(&mut schema).len(), 1);
        let mut schema = json!({"$ref": "none.json"});
        assert!(definitions().bundle(&mut schema)[0].1.contains("cannot be read"));
    }
}
