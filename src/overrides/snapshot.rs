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
    /// Names the overrides: the same ones have the same digest.
    pub digest: String,
    /// The overrides.
    pub overrides: Overrides,
}

/// A version as KV has it.
#[derive(Serialize, Deserialize)]
struct Copy {
    #[serde(flatten)]
    version: Snapshot,
    /// The digest of all its members, so that a copy that was damaged is known as one. It has no key: who may write to KV is
    /// trusted.
    check: String,
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

    /// The copy of it for KV, which [`Snapshot::read`] reads.
    ///
    /// # Errors
    /// None for what was read as JSON, as every version was.
    pub fn copy(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&Copy {
            version: self.clone(),
            check: content_digest(&canonical(self)),
        })
    }

    /// Reads a copy.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence that holds nothing of its content.
    pub fn read(text: &str) -> Result<Self, String> {
        let copy: Copy = serde_json::from_str(text).map_err(|error| {
            format!(
                "it is no version of overrides: wrong at line {}, column {}",
                error.line(),
                error.column()
            )
        })?;
        if copy.check != content_digest(&canonical(&copy.version)) {
            return Err("its check digest is not that of its members".to_owned());
        }
        Ok(copy.version)
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

/// One override, all of them, or a version as canonical JSON (RFC 8785).
#[must_use]
pub fn canonical(value: &impl Serialize) -> Vec<u8> {
    // It is JSON that was read, so it can be written.
    serde_json_canonicalizer::to_vec(value).unwrap_or_default()
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
            let text = original.copy().unwrap();
            assert_eq!(Snapshot::read(&text), Ok(original));
        }
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let reason = Snapshot::read(text).unwrap_err();
        assert!(reason.contains(expected), "{reason}");
        assert!(!reason.contains("secret"), "{reason}");
    }

    #[test]
    fn damage_in_any_member_is_known() {
        let copy: Value = serde_json::from_str(&snapshot().copy().unwrap()).unwrap();
        let other = json!({
            "version": 4,
            "at_ms": 8,
            "by": "secret",
            "change": {"kind": "unset", "agent": "triage"},
            "digest": "sha-256=:secret:",
            "overrides": {"triage": {"enabled": true}},
            "check": "sha-256=:secret:",
        });
        for member in copy.as_object().unwrap().keys() {
            let mut damaged = copy.clone();
            damaged[member] = other[member].clone();
            assert_ne!(damaged, copy);
            refused(&damaged.to_string(), "its check digest is not that of its members");
            damaged.as_object_mut().unwrap().remove(member);
            // A change may be missing: in version 0.
            let expected = if member == "change" {
                "its check digest"
            } else {
                "it is no version"
            };
            refused(&damaged.to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_copy_is_not_quoted() {
        let text = snapshot().copy().unwrap();
        refused(
            &text.replace("\"version\":3", "\"version\":\"secret\""),
            "line 1, column",
        );
        refused(&text.replace("\"triage\":{", "\"secret\":{"), "its check digest");
        refused("", "it is no version");
        // A version that was written without one.
        refused(&serde_json::to_string(&snapshot()).unwrap(), "it is no version");
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
