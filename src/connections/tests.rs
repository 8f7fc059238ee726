use super::*;

/// Two keys for calls of the gateway `east`, of which the second one becomes valid later; one that `east` calls with; and one
/// for another gateway.
const KEYS: &str = r#"[
    {"id": "one", "orchestrator": "east", "purposes": ["call"], "secret": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
    {"id": "two", "orchestrator": "east", "purposes": ["call"], "secret": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "not_before": 1000, "not_after": 2000},
    {"id": "in", "orchestrator": "east", "purposes": ["invoke", "register"], "secret": "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "not_before": 1500},
    {"id": "west", "orchestrator": "west", "purposes": ["call"], "secret": "AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "not_before": 1500}
]"#;

fn read(variables: &[(&str, &str)], development: bool) -> Result<Connections, ConnectionError> {
    let value = |name: &str| variables.iter().find(|(known, _)| *known == name);
    let keyring = Keyring::parse(KEYS).unwrap();
    Connections::read(
        |name| value(name).map(|(_, value)| (*value).to_owned()),
        &keyring,
        development,
    )
}

#[track_caller]
fn check(variables: &[(&str, &str)], expected: &str) {
    match read(variables, false) {
        Ok(_) => assert_eq!(expected, "ok", "{variables:?}"),
        Err(error) => assert!(error.to_string().contains(expected), "{variables:?}: {error}"),
    }
}

#[test]
fn what_is_wrong_is_named() {
    check(&[], "ok");
    check(&[("BATON_SECRETS", "[]")], "BATON_SECRETS: expected a JSON object");
    check(&[("BATON_SECRETS", r#"{"a b": "x"}"#)], "`a b` is no name");
    for value in ["", "a b", "a\\r\\nb", "\u{e4}", &"x".repeat(SECRET_MAX_BYTES + 1)] {
        check(
            &[("BATON_SECRETS", &format!(r#"{{"A": "{value}"}}"#))],
            "the value of `A` cannot stand",
        );
    }
    let longest = format!(r#"{{"A": "{}"}}"#, "x".repeat(SECRET_MAX_BYTES));
    check(&[("BATON_SECRETS", &longest)], "ok");
    check(
        &[("BATON_HTTP_ORIGINS", r#"{"crm": "https://10.0.0.1"}"#)],
        "`crm`: the address 10.0.0.1 is private",
    );
    check(
        &[("BATON_HTTP_ORIGINS", r#"{"crm": "http://crm.example.com"}"#)],
        "write https",
    );
    check(
        &[("BATON_HTTP_ORIGINS", r#"{"crm": "https://crm.example.com/a"}"#)],
        "is no origin",
    );
    check(
        &[("BATON_MODELS", r#"{"x": {"api": "smoke-signals"}}"#)],
        "BATON_MODELS: expected",
    );
    check(&[("BATON_MODELS", r#"{"x": {}}"#)], "`x` needs `api`");
    check(
        &[("BATON_MODELS", r#"{"x": {"api": "openai-chat"}}"#)],
        "`x` needs `base_url`",
    );
    check(
        &[("BATON_MODELS", r#"{"openai": {"key": "K"}}"#)],
        "has the key `K`, which is not in BATON_SECRETS",
    );
    check(
        &[(
            "BATON_MODELS",
            r#"{"openai": {"base_url": "https://m.example.com/v1?a"}}"#,
        )],
        "has a query",
    );
    check(
        &[("BATON_MODELS", r#"{"openai": {"base_url": "http://127.0.0.1:1/v1"}}"#)],
        "write https",
    );
    let priced = |price: &str| format!(r#"{{"anthropic": {{"prices": {{"large": {price}}}}}}}"#);
    check(&[("BATON_MODELS", &priced(r#"{"input": 0.25, "output": 2}"#))], "ok");
    check(
        &[("BATON_MODELS", &priced(r#"{"input": 0.25, "output": -2}"#))],
        "`anthropic`, price of `large`: `output` must be a number from 0 to 10000000",
    );
    check(
        &[("BATON_MODELS", &priced(r#"{"input": 0.0000001, "output": 2}"#))],
        "`input` must be",
    );
    check(
        &[("BATON_MODELS", &priced(r#"{"input": 1}"#))],
        "BATON_MODELS: expected",
    );
    let prices = |count: usize| {
        let prices: Vec<_> = (0..count)
            .map(|n| format!(r#""m{n}": {{"input": 1, "output": 1}}"#))
            .collect();
        format!(r#"{{"openai": {{"prices": {{{}}}}}}}"#, prices.join(","))
    };
    check(&[("BATON_MODELS", &prices(PRICES_MAX))], "ok");
    check(&[("BATON_MODELS", &prices(PRICES_MAX + 1))], "`openai` has 65 prices");
    let many = |count: usize| {
        let entries: Vec<_> = (0..count).map(|n| format!(r#""S{n}": "x""#)).collect();
        format!("{{{}}}", entries.join(","))
    };
    check(&[("BATON_SECRETS", &many(CONNECTIONS_MAX))], "ok");
    check(&[("BATON_SECRETS", &many(CONNECTIONS_MAX + 1))], "65 entries");
    let named = |length: usize| format!(r#"{{"{}": "x"}}"#, "n".repeat(length));
    check(&[("BATON_SECRETS", &named(NAME_MAX_BYTES))], "ok");
    check(&[("BATON_SECRETS", &named(NAME_MAX_BYTES + 1))], "is no name");
}

#[test]
fn a_secret_is_in_no_message() {
    let secret = "sesame-1234";
    for variables in [
        &[("BATON_SECRETS", r#"{"A": "sesame-1234", "B": 5}"#)][..],
        &[("BATON_SECRETS", r#"{"A": "sesame-1234 "}"#)],
        &[("BATON_SECRETS", r#""sesame-1234""#)],
    ] {
        let error = read(variables, false).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    }
    let good = read(
        &[
            ("BATON_SECRETS", r#"{"A": "sesame-1234"}"#),
            ("BATON_MODELS", r#"{"openai": {"key": "A"}}"#),
        ],
        false,
    )
    .unwrap();
    assert!(!format!("{good:?}").contains(secret));
    assert_eq!(good.secret("A").map(Secret::text), Some(secret));
}

#[test]
fn providers_have_defaults() {
    let models = r#"{
        "openai": {"key": "K"},
        "anthropic": {"key": "K"},
        "local": {"api": "openai-chat", "base_url": "http://LOCALHOST:11434/v1/"}
    }"#;
    let read = read(&[("BATON_SECRETS", r#"{"K": "k"}"#), ("BATON_MODELS", models)], true).unwrap();
    let check = |name: &str, api, origin: &str, path: &str, key: Option<&str>| {
        let provider = read.provider(name).unwrap();
        let found = (provider.api, provider.origin.as_str(), provider.path.as_str());
        assert_eq!(found, (api, origin, path));
        assert_eq!(provider.key.as_ref().map(Secret::text), key);
    };
    check(
        "openai",
        Api::OpenaiResponses,
        "https://api.openai.com",
        "/v1",
        Some("k"),
    );
    check(
        "anthropic",
        Api::Anthropic,
        "https://api.anthropic.com",
        "/v1",
        Some("k"),
    );
    check("local", Api::OpenaiChat, "http://localhost:11434", "/v1", None);
    assert_eq!(read.provider("other"), None);
}

#[test]
fn origins_are_names_or_stand_for_themselves() {
    let origins = ("BATON_HTTP_ORIGINS", r#"{"crm": "https://CRM.example.com:443"}"#);
    let strict = read(&[origins], false).unwrap();
    assert_eq!(strict.origin("crm"), Ok("https://crm.example.com".into()));
    assert_eq!(
        strict.origin("https://other.example.com"),
        Ok("https://other.example.com".into())
    );
    assert!(
        strict
            .origin("erp")
            .unwrap_err()
            .contains("`erp` is not in BATON_HTTP_ORIGINS")
    );
    assert!(strict.origin("http://127.0.0.1:1").unwrap_err().contains("write https"));
    assert!(strict.origin("https://192.168.0.1").unwrap_err().contains("private"));
    let development = read(&[origins], true).unwrap();
    assert_eq!(
        development.origin("http://127.0.0.1:1"),
        Ok("http://127.0.0.1:1".into())
    );
}

#[test]
fn gateways_are_called_with_keys_of_their_own() {
    for (json, expected) in [
        ("[]", "BATON_GATEWAYS: expected a JSON object"),
        (r#"{"a b": "https://a.example.com"}"#, "`a b` is no name"),
        (
            r#"{"east": "https://a.example.com/x"}"#,
            "`east`: `https://a.example.com/x` is no origin",
        ),
        (r#"{"east": "https://192.168.0.1"}"#, "is private"),
        (r#"{"east": "http://a.example.com"}"#, "write https"),
    ] {
        check(&[("BATON_GATEWAYS", json)], expected);
    }
    let both = r#"{"east": "https://East.example.com/", "none": "https://none.example.com"}"#;
    let read = read(&[("BATON_GATEWAYS", both)], false).unwrap();
    assert_eq!(read.gateways().collect::<Vec<_>>(), ["east", "none"]);
    let east = read.gateway("east").unwrap();
    assert_eq!(east.origin, "https://east.example.com");
    let key = |now_s| east.key(now_s).map(|key| key.id.as_str());
    // Rotated as keys for an orchestrator are: the later one, while it is valid.
    assert_eq!(
        [key(999), key(1_999), key(2_000)],
        [Some("one"), Some("two"), Some("one")]
    );
    assert!(read.gateway("none").unwrap().key(1_600).is_none());
    assert!(read.gateway("west").is_none());
}

#[test]
fn workers_ai_has_a_binding_and_no_address() {
    let read = |models: &str| {
        let value = |name: &str| (name == "BATON_MODELS").then(|| models.to_owned());
        Connections::read(value, &Keyring::parse("[]").unwrap(), false).map_err(|error| error.to_string())
    };
    for (models, name, binding) in [
        (r#"{"workers-ai": {}}"#, "workers-ai", "AI"),
        (
            r#"{"edge": {"api": "workers-ai", "binding": "MODELS"}}"#,
            "edge",
            "MODELS",
        ),
    ] {
        let connections = read(models).expect(models);
        let provider = connections.provider(name).expect(name);
        assert_eq!(
            (provider.api, provider.binding.as_deref()),
            (Api::WorkersAi, Some(binding))
        );
    }
    for wrong in [
        r#"{"workers-ai": {"base_url": "https://models.example.com"}}"#,
        r#"{"workers-ai": {"key": "KEY"}}"#,
        r#"{"openai": {"binding": "AI"}}"#,
    ] {
        let error = read(wrong).expect_err(wrong);
        assert!(error.contains("has a `binding` and neither"), "{error}");
    }
}
