//! Prometheus's text format, version 0.0.4: families of samples.

use std::fmt::{Display, Write as _};

/// Its media type.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of a number a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One that only grows.
    Counter,
    /// One that goes up and down.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Families as text.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// Begins a family. All of its samples follow, before the next one: the format wants them together.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {}", escaped(help, false));
        let _ = writeln!(self.0, "# TYPE {name} {}", kind.name());
        Family {
            text: &mut self.0,
            name,
        }
    }

    /// The text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

/// A family to which samples are added.
#[derive(Debug)]
pub struct Family<'t> {
    text: &'t mut String,
    name: &'static str,
}

impl Family<'_> {
    /// Adds a sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.part("", labels, value);
    }

    /// Adds a sample of a part of it: `_bucket`, `_sum` or `_count` of a histogram.
    pub fn part(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value, true)))
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.text, "{}{suffix}{labels} {value}", self.name);
    }
}

/// Line feeds and backslashes are escaped everywhere, quotes where the text stands in them.
fn escaped(text: &str, quoted: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    match quoted {
        true => text.replace('"', "\\\""),
        false => text,
    }
}

/// Milliseconds as the seconds that Prometheus counts in, exactly.
#[must_use]
pub fn seconds(ms: u64) -> String {
    let (whole, rest) = (ms / 1_000, ms % 1_000);
    match rest {
        0 => whole.to_string(),
        _ => format!("{whole}.{rest:03}").trim_end_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family() {
        let mut text = Text::default();
        let mut family = text.family("tries_total", Kind::Counter, "How often \\ it was \"tried\"\nso far");
        family.sample(&[], 3);
        family.sample(&[("agent", "a\\b\"c\nd"), ("route", "ü")], 4);
        text.family("age_seconds", Kind::Histogram, "Age")
            .part("_bucket", &[("le", "+Inf")], 1);
        assert_eq!(
            text.into_string(),
            "# HELP tries_total How often \\\\ it was \"tried\"\\nso far\n\
             # TYPE tries_total counter\n\
             tries_total 3\n\
             tries_total{agent=\"a\\\\b\\\"c\\nd\",route=\"ü\"} 4\n\
             # HELP age_seconds Age\n\
             # TYPE age_seconds histogram\n\
             age_seconds_bucket{le=\"+Inf\"} 1\n"
        );
    }

    #[test]
    fn milliseconds_are_seconds() {
        for (ms, expected) in [
            (0, "0"),
            (7, "0.007"),
            (10, "0.01"),
            (1_280, "1.28"),
            (5_000, "5"),
            (u64::MAX, "18446744073709551.615"),
        ] {
            assert_eq!(seconds(ms), expected);
        }
    }
}
