//! What a reader is shown of an answer that is still coming: all of a text, or one member of an object, a string.

use super::form::Shows;

/// Follows an answer as it grows.
pub(super) struct Shown<'a> {
    shows: Shows<'a>,
    /// So many bytes of the answer were looked at.
    read: usize,
    scan: Scan,
    /// Whether anything was shown.
    pub(super) anything: bool,
}

/// Where in the JSON the scan is.
#[derive(Default)]
struct Scan {
    depth: u32,
    in_string: bool,
    after_backslash: bool,
    /// Whether the string is, or the next one would be, the name of a member of the outermost object.
    is_name: bool,
    /// The name that was read last, as it is written.
    name: String,
    /// Whether the string is the one to show.
    showing: bool,
    /// The hexadecimal digits of an escape, of which not all are there yet.
    hex: Option<String>,
    /// The first half of a character that is written as two escapes.
    high: Option<u32>,
}

impl<'a> Shown<'a> {
    pub(super) fn new(shows: Shows<'a>) -> Self {
        Self {
            shows,
            read: 0,
            scan: Scan::default(),
            anything: false,
        }
    }

    /// Forgets what there was: another answer comes in its place.
    pub(super) fn begin_again(&mut self) {
        *self = Self::new(self.shows);
    }

    /// What is new to show, where this is all of the answer so far.
    pub(super) fn more(&mut self, text: &str) -> String {
        let new = text.get(self.read..).unwrap_or_default();
        self.read = text.len();
        let more = match self.shows {
            Shows::All => new.to_owned(),
            Shows::Member(member) => new.chars().filter_map(|c| self.scan.step(c, member)).collect(),
        };
        self.anything |= !more.is_empty();
        more
    }
}

impl Scan {
    /// Goes over a character, and answers one that is to be shown.
    fn step(&mut self, c: char, member: &str) -> Option<char> {
        if !self.in_string {
            self.between(c, member);
            return None;
        }
        if let Some(hex) = &mut self.hex {
            hex.push(c);
            if hex.len() < 4 {
                return None;
            }
            let unit = u32::from_str_radix(hex, 16).unwrap_or(0xfffd);
            self.hex = None;
            let c = self.unit(unit);
            return c.filter(|_| self.showing);
        }
        if std::mem::take(&mut self.after_backslash) {
            let c = match c {
                'u' => {
                    self.hex = Some(String::new());
                    return None;
                }
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                other => other,
            };
            return self.character(c);
        }
        match c {
            '\\' => {
                self.after_backslash = true;
                None
            }
            '"' => {
                self.in_string = false;
                self.showing = false;
                None
            }
            other => self.character(other),
        }
    }

    fn between(&mut self, c: char, member: &str) {
        match c {
            '"' => {
                self.in_string = true;
                let outermost = self.depth == 1;
                self.showing = outermost && !self.is_name && self.name == member;
                if outermost && self.is_name {
                    self.name.clear();
                }
            }
            '{' | '[' => {
                self.depth += 1;
                self.is_name = self.depth == 1 && c == '{';
            }
            '}' | ']' => self.depth = self.depth.saturating_sub(1),
            ',' if self.depth == 1 => self.is_name = true,
            ':' if self.depth == 1 => self.is_name = false,
            _ => {}
        }
    }

    fn character(&mut self, c: char) -> Option<char> {
        if self.depth == 1 && self.is_name {
            self.name.push(c);
        }
        self.showing.then_some(c)
    }

    /// A character of an escape, or its first half.
    fn unit(&mut self, unit: u32) -> Option<char> {
        match (self.high.take(), unit) {
            (_, 0xd800..=0xdbff) => {
                self.high = Some(unit);
                None
            }
            (Some(high), 0xdc00..=0xdfff) => char::from_u32(0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00)),
            _ => Some(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// Shows an answer character by character.
    fn shown(shows: Shows<'_>, answer: &str) -> String {
        let mut shown = Shown::new(shows);
        let ends = answer.char_indices().map(|(at, c)| at + c.len_utf8());
        ends.map(|end| shown.more(&answer[..end])).collect()
    }

    #[test]
    fn one_member_is_shown() {
        let check =
            |answer: &str, expected: &str| assert_eq!(shown(Shows::Member("text"), answer), expected, "{answer}");
        check(r#"{"text": "Hello"}"#, "Hello");
        check(
            r#" {"n": [1, {"text": "no"}, "text"], "other": "text", "text" : "yes", "z": "no"}"#,
            "yes",
        );
        check(
            r#"{"text": "a\n\"b\"\\ \u00e4 \ud83d\ude00 \ud800x"#,
            "a\n\"b\"\\ \u{e4} \u{1f600} x",
        );
        check(r#"{"x": {"text": "no"}, "text": "yes"}"#, "yes");
        check(r#"{"text": 5, "x": "no"}"#, "");
        check(r#"["text", "no"]"#, "");
        check("text", "");
    }

    #[test]
    fn a_text_is_shown_as_it_comes() {
        assert_eq!(shown(Shows::All, "gr\u{fc}\u{df}e"), "gr\u{fc}\u{df}e");
    }

    proptest! {
        #[test]
        fn any_text_is_shown_as_it_is_meant(before in ".*", text in ".*", after in ".*") {
            let answer = json!({"before": before, "text": text, "after": [after]}).to_string();
            prop_assert_eq!(shown(Shows::Member("text"), &answer), text);
        }

        #[test]
        fn nothing_makes_it_panic(answer in "[\\\\\"{}u0-9a-f:, text]*") {
            let _ = shown(Shows::Member("text"), &answer);
        }
    }
}
