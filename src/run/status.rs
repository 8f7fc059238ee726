//! How far a step and a run have come, as it is told to whoever asks.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::attempt::{self, Attempt, Phase, StoredAnswer};
use super::delivery::{self, DeliveryStatus, Place};
use super::events::{self, Numbered};
use super::handoff::{self, Handoff};
use super::question::{Moment, Question, RunName};
use super::record::{self, Run};
use super::settlement::{self, Settlement};
use super::state::{self, Version};
use super::storage::Storage;

/// So many events are told at once.
const EVENTS_AT_ONCE: usize = 200;

/// How far a step has come: the message `step-status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepStatus {
    /// The run's id.
    pub run: String,
    /// The step's id.
    pub step: String,
    /// The latest attempt's number.
    pub attempt: u32,
    /// Its key.
    pub idempotency_key: String,
    /// Who works on it.
    pub agent: String,
    /// How far it has come.
    pub status: Phase,
    /// Whether the run's object executes it.
    pub background: bool,
    /// How often an execution was begun.
    pub executions: u32,
    /// Unix milliseconds.
    pub accepted_at_ms: u64,
    /// When the last execution began, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub started_at_ms: Option<u64>,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended_at_ms: Option<u64>,
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub answer: Option<Shown>,
    /// What a cancelled step's agent still answered. It does not count.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub late_answer: Option<Shown>,
    /// What became of its callback, where it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub callback: Option<DeliveryStatus>,
}

/// A stored answer with its body as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The HTTP status.
    pub status: u16,
    /// The outcome or the problem.
    pub body: Value,
}

impl From<StoredAnswer> for Shown {
    fn from(answer: StoredAnswer) -> Self {
        Self {
            status: answer.status,
            body: serde_json::from_str(&answer.body).unwrap_or_default(),
        }
    }
}

/// How far this attempt has come.
pub(super) fn of<S: Storage>(storage: &S, attempt: &Attempt) -> Result<StepStatus, S::Error> {
    let run = record::find(storage)?;
    Ok(StepStatus {
        run: run.map(|run| run.name.run).unwrap_or_default(),
        step: attempt.step.clone(),
        attempt: attempt.attempt,
        idempotency_key: attempt.idempotency_key.clone(),
        agent: attempt.agent.clone(),
        status: attempt.phase,
        background: attempt.background,
        executions: attempt.generation,
        accepted_at_ms: attempt.accepted_at_ms,
        started_at_ms: attempt.started_at_ms,
        ended_at_ms: attempt.ended_at_ms,
        answer: attempt::answer(storage, attempt.ordinal)?.map(Shown::from),
        late_answer: attempt::late_answer(storage, attempt.ordinal)?.map(Shown::from),
        callback: delivery::status(storage, Place::callback(attempt.ordinal))?,
    })
}

/// `GET /runs/{run}/steps/{step}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskStep {
    /// The step's id.
    pub step: String,
}

impl Question for AskStep {
    const NAME: &'static str = "step";
    const USES_NONCE: bool = false;
    type Answer = Option<Box<StepStatus>>;

    fn answer<S: Storage>(&self, storage: &S, _: Moment<'_>) -> Result<Self::Answer, S::Error> {
        match attempt::latest(storage, &self.step)? {
            Some(attempt) => Ok(Some(Box::new(of(storage, &attempt)?))),
            None => Ok(None),
        }
    }
}

/// What a reader of a step's events has not seen yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The step's id.
    pub step: String,
    /// The key of the attempt that is read; the step's latest one where none is named, or where none has this key.
    pub idempotency_key: Option<String>,
    /// Which attempt it reads, and the last event that it has. Another attempt is read from its beginning.
    pub cursor: Cursor,
    /// Whether it waits for what is not there yet: the step's first attempt, and after an attempt's end the next one.
    pub follows: bool,
    /// Whether events are no news to it: it waits for the end.
    #[serde(default)]
    pub ends_only: bool,
}

/// Where a reader of events is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The attempt's place in its run.
    pub ordinal: u32,
    /// The last event that was read.
    pub seq: u32,
}

/// What there is to read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// The attempt that is read.
    pub ordinal: u32,
    /// Whether it has ended.
    pub ended: bool,
    /// What comes after the cursor.
    pub events: Vec<Numbered>,
    /// The number of its last event so far.
    pub last_seq: u32,
    /// Its answer, once it has one and all its events were read.
    pub answer: Option<StoredAnswer>,
}

impl Watch {
    /// What a Worker asks for it by. The object answers when there is something, so it is no [`Question`].
    pub const NAME: &'static str = "watch";

    /// Whether a reader who waits is to be told now.
    #[must_use]
    pub fn is_news(&self, watched: Option<&Watched>) -> bool {
        match watched {
            None => !self.follows,
            Some(watched) if self.ends_only => watched.ended,
            Some(watched) => {
                let past_the_end = self.cursor.ordinal == watched.ordinal && self.cursor.seq > watched.last_seq;
                !watched.events.is_empty() || watched.ended && !(self.follows && past_the_end)
            }
        }
    }

    /// What there is to read; nothing where there is no such step.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn ask<S: Storage>(&self, storage: &S) -> Result<Option<Watched>, S::Error> {
        let named = match &self.idempotency_key {
            Some(key) => attempt::by_key(storage, key)?,
            None => None,
        };
        let found = match named {
            Some(attempt) => Some(attempt),
            None => attempt::latest(storage, &self.step)?,
        };
        let Some(attempt) = found else {
            return Ok(None);
        };
        let seq = if attempt.ordinal == self.cursor.ordinal {
            self.cursor.seq
        } else {
            0
        };
        let events = events::after(storage, attempt.ordinal, seq, EVENTS_AT_ONCE)?;
        let ended = attempt.phase == Phase::Ended;
        let answer = if ended && events.len() < EVENTS_AT_ONCE {
            attempt::answer(storage, attempt.ordinal)?
        } else {
            None
        };
        Ok(Some(Watched {
            ordinal: attempt.ordinal,
            ended,
            events,
            last_seq: attempt.events,
            answer,
        }))
    }
}

/// The run, and the key of one of its attempts.
///
/// # Errors
/// When the storage fails.
pub fn name_of<S: Storage>(storage: &S, ordinal: u32) -> Result<Option<(RunName, String)>, S::Error> {
    let (Some(run), Some(attempt)) = (record::find(storage)?, attempt::get(storage, ordinal)?) else {
        return Ok(None);
    };
    Ok(Some((run.name, attempt.idempotency_key)))
}

/// Whether whoever executes an attempt should stop: it was cancelled, taken over, or forgotten with its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsOver {
    /// The attempt's place in its run.
    pub ordinal: u32,
    /// The generation that it is executed under.
    pub generation: u32,
}

impl Question for IsOver {
    const NAME: &'static str = "is-over";
    const USES_NONCE: bool = false;
    type Answer = bool;

    fn answer<S: Storage>(&self, storage: &S, _: Moment<'_>) -> Result<bool, S::Error> {
        self.ask(storage)
    }
}

impl IsOver {
    /// The same, for who executes it in the run's object.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn ask<S: Storage>(&self, storage: &S) -> Result<bool, S::Error> {
        Ok(attempt::owned(storage, self.ordinal, self.generation)?.is_none())
    }
}

/// `POST /runs/{run}/steps/{step}/cancel`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// The step's id.
    pub step: String,
}

impl Question for Cancel {
    const NAME: &'static str = "cancel";
    const USES_NONCE: bool = true;
    type Answer = Option<Box<StepStatus>>;

    /// The step's end, unless it has ended: at once, whatever its agent still does. So there is one end, and whoever asks
    /// for it twice is told of the same.
    fn answer<S: Storage>(&self, storage: &S, moment: Moment<'_>) -> Result<Self::Answer, S::Error> {
        let Some(mut attempt) = attempt::latest(storage, &self.step)? else {
            return Ok(None);
        };
        if attempt.phase != Phase::Ended {
            attempt.cancelled = true;
            attempt::end_with(storage, &mut attempt, |outcome| outcome, false, moment.now_ms)?;
        }
        Ok(Some(Box::new(of(storage, &attempt)?)))
    }
}

/// `GET /runs/{run}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Describe;

/// All of a run but its contents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The run.
    pub run: Run,
    /// The versions of its state that are kept, oldest first.
    pub versions: Vec<Version>,
    /// The latest attempt of each of its steps, with how it ended.
    pub steps: Vec<(Attempt, Option<String>)>,
    /// Its handoffs, oldest first.
    pub handoffs: Vec<Handoff>,
    /// Where its settlement stands, where the gateway took it over.
    #[serde(default)]
    pub settlement: Option<Settlement>,
}

impl Question for Describe {
    const NAME: &'static str = "describe";
    const USES_NONCE: bool = false;
    type Answer = Option<Box<Description>>;

    fn answer<S: Storage>(&self, storage: &S, _: Moment<'_>) -> Result<Self::Answer, S::Error> {
        let Some(run) = record::find(storage)? else {
            return Ok(None);
        };
        let mut steps = Vec::new();
        for attempt in attempt::latest_of_all(storage)? {
            let answer = attempt::answer(storage, attempt.ordinal)?;
            steps.push((attempt, answer.map(|answer| answer.ending())));
        }
        // In the order in which they came.
        steps.sort_by_key(|(attempt, _)| attempt.ordinal);
        Ok(Some(Box::new(Description {
            run,
            versions: state::versions(storage)?,
            steps,
            handoffs: handoff::all(storage)?,
            settlement: settlement::find(storage)?,
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::{Event, tell};
    use super::super::testing::{Bench, background, request};
    use super::*;

    fn watch(bench: &Bench, ordinal: u32, seq: u32) -> Watched {
        let watch = Watch {
            step: "s".into(),
            idempotency_key: None,
            cursor: Cursor { ordinal, seq },
            follows: false,
            ends_only: false,
        };
        watch.ask(&bench.storage).unwrap().expect("a step")
    }

    fn seqs(watched: &Watched) -> Vec<u32> {
        watched.events.iter().map(|event| event.seq).collect()
    }

    #[test]
    fn a_reader_goes_on_where_it_was() {
        let bench = Bench::default();
        let unknown = Watch {
            step: "s".into(),
            idempotency_key: None,
            cursor: Cursor::default(),
            follows: false,
            ends_only: false,
        };
        assert_eq!(unknown.ask(&bench.storage), Ok(None));
        bench.ask("c1", background("k1", 1));
        assert!(watch(&bench, 0, 0).events.is_empty());
        let execution = bench.execution();
        let delta = Event::Delta { text: "x".into() };
        tell(&bench.storage, 1, 1, &[delta.clone(), delta]).unwrap();
        assert_eq!(seqs(&watch(&bench, 0, 0)), [1, 2, 3]);
        assert_eq!(seqs(&watch(&bench, 1, 2)), [3]);
        assert!(seqs(&watch(&bench, 1, 3)).is_empty());
        assert!(!watch(&bench, 1, 3).ended);
        bench.commit(&execution, "busy", true);
        let ended = watch(&bench, 1, 2);
        assert_eq!(seqs(&ended), [3]);
        assert!(ended.ended && ended.answer.is_some());
        // A further attempt is read from its beginning.
        bench.ask("c2", background("k2", 2));
        bench.execution();
        let further = watch(&bench, 1, 3);
        assert_eq!((further.ordinal, seqs(&further), further.ended), (2, vec![1], false));
    }

    #[test]
    fn the_answer_comes_when_all_events_were_read() {
        let bench = Bench::default();
        bench.ask("c", background("k", 1));
        let execution = bench.execution();
        let delta = Event::Delta { text: "x".into() };
        tell(&bench.storage, 1, 1, &vec![delta; EVENTS_AT_ONCE]).unwrap();
        bench.commit(&execution, "one", false);
        let first = watch(&bench, 0, 0);
        assert_eq!(
            (first.events.len(), first.ended, first.answer),
            (EVENTS_AT_ONCE, true, None)
        );
        let rest = watch(&bench, 1, 200);
        assert_eq!(seqs(&rest), [201]);
        assert!(rest.answer.is_some());
    }

    #[test]
    fn who_follows_waits_for_what_is_not_there_yet() {
        let bench = Bench::default();
        let is_news = |follows, seq| {
            let watch = Watch {
                step: "s".into(),
                idempotency_key: None,
                cursor: Cursor { ordinal: 1, seq },
                follows,
                ends_only: false,
            };
            watch.is_news(watch.ask(&bench.storage).unwrap().as_ref())
        };
        assert!(is_news(false, 0) && !is_news(true, 0), "no step");
        bench.ask("c", background("k", 1));
        let execution = bench.execution();
        assert!(is_news(true, 0) && !is_news(true, 1), "it has begun");
        bench.commit(&execution, "one", true);
        assert!(is_news(true, 1), "its end was not read");
        assert!(is_news(false, 2) && !is_news(true, 2), "its end was read");
        bench.ask("c2", background("k2", 2));
        bench.execution();
        assert!(is_news(true, 2), "a further attempt");
    }

    #[test]
    fn a_run_describes_the_latest_attempt_of_each_step_in_their_order() {
        let bench = Bench::default();
        assert_eq!(bench.ask("c", Describe), None);
        for (key, attempt) in [("k1", 1), ("k2", 2)] {
            bench.ask("c", background(key, attempt));
            bench.commit(&bench.execution(), "one", attempt == 1);
        }
        bench.ask("c", super::super::testing::of_step("a", request("k3", 1)));
        let description = bench.ask("c", Describe).expect("a run");
        let steps: Vec<_> = description
            .steps
            .iter()
            .map(|(attempt, ending)| (attempt.step.as_str(), attempt.attempt, ending.as_deref()))
            .collect();
        assert_eq!(steps, [("s", 2, Some("completed")), ("a", 1, None)]);
    }
}
