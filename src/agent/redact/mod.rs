//! `redact`: removes personal data from a text and says what it removed and where.
//!
//! One scanner per kind, each in linear time and without a regular expression: [`iban`], [`email`], [`card`], [`phone`], in
//! this order. A scanner sees what an earlier one found as one opaque character per character, so that findings never
//! overlap and a payment card is never taken for a phone number. All scanners always run; the input's `kinds` say what is
//! replaced.
//!
//! It works on Unicode code points, and that is what `start` and `end` count. When in doubt it removes too much: a number
//! that happens to satisfy the Luhn check goes with the cards.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Agent, Context, Stop};

mod card;
mod email;
mod iban;
mod phone;

/// What stands in the scanned text for what was found already: neither letter nor digit, and part of nothing.
const TAKEN: char = '\u{fffc}';

/// What can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Email,
    Phone,
    Card,
    Iban,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Email, Kind::Phone, Kind::Card, Kind::Iban];

    fn replacement(self) -> &'static str {
        match self {
            Kind::Email => "[email]",
            Kind::Phone => "[phone]",
            Kind::Card => "[card]",
            Kind::Iban => "[iban]",
        }
    }
}

/// No configuration: `{}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {}

#[derive(Debug, Deserialize)]
pub(super) struct Input {
    text: String,
    /// All of them, unless the input chooses.
    kinds: Option<Vec<Kind>>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Output {
    text: String,
    findings: Vec<Found>,
    counts: BTreeMap<Kind, usize>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Found {
    kind: Kind,
    /// In code points of the original text.
    start: usize,
    /// The code point after the last one.
    end: usize,
    replacement: &'static str,
}

pub(super) struct Redact;

impl Agent for Redact {
    const NAME: &'static str = "redact";
    type Config = Config;
    type Input = Input;
    type Output = Output;

    fn new(_: Config) -> Result<Self, String> {
        Ok(Redact)
    }

    async fn run(&self, input: Input, _: &Context<'_>) -> Result<Output, Stop> {
        Ok(redact(&input.text, input.kinds.as_deref().unwrap_or(&Kind::ALL)))
    }
}

fn redact(text: &str, kinds: &[Kind]) -> Output {
    let original: Vec<char> = text.chars().collect();
    let mut findings = find(&original);
    findings.retain(|found| kinds.contains(&found.kind));
    let mut redacted = String::with_capacity(text.len());
    let mut copied = 0;
    for found in &findings {
        redacted.extend(original.get(copied..found.start).unwrap_or_default());
        redacted.push_str(found.replacement);
        copied = found.end;
    }
    redacted.extend(original.get(copied..).unwrap_or_default());
    let count = |kind: &Kind| findings.iter().filter(|found| found.kind == *kind).count();
    let counts = kinds.iter().map(|kind| (*kind, count(kind))).collect();
    Output {
        text: redacted,
        findings,
        counts,
    }
}

/// Says what begins (or, for an e-mail address, has its `@`) at a position of a text.
type Scanner = fn(&[char], usize) -> Option<Range<usize>>;

/// Everything that is found, in the order of the text, without overlaps.
fn find(original: &[char]) -> Vec<Found> {
    let mut text = original.to_vec();
    let mut findings = Vec::new();
    let scanners: [(Kind, Scanner); 4] = [
        (Kind::Iban, iban::at),
        (Kind::Email, email::at),
        (Kind::Card, card::at),
        (Kind::Phone, phone::at),
    ];
    for (kind, at) in scanners {
        findings.extend(scan(&mut text, at).into_iter().map(|range| Found {
            kind,
            start: range.start,
            end: range.end,
            replacement: kind.replacement(),
        }));
    }
    findings.sort_by_key(|found| found.start);
    findings
}

/// Asks a scanner at every position what is there, and takes it out of the text.
fn scan(text: &mut [char], at: Scanner) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut position = 0;
    while position < text.len() {
        match at(text, position) {
            Some(range) => {
                position = range.end.max(position + 1);
                text.get_mut(range.clone()).unwrap_or_default().fill(TAKEN);
                ranges.push(range);
            }
            None => position += 1,
        }
    }
    ranges
}

/// The value of a decimal digit: ASCII, full-width, Arabic-Indic or extended Arabic-Indic.
fn digit(character: char) -> Option<u32> {
    let zero = match character {
        '0'..='9' => '0',
        '\u{ff10}'..='\u{ff19}' => '\u{ff10}',
        '\u{660}'..='\u{669}' => '\u{660}',
        '\u{6f0}'..='\u{6f9}' => '\u{6f0}',
        _ => return None,
    };
    Some(u32::from(character) - u32::from(zero))
}

/// A space that may stand within a number: the usual one, no-break, figure, thin and narrow no-break.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\u{a0}' | '\u{2007}' | '\u{2009}' | '\u{202f}')
}

/// A hyphen that may stand within a number, also a typographic one.
fn is_hyphen(character: char) -> bool {
    matches!(character, '-' | '\u{2010}'..='\u{2013}')
}

/// Whether nothing that could belong to the same word or number stands at this position.
fn is_free(text: &[char], position: Option<usize>) -> bool {
    let character = position.and_then(|position| text.get(position));
    !character.is_some_and(|character| character.is_alphanumeric() || *character == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a scanner finds in a text.
    pub(super) fn found_by(at: Scanner, text: &str) -> Vec<String> {
        let original: Vec<char> = text.chars().collect();
        let ranges = scan(&mut original.clone(), at).into_iter();
        ranges
            .map(|range| original.get(range).unwrap().iter().collect())
            .collect()
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(redact(text, &Kind::ALL).text, expected, "{text}");
    }

    #[test]
    fn every_kind_is_replaced() {
        check(
            "Ada (ada@example.org, +44 20 7946 0958) paid with 4111 1111 1111 1111 from DE89 3704 0044 0532 0130 00.",
            "Ada ([email], [phone]) paid with [card] from [iban].",
        );
        check(
            "Nothing to see here: 2024-01-15, 12:30, order 12345678.",
            "Nothing to see here: 2024-01-15, 12:30, order 12345678.",
        );
    }

    #[test]
    fn positions_are_code_points_of_the_original() {
        let output = redact("😀 ä a@b.de 😀 c@d.de", &Kind::ALL);
        let places: Vec<_> = output.findings.iter().map(|found| (found.start, found.end)).collect();
        assert_eq!(places, [(4, 10), (13, 19)]);
        assert_eq!(
            output.counts,
            Kind::ALL
                .map(|kind| (kind, if kind == Kind::Email { 2 } else { 0 }))
                .into()
        );
    }

    #[test]
    fn only_the_chosen_kinds_are_replaced() {
        let text = "a@b.de 4111111111111111 +49 30 123456";
        assert_eq!(redact(text, &[Kind::Card]).text, "a@b.de [card] +49 30 123456");
        assert_eq!(redact(text, &[Kind::Phone]).text, "a@b.de 4111111111111111 [phone]");
        assert_eq!(redact(text, &[]).text, text);
    }

    fn messy_text() -> impl Strategy<Value = String> {
        let parts = prop_oneof![
            "\\PC{0,3}",
            "[0-9 +()./-]{0,12}",
            "[a-zA-Z0-9@._-]{0,8}",
            Just("4111 1111 1111 1111".to_owned()),
            Just("DE89370400440532013000".to_owned()),
            Just("ada@example.org".to_owned()),
            Just("+49 30 1234567".to_owned()),
        ];
        prop::collection::vec(parts, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_text_is_accounted_for(text in prop_oneof![messy_text(), any::<String>()]) {
            let output = redact(&text, &Kind::ALL);
            let mut rebuilt = String::new();
            let mut end = 0;
            for found in &output.findings {
                prop_assert!(end <= found.start && found.start < found.end);
                rebuilt.extend(text.chars().skip(end).take(found.start - end));
                rebuilt.push_str(found.replacement);
                end = found.end;
            }
            rebuilt.extend(text.chars().skip(end));
            prop_assert_eq!(&output.text, &rebuilt);
            prop_assert_eq!(output.counts.values().sum::<usize>(), output.findings.len());
        }

        #[test]
        fn nothing_is_left_to_find(text in messy_text()) {
            let once = redact(&text, &Kind::ALL);
            prop_assert_eq!(redact(&once.text, &Kind::ALL).findings, []);
        }

        #[test]
        fn what_stands_between_words_is_found(before in "[a-z ]{0,9}", digits in 10_000_000u64..100_000_000, after in "[ a-z.]{0,9}") {
            let card = card::tests::with_check_digit(&format!("4111{digits}000"));
            for secret in [card, format!("+49 30 {digits}"), format!("u{digits}@example.org")] {
                let output = redact(&format!("{before} {secret} {after}"), &Kind::ALL);
                prop_assert!(!output.text.contains(&digits.to_string()), "{}", output.text);
            }
        }
    }
}
