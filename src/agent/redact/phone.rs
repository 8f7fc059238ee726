//! Phone numbers: international ones (`+49 30 123456`, `0049 ...`), national ones with a trunk zero (`030/123456`), and
//! those of the North American plan (`(415) 555-0132`).

use std::ops::Range;

use super::{digit, is_free, is_hyphen, is_space};

/// The digits of an international number, country code included (E.164).
const INTERNATIONAL_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;
/// The digits of a national number, trunk zero included. Shorter ones are dates and order numbers more often.
const NATIONAL_DIGITS: std::ops::RangeInclusive<usize> = 9..=13;
/// The most characters between two groups of digits, as in `) ` or ` - `.
const SEPARATOR_MAX: usize = 3;

/// The phone number that begins here. From every group of digits on, as many digits as the longest number has are
/// looked at.
pub(super) fn at(text: &[char], position: usize) -> Option<Range<usize>> {
    let begins = text
        .get(position)
        .is_some_and(|c| matches!(c, '+' | '(') || digit(*c).is_some());
    let begins = begins && is_free(text, position.checked_sub(1));
    begins.then(|| Some(position..phone_end(text, position)?)).flatten()
}

/// A group of digits and where it ends.
struct Group {
    digits: Vec<u32>,
    end: usize,
    /// The character before it.
    separator: Option<char>,
}

fn phone_end(text: &[char], start: usize) -> Option<usize> {
    let international = text.get(start) == Some(&'+');
    let groups = groups(text, start + usize::from(international));
    let first = groups.first()?.digits.as_slice();
    if international {
        return (first.first() != Some(&0))
            .then(|| end(&groups, INTERNATIONAL_DIGITS))
            .flatten();
    }
    match first {
        [0, 0, country, ..] if *country != 0 => {
            let digits = INTERNATIONAL_DIGITS.start() + 2..=INTERNATIONAL_DIGITS.end() + 2;
            end(&groups, digits)
        }
        [0, area, ..] if *area != 0 && !is_date(&groups) => end(&groups, NATIONAL_DIGITS),
        // The trunk zero in parentheses or by itself: `(0) 30 123456`.
        [0] if groups.len() > 1 => end(&groups, NATIONAL_DIGITS),
        _ => north_american(&groups),
    }
}

/// The groups of digits from a position on, as far as a number may go.
fn groups(text: &[char], start: usize) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut total = 0;
    let mut position = start;
    loop {
        let separators = text.get(position..).unwrap_or_default().iter().take(SEPARATOR_MAX);
        let separators = separators.take_while(|character| is_separator(**character)).count();
        let separator = separators
            .checked_sub(1)
            .and_then(|last| text.get(position + last))
            .copied();
        let from = position + separators;
        let digits = text
            .get(from..)
            .unwrap_or_default()
            .iter()
            .map_while(|character| digit(*character));
        let digits: Vec<u32> = digits.take(INTERNATIONAL_DIGITS.end() + 3).collect();
        position = from + digits.len();
        total += digits.len();
        if digits.is_empty() || total > INTERNATIONAL_DIGITS.end() + 2 || !is_free(text, Some(position)) {
            return groups;
        }
        groups.push(Group {
            digits,
            end: position,
            separator,
        });
    }
}

fn is_separator(character: char) -> bool {
    is_space(character) || is_hyphen(character) || matches!(character, '.' | '/' | '(' | ')')
}

/// Where the longest number of so many digits ends.
fn end(groups: &[Group], digits: std::ops::RangeInclusive<usize>) -> Option<usize> {
    let mut total = 0;
    let mut longest = None;
    for group in groups {
        total += group.digits.len();
        if digits.contains(&total) {
            longest = Some(group.end);
        }
    }
    longest
}

/// `01.02.2024` and `01/02/24` are dates.
fn is_date(groups: &[Group]) -> bool {
    let [day, month, year, ..] = groups else { return false };
    let lengths = [day.digits.len(), month.digits.len(), year.digits.len()];
    matches!(lengths, [2, 1..=2, 2 | 4])
        && month.separator == year.separator
        && month.separator.is_some_and(|c| !is_space(c))
}

/// Three, three and four digits, of which area and exchange begin with 2 to 9; perhaps after the country code 1.
fn north_american(groups: &[Group]) -> Option<usize> {
    let groups = match groups {
        [country, rest @ ..] if country.digits == [1] => rest,
        all => all,
    };
    let [area, exchange, line, ..] = groups else {
        return None;
    };
    let begins = |group: &Group| group.digits.len() == 3 && group.digits.first().is_some_and(|first| *first >= 2);
    (begins(area) && begins(exchange) && line.digits.len() == 4).then_some(line.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(super::super::tests::found_by(at, text), expected, "{text}");
    }

    #[test]
    fn numbers() {
        for phone in [
            "+49 30 123456",
            "+4930123456",
            "+49 (0) 30 / 123 456-78",
            "0049 30 123456",
            "030/123456",
            "(030) 123456",
            "0171 2345678",
            "+1 415 555 0132",
            "1-800-555-0199",
            "(415) 555-0132",
            "415.555.0132",
            "+33 1 23 45 67 89",
            "+٤٩ ٣٠ ١٢٣٤٥٦",
        ] {
            check(phone, &[phone]);
            check(&format!("Tel.: {phone}, thanks"), &[phone]);
        }
        check("+49 30 123456 or +49 30 654321", &["+49 30 123456", "+49 30 654321"]);
    }

    #[test]
    fn other_numbers() {
        for text in [
            "2024-01-15 12:30",
            "01.02.2024 10 Uhr",
            "192.168.100.200",
            "order 12345678",
            "1234567890",
            "+1",
            "0.123456",
            "a0171234567890",
            "01712345678x",
            "123 456 7890",
            "3.14159265358979",
        ] {
            check(text, &[]);
        }
    }
}
