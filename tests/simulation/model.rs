//! What must hold, whatever happens. The model looks at the run after every transaction that wrote something, and hears of
//! everything that was told to a client, to the receiver of callbacks, and to the operator.

use std::collections::{BTreeMap, BTreeSet};

use baton::run::attempt::{Attempt, EXECUTIONS_MAX, Phase};
use baton::run::call::{Call, StateSource};
use baton::run::delivery::{DeadLetter, Parcel, Place};
use baton::run::ledger::CommitRequest;
use baton::run::settlement::{Notice, Settlement, SettlementStatus};
use baton::run::state::{self, Kept, Read, ReadState, Version};
use baton::run::storage::{MemoryStorage, Storage as _};
use baton::run::{Moment, Question};
use serde_json::Value;

/// The run of one name comes back after it was forgotten: which of them is meant.
pub type Incarnation = u32;
type Id = (Incarnation, u32);

#[derive(Default)]
pub struct Model {
    pub incarnation: Incarnation,
    is_there: bool,
    /// The rows as they were when they were looked at last.
    rows: BTreeMap<String, String>,
    attempts: BTreeMap<Id, Seen>,
    by_key: BTreeMap<(Incarnation, String), u32>,
    /// By step: the attempt whose answer is final.
    finals: BTreeMap<(Incarnation, String), u32>,
    versions: BTreeMap<(Incarnation, u64), Version>,
    last_version: u64,
    /// Receipts by the handoffs' keys.
    handoffs: BTreeMap<(Incarnation, String), String>,
    /// What was told of attempts: the deliveries' ids.
    deliveries: BTreeMap<(Incarnation, Place), String>,
    received: BTreeMap<String, String>,
    acknowledged: BTreeSet<String>,
    /// What the run says of its settlement, once it was taken over.
    settlement: Option<Settlement>,
    /// The steps that the orchestrator has acknowledged, by their keys.
    settled: BTreeSet<(Incarnation, String)>,
    /// The operator's list.
    pub letters: BTreeMap<String, DeadLetter>,
}

struct Seen {
    attempt: Attempt,
    answer: Option<Value>,
    is_delivered: bool,
}

pub fn answered<Q: Question>(storage: &MemoryStorage, question: &Q) -> Q::Answer {
    let moment = Moment {
        now_ms: 0,
        random: 0,
        claimant: "the model",
    };
    question.answer(storage, moment).unwrap()
}

impl Model {
    /// Looks at the run after a transaction of this instance of its object.
    pub fn look(&mut self, storage: &MemoryStorage, instance: &str, forgets: bool) {
        if storage.get("run/only").unwrap().is_none() {
            if self.is_there {
                self.is_there = false;
                if !forgets {
                    self.is_settled();
                }
                self.incarnation += 1;
                self.last_version = 0;
                self.settlement = None;
                self.rows.clear();
            }
            return;
        }
        self.is_there = true;
        for (_, row) in self.news(storage, "version/") {
            self.look_at_version(storage, serde_json::from_str(&row).unwrap());
        }
        for (_, row) in self.news(storage, "settlement/") {
            self.settlement = Some(serde_json::from_str(&row).unwrap());
        }
        // A notice's key goes on with its rule's number.
        let ordinal = |key: &str| -> u32 { key.split(['/', '-']).nth(1).unwrap().parse().unwrap() };
        let tables = ["attempt/", "answer/", "delivery/"];
        let news = tables.into_iter().flat_map(|table| self.news(storage, table));
        let ordinals: BTreeSet<u32> = news.map(|(key, _)| ordinal(&key)).collect();
        for ordinal in ordinals {
            self.look_at_attempt(storage, ordinal);
        }
        for (_, seen) in self.own_attempts() {
            let attempt = &seen.attempt;
            assert!(
                !(attempt.background && attempt.phase == Phase::Running && attempt.claimant != instance),
                "what another instance executed is not recovered: {attempt:?}"
            );
        }
    }

    /// The rows of a table that are not as they were.
    fn news(&mut self, storage: &MemoryStorage, table: &str) -> Vec<(String, String)> {
        let mut rows = storage.scan(table, "", usize::MAX).unwrap();
        rows.retain(|(key, row)| self.rows.get(key) != Some(row));
        self.rows.extend(rows.iter().cloned());
        rows
    }

    fn own_attempts(&self) -> impl Iterator<Item = (&Id, &Seen)> {
        self.attempts.range((self.incarnation, 0)..(self.incarnation + 1, 0))
    }

    fn look_at_version(&mut self, storage: &MemoryStorage, version: Version) {
        let id = (self.incarnation, version.version);
        assert_eq!(self.versions.get(&id), None, "a version's number was used again");
        assert_eq!(
            version.version,
            self.last_version + 1,
            "a version's number was left out"
        );
        self.last_version = version.version;
        let read = answered(
            storage,
            &ReadState {
                version: Some(version.version),
            },
        );
        assert!(matches!(read, Read::Kept(kept) if state::etag(version.version, &kept.content) == version.etag));
        let before = self.versions.range((self.incarnation, 0)..id);
        let twice = before
            .into_iter()
            .any(|(_, known)| version.by.starts_with("step ") && known.by == version.by);
        assert!(!twice, "a step wrote twice: {version:?}");
        self.versions.insert(id, version);
    }

    fn look_at_attempt(&mut self, storage: &MemoryStorage, ordinal: u32) {
        let row = |table: &str| {
            let row = storage.get(&format!("{table}/{ordinal:06}")).unwrap();
            row.map(|row| serde_json::from_str::<Value>(&row).unwrap())
        };
        let attempt: Attempt = serde_json::from_value(row("attempt").unwrap()).unwrap();
        let id = (self.incarnation, ordinal);
        let known = self.attempts.get(&id);
        let answer = row("answer").map(|answer| serde_json::from_str(answer["body"].as_str().unwrap()).unwrap());
        assert_eq!(answer.is_some(), attempt.phase == Phase::Ended, "{attempt:?}");
        assert!(attempt.generation <= EXECUTIONS_MAX, "{attempt:?}");
        if let Some(known) = known {
            assert_eq!(
                known.attempt.idempotency_key, attempt.idempotency_key,
                "a place was used again"
            );
            assert!(known.attempt.generation <= attempt.generation, "{attempt:?}");
            if known.answer.is_some() {
                assert_eq!(known.answer, answer, "an answer was changed");
            }
        }
        if attempt.phase == Phase::Ended && !attempt.retryable {
            let step = (self.incarnation, attempt.step.clone());
            let first = *self.finals.entry(step).or_insert(attempt.ordinal);
            assert_eq!(first, attempt.ordinal, "two final answers of {}", attempt.step);
        }
        let key = (self.incarnation, attempt.idempotency_key.clone());
        self.by_key.insert(key, attempt.ordinal);
        let delivery = row("delivery");
        if let Some(delivery) = &delivery {
            self.has_delivery((id.0, Place::callback(id.1)), delivery["id"].as_str().unwrap());
        }
        assert_eq!(
            delivery.is_some(),
            attempt.phase == Phase::Ended && attempt.callback_url.is_some(),
            "{attempt:?}"
        );
        let notice = storage.get(&format!("delivery/{}", Place::notice(ordinal, 0))).unwrap();
        assert_eq!(
            notice.is_some(),
            attempt.phase == Phase::Ended && !attempt.notifications.is_empty(),
            "{attempt:?}"
        );
        let is_delivered = delivery.is_some_and(|delivery| delivery["state"] == "delivered");
        let seen = Seen {
            attempt,
            answer,
            is_delivered,
        };
        self.attempts.insert(id, seen);
    }

    /// Whether the gateway coordinates the run in its orchestrator's place.
    pub fn is_taken_over(&self) -> bool {
        self.settlement.is_some()
    }

    /// How many attempts the run has.
    pub fn attempts(&self) -> usize {
        self.own_attempts().count()
    }

    /// A settlement is to be sent: it tells of all that has ended, as it was answered.
    pub fn noticed(&self, notice: &Notice) {
        let told = notice.body["steps"].as_array().expect("steps");
        let ended: Vec<_> = self.own_attempts().filter(|(_, seen)| seen.answer.is_some()).collect();
        assert_eq!(told.len(), ended.len(), "{notice:?}");
        for (told, (_, seen)) in told.iter().zip(ended) {
            assert_eq!(told["step"], seen.attempt.step.as_str());
            assert_eq!(Some(&told["answer"]["body"]), seen.answer.as_ref());
        }
    }

    /// The orchestrator has acknowledged a settlement.
    pub fn acknowledged(&mut self, incarnation: Incarnation, notice: &Notice) {
        for told in notice.body["steps"].as_array().expect("steps") {
            let key = format!("{}/{}", told["step"].as_str().unwrap(), told["attempt"]);
            self.settled.insert((incarnation, key));
        }
    }

    pub fn attempt(&self, ordinal: u32) -> Option<&Attempt> {
        self.attempts
            .get(&(self.incarnation, ordinal))
            .map(|seen| &seen.attempt)
    }

    /// The attempts that have ended, by their places and when they were accepted.
    pub fn ended(&self) -> BTreeSet<(u32, u64)> {
        let attempts = self.attempts.values().map(|seen| &seen.attempt);
        attempts
            .filter(|attempt| attempt.phase == Phase::Ended)
            .map(|attempt| (attempt.ordinal, attempt.accepted_at_ms))
            .collect()
    }

    /// Whether the step has its final answer.
    pub fn is_final(&self, step: &str) -> bool {
        self.finals.contains_key(&(self.incarnation, step.to_owned()))
    }

    /// An execution begins, on this state.
    pub fn begun(&self, ordinal: u32, call: &Call, kept: Option<&Kept>) {
        let step = &call.step;
        assert!(!self.is_final(step), "{step} is executed after its final answer");
        assert!(self.attempt(ordinal).is_some(), "an unknown attempt is executed");
        let version = kept.map_or(0, |kept| kept.version.version);
        let expected = match call.state {
            StateSource::Kept => self.last_version,
            StateSource::Version(version) => version,
            StateSource::None | StateSource::Inline(_) => 0,
        };
        assert_eq!(version, expected, "{step} is executed on another version");
    }

    /// A commit was told to be stored.
    pub fn stored(&self, incarnation: Incarnation, commit: &CommitRequest) {
        assert_eq!(incarnation, self.incarnation, "what a forgotten run executed counts");
        let seen = &self.attempts[&(incarnation, commit.ordinal)];
        assert_eq!(
            seen.attempt.generation, commit.generation,
            "a late owner's answer counts"
        );
        let answer = serde_json::from_str(&commit.answer.body).unwrap();
        assert_eq!(seen.answer, Some(answer), "another answer was stored");
        if let Some(write) = &commit.state {
            let version = self.versions.get(&(incarnation, write.base + 1));
            let etag = version.map(|version| version.etag.clone());
            let expected = state::etag(write.base + 1, &write.content);
            assert_eq!(etag, Some(expected), "a state was written on top of another version");
        }
    }

    /// An answer was given out for a call under this key.
    pub fn told_answer(&self, step: &str, key: &str, answer: &Value) {
        let own = self.by_key.get(&(self.incarnation, key.to_owned()));
        let last = self.finals.get(&(self.incarnation, step.to_owned()));
        let ordinal = *own.or(last).expect("the step has an attempt");
        self.same_answer((self.incarnation, ordinal), answer);
    }

    fn same_answer(&self, id: Id, answer: &Value) {
        let stored = self.attempts[&id].answer.as_ref();
        assert_eq!(stored, Some(answer), "another answer than the stored one is given out");
    }

    /// A write was told to be this version.
    pub fn written(&self, version: &Version, content: &str) {
        let known = self.versions.get(&(self.incarnation, version.version));
        assert_eq!(known, Some(version), "a version was told that is not there");
        assert_eq!(
            version.etag,
            state::etag(version.version, content),
            "somebody else's version was told"
        );
    }

    /// A write was told to have come to nothing.
    pub fn not_written(&self, claimant: &str) {
        let own = self.versions.range((self.incarnation, 0)..(self.incarnation + 1, 0));
        let own = own.into_iter().find(|(_, version)| version.claimant == claimant);
        assert!(own.is_none(), "a conflict was told of what was written: {own:?}");
    }

    pub fn handed_off(&mut self, key: &str, receipt: String) {
        let known = self.handoffs.entry((self.incarnation, key.to_owned()));
        assert_eq!(
            known.or_insert(receipt.clone()),
            &receipt,
            "another receipt for the same handoff"
        );
    }

    /// The receiver got a callback or a notice; whether it accepts it.
    pub fn received(&mut self, incarnation: Incarnation, parcel: &Parcel, accepts: bool) {
        self.has_delivery((incarnation, parcel.place), &parcel.id);
        let content = match &parcel.notice {
            Some(notice) => serde_json::to_string(notice).unwrap(),
            None => parcel.body.clone(),
        };
        let known = self.received.entry(parcel.id.clone()).or_insert(content.clone());
        assert_eq!(known, &content, "a delivery's tries differ");
        if let Some(seen) = self.attempts.get(&(incarnation, parcel.place.ordinal))
            && let Some(answer) = &seen.answer
        {
            let ending = answer["status"].as_str().unwrap_or("failed");
            match &parcel.notice {
                Some(notice) => assert_eq!(notice.text, ending, "a notice tells another outcome"),
                None => {
                    let body: Value = serde_json::from_str(&parcel.body).unwrap();
                    assert_eq!(
                        answer, &body["data"]["answer"]["body"],
                        "a callback tells another answer"
                    );
                    assert_eq!(body["type"], format!("step.{ending}"));
                }
            }
        }
        if accepts {
            self.acknowledged.insert(parcel.id.clone());
        }
    }

    /// The operator's list got a dead letter.
    pub fn listed(&mut self, incarnation: Incarnation, place: Place, letter: &DeadLetter) {
        self.has_delivery((incarnation, place), &letter.delivery);
        self.letters.insert(letter.delivery.clone(), letter.clone());
    }

    fn has_delivery(&mut self, place: (Incarnation, Place), id: &str) {
        let first = self.deliveries.entry(place).or_insert(id.to_owned());
        assert_eq!(first, id, "one place has two deliveries");
    }

    /// What was to be told of an attempt that ended was delivered, or is on the operator's list. Answers its id.
    fn is_told(&self, place: (Incarnation, Place)) -> &str {
        let delivery = self.deliveries.get(&place);
        let delivery = delivery.unwrap_or_else(|| panic!("it was never sent: {place:?}"));
        let told = self.acknowledged.contains(delivery) || self.letters.contains_key(delivery);
        assert!(told, "neither delivered nor on the operator's list: {place:?}");
        delivery
    }

    /// Nothing is under way in the run any more: everything that was promised was done.
    pub fn is_settled(&self) {
        if let Some(settlement) = &self.settlement {
            assert_ne!(settlement.status, SettlementStatus::Pending, "{settlement:?}");
            let is_settled = settlement.status == SettlementStatus::Settled;
            for (_, seen) in self
                .own_attempts()
                .filter(|(_, seen)| is_settled && seen.answer.is_some())
            {
                let key = format!("{}/{}", seen.attempt.step, seen.attempt.attempt);
                let is_told = self.settled.contains(&(self.incarnation, key));
                assert!(is_told, "never told to the orchestrator: {:?}", seen.attempt);
            }
        }
        for (id, seen) in self.own_attempts() {
            let attempt = &seen.attempt;
            assert!(
                !attempt.background || attempt.phase == Phase::Ended,
                "never ended: {attempt:?}"
            );
            if attempt.phase == Phase::Ended && !attempt.notifications.is_empty() {
                let _ = self.is_told((id.0, Place::notice(id.1, 0)));
            }
            if attempt.callback_url.is_none() {
                continue;
            }
            let callback = self.is_told((id.0, Place::callback(id.1)));
            if seen.is_delivered {
                assert!(self.acknowledged.contains(callback), "delivered to nobody: {attempt:?}");
            }
        }
    }
}
