//! What manifests say about channels, notifications and alerts.

use super::*;

/// A notification of a good agent.
fn notification(changes: Value) -> Value {
    let mut rule =
        json!({"name": "critical", "channel": "ops", "outcomes": ["completed"], "message": "{{ output.text }}"});
    for (field, value) in changes.as_object().unwrap() {
        rule[field] = value.clone();
    }
    rule
}

fn notifying(rules: &[Value]) -> (String, String) {
    let output = json!({"type": "object", "properties": {"text": {"type": "string"}}});
    let rules_config = json!({"rules": [{"name": "any", "when": true, "then": {"text": "x"}}]});
    agent(
        "a",
        json!({"notifications": rules, "output": output, "rules": rules_config}),
    )
}

fn channels() -> Value {
    json!({"channels": {"ops": {"kind": "slack", "url": {"$secret": "OPS_URL"}}}})
}

/// The findings in a folder with this of the gateway and these agents.
#[track_caller]
fn check_gateway(gateway: &Value, agents: &[(String, String)], expected: &[&str]) {
    let files: Vec<_> = agents
        .iter()
        .map(|(name, text)| (name.as_str(), text.clone()))
        .collect();
    check_found(&findings_of(gateway, &files), expected);
}

#[test]
fn notifications_refer_to_what_is_there() {
    let at = |place: &str| format!("a.json#/notifications/0{place}");
    for (rule, place, words) in [
        (notification(json!({})), "", ""),
        (notification(json!({"condition": "'CRITICAL' in output.text"})), "", ""),
        (
            notification(json!({"outcomes": ["failed"], "message": "{{ error.code }} {{ run }}/{{ step }}"})),
            "",
            "",
        ),
        (
            notification(json!({"channel": "dev"})),
            "/channel",
            "there is no channel `dev`; gateway.json declares ops",
        ),
        (
            notification(json!({"message": "{{ output.txt }}"})),
            "/message",
            "uses `output.txt`, which the schema",
        ),
        (
            notification(json!({"message": "{{ input.text }}"})),
            "/message",
            "uses `input`, which is not there",
        ),
        (notification(json!({"message": "{{ output."})), "/message", "line 1: "),
        (
            notification(json!({"condition": "output.txt == 1"})),
            "/condition",
            "uses `output.txt`, which the schema",
        ),
        (
            notification(json!({"condition": "a b"})),
            "/condition",
            "is no expression",
        ),
        (
            notification(json!({"outcomes": ["completed", "failed"]})),
            "/message",
            "uses `output`, which is there with the outcome `completed` alone",
        ),
        (
            notification(json!({"message": "{{ error.code }}"})),
            "/message",
            "uses `error`, which is there with the outcome `failed` alone",
        ),
        (
            notification(json!({"outcomes": ["failed"], "message": "{{ error.kode }}"})),
            "/message",
            "uses `error.kode`; there are code, message, retryable",
        ),
        (notification(json!({"outcomes": []})), "/outcomes", ""),
        (notification(json!({"outcomes": ["lost"]})), "/outcomes/0", ""),
        (
            notification(json!({"message": "x".repeat(crate::manifest::MESSAGE_MAX_CHARS + 1)})),
            "/message",
            "",
        ),
    ] {
        let expected = format!("{}: {words}", at(place));
        let expected: &[&str] = if place.is_empty() { &[] } else { &[&expected] };
        check_gateway(&channels(), &[notifying(std::slice::from_ref(&rule))], expected);
    }
    let nine: Vec<_> = (0..=crate::manifest::NOTIFICATIONS_MAX)
        .map(|number| notification(json!({"name": format!("n{number}")})))
        .collect();
    check_gateway(&channels(), &[notifying(&nine[1..])], &[]);
    check_gateway(&channels(), &[notifying(&nine)], &["a.json#/notifications: "]);
    let twice = [notification(json!({})), notification(json!({}))];
    check_gateway(
        &channels(),
        &[notifying(&twice)],
        &["a.json#/notifications/1/name: another notification is named `critical` already"],
    );
    check_gateway(
        &json!({}),
        &[notifying(&twice[..1])],
        &["a.json#/notifications/0/channel: there is no channel `ops`: gateway.json declares none"],
    );
}

#[test]
fn channels_name_secrets_and_never_urls() {
    for (channel, expected) in [
        (
            json!({"kind": "webhook", "url": {"$secret": "U"}, "key": {"$secret": "K"}}),
            None,
        ),
        (
            json!({"kind": "webhook", "url": "https://hooks.example.com"}),
            Some("gateway.json#/channels/ops/url: "),
        ),
        (
            json!({"kind": "slack", "url": {"$secret": "U", "prefix": "x"}}),
            Some("gateway.json#/channels/ops/url/prefix: "),
        ),
        (
            json!({"kind": "slack", "url": {"$secret": "U"}, "key": {"$secret": "K"}}),
            Some("gateway.json#/channels/ops/key: Slack checks no signature"),
        ),
        (
            json!({"kind": "mail", "url": {"$secret": "U"}}),
            Some("gateway.json#/channels/ops/kind: "),
        ),
    ] {
        let expected: Vec<_> = expected.into_iter().collect();
        check_gateway(
            &json!({"channels": {"ops": channel}}),
            &[agent("a", json!({}))],
            &expected,
        );
    }
}

#[test]
fn alerts_watch_what_is_there() {
    let errors = json!({"kind": "error_rate", "above": 0.5, "window_minutes": 15, "channels": ["ops"]});
    let with = |changes: Value| {
        let mut alert = errors.clone();
        for (field, value) in changes.as_object().unwrap() {
            alert[field] = value.clone();
        }
        alert.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        alert
    };
    let bare = |alert: Value| {
        with(json!({"above": null, "window_minutes": null}))
            .as_object()
            .unwrap()
            .clone()
            .into_iter()
            .chain(alert.as_object().unwrap().clone())
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    for (alert, expected) in [
        (errors.clone(), None),
        (
            with(json!({"agent": "a", "samples_min": 1, "for_minutes": 10080, "repeat_after_minutes": 5})),
            None,
        ),
        (
            bare(json!({"kind": "latency", "percentile": "p95", "above_ms": 500, "window_minutes": 60})),
            None,
        ),
        (
            bare(json!({"kind": "silence", "agent": "a", "after_minutes": 60})),
            None,
        ),
        (bare(json!({"kind": "outbox_age", "after_minutes": 30})), None),
        (bare(json!({"kind": "lease_lost", "orchestrator": "acme"})), None),
        (bare(json!({"kind": "lease_lost"})), None),
        (
            with(json!({"agent": "nobody"})),
            Some("/agent: there is no agent `nobody`"),
        ),
        (
            with(json!({"channels": ["dev"]})),
            Some("/channels/0: there is no channel `dev`; gateway.json declares ops"),
        ),
        (with(json!({"channels": []})), Some("/channels: ")),
        (with(json!({"above": 1.01})), Some("/above: ")),
        (with(json!({"above_ms": 5})), Some("/above_ms: ")),
        (with(json!({"orchestrator": "o"})), Some("/orchestrator: ")),
        (with(json!({"window_minutes": 10081})), Some("/window_minutes: ")),
        (
            with(json!({"repeat_after_minutes": 4})),
            Some("/repeat_after_minutes: "),
        ),
        (with(json!({"window_minutes": null})), Some(": ")),
        (bare(json!({"kind": "silence", "after_minutes": 60})), Some(": ")),
        (bare(json!({"kind": "lease_lost", "agent": "a"})), Some("/agent: ")),
        (bare(json!({"kind": "outbox_age"})), Some(": ")),
    ] {
        let mut gateway = channels();
        gateway["alerts"] = json!({"watched": alert});
        let expected = expected.map(|words| format!("gateway.json#/alerts/watched{words}"));
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        check_gateway(&gateway, &[agent("a", json!({}))], &expected);
    }
}

#[test]
fn the_schemas_limits_are_those_of_the_code() {
    let schema: Value = serde_json::from_str(GATEWAY_SCHEMA).unwrap();
    let alert = &schema["properties"]["alerts"];
    for (limit, expected) in [
        (&alert["maxProperties"], crate::manifest::ALERTS_MAX as u64),
        (
            &schema["properties"]["channels"]["maxProperties"],
            crate::manifest::CHANNELS_MAX as u64,
        ),
        (
            &alert["additionalProperties"]["properties"]["channels"]["maxItems"],
            crate::manifest::ALERT_CHANNELS_MAX as u64,
        ),
        (
            &alert["additionalProperties"]["properties"]["window_minutes"]["maximum"],
            crate::manifest::ALERT_MINUTES_MAX,
        ),
    ] {
        assert_eq!(*limit, expected);
    }
}

/// The block of JSON in the tutorial that begins with this field.
fn documented(field: &str) -> Value {
    let page = include_str!("../../../../docs/notifications.md");
    let begin = page.find(&format!("```json\n\"{field}\"")).expect("the block");
    let block = page[begin..].split("```").nth(1).expect("its end");
    let members = block.strip_prefix("json\n").expect("JSON");
    serde_json::from_str(&format!("{{{members}}}")).expect("members of an object")
}

#[test]
fn what_the_tutorial_shows_passes() {
    let triage = include_str!("../../../../manifests/triage.json");
    let mut triage: Value = serde_json::from_str(triage).expect("JSON");
    triage["notifications"] = documented("notifications")["notifications"].clone();
    // The rest of the team is not here.
    triage.as_object_mut().expect("an object").remove("fallback");
    let definitions = include_str!("../../../../manifests/shared/definitions.json");
    let files = [
        ("triage.json".into(), triage.to_string()),
        ("shared/definitions.json".into(), definitions.to_owned()),
    ];
    check_gateway(&documented("channels"), &files, &[]);
}
