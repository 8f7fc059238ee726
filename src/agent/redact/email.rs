//! E-mail addresses, international ones too (RFC 6531): letters of any script around an `@`.

use std::ops::Range;

/// The address whose `@` stands here. Every character is looked at twice at most: an address ends at the next `@`.
pub(super) fn at(text: &[char], position: usize) -> Option<Range<usize>> {
    let is_at = text.get(position) == Some(&'@');
    is_at
        .then(|| Some(local_start(text, position)?..domain_end(text, position)?))
        .flatten()
}

/// Where the part before the `@` begins.
fn local_start(text: &[char], at: usize) -> Option<usize> {
    let before = text.get(..at)?;
    let local = |character: &char| character.is_alphanumeric() || "._%+-'".contains(*character);
    let length = before.iter().rev().take_while(|character| local(character)).count();
    // A quote or a full stop before an address belongs to the sentence.
    let leading = before.get(before.len() - length..)?;
    let dropped = leading
        .iter()
        .take_while(|character| ".-'".contains(**character))
        .count();
    (length > dropped).then_some(at - length + dropped)
}

/// Where the domain ends: labels with dots between, of which the last is a name.
fn domain_end(text: &[char], at: usize) -> Option<usize> {
    let after = text.get(at + 1..)?;
    let in_domain = |character: &char| character.is_alphanumeric() || matches!(character, '.' | '-');
    let mut domain: Vec<char> = after.iter().copied().take_while(in_domain).collect();
    // Cut back what is no domain at the end, like the full stop of a sentence.
    loop {
        let hyphens = domain.iter().rev().take_while(|character| **character == '-').count();
        domain.truncate(domain.len() - hyphens);
        let dot = domain.iter().rposition(|character| *character == '.')?;
        if dot > 0 && domain.get(dot + 1..).is_some_and(is_top_level) && domain.first() != Some(&'.') {
            return Some(at + 1 + domain.len());
        }
        domain.truncate(dot);
    }
}

fn is_top_level(label: &[char]) -> bool {
    label.len() >= 2 && label.iter().any(|character| character.is_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(super::super::tests::found_by(at, text), expected, "{text}");
    }

    #[test]
    fn addresses() {
        check("ada@example.org", &["ada@example.org"]);
        check(
            "Write to 'ada.l+news@mail.example.co.uk'.",
            &["ada.l+news@mail.example.co.uk"],
        );
        check(
            "<mailto:o'neil_1@ex-ample.de>, x@y.io.",
            &["o'neil_1@ex-ample.de", "x@y.io"],
        );
        check(
            "用户@例子.公司 jörg@bücher.de a@xn--p1ai.xn--p1ai",
            &["用户@例子.公司", "jörg@bücher.de", "a@xn--p1ai.xn--p1ai"],
        );
        check("a@b.de@c.fr", &["a@b.de"]);
        check("a@b.c9- a@b.com--", &["a@b.c9", "a@b.com"]);
    }

    #[test]
    fn other_things() {
        for text in [
            "@ada", "ada@", "a@b", "a@b.", "a@.de", "a@b.c", "5 @ 3.50", "...@b.de", "a@1.25",
        ] {
            check(text, &[]);
        }
    }
}
