//! Kind `rules`: ordered conditions on the input, with templates for the output.
//!
//! The condition language is JSON Schema itself: it is published, editors know it, and the gateway has a validator. The
//! first rule whose `when` the input satisfies answers with its `then`.

use serde_json::Value;

use super::{Context, Failure, HandOff, Stop, misconfigured};
use crate::manifest::{RenderError, Rule, RuleHandOff, RuleState, RulesConfig, Template, TemplateError};

pub(super) fn run(config: &RulesConfig, input: &Value, context: &Context<'_>) -> Result<Value, Stop> {
    let render = |name: &str, template: &Template| {
        let rendered = template.render(input, context.state);
        rendered.map_err(|error| Stop::from(failed(name, &error)))
    };
    for rule in &config.rules {
        if rule.when.get().map_err(misconfigured)?.accepts(input) {
            return apply(rule, context, |template| render(&rule.name, template));
        }
    }
    match usable(config.otherwise_template())? {
        Some(otherwise) => render("otherwise", otherwise),
        None => Err(Failure::terminal("no-rule-matched", "none of the agent's rules fits this input").into()),
    }
}

fn apply(rule: &Rule, context: &Context<'_>, render: impl Fn(&Template) -> Result<Value, Stop>) -> Result<Value, Stop> {
    if let (Some(state), Some(template)) = (&rule.state, usable(rule.state_template())?) {
        let rendered = render(template)?;
        match state {
            RuleState::Replace(_) => context.journal.replace_state(rendered),
            RuleState::Merge(_) => context.journal.merge_state(rendered),
        }
    }
    match (&rule.hand_off, usable(rule.then_template())?) {
        (Some(hand_off), _) => Err(handed_off(hand_off, render)?.into()),
        (None, Some(then)) => render(then),
        (None, None) => Err(misconfigured("a rule has neither `then` nor `hand_off`").into()),
    }
}

fn handed_off(hand_off: &RuleHandOff, render: impl Fn(&Template) -> Result<Value, Stop>) -> Result<HandOff, Stop> {
    let (reason, input) = usable(hand_off.templates())?;
    let reason = render(reason)?;
    Ok(HandOff {
        agent: hand_off.agent.clone(),
        reason: reason.as_str().unwrap_or_default().to_owned(),
        input: input.as_ref().map(render).transpose()?,
    })
}

fn usable<T>(template: Result<T, &TemplateError>) -> Result<T, Stop> {
    template.map_err(|error| misconfigured(&error.reason).into())
}

fn failed(rule: &str, error: &RenderError) -> Failure {
    Failure::terminal("rule-failed", format!("rule `{rule}`, {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::{Cancellation, Host, Journal, LocalBoxFuture, StateChange};
    use super::*;
    use crate::run::call::Behalf;
    use serde_json::json;

    fn check(config: Value, input: Value, state: Option<Value>, expected: Result<Value, (&str, &str)>) {
        let config: RulesConfig = serde_json::from_value(config).unwrap();
        let journal = Journal::default();
        let expected = expected.map_err(|(code, message)| Stop::from(Failure::terminal(code, message)));
        assert_eq!(run(&config, &input, &context(state.as_ref(), &journal)), expected);
    }

    /// Nothing that rules do waits for anything.
    struct Nowhere;

    impl Host for Nowhere {
        fn now_ms(&self) -> u64 {
            0
        }

        fn log(&self, line: &Value) {
            panic!("rules log nothing: {line}");
        }

        fn sleep_ms(&self, _: u64) -> LocalBoxFuture<'_, ()> {
            Box::pin(std::future::pending())
        }
    }

    impl Cancellation for Nowhere {
        fn cancelled(&self) -> LocalBoxFuture<'_, ()> {
            Box::pin(std::future::pending())
        }
    }

    static NOBODY: Behalf = Behalf {
        orchestrator: String::new(),
        depth: 0,
    };

    fn context<'a>(state: Option<&'a Value>, journal: &'a Journal) -> Context<'a> {
        Context {
            agent: "a",
            run: "r",
            step: "s",
            attempt: 1,
            deadline_at_ms: 0,
            state,
            history: crate::conversation::History::none(),
            traceparent: None,
            behalf: &NOBODY,
            depth: 0,
            team: crate::manifest::Team::embedded(),
            host: &Nowhere,
            cancellation: &Nowhere,
            journal,
        }
    }

    #[test]
    fn a_rule_hands_off_and_changes_the_state() {
        let config: RulesConfig = serde_json::from_value(json!({"rules": [
            {"name": "money", "when": {"required": ["amount"]},
             "hand_off": {"agent": "billing", "reason": "{{ input.amount }} are due", "input": {"sum": {"$value": "/input/amount"}}},
             "state": {"merge": {"due": {"$value": "/input/amount"}}}},
            {"name": "other", "when": true, "then": "ok", "state": {"replace": {"seen": true}}}
        ]}))
        .unwrap();
        let journal = Journal::default();
        let handed = run(&config, &json!({"amount": 7}), &context(None, &journal));
        let expected = HandOff {
            agent: "billing".into(),
            reason: "7 are due".into(),
            input: Some(json!({"sum": 7})),
        };
        assert_eq!(handed, Err(expected.into()));
        assert_eq!(journal.take_state(), Some(StateChange::Merge(json!({"due": 7}))));
        assert_eq!(run(&config, &json!({}), &context(None, &journal)), Ok(json!("ok")));
        assert_eq!(journal.take_state(), Some(StateChange::Replace(json!({"seen": true}))));
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
