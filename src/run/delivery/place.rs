//! Which delivery of a run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which delivery of a run: what the end of an attempt is told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The attempt's place in its run.
    pub ordinal: u32,
    /// The rule of its agent that tells a channel, by its number from 0; nothing where this is the attempt's callback.
    pub rule: Option<u8>,
}

impl Place {
    /// The callback of an attempt.
    #[must_use]
    pub const fn callback(ordinal: u32) -> Self {
        Self { ordinal, rule: None }
    }

    /// What a rule tells of an attempt.
    #[must_use]
    pub const fn notice(ordinal: u32, rule: u8) -> Self {
        Self {
            ordinal,
            rule: Some(rule),
        }
    }

    pub(in crate::run) fn parse(text: &str) -> Option<Self> {
        let (ordinal, rule) = match text.split_once('-') {
            Some((ordinal, rule)) => (ordinal, Some(rule.parse().ok()?)),
            None => (text, None),
        };
        let ordinal = ordinal.parse().ok()?;
        Some(Self { ordinal, rule })
    }
}

/// As rows and timers have it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.ordinal)?;
        match self.rule {
            Some(rule) => write!(f, "-{rule}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        for (place, text) in [
            (Place::callback(7), "000007"),
            (Place::notice(7, 0), "000007-0"),
            (Place::notice(1_234_567, 255), "1234567-255"),
        ] {
            assert_eq!(place.to_string(), text);
            assert_eq!(Place::parse(text), Some(place));
        }
        for wrong in ["", "-1", "x", "1-x", "1-256"] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }
}
