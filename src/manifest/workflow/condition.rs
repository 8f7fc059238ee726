//! Conditions: what decides a workflow's way.
//!
//! The language is that of the templates' expressions, [minijinja](https://docs.rs/minijinja): it is published, it can
//! only read, and its evaluation is bounded by fuel.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::manifest::template::{Names, convert, environment, reason};

/// A condition is at most this long, in characters.
pub const CONDITION_MAX_CHARS: usize = 1_000;

/// An expression that is true or false.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Condition(String);

impl Condition {
    /// As it stands in the manifest.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What it refers to, or why it is no expression.
    ///
    /// # Errors
    /// A sentence that says where it stops to be one.
    pub fn references(&self) -> Result<BTreeSet<Vec<String>>, String> {
        let environment = environment();
        let expression = environment.compile_expression(&self.0).map_err(|error| {
            let detail = error.detail().unwrap_or("it is not complete");
            format!("is no expression that minijinja understands: {detail}")
        })?;
        let variables = expression.undeclared_variables(true).into_iter();
        Ok(variables
            .map(|name| name.split('.').map(str::to_owned).collect())
            .collect())
    }

    /// Whether it holds for these values.
    ///
    /// # Errors
    /// A sentence that says why it is neither true nor false. It says nothing of the values.
    pub fn holds(&self, names: Names<'_>) -> Result<bool, String> {
        let environment = environment();
        let expression = environment.compile_expression(&self.0);
        let value = expression.and_then(|expression| expression.eval(convert(names)));
        let value = value.map_err(|error| reason(&error).to_owned())?;
        bool::try_from(value.clone()).map_err(|_| format!("comes to a {}, not to true or false", value.kind()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn condition(text: &str) -> Condition {
        Condition(text.to_owned())
    }

    #[test]
    fn a_condition_holds_or_not_or_is_none() {
        let input = json!({"n": 2, "tags": ["x"], "text": "Refund, please"});
        let steps = json!({"triage": {"output": {"category": "support", "confidence": 0.8}}});
        for (text, expected) in [
            ("input.n == 2", Ok(true)),
            ("input.n > 2 or 'x' in input.tags", Ok(true)),
            (
                "steps.triage.output.category == 'support' and steps.triage.output.confidence >= 0.9",
                Ok(false),
            ),
            ("not (input.text|lower is startingwith 'refund')", Ok(false)),
            ("input.none is defined", Ok(false)),
            ("input.none|default(3) == 3", Ok(true)),
            ("input.none.more", Err("refers to something that is not there")),
            ("input.none", Err("comes to a undefined")),
            ("input.n", Err("comes to a number")),
            ("input.text", Err("comes to a string")),
            ("input.n + 'x'", Err("an operation does not fit")),
            ("input.tags|none", Err("uses a filter")),
            ("range(10000)|list|sort|list|length > 0", Err("takes too long")),
            ("('x' * 1000000000)|length > 0", Err("takes too long")),
        ] {
            let holds = condition(text).holds(&[("input", &input), ("steps", &steps)]);
            match (&holds, expected) {
                (Ok(holds), Ok(expected)) => assert_eq!(*holds, expected, "{text}"),
                (Err(reason), Err(expected)) => {
                    assert!(reason.starts_with(expected), "{text}: {reason}");
                    assert!(!reason.contains("Refund"));
                }
                _ => panic!("{text}: {holds:?}"),
            }
        }
    }

    #[test]
    fn what_it_refers_to_is_known_before() {
        let found = condition("steps.a.output.b == item and steps['c'] and true")
            .references()
            .unwrap();
        let found: Vec<_> = found.iter().map(|path| path.join(".")).collect();
        assert_eq!(found, ["item", "steps", "steps.a.output.b"]);
        for wrong in ["", "a ==", "a b", "{{ a }}", &"(".repeat(1_000)] {
            let reason = condition(wrong).references().unwrap_err();
            assert!(reason.starts_with("is no expression"), "{wrong}: {reason}");
        }
    }
}
