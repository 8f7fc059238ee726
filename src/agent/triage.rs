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

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::text::{Word, words};
use super::{Agent, Context, Stop};

/// The category of a message that no phrase speaks for.
const GENERAL: &str = "general";
/// How sure `general` can be: that nothing was found proves little.
const GENERAL_CONFIDENCE_MAX: f64 = 0.6;
/// How many words a negation reaches forward.
const NEGATION_REACH_WORDS: usize = 4;
/// The most words of a phrase.
const PHRASE_MAX_WORDS: usize = 8;
/// The most phrases that a reason names.
const REASON_MAX_PHRASES: usize = 5;

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
    negations: BTreeSet<String>,
    categories: Vec<String>,
    phrases: Vec<Phrase>,
}

struct Phrase {
    text: String,
    category: usize,
    weight: f64,
    words: Vec<Pattern>,
}

enum Pattern {
    Whole(String),
    Prefix(String),
}

impl Pattern {
    fn matches(&self, word: &str) -> bool {
        match self {
            Pattern::Whole(whole) => whole == word,
            Pattern::Prefix(prefix) => word.starts_with(prefix.as_str()),
        }
    }
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
        let mut phrases = Vec::new();
        for (index, category) in config.categories.iter().enumerate() {
            for (text, weight) in &category.phrases {
                let patterns = patterns(text);
                if patterns.is_empty() || patterns.len() > PHRASE_MAX_WORDS {
                    return Err(format!("the phrase `{text}` must have 1 to {PHRASE_MAX_WORDS} words"));
                }
                if !positive(*weight) {
                    return Err(format!("the weight of `{text}` must be greater than 0"));
                }
                phrases.push(Phrase {
                    text: text.clone(),
                    category: index,
                    weight: *weight,
                    words: patterns,
                });
            }
        }
        let negations = config.negations.iter().flat_map(|word| words(word));
        Ok(Triage {
            prior: config.prior,
            negations: negations.map(|word| word.folded).collect(),
            categories: config.categories.into_iter().map(|category| category.name).collect(),
            phrases,
        })
    }

    async fn run(&self, input: Input, _: &Context<'_>) -> Result<Output, Stop> {
        Ok(self.classify(&input.text))
    }
}

/// The words of a phrase; a `*` at the end of one makes it a prefix.
fn patterns(phrase: &str) -> Vec<Pattern> {
    let pattern = |part: &str| {
        let prefix = part.ends_with('*');
        let folded = words(part).into_iter().map(|word| word.folded);
        folded
            .map(move |word| {
                if prefix {
                    Pattern::Prefix(word)
                } else {
                    Pattern::Whole(word)
                }
            })
            .collect::<Vec<_>>()
    };
    phrase.split_whitespace().flat_map(pattern).collect()
}

impl Triage {
    fn classify(&self, text: &str) -> Output {
        let found = self.find(&words(text));
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
        let category_of = |phrase: &Phrase| self.categories.get(phrase.category).cloned().unwrap_or_default();
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

    /// The phrases in the order of the text, each once, and whether each is negated wherever it occurs.
    fn find(&self, text: &[Word]) -> Vec<(&Phrase, bool)> {
        let mut found: Vec<(&Phrase, bool)> = Vec::new();
        let mut negation_reach = 0;
        let mut rest = text;
        while let Some(first) = rest.first() {
            if first.begins_clause {
                negation_reach = 0;
            }
            // Of the phrases that begin here, the longest; where several categories have it, all of them.
            let beginning = self.phrases.iter().filter(|phrase| phrase.begins(rest));
            let longest = beginning.clone().map(|phrase| phrase.words.len()).max().unwrap_or(0);
            for phrase in beginning.filter(|phrase| phrase.words.len() == longest) {
                let negated = negation_reach > 0;
                match found.iter_mut().find(|(known, _)| std::ptr::eq(*known, phrase)) {
                    Some((_, known_negated)) => *known_negated &= negated,
                    None => found.push((phrase, negated)),
                }
            }
            negation_reach = match self.negations.contains(&first.folded) {
                true => NEGATION_REACH_WORDS,
                false => negation_reach.saturating_sub(1),
            };
            rest = rest.get(longest.max(1)..).unwrap_or_default();
        }
        found
    }
}

impl Phrase {
    /// Whether the text begins with this phrase, within one clause.
    fn begins(&self, text: &[Word]) -> bool {
        let pairs = || self.words.iter().zip(text);
        self.words.len() <= text.len()
            && pairs().all(|(pattern, word)| pattern.matches(&word.folded))
            && pairs().skip(1).all(|(_, word)| !word.begins_clause)
    }
}

fn reason(category: &str, matches: &[Match]) -> String {
    let quoted = |wanted: &dyn Fn(&&Match) -> bool| {
        let phrases: Vec<_> = matches
            .iter()
            .filter(wanted)
            .map(|found| format!("\"{}\"", found.phrase))
            .collect();
        let shown = phrases
            .get(..REASON_MAX_PHRASES.min(phrases.len()))
            .unwrap_or_default()
            .join(", ");
        match phrases.len().saturating_sub(REASON_MAX_PHRASES) {
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    };
    let speaking = quoted(&|found| !found.negated && found.category == category);
    let negated = quoted(&|found| found.negated);
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
