//! One environment of a `wrangler.toml`, with wrangler's rules for what it takes over from above.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Keys of an environment that hold no binding, though they have tables in them.
const NO_BINDINGS: [&str; 5] = ["env", "vars", "migrations", "routes", "build"];

/// One environment of a wrangler configuration.
#[derive(Debug, Clone, Copy)]
pub struct Deployment<'a> {
    /// How the file is called in findings.
    pub file: &'a str,
    /// The environment.
    pub name: &'a str,
    top: &'a Map<String, Value>,
    own: &'a Map<String, Value>,
}

/// A binding: the key of its kind (`d1_databases`, `durable_objects.bindings`), its name, and its table.
#[derive(Debug, Clone)]
pub struct Binding<'a> {
    /// The key under which wrangler has the kind.
    pub kind: String,
    /// The name under which the Worker has it.
    pub name: &'a str,
    /// All that is said about it.
    pub table: &'a Map<String, Value>,
}

/// Reads a wrangler configuration.
///
/// # Errors
/// Where and why the text is no TOML.
pub fn read(text: &str) -> Result<Map<String, Value>, String> {
    toml::from_str(text).map_err(|error| error.to_string())
}

/// The environments that a configuration has, by name.
pub fn environments(config: &Map<String, Value>) -> Vec<&str> {
    let all = config.get("env").and_then(Value::as_object);
    all.into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

impl<'a> Deployment<'a> {
    /// The environment of that name.
    pub fn of(file: &'a str, config: &'a Map<String, Value>, name: &'a str) -> Option<Self> {
        let own = config.get("env")?.get(name)?.as_object()?;
        Some(Self {
            file,
            name,
            top: config,
            own,
        })
    }

    /// A place in it, for a finding.
    pub fn at(&self, place: &str) -> String {
        format!("{} env.{}.{place}", self.file, self.name)
    }

    /// What the environment itself says under a key.
    pub fn own(&self, key: &str) -> Option<&'a Value> {
        self.own.get(key)
    }

    /// What stands above the environments under a key.
    pub fn above(&self, key: &str) -> Option<&'a Value> {
        self.top.get(key)
    }

    /// What counts under a key that environments inherit, such as `migrations`, `routes` or `triggers`.
    pub fn inherited(&self, key: &str) -> Option<&'a Value> {
        self.own(key).or_else(|| self.above(key))
    }

    /// A variable that is text. Variables are not inherited.
    pub fn variable(&self, name: &str) -> Option<&'a str> {
        self.own("vars")?.get(name)?.as_str()
    }

    /// The bindings that the environment has. None is inherited.
    pub fn bindings(&self) -> Vec<Binding<'a>> {
        bindings_of(self.own)
    }

    /// The bindings that stand above the environments.
    pub fn bindings_above(&self) -> Vec<Binding<'a>> {
        bindings_of(self.top)
    }

    /// The other environments.
    pub fn siblings(&self) -> impl Iterator<Item = Deployment<'a>> {
        let (this, top) = (*self, self.top);
        environments(top)
            .into_iter()
            .filter(move |name| *name != this.name)
            .filter_map(move |name| Deployment::of(this.file, top, name))
    }
}

/// Every table that names a binding, whatever its kind: new kinds come with wrangler, and need nothing here.
fn bindings_of(section: &Map<String, Value>) -> Vec<Binding<'_>> {
    let mut found = Vec::new();
    for (key, value) in section {
        if !NO_BINDINGS.contains(&key.as_str()) {
            collect(key, value, &mut found);
        }
    }
    let mut seen = BTreeSet::new();
    found.retain(|binding| seen.insert((binding.kind.clone(), binding.name)));
    found
}

fn collect<'a>(kind: &str, value: &'a Value, found: &mut Vec<Binding<'a>>) {
    match value {
        Value::Array(tables) => tables.iter().for_each(|table| collect(kind, table, found)),
        Value::Object(table) => {
            // Durable Objects have the binding under `name`.
            let name = ["binding", "name"].iter().find_map(|key| table.get(*key)?.as_str());
            if let Some(name) = name {
                found.push(Binding {
                    kind: kind.to_owned(),
                    name,
                    table,
                });
            } else {
                for (key, inner) in table {
                    collect(&format!("{kind}.{key}"), inner, found);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = r#"
name = "baton"
workers_dev = true
[vars]
A = "above"
[ai]
binding = "AI"
[[durable_objects.bindings]]
name = "RUNS"
class_name = "RunObject"
[[queues.producers]]
queue = "q"
binding = "QUEUE"
[[migrations]]
tag = "v1"
[env.staging]
name = "baton-staging"
[[env.staging.d1_databases]]
binding = "HISTORY"
[env.staging.vars]
A = "own"
N = 1
[env.production]
"#;

    #[test]
    fn what_an_environment_has() {
        let config = read(TOML).expect("TOML");
        assert_eq!(environments(&config), ["production", "staging"]);
        assert!(Deployment::of("w", &config, "nowhere").is_none());
        let staging = Deployment::of("w", &config, "staging").expect("there");
        assert_eq!(staging.at("vars.A"), "w env.staging.vars.A");
        assert_eq!(staging.variable("A"), Some("own"));
        assert_eq!(staging.variable("N"), None);
        assert_eq!(staging.inherited("name").and_then(Value::as_str), Some("baton-staging"));
        assert_eq!(staging.inherited("workers_dev"), Some(&Value::Bool(true)));
        let names = |bindings: Vec<Binding<'_>>| -> Vec<String> {
            let name = |binding: &Binding<'_>| format!("{} {}", binding.kind, binding.name);
            bindings.iter().map(name).collect()
        };
        assert_eq!(names(staging.bindings()), ["d1_databases HISTORY"]);
        let mut above = names(staging.bindings_above());
        above.sort();
        assert_eq!(
            above,
            ["ai AI", "durable_objects.bindings RUNS", "queues.producers QUEUE"]
        );
        assert_eq!(
            staging.siblings().map(|other| other.name).collect::<Vec<_>>(),
            ["production"]
        );
        assert!(read("name = ").is_err());
    }
}
