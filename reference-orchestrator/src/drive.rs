//! Driving a run: its state, then its steps, one after the other, to their end or to the deadline.
//!
//! Nothing about a run is kept in memory alone. A process that is killed in the middle finds its runs in the database and
//! goes on with the same idempotency keys, so that no step has a second effect. What a step comes to is decided here alone:
//! callbacks are only put into the database, so that an outcome that comes twice counts once.

use std::time::Duration;

use baton::signature::KeyRecord;
use serde_json::json;

use crate::Orchestrator;
use crate::decide::{ATTEMPTS_MAX, Decision, decide, give_up};
use crate::invoke::{Reply, invoke, note, read_stored, transport};
use crate::kept::{poll, put_state};
use crate::model::{Call, Invocation, Mode, Registration, Via};
use crate::outside;
use crate::store::{Pending, StepEnd, StoreError};

/// A step whose outcome is waited for is asked for after this time, in milliseconds: a callback may get lost.
pub const POLL_FIRST_MS: u64 = 5_000;
/// Each further pause between polls is twice as long as the one before, and at most this long, in milliseconds.
pub const POLL_MAX_MS: u64 = 60_000;
/// The code of the outcome of a step that had not ended when its run's time was over.
pub const DEADLINE_PASSED: &str = "run-deadline-passed";
/// One call waits this long for its answer, in milliseconds. A step that takes longer is asked for again.
const CALL_MAX_MS: u64 = 30_000;

/// When to ask next for a step that waits.
struct Backstop {
    at_ms: u64,
    pause_ms: u64,
}

impl Backstop {
    /// A step that an earlier process left waiting is asked for at once: its callback may have found nobody.
    fn at_once(first_ms: u64) -> Self {
        Self {
            at_ms: 0,
            pause_ms: first_ms,
        }
    }

    fn put_off(&mut self, now_ms: u64) {
        self.at_ms = now_ms.saturating_add(self.pause_ms);
        self.pause_ms = self.pause_ms.saturating_mul(2).min(POLL_MAX_MS);
    }
}

/// Whether to go on with a run.
#[derive(PartialEq, Eq)]
enum Next {
    Go,
    /// The process stops: the next one goes on. Or a settlement has ended the run.
    Stop,
}

/// Invokes the run's steps until all have ended, one has failed, the deadline has passed or the process stops.
///
/// # Errors
/// When the database fails.
pub fn drive(app: &Orchestrator, run: &str, deadline_at_ms: u64) -> Result<(), StoreError> {
    if let Some(state) = app.store.pending_state(run)?
        && let Some(first) = app.store.pending_step(run)?
        && drive_state(app, run, &first, &state, deadline_at_ms)? == Next::Stop
    {
        return Ok(());
    }
    while let Some(step) = app.store.pending_step(run)? {
        if drive_step(app, run, step, deadline_at_ms)? == Next::Stop {
            return Ok(());
        }
    }
    app.store.finish_run(run, outside::now_ms())?;
    app.log.event(outside::now_ms(), "run_finished", json!({ "run": run }));
    Ok(())
}

/// Puts the run's state where its first step is going to find it. Where that fails, so does the step, without being invoked.
fn drive_state(
    app: &Orchestrator,
    run: &str,
    first: &Pending,
    state: &str,
    deadline_at_ms: u64,
) -> Result<Next, StoreError> {
    let mut failures = 0;
    while !app.stop.requested() && app.store.is_running(run)? {
        let left_ms = deadline_at_ms.saturating_sub(outside::now_ms());
        let (invocation, decision) = if left_ms == 0 {
            (None, deadline_passed())
        } else {
            let gateway = app.store.live_with_agent(&first.agent, run, outside::now_ms())?;
            let put = |key: &_, gateway: &_| put_state(&app.client, key, gateway, (run, state), time_out(left_ms));
            let (invocation, answer) = call(app, run, (Call::State, first), gateway, put, Err);
            match answer {
                Ok(kept) => {
                    app.store.record(run, &first.step, Some(&invocation), None)?;
                    app.store.keep_state(run, &kept)?;
                    return Ok(Next::Go);
                }
                // As the last attempt: there is no further one of this call.
                Err(reply) => {
                    let decision = decide(reply, ATTEMPTS_MAX, failures, outside::jitter_permille());
                    (Some(invocation), decision)
                }
            }
        };
        let (end, pause_ms) = match decision {
            Decision::Again { after_ms, failure } => {
                failures += u32::from(failure);
                (None, after_ms)
            }
            decision => (ending(decision, None), 0),
        };
        app.store.record(run, &first.step, invocation.as_ref(), end.as_ref())?;
        if end.is_some() {
            return Ok(Next::Go);
        }
        pause(app, pause_ms, deadline_at_ms);
    }
    Ok(Next::Stop)
}

fn drive_step(app: &Orchestrator, run: &str, mut step: Pending, deadline_at_ms: u64) -> Result<Next, StoreError> {
    let mut failures = 0;
    let mut backstop = Backstop::at_once(app.poll_first_ms);
    while !app.stop.requested() && app.store.is_running(run)? {
        // Before looking for a callback, so that none comes unnoticed between the two.
        let rings = app.stop.rings();
        let Some(heard) = listen(app, run, &step, &mut backstop, failures, deadline_at_ms)? else {
            let wait_ms = backstop.at_ms.min(deadline_at_ms).saturating_sub(outside::now_ms());
            app.stop.wait_for_ring_ms(rings, wait_ms);
            continue;
        };
        let Heard {
            invocation,
            via,
            decision,
        } = heard;
        let (end, pause_ms) = match decision {
            Decision::Again { after_ms, failure } => {
                failures += u32::from(failure);
                (None, after_ms)
            }
            Decision::NextAttempt { after_ms } => {
                failures = 0;
                step.attempt += 1;
                step.accepted_by = None;
                (Some(StepEnd::NextAttempt), after_ms)
            }
            Decision::Wait if step.accepted_by.is_some() => (None, 0),
            Decision::Wait => {
                backstop = Backstop::at_once(app.poll_first_ms);
                backstop.put_off(outside::now_ms());
                step.accepted_by = invocation.as_ref().and_then(|invocation| invocation.gateway.clone());
                let accepted_by = step.accepted_by.clone().unwrap_or_default();
                (Some(StepEnd::Waits { accepted_by }), 0)
            }
            decision => (ending(decision, via), 0),
        };
        app.store.record(run, &step.step, invocation.as_ref(), end.as_ref())?;
        if matches!(end, Some(StepEnd::Ended { .. })) {
            return Ok(Next::Go);
        }
        pause(app, pause_ms, deadline_at_ms);
    }
    Ok(Next::Stop)
}

/// What was heard of a step, and what is to be done about it.
struct Heard {
    invocation: Option<Invocation>,
    via: Option<Via>,
    decision: Decision,
}

/// Looks for a callback, and else makes the call that is due; nothing where the step waits and none is.
fn listen(
    app: &Orchestrator,
    run: &str,
    step: &Pending,
    backstop: &mut Backstop,
    failures: u32,
    deadline_at_ms: u64,
) -> Result<Option<Heard>, StoreError> {
    let now_ms = outside::now_ms();
    let left_ms = deadline_at_ms.saturating_sub(now_ms);
    let decided = |reply: Reply| decide(reply, step.attempt, failures, outside::jitter_permille());
    let (invocation, via, decision) = if left_ms == 0 {
        (None, None, deadline_passed())
    } else if let Some(reply) = called_back(app, run, step)? {
        (None, Some(Via::Callback), decided(reply))
    } else if let Some(gateway) = &step.accepted_by {
        if now_ms < backstop.at_ms {
            return Ok(None);
        }
        // No other gateway knows the step.
        let gateway = app.store.live_gateway(gateway, now_ms)?;
        let ask = |key: &_, gateway: &_| poll(&app.client, key, gateway, (run, step), time_out(left_ms));
        let (invocation, reply) = call(app, run, (Call::Poll, step), gateway, ask, |reply| reply);
        backstop.put_off(outside::now_ms());
        let decision = if is_inconclusive(&reply) {
            Decision::Wait
        } else {
            decided(reply)
        };
        (Some(invocation), Some(Via::Poll), decision)
    } else {
        // The one that is live now: after a pause it may be another.
        let gateway = app.store.live_with_agent(&step.agent, run, now_ms)?;
        let send = |key: &_, gateway: &_| invoke(&app.client, key, gateway, (run, step), time_out(left_ms));
        let (invocation, reply) = call(app, run, (Call::Invoke, step), gateway, send, |reply| reply);
        (Some(invocation), Some(Via::Answer), decided(reply))
    };
    Ok(Some(Heard {
        invocation,
        via,
        decision,
    }))
}

fn deadline_passed() -> Decision {
    let message = "the run's deadline passed before the step ended";
    give_up(DEADLINE_PASSED, message, false)
}

fn ending(decision: Decision, came: Option<Via>) -> Option<StepEnd> {
    match decision {
        Decision::End {
            completed,
            verified,
            outcome,
        } => Some(StepEnd::Ended {
            completed,
            via: came.filter(|_| verified),
            outcome,
        }),
        _ => None,
    }
}

fn pause(app: &Orchestrator, pause_ms: u64, deadline_at_ms: u64) {
    let left_ms = deadline_at_ms.saturating_sub(outside::now_ms());
    app.stop.wait_ms(pause_ms.min(left_ms));
}

/// What a callback said about the current attempt.
fn called_back(app: &Orchestrator, run: &str, step: &Pending) -> Result<Option<Reply>, StoreError> {
    if step.mode == Mode::Sync {
        return Ok(None);
    }
    let answer = app.store.delivered(run, &step.step, step.attempt)?;
    Ok(answer.map(|answer| read_stored(answer, run, step)))
}

/// Whether a poll came to nothing. It is a backstop: the callback may still come, and so may the next poll.
fn is_inconclusive(reply: &Reply) -> bool {
    match reply {
        Reply::Accepted | Reply::Transport { .. } => true,
        Reply::Outcome(_) => false,
        // A gateway that has forgotten the step calls nobody back. A replayed refusal is what the step ended with.
        Reply::Refused { status, replayed, .. } => !replayed && *status != 404 && *status != 410,
    }
}

/// Makes one call, to the gateway given if it is live, and records everything about it that the call itself does not know.
fn call<R>(
    app: &Orchestrator,
    run: &str,
    (purpose, step): (Call, &Pending),
    gateway: Option<Registration>,
    send: impl FnOnce(&KeyRecord, &Registration) -> (Invocation, R),
    not_sent: impl FnOnce(Reply) -> R,
) -> (Invocation, R) {
    let sent_at_ms = outside::now_ms();
    let key = app.invoke_key(sent_at_ms).filter(|key| key.allows_agent(&step.agent));
    let (mut invocation, reply) = match (gateway, key) {
        (Some(gateway), Some(key)) => {
            let (invocation, reply) = send(key, &gateway);
            let gateway = Some(gateway.gateway);
            (Invocation { gateway, ..invocation }, reply)
        }
        (gateway, _) => {
            let (code, detail) = match gateway {
                None => ("gateway-missing", "no live gateway offers the agent"),
                Some(_) => ("invoke-key-missing", "no valid key of ours may invoke the agent"),
            };
            let (mut invocation, reply) = (Invocation::default(), transport(code, detail.into()));
            note(&mut invocation, &reply);
            (invocation, not_sent(reply))
        }
    };
    invocation.call = purpose;
    invocation.attempt = step.attempt;
    invocation.sent_at_ms = sent_at_ms;
    invocation.duration_ms = outside::now_ms().saturating_sub(sent_at_ms);
    app.log.event(
        outside::now_ms(),
        "invoked",
        json!({
            "call": purpose.as_str(), "run": run, "step": step.step, "agent": step.agent, "attempt": invocation.attempt,
            "http_status": invocation.http_status, "verified": invocation.verified, "outcome": invocation.outcome,
            "replayed": invocation.replayed, "problem": invocation.problem, "duration_ms": invocation.duration_ms,
        }),
    );
    (invocation, reply)
}

fn time_out(left_ms: u64) -> Duration {
    Duration::from_millis(left_ms.min(CALL_MAX_MS))
}
