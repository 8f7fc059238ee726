//! The run's object, as far as the fake platform has one: it executes what is due while somebody waits for it.

use std::future::poll_fn;
use std::task::Poll;

use super::*;
use crate::agent::{Cancellation, Host, Journal, LocalBoxFuture};
use crate::invocation::Executor;
use crate::run::storage::{Corrupt, MemoryStorage};
use crate::run::transaction::Transaction;
use crate::run::work::{self, Work};
use crate::run::{Moment, Question as _, events};

struct Never;

impl Cancellation for Never {
    fn cancelled(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// A clock that stands still, and sleeps that do not end: no deadline passes.
struct Patient(u64);

impl Host for Patient {
    fn now_ms(&self) -> u64 {
        self.0
    }

    fn log(&self, line: &Value) {
        panic!("no agent of these tests logs: {line}");
    }

    fn sleep_ms(&self, _: u64) -> LocalBoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// Executes what is due in a run.
pub(super) async fn work(platform: &FakePlatform, run: &RunName) {
    let moment = Moment {
        now_ms: platform.now_ms.get(),
        random: 0,
        claimant: "object",
    };
    while let Some(Work::Execute(execution)) = within(platform, run, |storage| {
        work::next(storage, moment.claimant, moment.now_ms, 0)
    }) {
        let (ordinal, generation) = (execution.ordinal, execution.generation);
        let journal = Journal::default();
        let executor = Executor {
            team: Team::embedded(),
            host: &Patient(moment.now_ms),
            cancellation: &Never,
            journal: &journal,
            ledger: None,
        };
        let executed = executor.execute(*execution).await;
        within(platform, run, |storage| {
            events::tell(storage, ordinal, generation, &journal.take_events())?;
            executed.commit_request().answer(storage, moment)
        });
    }
}

/// A transaction that never fails.
fn within<T>(
    platform: &FakePlatform,
    run: &RunName,
    act: impl FnOnce(&Transaction<'_, MemoryStorage>) -> Result<T, Corrupt>,
) -> T {
    let mut runs = platform.runs.borrow_mut();
    let storage = runs.entry(run.object()).or_default();
    let transaction = Transaction::new(storage);
    let done = act(&transaction).expect("rows that we wrote");
    transaction.commit().expect("memory");
    done
}

/// Ready when it is asked for the second time.
pub(super) async fn once_pending() {
    let mut asked = false;
    poll_fn(|context| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The value of a future that is ready after so many polls.
pub(super) fn after_polls<T>(polls: usize, future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut future = std::pin::pin!(future);
    for _ in 1..polls {
        assert!(future.as_mut().poll(&mut context).is_pending(), "it is ready already");
    }
    match future.poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it is not ready"),
    }
}
