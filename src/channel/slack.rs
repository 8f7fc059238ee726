//! The kind `slack`: the body of an incoming webhook, `{"text", "blocks"}`.

use serde_json::json;

use super::Notice;

/// The text of a section is at most this long: 3000 characters in Slack's count, which are taken for units of UTF-16 here.
pub const SECTION_MAX_UNITS: usize = 3_000;
/// Stands at the end of what was cut.
const CUT: &str = "…";

/// A text in which `&`, `<` and `>` are written as Slack wants them: nothing in it is a link, a mention or a channel.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// As much of a text, escaped, as fits into so many units; no entity is cut in two.
fn fitting(text: &str, units_max: usize) -> String {
    let whole = escaped(text);
    if units(&whole) <= units_max {
        return whole;
    }
    let mut room = units_max - units(CUT);
    let mut cut = String::new();
    for character in text.chars() {
        let written = escaped(character.encode_utf8(&mut [0; 4]));
        let Some(left) = room.checked_sub(units(&written)) else {
            break;
        };
        room = left;
        cut.push_str(&written);
    }
    cut + CUT
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

pub(super) fn body(notice: &Notice) -> Vec<u8> {
    let title = fitting(&notice.title, SECTION_MAX_UNITS / 10);
    let head = format!("*{title}*\n");
    let text = fitting(&notice.text, SECTION_MAX_UNITS - units(&head));
    let section = head + &text;
    json!({
        // What a notification of the device shows, and screen readers read.
        "text": title,
        "blocks": [
            { "type": "section", "text": { "type": "mrkdwn", "text": section } },
            { "type": "context", "elements": [{ "type": "plain_text", "text": format!("{} {}", notice.kind, notice.id) }] },
        ],
    })
    .to_string()
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slack_would_understand_is_escaped() {
        for (text, expected) in [
            ("a < b && c > d", "a &lt; b &amp;&amp; c &gt; d"),
            (
                "<!channel> <@U1> <https://evil.example|ok>",
                "&lt;!channel&gt; &lt;@U1&gt; &lt;https://evil.example|ok&gt;",
            ),
            ("&lt;", "&amp;lt;"),
            ("*bold* ä", "*bold* ä"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn a_text_is_cut_at_the_limit_and_never_within_an_entity_or_a_character() {
        for (text, max, expected) in [
            ("abcde", 5, "abcde"),
            ("abcdef", 5, "abcd…"),
            ("<", 4, "&lt;"),
            ("a<<", 8, "a&lt;…"),
            ("a<<", 9, "a&lt;&lt;"),
            ("a<<<", 9, "a&lt;…"),
            ("a\u{1f600}b", 4, "a\u{1f600}b"),
            ("a\u{1f600}bc", 4, "a\u{1f600}…"),
            ("a\u{1f600}bc", 3, "a…"),
        ] {
            let cut = fitting(text, max);
            assert_eq!(cut, expected, "{text} {max}");
            assert!(units(&cut) <= max);
        }
    }
}
