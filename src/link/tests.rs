//! The rules of the link, each at its edge, and what holds whatever happens.

use super::*;

fn wake(link: Link, digest: &str, now_ms: u64) -> (Link, Vec<Output>) {
    let manifest_digest = digest.into();
    step(link, Input::Wake { manifest_digest }, now_ms, 0)
}

/// The call under way ends so.
fn end(link: Link, result: CallResult, now_ms: u64) -> (Link, Vec<Output>) {
    let number = link.calls;
    step(link, Input::Ended { number, result }, now_ms, 0)
}

/// The command, and the wake-up that performs it.
fn command(link: Link, command: Command, now_ms: u64) -> (Link, Vec<Output>) {
    wake(step(link, Input::Command(command), now_ms, 0).0, "d1", now_ms)
}

fn lease() -> Lease {
    Lease {
        registration: Some("r1".into()),
        generation: 1,
        lease_ms: 60_000,
        renew_after_ms: 20_000,
        signing_keyid: None,
    }
}

fn registered() -> Link {
    end(wake(Link::default(), "d1", 0).0, CallResult::Granted(lease()), 0).0
}

/// What is called for, in a word.
fn call(outputs: &[Output]) -> &'static str {
    let mut calls = outputs.iter().filter_map(|output| match output {
        Output::Call(calling) => Some(match calling.call {
            Call::Register { .. } => "register",
            Call::Renew { draining: false, .. } => "renew",
            Call::Renew { draining: true, .. } => "renew draining",
            Call::Deregister { .. } => "deregister",
        }),
        _ => None,
    });
    calls.next_back().unwrap_or("")
}

fn alarmed(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Alarm(_)))
}

fn state(link: &Link, now_ms: u64) -> LinkState {
    view(link, now_ms).state
}

#[test]
fn registers_then_renews_when_due() {
    let (link, outputs) = wake(Link::default(), "d1", 0);
    assert_eq!((call(&outputs), state(&link, 0)), ("register", LinkState::Registering));
    let (link, outputs) = wake(registered(), "d1", 19_999);
    assert_eq!(outputs, [Output::WakeAt(20_000)]);
    let (link, outputs) = wake(link, "d1", 20_000);
    assert_eq!(call(&outputs), "renew");
    // The lease counts from when it was asked for, not from the answer.
    let (link, outputs) = end(link, CallResult::Granted(lease()), 24_000);
    assert_eq!(outputs, [Output::WakeAt(40_000)]);
    let seen = view(&link, 24_000);
    assert_eq!((seen.generation, seen.lease_left_ms), (Some(1), Some(56_000)));
}

#[test]
fn how_a_renewal_ends() {
    let check = |result: CallResult, state_then: LinkState, next_in_ms: u64, alarm: bool| {
        let (link, outputs) = end(wake(registered(), "d1", 20_000).0, result.clone(), 20_000);
        let seen = view(&link, 20_000);
        assert_eq!(
            (seen.state, seen.next_in_ms),
            (state_then, Some(next_in_ms)),
            "{result:?}"
        );
        assert_eq!(alarmed(&outputs), alarm, "{result:?}");
    };
    check(CallResult::Granted(lease()), LinkState::Registered, 20_000, false);
    check(CallResult::Failed("503".into()), LinkState::Degraded, 250, false);
    check(CallResult::Forgotten("404".into()), LinkState::Unregistered, 0, false);
    check(
        CallResult::Refused("401".into()),
        LinkState::Refused,
        REFUSED_RETRY_MS,
        true,
    );
}

#[test]
fn a_lease_that_cannot_be_kept_is_a_failure() {
    let check = |lease: Lease, good: bool| {
        let (link, _) = end(wake(Link::default(), "d1", 0).0, CallResult::Granted(lease), 0);
        assert_eq!(state(&link, 0) == LinkState::Registered, good, "{link:?}");
        assert!(wake(link, "d1", 0).0.calling.is_none(), "waits either way");
    };
    let of = |lease_ms, renew_after_ms| Lease {
        lease_ms,
        renew_after_ms,
        ..lease()
    };
    check(of(LEASE_MIN_MS, 0), true);
    check(of(LEASE_MIN_MS - 1, 0), false);
    check(of(u64::MAX, u64::MAX), true);
    let nameless = Lease {
        registration: None,
        ..lease()
    };
    check(nameless, false);
}

#[test]
fn a_lost_lease_is_noticed_on_time_and_late() {
    for late_ms in [0, 1, 3_600_000] {
        let now_ms = 60_000 + late_ms;
        assert_eq!(state(&registered(), now_ms), LinkState::Unregistered);
        assert_eq!(view(&registered(), now_ms).generation, None);
        let (_, outputs) = wake(registered(), "d1", now_ms);
        assert_eq!((call(&outputs), alarmed(&outputs)), ("register", true));
    }
    assert_eq!(state(&registered(), 59_999), LinkState::Registered);
    // Neither a call under way nor a long backoff hides the lease's end.
    let mut sick = registered();
    sick.failures = 30;
    let (calling, outputs) = wake(sick, "d1", 45_000);
    assert!(outputs.contains(&Output::WakeAt(60_000)));
    let (_, outputs) = end(calling, CallResult::Failed("503".into()), 45_000);
    assert_eq!(outputs, [Output::WakeAt(60_000)]);
}

#[test]
fn one_call_at_a_time_and_a_late_result_changes_nothing() {
    let (link, _) = wake(Link::default(), "d1", 0);
    let (link, outputs) = wake(link, "d1", 2 * CALL_TIMEOUT_MS - 1);
    assert_eq!(call(&outputs), "");
    // The object died during the call: the alarm makes it again, and the first answer counts no more.
    let (link, outputs) = wake(link, "d1", 2 * CALL_TIMEOUT_MS);
    assert_eq!(call(&outputs), "register");
    let late = Input::Ended {
        number: 1,
        result: CallResult::Refused("401".into()),
    };
    assert_eq!(step(link.clone(), late, 2 * CALL_TIMEOUT_MS, 0).0, link);
}

#[test]
fn a_forgetful_orchestrator_is_given_time_the_second_time() {
    let forgotten = CallResult::Forgotten("404".into());
    let (link, _) = end(wake(registered(), "d1", 20_000).0, forgotten, 20_000);
    let (link, outputs) = wake(link, "d1", 20_000);
    assert_eq!(call(&outputs), "register");
    let (link, _) = end(link, CallResult::Failed("503".into()), 20_000);
    assert_eq!(call(&wake(link.clone(), "d1", 20_499).1), "");
    assert_eq!(call(&wake(link, "d1", 20_500).1), "register");
}

#[test]
fn a_changed_manifest_registers_anew_at_once_but_once() {
    let (link, outputs) = wake(registered(), "d2", 1_000);
    assert_eq!(call(&outputs), "register");
    let (link, _) = end(link, CallResult::Failed("503".into()), 1_000);
    assert_eq!(call(&wake(link.clone(), "d2", 1_249).1), "");
    assert_eq!(call(&wake(link, "d2", 1_250).1), "register");
}

#[test]
fn a_refused_key_waits_or_is_tried_again_by_command() {
    let refused = CallResult::Refused("401".into());
    let (link, _) = end(wake(Link::default(), "d1", 0).0, refused, 0);
    assert_eq!(call(&wake(link.clone(), "d1", REFUSED_RETRY_MS - 1).1), "");
    assert_eq!(call(&wake(link.clone(), "d1", REFUSED_RETRY_MS).1), "register");
    assert_eq!(call(&command(link, Command::Register, 1).1), "register");
}

#[test]
fn drains_then_deregisters_and_stays_so() {
    let (link, outputs) = command(registered(), Command::Drain, 1_000);
    assert_eq!(call(&outputs), "renew draining");
    assert_eq!(state(&link, 1_000), LinkState::Draining);
    let (link, _) = end(link, CallResult::Granted(lease()), 1_000);
    // Said again, it moves nothing.
    let (link, outputs) = command(link, Command::Drain, 9_000);
    assert_eq!(call(&outputs), "");
    let (link, outputs) = wake(link, "d2", 21_000);
    assert_eq!(call(&outputs), "renew draining", "whatever the manifest is now");
    let (link, outputs) = end(link, CallResult::Granted(lease()), 21_000);
    assert_eq!(outputs, [Output::WakeAt(1_000 + DRAIN_MS)]);
    let (link, outputs) = wake(link, "d1", 1_000 + DRAIN_MS);
    assert_eq!(call(&outputs), "deregister");
    let (link, _) = end(link, CallResult::Failed("503".into()), 31_000);
    let (link, outputs) = wake(link, "d1", 31_250);
    assert_eq!(call(&outputs), "deregister", "tried again");
    let (link, outputs) = end(link, CallResult::Gone, 31_300);
    assert_eq!(outputs, [Output::Sleep]);
    assert_eq!(state(&link, 31_300), LinkState::Deregistered);
    for again in [Command::Drain, Command::Deregister] {
        assert_eq!(call(&command(link.clone(), again, 9_000_000).1), "");
    }
    assert_eq!(call(&wake(link.clone(), "d2", 9_000_000).1), "");
    assert_eq!(call(&command(link, Command::Register, 9_000_000).1), "register");
}

#[test]
fn what_a_command_makes_due() {
    let draining = || command(registered(), Command::Drain, 0).0;
    let check = |link: Link, told: Command, expected: &str, state_then: LinkState| {
        let (link, outputs) = command(link, told, 1);
        assert_eq!((call(&outputs), state(&link, 1)), (expected, state_then), "{told:?}");
    };
    check(registered(), Command::Register, "", LinkState::Registered);
    check(registered(), Command::Deregister, "deregister", LinkState::Draining);
    let drained = end(draining(), CallResult::Granted(lease()), 0).0;
    check(drained.clone(), Command::Register, "renew", LinkState::Registered);
    check(drained, Command::Deregister, "deregister", LinkState::Draining);
    check(Link::default(), Command::Drain, "", LinkState::Deregistered);
    check(Link::default(), Command::Deregister, "", LinkState::Deregistered);
}

#[test]
fn a_command_during_a_call_is_told_after_it() {
    let (link, outputs) = command(wake(Link::default(), "d1", 0).0, Command::Deregister, 0);
    assert_eq!(call(&outputs), "");
    let (link, _) = end(link, CallResult::Granted(lease()), 5);
    assert_eq!(call(&wake(link, "d1", 5).1), "deregister");
    // Forgotten while it drains: ended for certain.
    let (link, _) = command(registered(), Command::Drain, 0);
    let (link, _) = end(link, CallResult::Forgotten("409".into()), 5);
    assert_eq!(call(&wake(link, "d1", 5).1), "deregister");
    // Register during a deregistration: anew, once that is over.
    let (link, _) = command(registered(), Command::Deregister, 0);
    let (link, _) = command(link, Command::Register, 0);
    let (link, _) = end(link, CallResult::Gone, 5);
    assert_eq!(call(&wake(link, "d1", 5).1), "register");
}

/// Numbers that are the same in each run (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[usize::try_from(self.below(values.len() as u64)).unwrap()]
    }

    fn input(&mut self, link: &Link) -> Input {
        let why = || "why".to_owned();
        match self.below(9) {
            0..4 => Input::Wake {
                manifest_digest: format!("d{}", self.below(2)),
            },
            4 => Input::Command(self.one_of(&[Command::Register, Command::Drain, Command::Deregister])),
            _ => Input::Ended {
                number: link.calls.saturating_sub(self.below(2)),
                result: match self.below(5) {
                    0 => CallResult::Gone,
                    1 => CallResult::Forgotten(why()),
                    2 => CallResult::Refused(why()),
                    3 => CallResult::Failed(why()),
                    _ => CallResult::Granted(lease()),
                },
            },
        }
    }
}

#[test]
fn whatever_happens() {
    for seed in 0..500 {
        let mut random = Random(seed);
        let (mut link, mut now_ms) = (Link::default(), 1);
        for _ in 0..200 {
            now_ms += random.one_of(&[0, 1, 700, 20_000, 70_000]);
            let input = random.input(&link);
            let (after, outputs) = step(link.clone(), input.clone(), now_ms, 7);
            let case = format!("seed {seed}, at {now_ms}: {link:?}, {input:?}");
            let calls = outputs.iter().filter(|output| matches!(output, Output::Call(_)));
            let under_way = link.calling.as_ref().map(|calling| calling.since_ms);
            let free = under_way.is_none_or(|since_ms| since_ms + 2 * CALL_TIMEOUT_MS <= now_ms);
            assert!(calls.count() <= usize::from(free), "two calls: {case}");
            let woken = outputs.iter().any(|output| matches!(output, Output::WakeAt(_)));
            let idle = after.standing == Standing::Deregistered && after.calling.is_none();
            assert_eq!(woken, !idle, "wake-up: {case}");
            if let Standing::Registered {
                lease_expires_at_ms, ..
            } = after.standing
            {
                let seen = view(&after, lease_expires_at_ms);
                assert_eq!((seen.generation, seen.lease_left_ms), (None, None), "{case}");
                assert_eq!(seen.next_in_ms, Some(0), "woken after the lease's end: {case}");
            }
            link = after;
        }
    }
}
