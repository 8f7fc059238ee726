//! Structured fields (RFC 9651), read strictly.
//!
//! RFC 9651 lets the last of two equal keys win. Under a signature that is a trap: two readers may
//! choose differently. Here every duplicate key, of a dictionary or of parameters, is an error.

use sfv::visitor::{DictionaryVisitor, EntryVisitor, InnerListVisitor, ItemVisitor, ParameterVisitor};
use sfv::{BareItem, BareItemFromInput, KeyRef, Parser};

/// A dictionary, and each list of parameters, has at most this many keys: the search for duplicates compares each with all
/// before it, and strangers may make us do it.
pub const KEYS_MAX: usize = 32;

/// Parameters in the order in which they were received.
pub type Parameters = Vec<(String, BareItem)>;

/// A bare item with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The value itself.
    pub value: BareItem,
    /// Its parameters, in order.
    pub parameters: Parameters,
}

/// What a dictionary's key stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Member {
    /// `key=value;parameters`
    Item(Item),
    /// `key=(a b);parameters`
    InnerList(Vec<Item>, Parameters),
}

/// A dictionary in the order in which it was received.
pub type Dictionary = Vec<(String, Member)>;

/// Why a field could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FieldError(String);

/// Reads a dictionary field.
///
/// # Errors
/// On any deviation from RFC 9651's grammar, and on a duplicate key at any level.
pub fn parse_dictionary(text: &str) -> Result<Dictionary, FieldError> {
    let mut members = Dictionary::new();
    Parser::new(text)
        .parse_dictionary_with_visitor(DictionaryReader(&mut members))
        .map_err(|error| FieldError(error.to_string()))?;
    Ok(members)
}

/// Reads an item field that is a string, such as `Idempotency-Key`, without parameters.
///
/// # Errors
/// When the field is no structured string: `run_01/s1` must be sent as `"run_01/s1"`.
pub fn parse_string(text: &str) -> Result<String, FieldError> {
    let mut items = Vec::new();
    Parser::new(text)
        .parse_item_with_visitor(ItemReader(&mut items))
        .map_err(|error| FieldError(error.to_string()))?;
    match items.pop() {
        Some(Item {
            value: BareItem::String(value),
            parameters,
        }) if parameters.is_empty() => Ok(value.as_str().to_owned()),
        _ => Err(FieldError("expected one quoted string".into())),
    }
}

/// Serialises a string item: quoted, with `\` and `"` escaped.
///
/// # Errors
/// When the text holds a character that a structured string cannot (anything but printable ASCII).
pub fn serialise_string(text: &str) -> Result<String, FieldError> {
    if let Some(bad) = text.chars().find(|c| !(' '..='~').contains(c)) {
        return Err(FieldError(format!(
            "{bad:?} cannot stand in a structured string, only printable ASCII can"
        )));
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

struct DictionaryReader<'a>(&'a mut Dictionary);

impl<'de> DictionaryVisitor<'de> for DictionaryReader<'_> {
    type Out = ();
    type Error = FieldError;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, FieldError> {
        refuse_duplicate(self.0.iter().map(|(name, _)| name), key)?;
        Ok(EntryReader(self.0, key.as_str().to_owned()))
    }

    fn finish(self) -> Result<(), FieldError> {
        Ok(())
    }
}

struct EntryReader<'a>(&'a mut Dictionary, String);

impl<'de> EntryVisitor<'de> for EntryReader<'_> {
    type Error = FieldError;

    fn item(self) -> Result<impl ItemVisitor<'de>, FieldError> {
        Ok(move |value: BareItemFromInput<'de>| -> Result<_, FieldError> {
            let item = Item {
                value: value.into(),
                parameters: Parameters::new(),
            };
            self.0.push((self.1, Member::Item(item)));
            match self.0.last_mut() {
                Some((_, Member::Item(item))) => Ok(ParameterReader(&mut item.parameters)),
                _ => Err(FieldError("unreadable dictionary member".into())),
            }
        })
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, FieldError> {
        self.0.push((self.1, Member::InnerList(Vec::new(), Parameters::new())));
        match self.0.last_mut() {
            Some((_, Member::InnerList(items, parameters))) => Ok(InnerListReader(items, parameters)),
            _ => Err(FieldError("unreadable inner list".into())),
        }
    }
}

struct InnerListReader<'a>(&'a mut Vec<Item>, &'a mut Parameters);

impl<'de> InnerListVisitor<'de> for InnerListReader<'_> {
    type Error = FieldError;

    fn item(&mut self) -> Result<impl ItemVisitor<'de>, FieldError> {
        Ok(ItemReader(self.0))
    }

    fn finish(self) -> Result<impl ParameterVisitor<'de>, FieldError> {
        Ok(ParameterReader(self.1))
    }
}

struct ItemReader<'a>(&'a mut Vec<Item>);

impl<'de> ItemVisitor<'de> for ItemReader<'_> {
    type Out = ();
    type Error = FieldError;

    fn bare_item(self, value: BareItemFromInput<'de>) -> Result<impl ParameterVisitor<'de, Out = ()>, FieldError> {
        self.0.push(Item {
            value: value.into(),
            parameters: Parameters::new(),
        });
        match self.0.last_mut() {
            Some(item) => Ok(ParameterReader(&mut item.parameters)),
            None => Err(FieldError("unreadable item".into())),
        }
    }
}

struct ParameterReader<'a>(&'a mut Parameters);

impl<'de> ParameterVisitor<'de> for ParameterReader<'_> {
    type Out = ();
    type Error = FieldError;

    fn parameter(&mut self, key: &'de KeyRef, value: BareItemFromInput<'de>) -> Result<(), FieldError> {
        refuse_duplicate(self.0.iter().map(|(name, _)| name), key)?;
        self.0.push((key.as_str().to_owned(), value.into()));
        Ok(())
    }

    fn finish(self) -> Result<(), FieldError> {
        Ok(())
    }
}

fn refuse_duplicate<'a>(seen: impl Iterator<Item = &'a String>, key: &KeyRef) -> Result<(), FieldError> {
    for (index, name) in seen.enumerate() {
        if name == key.as_str() {
            return Err(FieldError(format!("duplicate key `{name}`")));
        }
        if index + 1 == KEYS_MAX {
            return Err(FieldError(format!("more than {KEYS_MAX} keys")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<usize, &str>) {
        let found = parse_dictionary(text);
        match (found, expected) {
            (Ok(members), Ok(count)) => assert_eq!(members.len(), count, "{text}"),
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "{text}: {error}");
            }
            (found, expected) => panic!("{text}: found {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn dictionaries() {
        check(r#"sig1=("@method" "@path";req);created=1;nonce="n""#, Ok(1));
        check("sig1=:AAAA:, sig2=:BBBB:", Ok(2));
        check("sig1=:AAAA:, sig1=:BBBB:", Err("duplicate key `sig1`"));
        check("sig1=();a=1;a=2", Err("duplicate key `a`"));
        check(r#"sig1=("x";req;req)"#, Err("duplicate key `req`"));
        check("sig1=(", Err(""));
        check("sig1=1;a;a", Err("duplicate key `a`"));
    }

    #[test]
    fn key_count() {
        let keys = |count: usize| (0..count).map(|index| format!("k{index}")).collect::<Vec<_>>();
        check(&keys(KEYS_MAX).join(", "), Ok(KEYS_MAX));
        check(&keys(KEYS_MAX + 1).join(", "), Err("more than 32 keys"));
        check(&format!("a;{}", keys(KEYS_MAX).join(";")), Ok(1));
        check(&format!("a;{}", keys(KEYS_MAX + 1).join(";")), Err("more than 32 keys"));
    }

    #[test]
    fn order_is_kept() {
        let members = parse_dictionary(r#"s=("b" "a");z=1;y="2""#).expect("a valid field");
        let Some((_, Member::InnerList(items, parameters))) = members.first() else {
            panic!("an inner list");
        };
        let names: Vec<_> = parameters.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["z", "y"]);
        assert_eq!(items.len(), 2);
    }

    #[test]
    fn strings() {
        assert_eq!(parse_string(r#""run_01/s1""#).as_deref(), Ok("run_01/s1"));
        assert!(parse_string("run_01/s1").is_err());
        assert!(parse_string(r#""a", "b""#).is_err());
        assert!(parse_string(r#""a";b"#).is_err());
        assert_eq!(serialise_string("a\"b\\").as_deref(), Ok(r#""a\"b\\""#));
        assert!(serialise_string("ä").is_err());
    }
}
