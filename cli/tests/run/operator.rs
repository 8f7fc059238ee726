//! What takes an operator's key: any run, dead letters, API keys, the history and the outbox.

use super::*;

#[test]
fn dead_letters_take_an_operators_key() {
    const LIST: &str = r#"{"dead_letters":[{"delivery":"msg_1","orchestrator":"acme","run":"run_01","step":"s1","url":"https://o.example.com/done","tries":42,"last_error":"503","dead_at_ms":1764000010000}],"next":"abc"}"#;
    let keys = format!(
        "[{},{}]",
        record("caller", "invoke", "[\"*\"]"),
        record("operator", "operate", "[\"*\"]")
    );
    let ask = |name: &str, replies, arguments: &[&str]| {
        let gateway = Gateway::new(&keys, replies);
        let key = file(&folder(name), "keys.json", &keys);
        let run = baton(
            &[
                &["dead-letters"],
                arguments,
                &["--key", &key, "--gateway", &gateway.origin],
            ]
            .concat(),
        );
        let request = gateway.request();
        let asked = format!(
            "{} {}",
            request.method(),
            request.uri().path_and_query().expect("a target")
        );
        (run, asked)
    };
    let (run, asked) = ask(
        "dead-list",
        plain(200, LIST),
        &["list", "--limit", "5", "--cursor", "a/b"],
    );
    let said = [
        "msg_1",
        "42 tries, the last: 503",
        "--cursor abc",
        "signature verified with key operator",
    ];
    run.expect(0, &said);
    assert_eq!(asked, "GET /operator/dead-letters?limit=5&cursor=a%2Fb");

    let (run, asked) = ask("dead-list-plain", plain(200, LIST), &["list", "--json"]);
    assert_eq!(run.expect(0, &[]).stdout, format!("{LIST}\n"));
    assert_eq!(asked, "GET /operator/dead-letters");

    let resent = r#"{"delivery":"msg_1","status":"pending"}"#;
    let (run, asked) = ask("dead-resend", plain(200, resent), &["resend", "msg_1"]);
    run.expect(0, &["pending  msg_1"]);
    assert_eq!(asked, "POST /operator/dead-letters/msg_1/resend");

    let unknown = r#"{"title":"No such delivery","status":404,"code":"delivery-unknown"}"#;
    let (run, _) = ask("dead-unknown", plain(404, unknown), &["resend", "msg_2"]);
    run.expect(3, &["delivery-unknown"]);

    let key = file(&folder("dead-key"), "key.json", key());
    baton(&["dead-letters", "list", "--gateway", "http://127.0.0.1:1", "--key", &key]).expect(
        2,
        &[
            "baton keys new --purpose operate",
            "k1: its purposes do not include `operate`",
        ],
    );
    baton(&["dead-letters", "list", "--limit", "101"]).expect(2, &["--limit"]);
}

#[test]
fn an_operator_looks_at_any_run() {
    let keys = format!("[{}]", record("operator", "operate", "[\"*\"]"));
    for (name, orchestrator, asked) in [
        ("run-of-acme", "acme", "/operator/runs/acme/run_01"),
        ("run-of-nobody", ":gateway", "/operator/runs/%3Agateway/run_01"),
    ] {
        let gateway = Gateway::new(&keys, plain(200, RUN));
        let key = file(&folder(name), "keys.json", &keys);
        let arguments = ["run", "show", "run_01", "--operator", orchestrator];
        let run = baton(&[&arguments, &["--key", &key, "--gateway", &gateway.origin][..]].concat());
        run.expect(0, &["run run_01", "signature verified with key operator"]);
        assert_eq!(gateway.request().uri().path(), asked);
    }
}

#[test]
fn api_keys_take_an_operators_key() {
    const KEY: &str = r#"{"id":"0123456789abcdef","name":"Acme","agents":["triage"],"created_at_ms":1764000010000,"rate":{"burst":10,"per_minute":20},"api_key":"baton_0123456789abcdef_secret"}"#;
    const LIST: &str = r#"{"api_keys":[{"id":"0123456789abcdef","name":"Acme","agents":["*"],"created_at_ms":1764000010000,"revoked_at_ms":1764000011000,"rate":{"burst":10,"per_minute":20}}]}"#;
    let keys = format!("[{}]", record("operator", "operate", "[\"*\"]"));
    let ask = |name: &str, replies, arguments: &[&str]| {
        let gateway = Gateway::new(&keys, replies);
        let key = file(&folder(name), "keys.json", &keys);
        let options = ["--key", &key, "--gateway", &gateway.origin];
        let run = baton(&[&["api-keys"], arguments, &options].concat());
        let request = gateway.request();
        let asked = format!(
            "{} {} {}",
            request.method(),
            request.uri().path_and_query().expect("a target"),
            String::from_utf8_lossy(request.body())
        );
        (run, asked)
    };
    let create = [
        "create",
        "Acme",
        "--agent",
        "triage",
        "--burst",
        "10",
        "--per-minute",
        "20",
    ];
    let (run, asked) = ask("key-create", plain(201, KEY), &create);
    run.expect(
        0,
        &[
            "baton_0123456789abcdef_secret\n",
            "shown once",
            "signature verified with key operator",
        ],
    );
    assert_eq!(
        asked,
        r#"POST /operator/api-keys {"name":"Acme","agents":["triage"],"rate":{"burst":10,"per_minute":20}}"#
    );

    let (run, asked) = ask("key-list", plain(200, LIST), &["list", "--limit", "5"]);
    run.expect(
        0,
        &["0123456789abcdef  Acme", "revoked 2025-11-24T16:00:11Z", "all agents"],
    );
    assert_eq!(asked, "GET /operator/api-keys?limit=5 ");

    let (run, asked) = ask("key-revoke", plain(204, ""), &["revoke", "0123456789abcdef"]);
    run.expect(0, &["the API key 0123456789abcdef is revoked"]);
    assert_eq!(asked, "DELETE /operator/api-keys/0123456789abcdef ");

    let unknown = r#"{"title":"Unknown API key","status":404,"code":"api-key-unknown"}"#;
    let (run, _) = ask("key-unknown", plain(404, unknown), &["revoke", "0123456789abcdef"]);
    run.expect(3, &["api-key-unknown"]);
    // Of a whole key its id is taken; nothing that may be most of one is repeated.
    let whole = format!("baton_0123456789abcdef_{}", "A".repeat(43));
    let (run, asked) = ask("key-whole", plain(204, ""), &["revoke", &whole]);
    let run = run.expect(0, &["the API key 0123456789abcdef is revoked"]);
    assert!(!format!("{}{}", run.stdout, run.stderr).contains("AAA"));
    assert_eq!(asked, "DELETE /operator/api-keys/0123456789abcdef ");
    let run = baton(&["api-keys", "revoke", "baton_0123456789abcdef_secret"]);
    let run = run.expect(2, &["16 hexadecimal digits"]);
    assert!(!format!("{}{}", run.stdout, run.stderr).contains("secret"));
}

#[test]
fn the_history_and_the_outbox_take_an_operators_key() {
    const EXECUTIONS: &str = r#"{"executions":[{"id":"exe_1","orchestrator":"acme","run":"run_01","step":"s1","attempt":1,"execution":1,"agent":"triage","agent_version":"1.0.0","route":"fallback","outcome":"failed","error_code":"boom","started_at_ms":1764000010000,"duration_ms":7,"claimed_until_ms":1764000020000,"input_tokens":null,"output_tokens":null,"trace_id":"","span_id":""}]}"#;
    const OUTBOX: &str = r#"{"waiting":[],"dead_letters":[]}"#;
    const DEAD: &str = r#"{"letter":"evt_1.otlp","status":"dead","reason":"status 400"}"#;
    let keys = format!("[{}]", record("operator", "operate", "[\"*\"]"));
    let check = |name: &str, body: &'static str, arguments: &[&str], exit: i32, said: &str, asked: &str| {
        let gateway = Gateway::new(&keys, plain(200, body));
        let key = file(&folder(name), "keys.json", &keys);
        let run = baton(&[arguments, &["--key", &key, "--gateway", &gateway.origin]].concat());
        run.expect(exit, &[said]);
        let request = gateway.request();
        let target = request.uri().path_and_query().expect("a target");
        assert_eq!(format!("{} {target}", request.method()), asked);
    };
    check(
        "executions",
        EXECUTIONS,
        &["executions", "--outcome", "failed", "--run", "a/b", "--limit", "5"],
        0,
        "triage  failed  boom  7 ms  run run_01",
        "GET /executions?run=a%2Fb&outcome=failed&limit=5",
    );
    check(
        "executions-csv",
        "id,orchestrator",
        &["executions", "--format", "csv"],
        0,
        "id,orchestrator",
        "GET /executions",
    );
    check(
        "executions-jsonl",
        "{}\n",
        &["executions", "--format", "jsonl", "--limit", "7"],
        0,
        "{}",
        "GET /executions?limit=7",
    );
    check(
        "metrics",
        r#"{"agent":"triage","count":0}"#,
        &["metrics", "triage", "--window", "7d"],
        0,
        "executions  0 ended",
        "GET /agents/triage/metrics?window=7d",
    );
    check(
        "outbox",
        OUTBOX,
        &["outbox", "list"],
        0,
        "no event was given up",
        "GET /operator/outbox",
    );
    check(
        "outbox-resend",
        DEAD,
        &["outbox", "resend", "evt_1.otlp"],
        1,
        "evt_1.otlp: status 400",
        "POST /operator/outbox/evt_1.otlp/resend",
    );
}

/// A page of executions for another program, and the next one.
fn page(body: &'static str, next: Option<&'static str>) -> Reply {
    let link = next.map(|link| ("link", link));
    Reply::Plain(200, link.into_iter().collect(), body, NONE)
}

/// Runs `baton executions` against these replies. Answers which forms were asked for there, and where.
fn export(name: &str, replies: Vec<Reply>, arguments: &[&str]) -> (Run, Vec<String>) {
    let keys = format!("[{}]", record("operator", "operate", "[\"*\"]"));
    let gateway = Gateway::new(&keys, replies);
    let key = file(&folder(name), "keys.json", &keys);
    let options = ["--key", &key, "--gateway", &gateway.origin];
    let run = baton(&[&["executions"], arguments, &options].concat());
    let asked = gateway.requests().into_iter().map(|request| {
        let accepted = request.headers().get_all("accept").iter();
        let accepted: Vec<_> = accepted.map(|value| value.to_str().expect("text")).collect();
        let target = request.uri().path_and_query().expect("a target");
        format!("{} {target}", accepted.join(" "))
    });
    (run, asked.collect())
}

const SECOND: Option<&str> = Some("</executions?agent=triage&limit=500&cursor=9-exe_b>; rel=\"next\"");

#[test]
fn all_executions_are_one_table_with_one_line_of_names() {
    for (format, media_type, pages, expected) in [
        (
            "csv",
            "text/csv",
            ["id,run\r\na,1\r\n", "id,run\r\nb,2\r\n"],
            "id,run\r\na,1\r\nb,2\r\n",
        ),
        (
            "jsonl",
            "application/jsonl",
            ["{\"id\":\"a\"}\n", "{\"id\":\"b\"}\n"],
            "{\"id\":\"a\"}\n{\"id\":\"b\"}\n",
        ),
    ] {
        let replies = vec![page(pages[0], SECOND), page(pages[1], None)];
        let (run, asked) = export(
            &format!("executions-all-{format}"),
            replies,
            &["--agent", "triage", "--format", format, "--all"],
        );
        let run = run.expect(0, &[]);
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), (expected, ""), "{format}");
        assert_eq!(
            asked,
            [
                format!("{media_type} /executions?agent=triage&limit=500"),
                format!("{media_type} /executions?agent=triage&limit=500&cursor=9-exe_b"),
            ]
        );
    }
}

#[test]
fn one_page_of_executions_says_where_the_next_one_begins() {
    let (run, asked) = export(
        "executions-page",
        vec![page("id\r\na\r\n", SECOND)],
        &["--format", "csv", "--limit", "1"],
    );
    let run = run.expect(0, &["there are more: --cursor 9-exe_b"]);
    assert_eq!(run.stdout, "id\r\na\r\n");
    assert_eq!(asked, ["text/csv /executions?limit=1"]);
}

#[test]
fn half_of_all_executions_is_not_printed() {
    let other = page("id,run,more\r\nb,2,3\r\n", None);
    let refused = r#"{"title":"Storage unavailable","status":503,"code":"storage-unavailable","retryable":true}"#;
    let refused = Reply::Plain(503, vec![], refused, NONE);
    for (name, second, code, said) in [
        ("executions-columns", other, 4, "its columns are others"),
        ("executions-refused", refused, 3, "storage-unavailable"),
    ] {
        let replies = vec![page("id,run\r\na,1\r\n", SECOND), second];
        let (run, _) = export(name, replies, &["--format", "csv", "--all"]);
        let run = run.expect(code, &[said]);
        assert!(!run.stdout.contains("id,run"), "{}", run.stdout);
    }
    let alone = baton(&["executions", "--all"]);
    alone.expect(2, &["--format"]);
}

#[test]
fn all_executions_are_so_many_pages_at_most() {
    const PAGES: usize = 200;
    let replies = (0..PAGES).map(|_| page("{}\n", SECOND)).collect();
    let (run, asked) = export("executions-bound", replies, &["--format", "jsonl", "--all"]);
    let run = run.expect(0, &["there are more: --cursor 9-exe_b"]);
    assert_eq!((asked.len(), run.stdout.lines().count()), (PAGES, PAGES));
}
