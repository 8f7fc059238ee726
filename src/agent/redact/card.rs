//! Payment cards: 13 to 19 digits (ISO/IEC 7812), in groups or not, that satisfy the Luhn check.

use std::ops::Range;

use super::{digit, is_free, is_hyphen, is_space};

const DIGITS_MIN: usize = 13;
const DIGITS_MAX: usize = 19;

/// The card that begins here. From every group of digits on, at most [`DIGITS_MAX`] digits are looked at.
pub(super) fn at(text: &[char], position: usize) -> Option<Range<usize>> {
    let begins = is_free(text, position.checked_sub(1));
    begins.then(|| Some(position..card_end(text, position)?)).flatten()
}

/// Where the longest card that begins here ends.
fn card_end(text: &[char], start: usize) -> Option<usize> {
    let mut digits = Vec::with_capacity(DIGITS_MAX);
    let mut end = None;
    let mut position = start;
    while let Some(value) = text.get(position).and_then(|character| digit(*character)) {
        if digits.len() == DIGITS_MAX {
            break;
        }
        digits.push(value);
        position += 1;
        let ends = is_free(text, Some(position));
        if ends && digits.len() >= DIGITS_MIN && is_card(&digits) {
            end = Some(position);
        }
        // One separator between two groups.
        let separator = text
            .get(position)
            .is_some_and(|character| is_space(*character) || is_hyphen(*character));
        position += usize::from(separator);
    }
    end
}

/// Whether the industry is one that issues payment cards (2 to 6) and the digits satisfy the Luhn check.
fn is_card(digits: &[u32]) -> bool {
    digits.first().is_some_and(|first| (2..=6).contains(first)) && luhn(digits).is_multiple_of(10)
}

/// The Luhn sum: every second digit from the right counts double, as the sum of its own digits.
fn luhn(digits: &[u32]) -> u32 {
    let weighted = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, value)| match (index % 2, value * 2) {
            (0, _) => *value,
            (_, double @ 10..) => double - 9,
            (_, double) => double,
        });
    weighted.sum()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The digits, and the one that makes them satisfy the Luhn check.
    pub(in super::super) fn with_check_digit(digits: &str) -> String {
        let numbered = |last: u32| format!("{digits}{last}");
        let valid = |number: &String| luhn(&number.chars().filter_map(digit).collect::<Vec<_>>()).is_multiple_of(10);
        (0..10).map(numbered).find(valid).unwrap()
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(super::super::tests::found_by(at, text), expected, "{text}");
    }

    #[test]
    fn cards_of_several_networks() {
        for card in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "5500-0055-5555-5559",
            "2223\u{a0}0031\u{a0}2200\u{a0}3222",
            "3782 822463 10005",
            "6011000990139424",
            "4222222222222",
            "６０１１０００９９０１３９４２４",
        ] {
            check(card, &[card]);
            check(&format!("card:{card}."), &[card]);
        }
        check("12 4111 1111 1111 1111 12", &["4111 1111 1111 1111"]);
    }

    #[test]
    fn other_numbers() {
        for text in [
            "4111 1111 1111 1112",
            "0000000000000000",
            "x4111111111111111",
            "4111111111111111x",
            "41111111111111111111111111",
            "4111  1111  1111  1111",
            "411111111111",
        ] {
            check(text, &[]);
        }
    }
}
