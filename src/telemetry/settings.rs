//! Where telemetry goes: the variables that OpenTelemetry names, read and checked.

use http::{HeaderName, HeaderValue};

use super::otlp::Encoding;
use super::sampling::Sampler;

/// A receiver has this long to answer where `OTEL_EXPORTER_OTLP_TIMEOUT` says nothing, in milliseconds.
pub const TIMEOUT_DEFAULT_MS: u64 = 10_000;
/// The longest that `OTEL_EXPORTER_OTLP_TIMEOUT` may ask for, in milliseconds.
pub const TIMEOUT_MAX_MS: u64 = 60_000;
/// A request to a receiver has at most this many headers of `OTEL_EXPORTER_OTLP_HEADERS`.
pub const HEADERS_MAX: usize = 16;
/// A resource has at most this many attributes.
pub const RESOURCE_ATTRIBUTES_MAX: usize = 64;
/// How long the history of executions is kept where `BATON_HISTORY_DAYS` says nothing, in days.
pub const HISTORY_DEFAULT_DAYS: u64 = 30;
/// The longest that it is kept, in days.
pub const HISTORY_MAX_DAYS: u64 = 366;

/// What is told, and where it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The receiver, where one is named.
    pub receiver: Option<Receiver>,
    /// Who tells it: attributes by name, `service.name` among them.
    pub resource: Vec<(String, String)>,
    /// Which traces are told.
    pub sampler: Sampler,
    /// How long the history is kept, in milliseconds.
    pub history_ms: u64,
}

/// An OTLP/HTTP receiver.
#[derive(Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Where traces are posted.
    pub url: String,
    /// How.
    pub encoding: Encoding,
    /// How long it has for an answer, in milliseconds.
    pub timeout_ms: u64,
    /// What each request carries: credentials among it.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl std::fmt::Debug for Receiver {
    /// Without the headers, which are a secret.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        formatter
            .debug_struct("Receiver")
            .field("url", &self.url)
            .field("encoding", &self.encoding)
            .field("timeout_ms", &self.timeout_ms)
            .field("headers", &names)
            .finish()
    }
}

/// What is wrong with a variable, and what to write instead. Never shows a header's value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

impl Settings {
    /// Reads the variables. `development` allows http.
    ///
    /// # Errors
    /// Names the variable.
    pub fn read(variable: impl Fn(&str) -> Option<String>, development: bool) -> Result<Self, SettingsError> {
        // An empty variable is one that is not set, as the standard says.
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let sampler = Sampler::read(
            variable("OTEL_TRACES_SAMPLER").as_deref(),
            variable("OTEL_TRACES_SAMPLER_ARG").as_deref(),
        );
        let receiver = variable("OTEL_EXPORTER_OTLP_ENDPOINT")
            .map(|endpoint| read_receiver(&endpoint, &variable, development))
            .transpose()?;
        Ok(Self {
            receiver,
            resource: read_resource(&variable)?,
            sampler: sampler.map_err(SettingsError)?,
            history_ms: read_history_ms(variable("BATON_HISTORY_DAYS"))?,
        })
    }
}

/// A URL that telemetry may be posted to: chosen by the operator, so that no guard is asked, but never in the clear.
///
/// # Errors
/// What to write, after the variable's name.
pub fn check_endpoint(variable: &str, url: &str, development: bool) -> Result<String, SettingsError> {
    let wrong = |what: &str| SettingsError(format!("{variable}: `{url}` {what}"));
    let uri: http::Uri = url
        .parse()
        .map_err(|_| wrong("is no URL: write https://collector.example.com"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("https"), Some(_)) => {}
        (Some("http"), Some(_)) if development => {}
        (Some("http"), Some(_)) => {
            return Err(wrong(
                "is in the clear: write https; http is for where BATON_ENVIRONMENT is `development`",
            ));
        }
        _ => return Err(wrong("is no URL: write https://collector.example.com")),
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(SettingsError(format!(
            "{variable}: the URL has a user or a password: put credentials into OTEL_EXPORTER_OTLP_HEADERS, which is a secret"
        )));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn read_receiver(
    endpoint: &str,
    variable: &impl Fn(&str) -> Option<String>,
    development: bool,
) -> Result<Receiver, SettingsError> {
    let base = check_endpoint("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint, development)?;
    let encoding = match variable("OTEL_EXPORTER_OTLP_PROTOCOL").as_deref() {
        None | Some("http/protobuf") => Encoding::Protobuf,
        Some("http/json") => Encoding::Json,
        Some(other) => {
            return Err(SettingsError(format!(
                "OTEL_EXPORTER_OTLP_PROTOCOL: `{other}` is none of http/protobuf and http/json: a Worker speaks no gRPC"
            )));
        }
    };
    let timeout_ms = match variable("OTEL_EXPORTER_OTLP_TIMEOUT") {
        None => TIMEOUT_DEFAULT_MS,
        Some(text) => {
            let timeout_ms = text.parse().ok().filter(|ms| (1..=TIMEOUT_MAX_MS).contains(ms));
            timeout_ms.ok_or_else(|| {
                SettingsError(format!(
                    "OTEL_EXPORTER_OTLP_TIMEOUT: `{text}` is no number of milliseconds from 1 to {TIMEOUT_MAX_MS}"
                ))
            })?
        }
    };
    Ok(Receiver {
        url: format!("{base}/v1/traces"),
        encoding,
        timeout_ms,
        headers: read_headers(&variable("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default())?,
    })
}

/// `name=value,name=value`, values percent-encoded where need be.
fn read_headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, SettingsError> {
    let wrong = |place: usize| {
        SettingsError(format!(
            "OTEL_EXPORTER_OTLP_HEADERS: entry {} is no header: write name=value, entries separated by commas, and what does not fit a header percent-encoded",
            place + 1
        ))
    };
    let mut headers = Vec::new();
    for (place, entry) in text
        .split(',')
        .enumerate()
        .filter(|(_, entry)| !entry.trim().is_empty())
    {
        let (name, value) = entry.split_once('=').ok_or_else(|| wrong(place))?;
        let value = decoded(value.trim()).ok_or_else(|| wrong(place))?;
        let name: HeaderName = name.trim().parse().map_err(|_| wrong(place))?;
        let mut value: HeaderValue = value.parse().map_err(|_| wrong(place))?;
        value.set_sensitive(true);
        headers.push((name, value));
    }
    if headers.len() > HEADERS_MAX {
        return Err(SettingsError(format!(
            "OTEL_EXPORTER_OTLP_HEADERS: {} headers, at most {HEADERS_MAX} are allowed",
            headers.len()
        )));
    }
    Ok(headers)
}

/// `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`, which has the last word on its attribute.
fn read_resource(variable: &impl Fn(&str) -> Option<String>) -> Result<Vec<(String, String)>, SettingsError> {
    const NAME: &str = "service.name";
    let mut resource = vec![
        (NAME.to_owned(), "baton".to_owned()),
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let mut set = |name: String, value: String| match resource.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = value,
        None => resource.push((name, value)),
    };
    if let Some(environment) = variable("BATON_ENVIRONMENT") {
        set("deployment.environment.name".into(), environment);
    }
    let text = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    for (place, entry) in text
        .split(',')
        .enumerate()
        .filter(|(_, entry)| !entry.trim().is_empty())
    {
        let pair = entry
            .split_once('=')
            .and_then(|(name, value)| Some((name.trim(), decoded(value.trim())?)));
        let (name, value) = pair.filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            SettingsError(format!(
                "OTEL_RESOURCE_ATTRIBUTES: entry {} is no attribute: write name=value, entries separated by commas",
                place + 1
            ))
        })?;
        set(name.to_owned(), value);
    }
    if let Some(name) = variable("OTEL_SERVICE_NAME") {
        set(NAME.into(), name);
    }
    if resource.len() > RESOURCE_ATTRIBUTES_MAX {
        return Err(SettingsError(format!(
            "OTEL_RESOURCE_ATTRIBUTES: {} attributes, at most {RESOURCE_ATTRIBUTES_MAX} are allowed",
            resource.len()
        )));
    }
    Ok(resource)
}

fn read_history_ms(days: Option<String>) -> Result<u64, SettingsError> {
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    let Some(text) = days else {
        return Ok(HISTORY_DEFAULT_DAYS * DAY_MS);
    };
    let days: Option<u64> = text.parse().ok();
    let days = days.filter(|days| (1..=HISTORY_MAX_DAYS).contains(days)).ok_or_else(|| {
        SettingsError(format!(
            "BATON_HISTORY_DAYS: `{text}` is no number of days from 1 to {HISTORY_MAX_DAYS}: leave it out for {HISTORY_DEFAULT_DAYS}"
        ))
    })?;
    Ok(days * DAY_MS)
}

fn decoded(text: &str) -> Option<String> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
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
        assert_eq!(receiver.url, "https://c.example.com/otlp/v1/traces");
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
}
