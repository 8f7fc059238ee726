//! Properties over any order of what may happen.

use proptest::prelude::*;

use super::*;

/// How many turns there are.
const TURNS: usize = 6;

/// What may happen to one of a few turns.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Asks for its turn, or asks on where it was told to wait.
    Open(usize),
    Commit(usize),
    /// Gives its place back. What it has asked may still be under way.
    Release(usize),
    Erase,
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..TURNS).prop_map(Step::Open),
        4 => (0..TURNS).prop_map(Step::Commit),
        2 => (0..TURNS).prop_map(Step::Release),
        1 => Just(Step::Erase),
        1 => Just(Step::Wait),
    ];
    proptest::collection::vec(step, 0..60)
}

/// A turn, as whoever takes it knows it.
#[derive(Clone)]
struct Taker {
    ask: Ask,
    /// Whether it gave its place back, or was told that it is over.
    is_over: bool,
    /// Whether the conversation was erased after it had begun.
    is_erased: bool,
    has_begun: bool,
}

impl Taker {
    fn seat(&self) -> &Seat {
        match &self.ask {
            Ask::Open(seat, _) => seat,
            other => panic!("it only opens: {other:?}"),
        }
    }
}

proptest! {
    /// Whatever happens in whatever order: what was committed is there once, in the order of the numbers; each turn was told
    /// all that had been committed before it; what had begun before an erasure leaves nothing behind; and who gave its place
    /// back holds up nobody.
    #[test]
    fn no_turn_is_lost_or_comes_back(steps in steps()) {
        let bounds = Bounds { max_messages: 100, ttl_ms: u64::from(u32::MAX), ..bounds() };
        let mut bench = Bench::default();
        let mut committed: Vec<String> = Vec::new();
        let taker = |place: usize| Taker {
            ask: Ask::Open(seat(&place.to_string()), bounds),
            is_over: false,
            is_erased: false,
            has_begun: false,
        };
        let mut takers: Vec<_> = (0..TURNS).map(taker).collect();
        for step in steps {
            match step {
                Step::Open(place) => {
                    let taker = &mut takers[place];
                    let key = taker.seat().key.clone();
                    let answer = bench.ask(&taker.ask);
                    let goes_on = matches!(answer, Answer::Granted { .. } | Answer::Waiting { .. });
                    prop_assert!(!(goes_on && taker.has_begun && (taker.is_over || taker.is_erased)), "{:?}", answer);
                    if goes_on && !taker.has_begun {
                        (taker.has_begun, taker.is_over) = (true, false);
                    }
                    match &answer {
                        Answer::Granted { history, epoch, .. } => {
                            let seen: Vec<_> = history.turns.iter().map(|turn| turn.said.clone()).collect();
                            prop_assert_eq!(&seen, &committed);
                            // As it does where it waited before.
                            let waited = Answer::Waiting { epoch: *epoch };
                            taker.ask = taker.ask.next(&waited).expect("it opens");
                        }
                        Answer::Ended(output) => {
                            prop_assert!(committed.contains(&key));
                            prop_assert_eq!(output, &json!({ "answer": key }));
                        }
                        Answer::Waiting { .. } => taker.ask = taker.ask.next(&answer).expect("it waits"),
                        Answer::Lost | Answer::Erased => prop_assert!(taker.has_begun),
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                Step::Commit(place) => {
                    let taker = &takers[place];
                    let key = taker.seat().key.clone();
                    let answer = bench.ask(&Ask::Commit(taker.seat().clone(), says(&key), bounds));
                    if answer == Answer::Done && !committed.contains(&key) {
                        prop_assert!(taker.has_begun && !taker.is_erased);
                        committed.push(key);
                    }
                }
                Step::Release(place) => {
                    let taker = &mut takers[place];
                    bench.ask(&Ask::Release(taker.seat().clone()));
                    taker.is_over = true;
                }
                Step::Erase => {
                    bench.ask(&Ask::Erase);
                    committed.clear();
                    for taker in &mut takers {
                        taker.is_erased |= taker.has_begun;
                    }
                }
                Step::Wait => bench.now_ms += TURN_LEASE_MS / 2,
            }
            prop_assert_eq!(bench.said(), committed.clone());
        }
    }
}
