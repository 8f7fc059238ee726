//! One version of the overrides of all agents, as it is kept and copied.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::signature::digest::content_digest;

/// Overrides by agent, as they were accepted: a later version of the gateway judges each by itself.
pub type Overrides = BTreeMap<String, Value>;

/// How a version came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Change {
    /// An agent was given an override.
    Set {
        /// Which agent.
        agent: String,
    },
    /// An agent lost its override.
    Unset {
        /// Which agent.
        agent: String,
    },
    /// The overrides of another version are in force again.
    RollBack {
        /// Which version.
        to: u64,
    },
}

/// One version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its number; 0 where there never was an override.
    pub version: u64,
    /// When it was made, in Unix milliseconds.
    pub at_ms: u64,
    /// The id of the key that it was made with.
    pub by: String,
    /// How it came about; nothing of version 0.
    pub change: Option<Change>,
    /// Of the overrides, so that a copy that was damaged is known as one. It has no key: who may write to KV is trusted.
    pub digest: String,
    /// The overrides.
    pub overrides: Overrides,
}

impl Snapshot {
    /// What is in force before there ever was an override.
    #[must_use]
    pub fn none() -> Self {
        Self {
            version: 0,
            at_ms: 0,
            by: String::new(),
            change: None,
            digest: digest(&Overrides::new()),
            overrides: Overrides::new(),
        }
    }

    /// Reads a copy.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence that holds nothing of its content.
    pub fn read(text: &str) -> Result<Self, String> {
        let snapshot: Self = serde_json::from_str(text).map_err(|error| {
            format!(
                "it is no version of overrides: wrong at line {}, column {}",
                error.line(),
                error.column()
            )
        })?;
        if snapshot.digest != digest(&snapshot.overrides) {
            return Err("its digest is not that of its overrides".to_owned());
        }
        Ok(snapshot)
    }

    /// Its entity tag: the number, which is never given twice.
    #[must_use]
    pub fn etag(&self) -> String {
        etag(self.version)
    }

    /// Whether this is what became of the change that somebody made on top of the version `based_on`; `wanted` is the
    /// override that was to be set. So a call whose answer was lost can be repeated.
    #[must_use]
    pub fn came_of(&self, based_on: u64, by: &str, change: &Change, wanted: Option<&Value>) -> bool {
        let is_set = match change {
            Change::Set { agent } => self.overrides.get(agent) == wanted,
            Change::Unset { .. } | Change::RollBack { .. } => true,
        };
        is_set && self.version == based_on + 1 && self.by == by && self.change.as_ref() == Some(change)
    }
}

/// The entity tag of a version.
#[must_use]
pub fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

/// Names overrides: the same ones have the same digest.
#[must_use]
pub fn digest(overrides: &Overrides) -> String {
    content_digest(&canonical(overrides))
}

/// One override or all of them as canonical JSON (RFC 8785).
#[must_use]
pub fn canonical(overrides: &impl Serialize) -> Vec<u8> {
    // They are JSON that was read, so it can be written.
    serde_json_canonicalizer::to_vec(overrides).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn snapshot() -> Snapshot {
        let overrides = Overrides::from([("triage".to_owned(), json!({"enabled": false}))]);
        Snapshot {
            version: 3,
            at_ms: 7,
            by: "k".into(),
            change: Some(Change::Set { agent: "triage".into() }),
            digest: digest(&overrides),
            overrides,
        }
    }

    #[test]
    fn a_copy_reads_as_what_it_is_a_copy_of() {
        for original in [Snapshot::none(), snapshot()] {
            let text = serde_json::to_string(&original).unwrap();
            assert_eq!(Snapshot::read(&text), Ok(original));
        }
    }

    #[test]
    fn a_copy_that_was_damaged_is_known_and_not_quoted() {
        let text = serde_json::to_string(&snapshot()).unwrap();
        let check = |text: &str, expected: &str| {
            let reason = Snapshot::read(text).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
            assert!(!reason.contains("secret"), "{reason}");
        };
        check(
            &text.replace("false", "true"),
            "its digest is not that of its overrides",
        );
        check(&text.replace("\"triage\":{", "\"redact\":{"), "its digest");
        check(
            &text.replace("\"version\":3", "\"version\":\"secret\""),
            "line 1, column",
        );
        check(&text.replace("\"at_ms\"", "\"secret\""), "it is no version");
        check("", "it is no version");
    }

    #[test]
    fn a_repeated_change_is_known_by_all_that_it_says() {
        let kept = snapshot();
        let change = |agent: &str| Change::Set { agent: agent.into() };
        let (off, on) = (json!({"enabled": false}), json!({"enabled": true}));
        let check = |based_on, by, change: &Change, wanted, expected| {
            assert_eq!(kept.came_of(based_on, by, change, wanted), expected);
        };
        check(2, "k", &change("triage"), Some(&off), true);
        check(1, "k", &change("triage"), Some(&off), false);
        check(3, "k", &change("triage"), Some(&off), false);
        check(2, "other", &change("triage"), Some(&off), false);
        check(2, "k", &change("redact"), Some(&off), false);
        check(2, "k", &change("triage"), Some(&on), false);
        check(2, "k", &Change::RollBack { to: 1 }, None, false);
    }
}
