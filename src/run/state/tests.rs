use super::super::question::RunName;
use super::super::storage::MemoryStorage;
use super::*;
use proptest::prelude::*;

fn using() -> Use {
    Use {
        name: RunName::new("o", "r"),
        retention_ms: 1_000_000,
    }
}

fn put(storage: &MemoryStorage, claimant: &str, expected: Expected, content: &str) -> Put {
    put_as(storage, claimant, expected, content, None)
}

fn put_as(storage: &MemoryStorage, claimant: &str, expected: Expected, content: &str, key: Option<&str>) -> Put {
    let question = PutState {
        using: using(),
        expected,
        content: content.into(),
        idempotency_key: key.map(str::to_owned),
        checked_for: None,
    };
    let moment = Moment {
        now_ms: 7,
        random: 0,
        claimant,
    };
    question.answer(storage, moment).unwrap()
}

fn written(put: Put) -> Version {
    match put {
        Put::Written { version, .. } => version,
        other => panic!("{other:?}"),
    }
}

fn read(storage: &MemoryStorage, version: Option<u64>) -> Read {
    let moment = Moment {
        now_ms: 8,
        random: 0,
        claimant: "reader",
    };
    ReadState { version }.answer(storage, moment).unwrap()
}

#[test]
fn versions_count_from_one_and_name_their_content() {
    let storage = MemoryStorage::default();
    assert_eq!(read(&storage, None), Read::Unknown);
    let first = written(put(&storage, "a", Expected::Nothing, "{}"));
    assert_eq!((first.version, first.bytes), (1, 2));
    assert_eq!(first.etag, etag(1, "{}"));
    let second = written(put(&storage, "b", Expected::OneOf(vec![first.etag.clone()]), "[]"));
    assert_eq!(second.version, 2);
    let Read::Kept(kept) = read(&storage, None) else {
        panic!("nothing")
    };
    assert_eq!((kept.version, kept.content.as_str()), (second, "[]"));
    assert!(matches!(read(&storage, Some(1)), Read::Kept(kept) if kept.content == "{}"));
    assert_eq!(read(&storage, Some(3)), Read::Unknown);
    assert_eq!(read(&storage, Some(0)), Read::Unknown);
}

#[test]
fn a_write_on_something_else_than_the_current_version_is_refused() {
    let storage = MemoryStorage::default();
    let none = Conflict::default();
    assert_eq!(put(&storage, "a", Expected::Anything, "1"), Put::Conflict(none.clone()));
    assert_eq!(
        put(&storage, "a", Expected::OneOf(vec!["\"x\"".into()]), "1"),
        Put::Conflict(none)
    );
    let first = written(put(&storage, "b", Expected::Nothing, "1"));
    let one = Conflict {
        current_version: 1,
        current_etag: Some(first.etag.clone()),
    };
    for expected in [
        Expected::Nothing,
        Expected::OneOf(vec![etag(1, "2")]),
        Expected::Version(0),
        Expected::Version(2),
    ] {
        assert_eq!(put(&storage, "c", expected, "2"), Put::Conflict(one.clone()));
    }
    assert_eq!(written(put(&storage, "d", Expected::Version(1), "2")).version, 2);
    assert_eq!(written(put(&storage, "e", Expected::Anything, "3")).version, 3);
}

#[test]
fn the_same_request_or_key_gets_the_same_version_again() {
    let storage = MemoryStorage::default();
    let first = put(&storage, "a", Expected::Nothing, "1");
    assert_eq!(put(&storage, "a", Expected::Nothing, "1"), first);
    let second = written(put_as(&storage, "b", Expected::Anything, "2", Some("k")));
    written(put(&storage, "c", Expected::Anything, "3"));
    assert_eq!(
        put(&storage, "a", Expected::Nothing, "1"),
        first,
        "others have written since"
    );
    let again = put_as(&storage, "d", Expected::Anything, "2", Some("k"));
    assert_eq!(
        again,
        Put::Written {
            version: second,
            replayed: true
        }
    );
    assert_eq!(
        put_as(&storage, "e", Expected::Anything, "4", Some("k")),
        Put::KeyMismatch
    );
}

#[test]
fn a_bound_run_takes_a_state_only_after_the_agents_check() {
    let storage = MemoryStorage::default();
    written(put(&storage, "a", Expected::Nothing, "1"));
    let mut run = record::find(&storage).unwrap().unwrap();
    run.agent = Some("triage".into());
    record::save(&storage, &run).unwrap();
    assert_eq!(
        put(&storage, "b", Expected::Anything, "2"),
        Put::CheckFor("triage".into())
    );
}

#[test]
fn the_oldest_versions_go_at_the_limits_and_their_numbers_do_not_come_back() {
    let storage = MemoryStorage::default();
    for _ in 0..STATE_VERSIONS_MAX {
        written(put(
            &storage,
            &format!("c{}", storage.keys().len()),
            Expected::Version(count(&storage)),
            "1",
        ));
    }
    assert!(matches!(read(&storage, Some(1)), Read::Kept(_)));
    written(put(&storage, "one more", Expected::Anything, "1"));
    assert_eq!(read(&storage, Some(1)), Read::Gone);
    assert!(matches!(read(&storage, Some(2)), Read::Kept(_)));
    assert_eq!(count(&storage), STATE_VERSIONS_MAX + 1);

    let storage = MemoryStorage::default();
    let large = "x".repeat(STATE_MAX_BYTES);
    for number in 0..16 {
        written(put(&storage, &format!("c{number}"), Expected::Version(number), &large));
    }
    assert!(matches!(read(&storage, Some(1)), Read::Kept(_)));
    written(put(&storage, "one more", Expected::Version(16), "1"));
    assert_eq!(read(&storage, Some(1)), Read::Gone);
    assert_eq!(versions(&storage).unwrap().len(), 16);
}

fn count(storage: &MemoryStorage) -> u64 {
    record::find(storage).unwrap().map_or(0, |run| run.version)
}

proptest! {
    /// Writers that read, wait and write in any order: each version has one winner, every loser is told, and what is
    /// kept under a number is what its winner wrote.
    #[test]
    fn one_writer_wins_each_version(steps in proptest::collection::vec((0..4_usize, any::<bool>()), 1..80)) {
        let storage = MemoryStorage::default();
        let mut seen = [0_u64; 4];
        let mut won: Vec<(u64, String)> = Vec::new();
        for (index, (writer, writes)) in steps.into_iter().enumerate() {
            if !writes {
                seen[writer] = count(&storage);
                continue;
            }
            let content = format!("{writer}/{index}");
            let current = count(&storage);
            match put(&storage, &format!("c{index}"), Expected::Version(seen[writer]), &content) {
                Put::Written { version, .. } => {
                    prop_assert_eq!(seen[writer], current);
                    prop_assert_eq!(version.version, current + 1);
                    won.push((version.version, content));
                }
                Put::Conflict(conflict) => {
                    prop_assert_ne!(seen[writer], current);
                    prop_assert_eq!(conflict.current_version, current);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        for (index, (number, content)) in won.iter().enumerate() {
            prop_assert_eq!(*number, index as u64 + 1, "a number was left out or used twice");
            let Read::Kept(kept) = read(&storage, Some(*number)) else { panic!("version {number} is lost") };
            prop_assert_eq!(&kept.content, content);
        }
    }
}
