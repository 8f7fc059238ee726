//! The order of the versions: one writer, which gives each its number. It is the truth; KV has a copy of the current one.
//!
//! KV takes no write under a condition, and may show an old value for a minute. Were versions made there, two operators could
//! both make version 8, and one of the two would be lost without a word.

use serde::{Deserialize, Serialize};

use super::VERSIONS_MAX;
use super::snapshot::{Change, Overrides, Snapshot, digest};
use crate::run::storage::{Storage, Table};

/// By number, so that their order is that of the keys.
const SNAPSHOTS: Table<Snapshot> = Table::new("snapshot/");
/// The same without the overrides themselves: a list is read without megabytes of prompts.
const VERSIONS: Table<Version> = Table::new("version/");
/// The numbers of the current version, and of the one that KV has and since when, by these names.
const NUMBERS: Table<u64> = Table::new("number/");
const CURRENT: &str = "current";
const COPIED: &str = "copied";
const COPIED_AT_MS: &str = "copied_at_ms";
/// In the place of the version that KV has: none that is good.
const NONE_GOOD: u64 = u64::MAX;
/// For so long KV may show what was there before a copy, in milliseconds.
pub const COPY_SETTLES_MS: u64 = 60_000;

/// What is told of a version in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number.
    pub version: u64,
    /// When it was made, in Unix milliseconds.
    pub at_ms: u64,
    /// The id of the key that it was made with.
    pub by: String,
    /// How it came about.
    pub change: Change,
    /// The agents that have an override in it.
    pub agents: Vec<String>,
}

/// A version that somebody wants to make, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The number of the version that it was made of.
    pub based_on: u64,
    /// The id of the key that it is made with.
    pub by: String,
    /// How it came about.
    pub change: Change,
    /// All overrides.
    pub overrides: Overrides,
}

/// What becomes of a proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proposed {
    /// It is this version.
    Made(Snapshot),
    /// Another version has become the current one, of this number.
    Overtaken(u64),
}

/// The current version.
///
/// # Errors
/// When the storage fails; so do all others.
pub fn current<S: Storage>(storage: &S) -> Result<Snapshot, S::Error> {
    let number = NUMBERS.get(storage, CURRENT)?.unwrap_or_default();
    Ok(at(storage, number)?.unwrap_or_else(Snapshot::none))
}

/// The version of this number, where it is kept.
#[allow(clippy::missing_errors_doc, reason = "stated once, above")]
pub fn at<S: Storage>(storage: &S, number: u64) -> Result<Option<Snapshot>, S::Error> {
    match number {
        0 => Ok(Some(Snapshot::none())),
        number => SNAPSHOTS.get(storage, &key(number)),
    }
}

/// The versions that are kept, newest first.
#[allow(clippy::missing_errors_doc, reason = "stated once, above")]
pub fn list<S: Storage>(storage: &S) -> Result<Vec<Version>, S::Error> {
    let rows = VERSIONS.list(storage, "", VERSIONS_MAX + 1)?;
    Ok(rows.into_iter().rev().map(|(_, version)| version).collect())
}

/// Makes a version, if it was made of the current one. Safe to repeat.
#[allow(clippy::missing_errors_doc, reason = "stated once, above")]
pub fn propose<S: Storage>(storage: &S, proposal: &Proposal, now_ms: u64) -> Result<Proposed, S::Error> {
    let current = current(storage)?;
    if current.version != proposal.based_on {
        let Proposal {
            based_on, by, change, ..
        } = proposal;
        let is_it = current.overrides == proposal.overrides
            && current.version == based_on + 1
            && current.by == *by
            && current.change.as_ref() == Some(change);
        return Ok(if is_it {
            Proposed::Made(current)
        } else {
            Proposed::Overtaken(current.version)
        });
    }
    let made = Snapshot {
        version: current.version + 1,
        at_ms: now_ms,
        by: proposal.by.clone(),
        change: Some(proposal.change.clone()),
        digest: digest(&proposal.overrides),
        overrides: proposal.overrides.clone(),
    };
    let version = Version {
        version: made.version,
        at_ms: now_ms,
        by: made.by.clone(),
        change: proposal.change.clone(),
        agents: made.overrides.keys().cloned().collect(),
    };
    SNAPSHOTS.put(storage, &key(made.version), &made)?;
    VERSIONS.put(storage, &key(made.version), &version)?;
    NUMBERS.put(storage, CURRENT, &made.version)?;
    let kept = VERSIONS.list(storage, "", VERSIONS_MAX + 1)?;
    for (oldest, _) in kept.iter().take(kept.len().saturating_sub(VERSIONS_MAX)) {
        SNAPSHOTS.delete(storage, oldest)?;
        VERSIONS.delete(storage, oldest)?;
    }
    Ok(Proposed::Made(made))
}

/// The current version, unless it is the one that the caller knows.
#[allow(clippy::missing_errors_doc, reason = "stated once, above")]
pub fn current_unless<S: Storage>(storage: &S, known: Option<u64>) -> Result<Option<Snapshot>, S::Error> {
    // The numbers first: a version may have a megabyte.
    if known == Some(NUMBERS.get(storage, CURRENT)?.unwrap_or_default()) {
        return Ok(None);
    }
    current(storage).map(Some)
}

/// The current version, where KV does not have it yet.
#[allow(clippy::missing_errors_doc, reason = "stated once, above")]
pub fn to_copy<S: Storage>(storage: &S) -> Result<Option<Snapshot>, S::Error> {
    let copied = NUMBERS.get(storage, COPIED)?.unwrap_or_default();
    current_unless(storage, Some(copied))
}

/// Notes the version that KV has from now on.
#[allow(clippy::missing_errors_doc, reason = "stated once, above")]
pub fn copied<S: Storage>(storage: &S, number: u64, now_ms: u64) -> Result<(), S::Error> {
    NUMBERS.put(storage, COPIED, &number)?;
    NUMBERS.put(storage, COPIED_AT_MS, &now_ms)
}

/// What KV has is no good: the current version is to be copied again.
#[allow(clippy::missing_errors_doc, reason = "stated once, above")]
pub fn damaged<S: Storage>(storage: &S) -> Result<(), S::Error> {
    NUMBERS.put(storage, COPIED, &NONE_GOOD)
}

/// Somebody found no version in KV, or one that is older than the current one: that is copied again, unless it was a moment
/// ago and may not be seen everywhere yet. Answers the current version where KV was given it, and there are overrides: if
/// nothing is there, KV has lost it.
#[allow(clippy::missing_errors_doc, reason = "stated once, above")]
pub fn missed<S: Storage>(storage: &S, now_ms: u64) -> Result<Option<u64>, S::Error> {
    let current = NUMBERS.get(storage, CURRENT)?;
    let copied = NUMBERS.get(storage, COPIED)?;
    let copied_at_ms = NUMBERS.get(storage, COPIED_AT_MS)?.unwrap_or_default();
    if now_ms >= copied_at_ms + COPY_SETTLES_MS {
        damaged(storage)?;
    }
    Ok(current.filter(|_| current == copied))
}

fn key(number: u64) -> String {
    format!("{number:016}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::storage::MemoryStorage;
    use serde_json::json;

    fn proposal(based_on: u64, by: &str, deadline_ms: u64) -> Proposal {
        Proposal {
            based_on,
            by: by.into(),
            change: Change::Set { agent: "triage".into() },
            overrides: [("triage".to_owned(), json!({ "deadline_ms": deadline_ms }))].into(),
        }
    }

    fn made(storage: &MemoryStorage, proposal: &Proposal, now_ms: u64) -> Snapshot {
        match propose(storage, proposal, now_ms).unwrap() {
            Proposed::Made(snapshot) => snapshot,
            Proposed::Overtaken(number) => panic!("overtaken by {number}"),
        }
    }

    #[test]
    fn of_two_operators_at_once_one_is_overtaken() {
        let storage = MemoryStorage::default();
        assert_eq!(current(&storage), Ok(Snapshot::none()));
        let first = made(&storage, &proposal(0, "one", 500), 7);
        assert_eq!((first.version, first.at_ms, first.by.as_str()), (1, 7, "one"));
        assert_eq!(
            propose(&storage, &proposal(0, "two", 500), 8),
            Ok(Proposed::Overtaken(1))
        );
        assert_eq!(
            propose(&storage, &proposal(0, "one", 600), 8),
            Ok(Proposed::Overtaken(1))
        );
        assert_eq!(
            propose(&storage, &proposal(9, "one", 500), 8),
            Ok(Proposed::Overtaken(1))
        );
        assert_eq!(current(&storage), Ok(first));
    }

    #[test]
    fn a_proposal_whose_answer_was_lost_can_be_repeated() {
        let storage = MemoryStorage::default();
        let first = made(&storage, &proposal(0, "one", 500), 7);
        assert_eq!(made(&storage, &proposal(0, "one", 500), 8), first);
        made(&storage, &proposal(1, "two", 600), 9);
        assert_eq!(
            propose(&storage, &proposal(0, "one", 500), 10),
            Ok(Proposed::Overtaken(2))
        );
    }

    #[test]
    fn the_oldest_versions_go_and_their_numbers_do_not_come_back() {
        let storage = MemoryStorage::default();
        let more = 3;
        let last = (VERSIONS_MAX + more) as u64;
        for number in 0..last {
            made(&storage, &proposal(number, "one", 500 + number), number);
            let kept = list(&storage).unwrap().len() as u64;
            assert_eq!(kept, (number + 1).min(VERSIONS_MAX as u64));
        }
        let numbers: Vec<_> = list(&storage).unwrap().iter().map(|kept| kept.version).collect();
        assert_eq!((numbers[0], numbers[VERSIONS_MAX - 1]), (last, more as u64 + 1));
        assert_eq!(at(&storage, more as u64), Ok(None));
        assert_eq!(at(&storage, last).unwrap().map(|kept| kept.version), Some(last));
        assert_eq!(at(&storage, 0), Ok(Some(Snapshot::none())));
    }

    #[test]
    fn what_kv_lacks_is_copied() {
        let storage = MemoryStorage::default();
        assert_eq!(to_copy(&storage), Ok(None));
        let first = made(&storage, &proposal(0, "one", 500), 7);
        assert_eq!(to_copy(&storage), Ok(Some(first)));
        let second = made(&storage, &proposal(1, "one", 600), 8);
        // The first one's copy was under way meanwhile.
        copied(&storage, 1, 9).unwrap();
        assert_eq!(to_copy(&storage), Ok(Some(second.clone())));
        copied(&storage, 2, 10).unwrap();
        assert_eq!(to_copy(&storage), Ok(None));
        damaged(&storage).unwrap();
        assert_eq!(to_copy(&storage), Ok(Some(second)));
    }

    #[test]
    fn a_copy_that_is_missed_is_made_again_once_it_must_have_been_seen() {
        let storage = MemoryStorage::default();
        missed(&storage, COPY_SETTLES_MS).unwrap();
        let none = Ok(Some(Snapshot::none()));
        assert_eq!(to_copy(&storage), none, "also where there never was an override");
        copied(&storage, 0, 1_000).unwrap();
        missed(&storage, 1_000 + COPY_SETTLES_MS - 1).unwrap();
        assert_eq!(to_copy(&storage), Ok(None));
        missed(&storage, 1_000 + COPY_SETTLES_MS).unwrap();
        assert_eq!(to_copy(&storage), none);
    }

    #[test]
    fn what_kv_was_given_and_does_not_have_is_lost() {
        let storage = MemoryStorage::default();
        assert_eq!(missed(&storage, 0), Ok(None), "there never was an override");
        copied(&storage, 0, 1).unwrap();
        assert_eq!(missed(&storage, 2), Ok(None), "nobody misses what says nothing");
        made(&storage, &proposal(0, "one", 500), 7);
        assert_eq!(missed(&storage, 8), Ok(None), "it is on its way");
        copied(&storage, 1, 9).unwrap();
        assert_eq!(missed(&storage, 10), Ok(Some(1)));
        assert_eq!(missed(&storage, 9 + COPY_SETTLES_MS), Ok(Some(1)));
        assert_eq!(
            missed(&storage, 9 + COPY_SETTLES_MS),
            Ok(None),
            "it is on its way again"
        );
    }

    #[test]
    fn who_knows_the_current_version_is_not_told_it_again() {
        let storage = MemoryStorage::default();
        assert_eq!(current_unless(&storage, Some(0)), Ok(None));
        let first = made(&storage, &proposal(0, "one", 500), 7);
        assert_eq!(current_unless(&storage, Some(1)), Ok(None));
        assert_eq!(current_unless(&storage, Some(0)), Ok(Some(first.clone())));
        assert_eq!(current_unless(&storage, None), Ok(Some(first)));
    }
}
