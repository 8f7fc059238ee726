//! Phrases with wildcards, longest first, and whether a negation takes them back.

use std::collections::{BTreeMap, BTreeSet};

use super::{Word, words};

/// The most words of a phrase.
pub const PHRASE_MAX_WORDS: usize = 8;
/// How many words a negation reaches forward, within its clause.
const NEGATION_REACH_WORDS: usize = 4;
/// The most phrases that a sentence quotes.
const QUOTED_MAX: usize = 5;

/// Words after which a phrase of the same clause does not count, in English and German.
pub const NEGATIONS: &[&str] = &[
    "not", "no", "never", "without", "don't", "doesn't", "didn't", "isn't", "aren't", "wasn't", "won't", "neither",
    "nor", "nicht", "kein", "keine", "keinen", "keinem", "keiner", "keines", "ohne", "nie", "niemals", "weder",
];

/// Phrases to look for, by their index.
///
/// A phrase is words in any case; a trailing `*` takes longer words too, so that `refund*` matches "refunded". Where
/// phrases overlap, the longest of those that begin first counts.
#[derive(Debug)]
pub struct Phrases {
    phrases: Vec<Vec<Pattern>>,
    /// The phrases by the first character of their first word, each list in the order of the indices.
    by_first: BTreeMap<char, Vec<usize>>,
    negations: BTreeSet<String>,
}

/// A phrase that a text has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Which one, in the order they were given in.
    pub index: usize,
    /// Whether it stands behind a negation wherever it occurs.
    pub negated: bool,
}

/// One word of a phrase.
#[derive(Debug)]
struct Pattern {
    word: String,
    /// Whether longer words match, too.
    prefix: bool,
    /// Whether the phrase itself has the end of a clause before this word, as `tl;dr` has.
    after_clause: bool,
}

impl Pattern {
    fn matches(&self, word: &Word) -> bool {
        match self.prefix {
            true => word.folded.starts_with(&self.word),
            false => word.folded == self.word,
        }
    }
}

/// Why this cannot be a phrase, if it cannot.
#[must_use]
pub fn phrase_problem(phrase: &str) -> Option<String> {
    match patterns(phrase).len() {
        1..=PHRASE_MAX_WORDS => None,
        _ => Some(format!("the phrase `{phrase}` must have 1 to {PHRASE_MAX_WORDS} words")),
    }
}

/// The words of a phrase; a `*` at the end of one takes longer ones, too.
fn patterns(phrase: &str) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for part in phrase.split_whitespace() {
        let words = words(part);
        let count = words.len();
        patterns.extend(words.into_iter().enumerate().map(|(index, word)| Pattern {
            word: word.folded,
            prefix: part.ends_with('*') && index + 1 == count,
            after_clause: index > 0 && word.begins_clause,
        }));
    }
    patterns
}

impl Phrases {
    /// Prepares phrases, and the words that negate what follows them.
    ///
    /// # Errors
    /// The first [`phrase_problem`].
    pub fn new<'a>(
        phrases: impl IntoIterator<Item = &'a str>,
        negations: impl IntoIterator<Item = &'a str>,
    ) -> Result<Phrases, String> {
        let mut prepared = Phrases {
            phrases: Vec::new(),
            by_first: BTreeMap::new(),
            negations: negations.into_iter().flat_map(words).map(|word| word.folded).collect(),
        };
        for (index, phrase) in phrases.into_iter().enumerate() {
            if let Some(problem) = phrase_problem(phrase) {
                return Err(problem);
            }
            let patterns = patterns(phrase);
            if let Some(first) = patterns.first().and_then(|pattern| pattern.word.chars().next()) {
                prepared.by_first.entry(first).or_default().push(index);
            }
            prepared.phrases.push(patterns);
        }
        Ok(prepared)
    }

    /// The phrases that the text has, each once, in the order of the text.
    #[must_use]
    pub fn find(&self, text: &[Word]) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        let mut negation_reach = 0;
        let mut rest = text;
        while let Some(first) = rest.first() {
            if first.begins_clause {
                negation_reach = 0;
            }
            // Of the phrases that begin here, the longest; where several are the same words, all of them.
            let beginning: Vec<_> = self.beginning(rest).collect();
            let longest = beginning.iter().map(|(_, length)| *length).max().unwrap_or(0);
            for (index, _) in beginning.into_iter().filter(|(_, length)| *length == longest) {
                let negated = negation_reach > 0;
                match found.iter_mut().find(|known| known.index == index) {
                    Some(known) => known.negated &= negated,
                    None => found.push(Found { index, negated }),
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

    /// The phrases that the text begins with, and how many words each has.
    fn beginning<'a>(&'a self, text: &'a [Word]) -> impl Iterator<Item = (usize, usize)> + 'a {
        let first = text.first().and_then(|word| word.folded.chars().next());
        let candidates = first.and_then(|first| self.by_first.get(&first));
        let candidates = candidates.into_iter().flatten();
        candidates.filter_map(move |index| {
            let patterns = self.phrases.get(*index)?;
            begins(patterns, text).then_some((*index, patterns.len()))
        })
    }
}

/// Whether the text begins with this phrase, within one clause.
fn begins(phrase: &[Pattern], text: &[Word]) -> bool {
    let pairs = || phrase.iter().zip(text);
    phrase.len() <= text.len()
        && pairs().all(|(pattern, word)| pattern.matches(word))
        && pairs()
            .skip(1)
            .all(|(pattern, word)| pattern.after_clause || !word.begins_clause)
}

/// Phrases in quotation marks for a sentence: the first few, and how many more there are.
#[must_use]
pub fn quoted(phrases: &[&str]) -> String {
    let shown: Vec<_> = phrases
        .iter()
        .take(QUOTED_MAX)
        .map(|phrase| format!("\"{phrase}\""))
        .collect();
    let shown = shown.join(", ");
    match phrases.len().saturating_sub(QUOTED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHRASES: &[&str] = &["refund*", "error", "error message", "tl;dr", "kürz*", "not working"];

    /// `expected` has `!` before what is negated.
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let phrases = Phrases::new(PHRASES.iter().copied(), NEGATIONS.iter().copied()).unwrap();
        let marked = |found: &Found| format!("{}{}", if found.negated { "!" } else { "" }, PHRASES[found.index]);
        let found: Vec<_> = phrases.find(&words(text)).iter().map(marked).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn phrases_are_found() {
        check("", &[]);
        check("REFUNDED, an error", &["refund*", "error"]);
        check(
            "An error message and an error, an error message.",
            &["error message", "error"],
        );
        check("error. message", &["error"]);
        check("tl;dr please", &["tl;dr"]);
        check("Bitte ku\u{308}rzen", &["kürz*"]);
    }

    #[test]
    fn negations_end_with_their_clause_and_reach() {
        check("no refund", &["!refund*"]);
        check("no refund, a refund", &["refund*"]);
        check("no, a refund", &["refund*"]);
        check("not one two three refund", &["!refund*"]);
        check("not one two three four refund", &["refund*"]);
        check("Ich brauche keine Fehler und keinen Refund", &["!refund*"]);
        check("it is not working", &["not working"]);
    }

    #[test]
    fn a_phrase_has_words_and_not_too_many() {
        for (phrase, fine) in [
            ("a", true),
            ("", false),
            ("?! *", false),
            (&"x ".repeat(PHRASE_MAX_WORDS), true),
            (&"x ".repeat(PHRASE_MAX_WORDS + 1), false),
        ] {
            assert_eq!(phrase_problem(phrase).is_none(), fine, "{phrase}");
            assert_eq!(Phrases::new([phrase], []).is_ok(), fine, "{phrase}");
        }
    }

    #[test]
    fn a_sentence_quotes_a_few() {
        assert_eq!(quoted(&["a", "b"]), "\"a\", \"b\"");
        assert!(quoted(&["a", "b", "c", "d", "e", "f"]).ends_with("\"e\" and 1 more"));
    }
}
