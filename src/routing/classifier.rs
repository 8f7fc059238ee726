//! The classifier: an agent that is asked which agent answers, where the phrases of the manifests do not decide.
//!
//! Its verdict counts if it names one of the candidates, and is as sure of it as the gateway's `routing.confidence_min` asks
//! for. Whatever else it says, or if it says nothing in time, the gateway's default agent answers.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{By, Candidate, Choice, beginning, candidates, route, two_decimals};
use crate::manifest::{AgentManifest, Team};

/// The id of the step that asks the classifier.
pub const STEP: &str = "route";
/// The classifier may take one part in so many of the call's deadline.
pub const TIME_SHARE: u64 = 4;
/// And this long at most, in milliseconds.
pub const TIME_MAX_MS: u64 = 5_000;
/// Its reason is told up to this length, in characters.
pub const REASON_MAX_CHARS: usize = 300;

/// Where the router stands.
#[derive(Debug)]
pub enum Routed<'a> {
    /// It has chosen.
    Chosen(Choice),
    /// The classifier is to be asked.
    Unclear(Unclear<'a>),
    /// Nothing speaks for an agent, and there is none by default.
    Nobody,
}

/// A text for which the phrases do not decide.
#[derive(Debug)]
pub struct Unclear<'a> {
    /// Who is to be asked.
    pub classifier: &'a AgentManifest,
    /// What it may choose from.
    pub candidates: Vec<Candidate>,
    /// The choice without it.
    pub default: Option<Choice>,
    team: &'a Team,
}

/// What the classifier says.
#[derive(Debug, Deserialize)]
struct Verdict {
    agent: String,
    confidence: f64,
    reason: String,
}

/// Chooses by the phrases, as [`route`] does, or says that the classifier is to be asked.
pub fn consider<'a>(team: &'a Team, text: &str, may: impl Fn(&AgentManifest) -> bool) -> Routed<'a> {
    let choice = route(team, text, &may);
    let classifier = team.gateway.routing.classifier.as_deref().and_then(|id| team.agent(id));
    let is_clear = choice.as_ref().is_some_and(|choice| choice.by == By::Keywords);
    if let Some(classifier) = classifier.filter(|_| !is_clear) {
        let candidates = candidates(team, text, may);
        // Of none, or of one, there is nothing to choose.
        if candidates.len() > 1 {
            return Routed::Unclear(Unclear {
                classifier,
                candidates,
                default: choice,
                team,
            });
        }
    }
    choice.map_or(Routed::Nobody, Routed::Chosen)
}

impl Unclear<'_> {
    /// What the classifier is asked.
    #[must_use]
    pub fn input(&self, text: &str) -> Value {
        let agents = self.agents();
        let agents = agents.map(|agent| json!({"id": agent.id, "description": agent.description}));
        json!({"text": beginning(text), "agents": agents.collect::<Vec<_>>()})
    }

    /// How long it may take, in milliseconds, where the customer wants its answer within `wanted_ms`: whichever agent it
    /// chooses still has the largest part of its time.
    #[must_use]
    pub fn time_ms(&self, wanted_ms: Option<u64>) -> u64 {
        let deadlines = self.agents().map(|agent| agent.deadline_ms).chain(wanted_ms);
        let shortest_ms = deadlines.min().unwrap_or_default();
        let shortest_ms = shortest_ms.min(self.team.gateway.limits.deadline_max_ms);
        (shortest_ms / TIME_SHARE).min(TIME_MAX_MS)
    }

    /// The choice: by what the classifier said, or without it, if that is of no use. `said` is its output, or why there is
    /// none, as the end of a sentence.
    #[must_use]
    pub fn decide(self, said: Result<Value, String>) -> Option<Choice> {
        let id = &self.classifier.id;
        match said.and_then(|output| self.verdict(output)) {
            Ok(verdict) => {
                let reason: String = verdict.reason.chars().take(REASON_MAX_CHARS).collect();
                Some(Choice {
                    agent: verdict.agent,
                    confidence: two_decimals(verdict.confidence),
                    reason: format!("The classifier `{id}` says: {reason}"),
                    by: By::Classifier,
                    candidates: self.candidates,
                })
            }
            Err(why) => self.default.map(|choice| Choice {
                reason: format!("{} The classifier `{id}` was asked: {why}.", choice.reason),
                ..choice
            }),
        }
    }

    fn verdict(&self, output: Value) -> Result<Verdict, String> {
        let verdict: Verdict =
            serde_json::from_value(output).map_err(|_| "its answer is no {agent, confidence, reason}".to_owned())?;
        let (agent, least) = (&verdict.agent, self.team.gateway.routing.confidence_min);
        if !self.candidates.iter().any(|candidate| candidate.agent == *agent) {
            return Err("it names none of the agents that it was to choose from".to_owned());
        }
        if !(0.0..=1.0).contains(&verdict.confidence) {
            return Err(format!("its confidence in `{agent}` is not from 0 to 1"));
        }
        if verdict.confidence < least {
            let found = two_decimals(verdict.confidence);
            return Err(format!(
                "it is not sure enough of `{agent}` ({found}, where {least} is the least)"
            ));
        }
        Ok(verdict)
    }

    fn agents(&self) -> impl Iterator<Item = &AgentManifest> {
        self.candidates
            .iter()
            .filter_map(|candidate| self.team.agent(&candidate.agent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(routing: Value) -> Team {
        let agent = |id: &str, deadline_ms: u64, direct: Value| {
            json!({
                "id": id, "version": "1.0.0", "title": "A", "description": format!("Does {id}."), "kind": "rules",
                "rules": {"rules": []}, "input": true, "output": true, "deadline_ms": deadline_ms, "direct": direct,
                "routing": {"keywords": [{"phrase": id, "weight": 3}]},
            })
        };
        let text = json!({"text": {"$value": "/input/text"}});
        let agents = [
            agent("bank", 8_000, text.clone()),
            agent("bill", 40_000, text),
            agent("sort", 9_000, json!({})),
        ];
        let gateway = json!({"id": "g", "version": "1.0.0", "title": "G", "description": "G.", "routing": routing});
        serde_json::from_value(json!({"gateway": gateway, "agents": agents})).unwrap()
    }

    fn with_default() -> Team {
        team(json!({"default": "bank", "classifier": "sort", "confidence_min": 0.5}))
    }

    fn unclear(team: &Team) -> Unclear<'_> {
        match consider(team, "hello", |_| true) {
            Routed::Unclear(unclear) => unclear,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_is_asked_where_the_phrases_do_not_decide() {
        let asked = |team: &Team, text: &str, may: fn(&AgentManifest) -> bool| match consider(team, text, may) {
            Routed::Chosen(choice) => choice.agent,
            Routed::Unclear(unclear) => format!("?{}", unclear.classifier.id),
            Routed::Nobody => "-".to_owned(),
        };
        let team_of = |routing| team(routing);
        let with = with_default();
        assert_eq!(asked(&with, "a bill", |_| true), "bill");
        assert_eq!(asked(&with, "hello", |_| true), "?sort");
        assert_eq!(asked(&with, "a bill of the bank", |_| true), "?sort", "two speak alike");
        assert_eq!(
            asked(&with, "hello", |agent| agent.id == "bank"),
            "bank",
            "there is but one"
        );
        let without = team_of(json!({"default": "bank"}));
        assert_eq!(asked(&without, "hello", |_| true), "bank");
        let no_default = team_of(json!({"classifier": "sort"}));
        assert_eq!(asked(&no_default, "hello", |_| true), "?sort");
        assert_eq!(asked(&no_default, "hello", |_| false), "-");
    }

    #[test]
    fn it_is_told_who_there_is() {
        let team = with_default();
        assert_eq!(
            unclear(&team).input("hello"),
            json!({"text": "hello", "agents": [
                {"id": "bank", "description": "Does bank."}, {"id": "bill", "description": "Does bill."},
            ]})
        );
    }

    #[test]
    fn it_has_a_part_of_the_shortest_deadline() {
        let team = with_default();
        let check = |wanted, expected| assert_eq!(unclear(&team).time_ms(wanted), expected);
        check(None, 2_000);
        check(Some(400), 100);
        check(Some(60_000), 2_000);
        let mut slow = with_default();
        for agent in &mut slow.agents {
            agent.deadline_ms = 300_000;
        }
        assert_eq!(unclear(&slow).time_ms(None), TIME_MAX_MS);
    }

    #[test]
    fn a_verdict_counts_or_the_default_agent_answers() {
        let team = with_default();
        let verdict = |agent: &str, confidence: f64| {
            Ok(json!({"agent": agent, "confidence": confidence, "reason": "It is one."}))
        };
        let check = |said, agent: &str, by, words: &str| {
            let choice = unclear(&team).decide(said).unwrap();
            assert_eq!((choice.agent.as_str(), choice.by), (agent, by), "{}", choice.reason);
            assert!(choice.reason.contains(words), "{}", choice.reason);
        };
        check(
            verdict("bill", 0.5),
            "bill",
            By::Classifier,
            "The classifier `sort` says: It is one.",
        );
        check(
            verdict("bill", 0.49),
            "bank",
            By::Default,
            "not sure enough of `bill` (0.49, where 0.5 is the least)",
        );
        check(verdict("bill", 1.01), "bank", By::Default, "not from 0 to 1");
        check(verdict("sort", 1.0), "bank", By::Default, "none of the agents");
        check(Ok(json!("bill")), "bank", By::Default, "no {agent, confidence, reason}");
        check(
            Err("it failed".into()),
            "bank",
            By::Default,
            "answers. The classifier `sort` was asked: it failed.",
        );
        let long = json!({"agent": "bill", "confidence": 1, "reason": "x".repeat(REASON_MAX_CHARS + 1)});
        let choice = unclear(&team).decide(Ok(long)).unwrap();
        assert!(choice.reason.ends_with(&format!(": {}", "x".repeat(REASON_MAX_CHARS))));
        let without = self::team(json!({"classifier": "sort"}));
        assert_eq!(unclear(&without).decide(Err("it failed".into())), None);
    }
}
