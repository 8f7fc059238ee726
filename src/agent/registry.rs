//! The agents written in Rust, by name: from JSON to their types and back.

use std::any::Any;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Agent, Context, Failure, LocalBoxFuture, Stop, misconfigured};
use crate::manifest::RustConfig;

/// An agent with its types hidden behind JSON.
trait Erased: Send + Sync {
    /// Why an input cannot be made into the agent's type; nothing where it can.
    #[cfg(not(target_arch = "wasm32"))]
    fn refusal(&self, input: &Value) -> Option<String>;
    fn run<'a>(&'a self, input: &'a Value, context: &'a Context<'a>) -> LocalBoxFuture<'a, Result<Value, Stop>>;
}

impl<A: Agent> Erased for A {
    #[cfg(not(target_arch = "wasm32"))]
    fn refusal(&self, input: &Value) -> Option<String> {
        read::<A::Input>(input).err().map(|error| error.to_string())
    }

    fn run<'a>(&'a self, input: &'a Value, context: &'a Context<'a>) -> LocalBoxFuture<'a, Result<Value, Stop>> {
        Box::pin(async move {
            let typed: A::Input = read(input).map_err(|_| {
                // The error of serde would quote the input.
                let message = "the input is valid for the schema, yet not of the type that the agent takes";
                Failure::terminal("input-not-understood", message)
            })?;
            let output = Agent::run(self, typed, context).await?;
            serde_json::to_value(output).map_err(|_| {
                Failure::terminal("output-not-json", "the agent's answer cannot be written as JSON").into()
            })
        })
    }
}

/// Reads an input into the agent's type. A schema takes 3.0 for an integer, since JSON has one kind of number; serde alone
/// would not.
pub(super) fn read<T: DeserializeOwned>(input: &Value) -> Result<T, serde_json::Error> {
    T::deserialize(input).or_else(|refusal| T::deserialize(whole_numbers(input)).map_err(|_| refusal))
}

/// The same value, where each number without a fraction is written without one.
fn whole_numbers(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(whole_numbers).collect(),
        Value::Object(properties) => {
            let properties = properties.iter();
            properties
                .map(|(name, value)| (name.clone(), whole_numbers(value)))
                .collect()
        }
        Value::Number(number) if number.is_f64() => {
            let text = number.as_f64().map(|number| format!("{number:.0}")).unwrap_or_default();
            let whole = text.parse::<i64>().ok().map(Value::from);
            // Larger ones are no integers of any type of ours.
            whole
                .filter(|whole| whole.as_f64() == number.as_f64())
                .unwrap_or_else(|| value.clone())
        }
        other => other.clone(),
    }
}

type Made = Result<Box<dyn Erased>, String>;

struct Entry {
    name: &'static str,
    make: fn(&Value) -> Made,
}

const fn entry<A: Agent>() -> Entry {
    fn make<A: Agent>(config: &Value) -> Made {
        let config = A::Config::deserialize(config).map_err(|error| error.to_string())?;
        Ok(Box::new(A::new(config)?))
    }
    Entry {
        name: A::NAME,
        make: make::<A>,
    }
}

/// Every agent written in Rust. A new one joins here, and by its name in `manifest::RUST_AGENTS`.
const REGISTRY: &[Entry] = &[
    entry::<super::redact::Redact>(),
    entry::<super::summarize::Summarize>(),
    entry::<super::triage::Triage>(),
    #[cfg(feature = "fixtures")]
    entry::<super::fixtures::BadOutput>(),
    #[cfg(feature = "fixtures")]
    entry::<super::fixtures::Echo>(),
    #[cfg(feature = "fixtures")]
    entry::<super::escalate::Escalate>(),
    #[cfg(feature = "fixtures")]
    entry::<super::fixtures::Fail>(),
    #[cfg(feature = "fixtures")]
    entry::<super::greet::Greet>(),
    #[cfg(feature = "fixtures")]
    entry::<super::fixtures::Panic>(),
    #[cfg(feature = "fixtures")]
    entry::<super::fixtures::Script>(),
    #[cfg(feature = "fixtures")]
    entry::<super::fixtures::Sleep>(),
];

fn make(rust: &RustConfig) -> Made {
    let entry = REGISTRY.iter().find(|entry| entry.name == rust.name);
    let entry = entry.ok_or_else(|| format!("no Rust agent is registered as `{}`", rust.name))?;
    (entry.make)(&rust.config)
}

pub(super) async fn run(rust: &RustConfig, input: &Value, context: &Context<'_>) -> Result<Value, Stop> {
    let instance = rust.instance(|| make(rust).map(|agent| Box::new(agent) as Box<dyn Any + Send + Sync>));
    let instance = instance.map_err(misconfigured)?;
    match instance.downcast_ref::<Box<dyn Erased>>() {
        Some(agent) => agent.run(input, context).await,
        None => Err(misconfigured("its instance is of another type").into()),
    }
}

/// What is wrong with the configuration of a Rust agent, if anything is.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn problem(rust: &RustConfig) -> Option<String> {
    make(rust).err()
}

/// Why the type of a Rust agent refuses this input; nothing where it takes it, or cannot be made at all.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn refusal(rust: &RustConfig, input: &Value) -> Option<String> {
    make(rust).ok()?.refusal(input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::RUST_AGENTS;
    use serde_json::json;

    #[test]
    fn numbers_without_a_fraction() {
        let read = |value: Value| read::<Vec<u64>>(&value).ok();
        assert_eq!(read(json!([1, 3.0, 2e3])), Some(vec![1, 3, 2000]));
        assert_eq!(read(json!([0.5])), None);
        assert_eq!(read(json!([1e300])), None);
        assert_eq!(
            whole_numbers(&json!({"a": [1.0, 0.5, 1e300]})),
            json!({"a": [1, 0.5, 1e300]})
        );
        // Who takes any JSON gets it as it was written.
        assert_eq!(super::read::<Value>(&json!(3.0)).ok(), Some(json!(3.0)));
    }

    #[test]
    fn the_registry_and_the_list_of_names_agree() {
        let mut registered: Vec<_> = REGISTRY.iter().map(|entry| entry.name).collect();
        let mut listed = RUST_AGENTS.to_vec();
        registered.sort_unstable();
        listed.sort_unstable();
        assert_eq!(registered, listed);
    }
}
