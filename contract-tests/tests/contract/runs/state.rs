//! The state that a run keeps: versions, preconditions, and writers at the same time.

use std::collections::BTreeMap;
use std::thread;

use contract_tests::answer::Answer;
use contract_tests::gateway::shared;
use contract_tests::mac::content_digest;
use contract_tests::message::Message;
use contract_tests::outside::fresh;
use serde_json::{Value, json};

use super::calls::{assert_no_state, create, described, get, overwrite, path, put, state, version_of};
use crate::signatures::replays::check_replayed;
use crate::support::key;

const STATE_MAX_BYTES: usize = 1024 * 1024;
const STATE_VERSIONS_MAX: u64 = 100;

#[track_caller]
fn send(message: Message) -> Answer {
    message.signed(key("first")).send()
}

/// A write on top of the version with this entity tag.
#[track_caller]
fn replace(run: &str, text: &str, etag: &str) -> Answer {
    send(put(run, text).precondition("if-match", etag))
}

#[track_caller]
fn check_conflict(answer: &Answer, current: Option<&str>) {
    let problem = answer.problem(412, "state-conflict");
    assert!(answer.is_signed());
    assert_eq!(problem["retryable"], false);
    assert_eq!(answer.header("etag"), current);
    assert_eq!(problem["current_version"], current.map_or(0, version_of));
    assert_eq!(problem.get("current_etag").and_then(Value::as_str), current);
}

#[test]
fn versions_come_back_byte_for_byte() {
    let run = fresh();
    let texts = ["{ \"b\": 1,  \"a\": [1.50, \"\u{e4}\\u00e4\"] }", "\n[]\n"];
    let first = send(put(&run, texts[0]).precondition("if-none-match", "*"));
    let receipt = first.message(201, "state-receipt");
    assert_eq!(receipt["run"], run);
    assert_eq!(receipt["version"], 1);
    assert_eq!(receipt["bytes"], texts[0].len());
    assert_eq!(receipt["digest"], content_digest(texts[0].as_bytes()));
    let etag = first.header("etag").expect("an entity tag").to_owned();
    // The version, and 32 bytes in base64url without padding.
    assert!(etag.starts_with("\"1-") && etag.len() == 3 + 43 + 1, "{etag}");

    let second = replace(&run, texts[1], &etag);
    assert_eq!(second.message(200, "state-receipt")["version"], 2);
    let etags = [etag.as_str(), second.header("etag").expect("an entity tag")];

    for (query, index) in [(None, 1), (Some("version=1"), 0), (Some("version=2"), 1)] {
        let mut read = get(&run, "/state");
        read.query = query.map(str::to_owned);
        let answer = send(read.clone());
        let _ = answer.message(200, "state");
        assert_eq!(answer.text(), texts[index], "{query:?}");
        assert_eq!(answer.header("etag"), Some(etags[index]));
        let digest = content_digest(texts[index].as_bytes());
        assert_eq!(answer.header("content-digest"), Some(digest.as_str()));
        let head = send(read.method("HEAD"));
        assert_eq!((head.status(), head.text().as_str()), (200, ""));
        assert_eq!(head.header("etag"), Some(etags[index]));
    }
    send(get(&run, "/state").query("version=3")).problem(404, "state-unknown");
    for query in [
        "version=0",
        "version=-1",
        "version=x",
        "version=",
        "version=1&version=2",
    ] {
        send(get(&run, "/state").query(query)).problem(400, "path-invalid");
    }

    let run = described(&run);
    assert_eq!(run["state"]["version"], 2);
    assert_eq!(run["state"]["etag"], etags[1]);
    let by: Vec<_> = run["versions"].as_array().expect("versions").iter().collect();
    assert_eq!(by.len(), 2);
    assert!(by.iter().all(|version| version["by"] == "put"), "{run}");
    assert_eq!(by[0]["digest"], content_digest(texts[0].as_bytes()));
}

#[test]
fn any_value_is_a_state() {
    for text in ["null", "0", "\"\"", "[]", "{}", "false"] {
        let run = fresh();
        let _ = send(put(&run, text).precondition("if-none-match", "*")).message(201, "state-receipt");
        assert_eq!(send(get(&run, "/state")).text(), text);
    }
    let run = fresh();
    for text in ["", "{", "{\"a\":1,\"a\":2}", "{} {}"] {
        send(put(&run, text).precondition("if-none-match", "*")).problem(400, "json-malformed");
    }
    let text = put(&run, "{}").precondition("if-none-match", "*");
    send(text.header("content-type", "text/plain")).problem(415, "media-type-unsupported");
    assert_no_state(&run);
}

#[test]
fn a_write_on_something_else_than_the_current_version_is_a_conflict() {
    let run = fresh();
    check_conflict(&replace(&run, "1", "\"1-x\""), None);
    check_conflict(&replace(&run, "1", "*"), None);
    assert_no_state(&run);

    let first = create(&run, &json!(1));
    check_conflict(&send(put(&run, "2").precondition("if-none-match", "*")), Some(&first));
    let second = replace(&run, "2", &first);
    let second = second.header("etag").expect("an entity tag");
    check_conflict(&replace(&run, "3", &first), Some(second));
    // The right number of another content.
    check_conflict(&replace(&run, "3", &first.replacen('1', "2", 1)), Some(second));
    assert_eq!(state(&run), 2);
    // One of several is enough.
    let third = replace(&run, "3", &format!("{first}, {second}"));
    assert_eq!(third.message(200, "state-receipt")["version"], 3);
    let fourth = replace(&run, "4", "*");
    assert_eq!(fourth.message(200, "state-receipt")["version"], 4);
}

#[test]
fn a_write_must_say_what_it_replaces_and_in_one_way() {
    let run = fresh();
    let answer = send(put(&run, "1"));
    let problem = answer.problem(428, "precondition-required");
    assert!(answer.is_signed());
    let detail = problem["detail"].as_str().expect("text");
    assert!(detail.contains("If-None-Match: *"), "{detail}");

    let invalid = |message: Message| send(message).problem(400, "precondition-invalid");
    for tags in ["W/\"1-x\"", "1-x", "\"", "\"1-x\", *"] {
        let _ = invalid(put(&run, "1").precondition("if-match", tags));
    }
    let _ = invalid(put(&run, "1").precondition("if-none-match", "\"1-x\""));
    let both = put(&run, "1")
        .precondition("if-match", "*")
        .precondition("if-none-match", "*");
    let _ = invalid(both);
    assert_no_state(&run);
}

/// Whoever can change a precondition on the way decides what is overwritten.
#[test]
fn a_precondition_that_is_not_covered_is_refused() {
    let run = fresh();
    let create = put(&run, "1").header("if-none-match", "*");
    send(create).problem(401, "signature-coverage");
    assert_no_state(&run);

    let etag = self::create(&run, &json!(1));
    for (name, value) in [("if-match", etag.as_str()), ("if-match", "*"), ("if-none-match", "*")] {
        send(put(&run, "2").header(name, value)).problem(401, "signature-coverage");
    }
    let half = put(&run, "2").precondition("if-match", &etag);
    send(half.header("if-none-match", "*")).problem(401, "signature-coverage");
    let key_uncovered = put(&run, "2").precondition("if-match", &etag);
    send(key_uncovered.header("idempotency-key", "\"k\"")).problem(401, "signature-coverage");

    // Covered, and changed, added or taken away after it was signed.
    let signed = put(&run, "2").precondition("if-match", "\"1-x\"").signed(key("first"));
    signed
        .clone()
        .header("if-match", "*")
        .send()
        .problem(401, "signature-invalid");
    signed
        .clone()
        .without("if-match")
        .send()
        .problem(401, "signature-coverage");
    signed
        .header("if-none-match", "*")
        .send()
        .problem(401, "signature-coverage");
    assert_eq!(state(&run), 1);
}

#[test]
fn a_state_has_one_mebibyte_at_most() {
    let run = fresh();
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    for chunked in [false, true] {
        let mut message = put(&run, &text(STATE_MAX_BYTES + 1)).precondition("if-none-match", "*");
        message.chunked = chunked;
        let problem = send(message).problem(413, "body-too-large");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains("1048576"), "{detail}");
    }
    assert_no_state(&run);
    let largest = text(STATE_MAX_BYTES);
    let answer = send(put(&run, &largest).precondition("if-none-match", "*"));
    assert_eq!(answer.message(201, "state-receipt")["bytes"], STATE_MAX_BYTES);
    assert!(send(get(&run, "/state")).text() == largest);
}

#[test]
fn the_oldest_versions_go_and_say_so() {
    let run = fresh();
    let mut etag = create(&run, &json!(1));
    for number in 2..=STATE_VERSIONS_MAX {
        etag = overwrite(&run, &json!(number));
    }
    let read = |version: u64| send(get(&run, "/state").query(&format!("version={version}")));
    assert_eq!(read(1).text(), "1");
    etag = {
        let answer = replace(&run, "101", &etag);
        let _ = answer.message(200, "state-receipt");
        answer.header("etag").expect("an entity tag").to_owned()
    };
    let gone = read(1);
    gone.problem(410, "state-version-gone");
    assert!(gone.is_signed());
    assert_eq!(read(2).text(), "2");
    read(STATE_VERSIONS_MAX + 2).problem(404, "state-unknown");
    assert_eq!(version_of(&etag), STATE_VERSIONS_MAX + 1);
    let run = described(&run);
    let numbers = run["versions"].as_array().expect("versions").iter();
    let numbers: Vec<_> = numbers.filter_map(|version| version["version"].as_u64()).collect();
    assert_eq!(numbers, (2..=STATE_VERSIONS_MAX + 1).collect::<Vec<_>>());
}

/// Sixteen mebibytes, whatever their number.
#[test]
fn large_versions_go_earlier() {
    let run = fresh();
    let text = |number: usize| format!("\"{number:02}{}\"", "x".repeat(STATE_MAX_BYTES - 4));
    let _ = send(put(&run, &text(1)).precondition("if-none-match", "*")).message(201, "state-receipt");
    for number in 2..=17 {
        let _ = replace(&run, &text(number), "*").message(200, "state-receipt");
    }
    let read = |version: u64| send(get(&run, "/state").query(&format!("version={version}")));
    read(1).problem(410, "state-version-gone");
    assert!(read(2).text() == text(2));
    assert!(send(get(&run, "/state")).text() == text(17));
    assert_eq!(described(&run)["versions"].as_array().map(Vec::len), Some(16));
}

/// The signer that Baton publishes covers what has to be covered.
#[test]
fn a_library_writes_as_well() {
    let run = fresh();
    let write = |text: &str, name: &str, value: &str| {
        let message = put(&run, text).header(name, value);
        message.signed_by_baton(key("first")).send()
    };
    let first = write("1", "if-none-match", "*");
    let _ = first.message(201, "state-receipt");
    let second = write("2", "if-match", first.header("etag").expect("an entity tag"));
    assert_eq!(second.message(200, "state-receipt")["version"], 2);
    assert_eq!(state(&run), 2);
}

#[test]
fn a_state_that_the_reader_has_is_not_sent_again() {
    let run = fresh();
    let etag = create(&run, &json!({ "a": 1 }));
    // A read's precondition changes nothing, and need not be covered.
    for known in [etag.clone(), format!("\"x\", {etag}"), "*".into()] {
        let answer = send(get(&run, "/state").header("if-none-match", &known));
        assert_eq!((answer.status(), answer.text().as_str()), (304, ""), "{known}");
        assert_eq!(answer.header("etag"), Some(etag.as_str()));
        assert!(answer.is_signed());
    }
    let _ = overwrite(&run, &json!(2));
    let answer = send(get(&run, "/state").header("if-none-match", &etag));
    assert_eq!((answer.status(), answer.text().as_str()), (200, "2"));
}

#[test]
fn an_agent_that_the_run_is_bound_to_checks_its_state() {
    let run = fresh();
    let handoff = json!({ "run": run, "from": "tests", "reason": "a strict state", "state": { "count": 1 } });
    let handoff = Message::post(&shared(), "/agents/script-strict/handoffs", &handoff).idempotency_key("h1");
    let _ = send(handoff).message(201, "handoff-receipt");
    for (text, instance, schema) in [
        ("{\"count\":\"two\"}", "/count", "/properties/count/type"),
        ("{}", "", "/required"),
        ("null", "", "/type"),
    ] {
        let answer = replace(&run, text, "*");
        let problem = answer.problem(422, "schema-violated");
        assert!(answer.is_signed());
        let place = &problem["errors"][0];
        assert_eq!(
            (place["instance"].as_str(), place["schema"].as_str()),
            (Some(instance), Some(schema))
        );
    }
    assert_eq!(state(&run), json!({ "count": 1 }));
    let answer = replace(&run, "{\"count\":2,\"more\":[]}", "*");
    assert_eq!(answer.message(200, "state-receipt")["version"], 2);
}

#[test]
fn the_same_write_again_under_its_key_gets_its_receipt_again() {
    let run = fresh();
    let create = |text: &str| send(put(&run, text).precondition("if-none-match", "*").idempotency_key("k1"));
    let first = create("{\"a\":1}");
    let receipt = first.message(201, "state-receipt");
    assert!(!first.is_replayed());
    let again = create("{\"a\":1}");
    assert!(again.is_replayed());
    assert_eq!(again.message(201, "state-receipt"), receipt);
    assert_eq!(again.header("etag"), first.header("etag"));
    create("{\"a\": 1}").problem(422, "idempotency-key-reused");

    // Also when somebody has written since, and on whatever condition.
    let second = overwrite(&run, &json!(2));
    let again = create("{\"a\":1}");
    assert!(again.is_replayed());
    assert_eq!(again.message(201, "state-receipt"), receipt);
    let current = send(get(&run, "/state"));
    assert_eq!(
        (current.header("etag"), current.text().as_str()),
        (Some(second.as_str()), "2")
    );
    // Without a key the same write is another one.
    let third = overwrite(&run, &json!(2));
    assert_eq!(version_of(&third), 3);
}

/// A state machine of several writers: each reads, and writes on top of what it read. Whatever their order, the versions
/// have no gap, each has one winner, and what is kept under its number is what the winner wrote.
#[test]
fn of_writers_at_the_same_time_exactly_one_wins_each_version() {
    const WRITERS: usize = 4;
    const WINS: usize = 6;
    let run = fresh();
    let write = |writer: usize| {
        let mut won = Vec::new();
        let mut lost = 0;
        let mut etag: Option<String> = None;
        while won.len() < WINS {
            let text = format!("\"{writer}/{}/{lost}\"", won.len());
            let answer = match &etag {
                Some(etag) => replace(&run, &text, etag),
                None => send(put(&run, &text).precondition("if-none-match", "*")),
            };
            etag = answer.header("etag").map(str::to_owned);
            if answer.status() == 412 {
                check_conflict(&answer, etag.as_deref());
                lost += 1;
            } else {
                let status = if etag.as_deref().map(version_of) == Some(1) {
                    201
                } else {
                    200
                };
                let receipt = answer.message(status, "state-receipt");
                won.push((receipt["version"].as_u64().expect("a version"), text));
            }
        }
        won
    };
    let won: Vec<_> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        let joined = writers.into_iter().flat_map(|writer| writer.join().expect("a writer"));
        joined.collect()
    });
    let count = won.len();
    let won: BTreeMap<u64, String> = won.into_iter().collect();
    assert_eq!(won.len(), count, "a version was won twice");
    for (index, (version, text)) in won.iter().enumerate() {
        assert_eq!(*version, index as u64 + 1, "a version was left out");
        let answer = send(get(&run, "/state").query(&format!("version={version}")));
        assert_eq!(answer.text(), *text);
    }
}

#[test]
fn another_orchestrator_sees_nothing_of_a_run() {
    let run = fresh();
    let _ = create(&run, &json!("mine"));
    let theirs = |message: Message| message.signed(key("other")).send();
    theirs(get(&run, "/state")).problem(404, "state-unknown");
    theirs(get(&run, "/state").query("version=1")).problem(404, "state-unknown");
    theirs(get(&run, "")).problem(404, "run-unknown");
    theirs(get(&run, "/steps/s1")).problem(404, "step-unknown");
    check_conflict(&theirs(put(&run, "1").precondition("if-match", "*")), None);
    // A run of the same id is another run, and its end is not the end of this one.
    let _ = theirs(put(&run, "\"theirs\"").precondition("if-none-match", "*")).message(201, "state-receipt");
    assert_eq!(state(&run), "mine");
    let forget = Message::new(&shared(), "DELETE", &path(&run, ""));
    assert_eq!(theirs(forget).status(), 204);
    theirs(get(&run, "/state")).problem(404, "state-unknown");
    assert_eq!(state(&run), "mine");
    // Another key of the same orchestrator is no stranger.
    let _ = get(&run, "/state").signed(key("second")).send().message(200, "state");
}

#[test]
fn a_runs_id_is_any_text_that_fits() {
    let unique = fresh();
    let filled = |text: &str, bytes: usize| format!("{unique}{}", text.repeat((bytes - unique.len()) / text.len()));
    for run in [
        format!("{unique} a b/c?\u{e4}%#+&=;\\\"'"),
        format!("{unique}%2F"),
        format!("\u{1f600}{unique}"),
        filled("x", 128),
        filled("\u{e4}", 128),
    ] {
        let _ = create(&run, &json!({ "run": run }));
        assert_eq!(state(&run)["run"], run);
        assert_eq!(described(&run)["run"], run);
        // The same run as a step's body names it.
        let step = json!({ "run": run, "step": "a b/c?", "input": { "actions": [] } });
        let outcome = crate::support::invoke_as(&fresh(), "script", &step).completed();
        assert_eq!(outcome["output"]["state"]["run"], run);
        assert_eq!(super::calls::status(&step)["run"], run);
    }
    for run in [
        filled("x", 129),
        filled("\u{e4}", 130),
        "a\nb".into(),
        "a\u{0}b".into(),
        "\u{9f}".into(),
    ] {
        let message = put(&run, "1").precondition("if-none-match", "*");
        send(message).problem(400, "path-invalid");
    }
    // Dots as a segment are resolved on the way, by clients and by the platform: another path, that nobody signed.
    for run in ["..", ".", "%2e%2e", "%2E", "%ff"] {
        let message = Message::new(&shared(), "PUT", &format!("/runs/{run}/state")).with_json(b"1");
        let status = send(message.precondition("if-none-match", "*")).status();
        assert!((400..500).contains(&status), "{run}: {status}");
    }
}

#[test]
fn captured_calls_on_a_run_are_refused() {
    let run = fresh();
    let first = put(&run, "1").precondition("if-none-match", "*").signed(key("first"));
    let _ = first.send().message(201, "state-receipt");
    let second = put(&run, "{}").precondition("if-match", "*").signed(key("first"));
    let _ = second.send().message(200, "state-receipt");
    check_replayed(&first.send());
    check_replayed(&second.send());
    assert_eq!(
        version_of(send(get(&run, "/state")).header("etag").expect("an entity tag")),
        2
    );

    let step = super::calls::scripted(&run, "s1", json!([]));
    let _ = crate::support::invoke("script", &step).completed();
    let cancel = super::calls::cancel_of(&step).signed(key("first"));
    let _ = cancel.send().message(200, "step-status");
    check_replayed(&cancel.send());

    let forget = Message::new(&shared(), "DELETE", &path(&run, "")).signed(key("first"));
    assert_eq!(forget.send().status(), 204);
    // What is forgotten is not brought back by a captured write, nor what comes after it forgotten by a captured end.
    check_replayed(&first.send());
    let _ = create(&run, &json!("anew"));
    check_replayed(&forget.send());
    assert_eq!(state(&run), "anew");
}
