//! How an agent is called without an orchestrator: with a plain text, and by the gateway itself.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::kept::Kept;
use super::{AgentManifest, RenderError, Template, TemplateError};

/// How long the orchestrator may take where the agent's manifest says nothing, in milliseconds; and never more than half
/// of the caller's deadline.
pub const BUDGET_MS: u64 = 5_000;

/// How long the orchestrator may take, of the time that the caller gives, in milliseconds. `declared` is the manifest's.
#[must_use]
pub fn budget_ms(declared: Option<u64>, deadline_ms: u64) -> u64 {
    declared.unwrap_or(BUDGET_MS).min(deadline_ms / 2)
}

/// What an agent's file says about customers' direct calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Direct {
    /// A template of the agent's input for a customer's text, which it sees as `input.text`. An agent without it cannot be
    /// asked by text, and the router never chooses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Value>,
    /// Whether the gateway answers by itself when the orchestrator does not.
    pub fallback: bool,
    /// How long the orchestrator may take, in milliseconds, before the gateway begins to answer by itself; the gateway's
    /// own default where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_ms: Option<u64>,
    /// How long the orchestrator has before the gateway begins the first step beside it, in milliseconds; shorter than the
    /// budget. Where there is none the gateway begins nothing before the budget is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hedge_after_ms: Option<u64>,
    #[serde(skip)]
    text_compiled: Kept<Option<Template>>,
}

impl Default for Direct {
    fn default() -> Self {
        Direct {
            text: None,
            fallback: true,
            budget_ms: None,
            hedge_after_ms: None,
            text_compiled: Kept::default(),
        }
    }
}

impl Direct {
    /// Whether it says nothing but the defaults.
    pub(super) fn is_usual(&self) -> bool {
        *self == Direct::default()
    }

    /// The template of the input for a text, compiled once.
    ///
    /// # Errors
    /// What [`Template::compile`] says; never for a manifest that passed its check.
    pub fn text_template(&self) -> Result<Option<&Template>, &TemplateError> {
        let compile = || self.text.as_ref().map(Template::compile).transpose();
        self.text_compiled.get(compile).map(Option::as_ref)
    }
}

impl AgentManifest {
    /// Whether the agent says how a text becomes its input.
    #[must_use]
    pub fn takes_text(&self) -> bool {
        self.direct.text.is_some()
    }
}

/// The agent's input for a customer's text, or `None` where the agent does not say how to make one. It is not checked
/// against the input schema yet: a text may be too long for the agent, for example.
///
/// # Errors
/// The template cannot be filled in with this text, such as when that takes too long.
pub fn input_of(agent: &AgentManifest, text: &str) -> Option<Result<Value, RenderError>> {
    match agent.direct.text_template() {
        Ok(template) => Some(template?.render(&json!({"text": text}), None)),
        Err(error) => Some(Err(RenderError {
            pointer: error.pointer.clone(),
            reason: error.reason.clone(),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Team;

    #[track_caller]
    fn check(direct: Value, text: &str, expected: Option<Value>) {
        let mut agent = Team::embedded().agent("triage").unwrap().clone();
        agent.direct = serde_json::from_value(direct).unwrap();
        assert_eq!(agent.takes_text(), expected.is_some());
        assert_eq!(input_of(&agent, text).map(Result::unwrap), expected);
    }

    #[test]
    fn a_text_becomes_an_input() {
        check(json!({}), "x", None);
        check(
            json!({"text": {"text": {"$value": "/input/text"}, "n": 1}}),
            "{{ no template }}",
            Some(json!({"text": "{{ no template }}", "n": 1})),
        );
        check(
            json!({"text": "{{ input.text[:3] }}"}),
            "\u{1f600}\u{1f600}ab",
            Some(json!("\u{1f600}\u{1f600}a")),
        );
    }

    #[test]
    fn a_template_that_fails_is_told_without_the_text() {
        let mut agent = Team::embedded().agent("triage").unwrap().clone();
        for (template, pointer) in [
            (json!({"a": "{{ input.none }}"}), "/a"),
            (json!({"b": "{{ 'x' * 1000000000 }}"}), "/b"),
            (json!({"c": "{{"}), "/c"),
        ] {
            agent.direct.text = Some(template);
            agent = agent.clone();
            let error = input_of(&agent, "secret").unwrap().unwrap_err();
            assert_eq!(error.pointer, pointer);
            assert!(!error.reason.contains("secret"));
        }
    }

    #[test]
    fn the_local_path_keeps_half_of_the_deadline() {
        let check = |declared, deadline_ms, expected| assert_eq!(budget_ms(declared, deadline_ms), expected);
        check(None, 30_000, BUDGET_MS);
        check(None, 8_000, 4_000);
        check(Some(200), 8_000, 200);
        check(Some(60_000), 8_000, 4_000);
        check(None, 1, 0);
    }

    #[test]
    fn the_defaults_are_left_out() {
        let usual: Direct = serde_json::from_value(json!({})).unwrap();
        assert!(usual.is_usual() && usual.fallback);
        let other: Direct = serde_json::from_value(json!({"fallback": false, "budget_ms": 1})).unwrap();
        assert!(!other.is_usual());
        let written = serde_json::to_value(&other).unwrap();
        assert_eq!(written, json!({"fallback": false, "budget_ms": 1}));
    }
}
