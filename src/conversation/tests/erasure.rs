//! What an erasure holds for: whatever was sent before it, and nothing that comes after it.

use super::*;

#[test]
fn an_erasure_wins_over_turns_that_had_begun() {
    let mut bench = Bench::default();
    bench.turn("1");
    let begun = |key| Seat {
        epoch: Some(0),
        ..seat(key)
    };
    let (working, waiting) = (begun("2"), begun("3"));
    history(bench.open(&seat("2")));
    assert_eq!(bench.open(&seat("3")), Answer::Waiting { epoch: 0 });
    assert_eq!(bench.ask(&Ask::Erase), Answer::Done);
    assert!(bench.storage.keys().iter().all(|key| key.starts_with("head/")));
    assert_eq!(bench.ask(&Ask::Show), Answer::Kept(None));
    assert_eq!(bench.commit(&working, "late"), Answer::Erased);
    assert_eq!(bench.ask(&Ask::Renew(working.clone())), Answer::Erased);
    assert_eq!(
        bench.ask(&Ask::Summarise(working.clone(), 1, "late".into())),
        Answer::Erased
    );
    assert_eq!(bench.open(&waiting), Answer::Erased);
    // What is said afterwards is another conversation, and does not open the door to what was before.
    bench.turn("4");
    assert_eq!(bench.commit(&working, "late"), Answer::Erased);
    assert_eq!(bench.said(), ["4"]);
    // The fence is kept for as long as an execution may take, even if the conversation itself ends before.
    bench.now_ms = ERASURE_FENCE_MS - 1;
    assert_eq!(bench.commit(&working, "late"), Answer::Erased);
    assert_eq!(bench.said(), Vec::<String>::new());
    assert_eq!(wake_at_ms(&bench.storage, bench.now_ms), Ok(Some(ERASURE_FENCE_MS)));
    assert_eq!(expire(&bench.storage, ERASURE_FENCE_MS), Ok(Expiry::Gone));
    assert_eq!(bench.storage.keys(), Vec::<String>::new());
}

#[test]
fn a_turn_that_waits_while_its_conversation_is_erased_does_not_come_back() {
    let bench = Bench::default();
    let (working, waiting) = (seat("1"), Ask::Open(seat("2"), bounds()));
    history(bench.open(&working));
    assert_eq!(bench.ask(&waiting), Answer::Waiting { epoch: 0 });
    assert_eq!(bench.wait_on(&waiting), Answer::Waiting { epoch: 0 });
    bench.ask(&Ask::Erase);
    assert_eq!(bench.wait_on(&waiting), Answer::Erased);
    // It holds up nobody, either.
    bench.turn("3");
    assert_eq!(bench.said(), ["3"]);
}

#[test]
fn a_step_that_is_executed_again_does_not_come_back() {
    let accepted = |at_ms| Seat {
        accepted_at_ms: Some(at_ms),
        ..seat("1")
    };
    // Whether the execution before the erasure kept its turn, gave it back, or had not begun.
    let befores: [fn(&Bench, &Seat); 3] = [
        |bench, seat| {
            history(bench.open(seat));
            bench.commit(seat, "1");
        },
        |bench, seat| {
            history(bench.open(seat));
            bench.ask(&Ask::Release(seat.clone()));
        },
        |_, _| {},
    ];
    for before in befores {
        let mut bench = Bench {
            now_ms: 10,
            ..Bench::default()
        };
        before(&bench, &accepted(9));
        bench.ask(&Ask::Erase);
        bench.now_ms = ERASURE_FENCE_MS - 1;
        assert_eq!(bench.open(&accepted(9)), Answer::Erased);
        assert_eq!(bench.said(), Vec::<String>::new());
        // What was sent since is heard.
        assert_eq!(history(bench.open(&accepted(10))), History::default());
    }
}

#[test]
fn an_erasure_of_nothing_is_forgotten_as_well() {
    let bench = Bench::default();
    bench.ask(&Ask::Erase);
    assert_eq!(bench.ask(&Ask::Show), Answer::Kept(None));
    assert_eq!(expire(&bench.storage, ERASURE_FENCE_MS - 1), Ok(Expiry::Kept));
    assert_eq!(expire(&bench.storage, ERASURE_FENCE_MS), Ok(Expiry::Gone));
    assert_eq!(bench.storage.keys(), Vec::<String>::new());
}
