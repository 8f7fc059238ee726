//! Live configuration in an operator's hands, and what callers see of it.

use http::header::{ETAG, IF_MATCH};

use super::platform::Fault;
use super::*;
use crate::connections::Connections;
use crate::overrides::{Snapshot, overridden};

const PATH: &str = "/operator/overrides";

/// A bench whose calls are an operator's.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.signer.set("operator");
    bench
}

fn put(agent: &str, based_on: u64, value: &Value) -> Call {
    Call {
        body: value.to_string(),
        ..Call::new("PUT", &format!("{PATH}/{agent}"))
    }
    .with(IF_MATCH, &format!("\"{based_on}\""))
}

fn delete(agent: &str, based_on: u64) -> Call {
    Call::new("DELETE", &format!("{PATH}/{agent}")).with(IF_MATCH, &format!("\"{based_on}\""))
}

fn roll_back(to: u64, based_on: u64) -> Call {
    Call {
        body: json!({ "version": to }).to_string(),
        ..Call::new("POST", &format!("{PATH}/rollback"))
    }
    .with(IF_MATCH, &format!("\"{based_on}\""))
}

fn fits(schema: &str, value: &Value) {
    let compiled = crate::wire::compiled(schema).expect("the schema");
    assert_eq!(compiled.get().expect("compiles").violations(value, 9), [], "{value}");
}

impl Bench {
    /// What an operator is told after this call, which goes well.
    #[track_caller]
    fn told(&self, call: &Call) -> Value {
        let (response, _) = self.send(call);
        let body: Value = serde_json::from_slice(response.body()).expect("JSON");
        assert_eq!(response.status(), 200, "{body}");
        fits("overrides", &body);
        assert_eq!(response.headers()[ETAG], format!("\"{}\"", body["version"]));
        body
    }

    /// Has the gateway see what its operators made.
    fn follow(&mut self) {
        let current = block_on(self.platform.overrides(None)).expect("an answer");
        let (team, _) = overridden(Team::embedded(), &current.unwrap_or_else(Snapshot::none));
        self.team = team;
    }

    fn discovery(&self) -> Value {
        serde_json::from_str(&self.gateway().discovery().body).expect("JSON")
    }
}

#[test]
fn a_change_makes_a_version_and_a_rollback_makes_another() {
    let bench = bench();
    let empty = bench.told(&Call::new("GET", PATH));
    assert_eq!(empty, json!({"version": 0, "overrides": {}, "ignored": []}));
    let slow = json!({"deadline_ms": 1_000});
    let set = bench.told(&put("triage", 0, &slow));
    assert_eq!(
        set,
        json!({
            "version": 1, "at_ms": NOW_S * 1_000, "by": "operator", "change": {"kind": "set", "agent": "triage"},
            "overrides": {"triage": slow}, "ignored": [],
        })
    );
    assert_eq!(bench.told(&Call::new("GET", PATH)), set);
    let off = json!({"enabled": false});
    assert_eq!(
        bench.told(&put("redact", 1, &off))["overrides"],
        json!({"redact": off, "triage": slow})
    );
    assert_eq!(bench.told(&delete("triage", 2))["overrides"], json!({"redact": off}));
    let back = bench.told(&roll_back(1, 3));
    assert_eq!(
        (&back["version"], &back["overrides"]),
        (&json!(4), &json!({"triage": slow}))
    );
    assert_eq!(back["change"], json!({"kind": "roll-back", "to": 1}));
    assert_eq!(bench.told(&roll_back(0, 4))["overrides"], json!({}));
    let (_, list, _) = bench.call(&Call::new("GET", &format!("{PATH}/versions")));
    fits("override-versions", &list);
    let kept = list["versions"].as_array().expect("a list");
    let numbers: Vec<_> = kept.iter().map(|version| version["version"].clone()).collect();
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
    assert_eq!(kept[3]["agents"], json!(["redact", "triage"]));
    assert_eq!(bench.told(&Call::new("GET", &format!("{PATH}/versions/1"))), set);
}

#[test]
fn what_changes_nothing_makes_no_version() {
    let bench = bench();
    assert_eq!(bench.told(&delete("triage", 0))["version"], 0);
    let slow = json!({"deadline_ms": 1_000});
    assert_eq!(bench.told(&put("triage", 0, &slow))["version"], 1);
    assert_eq!(bench.told(&put("triage", 1, &slow))["version"], 1);
    assert_eq!(bench.told(&roll_back(1, 1))["version"], 1);
}

#[test]
fn a_rollback_to_a_provider_that_is_gone_is_refused() {
    let mut bench = bench();
    let models = r#"{"mistral":{"api":"openai-chat","base_url":"https://models.example.com/v1"}}"#;
    let variable = |name: &str| (name == "BATON_MODELS").then(|| models.to_owned());
    let connections = Connections::read(variable, &bench.config.keyring, false);
    bench.config.connections = connections.expect("a provider");
    bench.told(&put("support", 0, &json!({"model": {"provider": "mistral"}})));
    bench.told(&delete("support", 1));
    bench.config.connections = Connections::default();
    bench.check(&roll_back(1, 2), 422, "schema-violated");
}

#[test]
fn of_two_operators_at_once_one_is_told_so() {
    let bench = bench();
    bench.told(&put("triage", 0, &json!({"deadline_ms": 1_000})));
    let (response, record) = bench.send(&put("triage", 0, &json!({"deadline_ms": 2_000})));
    let problem: Value = serde_json::from_slice(response.body()).expect("JSON");
    fits("problem", &problem);
    assert_eq!(response.status(), 412);
    assert_eq!(record.problem, Some("overrides-conflict"));
    assert_eq!(
        (&problem["current_version"], &response.headers()[ETAG]),
        (&json!(1), &"\"1\"".parse().expect("a tag"))
    );
    bench.check(&delete("triage", 0), 412, "overrides-conflict");
    bench.check(&roll_back(0, 2), 412, "overrides-conflict");
}

#[test]
fn a_change_whose_answer_was_lost_is_made_once() {
    for fault in [Fault::BeforeDoing, Fault::AfterDoing] {
        let bench = bench();
        for call in [
            put("triage", 0, &json!({"deadline_ms": 1_000})),
            delete("triage", 1),
            roll_back(1, 2),
        ] {
            // The first question is for the current version: it is the second one that fails.
            bench.platform.faults.replace(if matches!(call.method, "POST") {
                vec![fault, Fault::None, Fault::None]
            } else {
                vec![fault, Fault::None]
            });
            bench.check(&call, 503, "storage-unavailable");
            let repeated = bench.told(&call);
            assert_eq!(bench.told(&call), repeated, "{}", call.method);
        }
        assert_eq!(bench.told(&Call::new("GET", PATH))["version"], 3);
    }
}

#[test]
fn a_captured_change_is_worth_nothing() {
    let bench = bench();
    let (captured, _) = bench.sign(&put("triage", 0, &json!({"enabled": false})));
    assert_eq!(bench.handle(&captured).0.status(), 200);
    let after = bench.told(&delete("triage", 1));
    assert_eq!(bench.handle(&captured).1.problem, Some("overrides-conflict"));
    assert_eq!(bench.told(&Call::new("GET", PATH)), after);
    let (mut stretched, _) = bench.sign(&put("triage", 2, &json!({"enabled": false})));
    stretched
        .headers_mut()
        .insert(IF_MATCH, "\"3\"".parse().expect("a field"));
    assert_eq!(bench.handle(&stretched).0.status(), 401, "the version is signed");
}

#[test]
fn what_is_refused() {
    let bench = bench();
    let off = json!({"enabled": false});
    bench.check(&put("nobody", 0, &off), 404, "agent-unknown");
    bench.check(&put("triage", 0, &json!({"enabled": 0})), 422, "schema-violated");
    bench.check(
        &put("triage", 0, &json!({"prompt": "Be kind."})),
        422,
        "schema-violated",
    );
    let unknown = json!({"model": {"provider": "nobody"}});
    bench.check(&put("support", 0, &unknown), 422, "schema-violated");
    let without = |call: Call| Call {
        fields: Vec::new(),
        ..call
    };
    bench.check(&without(put("triage", 0, &off)), 428, "overrides-version-required");
    bench.check(&without(delete("triage", 0)), 428, "overrides-version-required");
    bench.check(&without(roll_back(0, 0)), 428, "overrides-version-required");
    bench.check(&roll_back(7, 0), 404, "overrides-version-unknown");
    bench.check(
        &Call::new("GET", &format!("{PATH}/versions/7")),
        404,
        "overrides-version-unknown",
    );
    bench.check(
        &Call::new("GET", &format!("{PATH}/versions/x")),
        404,
        "overrides-version-unknown",
    );
    assert_eq!(
        bench.told(&Call::new("GET", PATH))["version"],
        0,
        "nothing of it was kept"
    );
    bench.signer.set("k");
    let (request, _) = bench.sign(&put("triage", 0, &off));
    let (response, record) = bench.handle(&request);
    assert_eq!(
        (response.status().as_u16(), record.problem),
        (403, Some("key-not-allowed"))
    );
}

#[test]
fn an_earlier_version_that_does_not_hold_any_more_is_no_way_back() {
    let mut bench = bench();
    bench.told(&put("triage", 0, &json!({"deadline_ms": 20_000})));
    bench.told(&delete("triage", 1));
    bench.team.gateway.limits.deadline_max_ms = 10_000;
    let (status, problem, _) = bench.call(&roll_back(1, 2));
    assert_eq!(
        (status, &problem["errors"][0]["instance"]),
        (422, &json!("/overrides/triage/deadline_ms"))
    );
}

#[test]
fn an_override_that_the_deployment_does_not_follow_is_told() {
    let mut bench = bench();
    bench.told(&put("triage", 0, &json!({"deadline_ms": 20_000})));
    bench.team.gateway.limits.deadline_max_ms = 10_000;
    let ignored = &bench.told(&Call::new("GET", PATH))["ignored"];
    assert_eq!(
        (&ignored[0]["agent"], &ignored[0]["errors"][0]["instance"]),
        (&json!("triage"), &json!("/deadline_ms"))
    );
}

#[test]
fn without_a_namespace_the_operator_is_told_what_to_do() {
    let mut bench = bench();
    bench.platform.overrides = None;
    for call in [
        Call::new("GET", PATH),
        put("triage", 0, &json!({"enabled": false})),
        delete("triage", 0),
        roll_back(0, 0),
        Call::new("GET", &format!("{PATH}/versions")),
        Call::new("GET", &format!("{PATH}/versions/1")),
    ] {
        bench.check(&call, 501, "overrides-off");
    }
}

#[test]
fn an_agent_that_is_switched_off_answers_nobody_and_is_in_no_document() {
    let mut bench = bench();
    let before = bench.discovery();
    bench.told(&put("triage", 0, &json!({"enabled": false})));
    bench.follow();
    bench.signer.set("k");
    bench.check(&Call::step(step()), 403, "agent-disabled");
    let after = bench.discovery();
    fits("discovery", &after);
    let ids = |manifest: &Value| -> Vec<String> {
        let agents = manifest["agents"].as_array().expect("agents").iter();
        agents
            .map(|agent| agent["id"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert!(ids(&before).contains(&"triage".to_owned()));
    assert!(!ids(&after).contains(&"triage".to_owned()));
    bench.signer.set("operator");
    let metrics = bench.call(&Call::new("GET", "/agents/triage/metrics"));
    assert_eq!(metrics.0, 200, "its past is still there");
    bench.told(&delete("triage", 1));
    bench.follow();
    assert_eq!(bench.discovery(), before, "the same agents have the same manifest");
    bench.signer.set("k");
    assert_eq!(bench.call(&Call::step(step())).0, 200);
}

#[test]
fn whatever_changes_the_manifest_is_another_one() {
    let mut bench = bench();
    let before = bench.discovery();
    // Nothing of this is in the manifest by itself.
    bench.told(&put("support", 0, &json!({"prompt": "Answer in rhymes."})));
    bench.follow();
    let after = bench.discovery();
    assert_ne!(after, before);
    assert!(after["gateway"]["overrides"].is_string());
    assert!(!after.to_string().contains("rhymes"));
}

#[test]
fn a_body_is_bounded_as_the_override_says() {
    let mut bench = bench();
    bench.told(&put("triage", 0, &json!({"limits": {"body_max_bytes": 1_024}})));
    bench.follow();
    bench.signer.set("k");
    let (request, _) = bench.sign(&Call::step(step()));
    let admitted = bench.gateway();
    let admitted = admitted.admit(request.method(), request.uri().path(), request.headers());
    assert_eq!(admitted.map(|admitted| admitted.body_max_bytes), Ok(1_024));
}
