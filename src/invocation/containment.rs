//! What holds an agent while it works: its deadline, and a net for its panics.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::agent::Failure;

/// Keeps a panic of an agent to its own request: it becomes the agent's failure. The agent and all that it held are
/// dropped; the core hands an agent nothing mutable, so nothing half-done is left behind.
pub(super) async fn contained<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut work = pin!(work);
    poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))).unwrap_or_else(|_| {
            let message = "the agent panicked: the operator finds the place in the log";
            Poll::Ready(Err(Failure::terminal("agent-panicked", message)))
        })
    })
    .await
}

/// Which of two futures was ready first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Either<L, R> {
    /// This one.
    Left(L),
    /// The other one.
    Right(R),
}

/// Whichever is ready first; the left one where both are.
pub(crate) async fn either<L, R>(left: impl Future<Output = L>, right: impl Future<Output = R>) -> Either<L, R> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    poll_fn(|context| match left.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Either::Left(value)),
        Poll::Pending => right.as_mut().poll(context).map(Either::Right),
    })
    .await
}

/// The future's value, unless the other one is ready first. The agent is asked first: an answer in time counts.
// Not made of `either`: each layer holds what it is given twice, and agents' futures are large.
pub(crate) async fn before<T>(work: impl Future<Output = T>, end: impl Future<Output = ()>) -> Option<T> {
    let (mut work, mut end) = (pin!(work), pin!(end));
    poll_fn(|context| {
        if let Poll::Ready(value) = work.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        end.as_mut().poll(context).map(|()| None)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::task::{Context, Waker};

    use super::*;

    fn now<T>(future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_answer_in_time_counts_even_at_the_deadline() {
        assert_eq!(now(before(ready(1), ready(()))), Poll::Ready(Some(1)));
        assert_eq!(now(before(pending::<u8>(), ready(()))), Poll::Ready(None));
        assert_eq!(now(before(pending::<u8>(), pending())), Poll::Pending);
    }

    #[test]
    fn a_panic_becomes_a_failure() {
        let panics = async {
            let nothing: Option<u8> = None;
            nothing.ok_or(()).map_err(|()| panic!("as an agent might"))
        };
        let Poll::Ready(Err(failure)) = now(contained(panics)) else {
            panic!("the panic came through");
        };
        assert_eq!(failure.code, "agent-panicked");
        assert!(
            !failure.message.contains("as an agent might"),
            "the message may hold a caller's data"
        );
    }
}
