//! The run's object and its storage, with all that can go wrong with them; time; the receiver of callbacks.

mod asking;
mod exporting;
mod telling;

use std::collections::BTreeMap;
use std::rc::Rc;

use baton::run::call::StateSource;
use baton::run::delivery::{DeadLetter, Parcel, Place, Sent};
use baton::run::events::{self, Event};
use baton::run::ledger::{Commit, CommitRequest, StateWrite};
use baton::run::settlement::Notice;
use baton::run::state::Kept;
use baton::run::storage::{Corrupt, MemoryStorage};
use baton::run::transaction::Transaction;
use baton::run::work::{self, Execution, Work};
use baton::run::{Moment, Nonce, Question as _, StoredAnswer, next_at_ms};
use baton::telemetry::event as telemetry;
use serde_json::{Value, json};

use crate::model::{Incarnation, Model};
use crate::random::Random;

/// How long a request's nonce is remembered, in milliseconds.
const NONCE_MS: u64 = 400_000;

/// The answer did not come: whether anything was done is unknown.
#[derive(Debug)]
pub struct Unknown;

pub struct World {
    pub seed: u64,
    pub random: Random,
    pub now_ms: u64,
    /// Whether anything may go wrong.
    pub faults: bool,
    pub storage: Rc<MemoryStorage>,
    pub model: Model,
    pub retention_ms: u64,
    instances: u32,
    recovered: bool,
    /// What the object's instance is at, and would not know of after it was killed.
    pub executing: Vec<Job>,
    pub delivering: Vec<Shipment>,
    pub reporting: Vec<(Incarnation, Place, DeadLetter, bool)>,
    /// Events that have arrived, by their ids.
    history: BTreeMap<String, telemetry::Event>,
    pub settling: Vec<(Incarnation, Notice)>,
    /// Workers at work on a step whose caller waits.
    pub workers: Vec<Job>,
    pub receiver: Receiver,
    /// Where settlements go.
    pub orchestrator: Receiver,
    /// The generation of the orchestrator's lease.
    pub generation: u64,
    /// What the run certainly knows of it.
    fenced: u64,
    requests: u32,
    words: u32,
    /// Requests whose nonce was certainly taken down: until when, and what would be sent again.
    pub captured: Vec<Nonce>,
    forgets: bool,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u32>,
    log: Vec<String>,
}

/// An execution, and who makes it.
pub struct Job {
    pub claimant: String,
    pub incarnation: Incarnation,
    pub execution: Execution,
    pub ends_at_ms: u64,
    /// What it came to.
    ending: Option<Ending>,
}

#[derive(Clone)]
struct Ending {
    word: String,
    kind: Kind,
    change: Option<Change>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Completed,
    Failed,
    Retryable,
}

#[derive(Clone, Copy, PartialEq)]
enum Change {
    Replace,
    Merge,
}

/// A callback on its way, and what its receiver said.
pub struct Shipment {
    incarnation: Incarnation,
    parcel: Parcel,
    sent: Option<Sent>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Receiver {
    Up,
    Down,
    /// It accepts, and its answer is lost.
    Slow,
    Gone,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let retention_ms = random.pick(&[7 * 24 * 3_600_000, 7 * 24 * 3_600_000, 20_000]);
        Self {
            seed,
            random,
            now_ms: 1_700_000_000_000,
            faults: true,
            storage: Rc::default(),
            model: Model::default(),
            retention_ms,
            instances: 1,
            recovered: false,
            executing: Vec::new(),
            delivering: Vec::new(),
            reporting: Vec::new(),
            history: BTreeMap::new(),
            settling: Vec::new(),
            workers: Vec::new(),
            receiver: Receiver::Up,
            orchestrator: Receiver::Up,
            generation: 1,
            fenced: 0,
            requests: 0,
            words: 0,
            captured: Vec::new(),
            forgets: false,
            counts: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
        self.note(|| what.to_owned());
    }

    pub fn note(&mut self, what: impl FnOnce() -> String) {
        self.log
            .push(format!("{:>12} {}", self.now_ms - 1_700_000_000_000, what()));
    }

    fn instance(&self) -> String {
        format!("instance {}", self.instances)
    }

    /// SIGKILL: what is not in the storage is gone.
    pub fn kill(&mut self) {
        self.count("the object is killed");
        self.instances += 1;
        self.recovered = false;
        self.executing.clear();
        self.delivering.clear();
        self.reporting.clear();
        self.settling.clear();
    }

    /// A transaction of the object: it may fail before anything is done, or its answer may be lost.
    fn transact<T>(
        &mut self,
        decide: impl FnOnce(&Transaction<'_, MemoryStorage>) -> Result<T, Corrupt>,
    ) -> Result<T, Unknown> {
        let (fails, is_lost) = match self.faults {
            true => (self.random.percent(6), self.random.percent(6)),
            false => (false, false),
        };
        if fails {
            return self.failed("a transaction fails");
        }
        let storage = self.storage.clone();
        let transaction = Transaction::new(storage.as_ref());
        if !self.recovered {
            let random = self.random.next() as u32;
            work::recover(&transaction, &self.instance(), self.now_ms, random).unwrap();
        }
        let decided = decide(&transaction).unwrap();
        let wrote = !transaction.is_empty();
        transaction.commit().unwrap();
        self.recovered = true;
        if wrote {
            let instance = self.instance();
            self.model.look(&storage, &instance, self.forgets);
        }
        if is_lost {
            return self.failed("a transaction's answer is lost");
        }
        Ok(decided)
    }

    /// The platform may begin the object anew after its storage failed.
    fn failed<T>(&mut self, how: &'static str) -> Result<T, Unknown> {
        self.count(how);
        if self.random.percent(50) {
            self.kill();
        }
        Err(Unknown)
    }

    /// A new request's name.
    pub fn claimant(&mut self) -> String {
        self.requests += 1;
        format!("request {}", self.requests)
    }

    /// The object's alarm: takes the next thing that is due.
    pub fn take_on(&mut self) -> Option<()> {
        let (instance, now_ms, random) = (self.instance(), self.now_ms, self.random.next() as u32);
        let work = self
            .transact(|storage| work::next(storage, &instance, now_ms, random))
            .ok()??;
        let incarnation = self.model.incarnation;
        match work {
            Work::Execute(execution) => {
                self.model
                    .begun(execution.ordinal, &execution.call, execution.kept.as_deref());
                let ends_at_ms = now_ms + execution.call.deadline_ms + work::COMMIT_GRACE_MS;
                let twice = self.executing.iter().any(|job| {
                    job.incarnation == incarnation
                        && job.execution.ordinal == execution.ordinal
                        && job.ends_at_ms > now_ms
                });
                assert!(!twice, "it is executed already: {execution:?}");
                if execution.generation > 1 {
                    self.count("executed again");
                }
                let job = Job::new(instance, incarnation, *execution, ends_at_ms);
                self.executing.push(job);
            }
            Work::Deliver(parcel) => self.delivering.push(Shipment {
                incarnation,
                parcel: *parcel,
                sent: None,
            }),
            Work::Report(place, letter) => self.reporting.push((incarnation, place, *letter, false)),
            Work::Settle(notice) => {
                self.model.noticed(&notice);
                self.settling.push((incarnation, *notice));
            }
            Work::Export => self.export(&instance, now_ms),
            Work::RemoveAll => {
                self.fenced = 0;
                self.count("everything is removed");
                if self.faults && self.random.percent(20) {
                    self.kill();
                } else {
                    self.storage.clear();
                }
            }
        }
        Some(())
    }

    /// An execution in the object goes on: it tells something, or it ends, or it is committed.
    pub fn execute(&mut self, index: usize) {
        let mut job = self.executing.remove(index);
        let (ordinal, generation) = (job.execution.ordinal, job.execution.generation);
        if job.ending.is_none() && self.random.percent(40) {
            let told = [Event::Delta { text: "more".into() }];
            if self
                .transact(|storage| events::tell(storage, ordinal, generation, &told))
                .is_ok()
                && job.is_here(self)
            {
                self.executing.push(job);
            }
            return;
        }
        let ending = self.ending(&job);
        if job.ending.is_none() && self.random.percent(50) {
            job.ending = Some(ending);
            self.executing.push(job);
            return;
        }
        let mut request = job.commit(&ending, None);
        loop {
            let (now_ms, random, claimant) = (self.now_ms, self.random.next() as u32, job.claimant.clone());
            let commit = self.transact(|storage| {
                let moment = Moment {
                    now_ms,
                    random,
                    claimant: &claimant,
                };
                request.answer(storage, moment)
            });
            match commit {
                Ok(Commit::StateConflict(kept)) => request = self.rebased(&job, &ending, kept),
                Ok(commit) => return self.committed(&job, &request, &commit),
                // Its claim's end brings it back.
                Err(Unknown) => return,
            }
        }
    }

    /// A Worker goes on: it ends, and commits. Answers what its caller is answered.
    pub fn work(&mut self, index: usize) -> Option<StoredAnswer> {
        let job = self.workers.remove(index);
        let ending = self.ending(&job);
        let mut request = job.commit(&ending, None);
        for _ in 0..5 {
            let commit = self.ask_as(&job.claimant, request.clone(), false).ok()?;
            match commit {
                Commit::StateConflict(kept) => request = self.rebased(&job, &ending, kept),
                commit => {
                    self.committed(&job, &request, &commit);
                    return match commit {
                        Commit::Stored => Some(request.answer),
                        Commit::Cancelled(answer) => Some(answer),
                        _ => None,
                    };
                }
            }
        }
        None
    }

    fn committed(&mut self, job: &Job, request: &CommitRequest, commit: &Commit) {
        match commit {
            Commit::Stored => {
                self.count("a commit is stored");
                self.model.stored(job.incarnation, request);
            }
            Commit::Cancelled(answer) => {
                self.count("a cancelled step's commit is late");
                assert_eq!(answer.ending(), "cancelled");
            }
            Commit::Lost => self.count("a commit is lost"),
            Commit::Again | Commit::StateConflict(_) => {}
        }
    }

    fn ending(&mut self, job: &Job) -> Ending {
        if let Some(ending) = &job.ending {
            return ending.clone();
        }
        self.words += 1;
        let kind = match self.random.between(0, 10) {
            0..6 => Kind::Completed,
            6..9 => Kind::Retryable,
            _ => Kind::Failed,
        };
        let changes = job.execution.call.state.is_kept() && kind == Kind::Completed;
        let change = self.random.pick(&[None, Some(Change::Replace), Some(Change::Merge)]);
        Ending {
            word: format!("word {}", self.words),
            kind,
            change: change.filter(|_| changes),
        }
    }

    /// As `Executed::rebased` does it: a patch can be applied to another state, a whole state would undo it.
    fn rebased(&mut self, job: &Job, ending: &Ending, kept: Option<Box<Kept>>) -> CommitRequest {
        self.count("another writer was faster than a step");
        if job.execution.call.state == StateSource::Kept && ending.change == Some(Change::Merge) {
            return job.commit(ending, Some(kept));
        }
        let ending = Ending {
            kind: Kind::Retryable,
            change: None,
            ..ending.clone()
        };
        job.commit(&ending, None)
    }

    pub fn next_at_ms(&self) -> Option<u64> {
        next_at_ms(self.storage.as_ref()).unwrap()
    }
}

impl Job {
    pub fn new(claimant: String, incarnation: Incarnation, execution: Execution, ends_at_ms: u64) -> Self {
        Self {
            claimant,
            incarnation,
            execution,
            ends_at_ms,
            ending: None,
        }
    }

    /// Whether the instance that executes it still lives.
    fn is_here(&self, world: &World) -> bool {
        self.claimant == world.instance()
    }

    fn commit(&self, ending: &Ending, rebased: Option<Option<Box<Kept>>>) -> CommitRequest {
        let body = match ending.kind {
            Kind::Completed => json!({"status": "completed", "output": ending.word}),
            Kind::Failed | Kind::Retryable => json!({"status": "failed", "error": {"code": ending.word}}),
        };
        let kept = rebased.as_ref().unwrap_or(&self.execution.kept);
        let state = ending.change.map(|_| StateWrite {
            base: kept.as_ref().map_or(0, |kept| kept.version.version),
            content: format!("\"{}\"", ending.word),
        });
        CommitRequest {
            ordinal: self.execution.ordinal,
            generation: self.execution.generation,
            answer: StoredAnswer {
                status: 200,
                body: body.to_string(),
            },
            retryable: ending.kind == Kind::Retryable,
            retry_after_ms: 0,
            state,
            operations: Vec::new(),
        }
    }
}

pub fn body(answer: &StoredAnswer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}\n{}={} repeats it", self.log.join("\n"), crate::SEED, self.seed);
        }
    }
}
