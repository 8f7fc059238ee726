//! What an agent tells while it works, beside its answer.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::ops::Deref;
use std::task::{Poll, Waker};

use serde::Serialize;
use serde_json::Value;

use crate::run::events::Event;
use crate::telemetry::operation::{OPERATIONS_MAX, Operation};

/// What one execution tells. Progress and parts of the output are for whoever reads the step's stream; they are hints, and
/// the outcome alone counts.
#[derive(Debug, Default)]
pub struct Journal {
    events: RefCell<Vec<Event>>,
    state: RefCell<Option<StateChange>>,
    spent: RefCell<Option<Spent>>,
    operations: RefCell<Vec<Operation>>,
    /// So many operations have begun.
    begun: Cell<usize>,
    reader: RefCell<Option<Waker>>,
}

/// What models took, as their providers counted it, over all calls of one execution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// The model that was used last.
    pub model: String,
    /// Tokens that were read.
    pub input_tokens: u64,
    /// Tokens that were written.
    pub output_tokens: u64,
    /// What they cost, in millionths of the operator's unit of currency; nothing where a model that was used has no price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<u64>,
    /// Whether no model was asked at all: the answer was kept from an earlier, identical request.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
}

/// How an agent changes the run's state. It counts if, and only if, the step completes or hands off.
#[derive(Debug, Clone, PartialEq)]
pub enum StateChange {
    /// This is the new state.
    Replace(Value),
    /// This JSON Merge Patch (RFC 7396) makes the new state of the old one.
    Merge(Value),
}

impl StateChange {
    /// The new state.
    #[must_use]
    pub fn apply(&self, old: Option<&Value>) -> Value {
        match self {
            Self::Replace(new) => new.clone(),
            Self::Merge(patch) => {
                let mut new = old.cloned().unwrap_or_default();
                json_patch::merge(&mut new, patch);
                new
            }
        }
    }
}

impl Journal {
    /// Says in words how far the agent has come; `fraction` is from 0 to 1, where it is known.
    pub fn progress(&self, message: impl Into<String>, fraction: Option<f64>) {
        let message = message.into();
        self.tell(Event::Progress { message, fraction });
    }

    /// Says more of the output's text: to be joined to what was said before.
    pub fn delta(&self, text: &str) {
        let mut events = self.events.borrow_mut();
        if let Some(Event::Delta { text: last }) = events.last_mut() {
            // Not taken yet: one event is enough for both.
            last.push_str(text);
            return;
        }
        drop(events);
        self.tell(Event::Delta { text: text.to_owned() });
    }

    /// Sets the new state. What was set before in the same execution is void.
    pub fn replace_state(&self, new: Value) {
        *self.state.borrow_mut() = Some(StateChange::Replace(new));
    }

    /// Changes the state by a JSON Merge Patch (RFC 7396). What was set before in the same execution is void.
    pub fn merge_state(&self, patch: Value) {
        *self.state.borrow_mut() = Some(StateChange::Merge(patch));
    }

    /// How the state was changed, as far as it was not taken yet.
    pub fn take_state(&self) -> Option<StateChange> {
        self.state.borrow_mut().take()
    }

    /// Adds to what models took.
    pub fn spend(&self, spent: Spent) {
        let mut all = self.spent.borrow_mut();
        let Some(all) = all.as_mut() else {
            *all = Some(spent);
            return;
        };
        all.model = spent.model;
        all.input_tokens += spent.input_tokens;
        all.output_tokens += spent.output_tokens;
        // A part of the cost would pass for all of it.
        all.cost_micros = all
            .cost_micros
            .zip(spent.cost_micros)
            .map(|(all, more)| all.saturating_add(more));
        all.cached &= spent.cached;
    }

    /// What models took, as far as it was not taken yet.
    pub fn take_spent(&self) -> Option<Spent> {
        self.spent.borrow_mut().take()
    }

    /// A journal for somebody who works for this agent: progress, deltas and state are nobody's business.
    #[must_use]
    pub fn inner(&self) -> Inner<'_> {
        let journal = Self {
            begun: self.begun.clone(),
            ..Self::default()
        };
        Inner { outer: self, journal }
    }

    /// The number of an operation that begins now: no other one of this execution within the same span has it.
    pub(super) fn next_operation(&self) -> usize {
        let number = self.begun.get();
        self.begun.set(number + 1);
        number
    }

    /// Takes an operation down that has ended: [`OPERATIONS_MAX`] of an execution at most.
    pub(super) fn did(&self, operation: Operation) {
        let mut operations = self.operations.borrow_mut();
        if operations.len() < OPERATIONS_MAX {
            operations.push(operation);
        }
    }

    /// What has ended, as far as it was not taken yet, in the order of its ends.
    pub fn take_operations(&self) -> Vec<Operation> {
        self.operations.take()
    }

    /// What was told since this was called last.
    pub fn take_events(&self) -> Vec<Event> {
        self.events.take()
    }

    /// Ready when there is something to take.
    pub async fn told(&self) {
        poll_fn(|context| {
            if self.events.borrow().is_empty() {
                *self.reader.borrow_mut() = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    fn tell(&self, event: Event) {
        self.events.borrow_mut().push(event);
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.wake();
        }
    }
}

/// A journal within another one, which takes over what it says of models and operations when it is dropped: also where
/// whoever wrote it was dropped in the middle.
pub struct Inner<'a> {
    outer: &'a Journal,
    journal: Journal,
}

impl Deref for Inner<'_> {
    type Target = Journal;

    fn deref(&self) -> &Journal {
        &self.journal
    }
}

impl Drop for Inner<'_> {
    fn drop(&mut self) {
        if let Some(spent) = self.journal.take_spent() {
            self.outer.spend(spent);
        }
        self.outer
            .begun
            .set(self.outer.begun.get().max(self.journal.begun.get()));
        for operation in self.journal.take_operations() {
            self.outer.did(operation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn deltas_that_nobody_took_yet_are_one() {
        let journal = Journal::default();
        journal.delta("a");
        journal.delta("b");
        journal.progress("half", Some(0.5));
        journal.delta("c");
        let delta = |text: &str| Event::Delta { text: text.into() };
        let half = Event::Progress {
            message: "half".into(),
            fraction: Some(0.5),
        };
        assert_eq!(journal.take_events(), [delta("ab"), half, delta("c")]);
        assert_eq!(journal.take_events(), []);
    }

    #[test]
    fn what_models_took_is_added_up() {
        let journal = Journal::default();
        assert_eq!(journal.take_spent(), None);
        let spent = |model: &str, (input_tokens, output_tokens), cost_micros| Spent {
            model: model.into(),
            input_tokens,
            output_tokens,
            cost_micros,
            cached: false,
        };
        let check = |first, second, together| {
            journal.spend(spent("small", (10, 2), first));
            journal.spend(spent("large", (5, 1), second));
            assert_eq!(journal.take_spent(), Some(spent("large", (15, 3), together)));
            assert_eq!(journal.take_spent(), None);
        };
        check(Some(7), Some(3), Some(10));
        check(Some(7), None, None);
        check(None, Some(3), None);
        check(Some(u64::MAX), Some(1), Some(u64::MAX));
    }

    #[test]
    fn what_an_inner_journal_says_of_models_is_taken_over_and_nothing_else() {
        let journal = Journal::default();
        let spent = Spent {
            input_tokens: 4,
            ..Spent::default()
        };
        let inner = journal.inner();
        inner.spend(spent.clone());
        inner.delta("not for the caller");
        inner.replace_state(json!(1));
        assert_eq!(inner.next_operation(), 0);
        assert_eq!(journal.take_spent(), None);
        drop(inner);
        assert_eq!(journal.take_spent(), Some(spent));
        assert_eq!(journal.take_events(), []);
        assert_eq!(journal.take_state(), None);
        assert_eq!(journal.next_operation(), 1, "no number is given twice");
    }

    #[test]
    fn an_answer_is_cached_where_no_model_was_asked() {
        for (first, second, both) in [(true, true, true), (true, false, false), (false, true, false)] {
            let journal = Journal::default();
            for cached in [first, second] {
                journal.spend(Spent {
                    cached,
                    ..Spent::default()
                });
            }
            let spent = journal.take_spent().unwrap();
            assert_eq!(spent.cached, both);
            let told = serde_json::to_value(&spent).unwrap();
            assert_eq!(told.get("cached"), both.then_some(&json!(true)));
        }
    }

    #[test]
    fn a_state_is_replaced_or_merged() {
        let old = json!({"a": 1, "b": {"c": 2, "d": 3}});
        let check = |change: StateChange, old: Option<&Value>, expected: Value| {
            assert_eq!(change.apply(old), expected);
        };
        check(StateChange::Replace(json!([1])), Some(&old), json!([1]));
        let patch = StateChange::Merge(json!({"a": null, "b": {"d": 4}, "e": 5}));
        check(patch.clone(), Some(&old), json!({"b": {"c": 2, "d": 4}, "e": 5}));
        check(patch, None, json!({"b": {"d": 4}, "e": 5}));
    }
}
