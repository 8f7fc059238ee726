//! JSON and files that a person names on the command line.

use std::convert::Infallible;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::Value;

use crate::output::Failure;

/// A file or standard input is read up to this size: four times the largest body that a gateway takes by default.
pub const INPUT_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Where JSON comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonSource {
    /// It stands on the command line.
    Inline(String),
    /// It comes from a file or from standard input.
    From(Source),
}

/// Where bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Standard input, named `-`.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" {
            Self::Stdin
        } else {
            Self::File(text.into())
        })
    }
}

impl FromStr for JsonSource {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        if text.trim_start().starts_with(['{', '[', '"']) {
            return Ok(Self::Inline(text.to_owned()));
        }
        text.parse().map(Self::From)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Source {
    /// All bytes, up to [`INPUT_MAX_BYTES`].
    pub fn read(&self) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let limit = INPUT_MAX_BYTES + 1;
        match self {
            Self::Stdin => std::io::stdin().lock().take(limit).read_to_end(&mut bytes),
            Self::File(path) => std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
        }
        .map_err(|error| self.unreadable(&error))?;
        if bytes.len() as u64 > INPUT_MAX_BYTES {
            return Err(Failure::usage(format!("{self} is larger than {INPUT_MAX_BYTES} bytes")));
        }
        Ok(bytes)
    }

    fn unreadable(&self, error: &std::io::Error) -> Failure {
        let from = match self {
            // A relative path is looked up from where the command runs: saying so saves the second guess.
            Self::File(path) if path.is_relative() => std::env::current_dir()
                .map(|here| format!(" (looked up from {})", here.display()))
                .unwrap_or_default(),
            _ => String::new(),
        };
        Failure::usage(format!("cannot read {self}{from}: {}", reason(error)))
    }
}

/// The reason without the operating system's number.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "you may not read it".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// Reads a text file.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    let source = Source::File(path.to_owned());
    String::from_utf8(source.read()?).map_err(|_| Failure::usage(format!("{source} is not UTF-8 text")))
}

impl JsonSource {
    /// Reads and parses; `flag` names the argument in errors.
    pub fn read(&self, flag: &str) -> Result<Value, Failure> {
        self.read_both(flag).map(|(value, _)| value)
    }

    /// Reads JSON text as it stands, which is checked all the same: what is written byte by byte comes back so.
    pub fn read_text(&self, flag: &str) -> Result<Vec<u8>, Failure> {
        self.read_both(flag).map(|(_, bytes)| bytes)
    }

    fn read_both(&self, flag: &str) -> Result<(Value, Vec<u8>), Failure> {
        let (name, bytes) = match self {
            Self::Inline(text) => ("what stands there".to_owned(), text.clone().into_bytes()),
            Self::From(source) => {
                let bytes = source.read().map_err(|failure| self.hint(flag, failure))?;
                (source.to_string(), bytes)
            }
        };
        match parse(&bytes) {
            Ok(value) => Ok((value, bytes)),
            Err(error) => Err(Failure::usage(format!("{flag}: {name} is refused at {error}"))),
        }
    }

    fn hint(&self, flag: &str, failure: Failure) -> Failure {
        let message = failure.message();
        Failure::usage(format!(
            "{flag}: {message}\n  Give a file, `-` for standard input, or the JSON itself, such as '{{\"text\":\"hello\"}}'."
        ))
    }
}

/// Parses as strictly as the gateway does, so that what it would refuse is told here, with line and column.
fn parse(bytes: &[u8]) -> Result<Value, baton::json::Error> {
    baton::json::parse_strict(bytes, baton::json::DEPTH_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(argument: &str, expected: &str) {
        let source: JsonSource = argument.parse().unwrap_or_else(|never| match never {});
        let found = match source.read("--input") {
            Ok(value) => value.to_string(),
            Err(failure) => failure.to_string(),
        };
        assert!(found.contains(expected), "{argument}: {found}");
    }

    #[test]
    fn inline_json() {
        check(r#"{"text":"hi"}"#, r#"{"text":"hi"}"#);
        check(r#" ["a"]"#, r#"["a"]"#);
        check(r#""a""#, r#""a""#);
        check("{\"a\":\n  tru}", "line 2, column");
        check(r#"{"a":1,"a":2}"#, "at /a: the object has this key twice");
    }

    #[test]
    fn files() {
        check("no/such/file.json", "there is no such file");
        check("no/such/file.json", "looked up from");
        check("/", "cannot read /");
        assert_eq!("-".parse(), Ok(Source::Stdin));
    }
}
