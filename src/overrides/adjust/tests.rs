//! What an override may say, and what becomes of an agent by it.

use super::*;
use crate::manifest::DEADLINE_MAX_MS;

const OVERRIDE_SCHEMA: &str = include_str!("../../wire/agent-override.schema.json");
const AGENT_SCHEMA: &str = include_str!("../../../manifests/schema/agent.schema.json");

fn snapshot(overrides: &[(&str, Value)]) -> Snapshot {
    let overrides = overrides.iter().map(|(id, value)| ((*id).to_owned(), value.clone()));
    Snapshot {
        version: 4,
        overrides: overrides.collect(),
        ..Snapshot::none()
    }
}

/// The team with these overrides, all of which are followed.
fn with(overrides: &[(&str, Value)]) -> Team {
    let (team, ignored) = overridden(Team::embedded(), &snapshot(overrides));
    assert_eq!(ignored, []);
    team
}

/// What is wrong with an override: places and messages.
fn wrong(id: &str, value: Value) -> Vec<String> {
    let (team, ignored) = overridden(Team::embedded(), &snapshot(&[(id, value)]));
    assert_eq!(team.agents, Team::embedded().agents, "nothing of it is followed");
    assert_eq!(team.overridden.digest, None);
    let errors = ignored.into_iter().flat_map(|ignored| ignored.errors);
    errors
        .map(|error| format!("{}: {}", error.instance, error.message))
        .collect()
}

#[track_caller]
fn refused(id: &str, value: Value, expected: &str) {
    let found = wrong(id, value);
    assert!(found.iter().any(|error| error.contains(expected)), "{found:?}");
}

fn model(team: &Team) -> &ModelConfig {
    match &team.agent("support").expect("an agent").implementation {
        Implementation::Model { model } => model,
        _ => panic!("support is no model"),
    }
}

#[test]
fn each_field_changes_what_it_names_and_nothing_else() {
    let as_built = Team::embedded();
    let team = with(&[
        (
            "support",
            json!({
                "prompt": "Answer in rhymes, {{ input.text }}.",
                "model": {"model": "another", "temperature": 0.5, "max_output_tokens": 99, "timeout_ms": 5_000, "retries": 1,
                    "fallback_models": [{"provider": "p", "model": "m"}], "tool_rounds_max": 2},
                "deadline_ms": 20_000,
            }),
        ),
        (
            "triage",
            json!({"limits": {"body_max_bytes": 2_048}, "routing": {"keywords": [{"phrase": "invoice"}]}}),
        ),
    ]);
    let mut expected = model(as_built).clone();
    expected.model = "another".into();
    expected.temperature = Some(0.5);
    expected.max_output_tokens = 99;
    expected.timeout_ms = 5_000;
    expected.retries = 1;
    expected.fallback_models = vec![ModelName {
        provider: "p".into(),
        model: "m".into(),
    }];
    expected.tool_rounds_max = 2;
    assert_eq!(*model(&team), expected);
    assert_eq!(team.prompt("support"), Some("Answer in rhymes, {{ input.text }}."));
    assert_eq!(team.agent("support").map(|agent| agent.deadline_ms), Some(20_000));
    let triage = team.agent("triage").expect("an agent");
    let mut expected = as_built.agent("triage").expect("an agent").clone();
    expected.version = triage.version.clone();
    expected.limits.body_max_bytes = Some(2_048);
    expected.routing.keywords = vec![Keyword {
        phrase: "invoice".into(),
        weight: 1.0,
    }];
    assert_eq!(*triage, expected);
    assert_eq!(team.body_max_bytes(triage), 2_048);
    let others = |team: &Team| -> Vec<_> {
        let other = |agent: &&AgentManifest| !["support", "triage"].contains(&agent.id.as_str());
        team.agents.iter().filter(other).cloned().collect()
    };
    assert_eq!(others(&team), others(as_built));
}

#[test]
fn the_version_of_an_agent_tells_its_override() {
    let version = |value: Value| -> String {
        let team = with(&[("triage", value)]);
        team.agent("triage").expect("an agent").version.clone()
    };
    let one = version(json!({"deadline_ms": 500}));
    let (own, digest) = one.split_once("+override.").expect("build metadata");
    assert_eq!(
        Some(own),
        Team::embedded().agent("triage").map(|agent| agent.version.as_str())
    );
    assert_eq!(digest.len(), VERSION_DIGEST_CHARS);
    assert_eq!(one, version(json!({"deadline_ms": 500})));
    assert_ne!(one, version(json!({"deadline_ms": 501})));
    assert!(version_with("1.0.0+build.7", &json!({})).starts_with("1.0.0+build.7.override."));
}

#[test]
fn the_variables_of_a_prompt_are_checked_as_in_a_manifest() {
    let mut team = Team::embedded().clone();
    let support = team
        .agents
        .iter_mut()
        .find(|agent| agent.id == "support")
        .expect("an agent");
    let mut input = support.input.document().clone();
    input["properties"]["order"] = json!({"type": "object", "properties": {"id": {"type": "string"}}});
    support.input = crate::schema::LazySchema::new(input);
    let check = |prompt: &str, expected: &str| {
        let (_, ignored) = overridden(&team, &snapshot(&[("support", json!({"prompt": prompt}))]));
        let errors: Vec<_> = ignored.into_iter().flat_map(|ignored| ignored.errors).collect();
        match errors.as_slice() {
            [] => assert_eq!(expected, "", "{prompt}"),
            [error] => {
                assert_eq!(error.instance, "/prompt");
                assert!(
                    !expected.is_empty() && error.message.contains(expected),
                    "{}",
                    error.message
                );
            }
            more => panic!("{more:?}"),
        }
    };
    check(
        "{{ input.text }}{% if input.order is defined %}{{ input.order | tojson }}{% endif %}",
        "",
    );
    check(
        "{{ input.order.number | default('') }}",
        "uses `input.order.number`, which the schema",
    );
    check(
        "\n{{ input.order.id | default('') }}",
        "line 2: uses `input.order`, which may be missing",
    );
    check(
        "{% if input.order is defined %}{{ input.order }}{% endif %}",
        "writes `input.order`, which may be an object",
    );
}

#[test]
fn an_agent_that_is_switched_off_is_not_there() {
    let team = with(&[("triage", json!({"enabled": false}))]);
    assert!(team.agent("triage").is_none());
    assert_eq!(team.overridden.disabled.iter().collect::<Vec<_>>(), ["triage"]);
    let team = with(&[("triage", json!({"enabled": true}))]);
    assert!(team.agent("triage").is_some());
    assert!(team.overridden.disabled.is_empty());
}

#[test]
fn the_digest_names_what_is_in_force() {
    let digest = |overrides: &[(&str, Value)]| with(overrides).overridden.digest;
    let one = digest(&[("triage", json!({"deadline_ms": 500}))]);
    assert!(one.is_some());
    assert_eq!(one, digest(&[("triage", json!({"deadline_ms": 500}))]));
    assert_ne!(one, digest(&[("triage", json!({"deadline_ms": 501}))]));
    assert_ne!(one, digest(&[("redact", json!({"deadline_ms": 500}))]));
    assert_eq!(digest(&[]), None);
}

#[test]
fn what_the_schema_refuses() {
    refused("triage", json!({}), ": ");
    refused("triage", json!({"kind": "rust"}), "");
    refused("triage", json!({"enabled": "no"}), "/enabled: ");
    refused("triage", json!({"deadline_ms": 99}), "/deadline_ms: ");
    refused("triage", json!({"deadline_ms": DEADLINE_MAX_MS + 1}), "/deadline_ms: ");
    refused(
        "triage",
        json!({"limits": {"body_max_bytes": 1_023}}),
        "/limits/body_max_bytes: ",
    );
    refused(
        "support",
        json!({"model": {"temperature": 2.1}}),
        "/model/temperature: ",
    );
    refused("support", json!({"model": {"tools": ["redact"]}}), "/model");
    refused("support", json!({"prompt": ""}), "/prompt: ");
    refused(
        "triage",
        json!({"routing": {"keywords": [{"phrase": "a", "weight": 0}]}}),
        "/routing/keywords/0/weight: ",
    );
}

#[test]
fn what_the_check_of_manifests_refuses() {
    refused("nobody", json!({"enabled": false}), "There is no agent");
    refused(
        "triage",
        json!({"prompt": "Be kind."}),
        "/prompt: The agent is of kind `rust`",
    );
    refused(
        "triage",
        json!({"model": {"model": "m"}}),
        "/model: The agent is of kind `rust`",
    );
    refused(
        "support",
        json!({"prompt": "{{ input.no_such }}"}),
        "/prompt: uses `input.no_such`",
    );
    refused(
        "support",
        json!({"prompt": "{{ secrets.key }}"}),
        "/prompt: uses `secrets`",
    );
    refused("support", json!({"prompt": "{% if %}"}), "/prompt: ");
    refused(
        "triage",
        json!({"routing": {"keywords": [{"phrase": "?!"}]}}),
        "/routing/keywords/0/phrase: ",
    );
    let longest = "ä".repeat(PROMPT_MAX_BYTES / 2);
    assert_eq!(wrong("support", json!({ "prompt": longest.clone() + "a" })).len(), 1);
    assert_eq!(
        with(&[("support", json!({ "prompt": longest }))])
            .prompt("support")
            .map(str::len),
        Some(PROMPT_MAX_BYTES)
    );
}

#[cfg(feature = "fixtures")]
#[test]
fn a_deadline_keeps_what_depends_on_it() {
    let hedged = Team::embedded().agent("hedged").expect("the fixture");
    let after_ms = hedged.direct.hedge_after_ms.expect("it begins beside the orchestrator");
    let budget = |deadline_ms| crate::manifest::budget_ms(hedged.direct.budget_ms, deadline_ms);
    let shortest = (100..)
        .find(|deadline_ms| budget(*deadline_ms) > after_ms)
        .expect("one");
    assert_eq!(
        with(&[("hedged", json!({ "deadline_ms": shortest }))])
            .agent("hedged")
            .map(|agent| agent.deadline_ms),
        Some(shortest)
    );
    refused(
        "hedged",
        json!({ "deadline_ms": shortest - 1 }),
        "/direct/hedge_after_ms: ",
    );
}

#[test]
fn a_deadline_is_within_the_gateways() {
    let mut team = Team::embedded().clone();
    team.gateway.limits.deadline_max_ms = 1_000;
    let (_, ignored) = overridden(&team, &snapshot(&[("triage", json!({"deadline_ms": 1_001}))]));
    assert_eq!(ignored[0].errors[0].instance, "/deadline_ms");
    let (_, ignored) = overridden(&team, &snapshot(&[("triage", json!({"deadline_ms": 1_000}))]));
    assert_eq!(ignored, []);
}

#[test]
fn a_provider_must_be_configured_when_an_override_names_it() {
    let connections = Connections::read(
        |name| (name == "BATON_MODELS").then(|| r#"{"openai": {}}"#.to_owned()),
        &crate::signature::Keyring::default(),
        false,
    );
    let connections = connections.expect("a configuration");
    let found = |value: Value| match check(Team::embedded(), &connections, "support", &value) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.into_iter().map(|error| error.instance).collect(),
    };
    let none: [&str; 0] = [];
    assert_eq!(found(json!({"model": {"provider": "openai"}})), none);
    assert_eq!(found(json!({"model": {"provider": "nobody"}})), ["/model/provider"]);
    let fallbacks = json!([{"provider": "openai", "model": "m"}, {"provider": "nobody", "model": "m"}]);
    let with_fallbacks = json!({"model": {"provider": "openai", "fallback_models": fallbacks}});
    assert_eq!(found(with_fallbacks), ["/model/fallback_models/1/provider"]);
    let nothing = Connections::default();
    assert_eq!(
        check(
            Team::embedded(),
            &nothing,
            "support",
            &json!({"model": {"temperature": 1}})
        ),
        Ok(())
    );
}

/// An override must not allow what a manifest cannot say, nor refuse what it can.
#[test]
fn the_bounds_are_those_of_the_manifest() {
    let read = |text: &str| -> Value { serde_json::from_str(text).expect("JSON") };
    let (own, manifest) = (read(OVERRIDE_SCHEMA), read(AGENT_SCHEMA));
    let mut compared = 0;
    for place in ["/model", "/limits", "/routing", ""] {
        let place = format!(
            "/properties{place}{}",
            if place.is_empty() { "" } else { "/properties" }
        );
        for (name, schema) in own.pointer(&place).and_then(Value::as_object).expect("properties") {
            // These are no fields of a manifest, or mean something else there; or their members are compared.
            if place == "/properties" && name != "deadline_ms" {
                continue;
            }
            let theirs = manifest.pointer(&format!("{place}/{name}")).expect(name);
            assert_eq!(bounds(schema, &own), bounds(theirs, &manifest), "{place}/{name}");
            compared += 1;
        }
    }
    assert_eq!(compared, 12);
}

/// A schema without its references, and without what does not bound anything.
fn bounds(schema: &Value, root: &Value) -> Value {
    let referred = schema["$ref"]
        .as_str()
        .and_then(|reference| root.pointer(reference.trim_start_matches('#')));
    match referred.unwrap_or(schema) {
        Value::Object(members) => {
            let bounding = members
                .iter()
                .filter(|(name, _)| !["description", "default"].contains(&name.as_str()));
            bounding
                .map(|(name, value)| (name.clone(), bounds(value, root)))
                .collect()
        }
        Value::Array(items) => items.iter().map(|item| bounds(item, root)).collect(),
        other => other.clone(),
    }
}
