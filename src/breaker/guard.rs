//! A call behind the breaker: permitted or not, and its end told to whom it concerns.

use std::future::poll_fn;
use std::pin::pin;

use super::circuit::{Permit, Word};
use super::isolate::{Breaker, Plan};
use super::{End, SLOW_BUDGET_PERCENT, TELL_MAX_MS};
use crate::invocation::before;
use crate::platform::Platform;

/// Makes a call to this orchestrator, if its breaker lets it pass: else nothing. `budget_ms` is how long the call may
/// take, and `judge` says how it ended. A call that is dropped before its end counts as slow if it was that already.
pub async fn guard<P: Platform, T>(
    orchestrator: &str,
    budget_ms: u64,
    call: impl Future<Output = T>,
    judge: impl FnOnce(&T) -> End,
    platform: &P,
) -> Option<T> {
    if let Some(word) = platform.breaker(orchestrator, Breaker::untold) {
        tell(orchestrator, word, platform).await;
    }
    let plan = platform.breaker(orchestrator, |breaker| breaker.plan(platform.now_ms()));
    let permit = match plan {
        Plan::Pass | Plan::PassAndLook => Permit::Pass,
        Plan::Ask => tell(orchestrator, Word::Ask, platform).await,
        Plan::Reject => Permit::Reject,
    };
    if permit == Permit::Reject {
        return None;
    }
    let mut watched = Watched {
        orchestrator,
        budget_ms,
        permit,
        begun_at_ms: platform.now_ms(),
        ended: false,
        platform,
    };
    let value = if plan == Plan::PassAndLook {
        beside(call, tell(orchestrator, Word::Look, platform)).await
    } else {
        call.await
    };
    watched.ended = true;
    let end = match judge(&value) {
        End::Answered if watched.is_slow() => End::Slow,
        end => end,
    };
    let (now_ms, random) = (platform.now_ms(), platform.random());
    let word = platform.breaker(orchestrator, |breaker| breaker.ended(permit, end, now_ms, random));
    if let Some(word) = word {
        tell(orchestrator, word, platform).await;
    }
    Some(value)
}

/// A permitted call that is under way.
struct Watched<'a, P: Platform> {
    orchestrator: &'a str,
    budget_ms: u64,
    permit: Permit,
    begun_at_ms: u64,
    ended: bool,
    platform: &'a P,
}

impl<P: Platform> Watched<'_, P> {
    fn is_slow(&self) -> bool {
        let took_ms = self.platform.now_ms().saturating_sub(self.begun_at_ms);
        is_slow(took_ms, self.budget_ms)
    }
}

impl<P: Platform> Drop for Watched<'_, P> {
    /// Nobody waits any more: the caller has gone, or something else was first. A probe must not be lost with it.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let end = if self.is_slow() { End::Slow } else { End::Unknown };
        let (now_ms, random) = (self.platform.now_ms(), self.platform.random());
        self.platform.breaker(self.orchestrator, |breaker| {
            breaker.abandoned(self.permit, end, now_ms, random);
        });
    }
}

/// Tells the shared circuit something, and the isolate's breaker what it answers. It is no single point of failure:
/// without an answer in time the isolate decides alone.
async fn tell<P: Platform>(orchestrator: &str, word: Word, platform: &P) -> Permit {
    let told = before(
        platform.tell_breaker(orchestrator, word),
        platform.sleep_ms(TELL_MAX_MS),
    );
    let verdict = told.await.and_then(Result::ok);
    let (now_ms, random) = (platform.now_ms(), platform.random());
    platform.breaker(orchestrator, |breaker| breaker.heard(word, verdict, now_ms, random))
}

/// The call's value, while something else goes on as long as the call lasts.
async fn beside<T, U>(call: impl Future<Output = T>, aside: impl Future<Output = U>) -> T {
    let (mut call, mut aside) = (pin!(call), pin!(aside));
    let mut goes_on = true;
    poll_fn(|context| {
        goes_on = goes_on && aside.as_mut().poll(context).is_pending();
        call.as_mut().poll(context)
    })
    .await
}

const fn is_slow(took_ms: u64, budget_ms: u64) -> bool {
    took_ms.saturating_mul(100) > budget_ms.saturating_mul(SLOW_BUDGET_PERCENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_slow_by_its_budget() {
        for (took_ms, budget_ms, expected) in [
            (750, 1_000, false),
            (751, 1_000, true),
            (0, 0, false),
            (u64::MAX, 1_000, true),
        ] {
            assert_eq!(is_slow(took_ms, budget_ms), expected, "{took_ms} of {budget_ms}");
        }
    }
}
