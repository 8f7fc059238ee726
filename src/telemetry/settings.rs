//! Where telemetry goes: the variables that OpenTelemetry names, read and checked.

use http::{HeaderName, HeaderValue};

use super::otlp::{Encoding, Signal};
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
    /// Where it is: the path of each signal is added.
    pub endpoint: String,
    /// Whether it is sent metrics.
    pub takes_metrics: bool,
    /// Whether it is sent log records.
    pub takes_logs: bool,
    /// How.
    pub encoding: Encoding,
    /// How long it has for an answer, in milliseconds.
    pub timeout_ms: u64,
    /// What each request carries: credentials among it.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Receiver {
    /// Whether it is told of this signal; of traces it always is.
    #[must_use]
    pub const fn takes(&self, signal: Signal) -> bool {
        match signal {
            Signal::Traces => true,
            Signal::Metrics => self.takes_metrics,
            Signal::Logs => self.takes_logs,
        }
    }

    /// Where a signal is posted.
    #[must_use]
    pub fn url(&self, signal: Signal) -> String {
        format!("{}{}", self.endpoint, signal.path())
    }
}

impl std::fmt::Debug for Receiver {
    /// Without the headers, which are a secret.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        formatter
            .debug_struct("Receiver")
            .field("endpoint", &self.endpoint)
            .field("takes_metrics", &self.takes_metrics)
            .field("takes_logs", &self.takes_logs)
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
        let endpoint = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
        let takes_metrics = read_exporter("OTEL_METRICS_EXPORTER", &variable, endpoint.is_some())?;
        let takes_logs = read_exporter("OTEL_LOGS_EXPORTER", &variable, endpoint.is_some())?;
        let receiver = endpoint
            .map(|endpoint| {
                let receiver = read_receiver(&endpoint, &variable, development)?;
                Ok(Receiver {
                    takes_metrics,
                    takes_logs,
                    ..receiver
                })
            })
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

/// Whether a signal is sent to the receiver. It is not unless it is asked for: a receiver that takes traces alone would
/// refuse each request.
fn read_exporter(
    name: &str,
    variable: &impl Fn(&str) -> Option<String>,
    has_endpoint: bool,
) -> Result<bool, SettingsError> {
    match variable(name).as_deref() {
        None | Some("none") => Ok(false),
        Some("otlp") if has_endpoint => Ok(true),
        Some("otlp") => Err(SettingsError(format!(
            "{name}: `otlp` is sent to OTEL_EXPORTER_OTLP_ENDPOINT: set that as well, or write none"
        ))),
        Some(other) => Err(SettingsError(format!("{name}: `{other}` is none of otlp and none"))),
    }
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
        endpoint: base,
        takes_metrics: false,
        takes_logs: false,
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
mod tests;
