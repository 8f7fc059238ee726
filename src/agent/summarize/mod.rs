//! `summarize`: the sentences of a text that say most of it, in their order.
//!
//! Two published parts, each in linear time:
//!
//! - **Relevance** is the cosine between a sentence and the centroid of the text, both as counts of their content words
//!   (centroid-based summarization: D. Radev, H. Jing, M. Styś and D. Tam, *Information Processing & Management* 40, 2004).
//! - **Selection** is maximal marginal relevance (J. Carbonell and J. Goldstein, SIGIR 1998): the next sentence is the one
//!   with the highest `λ · relevance − (1 − λ) · (highest cosine to a sentence taken before)`, so that what was said once
//!   is not said again.
//!
//! The cost is the number of words times the sentences asked for. Graph methods (TextRank, LexRank) compare every pair of
//! sentences, and 64 KiB may hold thousands of them. Very short sentences, which are headings and exclamations more often
//! than statements, are taken only when nothing else is left; the order of the text decides between equals.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{Agent, Context, Failure, Stop};
use crate::text::words;

mod sentences;
mod stop_words;

/// The longest text in bytes of UTF-8. The schema can only count characters.
const TEXT_MAX_BYTES: usize = 64 * 1024;
/// The sentences of a summary, unless the input says otherwise.
const SENTENCES: usize = 3;
/// How much relevance counts against novelty: the λ of maximal marginal relevance.
const RELEVANCE_SHARE: f64 = 0.6;
/// Sentences with fewer content words are taken last.
const CONTENT_WORDS_MIN: usize = 3;

/// No configuration: `{}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {}

#[derive(Debug, Deserialize)]
pub(super) struct Input {
    text: String,
    sentences: Option<usize>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Output {
    summary: String,
    sentences: Vec<Sentence>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Sentence {
    text: String,
    /// Its place among the sentences of the text, from 0.
    index: usize,
    /// Its relevance, from 0 to 1.
    score: f64,
}

pub(super) struct Summarize;

impl Agent for Summarize {
    const NAME: &'static str = "summarize";
    type Config = Config;
    type Input = Input;
    type Output = Output;

    fn new(_: Config) -> Result<Self, String> {
        Ok(Summarize)
    }

    async fn run(&self, input: Input, _: &Context<'_>) -> Result<Output, Stop> {
        if input.text.len() > TEXT_MAX_BYTES {
            let message = format!("the text has {} bytes; the limit is {TEXT_MAX_BYTES}", input.text.len());
            return Err(Failure::terminal("text-too-long", message).into());
        }
        Ok(summarize(&input.text, input.sentences.unwrap_or(SENTENCES)))
    }
}

/// A sentence on its way through the algorithm.
struct Candidate {
    /// Its content words as numbers, with how often each occurs.
    counts: Vec<(usize, f64)>,
    length: f64,
    relevance: f64,
    /// The highest cosine to a sentence that was taken.
    redundancy: f64,
    taken: bool,
}

impl Candidate {
    /// The cosine to a vector of that length, with a component for each number of a word.
    fn cosine(&self, vector: &[f64], length: f64) -> f64 {
        let component = |number: &usize| vector.get(*number).copied().unwrap_or_default();
        let product: f64 = self
            .counts
            .iter()
            .map(|(number, count)| count * component(number))
            .sum();
        // Without content words there is no direction, and the product is 0.
        product / (self.length * length).max(f64::MIN_POSITIVE)
    }

    /// What decides who is taken next.
    fn rank(&self) -> (bool, f64) {
        let marginal = RELEVANCE_SHARE * self.relevance - (1.0 - RELEVANCE_SHARE) * self.redundancy;
        (self.counts.len() >= CONTENT_WORDS_MIN, marginal)
    }
}

fn summarize(text: &str, wanted: usize) -> Output {
    let sentences = sentences::split(text);
    let (mut candidates, centroid) = candidates(&sentences);
    let centroid_length = length(centroid.iter());
    for candidate in &mut candidates {
        candidate.relevance = candidate.cosine(&centroid, centroid_length);
    }
    let mut vector = vec![0.0; centroid.len()];
    for _ in 0..wanted.min(candidates.len()) {
        let Some(next) = next(&mut candidates) else { break };
        next.taken = true;
        let (counts, next_length) = (next.counts.clone(), next.length);
        set(&mut vector, &counts, |count| count);
        for candidate in &mut candidates {
            candidate.redundancy = candidate.redundancy.max(candidate.cosine(&vector, next_length));
        }
        set(&mut vector, &counts, |_| 0.0);
    }
    let taken = candidates
        .iter()
        .zip(&sentences)
        .enumerate()
        .filter(|(_, (candidate, _))| candidate.taken);
    let taken = taken.map(|(index, (candidate, sentence))| Sentence {
        text: (*sentence).to_owned(),
        index,
        score: (candidate.relevance * 1000.0).round() / 1000.0,
    });
    let taken: Vec<_> = taken.collect();
    let texts: Vec<_> = taken.iter().map(|sentence| sentence.text.as_str()).collect();
    Output {
        summary: texts.join(" "),
        sentences: taken,
    }
}

/// The sentences as counts of numbered words, and the sum of all of them.
fn candidates(sentences: &[&str]) -> (Vec<Candidate>, Vec<f64>) {
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut centroid: Vec<f64> = Vec::new();
    let candidate = |sentence: &&str| {
        let mut counts: BTreeMap<usize, f64> = BTreeMap::new();
        for word in words(sentence)
            .into_iter()
            .filter(|word| !stop_words::contains(&word.folded))
        {
            let new = numbers.len();
            let number = *numbers.entry(word.folded).or_insert(new);
            *counts.entry(number).or_default() += 1.0;
        }
        centroid.resize(numbers.len(), 0.0);
        for (number, count) in &counts {
            if let Some(sum) = centroid.get_mut(*number) {
                *sum += count;
            }
        }
        Candidate {
            length: length(counts.values()),
            counts: counts.into_iter().collect(),
            relevance: 0.0,
            redundancy: 0.0,
            taken: false,
        }
    };
    let candidates = sentences.iter().map(candidate).collect();
    (candidates, centroid)
}

fn length<'a>(components: impl Iterator<Item = &'a f64>) -> f64 {
    components.map(|component| component * component).sum::<f64>().sqrt()
}

/// The candidate with the highest rank, the first of equals.
fn next(candidates: &mut [Candidate]) -> Option<&mut Candidate> {
    let open = candidates.iter_mut().filter(|candidate| !candidate.taken);
    open.reduce(|best, candidate| {
        if candidate.rank() > best.rank() {
            candidate
        } else {
            best
        }
    })
}

fn set(vector: &mut [f64], counts: &[(usize, f64)], value: impl Fn(f64) -> f64) {
    for (number, count) in counts {
        if let Some(component) = vector.get_mut(*number) {
            *component = value(*count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, wanted: usize, expected: &str) {
        let output = summarize(text, wanted);
        assert_eq!(output.summary, expected, "{output:?}");
    }

    const TEXT: &str = "Welcome! The gateway signs every response of an agent. Our office has a new coffee machine. An \
                        orchestrator verifies the response before it trusts the gateway. The gateway keeps the response \
                        of an agent, so that a repeated step gets the same response.";

    #[test]
    fn what_is_said_most_is_kept() {
        let keeps = "The gateway keeps the response of an agent, so that a repeated step gets the same response.";
        check(TEXT, 1, keeps);
        let verifies = "An orchestrator verifies the response before it trusts the gateway.";
        check(TEXT, 2, &format!("{verifies} {keeps}"));
    }

    #[test]
    fn a_short_text_is_its_own_summary() {
        check("", 3, "");
        check("  One sentence only  ", 3, "One sentence only");
        check("Ja. Nein.", 3, "Ja. Nein.");
        check("The and of. It is.", 1, "The and of.");
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        let text = "Cats chase mice at night. Cats chase mice at night. Dogs guard the old house.";
        check(text, 2, "Cats chase mice at night. Dogs guard the old house.");
    }

    #[test]
    fn the_largest_text_is_summarized() {
        let text = "Ab cd ef gh. ".repeat(TEXT_MAX_BYTES / 13);
        assert_eq!(summarize(&text, 20).sentences.len(), 20);
    }

    proptest! {
        #[test]
        fn a_summary_consists_of_the_text(text in "([a-zé ]{0,8}[.!?。\\n]? ?|\\PC){0,30}", wanted in 1usize..20) {
            let output = summarize(&text, wanted);
            prop_assert!(output.sentences.len() <= wanted);
            prop_assert!(output.sentences.is_sorted_by(|a, b| a.index < b.index));
            for sentence in &output.sentences {
                prop_assert!(text.contains(&sentence.text) && !sentence.text.is_empty());
                prop_assert!((0.0..=1.0).contains(&sentence.score));
            }
        }
    }
}
