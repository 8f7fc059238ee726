//! What the tests of a run share: a run in memory, and its clock.

use serde_json::json;

use super::attempt::{self, Attempt, StoredAnswer};
use super::call::{Behalf, Call, StateSource};
use super::delivery::Parcel;
use super::ledger::{Claim, ClaimRequest, Commit, CommitRequest};
use super::outbox::{self, Batch, Destination};
use super::question::{Asked, Moment, Question, RunName, Told, ask};
use super::record::Use;
use super::state::{Expected, PutState};
use super::status::{AskStep, Cancel, StepStatus};
use super::storage::{MemoryStorage, Storage as _};
use super::transaction::Transaction;
use super::work::{self, Execution, Work};
use crate::manifest::RetryPolicy;

/// How long a claim in these tests holds, in milliseconds.
pub(super) const HOLD_MS: u64 = 1_000;
/// The deadline of a call, in milliseconds.
pub(super) const DEADLINE_MS: u64 = 500;
/// How long a run is kept, in milliseconds: a week.
pub(super) const RETENTION_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// Where callbacks go.
pub(super) const URL: &str = "https://o.example/callback";

/// A run whose time is turned by hand. Each question and each piece of work is a transaction, as in its object.
#[derive(Default)]
pub(super) struct Bench {
    pub(super) storage: MemoryStorage,
    pub(super) now_ms: u64,
}

impl Bench {
    pub(super) fn told<Q: Question>(&self, asked: &Asked<Q>) -> Told<Q::Answer> {
        self.transact(|storage| ask(storage, asked, self.now_ms, 0).unwrap())
    }

    pub(super) fn ask<Q: Question>(&self, claimant: &str, question: Q) -> Q::Answer {
        let asked = Asked {
            claimant: claimant.to_owned(),
            nonce: None,
            named: None,
            question,
        };
        match self.told(&asked) {
            Told::Answer(answer) => answer,
            Told::Replayed | Told::Outdated { .. } => panic!("there was no nonce and no lease to refuse"),
        }
    }

    pub(super) fn transact<T>(&self, decide: impl FnOnce(&Transaction<'_, MemoryStorage>) -> T) -> T {
        let transaction = Transaction::new(&self.storage);
        let decided = decide(&transaction);
        transaction.commit().unwrap();
        decided
    }

    pub(super) fn moment<'a>(&self, claimant: &'a str) -> Moment<'a> {
        Moment {
            now_ms: self.now_ms,
            random: 0,
            claimant,
        }
    }

    /// What the run has to do now.
    pub(super) fn work(&self) -> Option<Work> {
        self.work_of("instance")
    }

    pub(super) fn work_of(&self, instance: &str) -> Option<Work> {
        loop {
            match self.transact(|storage| work::next(storage, instance, self.now_ms, 0).unwrap()) {
                // There is nowhere to send events to, but in the outbox's own tests.
                Some(Work::Export) => self.export(&[]),
                other => return other,
            };
        }
    }

    /// Takes the events that are due for these destinations.
    pub(super) fn export(&self, names: &[&'static str]) -> Vec<Batch> {
        let destination = |name: &&'static str| Destination {
            name,
            timeout_ms: 10_000,
        };
        let destinations = |_: &str| names.iter().map(destination).collect();
        self.transact(|storage| outbox::take(storage, destinations, self.moment("instance")).unwrap())
    }

    /// The execution that is due.
    pub(super) fn execution(&self) -> Execution {
        match self.work() {
            Some(Work::Execute(execution)) => *execution,
            other => panic!("no execution is due, but {other:?}"),
        }
    }

    /// The callback that is due.
    pub(super) fn parcel(&self) -> Parcel {
        match self.work() {
            Some(Work::Deliver(parcel)) => *parcel,
            other => panic!("no callback is due, but {other:?}"),
        }
    }

    /// Commits a background execution.
    pub(super) fn commit(&self, execution: &Execution, body: &str, retryable: bool) -> Commit {
        self.ask("instance", commit_of(execution, body, retryable))
    }

    pub(super) fn attempt(&self, key: &str) -> Attempt {
        attempt::by_key(&self.storage, key).unwrap().expect("an attempt")
    }

    pub(super) fn status(&self, step: &str) -> StepStatus {
        let step = AskStep { step: step.to_owned() };
        *self.ask("reader", step).expect("a step")
    }

    pub(super) fn cancel(&self, step: &str) -> StepStatus {
        let step = Cancel { step: step.to_owned() };
        *self.ask("canceller", step).expect("a step")
    }

    /// Writes a state in the place of whatever is current.
    pub(super) fn put_state(&self, claimant: &str, expected: Expected, content: &str) {
        let put = PutState {
            using: using(),
            expected,
            content: content.to_owned(),
            idempotency_key: None,
            checked_for: None,
        };
        let put = self.ask(claimant, put);
        assert!(matches!(put, super::state::Put::Written { .. }), "{put:?}");
    }

    /// What the run's object remembers of it.
    pub(super) fn has_rows(&self, prefix: &str) -> bool {
        !self.storage.scan(prefix, "", 1).unwrap().is_empty()
    }
}

pub(super) fn using() -> Use {
    Use {
        name: RunName::new("o", "r"),
        retention_ms: RETENTION_MS,
    }
}

pub(super) fn answer(body: &str) -> StoredAnswer {
    StoredAnswer {
        status: 200,
        body: json!({"status": "completed", "output": body}).to_string(),
    }
}

pub(super) fn commit_of(execution: &Execution, body: &str, retryable: bool) -> CommitRequest {
    CommitRequest {
        ordinal: execution.ordinal,
        generation: execution.generation,
        answer: answer(body),
        retryable,
        retry_after_ms: 0,
        state: None,
        operations: Vec::new(),
    }
}

/// An attempt of the step `s`, for the one who asks to execute.
pub(super) fn request(key: &str, attempt: u32) -> ClaimRequest {
    ClaimRequest {
        using: using(),
        idempotency_key: key.to_owned(),
        fingerprint: "f".to_owned(),
        call: Call {
            run: "r".to_owned(),
            step: "s".to_owned(),
            attempt,
            agent: "echo".to_owned(),
            input: json!({}),
            state: StateSource::None,
            conversation: None,
            deadline_ms: DEADLINE_MS,
            follow_handoffs: false,
            tries_max: 1,
            text: None,
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            request_id: "req".to_owned(),
            behalf: Behalf::default(),
        },
        agent_version: "1.0.0".to_owned(),
        retry: RetryPolicy::default(),
        notifications: Vec::new(),
        hold_ms: HOLD_MS,
        background: false,
        workflow: false,
        hedge: false,
        callback_url: None,
        parent_span: None,
        takeover: None,
    }
}

/// The same, for the run's object to execute.
pub(super) fn background(key: &str, attempt: u32) -> ClaimRequest {
    ClaimRequest {
        background: true,
        ..request(key, attempt)
    }
}

/// The first attempt of another step.
pub(super) fn of_step(step: &str, request: ClaimRequest) -> ClaimRequest {
    let call = Call {
        step: step.to_owned(),
        ..request.call
    };
    ClaimRequest { call, ..request }
}

pub(super) fn retrying(max_attempts: u32, request: ClaimRequest) -> ClaimRequest {
    let retry = RetryPolicy {
        max_attempts,
        backoff_ms: 200,
        backoff_max_ms: 1_000,
    };
    ClaimRequest { retry, ..request }
}

pub(super) fn working_on(state: StateSource, request: ClaimRequest) -> ClaimRequest {
    let call = Call { state, ..request.call };
    ClaimRequest { call, ..request }
}

pub(super) fn calling_back(request: ClaimRequest) -> ClaimRequest {
    let callback_url = Some(URL.to_owned());
    ClaimRequest {
        callback_url,
        ..request
    }
}

/// The generation of a claim that was granted.
pub(super) fn granted(claim: &Claim) -> u32 {
    match claim {
        Claim::Granted { generation, .. } => *generation,
        other => panic!("not granted, but {other:?}"),
    }
}
