//! Kind `rules`: ordered conditions on the input, with templates for the output.
//!
//! The condition language is JSON Schema itself: it is published, editors know it, and the gateway has a validator. The
//! first rule whose `when` the input satisfies answers with its `then`.

use serde_json::Value;

use super::{Failure, misconfigured};
use crate::manifest::RulesConfig;

pub(super) fn run(config: &RulesConfig, input: &Value, state: Option<&Value>) -> Result<Value, Failure> {
    for rule in &config.rules {
        if rule.when.get().map_err(misconfigured)?.accepts(input) {
            let then = rule.then_template().map_err(|error| misconfigured(&error.reason))?;
            return then.render(input, state).map_err(|error| failed(&rule.name, &error));
        }
    }
    match config
        .otherwise_template()
        .map_err(|error| misconfigured(&error.reason))?
    {
        Some(otherwise) => otherwise
            .render(input, state)
            .map_err(|error| failed("otherwise", &error)),
        None => Err(Failure::terminal(
            "no-rule-matched",
            "none of the agent's rules fits this input",
        )),
    }
}

fn failed(rule: &str, error: &crate::manifest::RenderError) -> Failure {
    Failure::terminal("rule-failed", format!("rule `{rule}`, {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(config: Value, input: Value, state: Option<Value>, expected: Result<Value, (&str, &str)>) {
        let config: RulesConfig = serde_json::from_value(config).unwrap();
        let got = run(&config, &input, state.as_ref()).map_err(|failure| (failure.code, failure.message));
        let expected = expected.map_err(|(code, message)| (code.to_owned(), message.to_owned()));
        assert_eq!(got, expected);
    }

    fn rules() -> Value {
        json!({"rules": [
            {"name": "large", "when": {"properties": {"n": {"minimum": 10}}}, "then": {"size": "large {{ input.n }}"}},
            {"name": "known", "when": {"required": ["id"]}, "then": {"seen": {"$value": "/state/seen"}}}
        ]})
    }

    #[test]
    fn the_first_match_answers() {
        check(
            rules(),
            json!({"n": 12, "id": 1}),
            None,
            Ok(json!({"size": "large 12"})),
        );
        check(
            rules(),
            json!({"n": 1, "id": 1}),
            Some(json!({"seen": [1]})),
            Ok(json!({"seen": [1]})),
        );
    }

    #[test]
    fn without_a_match_otherwise_answers_or_the_step_fails() {
        let mut config = rules();
        let nothing = Err(("no-rule-matched", "none of the agent's rules fits this input"));
        check(config.clone(), json!({"n": 1}), None, nothing);
        config["otherwise"] = json!("small");
        check(config, json!({"n": 1}), None, Ok(json!("small")));
    }

    #[test]
    fn a_gap_that_stays_open_names_the_rule() {
        let expected = "rule `known`, template#/seen: nothing is at /state/seen, and there is no $default";
        check(rules(), json!({"n": 1, "id": 1}), None, Err(("rule-failed", expected)));
    }
}
