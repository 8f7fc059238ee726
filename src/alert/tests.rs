//! The machine of an alert: what is told, when, and how often.

use proptest::prelude::*;
use serde_json::Map;

use super::*;
use crate::channel::Notice;
use crate::run::delivery::{CALLBACK_TIMEOUT_MS, Sent};

const TIMING: Timing = Timing {
    for_ms: 100,
    repeat_after_ms: 1_000,
};

use Observation::{Unknown, Well, Wrong};

/// What an alert says to these observations at their times.
#[track_caller]
fn check(timing: Timing, seen: &[(u64, Observation, Option<Say>)]) {
    let mut state = AlertState::default();
    for (now_ms, observation, expected) in seen {
        assert_eq!(state.observe(*observation, timing, *now_ms), *expected, "at {now_ms}");
    }
}

#[test]
fn it_fires_after_its_time_and_is_over_after_its_time() {
    check(
        TIMING,
        &[
            (1, Wrong, None),
            (100, Wrong, None),
            (101, Wrong, Some(Say::Firing(1))),
            (150, Wrong, None),
            (200, Well, None),
            (299, Well, None),
            (300, Well, Some(Say::Resolved(1))),
            (301, Well, None),
            (302, Wrong, None),
            (402, Wrong, Some(Say::Firing(302))),
        ],
    );
}

#[test]
fn what_comes_and_goes_is_told_neither_way() {
    check(
        TIMING,
        &[
            (1, Wrong, None),
            (50, Well, None),
            (120, Wrong, None),
            (219, Wrong, None),
            (220, Wrong, Some(Say::Firing(120))),
            (300, Well, None),
            (350, Wrong, None),
            (400, Well, None),
            (499, Well, None),
            (500, Well, Some(Say::Resolved(120))),
        ],
    );
}

#[test]
fn it_is_told_once_more_after_a_time() {
    let at_once = Timing { for_ms: 0, ..TIMING };
    check(
        at_once,
        &[
            (1, Wrong, Some(Say::Firing(1))),
            (1_000, Wrong, None),
            (1_001, Wrong, Some(Say::Repeated(1))),
            (2_000, Wrong, None),
            (2_001, Wrong, Some(Say::Repeated(1))),
            (2_002, Well, Some(Say::Resolved(1))),
        ],
    );
}

#[test]
fn what_cannot_be_looked_at_changes_nothing() {
    check(
        TIMING,
        &[
            (1, Wrong, None),
            (90, Unknown, None),
            (101, Wrong, Some(Say::Firing(1))),
            (200, Unknown, None),
            (2_000, Unknown, None),
            (2_001, Wrong, Some(Say::Repeated(1))),
        ],
    );
}

#[test]
fn of_two_looks_the_older_one_says_nothing() {
    let at_once = Timing { for_ms: 0, ..TIMING };
    check(
        at_once,
        &[
            (5, Wrong, Some(Say::Firing(5))),
            (5, Well, None),
            (4, Well, None),
            (6, Wrong, None),
        ],
    );
}

proptest! {
    #[test]
    fn firings_alternate_with_recoveries_and_are_bounded(
        for_ms in 0..300_u64,
        repeat_after_ms in 1..500_u64,
        seen in prop::collection::vec((1..120_u64, 0..5_u8), 1..200),
    ) {
        let timing = Timing { for_ms, repeat_after_ms };
        let mut state = AlertState::default();
        let mut now_ms = 1_000;
        let (mut wrong_since, mut well_since) = (None, None);
        let mut firing = false;
        let mut told_at_ms = 0;
        let mut changes = 0_u64;
        for (passed_ms, what) in seen {
            now_ms += passed_ms;
            let observation = match what { 0 | 1 => Well, 2 | 3 => Wrong, _ => Unknown };
            match observation {
                Wrong => { wrong_since.get_or_insert(now_ms); well_since = None; }
                Well => { well_since.get_or_insert(now_ms); wrong_since = None; }
                Unknown => {}
            }
            match state.observe(observation, timing, now_ms) {
                Some(Say::Firing(_)) => {
                    prop_assert!(!firing, "it fires twice");
                    prop_assert!(now_ms - wrong_since.unwrap() >= for_ms, "too early");
                    (firing, told_at_ms, changes) = (true, now_ms, changes + 1);
                }
                Some(Say::Repeated(_)) => {
                    prop_assert!(firing, "what does not fire is repeated");
                    prop_assert!(now_ms - told_at_ms >= repeat_after_ms, "too often");
                    told_at_ms = now_ms;
                }
                Some(Say::Resolved(_)) => {
                    prop_assert!(firing, "what does not fire is over");
                    prop_assert!(now_ms - well_since.unwrap() >= for_ms, "too early");
                    (firing, changes) = (false, changes + 1);
                }
                None => {
                    // Nothing that is to be told is kept back.
                    let overdue = wrong_since.is_some_and(|since| now_ms - since >= for_ms) && observation == Wrong;
                    prop_assert!(firing || !overdue, "it should fire");
                    let over = well_since.is_some_and(|since| now_ms - since >= for_ms) && observation == Well;
                    prop_assert!(!firing || !over, "it should be over");
                }
            }
            prop_assert_eq!(firing, matches!(state.phase, Phase::Firing { .. }));
        }
        // Each change took its time.
        prop_assert!(changes.saturating_sub(1) * for_ms <= now_ms - 1_000);
        prop_assert_eq!(state.firings, changes.div_ceil(2));
    }
}

fn notice(id: &str, channel: &str) -> Notice {
    Notice {
        id: id.into(),
        channel: channel.into(),
        kind: "alert.firing".into(),
        at_ms: 1_000,
        title: String::new(),
        text: String::new(),
        data: Map::new(),
    }
}

fn failed(retry_after_ms: Option<u64>) -> Sent {
    Sent::Failed {
        reason: "503".into(),
        retry_after_ms,
    }
}

/// The one notice that is due.
#[track_caller]
fn due(state: &mut AlertState, now_ms: u64) -> Outgoing {
    let mut due = state.take_due(now_ms);
    assert_eq!(due.len(), 1, "{due:?}");
    due.remove(0)
}

fn ids(state: &AlertState) -> Vec<&str> {
    state
        .waiting
        .iter()
        .map(|outgoing| outgoing.notice.id.as_str())
        .collect()
}

#[test]
fn a_notice_is_tried_until_it_arrives_and_by_one_at_a_time() {
    let mut state = AlertState::default();
    state.tell(notice("a", "ops"));
    let first = due(&mut state, 1_000);
    assert_eq!(state.take_due(1_000 + 2 * CALLBACK_TIMEOUT_MS - 1), []);
    // Whoever tried it died.
    let second = due(&mut state, 1_000 + 2 * CALLBACK_TIMEOUT_MS);
    assert_eq!((second.tries, &second.notice), (2, &first.notice));
    // The late end of the first try says nothing of the second one, unless it arrived.
    assert_eq!(state.sent(&first, &failed(None), 40_000, 0), None);
    assert_eq!(state.last_error, None);
    assert_eq!(state.sent(&second, &failed(None), 40_000, 0), None);
    assert_eq!(state.last_error.as_deref(), Some("503"));
    let again_at_ms = 40_000 + RETRY_FIRST_MS;
    assert_eq!((state.take_due(again_at_ms - 1), ids(&state)), (vec![], vec!["a"]));
    let third = due(&mut state, again_at_ms);
    assert_eq!(state.sent(&first, &Sent::Delivered, again_at_ms, 0), None);
    assert_eq!(
        (ids(&state), state.last_error.as_deref(), state.lost),
        (vec![], None, 0)
    );
    assert_eq!(state.sent(&third, &failed(None), again_at_ms, 0), None);
}

#[test]
fn a_channel_hears_in_order_and_holds_up_no_other() {
    let mut state = AlertState::default();
    for (id, channel) in [("a", "ops"), ("b", "dev"), ("c", "ops")] {
        state.tell(notice(id, channel));
    }
    let taken = state.take_due(1_000);
    let ids: Vec<_> = taken.iter().map(|outgoing| outgoing.notice.id.as_str()).collect();
    assert_eq!((ids, state.take_due(1_000)), (vec!["a", "b"], vec![]));
    let _ = state.sent(&taken[0], &Sent::Delivered, 1_001, 0);
    assert_eq!(due(&mut state, 1_001).notice.id, "c");
}

#[test]
fn a_notice_is_given_up_after_a_day_or_where_nobody_wants_it() {
    for (sent, now_ms, is_lost) in [
        (failed(None), 1_000 + GIVE_UP_MS - RETRY_FIRST_MS / 2, false),
        (failed(None), 1_000 + GIVE_UP_MS - RETRY_FIRST_MS / 2 + 1, true),
        (failed(Some(u64::MAX)), 1_000 + GIVE_UP_MS - RETRY_MAX_MS, false),
        (failed(Some(u64::MAX)), 1_000 + GIVE_UP_MS - RETRY_MAX_MS + 1, true),
        (Sent::Refused("410".into()), 1_000, true),
    ] {
        let mut state = AlertState::default();
        state.tell(notice("a", "ops"));
        let tried = due(&mut state, 1_000);
        let lost = state.sent(&tried, &sent, now_ms, 0);
        assert_eq!(
            (lost.is_some(), state.lost, state.waiting.len()),
            (is_lost, u64::from(is_lost), usize::from(!is_lost))
        );
    }
}

#[test]
fn so_many_notices_wait_at_most() {
    let mut state = AlertState::default();
    for number in 0..=WAITING_MAX {
        state.tell(notice(&number.to_string(), "ops"));
    }
    assert_eq!((state.waiting.len(), state.lost, ids(&state)[0]), (WAITING_MAX, 1, "1"));
}

#[test]
fn a_state_is_read_as_it_was_written() {
    let mut state = AlertState::default();
    state.observe(Wrong, Timing { for_ms: 0, ..TIMING }, 7);
    state.value = Some(0.25);
    state.tell(notice("a", "ops"));
    let text = serde_json::to_string(&state).expect("JSON");
    assert_eq!(serde_json::from_str::<AlertState>(&text).expect("a state"), state);
}
