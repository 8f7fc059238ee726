use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Settings::read(variable, false).map_err(|error| error.to_string())
}

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c.example.com/otlp/");

#[test]
fn without_variables_nothing_leaves_and_history_is_kept_for_a_month() {
    let settings = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).expect("settings");
    assert_eq!(settings.receiver, None);
    assert_eq!(settings.resource[0], ("service.name".to_owned(), "baton".to_owned()));
    assert_eq!(settings.history_ms, 30 * 86_400_000);
}

#[test]
fn a_receiver() {
    let settings = read(&[
        ENDPOINT,
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20abc, x-tenant=a"),
    ]);
    let receiver = settings.expect("settings").receiver.expect("a receiver");
    assert_eq!(receiver.url(Signal::Traces), "https://c.example.com/otlp/v1/traces");
    assert_eq!(
        (receiver.encoding, receiver.timeout_ms),
        (Encoding::Protobuf, TIMEOUT_DEFAULT_MS)
    );
    assert_eq!(receiver.headers[0].1, "Bearer abc");
    assert_eq!(receiver.headers.len(), 2);
    assert!(!format!("{receiver:?}").contains("abc"), "{receiver:?}");
}

#[test]
fn resources() {
    let settings = read(&[
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,team=x%2Cy"),
        ("OTEL_SERVICE_NAME", "b"),
        ("BATON_ENVIRONMENT", "staging"),
    ]);
    let resource = settings.expect("settings").resource;
    let value = |name: &str| {
        resource
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(value("service.name"), Some("b"));
    assert_eq!(value("team"), Some("x,y"));
    assert_eq!(value("deployment.environment.name"), Some("staging"));
}

#[test]
fn what_is_wrong_is_named() {
    let many_headers = vec!["a=b"; HEADERS_MAX + 1].join(",");
    let many_attributes: Vec<_> = (0..RESOURCE_ATTRIBUTES_MAX)
        .map(|number| format!("a{number}=b"))
        .collect();
    let long = (TIMEOUT_MAX_MS + 1).to_string();
    let days = (HISTORY_MAX_DAYS + 1).to_string();
    for (name, value, expected) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c.example.com", "write https"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "c.example.com:4318", "is no URL"),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "https://u:p@c.example.com",
            "a user or a password",
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "speaks no gRPC"),
        ("OTEL_METRICS_EXPORTER", "prometheus", "none of otlp and none"),
        ("OTEL_LOGS_EXPORTER", "console", "none of otlp and none"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "from 1 to 60000"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", &long, "from 1 to 60000"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,secret", "entry 2 is no header"),
        ("OTEL_EXPORTER_OTLP_HEADERS", &many_headers, "17 headers"),
        ("OTEL_RESOURCE_ATTRIBUTES", "=x", "entry 1 is no attribute"),
        ("OTEL_RESOURCE_ATTRIBUTES", &many_attributes.join(","), "66 attributes"),
        ("OTEL_TRACES_SAMPLER", "x", "is none of"),
        ("BATON_HISTORY_DAYS", "0", "from 1 to 366"),
        ("BATON_HISTORY_DAYS", &days, "from 1 to 366"),
    ] {
        // The first of a name counts: where the endpoint is what is wrong, it stands first.
        let error = read(&[(name, value), ENDPOINT]).expect_err(name);
        assert!(error.contains(expected), "{name}={value}: {error}");
        assert!(error.starts_with(name.trim_end_matches("_ARG")), "{error}");
        assert!(
            !error.contains("secret") || name != "OTEL_EXPORTER_OTLP_HEADERS",
            "{error}"
        );
    }
}

#[test]
fn http_is_for_development() {
    assert!(check_endpoint("X", "http://127.0.0.1:4318", true).is_ok());
    assert!(check_endpoint("X", "http://127.0.0.1:4318", false).is_err());
}

#[test]
fn metrics_and_log_records_are_sent_where_that_is_asked_for() {
    for (metrics, logs, expected) in [
        (None, None, (false, false)),
        (Some("none"), Some(" "), (false, false)),
        (Some("otlp"), None, (true, false)),
        (Some("none"), Some("otlp"), (false, true)),
    ] {
        let mut variables = vec![ENDPOINT];
        variables.extend(metrics.map(|value| ("OTEL_METRICS_EXPORTER", value)));
        variables.extend(logs.map(|value| ("OTEL_LOGS_EXPORTER", value)));
        let receiver = read(&variables).expect("settings").receiver.expect("a receiver");
        let takes = (receiver.takes(Signal::Metrics), receiver.takes(Signal::Logs));
        assert_eq!(takes, expected, "{metrics:?} {logs:?}");
        assert!(receiver.takes(Signal::Traces));
        assert_eq!(receiver.url(Signal::Metrics), "https://c.example.com/otlp/v1/metrics");
        assert_eq!(receiver.url(Signal::Logs), "https://c.example.com/otlp/v1/logs");
    }
}

#[test]
fn what_is_sent_needs_an_endpoint() {
    for name in ["OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"] {
        let error = read(&[(name, "otlp")]).expect_err(name);
        assert!(
            error.starts_with(name) && error.contains("OTEL_EXPORTER_OTLP_ENDPOINT"),
            "{error}"
        );
        assert_eq!(read(&[(name, "none")]).expect("settings").receiver, None);
    }
}
