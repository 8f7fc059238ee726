//! Branches and items that are under way at once.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;

use super::interpret::{Halt, Running};
use crate::agent::LocalBoxFuture;
use crate::run::child::{Decision, changed};

/// Something under way, by its number.
type Lane<'f, T> = (usize, LocalBoxFuture<'f, Result<T, Halt>>);

impl Running<'_> {
    /// Executes `count` lanes, at most `concurrency` at once, until `needed` of them have completed, or so many have failed
    /// that this cannot be. Answers those that have completed, by their numbers. What is still under way is let go.
    ///
    /// Who is first depends on the clock, so it is kept as a decision before anything comes of it. Where there is one, the
    /// lanes that it names are executed and no others: all that they call has its answer already.
    pub(super) async fn fan_out<'f, T>(
        &self,
        place: &str,
        count: usize,
        concurrency: usize,
        needed: usize,
        lane: impl Fn(usize) -> LocalBoxFuture<'f, Result<T, Halt>>,
    ) -> Result<BTreeMap<usize, T>, Halt> {
        let decided = self.ledger.decision(self.hold(), place)?;
        let (lanes, needed_now) = match &decided {
            None => ((0..count).collect(), needed),
            Some(Decision::Joined(lanes)) => (lanes.clone(), lanes.len()),
            Some(Decision::Failed { branch, .. }) => (vec![*branch], 1),
        };
        if lanes.iter().any(|lane| *lane >= count) {
            return Err(changed(&format!("`{place}` has fewer branches or items than before")).into());
        }
        let mut spare = lanes.len().saturating_sub(needed_now);
        let mut waiting = lanes.into_iter();
        let mut under_way: Vec<Lane<'_, T>> = Vec::new();
        let mut completed = BTreeMap::new();
        while completed.len() < needed_now {
            while under_way.len() < concurrency
                && let Some(next) = waiting.next()
            {
                under_way.push((next, lane(next)));
            }
            match first(&mut under_way).await {
                (number, Ok(value)) => {
                    completed.insert(number, value);
                }
                (_, Err(Halt::Failed(_))) if spare > 0 => spare -= 1,
                (branch, Err(Halt::Failed(failure))) => {
                    let attempt = self.execution.call.attempt;
                    self.ledger
                        .decide(self.hold(), place, &Decision::Failed { attempt, branch })?;
                    return Err(failure.into());
                }
                (_, Err(Halt::Interrupted)) => return Err(Halt::Interrupted),
            }
        }
        match decided {
            Some(Decision::Failed { .. }) => {
                Err(changed(&format!("`{place}` failed before, and now it does not")).into())
            }
            // Where all were needed there was nothing to decide.
            None if needed < count => {
                let lanes = completed.keys().copied().collect();
                self.ledger.decide(self.hold(), place, &Decision::Joined(lanes))?;
                Ok(completed)
            }
            _ => Ok(completed),
        }
    }
}

/// The first lane that is ready; that of the lowest place in the list where several are. It is taken out.
async fn first<T>(lanes: &mut Vec<Lane<'_, T>>) -> (usize, Result<T, Halt>) {
    let (place, result) = poll_fn(|context| {
        for (place, (_, lane)) in lanes.iter_mut().enumerate() {
            if let Poll::Ready(result) = lane.as_mut().poll(context) {
                return Poll::Ready((place, result));
            }
        }
        Poll::Pending
    })
    .await;
    (lanes.remove(place).0, result)
}
