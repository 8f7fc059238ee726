//! The run itself: its row, how long it is kept, and how it is forgotten.

use serde::{Deserialize, Serialize};

use super::question::{Moment, Question, RunName};
use super::storage::{Storage, Table, delete_all};
use super::timers::{self, Timer};
use super::{attempt, fence, handoff, nonce, outbox, settlement, state};
use crate::conversation::ConversationName;

/// A run's id is at most this long; a step's id likewise.
pub const RUN_ID_MAX_BYTES: usize = 128;

const RUN: Table<Run> = Table::new("run/");
const ONLY: &str = "only";

/// What a run is kept by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Whose it is, and its id.
    pub name: RunName,
    /// Unix milliseconds.
    pub created_at_ms: u64,
    /// When it was last used, in Unix milliseconds.
    pub touched_at_ms: u64,
    /// How long it is kept after that, in milliseconds.
    pub retention_ms: u64,
    /// The agent that it was handed to last.
    pub agent: Option<String>,
    /// The version of its state; 0 while it has none. It never goes back.
    pub version: u64,
    /// The oldest version that is still kept.
    pub oldest_version: u64,
    /// The size of all versions that are kept, in bytes.
    pub state_bytes: u64,
    /// How many attempts were ever claimed in it.
    pub attempts: u32,
    /// How many handoffs it had.
    pub handoffs: u32,
    /// Whether a customer listens to it: see [`super::listening`].
    #[serde(default)]
    pub listened: bool,
    /// The conversation of a customer that it belongs to: see [`super::conversing`].
    #[serde(default)]
    pub conversation: Option<ConversationName>,
    /// The orchestrator that it was passed on to: see [`super::coordination`].
    #[serde(default)]
    pub passed_to: Option<String>,
}

impl Run {
    /// When it is forgotten, if nothing happens before, in Unix milliseconds.
    #[must_use]
    pub const fn expires_at_ms(&self) -> u64 {
        self.touched_at_ms.saturating_add(self.retention_ms)
    }
}

/// A run to be used: made if it is not there yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Which run.
    pub name: RunName,
    /// How long it is kept after this, in milliseconds.
    pub retention_ms: u64,
}

pub(super) fn find<S: Storage>(storage: &S) -> Result<Option<Run>, S::Error> {
    RUN.get(storage, ONLY)
}

pub(super) fn save<S: Storage>(storage: &S, run: &Run) -> Result<(), S::Error> {
    RUN.put(storage, ONLY, run)
}

/// The run as it is from now on. What comes of it is to be saved with [`save`].
pub(super) fn touch<S: Storage>(storage: &S, using: &Use, now_ms: u64) -> Result<Run, S::Error> {
    let mut run = find(storage)?.unwrap_or_else(|| Run {
        name: using.name.clone(),
        created_at_ms: now_ms,
        touched_at_ms: now_ms,
        retention_ms: using.retention_ms,
        agent: None,
        version: 0,
        oldest_version: 1,
        state_bytes: 0,
        attempts: 0,
        handoffs: 0,
        listened: false,
        conversation: None,
        passed_to: None,
    });
    run.touched_at_ms = run.touched_at_ms.max(now_ms);
    run.retention_ms = using.retention_ms;
    timers::set_no_later(storage, Timer::Expire, run.expires_at_ms())?;
    Ok(run)
}

/// What became of a run when its time may have come.
pub(super) enum Expiry {
    /// It is kept on.
    Kept,
    /// Nothing of it is left that has to be kept: the whole storage can go.
    Gone,
}

/// Looks whether the run's time has come. A run is kept as long as something of it is under way.
pub(super) fn expire<S: Storage>(storage: &S, now_ms: u64) -> Result<Expiry, S::Error> {
    if let Some(run) = find(storage)? {
        let at_ms = match attempt::unsettled(storage, now_ms)? {
            true => now_ms + LOOK_AGAIN_MS,
            false => run.expires_at_ms(),
        };
        if at_ms > now_ms {
            timers::set(storage, Timer::Expire, at_ms)?;
            return Ok(Expiry::Kept);
        }
        forget(storage)?;
    }
    nonce::remove_ended(storage, now_ms, usize::MAX)?;
    if nonce::is_empty(storage)? && !outbox::is_pending(storage)? {
        // Nothing is left then, also where the object dies before it has removed everything: no timer would bring it back.
        delete_all(storage, attempt::PLACE)?;
        outbox::remove_all(storage)?;
        delete_all(storage, fence::PREFIX)?;
        return Ok(Expiry::Gone);
    }
    timers::set(storage, Timer::Expire, now_ms + LOOK_AGAIN_MS)?;
    Ok(Expiry::Kept)
}

/// How long until a run that cannot be forgotten yet is looked at again, in milliseconds.
const LOOK_AGAIN_MS: u64 = 60_000;

/// Removes all rows but the nonces, which a captured request must still meet, the fence, which a late one must, the last
/// attempt's place, and events on their way, which tell nothing of the run's contents.
fn forget<S: Storage>(storage: &S) -> Result<(), S::Error> {
    let tables = attempt::PREFIXES.iter().chain(state::PREFIXES).chain(handoff::PREFIXES);
    for prefix in tables.copied().chain([settlement::PREFIX, "run/", "timer/", "due/"]) {
        delete_all(storage, prefix)?;
    }
    Ok(())
}

/// Forgets the run at once. What is under way comes to nothing: its commit finds no claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forget;

impl Question for Forget {
    const NAME: &'static str = "forget";
    const USES_NONCE: bool = true;
    type Answer = ();

    fn answer<S: Storage>(&self, storage: &S, moment: Moment<'_>) -> Result<(), S::Error> {
        forget(storage)?;
        outbox::arm_again(storage, moment.now_ms)?;
        timers::set(storage, Timer::Expire, moment.now_ms + LOOK_AGAIN_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::super::delivery::{Place, Sent, reported, sent};
    use super::super::ledger::{Claim, ClaimRequest, Commit};
    use super::super::nonce::Nonce;
    use super::super::question::{Asked, Told};
    use super::super::testing::{Bench, DEADLINE_MS, RETENTION_MS, background, calling_back, request, using};
    use super::super::work::Work;
    use super::*;

    fn with_retention(retention_ms: u64, request: ClaimRequest) -> ClaimRequest {
        let using = Use {
            retention_ms,
            ..using()
        };
        ClaimRequest { using, ..request }
    }

    #[test]
    fn a_run_is_kept_for_so_long_after_its_last_use() {
        let mut bench = Bench::default();
        bench.ask("c", background("k", 1));
        bench.commit(&bench.execution(), "one", true);
        bench.now_ms = 1_000;
        bench.ask("c", background("k2", 2));
        bench.now_ms = 1_100;
        bench.commit(&bench.execution(), "one", false);
        bench.now_ms = RETENTION_MS + 1_099;
        assert_eq!(bench.work(), None);
        assert!(bench.has_rows("attempt/"));
        bench.now_ms += 1;
        assert_eq!(bench.work(), Some(Work::RemoveAll));
    }

    #[test]
    fn what_is_under_way_keeps_its_run() {
        let mut bench = Bench::default();
        bench.ask("c", with_retention(1, calling_back(background("k", 1))));
        let execution = bench.execution();
        bench.now_ms = DEADLINE_MS;
        assert_eq!(bench.work(), None);
        bench.commit(&execution, "one", false);
        let parcel = bench.parcel();
        bench.now_ms += 20_000;
        assert_eq!(bench.work(), None);
        let refused = Sent::Refused("410".into());
        bench.transact(|storage| sent(storage, &parcel, refused, bench.moment("instance")).unwrap());
        // Nor is a dead letter forgotten that the operator's list does not have.
        let Some(Work::Report(_, letter)) = bench.work() else {
            panic!("nothing to report");
        };
        bench.now_ms += LOOK_AGAIN_MS - 1;
        assert_eq!(bench.work(), None);
        bench.transact(|storage| reported(storage, Place::callback(1), &letter).unwrap());
        bench.now_ms += LOOK_AGAIN_MS;
        assert_eq!(bench.work(), Some(Work::RemoveAll));
    }

    #[test]
    fn a_claim_that_holds_keeps_its_run() {
        let mut bench = Bench::default();
        bench.ask("c", with_retention(1, request("k", 1)));
        bench.now_ms = 500;
        assert_eq!(bench.work(), None);
        assert!(bench.has_rows("attempt/"));
        bench.now_ms += LOOK_AGAIN_MS;
        assert_eq!(bench.work(), Some(Work::RemoveAll));
    }

    #[test]
    fn a_claim_that_ended_unnoticed_is_told_of_before_the_run_goes() {
        let mut bench = Bench::default();
        bench.ask("c", calling_back(request("k", 1)));
        // The object slept over the end of the claim, and over the run's time.
        bench.transact(|storage| timers::set(storage, Timer::Expire, 1).unwrap());
        bench.now_ms = RETENTION_MS;
        assert!(bench.parcel().body.contains("attempt-lost"));
    }

    #[test]
    fn nothing_is_left_when_everything_may_be_removed() {
        let mut bench = Bench::default();
        bench.ask("c", request("k", 1));
        bench.now_ms = 2 * RETENTION_MS;
        assert_eq!(bench.work(), Some(Work::RemoveAll));
        // The object may die before it has removed its storage.
        assert!(bench.storage.keys().is_empty(), "{:?}", bench.storage.keys());
    }

    #[test]
    fn an_end_by_the_ledgers_own_word_is_kept_as_long() {
        let mut bench = Bench::default();
        bench.ask("c", background("k", 1));
        bench.now_ms = RETENTION_MS - 1;
        bench.cancel("s");
        bench.now_ms = 2 * RETENTION_MS - 2;
        assert_eq!(bench.work(), None);
        assert!(bench.has_rows("answer/"));
    }

    #[test]
    fn a_forgotten_run_leaves_its_nonces_until_their_end() {
        let mut bench = Bench::default();
        let asked = |claimant: &str| Asked {
            claimant: claimant.to_owned(),
            nonce: Some(Nonce {
                value: "n".into(),
                expires_at_ms: 100_000,
            }),
            named: None,
            question: background("k", 1),
        };
        bench.told(&asked("c"));
        let execution = bench.execution();
        for _ in 0..2 {
            bench.ask("d", Forget);
            assert!(!bench.has_rows("run/") && !bench.has_rows("attempt/") && !bench.has_rows("open/"));
        }
        assert_eq!(bench.commit(&execution, "late", false), Commit::Lost);
        assert_eq!(bench.told(&asked("captured")), Told::Replayed);
        bench.now_ms = 100_000;
        assert_eq!(bench.work(), None);
        assert_eq!(bench.told(&asked("captured")), Told::Replayed);
        bench.now_ms = 160_000;
        assert_eq!(bench.work(), Some(Work::RemoveAll));
        assert!(matches!(bench.ask("c2", background("k", 1)), Claim::Accepted(_)));
    }
}
