use super::*;

fn record(id: &str, secret_bytes: usize, more: &str) -> String {
    let secret = STANDARD.encode(vec![7_u8; secret_bytes]);
    format!(r#"{{"id":"{id}","orchestrator":"o","purposes":["invoke"],"secret":"{secret}"{more}}}"#)
}

fn check(json: &str, expected: &str) {
    match Keyring::parse(json) {
        Ok(_) => assert_eq!(expected, "ok", "{json}"),
        Err(error) => assert!(error.to_string().contains(expected), "{json}: {error}"),
    }
}

#[test]
fn who_may_invoke_an_agent() {
    let keys = [
        record("a", 32, r#","agents":["x"]"#),
        record("b", 32, r#","agents":["y"],"not_after":100"#),
        record("c", 32, r#","agents":["z"]"#).replace("invoke", "register"),
    ];
    let keyring = Keyring::parse(&format!("[{}]", keys.join(","))).unwrap();
    for (orchestrator, agent, now_s, expected) in [
        ("o", "x", 0, true),
        ("p", "x", 0, false),
        ("o", "y", 99, true),
        ("o", "y", 100, false),
        ("o", "z", 0, false),
    ] {
        let found = keyring.may_invoke(orchestrator, agent, now_s);
        assert_eq!(found, expected, "{orchestrator} {agent} {now_s}");
    }
}

#[test]
fn parsing() {
    check(&format!("[{}]", record("a", 32, "")), "ok");
    check(&format!("[{}]", record("a", 31, "")), "31 bytes");
    check(
        &format!("[{},{}]", record("a", 32, ""), record("a", 32, "")),
        "two key records",
    );
    check(&format!("[{}]", record("", 32, "")), "a key id has 0 bytes");
    check(&format!("[{}]", record("a b", 32, "")), "has a character");
    check(&format!("[{}]", record("a&b", 32, "")), "has a character");
    check(&format!("[{}]", record("schlüssel", 32, "")), "has a character");
    check(
        &format!("[{}]", record("a", 32, r#","not_before":5,"not_after":5"#)),
        "not later",
    );
    check(&format!("[{}]", record("a", 32, r#","typo":1"#)), "line 1");
    check("{}", "line 1");
    let many: Vec<_> = (0..=KEY_RECORDS_MAX).map(|n| record(&n.to_string(), 32, "")).collect();
    check(&format!("[{}]", many.join(",")), "65 key records");
    check(&format!("[{}]", many[1..].join(",")), "ok");
}

fn record_for(id: &str, byte: u8, purposes: &str, more: &str) -> String {
    let secret = STANDARD.encode([byte; 32]);
    format!(r#"{{"id":"{id}","orchestrator":"o","purposes":{purposes},"secret":"{secret}"{more}}}"#)
}

#[test]
fn a_callback_key_signs_nothing_else() {
    let check_one =
        |purposes: &str, expected: &str| check(&format!("[{}]", record_for("a", 1, purposes, "")), expected);
    check_one(r#"["callback"]"#, "ok");
    check_one(r#"["operate"]"#, "ok");
    check_one(r#"["invoke","register","operate"]"#, "ok");
    for other in ["invoke", "register", "operate"] {
        check_one(
            &format!(r#"["callback","{other}"]"#),
            "key record `a`: `callback` stands beside",
        );
        check_one(&format!(r#"["{other}","callback"]"#), "given to webhook receivers");
    }
    let alone = Keyring::parse_record(&record_for("a", 1, r#"["callback","invoke"]"#, ""));
    assert!(alone.is_err());
}

#[test]
fn a_callback_secret_is_in_no_other_record() {
    let check_two = |one: &str, bytes: [u8; 2], two: &str, expected| {
        let records = [record_for("a", bytes[0], one, ""), record_for("b", bytes[1], two, "")];
        check(&format!("[{}]", records.join(",")), expected);
    };
    let (callback, invoke) = (r#"["callback"]"#, r#"["invoke"]"#);
    check_two(callback, [1, 2], invoke, "ok");
    check_two(callback, [1, 1], invoke, "`a` and `b` have the same secret");
    check_two(invoke, [1, 1], callback, "`a` and `b` have the same secret");
    check_two(callback, [1, 1], callback, "`a` and `b` have the same secret");
    check_two(invoke, [1, 1], invoke, "ok");
}

#[test]
fn every_valid_callback_key_signs() {
    let callback = r#"["callback"]"#;
    let records = [
        record_for("old", 1, callback, r#","not_after":200"#),
        record_for("new", 2, callback, r#","not_before":100"#),
        record_for("invoke", 3, r#"["invoke"]"#, ""),
        record_for("other", 4, callback, "").replace(r#""o""#, r#""p""#),
    ];
    let keyring = Keyring::parse(&format!("[{}]", records.join(","))).expect("a keyring");
    let ids = |orchestrator, now_s| -> Vec<_> {
        let keys = keyring.callback_keys(orchestrator, now_s);
        keys.into_iter().map(|key| key.id.as_str()).collect()
    };
    assert_eq!(ids("o", 99), ["old"]);
    assert_eq!(ids("o", 100), ["old", "new"]);
    assert_eq!(ids("o", 199), ["old", "new"]);
    assert_eq!(ids("o", 200), ["new"]);
    assert_eq!(ids("p", 100), ["other"]);
    assert!(ids("q", 100).is_empty());
}

#[test]
fn a_secret_is_never_shown() {
    let keyring = Keyring::parse(&format!("[{}]", record("a", 32, ""))).expect("a keyring");
    let shown = format!("{keyring:?}");
    assert!(!shown.contains("7, 7"), "{shown}");
    assert!(!shown.contains(&STANDARD.encode([7_u8; 32])), "{shown}");
}

#[test]
fn validity_and_rotation() {
    let json = format!(
        "[{},{}]",
        record("old", 32, r#","not_after":200"#),
        record("new", 32, r#","not_before":100"#)
    );
    let keyring = Keyring::parse(&json).expect("a keyring");
    let signing = |now| {
        keyring
            .signing_key("o", Purpose::Invoke, now)
            .map(|key| key.id.as_str())
    };
    assert_eq!(signing(99), Some("old"));
    assert_eq!(signing(100 + SKEW_MAX_S - 1), Some("old"));
    assert_eq!(signing(100 + SKEW_MAX_S), Some("new"));
    assert_eq!(signing(200), Some("new"));
    assert_eq!(keyring.get("old").map(|key| key.validity(199)), Some(Validity::Valid));
    assert_eq!(keyring.get("old").map(|key| key.validity(200)), Some(Validity::Expired));
    assert_eq!(
        keyring.get("new").map(|key| key.validity(99)),
        Some(Validity::NotYetValid)
    );
    assert_eq!(
        keyring.signing_key("o", Purpose::Register, 150).map(|key| &key.id),
        None
    );
    assert_eq!(keyring.signing_key("p", Purpose::Invoke, 150).map(|key| &key.id), None);
}

#[test]
fn an_orchestrator_asks_for_a_key() {
    let register = r#"["register"]"#;
    let records = [
        record_for("old", 1, register, r#","not_after":200"#),
        record_for("new", 2, register, r#","not_before":10"#),
        record_for("invoke", 3, r#"["invoke"]"#, ""),
        record_for("hooks", 4, register, r#","scheme":"standard-webhooks""#),
        record_for("theirs", 5, register, "").replace(r#""o""#, r#""p""#),
    ];
    let keyring = Keyring::parse(&format!("[{}]", records.join(","))).expect("a keyring");
    let signing = |asked, now_s| keyring.register_key("o", asked, now_s).map(|key| key.id.as_str());
    assert_eq!(signing(None, 100), Some("new"));
    assert_eq!(signing(Some("old"), 199), Some("old"));
    assert_eq!(signing(Some("old"), 200), Some("new"));
    assert_eq!(
        signing(Some("new"), 10),
        Some("new"),
        "asked for, before its first minute is over"
    );
    assert_eq!(signing(Some("new"), 9), Some("old"));
    for useless in ["invoke", "hooks", "theirs", "nobodys"] {
        assert_eq!(signing(Some(useless), 100), Some("new"), "{useless}");
    }
}

#[test]
fn agents_allowed() {
    let keyring = Keyring::parse(&format!("[{}]", record("a", 32, r#","agents":["x"]"#))).expect("a keyring");
    let key = keyring.get("a").expect("the record");
    assert!(key.allows_agent("x"));
    assert!(!key.allows_agent("y"));
}
