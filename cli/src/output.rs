//! What a command says and how it ends: text for a person or a pipe, and an exit code that a script can use.

use std::fmt;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use anstyle::AnsiColor;
use serde_json::Value;

/// How a command ends. `baton --help` documents the numbers; they are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked to.
    Done = 0,
    /// It worked, and the result is a bad one: a failed step, a finding, a signature that does not hold.
    Bad = 1,
    /// It was asked wrongly: an argument, a file, a configuration.
    Usage = 2,
    /// The gateway refused.
    Refused = 3,
    /// No answer, or an answer that cannot be trusted.
    Transport = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What a command that ran to its end has to say.
#[derive(Debug)]
pub struct Report {
    /// For standard output.
    pub text: String,
    /// For standard error: what a pipe must not receive.
    pub notes: String,
    /// How it ends.
    pub exit: Exit,
}

impl Report {
    /// A report on standard output alone.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            notes: String::new(),
            exit,
        }
    }

    /// Adds a line for standard error.
    #[must_use]
    pub fn note(mut self, line: impl AsRef<str>) -> Self {
        self.notes.push_str(line.as_ref());
        self.notes.push('\n');
        self
    }
}

/// Why a command could not run to its end: what was wrong, where, and what to do.
#[derive(Debug)]
pub struct Failure {
    /// How it ends.
    pub exit: Exit,
    message: String,
}

impl Failure {
    /// A failure with its sentence.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    /// The sentence alone.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The command was asked wrongly.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)
    }
}

/// Colour, where a person sees it.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// Colour only on a terminal, and only while `NO_COLOR` is unset or empty (<https://no-color.org>).
    pub fn detect() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colour: !refused && std::io::stdout().is_terminal(),
        }
    }

    /// No colour.
    #[cfg(test)]
    pub const fn plain() -> Self {
        Self { colour: false }
    }

    /// What went well.
    pub fn good(self, text: &str) -> String {
        self.paint(AnsiColor::Green, text)
    }

    /// What did not.
    pub fn bad(self, text: &str) -> String {
        self.paint(AnsiColor::Red, text)
    }

    /// A heading.
    pub fn heading(self, text: &str) -> String {
        self.apply(anstyle::Style::new().bold(), text)
    }

    fn paint(self, colour: AnsiColor, text: &str) -> String {
        self.apply(colour.on_default().bold(), text)
    }

    fn apply(self, style: anstyle::Style, text: &str) -> String {
        if self.colour {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// What a stranger sent, safe to show: a control character could move the cursor or fake a line of ours.
/// Line feeds and tabs stay.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' && c != '\t' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// A value as text without quotes; `-` where there is none.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Null => "-".to_owned(),
        other => printable(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let codes = [Exit::Done, Exit::Bad, Exit::Usage, Exit::Refused, Exit::Transport].map(|exit| exit as u8);
        assert_eq!(codes, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn colour_only_where_it_is_wanted() {
        assert_eq!(Style { colour: false }.bad("no"), "no");
        assert!(Style { colour: true }.bad("no").starts_with('\u{1b}'));
    }

    #[test]
    fn a_stranger_cannot_move_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Kb\r\n\tc"), "a\u{fffd}[2Kb\u{fffd}\n\tc");
    }
}
