//! A run in memory and what executes it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde_json::{Value, json};

use crate::agent::{Cancellation, Host, Journal, LocalBoxFuture};
use crate::invocation::Executor;
use crate::manifest::{RetryPolicy, Team};
use crate::run::attempt::Phase;
use crate::run::call::{Behalf, Call, StateSource};
use crate::run::child::{self, Child, ChildClaim, Decision, Hold};
use crate::run::ledger::{Claim, ClaimRequest, Commit, CommitRequest};
use crate::run::record::Use;
use crate::run::settlement::{SETTLE_AFTER_MS, Takeover};
use crate::run::status::{AskStep, Cancel, Describe, IsOver, StepStatus};
use crate::run::storage::{Corrupt, MemoryStorage};
use crate::run::transaction::Transaction;
use crate::run::work::{self, Work};
use crate::run::{Moment, Question, RunName, next_at_ms, outbox};
use crate::workflow::{Interrupted, Ledger};

/// When the ledger dies: at which of its decisions, counted from 0, and whether that is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Death {
    pub(super) at: usize,
    pub(super) written: bool,
}

/// A run, its clock, and what was seen of its calls.
pub(super) struct Stage {
    pub(super) team: Team,
    storage: MemoryStorage,
    now_ms: Cell<u64>,
    /// When those who sleep want to be woken.
    alarms: RefCell<BTreeSet<u64>>,
    /// Instances of the run's object so far.
    instances: Cell<usize>,
    death: Cell<Option<Death>>,
    dead: Cell<bool>,
    /// Decisions of the ledger so far, of this instance.
    acts: Cell<usize>,
    /// Steps that have completed.
    completed: RefCell<BTreeSet<String>>,
    /// Every execution that was begun: the step, its attempt, the generation.
    pub(super) begun: RefCell<Vec<(String, u32, u32)>>,
    /// What the workflow's step tells.
    pub(super) told: RefCell<Vec<String>>,
    /// Why the gateway coordinates the run, if it does.
    pub(super) takeover: Option<Takeover>,
    /// A step that is cancelled at this time.
    pub(super) cancel_at: RefCell<Option<(u64, String)>>,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self {
            team: Team::embedded().clone(),
            storage: MemoryStorage::default(),
            now_ms: Cell::new(1_000_000),
            alarms: RefCell::default(),
            instances: Cell::new(1),
            death: Cell::new(None),
            dead: Cell::new(false),
            acts: Cell::new(0),
            completed: RefCell::default(),
            begun: RefCell::default(),
            told: RefCell::default(),
            takeover: None,
            cancel_at: RefCell::new(None),
        }
    }

    /// With the workflow `tested` of these nodes.
    pub(super) fn of(steps: &Value, output: &Value) -> Self {
        let mut stage = Self::new();
        stage.put(steps, output);
        stage
    }

    /// Puts the workflow `tested` of these nodes in the place of the one that is there.
    pub(super) fn put(&mut self, steps: &Value, output: &Value) {
        let manifest = json!({
            "id": "tested", "version": "1.0.0", "title": "Tested", "description": "Tested.",
            "input": true, "output": true, "deadline_ms": 300_000,
            "kind": "workflow", "workflow": {"steps": steps, "output": output},
        });
        self.team.agents.retain(|agent| agent.id != "tested");
        self.team.agents.push(serde_json::from_value(manifest).unwrap());
    }

    fn instance(&self) -> String {
        format!("instance {}", self.instances.get())
    }

    pub(super) fn transact<T>(&self, decide: impl FnOnce(&Transaction<'_, MemoryStorage>) -> Result<T, Corrupt>) -> T {
        let transaction = Transaction::new(&self.storage);
        let decided = decide(&transaction).unwrap();
        transaction.commit().unwrap();
        decided
    }

    pub(super) fn ask<Q: Question>(&self, question: &Q) -> Q::Answer {
        let instance = self.instance();
        let moment = self.moment(&instance);
        self.transact(|storage| question.answer(storage, moment))
    }

    fn moment<'a>(&self, claimant: &'a str) -> Moment<'a> {
        Moment {
            now_ms: self.now_ms.get(),
            random: 0,
            claimant,
        }
    }

    /// Asks for the step `w` of a workflow.
    pub(super) fn invoke(&self, workflow: &str, input: Value, attempt: u32) {
        let agent = self.team.agent(workflow).unwrap();
        let claim = self.ask(&ClaimRequest {
            using: Use {
                name: RunName::new("o", "r"),
                retention_ms: u64::from(u32::MAX),
            },
            idempotency_key: format!("key {attempt}"),
            fingerprint: "f".into(),
            call: Call {
                run: "r".into(),
                step: "w".into(),
                attempt,
                agent: workflow.into(),
                input,
                state: StateSource::None,
                conversation: None,
                deadline_ms: agent.deadline_ms,
                follow_handoffs: false,
                tries_max: 1,
                text: None,
                traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
                request_id: "req".into(),
                behalf: Behalf::default(),
            },
            agent_version: agent.version.clone(),
            retry: RetryPolicy::default(),
            notifications: Vec::new(),
            hold_ms: 1,
            background: true,
            workflow: true,
            hedge: false,
            callback_url: None,
            parent_span: None,
            takeover: self.takeover.clone(),
        });
        assert!(matches!(claim, Claim::Accepted(_)), "{claim:?}");
    }

    /// Does the run's work until nothing is due any more, or the ledger dies. Answers whether it lived.
    pub(super) fn work(&self, death: Option<Death>) -> bool {
        self.death.set(death);
        self.acts.set(0);
        self.dead.set(false);
        let instance = self.instance();
        self.transact(|storage| work::recover(storage, &instance, self.now_ms.get(), 0));
        loop {
            let next = self.transact(|storage| work::next(storage, &instance, self.now_ms.get(), 0));
            match next {
                Some(Work::Execute(execution)) => {
                    if !self.execute(*execution) {
                        self.instances.set(self.instances.get() + 1);
                        return false;
                    }
                }
                // Events have nowhere to go here.
                Some(Work::Export) => {
                    let moment = self.moment(&instance);
                    self.transact(|storage| outbox::take(storage, |_| Vec::new(), moment));
                }
                Some(other) => panic!("{other:?}"),
                None if self.status("w").status == Phase::Ended => return true,
                None => {
                    let next_at_ms = next_at_ms(&self.storage).unwrap().expect("something is to come");
                    self.now_ms.set(next_at_ms);
                }
            }
        }
    }

    fn execute(&self, execution: work::Execution) -> bool {
        let journal = Journal::default();
        let over = Over(
            self,
            IsOver {
                ordinal: execution.ordinal,
                generation: execution.generation,
            },
        );
        let executor = Executor {
            team: &self.team,
            host: self,
            cancellation: &over,
            journal: &journal,
            ledger: Some(self),
        };
        let executed = {
            let mut work = pin!(executor.execute(execution));
            loop {
                let polled = work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                if self.dead.get() {
                    return false;
                }
                if let Poll::Ready(executed) = polled {
                    break executed;
                }
                let cancelled = self.cancel_at.borrow().clone();
                let woken = self.alarms.borrow_mut().pop_first();
                match (cancelled, woken) {
                    (Some((at_ms, step)), woken) if woken.is_none_or(|woken| at_ms <= woken) => {
                        self.alarms.borrow_mut().extend(woken);
                        self.now_ms.set(at_ms.max(self.now_ms.get()));
                        self.cancel_at.replace(None);
                        self.ask(&Cancel { step });
                    }
                    (_, Some(woken)) => self.now_ms.set(woken.max(self.now_ms.get())),
                    (_, None) => panic!("everybody waits, and nobody for the clock"),
                }
            }
        };
        let events = journal.take_events();
        *self.told.borrow_mut() = events
            .iter()
            .map(|event| {
                serde_json::to_value(event).unwrap()["message"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect();
        let request = executed.commit_request();
        match self.commit(&request) {
            Ok(Commit::Stored | Commit::Cancelled(_)) => true,
            Ok(other) => panic!("{other:?}"),
            Err(Interrupted) => false,
        }
    }

    /// What the orchestrator is told of the run, once that is due.
    pub(super) fn settlement(&self) -> Value {
        let at_ms = self.now_ms.get() + SETTLE_AFTER_MS;
        match self.transact(|storage| work::next(storage, &self.instance(), at_ms, 0)) {
            Some(Work::Settle(notice)) => notice.body,
            other => panic!("{other:?}"),
        }
    }

    /// Executes the step `w` without an accident, and answers its outcome.
    pub(super) fn outcome(&self, workflow: &str, input: Value) -> Value {
        self.invoke(workflow, input, 1);
        assert!(self.work(None));
        self.answer("w")
    }

    /// The answer of a step.
    pub(super) fn answer(&self, step: &str) -> Value {
        self.status(step).answer.expect("an answer").body
    }

    pub(super) fn status(&self, step: &str) -> StepStatus {
        *self.ask(&AskStep { step: step.into() }).expect("a step")
    }

    /// The steps of the run, with their attempts and how they ended.
    pub(super) fn steps(&self) -> Vec<(String, u32, Option<String>)> {
        let described = self.ask(&Describe).expect("a run");
        let steps = described.steps.into_iter();
        steps
            .map(|(attempt, ending)| (attempt.step, attempt.attempt, ending))
            .collect()
    }

    pub(super) fn keep(&self, key: &str) -> Option<String> {
        use crate::run::storage::Storage as _;
        self.storage.get(key).unwrap()
    }

    /// One decision of the ledger, unless it dies over it.
    fn act<T>(
        &self,
        decide: impl FnOnce(&Transaction<'_, MemoryStorage>, Moment<'_>) -> Result<T, Corrupt>,
    ) -> Result<T, Interrupted> {
        if self.dead.get() {
            return Err(Interrupted);
        }
        let death = self.death.get().filter(|death| death.at == self.acts.get());
        self.acts.set(self.acts.get() + 1);
        if death.is_some_and(|death| !death.written) {
            self.dead.set(true);
            return Err(Interrupted);
        }
        let instance = self.instance();
        let decided = self.transact(|storage| decide(storage, self.moment(&instance)));
        if death.is_some() {
            self.dead.set(true);
            return Err(Interrupted);
        }
        Ok(decided)
    }
}

impl Ledger for Stage {
    fn claim(&self, claim: &ChildClaim) -> Result<Child, Interrupted> {
        self.act(|storage, moment| {
            let child = claim.answer(storage, moment)?;
            if let Child::Granted(execution) = &child {
                assert!(
                    !self.completed.borrow().contains(&claim.step),
                    "`{}` is repeated",
                    claim.step
                );
                let begun = (claim.step.clone(), execution.call.attempt, execution.generation);
                self.begun.borrow_mut().push(begun);
            }
            Ok(child)
        })
    }

    fn commit(&self, request: &CommitRequest) -> Result<Commit, Interrupted> {
        self.act(|storage, moment| {
            let commit = request.answer(storage, moment)?;
            if commit == Commit::Stored && request.answer.ending() == "completed" {
                let outcome: Value = serde_json::from_str(&request.answer.body).unwrap();
                self.completed
                    .borrow_mut()
                    .insert(outcome["step"].as_str().unwrap().to_owned());
            }
            Ok(commit)
        })
    }

    fn decision(&self, parent: Hold, place: &str) -> Result<Option<Decision>, Interrupted> {
        self.act(|storage, _| child::decision(storage, parent, place))
    }

    fn decide(&self, parent: Hold, place: &str, decision: &Decision) -> Result<(), Interrupted> {
        self.act(|storage, _| {
            if let Some(known) = child::decision(storage, parent, place)? {
                assert_eq!(&known, decision, "what was decided stays");
            }
            assert!(child::decide(storage, parent, place, decision)?);
            Ok(())
        })
    }

    fn abandon(&self, parent: Hold, child: Hold) {
        let _ = self.act(|storage, moment| child::abandon(storage, parent, child, moment.now_ms));
    }

    fn over(&self, child: Hold) -> LocalBoxFuture<'_, ()> {
        let question = IsOver {
            ordinal: child.ordinal,
            generation: child.generation,
        };
        Box::pin(poll_fn(move |_| match question.ask(&self.storage).unwrap() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }))
    }
}

struct Over<'a>(&'a Stage, IsOver);

impl Cancellation for Over<'_> {
    fn cancelled(&self) -> LocalBoxFuture<'_, ()> {
        let Self(stage, IsOver { ordinal, generation }) = self;
        stage.over(Hold {
            ordinal: *ordinal,
            generation: *generation,
        })
    }
}

impl Host for Stage {
    fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    fn log(&self, line: &Value) {
        panic!("no agent of these tests logs: {line}");
    }

    fn sleep_ms(&self, duration_ms: u64) -> LocalBoxFuture<'_, ()> {
        let at_ms = self.now_ms.get() + duration_ms;
        Box::pin(poll_fn(move |_| {
            if self.now_ms.get() >= at_ms {
                return Poll::Ready(());
            }
            self.alarms.borrow_mut().insert(at_ms);
            Poll::Pending
        }))
    }
}
