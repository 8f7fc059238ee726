//! Places in the order: who gets one, how long it is held, and how it is lost.

use super::*;

#[test]
fn a_turn_whose_owner_died_is_given_up_when_its_lease_ends() {
    let mut bench = Bench::default();
    let (dead, next) = (seat("1"), seat("2"));
    bench.open(&dead);
    assert_eq!(bench.open(&next), Answer::Waiting { epoch: 0 });
    bench.now_ms = TURN_LEASE_MS - 1;
    assert_eq!(bench.open(&next), Answer::Waiting { epoch: 0 });
    bench.now_ms = TURN_LEASE_MS;
    assert_eq!(history(bench.open(&next)), History::default());
    for late in [Ask::Renew(dead.clone()), Ask::Commit(dead, says("late"), bounds())] {
        assert_eq!(bench.ask(&late), Answer::Lost, "{late:?}");
    }
    // Who is heard of keeps its turn; and a late one that nobody waits for loses nothing.
    bench.now_ms += TURN_LEASE_MS - 1;
    assert_eq!(bench.ask(&Ask::Renew(next.clone())), Answer::Done);
    bench.now_ms += TURN_LEASE_MS - 1;
    assert_eq!(bench.open(&seat("3")), Answer::Waiting { epoch: 0 });
    bench.now_ms += TURN_LEASE_MS;
    assert_eq!(bench.commit(&next, "two"), Answer::Done);
    assert_eq!(bench.said(), ["two"]);
}

#[test]
fn who_executes_a_step_again_takes_its_turn_over() {
    let bench = Bench::default();
    let first = seat("1");
    bench.open(&first);
    bench.open(&seat("2"));
    let again = Seat {
        holder: "1.2".to_owned(),
        ..first.clone()
    };
    history(bench.open(&again));
    assert_eq!(bench.commit(&first, "late"), Answer::Lost);
    // Nor does the first one give the place of the second back.
    assert_eq!(bench.ask(&Ask::Release(first)), Answer::Done);
    assert_eq!(bench.commit(&again, "one"), Answer::Done);
    assert_eq!(bench.said(), ["one"]);
}

#[test]
fn so_many_turns_wait_and_no_more() {
    let bench = Bench::default();
    for number in 0..TURNS_WAITING_MAX {
        assert_ne!(bench.open(&seat(&number.to_string())), Answer::Full, "{number}");
    }
    assert_eq!(bench.open(&seat("one more")), Answer::Full);
    assert_eq!(bench.commit(&seat("0"), "0"), Answer::Done);
    assert_eq!(bench.open(&seat("one more")), Answer::Waiting { epoch: 0 });
}

#[test]
fn a_place_that_was_given_back_is_not_taken_again() {
    let bench = Bench::default();
    let (working, waiting) = (seat("1"), Ask::Open(seat("2"), bounds()));
    history(bench.open(&working));
    assert_eq!(bench.ask(&waiting), Answer::Waiting { epoch: 0 });
    // Its step was cancelled, and what it had asked is still under way.
    assert_eq!(bench.ask(&Ask::Release(seat("2"))), Answer::Done);
    assert_eq!(bench.wait_on(&waiting), Answer::Lost);
    bench.ask(&Ask::Release(working));
    history(bench.open(&seat("3")));
}

#[test]
fn who_was_overtaken_does_not_take_the_turn_back() {
    let bench = Bench::default();
    let (working, waiting) = (seat("1"), Ask::Open(seat("2"), bounds()));
    history(bench.open(&working));
    assert_eq!(bench.ask(&waiting), Answer::Waiting { epoch: 0 });
    let again = Seat {
        holder: "2.2".to_owned(),
        ..seat("2")
    };
    assert_eq!(bench.open(&again), Answer::Waiting { epoch: 0 });
    assert_eq!(bench.wait_on(&waiting), Answer::Lost);
    bench.ask(&Ask::Release(working));
    history(bench.open(&again));
}

#[test]
fn no_turn_is_held_beyond_its_deadline() {
    let mut bench = Bench::default();
    let until = |deadline_at_ms| Seat {
        deadline_at_ms,
        ..seat("1")
    };
    let first = until(TURN_LEASE_MS + 5_000);
    history(bench.open(&first));
    bench.now_ms = TURN_LEASE_MS - 1;
    assert_eq!(bench.ask(&Ask::Renew(first.clone())), Answer::Done);
    bench.now_ms = first.deadline_at_ms - 1;
    assert_eq!(bench.open(&seat("2")), Answer::Waiting { epoch: 0 });
    bench.now_ms = first.deadline_at_ms;
    history(bench.open(&seat("2")));
    assert_eq!(bench.commit(&first, "late"), Answer::Lost);
    // Nor does one begin whose time is over.
    assert_eq!(bench.open(&until(bench.now_ms)), Answer::Lost);
    let mut bench = Bench::default();
    history(bench.open(&until(2)));
    bench.now_ms = 1;
    assert_eq!(bench.open(&seat("2")), Answer::Waiting { epoch: 0 });
    bench.now_ms = 2;
    history(bench.open(&seat("2")));
}
