//! The local router: which agent answers a text, by the phrases that the agents' manifests name.
//!
//! Candidates are the public agents that take text and that the caller may call. The phrases of an agent's
//! `routing.keywords` speak for it, those of `routing.negative` against it. A phrase counts once, however often it
//! occurs, and not at all where it stands behind a negation in the same clause ("do not summarize, ...").
//!
//! ```text
//! score(a)      = the weights that speak for a, less those that speak against it, and 0 at least
//! confidence(a) = score(a) / (1 + sum of all scores)
//! ```
//!
//! The agent with the highest score is chosen; of equal ones, that whose id comes first in the alphabet. If no agent has a
//! score, or the best one's confidence is below the gateway's `routing.confidence_min`, its `routing.default` is chosen,
//! if there is one and the caller may call it; but first its `routing.classifier` is asked ([`classifier`]), if it has one. No model, no clock and no chance takes part: the same team and the same
//! text give the same choice.

pub mod classifier;

use serde::Serialize;

use crate::manifest::{AgentManifest, Team, Visibility};
use crate::text::{Word, quoted, words};

/// The most characters that the router reads: what a text wants stands at its beginning.
pub const READ_MAX_CHARS: usize = 20_000;
/// The weight that speaks for no agent, against all that is found.
const PRIOR: f64 = 1.0;

/// Which agent answers a text, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// The agent's id.
    pub agent: String,
    /// How much of what was found speaks for this agent, from 0 to 1, to two decimals. 0 for a default agent that nothing
    /// speaks for.
    pub confidence: f64,
    /// Why this agent, in a sentence for people.
    pub reason: String,
    /// What decided.
    pub by: By,
    /// All agents that could have been chosen, the best first.
    pub candidates: Vec<Candidate>,
}

/// What decided about an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The phrases in the text.
    Keywords,
    /// The agent that is asked where the phrases do not decide.
    Classifier,
    /// That nothing speaks clearly enough for another agent.
    Default,
}

/// An agent that could be chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// The agent's id.
    pub agent: String,
    /// What speaks for it, less what speaks against it; 0 at least, to two decimals.
    pub score: f64,
    /// The phrases that were found, in the order of the text.
    pub matches: Vec<Match>,
}

/// A phrase of an agent's manifest that the text has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Match {
    /// The phrase as the manifest has it.
    pub phrase: String,
    /// Its weight.
    pub weight: f64,
    /// Whether a negation stands before it wherever it occurs, so that it does not count.
    pub negated: bool,
    /// Whether it speaks against the agent.
    pub against: bool,
}

/// Chooses the agent that answers a text. `may` says whether the caller may call an agent.
pub fn route(team: &Team, text: &str, may: impl Fn(&AgentManifest) -> bool) -> Option<Choice> {
    let candidates = candidates(team, text, may);
    let total = PRIOR + candidates.iter().map(|candidate| candidate.score).sum::<f64>();
    let confidence = |candidate: &Candidate| two_decimals(candidate.score / total);
    let best = candidates.first().filter(|best| best.score > 0.0);
    let least = team.gateway.routing.confidence_min;
    let (chosen, reason, by) = match best {
        Some(best) if confidence(best) >= least => (best, speaking(best), By::Keywords),
        unclear => {
            let default = team.gateway.routing.default.as_deref()?;
            let default = candidates.iter().find(|candidate| candidate.agent == default)?;
            let reason = match unclear {
                Some(best) => format!(
                    "What speaks for `{}` is not enough ({}, where {least} is the least), so the gateway's default agent answers.",
                    best.agent,
                    confidence(best),
                ),
                None => "No phrase speaks for an agent, so the gateway's default agent answers.".to_owned(),
            };
            (default, reason, By::Default)
        }
    };
    Some(Choice {
        agent: chosen.agent.clone(),
        confidence: confidence(chosen),
        reason,
        by,
        candidates,
    })
}

/// The agents that [`route`] chooses from, the best first, with what was found for and against each.
pub fn candidates(team: &Team, text: &str, may: impl Fn(&AgentManifest) -> bool) -> Vec<Candidate> {
    let words = words(beginning(text));
    let possible = |agent: &&AgentManifest| agent.visibility == Visibility::Public && agent.takes_text() && may(agent);
    let agents = team.agents.iter().filter(possible);
    let mut candidates: Vec<_> = agents.map(|agent| candidate(agent, &words)).collect();
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.agent.cmp(&b.agent)));
    candidates
}

fn candidate(agent: &AgentManifest, words: &[Word]) -> Candidate {
    // The check of manifests has seen to it that phrases can be prepared.
    let found = agent.routing.phrases().map(|phrases| phrases.find(words));
    let hints = &agent.routing;
    let matches = found.unwrap_or_default().into_iter().filter_map(|found| {
        let against = found.index.checked_sub(hints.keywords.len());
        let keyword = match against {
            Some(index) => hints.negative.get(index)?,
            None => hints.keywords.get(found.index)?,
        };
        Some(Match {
            phrase: keyword.phrase.clone(),
            weight: keyword.weight,
            negated: found.negated,
            against: against.is_some(),
        })
    });
    let matches: Vec<_> = matches.collect();
    let counting = matches.iter().filter(|found| !found.negated);
    let score: f64 = counting
        .map(|found| if found.against { -found.weight } else { found.weight })
        .sum();
    Candidate {
        agent: agent.id.clone(),
        // Not `max`: a sum of nothing is -0, which sorts behind 0 and shows as "-0".
        score: if score > 0.0 { two_decimals(score) } else { 0.0 },
        matches,
    }
}

/// Why a candidate is chosen by its phrases.
fn speaking(candidate: &Candidate) -> String {
    let phrases = |wanted: &dyn Fn(&&Match) -> bool| {
        let phrases: Vec<_> = candidate.matches.iter().filter(wanted).collect();
        quoted(&phrases.iter().map(|found| found.phrase.as_str()).collect::<Vec<_>>())
    };
    let mut reason = format!("Found {}", phrases(&|found| !found.negated && !found.against));
    for (what, those) in [
        ("against it", phrases(&|found| !found.negated && found.against)),
        ("negated", phrases(&|found| found.negated)),
    ] {
        if !those.is_empty() {
            reason.push_str(&format!("; {what}: {those}"));
        }
    }
    reason + "."
}

/// The part of a text that the router reads.
fn beginning(text: &str) -> &str {
    let end = text.char_indices().nth(READ_MAX_CHARS).map(|(at, _)| at);
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

fn two_decimals(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// A team of these agents: id, routing and visibility.
    fn team(gateway: Value, agents: &[(&str, Value, &str)]) -> Team {
        let agent = |(id, routing, visibility): &(&str, Value, &str)| {
            json!({
                "id": id, "version": "1.0.0", "title": "A", "description": "A.", "kind": "rules", "rules": {"rules": []},
                "input": true, "output": true, "visibility": visibility, "routing": routing,
                "direct": {"text": {"$value": "/input/text"}},
            })
        };
        let agents: Vec<_> = agents.iter().map(agent).collect();
        let gateway = json!({"id": "g", "version": "1.0.0", "title": "G", "description": "G.", "routing": gateway});
        serde_json::from_value(json!({"gateway": gateway, "agents": agents})).unwrap()
    }

    fn hints(keywords: &[(&str, f64)], negative: &[(&str, f64)]) -> Value {
        let list = |of: &[(&str, f64)]| {
            let keywords = of
                .iter()
                .map(|(phrase, weight)| json!({"phrase": phrase, "weight": weight}));
            Value::Array(keywords.collect())
        };
        json!({"keywords": list(keywords), "negative": list(negative)})
    }

    fn desk(gateway: Value) -> Team {
        let bill = hints(&[("invoice*", 3.0), ("rechnung*", 3.0), ("money", 1.0)], &[]);
        let bank = hints(&[("money", 1.0), ("transfer*", 2.0)], &[("file transfer", 5.0)]);
        team(
            gateway,
            &[
                ("bank", bank, "public"),
                ("bill", bill, "public"),
                ("hello", json!({}), "public"),
                ("inner", hints(&[("secret", 9.0)], &[]), "internal"),
                ("staff", hints(&[("secret", 9.0)], &[]), "orchestrator"),
            ],
        )
    }

    #[track_caller]
    fn check(gateway: Value, text: &str, expected: Option<(&str, f64, By)>) -> Option<Choice> {
        let choice = route(&desk(gateway), text, |_| true);
        let found = choice
            .as_ref()
            .map(|choice| (choice.agent.as_str(), choice.confidence, choice.by));
        assert_eq!(found, expected, "{choice:?}");
        choice
    }

    #[test]
    fn the_best_agent_is_chosen() {
        let none = || json!({});
        check(none(), "My INVOICES are wrong", Some(("bill", 0.75, By::Keywords)));
        check(none(), "Wo ist meine Rechnung?", Some(("bill", 0.75, By::Keywords)));
        check(none(), "transfer money", Some(("bank", 0.6, By::Keywords)));
        check(
            none(),
            "transfer, transfer and transferred",
            Some(("bank", 0.67, By::Keywords)),
        );
        // Equal scores: the alphabet decides.
        check(none(), "money", Some(("bank", 0.33, By::Keywords)));
    }

    #[test]
    fn what_does_not_count() {
        let none = || json!({});
        check(none(), "", None);
        check(none(), "hello", None);
        check(none(), "no invoice", None);
        check(none(), "Keine Rechnung!", None);
        check(none(), "no invoice, money", Some(("bank", 0.33, By::Keywords)));
        check(none(), "secret", None);
        // What speaks against an agent, and what takes that back.
        check(none(), "file transfer of money", Some(("bill", 0.5, By::Keywords)));
        check(
            none(),
            "no file transfer, a transfer of money",
            Some(("bank", 0.6, By::Keywords)),
        );
        let late = format!("{} invoice", "x".repeat(READ_MAX_CHARS - 7));
        check(none(), &late, None);
        let just = format!("{} invoice", "ü".repeat(READ_MAX_CHARS - 8));
        check(none(), &just, Some(("bill", 0.75, By::Keywords)));
    }

    #[test]
    fn the_default_agent_answers_otherwise() {
        let gateway = |least: f64| json!({"default": "hello", "confidence_min": least});
        check(gateway(0.0), "", Some(("hello", 0.0, By::Default)));
        check(gateway(0.75), "invoice", Some(("bill", 0.75, By::Keywords)));
        let choice = check(gateway(0.76), "invoice", Some(("hello", 0.0, By::Default))).unwrap();
        assert_eq!(
            choice.reason,
            "What speaks for `bill` is not enough (0.75, where 0.76 is the least), so the gateway's default agent answers."
        );
        check(json!({"confidence_min": 0.76}), "invoice", None);
        // A default agent that something speaks for, only not enough.
        let itself = json!({"default": "bank", "confidence_min": 1});
        check(itself, "money", Some(("bank", 0.33, By::Default)));
    }

    #[test]
    fn only_agents_that_the_caller_may_call() {
        let desk = desk(json!({"default": "hello"}));
        let chosen = |text: &str, allowed: &[&str]| {
            let choice = route(&desk, text, |agent| allowed.contains(&agent.id.as_str()));
            choice.map(|choice| choice.agent)
        };
        assert_eq!(chosen("money", &["bill", "hello"]).as_deref(), Some("bill"));
        assert_eq!(chosen("invoice", &["bank", "hello"]).as_deref(), Some("hello"));
        assert_eq!(chosen("invoice", &["bank"]), None);
    }

    #[test]
    fn an_agent_that_takes_no_text_is_no_candidate() {
        let mut desk = desk(json!({}));
        desk.agents.iter_mut().for_each(|agent| agent.direct.text = None);
        assert_eq!(route(&desk, "invoice", |_| true), None);
    }

    #[test]
    fn nothing_found_and_more_against_than_for_are_equal() {
        let found = candidates(&desk(json!({})), "file transfer", |_| true);
        let scores: Vec<_> = found
            .iter()
            .map(|candidate| format!("{} {:?}", candidate.agent, candidate.score))
            .collect();
        assert_eq!(scores, ["bank 0.0", "bill 0.0", "hello 0.0"]);
    }

    #[test]
    fn the_reason_names_the_phrases() {
        let text = "Transfer money, no file transfer and no transfer";
        let choice = route(&desk(json!({})), text, |_| true).unwrap();
        assert_eq!(
            choice.reason,
            "Found \"transfer*\", \"money\"; negated: \"file transfer\"."
        );
        let written = serde_json::to_value(&choice).unwrap();
        assert_eq!(written["by"], "keywords");
        let bank = json!({"agent": "bank", "score": 3.0, "matches": [
            {"phrase": "transfer*", "weight": 2.0, "negated": false, "against": false},
            {"phrase": "money", "weight": 1.0, "negated": false, "against": false},
            {"phrase": "file transfer", "weight": 5.0, "negated": true, "against": true},
        ]});
        assert_eq!(written["candidates"][0], bank);
        assert_eq!(written["candidates"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn the_sample_team() {
        let chosen = |text: &str| route(Team::embedded(), text, |_| true).unwrap();
        for (text, agent, by) in [
            ("Summarize this report in three sentences", "summarize", By::Keywords),
            ("tl;dr?", "summarize", By::Keywords),
            ("Bitte fass den Text zusammen", "summarize", By::Keywords),
            ("Remove the phone numbers from this e-mail", "redact", By::Keywords),
            ("Schwärze alle personenbezogenen Daten", "redact", By::Keywords),
            ("What is this message about?", "triage", By::Keywords),
            ("My invoice is wrong", "front-desk", By::Default),
            ("Please do not summarize this", "front-desk", By::Default),
            ("", "front-desk", By::Default),
        ] {
            let choice = chosen(text);
            assert_eq!((choice.agent.as_str(), choice.by), (agent, by), "{text}: {choice:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_the_same_choice_twice(
            text in "(\\PC|not |kein |money |Invoice |transfer |file transfer|secret |[.,\n]){0,60}",
            least in 0.0..=1.0_f64,
        ) {
            let gateway = json!({"default": "hello", "confidence_min": least});
            let choice = route(&desk(gateway.clone()), &text, |_| true).unwrap();
            let again = route(&desk(gateway), &text, |_| true);
            prop_assert_eq!(again.as_ref(), Some(&choice));
            prop_assert!((0.0..=1.0).contains(&choice.confidence));
            prop_assert!(["bank", "bill", "hello"].contains(&choice.agent.as_str()));
            prop_assert!(choice.by == By::Default || choice.confidence >= least);
        }
    }
}
