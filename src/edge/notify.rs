//! Waking those who wait for something to change, within one object.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Counts changes, and wakes those who wait for the next one.
#[derive(Default)]
pub struct Notify {
    changes: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Notify {
    /// How many changes there were.
    pub fn changes(&self) -> u64 {
        self.changes.get()
    }

    /// Something has changed.
    pub fn notify(&self) {
        self.changes.set(self.changes.get() + 1);
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    /// Ready when there were more changes than `seen`.
    pub async fn changed_since(&self, seen: u64) {
        poll_fn(|context| {
            if self.changes.get() > seen {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            // Polled for another reason, it is known already.
            if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}
