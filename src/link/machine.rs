//! The link's transitions.

use super::{
    BACKOFF_MAX_MS, BACKOFF_MIN_MS, CALL_TIMEOUT_MS, Call, CallResult, Calling, Command, DRAIN_MS, Input, Intent,
    LEASE_MIN_MS, Lease, Link, Output, REFUSED_RETRY_MS, Standing,
};
use crate::backoff::backoff_ms;

/// Takes the link one step on. `random` is any number, for jitter. Always answers when to wake the link, or
/// [`Output::Sleep`].
#[must_use]
pub fn step(mut link: Link, input: Input, now_ms: u64, random: u32) -> (Link, Vec<Output>) {
    let mut outputs = Vec::new();
    lapse(&mut link, now_ms, &mut outputs);
    match input {
        Input::Wake { manifest_digest } => wake(&mut link, manifest_digest, now_ms, &mut outputs),
        Input::Command(command) => obey(&mut link, command, now_ms),
        Input::Ended { number, result } => {
            if let Some(ended) = link.calling.take_if(|calling| calling.number == number) {
                end(&mut link, ended, result, now_ms, random, &mut outputs);
            }
        }
    }
    settle(&mut link);
    // The alarm before the call: should the object die during the call, the alarm brings it back.
    let call_at = outputs.iter().position(|output| matches!(output, Output::Call(_)));
    let alarm = wake_at(&link).map_or(Output::Sleep, Output::WakeAt);
    outputs.insert(call_at.unwrap_or(outputs.len()), alarm);
    (link, outputs)
}

/// When the link has to look again, in Unix milliseconds; nothing while it is deregistered. Never later than the lease's end.
#[must_use]
pub fn wake_at(link: &Link) -> Option<u64> {
    let mut at_ms = match &link.calling {
        Some(calling) => given_up_at(calling),
        None if link.standing == Standing::Deregistered => return None,
        None => link.next_at_ms,
    };
    if let Standing::Registered {
        lease_expires_at_ms, ..
    } = link.standing
    {
        at_ms = at_ms.min(lease_expires_at_ms);
    }
    if let (Intent::Drain { until_ms }, None) = (link.intent, &link.calling) {
        at_ms = at_ms.min(until_ms);
    }
    Some(at_ms)
}

/// The object died during a call that is this old: whether it arrived is unknown.
fn given_up_at(calling: &Calling) -> u64 {
    calling.since_ms.saturating_add(2 * CALL_TIMEOUT_MS)
}

/// Notices what time alone brings.
fn lapse(link: &mut Link, now_ms: u64, outputs: &mut Vec<Output>) {
    if let Standing::Registered {
        lease_expires_at_ms, ..
    } = link.standing
        && lease_expires_at_ms <= now_ms
    {
        link.standing = Standing::Unregistered;
        link.next_at_ms = now_ms;
        outputs.push(Output::Alarm("the lease has ended".into()));
    }
    if let Intent::Drain { until_ms } = link.intent
        && until_ms <= now_ms
    {
        link.intent = Intent::Deregister;
        link.next_at_ms = now_ms;
    }
}

/// Without a lease and a call there is nothing left to drain or to end.
fn settle(link: &mut Link) {
    if link.intent != Intent::Serve && link.standing == Standing::Unregistered && link.calling.is_none() {
        link.standing = Standing::Deregistered;
        link.intent = Intent::Serve;
        link.failures = 0;
    }
}

fn obey(link: &mut Link, command: Command, now_ms: u64) {
    let intent = match (command, link.intent) {
        (Command::Register, _) => Intent::Serve,
        (Command::Drain, Intent::Serve) => Intent::Drain {
            until_ms: now_ms.saturating_add(DRAIN_MS),
        },
        (Command::Drain, known) => known,
        (Command::Deregister, _) => Intent::Deregister,
    };
    match (&link.standing, command) {
        (Standing::Deregistered, Command::Drain | Command::Deregister) => return,
        (Standing::Deregistered | Standing::Refused, _) => {
            link.standing = Standing::Unregistered;
            link.next_at_ms = now_ms;
        }
        _ => {}
    }
    // Said twice, it hurries nothing: the backoff holds.
    if intent != link.intent {
        link.intent = intent;
        link.next_at_ms = now_ms;
    }
}

fn wake(link: &mut Link, manifest_digest: String, now_ms: u64, outputs: &mut Vec<Output>) {
    if let Some(calling) = &link.calling {
        if now_ms < given_up_at(calling) {
            return;
        }
        link.calling = None;
        link.next_at_ms = now_ms;
    }
    let call = match &link.standing {
        Standing::Deregistered => return,
        // Nothing is left to end.
        Standing::Unregistered if link.intent != Intent::Serve => return,
        Standing::Unregistered | Standing::Refused => Call::Register { manifest_digest },
        Standing::Registered {
            registration,
            generation,
            manifest_digest: registered,
            ..
        } => {
            let registration = registration.clone();
            match link.intent {
                Intent::Deregister => Call::Deregister { registration },
                Intent::Serve if *registered != manifest_digest => {
                    // At once, but only the first time: an orchestrator that does not take it is given time.
                    if link.failures == 0 {
                        link.next_at_ms = now_ms;
                    }
                    Call::Register { manifest_digest }
                }
                // While it drains, it holds on to what is registered, whatever the manifest is now.
                Intent::Serve | Intent::Drain { .. } => Call::Renew {
                    registration,
                    generation: *generation,
                    manifest_digest: registered.clone(),
                    draining: link.intent != Intent::Serve,
                },
            }
        }
    };
    if now_ms < link.next_at_ms {
        return;
    }
    link.calls += 1;
    let calling = Calling {
        number: link.calls,
        since_ms: now_ms,
        call,
    };
    link.calling = Some(calling.clone());
    outputs.push(Output::Call(calling));
}

fn end(link: &mut Link, ended: Calling, result: CallResult, now_ms: u64, random: u32, outputs: &mut Vec<Output>) {
    match result {
        CallResult::Granted(lease) => {
            if let Err(why) = granted(link, ended, lease) {
                failed(link, why.into(), now_ms, random);
            }
        }
        CallResult::Gone => {
            link.standing = Standing::Unregistered;
            link.failures = 0;
            link.last_error = None;
            link.next_at_ms = now_ms;
        }
        CallResult::Forgotten(why) if link.intent != Intent::Serve => {
            // A conflict is no end yet: ended for certain before it is called so.
            link.intent = Intent::Deregister;
            link.last_error = Some(why);
            link.next_at_ms = now_ms;
        }
        CallResult::Forgotten(why) => {
            failed(link, why, now_ms, random);
            link.standing = Standing::Unregistered;
            // The first time at once; an orchestrator that keeps forgetting is given time.
            if link.failures == 1 {
                link.next_at_ms = now_ms;
            }
        }
        CallResult::Refused(why) => {
            outputs.push(Output::Alarm(format!(
                "the orchestrator refuses the gateway's key: {why}"
            )));
            failed(link, why, now_ms, random);
            link.next_at_ms = now_ms.saturating_add(REFUSED_RETRY_MS);
            // What is to be ended is kept in mind until its lease ends.
            if link.intent == Intent::Serve {
                link.standing = Standing::Refused;
            }
        }
        // A sick orchestrator takes no lease away: it lasts until it ends.
        CallResult::Failed(why) => failed(link, why, now_ms, random),
    }
}

fn failed(link: &mut Link, why: String, now_ms: u64, random: u32) {
    link.last_error = Some(why);
    link.failures = link.failures.saturating_add(1);
    link.next_at_ms = now_ms.saturating_add(backoff_ms(BACKOFF_MIN_MS, BACKOFF_MAX_MS, link.failures, random));
}

fn granted(link: &mut Link, ended: Calling, lease: Lease) -> Result<(), &'static str> {
    let since_ms = ended.since_ms;
    // What the operator said after the call was sent is still to be told to the orchestrator.
    let told_draining = matches!(ended.call, Call::Renew { draining: true, .. });
    let told = match link.intent {
        Intent::Serve => !told_draining,
        Intent::Drain { .. } => told_draining,
        Intent::Deregister => false,
    };
    let (registration, manifest_digest) = match ended.call {
        Call::Register { manifest_digest } => {
            let registration = lease.registration.filter(|id| !id.is_empty());
            (registration.ok_or("a lease without a registration")?, manifest_digest)
        }
        Call::Renew {
            registration,
            manifest_digest,
            ..
        } => (registration, manifest_digest),
        Call::Deregister { .. } => return Err("a lease in answer to a deregistration"),
    };
    if lease.lease_ms < LEASE_MIN_MS {
        return Err("a lease that is too short to be kept");
    }
    link.generation = lease.generation;
    link.signing_keyid.clone_from(&lease.signing_keyid);
    // Counted from when it was asked for, so that the orchestrator never ends it before us.
    link.standing = Standing::Registered {
        registration,
        generation: lease.generation,
        manifest_digest,
        lease_expires_at_ms: since_ms.saturating_add(lease.lease_ms),
    };
    link.failures = 0;
    link.last_error = None;
    // Never later than half the lease: one lost renewal must not end it. Never at once: that would be a storm.
    let wait_ms = lease.renew_after_ms.clamp(LEASE_MIN_MS / 2, lease.lease_ms / 2);
    link.next_at_ms = since_ms.saturating_add(if told { wait_ms } else { 0 });
    Ok(())
}
