//! Tests of the decisions, and a property over any order of them.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::manifest::Memory;
use crate::run::storage::MemoryStorage;
use crate::run::transaction::Transaction;

const TTL_MS: u64 = 60_000;

fn bounds() -> Bounds {
    Bounds {
        ttl_ms: TTL_MS,
        max_messages: 6,
        max_tokens: 1_000,
        summarised: false,
    }
}

/// A conversation whose time is turned by hand.
#[derive(Default)]
struct Bench {
    storage: MemoryStorage,
    now_ms: u64,
}

impl Bench {
    fn ask(&self, ask: &Ask) -> Answer {
        let transaction = Transaction::new(&self.storage);
        let answer = decide(&transaction, ask, self.now_ms).unwrap();
        transaction.commit().unwrap();
        answer
    }

    fn open(&self, seat: &Seat) -> Answer {
        self.ask(&Ask::Open(seat.clone(), bounds()))
    }

    fn commit(&self, seat: &Seat, said: &str) -> Answer {
        self.ask(&Ask::Commit(seat.clone(), says(said), bounds()))
    }

    /// A whole turn.
    fn turn(&self, key: &str) {
        let seat = seat(key);
        assert!(matches!(self.open(&seat), Answer::Granted { .. }), "{key}");
        assert_eq!(self.commit(&seat, key), Answer::Done);
    }

    fn said(&self) -> Vec<String> {
        match self.ask(&Ask::Show) {
            Answer::Kept(kept) => kept
                .map(|kept| kept.history.turns.into_iter().map(|turn| turn.said).collect())
                .unwrap_or_default(),
            other => panic!("{other:?}"),
        }
    }
}

fn seat(key: &str) -> Seat {
    Seat {
        key: key.to_owned(),
        holder: format!("{key}.1"),
        epoch: None,
    }
}

fn says(said: &str) -> Said {
    Said {
        agent: "a".to_owned(),
        said: said.to_owned(),
        output: json!({ "answer": said }),
    }
}

fn history(answer: Answer) -> History {
    match answer {
        Answer::Granted { history, .. } => history,
        other => panic!("it is not granted: {other:?}"),
    }
}

#[test]
fn each_caller_has_its_own_conversations() {
    let names = [
        ConversationName::of_key("k", "c"),
        ConversationName::of_key("other", "c"),
        ConversationName::of_orchestrator("k", "c"),
        // What would be the same without the owner's length.
        ConversationName::of_key("k/1", "c"),
        ConversationName::of_key("k", "1/c"),
    ];
    for (place, name) in names.iter().enumerate() {
        for other in &names[place + 1..] {
            assert_ne!(name.object(), other.object());
        }
    }
}

#[test]
fn turns_work_one_after_the_other_in_the_order_in_which_they_came() {
    let bench = Bench::default();
    let (first, second, third) = (seat("1"), seat("2"), seat("3"));
    assert_eq!(history(bench.open(&first)), History::default());
    for waiting in [&second, &third, &second] {
        assert_eq!(bench.open(waiting), Answer::Waiting { epoch: 0 });
    }
    // One that waits writes nothing.
    assert_eq!(bench.commit(&third, "early"), Answer::Lost);
    assert_eq!(bench.commit(&first, "one"), Answer::Done);
    assert_eq!(bench.open(&third), Answer::Waiting { epoch: 0 });
    let seen = history(bench.open(&second));
    assert_eq!(
        (seen.turns[0].said.as_str(), seen.turns[0].answer()),
        ("one", json!({"answer": "one"}).to_string())
    );
    // It fails, and leaves nothing behind but its number.
    assert_eq!(bench.ask(&Ask::Release(second)), Answer::Done);
    assert_eq!(history(bench.open(&third)).turns.len(), 1);
    assert_eq!(bench.commit(&third, "three"), Answer::Done);
    let Answer::Kept(Some(kept)) = bench.ask(&Ask::Show) else {
        panic!("it is kept");
    };
    let numbers: Vec<_> = kept.history.turns.iter().map(|turn| turn.number).collect();
    assert_eq!((numbers, kept.waiting), (vec![1, 3], 0));
}

#[test]
fn a_turn_is_added_once() {
    let bench = Bench::default();
    bench.turn("1");
    // The answer was lost on the way.
    assert_eq!(bench.commit(&seat("1"), "again"), Answer::Done);
    // Its owner died before the step was committed: whoever executes it again gets what was answered.
    let again = Seat {
        holder: "1.2".to_owned(),
        ..seat("1")
    };
    assert_eq!(bench.open(&again), Answer::Ended(json!({"answer": "1"})));
    assert_eq!(bench.said(), ["1"]);
}

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
fn an_erasure_wins_over_turns_that_had_begun() {
    let mut bench = Bench::default();
    bench.turn("1");
    let begun = |key| Seat {
        epoch: Some(0),
        ..seat(key)
    };
    let (working, waiting) = (begun("2"), begun("3"));
    history(bench.open(&working));
    assert_eq!(bench.open(&waiting), Answer::Waiting { epoch: 0 });
    assert_eq!(bench.ask(&Ask::Erase), Answer::WasThere(true));
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
    assert_eq!(bench.ask(&Ask::Erase), Answer::WasThere(false));
    assert_eq!(bench.storage.keys(), Vec::<String>::new());
}

#[test]
fn a_conversation_ends_some_time_after_its_last_turn() {
    let mut bench = Bench::default();
    bench.turn("1");
    bench.now_ms = TTL_MS - 1;
    bench.turn("2");
    bench.now_ms = 2 * TTL_MS - 2;
    assert_eq!(bench.said(), ["1", "2"]);
    assert_eq!(wake_at_ms(&bench.storage, bench.now_ms), Ok(Some(2 * TTL_MS - 1)));
    // Also where the alarm is late.
    bench.now_ms += 1;
    assert_eq!(history(bench.open(&seat("3"))), History::default());
    // A turn that takes longer than the conversation is kept is waited for.
    bench.now_ms += TTL_MS;
    bench.ask(&Ask::Release(seat("3")));
    let short = Bounds { ttl_ms: 1, ..bounds() };
    bench.ask(&Ask::Open(seat("4"), short));
    bench.now_ms += 2;
    assert_eq!(expire(&bench.storage, bench.now_ms), Ok(Expiry::Kept));
    assert_eq!(bench.commit(&seat("4"), "4"), Answer::Done);
    // The shortest time that any of its agents allows holds.
    bench.now_ms += 1;
    assert_eq!(expire(&bench.storage, bench.now_ms), Ok(Expiry::Gone));
}

#[test]
fn what_does_not_fit_is_dropped_or_summarised() {
    let bench = Bench::default();
    for key in ["1", "2", "3", "4"] {
        bench.turn(key);
    }
    // Six messages are three turns.
    assert_eq!(bench.said(), ["2", "3", "4"]);
    let summarised = Bounds {
        max_messages: 4,
        summarised: true,
        ..bounds()
    };
    let seat = seat("5");
    let opened = bench.ask(&Ask::Open(seat.clone(), summarised));
    let Answer::Granted { history, overflow, .. } = opened else {
        panic!("{opened:?}");
    };
    let said = |turns: &[Turn]| turns.iter().map(|turn| turn.said.clone()).collect::<Vec<_>>();
    assert_eq!(
        (said(&overflow), said(&history.turns)),
        (vec!["2".into()], vec!["3".into(), "4".into()])
    );
    bench.ask(&Ask::Summarise(seat.clone(), overflow[0].number, "two".into()));
    bench.ask(&Ask::Commit(seat, says("5"), summarised));
    assert_eq!(bench.said(), ["3", "4", "5"]);
    // Where nobody summarises, twice the bounds are kept.
    for key in ["6", "7", "8"] {
        let one = self::seat(key);
        bench.ask(&Ask::Open(one.clone(), summarised));
        bench.ask(&Ask::Commit(one, says(key), summarised));
    }
    assert_eq!(bench.said(), ["5", "6", "7", "8"]);
}

#[test]
fn tokens_are_estimated_and_bounded() {
    assert_eq!(
        [tokens(""), tokens("abcd"), tokens("abcde"), tokens("\u{1f600}")],
        [0, 1, 2, 1]
    );
    let turn = |said: &str| Turn {
        number: 1,
        agent: "a".into(),
        said: said.into(),
        output: json!("abcd"),
        at_ms: 0,
        key: String::new(),
    };
    let of = |max_tokens| Bounds { max_tokens, ..bounds() };
    let turns = [turn("abcdefgh"), turn("abcd")];
    for (max_tokens, summary, expected) in [
        (5, None, 0),
        (4, None, 1),
        (2, None, 1),
        (1, None, 2),
        (5, Some("abcd"), 1),
    ] {
        assert_eq!(
            of(max_tokens).overflow(summary, &turns),
            expected,
            "{max_tokens} {summary:?}"
        );
    }
    assert_eq!(of(2).cut("ab\u{1f600}".into()), "ab");
    let defaults = Bounds::from(&Memory::default());
    assert_eq!((defaults.ttl_ms, defaults.summarised), (604_800_000, false));
}

/// What may happen to one of a few turns.
#[derive(Debug, Clone, Copy)]
enum Step {
    Open(usize),
    Commit(usize),
    Release(usize),
    Wait,
}

proptest! {
    /// Whatever happens in whatever order: what was committed is there once, in the order of the numbers, and each turn was
    /// told all that had been committed before it.
    #[test]
    fn no_turn_is_lost(steps in proptest::collection::vec(
        prop_oneof![
            (0..6_usize).prop_map(Step::Open),
            (0..6_usize).prop_map(Step::Commit),
            (0..6_usize).prop_map(Step::Release),
            Just(Step::Wait),
        ],
        0..60,
    )) {
        let bounds = Bounds { max_messages: 100, ttl_ms: u64::from(u32::MAX), ..bounds() };
        let mut bench = Bench::default();
        let mut committed: Vec<String> = Vec::new();
        for step in steps {
            match step {
                Step::Open(place) => {
                    let key = place.to_string();
                    match bench.ask(&Ask::Open(seat(&key), bounds)) {
                        Answer::Granted { history, .. } => {
                            let seen: Vec<_> = history.turns.into_iter().map(|turn| turn.said).collect();
                            prop_assert_eq!(&seen, &committed);
                        }
                        Answer::Ended(output) => {
                            prop_assert!(committed.contains(&key));
                            prop_assert_eq!(output, json!({ "answer": key }));
                        }
                        Answer::Waiting { .. } => {}
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                Step::Commit(place) => {
                    let key = place.to_string();
                    let answer = bench.ask(&Ask::Commit(seat(&key), says(&key), bounds));
                    if answer == Answer::Done && !committed.contains(&key) {
                        committed.push(key);
                    }
                }
                Step::Release(place) => {
                    bench.ask(&Ask::Release(seat(&place.to_string())));
                }
                Step::Wait => bench.now_ms += TURN_LEASE_MS / 2,
            }
            prop_assert_eq!(bench.said(), committed.clone());
        }
    }
}
