//! `triage`: what a customer's message is about, by the phrases in it.
//!
//! Every category has phrases with weights, in the manifest. Where phrases overlap, the longest that begins first
//! counts. A phrase counts once, however often it occurs, and not at all after a negation in the same clause ("I do not
//! need a refund, ..."). With `score(c)` the sum of the weights that were found for a category and a constant `prior`
//! that speaks for `general`:
//!
//! ```text
//! confidence(c) = score(c) / (prior + sum of all scores)
//! ```
//!
//! The category with the highest confidence wins; where two are equal, the one that is declared first, `general` last.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Agent, Context, Stop};
use crate::text::{Phrases, quoted, words};

/// The category of a message that no phrase speaks for.
const GENERAL: &str = "general";
/// How sure `general` can be: that nothing was found proves little.
const GENERAL_CONFIDENCE_MAX: f64 = 0.6;

/// The manifest's `rust.config`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// The weight that speaks for `general`, against all that is found.
    prior: f64,
    /// Words after which a phrase does not count.
    negations: Vec<String>,
    /// The categories in the order of precedence.
    categories: Vec<Category>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Category {
    name: String,
    /// Phrases with their weights. A trailing `*` takes longer words too: `refund*` matches "refunded".
    phrases: BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Input {
    text: String,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Output {
    category: String,
    confidence: f64,
    reason: String,
    matches: Vec<Match>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Match {
    phrase: String,
    category: String,
    weight: f64,
    negated: bool,
}

pub(super) struct Triage {
    prior: f64,
    categories: Vec<String>,
    phrases: Phrases,
    /// What the phrases say, in their order.
    says: Vec<Says>,
}

struct Says {
    text: String,
    category: usize,
    weight: f64,
}

impl Agent for Triage {
    const NAME: &'static str = "triage";
    type Config = Config;
    type Input = Input;
    type Output = Output;

    fn new(config: Config) -> Result<Self, String> {
        let positive = |weight: f64| weight.is_finite() && weight > 0.0;
        if !positive(config.prior) {
            return Err("`prior` must be greater than 0".to_owned());
        }
        let mut says = Vec::new();
        for (index, category) in config.categories.iter().enumerate() {
            for (text, weight) in &category.phrases {
                if !positive(*weight) {
                    return Err(format!("the weight of `{text}` must be greater than 0"));
                }
                says.push(Says {
                    text: text.clone(),
                    category: index,
                    weight: *weight,
                });
            }
        }
        let phrases = Phrases::new(
            says.iter().map(|says| says.text.as_str()),
            config.negations.iter().map(String::as_str),
        )?;
        Ok(Triage {
            prior: config.prior,
            categories: config.categories.into_iter().map(|category| category.name).collect(),
            phrases,
            says,
        })
    }

    async fn run(&self, input: Input, _: &Context<'_>) -> Result<Output, Stop> {
        Ok(self.classify(&input.text))
    }
}

impl Triage {
    fn classify(&self, text: &str) -> Output {
        let found = self.phrases.find(&words(text));
        let said = found
            .iter()
            .filter_map(|found| Some((self.says.get(found.index)?, found.negated)));
        let found: Vec<_> = said.collect();
        let mut scores = vec![0.0; self.categories.len()];
        for (phrase, negated) in &found {
            if let (false, Some(score)) = (*negated, scores.get_mut(phrase.category)) {
                *score += phrase.weight;
            }
        }
        let total = self.prior + scores.iter().sum::<f64>();
        let mut best = (GENERAL, self.prior);
        for (name, score) in self.categories.iter().zip(&scores).rev() {
            if *score >= best.1 {
                best = (name, *score);
            }
        }
        let (category, score) = best;
        let confidence = match category {
            GENERAL => (score / total).min(GENERAL_CONFIDENCE_MAX),
            _ => score / total,
        };
        let category_of = |phrase: &Says| self.categories.get(phrase.category).cloned().unwrap_or_default();
        let matches = found.iter().map(|(phrase, negated)| Match {
            phrase: phrase.text.clone(),
            category: category_of(phrase),
            weight: phrase.weight,
            negated: *negated,
        });
        let matches: Vec<_> = matches.collect();
        Output {
            category: category.to_owned(),
            confidence: (confidence * 100.0).round() / 100.0,
            reason: reason(category, &matches),
            matches,
        }
    }
}

fn reason(category: &str, matches: &[Match]) -> String {
    let phrases = |wanted: &dyn Fn(&&Match) -> bool| {
        let phrases: Vec<_> = matches
            .iter()
            .filter(wanted)
            .map(|found| found.phrase.as_str())
            .collect();
        quoted(&phrases)
    };
    let speaking = phrases(&|found| !found.negated && found.category == category);
    let negated = phrases(&|found| found.negated);
    let mut reason = match speaking.is_empty() {
        true => "No phrase speaks clearly enough for another category".to_owned(),
        false => format!("Found {speaking}"),
    };
    if !negated.is_empty() {
        reason.push_str(&format!("; negated: {negated}"));
    }
    reason + "."
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Implementation, Team};
    use proptest::prelude::*;

    fn triage() -> Triage {
        let manifest = Team::embedded().agent("triage").unwrap();
        let Implementation::Rust { rust } = &manifest.implementation else {
            panic!("triage is written in Rust");
        };
        Triage::new(Config::deserialize(&rust.config).unwrap()).unwrap()
    }

    #[track_caller]
    fn check(text: &str, category: &str, phrases: &[&str]) {
        let output = triage().classify(text);
        let marked = |found: &Match| format!("{}{}", if found.negated { "!" } else { "" }, found.phrase);
        let found: Vec<_> = output.matches.iter().map(marked).collect();
        let expected: Vec<_> = phrases.iter().map(ToString::to_string).collect();
        assert_eq!((output.category.as_str(), found), (category, expected), "{output:?}");
    }

    #[test]
    fn english_messages() {
        check(
            "I was charged twice and want a refund!",
            "support",
            &["charged twice", "refund*"],
        );
        check(
            "Show me a chart of revenue by region, please.",
            "analytics",
            &["chart*", "revenue", "by region"],
        );
        check(
            "Could you rewrite this blog post?",
            "writing",
            &["rewrite", "blog post*"],
        );
        check("Hello, how are you?", "general", &[]);
    }

    #[test]
    fn german_messages() {
        check(
            "Die App funktioniert nicht, ich brauche eine RÜCKERSTATTUNG.",
            "support",
            &["funktioniert nicht", "rückerstattung*"],
        );
        check(
            "Bitte werten Sie die Umsätze aus: Auswertung pro Monat",
            "analytics",
            &["umsatz*", "auswert*", "pro monat"],
        );
        check(
            "Formulieren Sie das Anschreiben bitte fo\u{308}rmlicher.",
            "writing",
            &["formulier*", "anschreiben", "förmlicher"],
        );
    }

    #[test]
    fn words_have_boundaries() {
        check("The airport reporter debugs scharts.", "analytics", &["report*"]);
        check("supporters rewriter", "general", &[]);
    }

    #[test]
    fn negation_ends_with_its_clause() {
        check(
            "I do not need a report, I want a refund.",
            "support",
            &["!report*", "refund*"],
        );
        check(
            "Kein Bericht! Eine Rückerstattung.",
            "support",
            &["!bericht*", "rückerstattung*"],
        );
        check("No report. Well: a report.", "analytics", &["report*"]);
        check("It is not working", "support", &["not working"]);
    }

    #[test]
    fn the_longest_phrase_counts_once() {
        check("error message: error message", "support", &["error message"]);
        let output = triage().classify("error message: error message");
        assert_eq!(
            (output.confidence, output.reason.as_str()),
            (0.71, "Found \"error message\".")
        );
    }

    #[test]
    fn a_wrong_configuration_is_explained() {
        let config = |prior: f64, phrase: &str, weight: f64| Config {
            prior,
            negations: vec![],
            categories: vec![Category {
                name: "support".into(),
                phrases: BTreeMap::from([(phrase.to_owned(), weight)]),
            }],
        };
        assert!(Triage::new(config(1.0, "help", 1.0)).is_ok());
        for wrong in [
            config(0.0, "help", 1.0),
            config(1.0, "?!", 1.0),
            config(1.0, "help", -1.0),
            config(1.0, &"x ".repeat(9), 1.0),
        ] {
            assert!(Triage::new(wrong).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_category(text in "(\\PC|not |refund |report |Fehler |[.,\n]){0,60}") {
            let output = triage().classify(&text);
            prop_assert!((0.0..=1.0).contains(&output.confidence));
            prop_assert!(output.category == GENERAL || output.matches.iter().any(|m| m.category == output.category && !m.negated));
        }
    }
}
