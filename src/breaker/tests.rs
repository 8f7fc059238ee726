//! The rules of circuit and breaker, each at its edge, and what holds whatever happens.

use proptest::prelude::*;

use super::*;

/// A breaker that has just heard that the shared circuit is closed.
fn closed(now_ms: u64) -> Breaker {
    let mut breaker = Breaker::default();
    let verdict = Verdict {
        circuit: Circuit::default(),
        permit: Permit::Pass,
    };
    breaker.heard(Word::Look, Some(verdict), now_ms, 0);
    breaker
}

/// What the last of these calls, all at one moment, makes the breaker tell.
fn ends(breaker: &mut Breaker, ends: &[(usize, End)], now_ms: u64) -> Option<Word> {
    let all = ends.iter().flat_map(|(times, end)| std::iter::repeat_n(*end, *times));
    all.map(|end| breaker.ended(Permit::Pass, end, now_ms, 0))
        .last()
        .flatten()
}

fn tripped(now_ms: u64, random: u32) -> Circuit {
    let mut circuit = Circuit::default();
    circuit.hear(Word::Tripped, now_ms, random);
    circuit
}

fn probe_in_ms(circuit: &Circuit, now_ms: u64) -> u64 {
    circuit.view(now_ms).probe_in_ms.expect("it is open by itself")
}

#[test]
fn the_ratio_decides() {
    let check = |calls: &[(usize, End)], expected: Option<Word>| {
        assert_eq!(ends(&mut closed(0), calls, 0), expected, "{calls:?}");
    };
    let (good, slow, failed, unknown) = (End::Answered, End::Slow, End::Failed, End::Unknown);
    check(&[(SAMPLES_MIN - 1, failed)], None);
    check(&[(SAMPLES_MIN, failed)], Some(Word::Tripped));
    check(&[(10, good), (9, failed)], None);
    check(&[(10, good), (10, failed)], Some(Word::Tripped));
    // Slow calls are answers all the same: it takes more of them.
    check(&[(5, good), (19, slow)], None);
    check(&[(5, good), (20, slow)], Some(Word::Tripped));
    check(&[(5, good), (4, failed), (15, slow)], None);
    check(&[(5, good), (4, failed), (16, slow)], Some(Word::Tripped));
    check(&[(SAMPLES_MIN - 1, failed), (9, unknown)], None);
    // Only the last calls count.
    check(&[(10 * SAMPLES_MAX, good), (SAMPLES_MAX / 2 - 1, failed)], None);
    check(
        &[(10 * SAMPLES_MAX, good), (SAMPLES_MAX / 2, failed)],
        Some(Word::Tripped),
    );
}

#[test]
fn what_is_long_past_does_not_count() {
    for (later_ms, expected) in [(WINDOW_MS, Some(Word::Tripped)), (WINDOW_MS + 1, None)] {
        let mut breaker = closed(0);
        assert_eq!(ends(&mut breaker, &[(SAMPLES_MIN - 1, End::Failed)], 0), None);
        assert_eq!(ends(&mut breaker, &[(1, End::Failed)], later_ms), expected);
    }
}

#[test]
fn what_was_heard_of_an_open_circuit_is_known_for_a_while() {
    let mut breaker = closed(0);
    assert!(!breaker.is_known_open(0));
    let open = Verdict {
        circuit: tripped(0, 0),
        permit: Permit::Reject,
    };
    breaker.heard(Word::Ask, Some(open), 0, 0);
    assert!(breaker.is_known_open(FRESH_MS - 1));
    assert!(!breaker.is_known_open(FRESH_MS));
    assert!(!Breaker::default().is_known_open(0));
}

#[test]
fn who_waits_for_the_shared_circuit() {
    // Whoever knows nothing, or nothing fresh enough; of those who know a closed one, nobody.
    let mut breaker = Breaker::default();
    assert_eq!([breaker.plan(0), breaker.plan(0)], [Plan::Ask; 2]);
    let mut breaker = closed(0);
    assert_eq!(breaker.plan(FRESH_MS - 1), Plan::Pass);
    assert_eq!(breaker.plan(FRESH_MS), Plan::PassAndLook);
    assert_eq!(breaker.plan(FRESH_MS), Plan::Pass);
    assert_eq!(closed(0).plan(STALE_MS - 1), Plan::PassAndLook);
    assert_eq!(closed(0).plan(STALE_MS), Plan::Ask);
    // Of those who know an open one, one in a while.
    let mut breaker = closed(0);
    ends(&mut breaker, &[(SAMPLES_MIN, End::Failed)], 0);
    assert_eq!(breaker.plan(FRESH_MS - 1), Plan::Reject);
    assert_eq!(breaker.plan(FRESH_MS), Plan::Ask);
    assert_eq!(breaker.plan(FRESH_MS), Plan::Reject);
}

#[test]
fn an_isolate_learns_what_others_found() {
    let mut breaker = closed(0);
    let open = Verdict {
        circuit: tripped(0, 0),
        permit: Permit::Reject,
    };
    assert_eq!(ends(&mut breaker, &[(SAMPLES_MIN - 1, End::Failed)], 0), None);
    assert_eq!(breaker.heard(Word::Look, Some(open), 0, 0), Permit::Reject);
    assert_eq!(breaker.plan(0), Plan::Reject);
    // Its own counting begins anew when the circuit is closed again.
    let shut = Verdict {
        circuit: Circuit::default(),
        permit: Permit::Pass,
    };
    assert_eq!(breaker.heard(Word::Ask, Some(shut), 0, 0), Permit::Pass);
    assert_eq!(ends(&mut breaker, &[(1, End::Failed)], 0), None);
}

#[test]
fn without_the_shared_circuit_an_isolate_decides_alone() {
    let mut breaker = Breaker::default();
    assert_eq!(breaker.heard(Word::Ask, None, 0, 0), Permit::Pass);
    assert_eq!(
        ends(&mut breaker, &[(SAMPLES_MIN, End::Failed)], 0),
        Some(Word::Tripped)
    );
    assert_eq!(breaker.heard(Word::Tripped, None, 0, 0), Permit::Reject);
    assert_eq!(breaker.heard(Word::Ask, None, OPEN_MS / 2 - 1, 0), Permit::Reject);
    let permit = breaker.heard(Word::Ask, None, OPEN_MS / 2, 0);
    assert_eq!(permit, Permit::Probe(1));
    assert_eq!(breaker.heard(Word::Ask, None, OPEN_MS / 2, 0), Permit::Reject);
    let word = breaker.ended(permit, End::Answered, OPEN_MS / 2, 0);
    let probed = Word::Probed {
        probe: 1,
        end: End::Answered,
    };
    assert_eq!(word, Some(probed));
    assert_eq!(breaker.heard(probed, None, OPEN_MS / 2, 0), Permit::Pass);
}

#[test]
fn one_probe_at_a_time_decides() {
    let mut circuit = tripped(0, u32::MAX);
    let until_ms = probe_in_ms(&circuit, 0);
    assert_eq!(circuit.hear(Word::Ask, until_ms - 1, 0), Permit::Reject);
    // Who only looks gets no probe.
    assert_eq!(circuit.hear(Word::Look, until_ms, 0), Permit::Reject);
    assert_eq!(circuit.hear(Word::Ask, until_ms, 0), Permit::Probe(1));
    assert_eq!(circuit.view(until_ms).state, BreakerState::HalfOpen);
    assert_eq!(circuit.hear(Word::Ask, until_ms, 0), Permit::Reject);
    // What another isolate finds meanwhile, and the end of another probe, decide nothing.
    assert_eq!(circuit.hear(Word::Tripped, until_ms, 0), Permit::Reject);
    let probed = |probe| Word::Probed {
        probe,
        end: End::Answered,
    };
    assert_eq!(circuit.hear(probed(0), until_ms, 0), Permit::Reject);
    assert_eq!(circuit.hear(probed(1), until_ms, 0), Permit::Pass);
    assert_eq!(circuit.view(until_ms).state, BreakerState::Closed);
}

#[test]
fn a_probe_that_fails_or_is_slow_makes_the_wait_longer() {
    let mut circuit = tripped(0, u32::MAX);
    let first_ms = probe_in_ms(&circuit, 0);
    let mut now_ms = first_ms;
    for (probe, end) in (1..=10).zip([End::Failed, End::Slow].into_iter().cycle()) {
        assert_eq!(circuit.hear(Word::Ask, now_ms, 0), Permit::Probe(probe));
        circuit.hear(Word::Probed { probe, end }, now_ms, u32::MAX);
        let wait_ms = probe_in_ms(&circuit, now_ms);
        assert!(wait_ms <= OPEN_MAX_MS, "{wait_ms}");
        now_ms += wait_ms;
    }
    assert!(now_ms > 10 * first_ms, "{now_ms} {first_ms}");
}

#[test]
fn reopening_is_jittered() {
    assert_eq!(probe_in_ms(&tripped(0, 0), 0), OPEN_MS / 2);
    assert_eq!(probe_in_ms(&tripped(0, 1), 0), OPEN_MS / 2 + 1);
}

#[test]
fn a_lost_probe_blocks_nobody_for_good() {
    let mut circuit = tripped(0, 0);
    let at_ms = probe_in_ms(&circuit, 0);
    assert_eq!(circuit.hear(Word::Ask, at_ms, 0), Permit::Probe(1));
    assert_eq!(circuit.hear(Word::Ask, at_ms + PROBE_MAX_MS - 1, 0), Permit::Reject);
    let at_ms = at_ms + PROBE_MAX_MS;
    assert_eq!(circuit.hear(Word::Ask, at_ms, 0), Permit::Probe(2));
    // The late end of the first one frees nothing; that the second one says nothing frees the next.
    let unknown = |probe| Word::Probed {
        probe,
        end: End::Unknown,
    };
    circuit.hear(unknown(1), at_ms, 0);
    assert_eq!(circuit.hear(Word::Ask, at_ms, 0), Permit::Reject);
    circuit.hear(unknown(2), at_ms, 0);
    assert_eq!(circuit.hear(Word::Ask, at_ms, 0), Permit::Probe(3));
}

#[test]
fn the_operator_holds_it_whatever_calls_come_to() {
    let mut circuit = Circuit::default();
    circuit.hold(Some(Hold::Open));
    for word in [Word::Look, Word::Ask, Word::Tripped] {
        assert_eq!(circuit.hear(word, u64::MAX, 0), Permit::Reject, "{word:?}");
    }
    let held = |state| BreakerView {
        state,
        forced: true,
        probe_in_ms: None,
    };
    assert_eq!(circuit.view(0), held(BreakerState::Open));
    circuit.hold(Some(Hold::Closed));
    for word in [Word::Look, Word::Ask, Word::Tripped] {
        assert_eq!(circuit.hear(word, 0, 0), Permit::Pass, "{word:?}");
    }
    assert_eq!(circuit.view(0), held(BreakerState::Closed));
    // Nothing that was counted meanwhile weighs on it when it is let go.
    let mut breaker = closed(0);
    let (circuit_held, permit) = (circuit.clone(), Permit::Pass);
    let verdict = Verdict {
        circuit: circuit_held,
        permit,
    };
    breaker.heard(Word::Look, Some(verdict), 0, 0);
    assert_eq!(ends(&mut breaker, &[(SAMPLES_MIN, End::Failed)], 0), None);
    circuit.hold(None);
    assert_eq!(circuit, Circuit::default());
}

#[test]
fn letting_go_closes_what_had_opened_by_itself() {
    let mut circuit = tripped(0, 0);
    circuit.hold(None);
    assert_eq!(circuit.hear(Word::Look, 0, 0), Permit::Pass);
}

proptest! {
    #[test]
    fn it_never_rejects_for_good(calls in prop::collection::vec((0u64..5_000, 0u8..4, any::<u32>()), 1..200)) {
        let mut breaker = Breaker::default();
        let mut shared = Circuit::default();
        let mut now_ms = 0;
        for (wait_ms, end, random) in calls {
            now_ms += wait_ms;
            let permit = match breaker.plan(now_ms) {
                Plan::Pass | Plan::PassAndLook => Permit::Pass,
                Plan::Reject => Permit::Reject,
                Plan::Ask => {
                    let permit = shared.hear(Word::Ask, now_ms, random);
                    let verdict = Verdict { circuit: shared.clone(), permit };
                    breaker.heard(Word::Ask, Some(verdict), now_ms, random)
                }
            };
            if permit == Permit::Reject {
                let later_ms = now_ms + OPEN_MAX_MS.max(PROBE_MAX_MS) + FRESH_MS;
                prop_assert_eq!(breaker.clone().plan(later_ms), Plan::Ask);
                prop_assert!(shared.clone().hear(Word::Ask, later_ms, 0) != Permit::Reject);
                continue;
            }
            let end = [End::Answered, End::Slow, End::Failed, End::Unknown][usize::from(end)];
            if let Some(word) = breaker.ended(permit, end, now_ms, random) {
                let permit = shared.hear(word, now_ms, random);
                let verdict = Verdict { circuit: shared.clone(), permit };
                breaker.heard(word, Some(verdict), now_ms, random);
            }
        }
    }
}

#[test]
fn alone_it_is_a_whole_breaker() {
    let mut breaker = Breaker::default();
    for _ in 0..SAMPLES_MIN {
        assert_eq!(breaker.permit(0), Permit::Pass);
        breaker.report(Permit::Pass, End::Failed, 0, u32::MAX);
    }
    assert_eq!(breaker.permit(0), Permit::Reject);
    let probe = breaker.permit(OPEN_MS);
    assert!(matches!(probe, Permit::Probe(_)), "{probe:?}");
    // One at a time.
    assert_eq!(breaker.permit(OPEN_MS), Permit::Reject);
    breaker.report(probe, End::Answered, OPEN_MS, 0);
    assert_eq!(breaker.permit(OPEN_MS), Permit::Pass);
}
