//! The ids of runs and steps: any text, so a path and a shell need them written with care.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::args::Page;

/// An id has at most this many bytes.
const MAX_BYTES: usize = 128;

/// Everything but the unreserved characters of RFC 3986: a path has one spelling then, and that is what is signed.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Takes an id from the command line.
pub fn parse(text: &str) -> Result<String, String> {
    if !(1..=MAX_BYTES).contains(&text.len()) || text.chars().any(char::is_control) {
        return Err(format!(
            "an id has 1 to {MAX_BYTES} bytes of text without control characters"
        ));
    }
    // However they are encoded, a URL library may take them for steps in the path's tree.
    if text == "." || text == ".." {
        return Err("`.` and `..` are no ids: a path cannot carry them".to_owned());
    }
    Ok(text.to_owned())
}

/// An id as one segment of a path.
pub fn segment(id: &str) -> String {
    utf8_percent_encode(id, &RESERVED).to_string()
}

/// A list's path, with the query that asks for this part of it.
pub fn list_path(path: &str, page: &Page) -> String {
    let limit = page.limit.map(|limit| format!("limit={limit}"));
    let cursor = page.cursor.as_ref().map(|cursor| format!("cursor={}", segment(cursor)));
    let query: Vec<_> = limit.into_iter().chain(cursor).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{path}{mark}{}", query.join("&"))
}

/// The path below a run; `rest` begins with a slash or is empty.
pub fn run_path(run: &str, rest: &str) -> String {
    format!("/runs/{}{rest}", segment(run))
}

/// The path below a step of a run.
pub fn step_path(run: &str, step: &str, rest: &str) -> String {
    run_path(run, &format!("/steps/{}{rest}", segment(step)))
}

/// An id in printable ASCII, which is what an idempotency key takes.
pub fn in_ascii(id: &str) -> String {
    if id.is_ascii() { id.to_owned() } else { segment(id) }
}

/// An argument as a shell takes it.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_id() {
        let check = |text: &str, expected: bool| assert_eq!(parse(text).is_ok(), expected, "{text:?}");
        check("run 1/ä", true);
        check("...", true);
        check("", false);
        check(".", false);
        check("..", false);
        check("a\nb", false);
        check("a\u{85}b", false);
        check(&"a".repeat(128), true);
        check(&"ä".repeat(65), false);
    }

    #[test]
    fn a_path_has_one_spelling() {
        let check = |run: &str, step: &str, expected: &str| {
            let path = step_path(run, step, "/cancel");
            assert_eq!(path, expected);
            assert!(baton::signature::path::is_canonical(&path), "{path}");
        };
        check("run_01", "s-1.~", "/runs/run_01/steps/s-1.~/cancel");
        check("a/b c", "ä:@!%", "/runs/a%2Fb%20c/steps/%C3%A4%3A%40%21%25/cancel");
        check("...", "?#", "/runs/.../steps/%3F%23/cancel");
        assert_eq!(run_path("a", ""), "/runs/a");
    }

    #[test]
    fn what_is_suggested_can_be_pasted() {
        assert_eq!(quoted("run_01"), "run_01");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(in_ascii("a/b"), "a/b");
        assert_eq!(in_ascii("ä/b"), "%C3%A4%2Fb");
    }
}
