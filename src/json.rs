//! JSON from strangers, parsed strictly: what two parsers could read in two ways is refused.
//!
//! `serde_json` by itself lets the last of two equal keys win and turns integers that do not fit into floats. A signed
//! body must mean one thing only, so both are errors here, together with nesting deeper than the caller allows.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

/// The deepest nesting that [`parse_strict`] can be asked for: `serde_json` itself stops at 128 containers.
pub const DEPTH_LIMIT: usize = 127;

/// Why a document was refused, and where.
///
/// Neither field ever carries a value of the document; `pointer` names keys of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Line of the document, from 1.
    pub line: usize,
    /// Column in bytes, from 1; 0 at the very beginning of a line.
    pub column: usize,
    /// JSON Pointer of the innermost value that was being read, as far as it is known.
    pub pointer: String,
    /// What is wrong.
    pub kind: ErrorKind,
}

/// What is wrong with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Not JSON: a syntax error, text after the value, a lone surrogate, a number too large for a double.
    Syntax,
    /// The document ends within a value.
    UnexpectedEnd,
    /// Not UTF-8.
    Encoding,
    /// An object names the same key twice.
    DuplicateKey,
    /// More nested containers than allowed.
    TooDeep,
    /// An integer that fits neither `i64` nor `u64`.
    IntegerOutOfRange,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorKind::Syntax => "this is not valid JSON",
            ErrorKind::UnexpectedEnd => "the document ends before its value is complete",
            ErrorKind::Encoding => "the document is not valid UTF-8",
            ErrorKind::DuplicateKey => "the object has this key twice; keep one of them",
            ErrorKind::TooDeep => "the value is nested too deeply",
            ErrorKind::IntegerOutOfRange => "the integer does not fit 64 bits; send it as a string",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)?;
        if !self.pointer.is_empty() {
            write!(f, ", at {}", self.pointer)?;
        }
        write!(f, ": {}", self.kind)
    }
}

impl std::error::Error for Error {}

/// Parses one JSON document, refusing duplicate keys at any depth, more than `depth_max` nested containers (at most
/// [`DEPTH_LIMIT`]), integers beyond 64 bits, invalid UTF-8 and anything after the value.
///
/// # Errors
/// The first thing that is wrong, with its line, its column and, as far as it is known, its JSON Pointer.
pub fn parse_strict(bytes: &[u8], depth_max: usize) -> Result<Value, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| error_at(bytes, error.valid_up_to(), ErrorKind::Encoding))?;
    let trail = RefCell::new(Trail::default());
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = Strict {
        depth_left: depth_max.min(DEPTH_LIMIT),
        trail: &trail,
    };
    let parsed = seed
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    let trail = trail.into_inner();
    match parsed {
        Ok(value) if trail.saw_huge_number => match huge_integer(bytes) {
            Some(offset) => Err(error_at(bytes, offset, ErrorKind::IntegerOutOfRange)),
            None => Ok(value),
        },
        Ok(value) => Ok(value),
        Err(error) => Err(Error {
            line: error.line(),
            column: error.column(),
            pointer: trail.pointer(),
            kind: trail.refused.unwrap_or(if error.is_eof() {
                ErrorKind::UnexpectedEnd
            } else {
                ErrorKind::Syntax
            }),
        }),
    }
}

/// Escapes one token of a JSON Pointer (RFC 6901).
pub fn escape_token(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// The text that a token of a JSON Pointer stands for.
pub fn unescape_token(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// What the visitor notes beside the value: why it gave up, and the way to that place.
#[derive(Default)]
struct Trail {
    refused: Option<ErrorKind>,
    /// Tokens of the pointer, innermost first: they are written down while the error unwinds, so that a good document
    /// pays nothing for them.
    tokens: Vec<String>,
    saw_huge_number: bool,
}

impl Trail {
    fn pointer(&self) -> String {
        let escaped = self
            .tokens
            .iter()
            .rev()
            .map(|token| format!("/{}", escape_token(token)));
        escaped.collect()
    }
}

#[derive(Clone, Copy)]
struct Strict<'t> {
    depth_left: usize,
    trail: &'t RefCell<Trail>,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(&self, kind: ErrorKind) -> E {
        self.trail.borrow_mut().refused = Some(kind);
        E::custom(kind)
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Strict { depth_left, ..self }),
            None => Err(self.refuse(ErrorKind::TooDeep)),
        }
    }

    fn passed<T, E>(&self, result: Result<T, E>, token: impl FnOnce() -> String) -> Result<T, E> {
        if result.is_err() {
            self.trail.borrow_mut().tokens.push(token());
        }
        result
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        // An integer that does not fit arrives here as a float, like 1e30 does: the text decides, once it is known
        // that there is something to look for.
        if value.abs() >= 9.2e18 {
            self.trail.borrow_mut().saw_huge_number = true;
        }
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| self.refuse(ErrorKind::Syntax))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        loop {
            let item = items.next_element_seed(inner);
            match self.passed(item, || array.len().to_string())? {
                Some(value) => array.push(value),
                None => return Ok(Value::Array(array)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            match object.entry(key) {
                Entry::Occupied(entry) => {
                    let refused = Err(self.refuse::<A::Error>(ErrorKind::DuplicateKey));
                    return self.passed(refused, || entry.key().clone());
                }
                Entry::Vacant(entry) => {
                    let value = entries.next_value_seed(inner);
                    let value = self.passed(value, || entry.key().clone())?;
                    entry.insert(value);
                }
            }
        }
        Ok(Value::Object(object))
    }
}

/// The offset of the first integer in a valid document that fits neither `i64` nor `u64`.
fn huge_integer(document: &[u8]) -> Option<usize> {
    let mut rest = document;
    while let Some(&first) = rest.first() {
        let length = match first {
            b'"' => string_length(rest),
            b'-' | b'0'..=b'9' => {
                let is_number = |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let length = rest.iter().take_while(|b| is_number(b)).count();
                let text = rest.get(..length).and_then(|b| std::str::from_utf8(b).ok());
                if text.is_some_and(is_huge_integer) {
                    return Some(document.len() - rest.len());
                }
                length
            }
            _ => 1,
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    None
}

fn is_huge_integer(number: &str) -> bool {
    !number.contains(['.', 'e', 'E']) && number.parse::<i64>().is_err() && number.parse::<u64>().is_err()
}

/// The length of the string literal at the beginning of `rest`, its quotes included.
fn string_length(rest: &[u8]) -> usize {
    let mut escaped = false;
    for (index, byte) in rest.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

fn error_at(document: &[u8], offset: usize, kind: ErrorKind) -> Error {
    let before = document.get(..offset).unwrap_or(document);
    let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    Error {
        line: before.iter().filter(|b| **b == b'\n').count() + 1,
        column: offset.saturating_sub(line_start) + 1,
        pointer: String::new(),
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(document: &str, expected: Result<Value, (ErrorKind, &str, usize)>) {
        let got = parse_strict(document.as_bytes(), 3).map_err(|e| (e.kind, e.pointer, e.line));
        let expected = expected.map_err(|(kind, pointer, line)| (kind, pointer.to_owned(), line));
        assert_eq!(got, expected, "{document}");
    }

    #[test]
    fn keeps_what_json_says() {
        use serde_json::json;
        check(r#"{"b":[1,-2,0.5],"a":null}"#, Ok(json!({"b":[1,-2,0.5],"a":null})));
        check(" \"\\u00e4\\ud83d\\ude00\" ", Ok(json!("ä😀")));
        check("18446744073709551615", Ok(json!(u64::MAX)));
        check("-9223372036854775808", Ok(json!(i64::MIN)));
        check("1e30", Ok(json!(1e30)));
        check(
            r#"["99999999999999999999", 1e30]"#,
            Ok(json!(["99999999999999999999", 1e30])),
        );
    }

    #[test]
    fn refuses_what_can_be_read_in_two_ways() {
        check(r#"{"a":1,"a":1}"#, Err((ErrorKind::DuplicateKey, "/a", 1)));
        check("{\"a\":1,\n\"\\u0061\":1}", Err((ErrorKind::DuplicateKey, "/a", 2)));
        check(
            r#"[0,{"x/y":{"k":1,"k":2}}]"#,
            Err((ErrorKind::DuplicateKey, "/1/x~1y/k", 1)),
        );
        check("18446744073709551616", Err((ErrorKind::IntegerOutOfRange, "", 1)));
        check(
            "[1,\n -9223372036854775809]",
            Err((ErrorKind::IntegerOutOfRange, "", 2)),
        );
        check("1e400", Err((ErrorKind::Syntax, "", 1)));
    }

    #[test]
    fn refuses_what_is_not_json() {
        check("", Err((ErrorKind::UnexpectedEnd, "", 1)));
        check("[1", Err((ErrorKind::UnexpectedEnd, "/1", 1)));
        check("{} {}", Err((ErrorKind::Syntax, "", 1)));
        check("\u{feff}{}", Err((ErrorKind::Syntax, "", 1)));
        check(r#""\ud800""#, Err((ErrorKind::Syntax, "", 1)));
        let error = parse_strict(b"[1,\n\"\xff\"]", 3).map_err(|e| (e.kind, e.line, e.column));
        assert_eq!(error, Err((ErrorKind::Encoding, 2, 2)));
    }

    #[test]
    fn counts_containers_up_to_the_limit() {
        check("[[[1]]]", Ok(serde_json::json!([[[1]]])));
        check(r#"[{"a":[{}]}]"#, Err((ErrorKind::TooDeep, "/0/a/0", 1)));
        for (depth, accepted) in [(64, true), (65, false)] {
            let document = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            assert_eq!(parse_strict(document.as_bytes(), 64).is_ok(), accepted, "{depth}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_agrees_with_serde_json(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = parse_strict(&bytes, 64) {
                prop_assert_eq!(Some(value), serde_json::from_slice::<Value>(&bytes).ok());
            }
        }

        #[test]
        fn reads_back_what_was_written(text in ".*", number in any::<i64>(), float in -1e300..1e300f64) {
            let value = serde_json::json!({"t": text, "n": [number, float]});
            prop_assert_eq!(parse_strict(value.to_string().as_bytes(), 64), Ok(value));
        }
    }
}
