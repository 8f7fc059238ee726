//! International bank account numbers (ISO 13616): the country's length and the check digits, modulo 97.

use std::ops::Range;

use super::{is_free, is_hyphen, is_space};

/// The length of an IBAN by country, from the registry of SWIFT (release 99), in the order of the codes.
const LENGTHS: [(&str, usize); 89] = [
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BI", 27),
    ("BR", 29),
    ("BY", 28),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DJ", 27),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FK", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HN", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("LY", 25),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MN", 20),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("NI", 28),
    ("NL", 18),
    ("NO", 15),
    ("OM", 23),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("RU", 33),
    ("SA", 24),
    ("SC", 31),
    ("SD", 18),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("SO", 23),
    ("ST", 25),
    ("SV", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
    ("VG", 24),
    ("XK", 20),
    ("YE", 30),
];

/// The IBAN that begins here, in groups or not, in upper or lower case. From every word on, at most one IBAN's length is
/// looked at.
pub(super) fn at(text: &[char], position: usize) -> Option<Range<usize>> {
    let begins = is_free(text, position.checked_sub(1));
    begins.then(|| Some(position..iban_end(text, position)?)).flatten()
}

/// Where the IBAN that begins here ends.
fn iban_end(text: &[char], start: usize) -> Option<usize> {
    let country: String = text
        .get(start..start + 2)?
        .iter()
        .map(char::to_ascii_uppercase)
        .collect();
    let index = LENGTHS
        .binary_search_by_key(&country.as_str(), |(code, _)| *code)
        .ok()?;
    let (_, length) = LENGTHS.get(index)?;
    let mut values = Vec::with_capacity(*length);
    let mut position = start;
    while values.len() < *length {
        let character = text.get(position)?;
        match character.to_digit(36) {
            Some(value) => values.push(value),
            // One separator between two groups, after the country and the check digits.
            None if values.len() >= 4 && (is_space(*character) || is_hyphen(*character)) => {
                values.push(text.get(position + 1)?.to_digit(36)?);
                position += 1;
            }
            None => return None,
        }
        position += 1;
    }
    let check_digits = values.get(2..4)?.iter().all(|value| *value < 10);
    (check_digits && remainder(&values) == 1 && is_free(text, Some(position))).then_some(position)
}

/// The number that an IBAN stands for, its first four characters moved to the end and letters written as 10 to 35,
/// modulo 97.
fn remainder(values: &[u32]) -> u32 {
    let (head, tail) = values.split_at(4.min(values.len()));
    tail.iter().chain(head).fold(0, |remainder, value| match value {
        0..=9 => (remainder * 10 + value) % 97,
        _ => (remainder * 100 + value) % 97,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(super::super::tests::found_by(at, text), expected, "{text}");
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(LENGTHS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn accounts() {
        for iban in [
            "DE89370400440532013000",
            "DE89 3704 0044 0532 0130 00",
            "gb82 west 1234 5698 7654 32",
            "FR14-2004-1010-0505-0001-3M02-606",
            "NO9386011117947",
            "MT84MALT011000012345MTLCAST001S",
        ] {
            check(iban, &[iban]);
            check(&format!("an {iban}, please"), &[iban]);
            check(&format!("{iban} {iban}"), &[iban, iban]);
        }
    }

    #[test]
    fn other_things() {
        for text in [
            "DE88370400440532013000",
            "XX89370400440532013000",
            "DE8937040044053201300",
            "DE893704004405320130001",
            "ADE89370400440532013000",
            "DE 89 3704 0044 0532 0130 00",
            "DE89  3704 0044 0532 0130 00",
            "DE",
        ] {
            check(text, &[]);
        }
    }
}
