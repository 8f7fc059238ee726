//! Tests of the decisions.

use serde_json::json;

mod erasure;
mod order;
mod places;

use super::*;
use crate::manifest::{MEMORY_MESSAGES_MAX, MEMORY_TOKENS_MAX, Memory};
use crate::run::storage::{MemoryStorage, Storage as _};
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

    /// What is asked again by a turn that was told to wait.
    fn wait_on(&self, ask: &Ask) -> Answer {
        let epoch = 0;
        let next = ask.next(&Answer::Waiting { epoch }).expect("a turn that waits");
        self.ask(&next)
    }

    /// Puts a turn where it is kept, without the work of all those before it.
    fn put(&self, turn: &Turn) {
        let (key, row) = (format!("turn/{:020}", turn.number), serde_json::to_string(turn));
        self.storage.put(&key, &row.unwrap()).unwrap();
    }

    /// So many turns were taken in.
    fn went_on(&self, number: u64) {
        let head = self.storage.get("head/conversation").unwrap().expect("a head");
        let mut head: Value = serde_json::from_str(&head).unwrap();
        head["last_number"] = number.into();
        self.storage.put("head/conversation", &head.to_string()).unwrap();
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
        accepted_at_ms: None,
        deadline_at_ms: u64::MAX,
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

#[test]
fn so_many_turns_are_kept_and_all_of_them_are_known() {
    let bench = Bench::default();
    let most = Bounds {
        max_messages: MEMORY_MESSAGES_MAX,
        max_tokens: MEMORY_TOKENS_MAX,
        summarised: true,
        ..bounds()
    };
    // As many as the largest bounds keep where nobody summarises: half as many turns as messages, and twice that.
    let kept = MEMORY_MESSAGES_MAX as u64;
    bench.turn("1");
    for number in 2..=kept {
        bench.put(&Turn {
            number,
            agent: "a".into(),
            said: number.to_string(),
            output: json!({ "answer": number.to_string() }),
            at_ms: 0,
            key: number.to_string(),
        });
    }
    bench.went_on(kept);
    let newest = kept.to_string();
    assert_eq!(
        bench.ask(&Ask::Open(seat(&newest), most)),
        Answer::Ended(json!({ "answer": newest }))
    );
    let next = seat("next");
    let Answer::Granted { history, overflow, .. } = bench.ask(&Ask::Open(next.clone(), most)) else {
        panic!("it is its turn");
    };
    assert_eq!((overflow[0].number, history.turns[499].number), (1, kept));
    assert_eq!(bench.ask(&Ask::Commit(next, says("next"), most)), Answer::Done);
    let said = bench.said();
    assert_eq!(
        (said.len() as u64, said[0].as_str(), said[999].as_str()),
        (kept, "2", "next")
    );
}
