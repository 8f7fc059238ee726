//! `baton run watch`: streams that come, break and are taken up again.

use super::*;

const WATCH: [&str; 4] = ["run", "watch", "run_01", "s1"];
const BEGINNING: &str = "retry: 1\r\n\r\nid: 1.1\r\nevent: started\r\ndata: {\"execution\":1}\r\n\r\n: keep-alive\r\n\r\nid: 1.2\r\nevent: progress\r\ndata: {\"message\":\"halfway\",\r\ndata: \"fraction\":0.5}\r\n\r\n";

#[test]
fn a_broken_stream_is_taken_up_where_it_broke() {
    let replies = vec![
        // It breaks within an event, which comes again then.
        Reply::Stream(vec![
            Part::Text(BEGINNING),
            Part::Text("id: 1.3\ndata: {\"text\":\"lost"),
        ]),
        Reply::Stream(vec![
            Part::Text("id: 1.3\nevent: delta\ndata: {\"text\":\"one \"}\n\n"),
            Part::Text("id: 1.4\nevent: delta\ndata: {\"text\":\"two\\u001b\"}\n\nid: 1.5\nevent: new\ndata: x\n\n"),
            Part::Outcome(200, COMPLETED, NONE),
        ]),
    ];
    let (run, requests) = against("watch", replies, &WATCH);
    let run = run.expect(
        0,
        &[
            "completed  triage  run run_01  step s1",
            "signature verified with key k1",
        ],
    );
    assert!(
        run.stderr.starts_with("begun\n 50 %  halfway\nthe stream broke ("),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.ends_with("taking it up again\none two\u{fffd}\n"),
        "{}",
        run.stderr
    );
    assert!(run.stdout.starts_with("completed"), "{}", run.stdout);
    let header = |index: usize, name: &str| {
        requests[index]
            .headers()
            .get(name)
            .map(|value| value.to_str().expect("text"))
    };
    assert_eq!(
        (header(0, "last-event-id"), header(1, "last-event-id")),
        (None, Some("1.2"))
    );
    assert_eq!(header(0, "accept"), Some("text/event-stream"));
    assert_ne!(
        header(0, "signature"),
        header(1, "signature"),
        "each request is signed anew"
    );
    assert_eq!(requests[0].uri().path(), "/runs/run_01/steps/s1");
}

#[test]
fn watching_begins_where_one_says_and_prints_the_outcome_alone() {
    let replies = vec![Reply::Stream(vec![
        Part::Text(BEGINNING),
        Part::Outcome(200, COMPLETED, NONE),
    ])];
    let (run, requests) = against(
        "watch-json",
        replies,
        &[&WATCH[..], &["--json", "--last-event-id", "1.0"]].concat(),
    );
    assert_eq!(run.expect(0, &[]).stdout, format!("{COMPLETED}\n"));
    assert_eq!(requests[0].headers()["last-event-id"], "1.0");
}

#[test]
fn what_comes_is_shown_as_it_comes() {
    let key = key();
    let (go_on, test) = mpsc::channel();
    let parts = vec![
        Part::Text(BEGINNING),
        Part::Wait(test),
        Part::Outcome(200, COMPLETED, NONE),
    ];
    let gateway = Gateway::new(&key, vec![Reply::Stream(parts)]);
    let key = file(&folder("watch-live"), "key.json", &key);
    let arguments = [&WATCH[..], &["--key", &key, "--gateway", &gateway.origin]].concat();
    let mut child = start(&std::env::temp_dir(), &arguments);
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let mut line = || lines.next().expect("a line").expect("text");
    assert_eq!((line(), line()), ("begun".to_owned(), " 50 %  halfway".to_owned()));
    // Only now does the gateway send the outcome.
    go_on.send(()).expect("the gateway waits");
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .expect("a pipe")
        .read_to_string(&mut stdout)
        .expect("text");
    assert!(stdout.starts_with("completed"), "{stdout}");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn an_outcome_that_proves_nothing_is_none() {
    let check = |name: &str, change: Change, said: &str| {
        let replies = vec![Reply::Stream(vec![
            Part::Text(BEGINNING),
            Part::Outcome(200, COMPLETED, change),
        ])];
        let (run, _) = against(name, replies, &WATCH);
        assert_eq!(
            run.expect(4, &[said]).stdout,
            "",
            "nothing that a script could take for an outcome"
        );
    };
    check(
        "watch-forged",
        |response| *response.body_mut() = CANCELLED.as_bytes().to_vec(),
        "content-digest-invalid",
    );
    check(
        "watch-status",
        |response| *response.status_mut() = http::StatusCode::CREATED,
        "signature-invalid",
    );
    let unsign: Change = |response| {
        response.headers_mut().remove("signature");
    };
    check("watch-unsigned", unsign, "is not signed");
    // A plain refusal may come unsigned, by a gateway that does not know the caller. This one knew it.
    let replies = vec![Reply::Stream(vec![Part::Outcome(404, UNKNOWN, unsign)])];
    let (run, _) = against("watch-unsigned-404", replies, &WATCH);
    run.expect(4, &["is not signed"]);
    let replies = vec![Reply::Stream(vec![Part::Text("event: outcome\ndata: {}\n\n")])];
    let (run, _) = against("watch-no-answer", replies, &WATCH);
    run.expect(4, &["the stream's last event is no answer"]);
}

#[test]
fn how_the_watched_step_ended_is_the_exit() {
    let check = |name: &str, status: u16, body: &'static str, code: i32, said: &str| {
        let replies = vec![Reply::Stream(vec![Part::Outcome(status, body, NONE)])];
        let (run, _) = against(name, replies, &WATCH);
        run.expect(code, &[said, "signature verified"]);
    };
    check("watch-cancelled", 200, CANCELLED, 1, "cancelled  triage");
    let failed = r#"{"status":"failed","error":{"code":"attempt-lost","message":"Gone.","retryable":true}}"#;
    check("watch-failed", 200, failed, 1, "attempt-lost: Gone.");
    let handed_off = r#"{"status":"handed_off","handoff":{"agent":"redact","reason":"Names."}}"#;
    check("watch-handed-off", 200, handed_off, 0, "hands off to redact: Names.");
    let problem = r#"{"title":"Too late","status":504,"code":"deadline-exceeded"}"#;
    check("watch-problem", 504, problem, 3, "refused  504 deadline-exceeded");
    let (run, _) = against("watch-unknown", plain(404, UNKNOWN), &WATCH);
    run.expect(3, &["refused  404 step-unknown"]);
}

#[test]
fn a_stream_that_only_breaks_is_given_up() {
    let mut replies = vec![Reply::Stream(vec![Part::Text(BEGINNING)])];
    replies.extend((0..4).map(|_| Reply::Stream(vec![])));
    let (run, requests) = against("watch-broken", replies, &WATCH);
    let run = run.expect(
        4,
        &[
            "the stream broke 5 times in a row",
            "baton run watch run_01 s1 --last-event-id 1.2",
        ],
    );
    assert_eq!((run.stdout.as_str(), requests.len()), ("", 5));
    // The gateway may be refused, or gone for a moment: that counts as a break of what had worked.
    let replies = vec![
        Reply::Stream(vec![Part::Text(BEGINNING)]),
        Reply::Plain(502, vec![], "bad gateway", |response| {
            response.headers_mut().remove("signature");
        }),
        Reply::Plain(503, vec![], r#"{"title":"Busy","status":503,"code":"busy"}"#, NONE),
        Reply::Stream(vec![Part::Outcome(200, COMPLETED, NONE)]),
    ];
    let (run, _) = against("watch-gone-for-a-moment", replies, &WATCH);
    let said = [
        "502 Bad Gateway is not signed",
        "the gateway answered 503 Service Unavailable",
        "completed",
    ];
    run.expect(0, &said);
}
