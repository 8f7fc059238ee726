//! A step as a tree of spans at a real collector, in both encodings, and as rows of the history.

use contract_tests::collector::{Collector, Span};
use contract_tests::gateway::{Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::outside::{fresh, wait_for};
use contract_tests::receiver::{Reaction, Receiver};
use serde_json::{Value, json};

use super::{ended_executions, gateway, invoke, nobody, operate, step};
use crate::direct::{answered, api_key, call};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

fn check_tree(protocol: &str) {
    let mut collector = Collector::new();
    collector.start();
    let gateway = gateway(&collector.endpoint(), protocol, nobody());
    let run = fresh();
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let outcome = invoke(&gateway, step(&gateway, &run, "s1").header("traceparent", &traceparent));
    let spans = collector.wait_for_run(&run, |spans| spans.len() >= 2);
    let server = named(&spans, "POST /agents/{agent}/steps");
    assert_eq!((server.trace_id.as_str(), server.parent.as_str()), (TRACE, PARENT));
    assert_eq!(server.kind, "SPAN_KIND_SERVER");
    let own = format!("00-{TRACE}-{}-01", server.id);
    assert_eq!(outcome["trace"]["traceparent"], own, "the answer names the span");
    let agent = named(&spans, "invoke_agent script");
    assert_eq!(
        (agent.trace_id.as_str(), agent.parent.as_str()),
        (TRACE, server.id.as_str())
    );
    assert_eq!(agent.kind, "SPAN_KIND_INTERNAL");
    assert_eq!(agent.attributes["gen_ai.operation.name"], "Str(invoke_agent)");
    assert_eq!(agent.attributes["gen_ai.conversation.id"], format!("Str({run})"));

    // A step whose agent fails is told as an error.
    let failing = fresh();
    let body = json!({ "run": failing, "step": "s1", "input": { "actions": [{ "fail": { "code": "boom" } }] } });
    let message = contract_tests::message::Message::step(&gateway, "script", &body);
    let _ = message.signed(gateway.key("first")).send();
    let spans = collector.wait_for_run(&failing, |spans| spans.len() >= 2);
    let agent = named(&spans, "invoke_agent script");
    assert_eq!(agent.status, "STATUS_CODE_ERROR", "{agent:?}");

    // And the history has both.
    let executions = wait_for("the history", || {
        let answer = operate(&gateway, "GET", "/executions", "agent=script").send();
        let page = answer.message(200, "executions");
        (page["executions"].as_array()?.len() == 2).then_some(page)
    });
    let first = executions["executions"]
        .as_array()
        .expect("rows")
        .last()
        .expect("a row")
        .clone();
    assert_eq!(
        (&first["run"], &first["outcome"], &first["route"]),
        (&run.into(), &"completed".into(), &"orchestrated".into())
    );
    assert_eq!(first["trace_id"], TRACE);
    let metrics = operate(&gateway, "GET", "/agents/script/metrics", "window=1h").send();
    let metrics = metrics.message(200, "agent-metrics");
    assert_eq!((&metrics["count"], &metrics["success_rate"]), (&2.into(), &0.5.into()));
    assert_eq!(metrics["attempts"]["count"], 2);
    let csv = operate(&gateway, "GET", "/executions", "outcome=failed")
        .header("accept", "text/csv")
        .send();
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(csv.text().lines().count(), 2, "{}", csv.text());
}

/// The runs that a list with this query has, in its order.
fn runs(gateway: &Gateway, query: &str) -> Vec<String> {
    let page = operate(gateway, "GET", "/executions", query)
        .send()
        .message(200, "executions");
    let rows = page["executions"].as_array().expect("rows");
    rows.iter()
        .map(|row| row["run"].as_str().expect("text").to_owned())
        .collect()
}

#[test]
fn executions_are_chosen_by_route_time_and_orchestrator_and_told_by_the_line() {
    let keys = Keys::new([
        Key::new("first", "acme", "invoke"),
        Key::new("theirs", "other", "invoke"),
        Key::new("register", "acme", "register"),
        Key::new("operator", "acme", "operate"),
    ]);
    let gateway = Gateway::start(Options {
        keys,
        orchestrators: vec![nobody()],
        history: true,
        ..Options::default()
    });
    let (early, late) = (fresh(), fresh());
    invoke(&gateway, step(&gateway, &early, "s1"));
    let theirs = step(&gateway, &late, "s1").signed(gateway.key("theirs"));
    let _ = theirs.send().completed();
    // Nobody coordinates: the gateway does, in the place of `acme`.
    let api_key = api_key(&gateway, "operator", &json!({ "name": "tests" }));
    let answer = answered(
        &call(
            &gateway,
            &api_key,
            "/agents/script/query",
            &json!({ "input": { "actions": [] } }),
        )
        .send(),
    );
    let direct = answer["run"].as_str().expect("a run").to_owned();
    let rows = ended_executions(&gateway, 3);
    let began = |run: &str| {
        let row = rows.iter().find(|row| row["run"] == run);
        row.and_then(|row| row["started_at_ms"].as_u64()).expect("a time")
    };
    let at_ms = began(&late);
    assert!(began(&early) < at_ms && at_ms < began(&direct), "{rows:#?}");
    for (query, expected) in [
        ("route=fallback".to_owned(), vec![&direct]),
        ("route=local".to_owned(), vec![]),
        ("route=orchestrated".to_owned(), vec![&late, &early]),
        ("orchestrator=other".to_owned(), vec![&late]),
        ("orchestrator=acme".to_owned(), vec![&direct, &early]),
        (format!("from_ms={at_ms}"), vec![&direct, &late]),
        (format!("to_ms={at_ms}"), vec![&early]),
        (format!("from_ms={at_ms}&to_ms={}", at_ms + 1), vec![&late]),
        (
            format!("agent=script&orchestrator=acme&route=orchestrated&to_ms={}", at_ms + 1),
            vec![&early],
        ),
    ] {
        assert_eq!(runs(&gateway, &query).iter().collect::<Vec<_>>(), expected, "{query}");
    }

    let lines = operate(&gateway, "GET", "/executions", "limit=2")
        .header("accept", "application/jsonl")
        .send();
    assert_eq!(lines.header("content-type"), Some("application/jsonl"));
    assert!(
        lines
            .header("link")
            .is_some_and(|link| link.contains("limit=2&cursor=")),
        "{lines:?}"
    );
    let text = lines.text();
    let told: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(told, rows[..2], "the same as in one list");

    let metrics = operate(&gateway, "GET", "/agents/script/metrics", "window=1h&buckets=4");
    let metrics = metrics.send().message(200, "agent-metrics");
    let buckets = metrics["buckets"].as_array().expect("buckets");
    let counted: u64 = buckets.iter().filter_map(|bucket| bucket["count"].as_u64()).sum();
    assert_eq!((buckets.len(), counted), (4, 3), "{metrics:#}");
    let last = &buckets[3];
    assert_eq!((&last["count"], &last["outcomes"]["completed"]), (&json!(3), &json!(3)));
    assert_eq!(last["duration_ms"], metrics["duration_ms"], "all are in the last part");
}

#[test]
fn a_step_is_a_tree_of_spans_at_the_collector_by_protobuf() {
    check_tree("http/protobuf");
}

#[test]
fn a_step_is_a_tree_of_spans_at_the_collector_by_json() {
    check_tree("http/json");
}

#[test]
fn receiver_and_orchestrator_each_get_theirs() {
    let receiver = Receiver::start();
    for target in ["/v1/traces", "/telemetry"] {
        receiver.plan(target, [Reaction::Status(200)]);
    }
    let mut orchestrator = nobody();
    orchestrator.telemetry_url = Some(receiver.url("/telemetry"));
    let gateway = gateway(&receiver.origin(), "http/protobuf", orchestrator);
    let run = fresh();
    invoke(&gateway, step(&gateway, &run, "s1"));
    let mut sent = receiver.wait_for("/v1/traces", 1);
    let to_receiver = sent.remove(0);
    assert_eq!(to_receiver.header("content-type"), "application/x-protobuf");
    assert_eq!(to_receiver.header("x-api-key"), "abc def");
    let to_orchestrator = receiver.wait_for("/telemetry", 1).remove(0);
    assert_eq!(to_orchestrator.header("content-type"), "application/json");
    assert!(to_orchestrator.header("signature-input").contains("register"));
    assert!(to_orchestrator.headers.iter().all(|(name, _)| name != "x-api-key"));
    let body: serde_json::Value = serde_json::from_slice(&to_orchestrator.body).expect("JSON");
    let resource = &body["resourceSpans"][0]["resource"]["attributes"];
    assert_eq!(
        resource[0],
        json!({"key": "service.name", "value": {"stringValue": "front desk"}})
    );
}
