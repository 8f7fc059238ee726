//! Changes of a link, at a real collector: told at least once, also where the runtime is killed before it could tell.

use std::collections::BTreeSet;

use contract_tests::collector::{Collector, Span};
use contract_tests::orchestrator::Orchestrator;
use contract_tests::outside::wait_for;
use contract_tests::receiver::{Reaction, Receiver};

use super::*;

/// Short, so that it is soon lost, in milliseconds.
const LEASE_MS: u64 = 4_000;

/// What the collector was told of links so far: each event once.
fn changes(collector: &Collector) -> Vec<Span> {
    let mut seen = BTreeSet::new();
    let mut spans = collector.spans();
    spans.retain(|span| span.attributes.contains_key("baton.link.change") && seen.insert(span.id.clone()));
    spans
}

#[track_caller]
fn wait_for_change(collector: &Collector, change: &str) -> Span {
    let text = format!("Str({change})");
    wait_for(change, || {
        let mut found = changes(collector).into_iter();
        found.find(|span| span.attributes["baton.link.change"] == text)
    })
}

fn set_breaker(gateway: &Gateway, state: &str) {
    let message = Message::post(gateway, "/operator/links/acme/breaker", &json!({ "state": state }));
    let _ = message.signed(gateway.key("operator")).send().message(200, "link");
}

#[test]
fn changes_of_a_link_arrive_although_the_collector_was_down_and_the_runtime_was_killed() {
    let keys = Keys::new([
        Key::new("first", "acme", "invoke"),
        Key::new("register", "acme", "register"),
        Key::new("operator", "acme", "operate"),
    ]);
    let mut orchestrator = Orchestrator::new("acme", &keys, LEASE_MS);
    orchestrator.start();
    let mut collector = Collector::new();
    let mut gateway = Gateway::start(Options {
        keys,
        orchestrators: vec![Configured::new("acme", &orchestrator.url())],
        variables: vec![("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())],
        history: true,
        ..Options::default()
    });
    let _ = orchestrator.wait_for_live();
    // Nobody has heard of it yet: the collector is down.
    gateway.kill_hard();
    collector.start();
    gateway.restart();
    let registered = wait_for_change(&collector, "registered");
    assert_eq!(
        (
            registered.name.as_str(),
            registered.parent.as_str(),
            registered.status.as_str()
        ),
        ("link", "", "")
    );
    assert_eq!(registered.attributes["baton.orchestrator"], "Str(acme)");
    assert!(
        registered.attributes.contains_key("baton.link.generation"),
        "{registered:?}"
    );
    assert!(!registered.attributes.contains_key("baton.run"), "{registered:?}");

    set_breaker(&gateway, "open");
    let opened = wait_for_change(&collector, "breaker_opened");
    assert_eq!(opened.attributes["baton.breaker.forced"], "Bool(true)");
    set_breaker(&gateway, "auto");
    let _ = wait_for_change(&collector, "breaker_closed");

    // The log has the same, with the span.
    let line = wait_for("the line of the registration", || {
        let mut lines = gateway.events().into_iter();
        lines.find(|line| line["event"] == "link-change" && line["span_id"] == registered.id.as_str())
    });
    assert_eq!(
        (&line["change"], &line["trace_id"]),
        (&json!("registered"), &json!(registered.trace_id))
    );

    orchestrator.kill_hard();
    let lost = wait_for_change(&collector, "lease_lost");
    assert_eq!(lost.status, "STATUS_CODE_ERROR");
    assert_eq!(outbox(&gateway)["dead_letters"], json!([]));
}

#[test]
fn a_receiver_that_hangs_costs_no_lease() {
    const TRACES: &str = "/v1/traces";
    let keys = Keys::new([
        Key::new("first", "acme", "invoke"),
        Key::new("register", "acme", "register"),
        Key::new("operator", "acme", "operate"),
    ]);
    let mut orchestrator = Orchestrator::new("acme", &keys, LEASE_MS);
    orchestrator.start();
    let receiver = Receiver::start();
    receiver.plan(TRACES, [Reaction::Hang]);
    let gateway = Gateway::start(Options {
        keys,
        orchestrators: vec![Configured::new("acme", &orchestrator.url())],
        // Longer than a lease, which would end while the link waited for it.
        variables: vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.origin()),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", (4 * LEASE_MS).to_string()),
        ],
        history: true,
        ..Options::default()
    });
    let _ = receiver.wait_for(TRACES, 1);
    let lines = |event: &str| {
        let mut lines = gateway.events();
        lines.retain(|line| line["event"] == event);
        lines
    };
    let renewals = || {
        let calls = lines("link").into_iter();
        calls
            .filter(|line| line["call"] == "renew" && line["result"]["granted"].is_object())
            .count()
    };
    let before = renewals();
    // Each is made after half the lease.
    wait_for("renewals for longer than a lease", || {
        (renewals() >= before + 3).then_some(())
    });
    let changes = lines("link-change");
    let names: Vec<_> = changes.iter().map(|line| &line["change"]).collect();
    assert_eq!(names, ["registered"], "and nothing else has changed");
}
