//! The decisions about one conversation, each over its rows.

use serde::{Deserialize, Serialize};

use super::{Answer, Ask, Bounds, ERASURE_FENCE_MS, History, Kept, Said, Seat, TURN_LEASE_MS, TURNS_WAITING_MAX, Turn};
use crate::manifest::MEMORY_MESSAGES_MAX;
use crate::run::storage::{Storage, Table, delete_all};

/// The head's one row.
const HEADS: Table<Head> = Table::new("head/");
const HEAD: &str = "conversation";
/// The turns that ended, by their numbers.
const TURNS: Table<Turn> = Table::new(TURN);
const TURN: &str = "turn/";
/// The summary's one row.
const SUMMARIES: Table<String> = Table::new(SUMMARY);
const SUMMARY: &str = "summary/";

/// Bounds allow so many turns, of two messages each, and twice as many where they wait to be summarised.
const TURNS_KEPT_MAX: usize = MEMORY_MESSAGES_MAX;

/// What is known of a conversation beside what was said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Head {
    /// How often it was erased, as far as what was sent before may still come.
    epoch: u32,
    /// When it was erased last, in Unix milliseconds.
    #[serde(default)]
    erased_at_ms: u64,
    /// Until when that must be known, in Unix milliseconds.
    fenced_until_ms: u64,
    /// The number of the last turn that was taken in.
    last_number: u64,
    /// How long it is kept after its last turn, in milliseconds: the shortest that any of its agents allows.
    ttl_ms: Option<u64>,
    /// When it is forgotten, in Unix milliseconds.
    expires_at_ms: u64,
    /// The turn that works, and those that wait, in their order.
    queue: Vec<Place>,
}

/// A turn's place in the order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Place {
    key: String,
    number: u64,
    holder: String,
    /// When its holder must have been heard of again, in Unix milliseconds.
    held_until_ms: u64,
}

impl Head {
    fn read<S: Storage>(storage: &S) -> Result<Self, S::Error> {
        Ok(HEADS.get(storage, HEAD)?.unwrap_or_default())
    }

    fn save<S: Storage>(&self, storage: &S) -> Result<(), S::Error> {
        HEADS.put(storage, HEAD, self)
    }

    /// When nothing of what was said is kept any more, in Unix milliseconds. A turn that is under way is waited for.
    fn forgotten_at_ms(&self) -> u64 {
        let held = self.queue.iter().map(|place| place.held_until_ms).max();
        self.expires_at_ms.max(held.unwrap_or_default())
    }

    fn touch(&mut self, bounds: &Bounds, now_ms: u64) {
        let ttl_ms = self.ttl_ms.map_or(bounds.ttl_ms, |ttl_ms| ttl_ms.min(bounds.ttl_ms));
        self.ttl_ms = Some(ttl_ms);
        self.expires_at_ms = now_ms + ttl_ms;
    }

    /// Whether it is this holder's turn.
    fn is_at_work(&self, seat: &Seat) -> bool {
        let first = self.queue.first();
        first.is_some_and(|place| place.key == seat.key && place.holder == seat.holder)
    }

    fn is_erased_since(&self, seat: &Seat) -> bool {
        let was_open = seat.epoch.is_some_and(|epoch| epoch != self.epoch);
        let was_sent = seat.accepted_at_ms.is_some_and(|at_ms| at_ms < self.erased_at_ms);
        was_open || was_sent
    }

    /// What is left when nothing of what was said is: the erasure, as long as it must be known.
    fn fence(&self) -> Self {
        Self {
            epoch: self.epoch,
            erased_at_ms: self.erased_at_ms,
            fenced_until_ms: self.fenced_until_ms,
            ..Self::default()
        }
    }
}

/// Whether anything has to be kept any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Something has.
    Kept,
    /// Nothing: the whole storage can be removed.
    Gone,
}

/// Decides what is asked.
///
/// # Errors
/// When the storage fails; so do all others here.
pub fn decide<S: Storage>(storage: &S, ask: &Ask, now_ms: u64) -> Result<Answer, S::Error> {
    // Whatever the alarm has not come to yet: what has expired is told to nobody.
    expire(storage, now_ms)?;
    let head = Head::read(storage)?;
    match ask {
        Ask::Open(seat, bounds) => open(storage, head, seat, bounds, now_ms),
        Ask::Renew(seat) => renew(storage, head, seat, now_ms),
        Ask::Summarise(seat, through, text) => summarise(storage, &head, seat, *through, text),
        Ask::Commit(seat, said, bounds) => commit(storage, head, seat, (said, bounds), now_ms),
        Ask::Release(seat) => release(storage, head, seat),
        Ask::Erase => erase(storage, &head, now_ms),
        Ask::Show => show(storage, &head),
    }
}

/// Forgets what has expired.
///
/// # Errors
/// When the storage fails.
pub fn expire<S: Storage>(storage: &S, now_ms: u64) -> Result<Expiry, S::Error> {
    let head = Head::read(storage)?;
    let is_fence = head.expires_at_ms == 0 && head.queue.is_empty() && head.fenced_until_ms > now_ms;
    if head.forgotten_at_ms() > now_ms || is_fence {
        return Ok(Expiry::Kept);
    }
    remove_said(storage)?;
    if head.fenced_until_ms > now_ms {
        head.fence().save(storage)?;
        return Ok(Expiry::Kept);
    }
    HEADS.delete(storage, HEAD)?;
    Ok(Expiry::Gone)
}

/// When there is something to forget, in Unix milliseconds; never where nothing is kept.
///
/// # Errors
/// When the storage fails.
pub fn wake_at_ms<S: Storage>(storage: &S, now_ms: u64) -> Result<Option<u64>, S::Error> {
    let Some(head) = HEADS.get(storage, HEAD)? else {
        return Ok(None);
    };
    let forgotten_at_ms = head.forgotten_at_ms();
    Ok(Some(if forgotten_at_ms > now_ms {
        forgotten_at_ms
    } else {
        head.fenced_until_ms
    }))
}

fn open<S: Storage>(
    storage: &S,
    mut head: Head,
    seat: &Seat,
    bounds: &Bounds,
    now_ms: u64,
) -> Result<Answer, S::Error> {
    if head.is_erased_since(seat) {
        return Ok(Answer::Erased);
    }
    // A turn that is in the order has not ended.
    if !head.queue.iter().any(|place| place.key == seat.key)
        && let Some(ended) = turns(storage)?.into_iter().find(|turn| turn.key == seat.key)
    {
        return Ok(Answer::Ended(ended.output));
    }
    let held_until_ms = held_until_ms(seat, now_ms);
    if held_until_ms <= now_ms {
        return Ok(Answer::Lost);
    }
    head.queue
        .retain(|place| place.held_until_ms > now_ms || place.key == seat.key);
    let is_full = head.queue.len() >= TURNS_WAITING_MAX;
    let had_place = seat.epoch.is_some();
    match head.queue.iter_mut().find(|place| place.key == seat.key) {
        Some(place) if had_place && place.holder != seat.holder => return Ok(Answer::Lost),
        Some(place) => {
            place.holder.clone_from(&seat.holder);
            place.held_until_ms = held_until_ms;
        }
        None if had_place => return Ok(Answer::Lost),
        None if is_full => return Ok(Answer::Full),
        None => {
            head.last_number += 1;
            head.queue.push(Place {
                key: seat.key.clone(),
                number: head.last_number,
                holder: seat.holder.clone(),
                held_until_ms,
            });
        }
    }
    head.touch(bounds, now_ms);
    head.save(storage)?;
    let epoch = head.epoch;
    if !head.is_at_work(seat) {
        return Ok(Answer::Waiting { epoch });
    }
    let summary = SUMMARIES.get(storage, HEAD)?;
    let mut overflow = turns(storage)?;
    let not_fitting = bounds.overflow(summary.as_deref(), &overflow);
    let fitting = overflow.split_off(not_fitting);
    if !bounds.summarised {
        overflow.clear();
    }
    let history = History {
        summary,
        turns: fitting,
    };
    Ok(Answer::Granted {
        epoch,
        history,
        overflow,
    })
}

fn renew<S: Storage>(storage: &S, mut head: Head, seat: &Seat, now_ms: u64) -> Result<Answer, S::Error> {
    if head.is_erased_since(seat) {
        return Ok(Answer::Erased);
    }
    if !head.is_at_work(seat) {
        return Ok(Answer::Lost);
    }
    head.queue[0].held_until_ms = held_until_ms(seat, now_ms);
    head.save(storage)?;
    Ok(Answer::Done)
}

fn summarise<S: Storage>(storage: &S, head: &Head, seat: &Seat, through: u64, text: &str) -> Result<Answer, S::Error> {
    if head.is_erased_since(seat) {
        return Ok(Answer::Erased);
    }
    if !head.is_at_work(seat) {
        return Ok(Answer::Lost);
    }
    SUMMARIES.put(storage, HEAD, &text.to_owned())?;
    for turn in turns(storage)?.iter().filter(|turn| turn.number <= through) {
        TURNS.delete(storage, &row(turn.number))?;
    }
    Ok(Answer::Done)
}

fn commit<S: Storage>(
    storage: &S,
    mut head: Head,
    seat: &Seat,
    (said, bounds): (&Said, &Bounds),
    now_ms: u64,
) -> Result<Answer, S::Error> {
    if head.is_erased_since(seat) {
        return Ok(Answer::Erased);
    }
    let mut turns = turns(storage)?;
    if turns.iter().any(|turn| turn.key == seat.key) {
        return Ok(Answer::Done);
    }
    if !head.is_at_work(seat) {
        return Ok(Answer::Lost);
    }
    let place = head.queue.remove(0);
    head.touch(bounds, now_ms);
    head.save(storage)?;
    let turn = Turn {
        number: place.number,
        agent: said.agent.clone(),
        said: said.said.clone(),
        output: said.output.clone(),
        at_ms: now_ms,
        key: place.key,
    };
    TURNS.put(storage, &row(turn.number), &turn)?;
    turns.push(turn);
    let summary = SUMMARIES.get(storage, HEAD)?;
    for turn in turns.iter().take(bounds.kept().overflow(summary.as_deref(), &turns)) {
        TURNS.delete(storage, &row(turn.number))?;
    }
    Ok(Answer::Done)
}

fn release<S: Storage>(storage: &S, mut head: Head, seat: &Seat) -> Result<Answer, S::Error> {
    let waiting = head.queue.len();
    head.queue
        .retain(|place| place.key != seat.key || place.holder != seat.holder);
    if head.queue.len() < waiting {
        head.save(storage)?;
    }
    Ok(Answer::Done)
}

/// Where nothing is kept yet the erasure is known as well: something may have been sent.
fn erase<S: Storage>(storage: &S, head: &Head, now_ms: u64) -> Result<Answer, S::Error> {
    remove_said(storage)?;
    let erased = Head {
        epoch: head.epoch + 1,
        erased_at_ms: now_ms,
        fenced_until_ms: now_ms + ERASURE_FENCE_MS,
        ..Head::default()
    };
    erased.save(storage)?;
    Ok(Answer::Done)
}

fn show<S: Storage>(storage: &S, head: &Head) -> Result<Answer, S::Error> {
    let history = History {
        summary: SUMMARIES.get(storage, HEAD)?,
        turns: turns(storage)?,
    };
    // Nothing but an erasure's fence is nothing that is kept.
    let is_there = head.expires_at_ms > 0;
    Ok(Answer::Kept(is_there.then(|| Kept {
        history,
        waiting: head.queue.len(),
        expires_at_ms: head.expires_at_ms,
    })))
}

/// When a turn is given up whose holder is not heard of from now on, in Unix milliseconds.
fn held_until_ms(seat: &Seat, now_ms: u64) -> u64 {
    seat.deadline_at_ms.min(now_ms + TURN_LEASE_MS)
}

/// All turns, the oldest first. The bounds keep them few.
fn turns<S: Storage>(storage: &S) -> Result<Vec<Turn>, S::Error> {
    let rows = TURNS.list(storage, "", TURNS_KEPT_MAX)?;
    Ok(rows.into_iter().map(|(_, turn)| turn).collect())
}

fn remove_said<S: Storage>(storage: &S) -> Result<(), S::Error> {
    delete_all(storage, TURN)?;
    delete_all(storage, SUMMARY)
}

/// In the order of the numbers.
fn row(number: u64) -> String {
    format!("{number:020}")
}
