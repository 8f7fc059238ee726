//! A run's state: numbered versions, each written on top of the one that its writer saw.
//!
//! Of several writers on the same version exactly one wins; the others learn which version is current. A number is never
//! used twice, also when the versions before it are no longer kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::question::{Moment, Question};
use super::record::{self, Run, Use};
use super::settlement;
use super::storage::{Storage, Table};
use crate::signature::digest::content_digest;

/// A version is at most this large, in bytes.
pub const STATE_MAX_BYTES: usize = 1024 * 1024;
/// All versions of a run that are kept are at most this large together, in bytes.
pub const STATE_HISTORY_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// At most this many versions of a run are kept.
pub const STATE_VERSIONS_MAX: u64 = 100;

const VERSIONS: Table<Version> = Table::new("version/");
const CONTENTS: Table<String> = Table::new("content/");
/// What is removed with the run.
pub(super) const PREFIXES: &[&str] = &["version/", "content/"];

/// A version of the state, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number, from 1.
    pub version: u64,
    /// As in `Content-Digest`.
    pub digest: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Unix milliseconds.
    pub written_at_ms: u64,
    /// What wrote it: `put`, `handoff`, or `step` and the step's id.
    pub by: String,
    /// The idempotency key under which it was put, if there was one.
    pub idempotency_key: Option<String>,
    /// The request that wrote it.
    pub claimant: String,
    /// Its entity tag: `"`, the version, `-`, the SHA-256 in base64url, `"`.
    pub etag: String,
}

/// A version with its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The version.
    pub version: Version,
    /// The JSON text, as it was written.
    pub content: String,
}

/// A strong entity tag (RFC 9110 section 8.8.3) of a version.
#[must_use]
pub fn etag(version: u64, content: &str) -> String {
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(content.as_bytes()));
    format!("\"{version}-{digest}\"")
}

/// What a write expects to be current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// No state at all.
    Nothing,
    /// Any state.
    Anything,
    /// One of these entity tags.
    OneOf(Vec<String>),
    /// This version; 0 is none.
    Version(u64),
}

/// The version that stands in the way of a write: 0, and no entity tag, where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The current version's number.
    pub current_version: u64,
    /// Its entity tag.
    pub current_etag: Option<String>,
}

/// Who writes, and what.
pub(super) struct Write<'a> {
    pub(super) content: &'a str,
    pub(super) by: String,
    pub(super) idempotency_key: Option<String>,
}

pub(super) fn version<S: Storage>(storage: &S, number: u64) -> Result<Option<Version>, S::Error> {
    VERSIONS.get(storage, &id(number))
}

/// The current version with its content.
pub(super) fn current<S: Storage>(storage: &S, run: &Run) -> Result<Option<Kept>, S::Error> {
    kept(storage, run.version)
}

pub(super) fn kept<S: Storage>(storage: &S, number: u64) -> Result<Option<Kept>, S::Error> {
    let Some(version) = version(storage, number)? else {
        return Ok(None);
    };
    let content = CONTENTS.get(storage, &id(number))?;
    Ok(content.map(|content| Kept { version, content }))
}

/// Whether the current version is the one expected; if not, the one that is.
pub(super) fn check<S: Storage>(storage: &S, run: &Run, expected: &Expected) -> Result<Result<(), Conflict>, S::Error> {
    let current = version(storage, run.version)?;
    let fits = match (expected, &current) {
        (Expected::Nothing, current) => current.is_none(),
        (Expected::Anything, current) => current.is_some(),
        (Expected::OneOf(etags), Some(current)) => etags.contains(&current.etag),
        (Expected::OneOf(_), None) => false,
        (Expected::Version(number), _) => *number == run.version,
    };
    Ok(if fits {
        Ok(())
    } else {
        Err(Conflict {
            current_version: run.version,
            current_etag: current.map(|current| current.etag),
        })
    })
}

/// Writes the next version, and drops the oldest ones that are too many. The caller has checked what is current, and saves
/// the run.
pub(super) fn write<S: Storage>(
    storage: &S,
    run: &mut Run,
    write: Write<'_>,
    moment: Moment<'_>,
) -> Result<Version, S::Error> {
    let number = run.version + 1;
    let version = Version {
        version: number,
        digest: content_digest(write.content.as_bytes()),
        bytes: write.content.len() as u64,
        written_at_ms: moment.now_ms,
        by: write.by,
        idempotency_key: write.idempotency_key,
        claimant: moment.claimant.to_owned(),
        etag: etag(number, write.content),
    };
    CONTENTS.put(storage, &id(number), &write.content.to_owned())?;
    VERSIONS.put(storage, &id(number), &version)?;
    run.version = number;
    run.state_bytes += version.bytes;
    while run.oldest_version < number
        && (run.state_bytes > STATE_HISTORY_MAX_BYTES || number - run.oldest_version >= STATE_VERSIONS_MAX)
    {
        if let Some(oldest) = self::version(storage, run.oldest_version)? {
            run.state_bytes -= oldest.bytes;
        }
        VERSIONS.delete(storage, &id(run.oldest_version))?;
        CONTENTS.delete(storage, &id(run.oldest_version))?;
        run.oldest_version += 1;
    }
    settlement::changed(storage, moment.now_ms)?;
    Ok(version)
}

pub(super) fn versions<S: Storage>(storage: &S) -> Result<Vec<Version>, S::Error> {
    let rows = VERSIONS.list(storage, "", usize::MAX)?;
    Ok(rows.into_iter().map(|(_, version)| version).collect())
}

fn id(version: u64) -> String {
    format!("{version:012}")
}

/// `PUT /runs/{run}/state`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutState {
    /// The run.
    pub using: Use,
    /// What must be current.
    pub expected: Expected,
    /// The JSON text.
    pub content: String,
    /// The caller's idempotency key, if it sent one.
    pub idempotency_key: Option<String>,
    /// The agent whose state schema the content was checked against.
    pub checked_for: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Put {
    /// Written, now or by an earlier try of the same.
    Written {
        /// The version.
        version: Version,
        /// Whether it was written by an earlier request.
        replayed: bool,
    },
    /// Another version is current.
    Conflict(Conflict),
    /// The run is bound to this agent: its schema has to be satisfied first.
    CheckFor(String),
    /// The idempotency key was used for another content.
    KeyMismatch,
}

impl Question for PutState {
    const NAME: &'static str = "put-state";
    const USES_NONCE: bool = true;
    type Answer = Put;

    fn answer<S: Storage>(&self, storage: &S, moment: Moment<'_>) -> Result<Put, S::Error> {
        let mut run = record::touch(storage, &self.using, moment.now_ms)?;
        if let Some(earlier) = self.earlier(storage, moment)? {
            return Ok(earlier);
        }
        if let Some(agent) = run
            .agent
            .as_ref()
            .filter(|agent| self.checked_for.as_ref() != Some(*agent))
        {
            return Ok(Put::CheckFor(agent.clone()));
        }
        if let Err(conflict) = check(storage, &run, &self.expected)? {
            return Ok(Put::Conflict(conflict));
        }
        let what = Write {
            content: &self.content,
            by: "put".into(),
            idempotency_key: self.idempotency_key.clone(),
        };
        let version = write(storage, &mut run, what, moment)?;
        record::save(storage, &run)?;
        Ok(Put::Written {
            version,
            replayed: false,
        })
    }
}

impl PutState {
    /// What the same call came to before, as long as the version it wrote is kept.
    fn earlier<S: Storage>(&self, storage: &S, moment: Moment<'_>) -> Result<Option<Put>, S::Error> {
        // A request's name is its own, and it writes once: also where another one has written after it.
        let mut all = versions(storage)?;
        if let Some(own) = all.iter().position(|version| version.claimant == moment.claimant) {
            let version = all.swap_remove(own);
            return Ok(Some(Put::Written {
                version,
                replayed: false,
            }));
        }
        if self.idempotency_key.is_none() {
            return Ok(None);
        }
        let known = all
            .into_iter()
            .find(|version| version.by == "put" && version.idempotency_key == self.idempotency_key);
        Ok(known.map(|version| {
            if version.digest == content_digest(self.content.as_bytes()) {
                Put::Written {
                    version,
                    replayed: true,
                }
            } else {
                Put::KeyMismatch
            }
        }))
    }
}

/// `GET /runs/{run}/state`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadState {
    /// Which version; the current one where none is named.
    pub version: Option<u64>,
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Read {
    /// This.
    Kept(Box<Kept>),
    /// It was dropped from the history.
    Gone,
    /// It never was.
    Unknown,
}

impl Question for ReadState {
    const NAME: &'static str = "read-state";
    const USES_NONCE: bool = false;
    type Answer = Read;

    fn answer<S: Storage>(&self, storage: &S, _: Moment<'_>) -> Result<Read, S::Error> {
        let Some(run) = record::find(storage)? else {
            return Ok(Read::Unknown);
        };
        let number = self.version.unwrap_or(run.version);
        Ok(match kept(storage, number)? {
            Some(kept) => Read::Kept(Box::new(kept)),
            None if (1..run.oldest_version).contains(&number) => Read::Gone,
            None => Read::Unknown,
        })
    }
}

#[cfg(test)]
mod tests;
