//! Requests to channels, by kind and configuration.

use serde_json::json;

use super::*;

const KEY: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

fn connections(development: bool) -> Connections {
    let secrets = json!({
        "HOOK": "https://hooks.example.com/a?b=c", "LOOPBACK": "http://127.0.0.1:9/x", "PRIVATE": "https://10.0.0.1/x",
        "ELSEWHERE": "https://other.example.com/secret-path", "NO_URL": "hello", "KEY": KEY, "NO_KEY": "whsec_AAEC",
    });
    let origins = if development {
        json!({"hooks": "https://hooks.example.com", "own": "http://127.0.0.1:9"})
    } else {
        json!({"hooks": "https://hooks.example.com"})
    };
    let variable = |name: &str| match name {
        "BATON_SECRETS" => Some(secrets.to_string()),
        "BATON_HTTP_ORIGINS" => Some(origins.to_string()),
        _ => None,
    };
    Connections::read(variable, &crate::signature::Keyring::default(), development).expect("connections")
}

fn channel(kind: &str, url: &str, key: Option<&str>) -> ChannelConfig {
    let mut channel = json!({"kind": kind, "url": {"$secret": url}});
    if let Some(key) = key {
        channel["key"] = json!({"$secret": key});
    }
    serde_json::from_value(channel).expect("a channel")
}

fn notice() -> Notice {
    Notice {
        id: "msg_1".into(),
        channel: "ops".into(),
        kind: "notification".into(),
        at_ms: 1_764_000_010_007,
        title: "triage: critical".into(),
        text: "5 > 3 & \"so\"".into(),
        data: json!({"rule": "critical"}).as_object().cloned().expect("an object"),
    }
}

fn sent(channel: &ChannelConfig) -> (http::Request<Vec<u8>>, Value) {
    let request = request(channel, &connections(false), "gw", &notice(), 1_764_000_011).expect("a request");
    let body = serde_json::from_slice(request.body()).expect("JSON");
    (request, body)
}

#[test]
fn a_webhook_gets_the_message_and_its_signature() {
    let (request, body) = sent(&channel("webhook", "HOOK", Some("KEY")));
    assert_eq!(request.method(), "POST");
    assert_eq!(request.uri(), "https://hooks.example.com/a?b=c");
    let expected = json!({
        "type": "notification", "id": "msg_1", "timestamp": "2025-11-24T16:00:10.007Z",
        "data": {"rule": "critical", "gateway": "gw", "title": "triage: critical", "text": "5 > 3 & \"so\""},
    });
    assert_eq!(body, expected);
    let schema = crate::wire::compiled("notice")
        .expect("the schema")
        .get()
        .expect("it compiles");
    assert!(schema.violations(&body, 1).is_empty());
    let delivery = crate::signature::webhook::find(request.headers()).expect("a delivery");
    assert_eq!((delivery.id, delivery.timestamp_s), ("msg_1", 1_764_000_011));
    assert!(delivery.verify(&(0..24).collect::<Vec<u8>>(), request.body()));
}

#[test]
fn without_a_key_there_is_an_id_and_no_signature() {
    let (request, _) = sent(&channel("webhook", "HOOK", None));
    assert_eq!(request.headers()["webhook-id"], "msg_1");
    assert!(!request.headers().contains_key("webhook-signature"));
}

#[test]
fn slack_gets_its_own_form() {
    let (request, body) = sent(&channel("slack", "HOOK", None));
    let expected = json!({
        "text": "triage: critical",
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": "*triage: critical*\n5 &gt; 3 &amp; \"so\""}},
            {"type": "context", "elements": [{"type": "plain_text", "text": "notification msg_1"}]},
        ],
    });
    assert_eq!(body, expected);
    assert!(!request.headers().contains_key("webhook-id"));
    let long = Notice {
        text: "<".repeat(NOTICE_TEXT_MAX_CHARS),
        ..notice()
    };
    let body: Value = serde_json::from_slice(&slack::body(&long)).expect("JSON");
    let text = body["blocks"][0]["text"]["text"].as_str().expect("a text");
    assert!(text.encode_utf16().count() <= SECTION_MAX_UNITS && text.ends_with("&lt;…"));
}

#[test]
fn what_may_not_be_called_is_not_and_no_message_shows_the_url() {
    for (development, url, key, words) in [
        (false, "HOOK", None, ""),
        (true, "LOOPBACK", None, ""),
        (false, "LOOPBACK", None, "write https"),
        (
            false,
            "PRIVATE",
            None,
            "only addresses that are reachable from everywhere",
        ),
        (
            true,
            "PRIVATE",
            None,
            "only addresses that are reachable from everywhere",
        ),
        (
            false,
            "ELSEWHERE",
            None,
            "its origin https://other.example.com is not one of BATON_HTTP_ORIGINS",
        ),
        (false, "NO_URL", None, "is not absolute"),
        (false, "NONE", None, "the secret `NONE` is not in BATON_SECRETS"),
        (false, "HOOK", Some("NONE"), "the secret `NONE` is not in BATON_SECRETS"),
        (false, "HOOK", Some("NO_KEY"), "is no key of Standard Webhooks"),
    ] {
        let checked = check(&channel("webhook", url, key), &connections(development));
        match checked {
            Ok(_) => assert!(words.is_empty(), "{url}"),
            Err(error) => {
                let error = error.to_string();
                assert!(!words.is_empty() && error.contains(words), "{url}: {error}");
                assert!(!error.contains("secret-path"), "{error}");
            }
        }
    }
}

#[test]
fn keys_at_the_edge() {
    use base64::Engine as _;
    let key = |bytes: usize| {
        let text = base64::engine::general_purpose::STANDARD.encode(vec![7; bytes]);
        key_of(&format!("whsec_{text}")).map(|key| key.len())
    };
    assert_eq!(
        (key(KEY_MIN_BYTES), key(KEY_MAX_BYTES)),
        (Some(KEY_MIN_BYTES), Some(KEY_MAX_BYTES))
    );
    assert_eq!((key(KEY_MIN_BYTES - 1), key(KEY_MAX_BYTES + 1)), (None, None));
    assert_eq!(key_of(&KEY["whsec_".len()..]), None);
}

#[test]
fn a_text_has_so_many_characters() {
    assert_eq!(
        text_of(&"ä".repeat(NOTICE_TEXT_MAX_CHARS + 1)).chars().count(),
        NOTICE_TEXT_MAX_CHARS
    );
}
