//! Links: seen and commanded by an operator, and the breaker before a call that is handed on.

use super::*;

const ORCHESTRATORS: [&str; 2] = ["acme", "other"];

/// A bench with two orchestrators, whose calls are an operator's.
fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.config.orchestrators = ORCHESTRATORS.map(configured).into();
    bench.signer.set("operator");
    bench
}

fn configured(id: &str) -> crate::config::Orchestrator {
    crate::config::Orchestrator {
        id: id.into(),
        url: format!("https://{id}.example"),
        callback_origins: Vec::new(),
        fallback_when_refused: false,
        telemetry_url: None,
        max_concurrent_steps: None,
    }
}

fn fits(schema: &str, value: &Value) {
    let compiled = crate::wire::compiled(schema).expect("the schema");
    assert_eq!(compiled.get().expect("compiles").violations(value, 9), [], "{value}");
}

/// The link to `acme` after this call of the operator.
fn link_after(bench: &Bench, call: &Call) -> Value {
    let (status, link, _) = bench.call(call);
    assert_eq!(status, 200, "{link}");
    fits("link", &link);
    assert_eq!(link["url"], "https://acme.example");
    link
}

fn order(command: &str) -> Call {
    Call::new("POST", &format!("/operator/links/acme/{command}"))
}

fn breaker(state: &str) -> Call {
    Call {
        body: json!({ "state": state }).to_string(),
        ..order("breaker")
    }
}

#[test]
fn an_operator_sees_all_links() {
    let bench = bench();
    let (status, list, _) = bench.call(&Call::new("GET", "/operator/links"));
    assert_eq!(status, 200, "{list}");
    fits("links", &list);
    let links = list["links"].as_array().expect("links");
    let ids: Vec<_> = links.iter().map(|link| link["orchestrator"].clone()).collect();
    assert_eq!(ids, ORCHESTRATORS);
    let one = link_after(&bench, &Call::new("GET", "/operator/links/acme"));
    assert_eq!(one, links[0]);
    assert_eq!(
        one,
        json!({
            "orchestrator": "acme", "url": "https://acme.example", "state": "unregistered", "next_in_ms": 0,
            "failures": 0, "breaker": {"state": "closed", "forced": false},
        })
    );
}

#[test]
fn an_operator_commands_one_link() {
    let bench = bench();
    for (command, state) in [
        ("deregister", "deregistered"),
        ("drain", "deregistered"),
        ("register", "unregistered"),
        // Without a lease there is nothing to drain.
        ("drain", "deregistered"),
    ] {
        assert_eq!(link_after(&bench, &order(command))["state"], state, "{command}");
    }
    assert_eq!(bench.platform.links.borrow().len(), 1, "the other one was not touched");
}

#[test]
fn an_operator_holds_the_breaker() {
    let bench = bench();
    for (state, expected) in [
        ("open", json!({"state": "open", "forced": true})),
        ("closed", json!({"state": "closed", "forced": true})),
        ("auto", json!({"state": "closed", "forced": false})),
    ] {
        assert_eq!(link_after(&bench, &breaker(state))["breaker"], expected);
    }
    bench.check(&breaker("shut"), 422, "schema-violated");
}

#[test]
fn a_captured_order_is_worth_nothing() {
    let bench = bench();
    let (captured, _) = bench.sign(&order("deregister"));
    assert_eq!(bench.handle(&captured).0.status(), 200);
    assert_eq!(link_after(&bench, &order("register"))["state"], "unregistered");
    let (response, record) = bench.handle(&captured);
    assert_eq!(
        (response.status().as_u16(), record.problem),
        (401, Some("signature-replayed"))
    );
    let link = link_after(&bench, &Call::new("GET", "/operator/links/acme"));
    assert_eq!(link["state"], "unregistered");
}

#[test]
fn others_than_operators_are_refused_and_unknown_orchestrators_named() {
    let bench = bench();
    let calls = |id: &str| {
        let path = format!("/operator/links/{id}");
        let post = |command: &str| Call::new("POST", &format!("{path}/{command}"));
        let breaker = Call {
            body: json!({"state": "open"}).to_string(),
            ..post("breaker")
        };
        [
            Call::new("GET", &path),
            post("register"),
            post("drain"),
            post("deregister"),
            breaker,
        ]
    };
    for call in calls("nobody") {
        bench.check(&call, 404, "orchestrator-unknown");
    }
    bench.signer.set("k");
    for call in calls("acme").iter().chain([&Call::new("GET", "/operator/links")]) {
        let (response, record) = bench.handle(&bench.sign(call).0);
        assert_eq!(
            (response.status().as_u16(), record.problem),
            (403, Some("key-not-allowed")),
            "{}",
            call.path
        );
    }
    assert!(bench.platform.links.borrow().is_empty());
}

#[test]
fn a_link_object_that_does_not_answer_is_said() {
    let bench = bench();
    for call in [order("drain"), Call::new("GET", "/operator/links")] {
        bench.platform.faults.borrow_mut().push(Fault::BeforeDoing);
        bench.check(&call, 503, "storage-unavailable");
    }
}
