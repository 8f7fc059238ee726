//! `greet`: greets a person in their language, and counts how often. The template for agents in Rust: the page "Write an
//! agent in Rust" shows this file, and it is executed by the tests alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Agent, Context, Failure, Stop};

/// The language of those who name none.
const LANGUAGE: &str = "en";

/// What the manifest says in `rust.config`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// The greeting of each language.
    greetings: BTreeMap<String, String>,
}

/// What the manifest's `input` accepts.
#[derive(Deserialize)]
pub(super) struct Input {
    name: String,
    language: Option<String>,
}

/// What the manifest's `output` promises.
#[derive(Serialize)]
pub(super) struct Output {
    text: String,
    visit: u64,
}

pub(super) struct Greet {
    greetings: BTreeMap<String, String>,
}

impl Agent for Greet {
    const NAME: &'static str = "greet";
    type Config = Config;
    type Input = Input;
    type Output = Output;

    fn new(Config { greetings }: Config) -> Result<Self, String> {
        if !greetings.contains_key(LANGUAGE) {
            return Err(format!("`greetings` has none for `{LANGUAGE}`: add one"));
        }
        Ok(Self { greetings })
    }

    async fn run(&self, input: Input, context: &Context<'_>) -> Result<Output, Stop> {
        let language = input.language.as_deref().unwrap_or(LANGUAGE);
        let Some(greeting) = self.greetings.get(language) else {
            let message = "there is no greeting in this language";
            return Err(Failure::terminal("language-unknown", message).into());
        };
        let visits_before = context.state.and_then(|state| state["visits"].as_u64());
        let visit = visits_before.unwrap_or(0) + 1;
        context.journal.merge_state(json!({ "visits": visit }));
        context.log("greeted", &json!({ "language": language, "visit": visit }));
        Ok(Output {
            text: format!("{greeting}, {}!", input.name),
            visit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::StateChange;
    use super::super::tests::work;
    use super::*;

    #[test]
    fn visits_are_counted() {
        let worked = work("greet", &json!({"name": "Ada"}), Some(&json!({"visits": 4})));
        assert_eq!(worked.result, Ok(json!({"text": "Hello, Ada!", "visit": 5})));
        assert_eq!(worked.state, Some(StateChange::Merge(json!({"visits": 5}))));
        assert_eq!(worked.logged[0]["fields"], json!({"language": "en", "visit": 5}));
    }

    #[test]
    fn a_language_without_a_greeting_is_a_failure() {
        let worked = work("greet", &json!({"name": "Ada", "language": "fr"}), None);
        let Err(Stop::Failed(failure)) = worked.result else {
            panic!("{:?}", worked.result)
        };
        assert_eq!(failure.code, "language-unknown");
        assert_eq!(worked.state, None);
    }
}
