//! The gateway's configuration, read from variables and secrets that `edge` hands over.

use serde::Deserialize;

use crate::access::slots::CONCURRENT_STEPS_MAX;
use crate::access::{CorsOriginError, CorsOrigins, MetricsToken, MetricsTokenError};
use crate::connections::{ConnectionError, Connections};
use crate::outgoing::{Refusal, Rules, check_origin};
use crate::signature::keys::KeyError;
use crate::signature::origins::OriginError;
use crate::signature::{Keyring, Origins};
use crate::telemetry::settings::{Settings, SettingsError, check_endpoint};

/// The binding of the Run objects.
pub const RUNS: &str = "RUNS";

/// The binding of the Link objects.
pub const LINKS: &str = "LINKS";

/// The binding of the Client objects.
pub const CLIENTS: &str = "CLIENTS";

/// The binding of the Conversation objects.
pub const CONVERSATIONS: &str = "CONVERSATIONS";

/// The binding of the D1 database.
pub const HISTORY: &str = "HISTORY";

/// The binding of the Overrides object.
pub const OVERRIDES_WRITER: &str = "OVERRIDES_WRITER";

/// The binding of the KV namespace with the copy of the overrides. Without it there are none.
pub const OVERRIDES: &str = "OVERRIDES";

/// The binding of the KV namespace with the answers of models that are kept. Without it none is.
pub const CACHE: &str = "CACHE";

/// The binding of the queue that telemetry goes through, where there is one.
pub const TELEMETRY: &str = "TELEMETRY";

/// The Durable Objects that have to be bound: binding and class.
pub const DURABLE_OBJECTS: [(&str, &str); 5] = [
    (RUNS, "RunObject"),
    (LINKS, "LinkObject"),
    (CLIENTS, "ClientObject"),
    (OVERRIDES_WRITER, "OverridesObject"),
    (CONVERSATIONS, "ConversationObject"),
];

/// At most this many orchestrators may be configured.
pub const ORCHESTRATORS_MAX: usize = 16;

/// An orchestrator's id is at most this long.
pub const ORCHESTRATOR_ID_MAX_BYTES: usize = 64;

/// An orchestrator has at most this many callback origins.
pub const CALLBACK_ORIGINS_MAX: usize = 8;

/// A run is kept for this long after its last step, in seconds, where nothing else is configured.
pub const RUN_RETENTION_DEFAULT_S: u64 = 7 * 24 * 60 * 60;

/// A run is kept for at most this long after its last step, in seconds.
pub const RUN_RETENTION_MAX_S: u64 = 365 * 24 * 60 * 60;

/// Which environment this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Environment {
    /// A developer's machine: callbacks may go by http, and to loopback.
    Development,
    /// Any other, by its name, which is empty where none is set. What is not known to be a developer's machine is
    /// strict.
    Other(String),
}

impl Environment {
    fn of(name: Option<String>) -> Self {
        match name.as_deref() {
            Some("development") => Self::Development,
            _ => Self::Other(name.unwrap_or_default()),
        }
    }

    /// Whether what only a developer's machine needs is allowed.
    #[must_use]
    pub fn is_development(&self) -> bool {
        *self == Self::Development
    }
}

/// An orchestrator that this gateway registers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orchestrator {
    /// The id that key records name.
    pub id: String,
    /// Base URL, without a trailing slash.
    pub url: String,
    /// Where its callbacks may go: origins that the guard has checked, in its spelling.
    pub callback_origins: Vec<String>,
    /// Whether direct calls are answered here also while it refuses the gateway's own credentials: `fallback_when_refused`,
    /// which is false where it is not set.
    pub fallback_when_refused: bool,
    /// Where it takes telemetry, if it does: `telemetry_url`.
    pub telemetry_url: Option<String>,
    /// How many of its steps may be under way at once; as many as it likes where there is none.
    pub max_concurrent_steps: Option<u32>,
}

/// An entry of `BATON_ORCHESTRATORS`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    url: String,
    callback_origins: Option<Vec<String>>,
    #[serde(default)]
    fallback_when_refused: bool,
    telemetry_url: Option<String>,
    max_concurrent_steps: Option<u32>,
}

/// Everything that is configured and not declared in a manifest.
#[derive(Debug, Clone)]
pub struct Config {
    /// `BATON_KEYS`
    pub keyring: Keyring,
    /// `BATON_ORIGINS`
    pub origins: Origins,
    /// `BATON_ORCHESTRATORS`
    pub orchestrators: Vec<Orchestrator>,
    /// `BATON_ENVIRONMENT`
    pub environment: Environment,
    /// How long a run is kept after its last step, in milliseconds: `BATON_RUN_RETENTION_S`.
    pub run_retention_ms: u64,
    /// The web pages that may call with an API key: `BATON_CORS_ORIGINS`.
    pub cors_origins: CorsOrigins,
    /// Who may scrape `/metrics`, if anybody: `BATON_METRICS_TOKEN`.
    pub metrics_token: Option<MetricsToken>,
    /// What is told of runs, and where it goes: the variables that begin with `OTEL_`, and `BATON_HISTORY_DAYS`.
    pub telemetry: Settings,
    /// What agents reach outside: `BATON_HTTP_ORIGINS`, `BATON_MODELS`, `BATON_GATEWAYS`, `BATON_SECRETS`.
    pub connections: Connections,
}

/// What is wrong with the configuration: for the operator's log, never for a caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum ConfigError {
    #[error("BATON_KEYS: {0}")]
    Keys(#[from] KeyError),
    #[error("{0}")]
    Origins(#[from] OriginError),
    #[error("BATON_ORIGINS is not set: set it to the address that callers use, such as https://agents.example.com")]
    NoOrigins,
    #[error(
        "BATON_ORCHESTRATORS: expected a JSON array of {{\"id\", \"url\", \"callback_origins\"?, \"fallback_when_refused\"?, \"telemetry_url\"?, \"max_concurrent_steps\"?}}, at most {ORCHESTRATORS_MAX}: wrong at line {0}, column {1}"
    )]
    Orchestrators(usize, usize),
    #[error(
        "BATON_ORCHESTRATORS: `{0}` is no id: write 1 to {ORCHESTRATOR_ID_MAX_BYTES} letters, digits, hyphens, underscores or full stops"
    )]
    OrchestratorId(String),
    #[error("BATON_ORCHESTRATORS: {0} orchestrators, at most {ORCHESTRATORS_MAX} are allowed")]
    TooManyOrchestrators(usize),
    #[error(
        "BATON_ORCHESTRATORS: `{0}` has the URL `{1}`: write scheme and host as in https://orchestrator.example.com"
    )]
    OrchestratorUrl(String, String),
    #[error(
        "BATON_ORCHESTRATORS: `{0}` has max_concurrent_steps {1}: write 1 to {CONCURRENT_STEPS_MAX}, or leave it out for no limit"
    )]
    ConcurrentSteps(String, u32),
    #[error("BATON_ORCHESTRATORS: `{0}` has {1} callback_origins, at most {CALLBACK_ORIGINS_MAX} are allowed")]
    TooManyCallbackOrigins(String, usize),
    #[error("BATON_ORCHESTRATORS: `{0}` has the callback origin `{1}`: {2}")]
    CallbackOrigin(String, String, Refusal),
    #[error(
        "BATON_ORCHESTRATORS: `{0}` has no callback_origins, so callbacks go to the origin of its URL: {1}. Name others, or write `\"callback_origins\": []` for no callbacks; http and loopback are allowed where BATON_ENVIRONMENT is `development`"
    )]
    DefaultCallbackOrigin(String, Refusal),
    #[error(
        "BATON_RUN_RETENTION_S: `{0}` is no number of seconds from 1 to {RUN_RETENTION_MAX_S}: leave it out for {RUN_RETENTION_DEFAULT_S}, which is 7 days"
    )]
    RunRetention(String),
    #[error("BATON_CORS_ORIGINS: {0}")]
    CorsOrigins(#[from] CorsOriginError),
    #[error("BATON_METRICS_TOKEN: {0}")]
    MetricsToken(#[from] MetricsTokenError),
    #[error("{0}")]
    Telemetry(#[from] SettingsError),
    #[error("{0}")]
    Connections(#[from] ConnectionError),
}

impl Config {
    /// Reads the configuration. `variable` answers the value of a variable or secret.
    ///
    /// Without `BATON_KEYS` no caller can sign: every signed call is refused, and nothing else is.
    ///
    /// # Errors
    /// Names the variable, what is wrong with it and what to write instead. Never shows a secret.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let keys = variable("BATON_KEYS").unwrap_or_else(|| "[]".into());
        let origins = variable("BATON_ORIGINS").ok_or(ConfigError::NoOrigins)?;
        let orchestrators = variable("BATON_ORCHESTRATORS").unwrap_or_else(|| "[]".into());
        let environment = Environment::of(variable("BATON_ENVIRONMENT"));
        let telemetry = Settings::read(&variable, environment.is_development())?;
        let keyring = Keyring::parse(&keys)?;
        let connections = Connections::read(&variable, &keyring, environment.is_development())?;
        Ok(Self {
            connections,
            keyring,
            origins: Origins::parse(&origins)?,
            orchestrators: read_orchestrators(&orchestrators, &environment)?,
            environment,
            run_retention_ms: read_run_retention_ms(variable("BATON_RUN_RETENTION_S"))?,
            cors_origins: CorsOrigins::parse(&variable("BATON_CORS_ORIGINS").unwrap_or_default())?,
            metrics_token: variable("BATON_METRICS_TOKEN")
                .map(|token| MetricsToken::parse(&token))
                .transpose()?,
            telemetry,
        })
    }

    /// How many steps of this orchestrator may be under way at once, where that is limited.
    #[must_use]
    pub fn max_concurrent_steps(&self, orchestrator: &str) -> Option<u32> {
        let known = self.orchestrators.iter().find(|known| known.id == orchestrator)?;
        known.max_concurrent_steps
    }

    /// Where callbacks of this orchestrator may go; nowhere where it is not configured.
    #[must_use]
    pub fn callback_rules(&self, orchestrator: &str) -> Rules<'_> {
        let known = self.orchestrators.iter().find(|known| known.id == orchestrator);
        Rules {
            development: self.environment.is_development(),
            origins: known.map_or(&[], |known| &known.callback_origins),
        }
    }
}

fn read_run_retention_ms(seconds: Option<String>) -> Result<u64, ConfigError> {
    let Some(text) = seconds else {
        return Ok(RUN_RETENTION_DEFAULT_S * 1000);
    };
    let seconds: Option<u64> = text.parse().ok();
    seconds
        .filter(|seconds| (1..=RUN_RETENTION_MAX_S).contains(seconds) && seconds.to_string() == text)
        .map(|seconds| seconds * 1000)
        .ok_or(ConfigError::RunRetention(text))
}

fn read_orchestrators(json: &str, environment: &Environment) -> Result<Vec<Orchestrator>, ConfigError> {
    let entries: Vec<Entry> =
        serde_json::from_str(json).map_err(|error| ConfigError::Orchestrators(error.line(), error.column()))?;
    if entries.len() > ORCHESTRATORS_MAX {
        return Err(ConfigError::TooManyOrchestrators(entries.len()));
    }
    entries
        .into_iter()
        .map(|entry| read_orchestrator(entry, environment))
        .collect()
}

fn read_orchestrator(entry: Entry, environment: &Environment) -> Result<Orchestrator, ConfigError> {
    let Entry {
        id,
        url,
        callback_origins,
        fallback_when_refused,
        telemetry_url,
        max_concurrent_steps,
    } = entry;
    // It names a Durable Object and stands in a query.
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !(1..=ORCHESTRATOR_ID_MAX_BYTES).contains(&id.len()) || !id.bytes().all(fits) {
        return Err(ConfigError::OrchestratorId(id));
    }
    let uri: Option<http::Uri> = url.parse().ok();
    let own = uri.filter(|uri| uri.query().is_none()).and_then(|uri| {
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
        Some(format!("{scheme}://{}", uri.authority()?))
    });
    let Some(own) = own else {
        return Err(ConfigError::OrchestratorUrl(id, url));
    };
    if let Some(max) = max_concurrent_steps.filter(|max| !(1..=CONCURRENT_STEPS_MAX).contains(max)) {
        return Err(ConfigError::ConcurrentSteps(id, max));
    }
    let callback_origins = read_callback_origins(&id, &own, callback_origins, environment)?;
    let telemetry_url = telemetry_url
        .map(|url| check_endpoint("BATON_ORCHESTRATORS: telemetry_url", &url, environment.is_development()))
        .transpose()?;
    Ok(Orchestrator {
        id,
        url: url.trim_end_matches('/').to_owned(),
        callback_origins,
        fallback_when_refused,
        telemetry_url,
        max_concurrent_steps,
    })
}

/// The callback origins as configured, else that of the orchestrator's own URL.
fn read_callback_origins(
    id: &str,
    own: &str,
    configured: Option<Vec<String>>,
    environment: &Environment,
) -> Result<Vec<String>, ConfigError> {
    let check = |origin: &str| check_origin(origin, environment.is_development());
    let Some(configured) = configured else {
        return match check(own) {
            Ok(origin) => Ok(vec![origin]),
            Err(refusal) => Err(ConfigError::DefaultCallbackOrigin(id.into(), refusal)),
        };
    };
    if configured.len() > CALLBACK_ORIGINS_MAX {
        return Err(ConfigError::TooManyCallbackOrigins(id.into(), configured.len()));
    }
    configured
        .into_iter()
        .map(|origin| check(&origin).map_err(|refusal| ConfigError::CallbackOrigin(id.into(), origin, refusal)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], expected: &str) {
        let read = Config::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        match read {
            Ok(_) => assert_eq!(expected, "ok", "{variables:?}"),
            Err(error) => assert!(error.to_string().contains(expected), "{variables:?}: {error}"),
        }
    }

    const ORIGINS: (&str, &str) = ("BATON_ORIGINS", "http://127.0.0.1:8787");

    #[test]
    fn reading() {
        check(&[], "BATON_ORIGINS is not set");
        check(&[ORIGINS], "ok");
        check(&[ORIGINS, ("BATON_KEYS", "no")], "BATON_KEYS: ");
        check(&[("BATON_ORIGINS", "gw")], "`gw` is no origin");
    }

    #[test]
    fn metrics_token() {
        let good = "0123456789abcdef0123456789abcdef";
        assert_eq!(read(&[]).metrics_token, None);
        assert!(
            read(&[("BATON_METRICS_TOKEN", good)])
                .metrics_token
                .is_some_and(|token| token.is(good))
        );
        // An empty one would open it to everybody, and must not be taken for none either: somebody meant to set it.
        for wrong in ["", "short", &format!("{good} ")] {
            check(
                &[ORIGINS, ("BATON_METRICS_TOKEN", wrong)],
                "BATON_METRICS_TOKEN: write 32 to 256",
            );
        }
    }

    #[test]
    fn cors_origins() {
        assert_eq!(read(&[]).cors_origins, CorsOrigins::Exactly(Vec::new()));
        assert_eq!(read(&[("BATON_CORS_ORIGINS", "*")]).cors_origins, CorsOrigins::Any);
        let wrong = ("BATON_CORS_ORIGINS", "*,https://app.example.com");
        check(&[ORIGINS, wrong], "BATON_CORS_ORIGINS: `*` opens");
    }

    fn check_orchestrators(json: &str, expected: &str) {
        check(&[ORIGINS, ("BATON_ORCHESTRATORS", json)], expected);
    }

    #[test]
    fn orchestrators() {
        check_orchestrators(r#"[{"id":"a","url":"https://b.example.com/"}]"#, "ok");
        check_orchestrators(r#"[{"id":"a","url":"b"}]"#, "`a` has the URL `b`");
        check_orchestrators(r#"[{"id":"a","url":"ftp://b.example.com"}]"#, "`a` has the URL");
        check_orchestrators(r#"[{"id":"a","url":"https://b.example.com?c"}]"#, "`a` has the URL");
        check_orchestrators("{", "line 1");
        check_orchestrators(r#"[{"id":"a","url":"https://b.example.com","typo":1}]"#, "line 1");
        let named = |id: &str| format!(r#"[{{"id":"{id}","url":"https://b.example.com"}}]"#);
        check_orchestrators(&named(&"a".repeat(ORCHESTRATOR_ID_MAX_BYTES)), "ok");
        for id in ["", "a b", "a&b", &"a".repeat(ORCHESTRATOR_ID_MAX_BYTES + 1)] {
            check_orchestrators(&named(id), "is no id");
        }
        let limited =
            |max: u32| format!(r#"[{{"id":"a","url":"https://b.example.com","max_concurrent_steps":{max}}}]"#);
        for max in [1, CONCURRENT_STEPS_MAX] {
            check_orchestrators(&limited(max), "ok");
        }
        for max in [0, CONCURRENT_STEPS_MAX + 1] {
            check_orchestrators(&limited(max), "write 1 to 500");
        }
        let one = r#"{"id":"a","url":"https://b.example.com"}"#;
        let many = |count: usize| format!("[{}]", vec![one; count].join(","));
        check_orchestrators(&many(ORCHESTRATORS_MAX), "ok");
        check_orchestrators(&many(ORCHESTRATORS_MAX + 1), "17 orchestrators");
    }

    fn read_one(url: &str, more: &str, environment: &Environment) -> Result<Orchestrator, ConfigError> {
        let json = format!(r#"[{{"id":"a","url":"{url}"{more}}}]"#);
        read_orchestrators(&json, environment).map(|mut read| read.remove(0))
    }

    fn other() -> Environment {
        Environment::Other("production".into())
    }

    #[test]
    fn a_trailing_slash_is_dropped() {
        let read = read_one("https://b.example.com/base/", "", &other()).expect("valid");
        assert_eq!(read.url, "https://b.example.com/base");
    }

    #[test]
    fn telemetry() {
        let url = "https://b.example.com";
        let to = |url: &str| format!(r#","telemetry_url":"{url}""#);
        let read = read_one(url, &to("https://t.example.com/v1/traces/"), &other()).expect("valid");
        assert_eq!(read.telemetry_url.as_deref(), Some("https://t.example.com/v1/traces"));
        let error = read_one(url, &to("http://t.example.com"), &other()).expect_err("in the clear");
        assert!(
            error
                .to_string()
                .contains("telemetry_url: `http://t.example.com` is in the clear"),
            "{error}"
        );
        check(&[ORIGINS, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "ok");
        check(
            &[ORIGINS, ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector")],
            "OTEL_EXPORTER_OTLP_ENDPOINT: ",
        );
    }

    #[test]
    fn callback_origins() {
        let check = |url: &str, more: &str, environment: &Environment, expected: Result<&[&str], &str>| match (
            read_one(url, more, environment),
            expected,
        ) {
            (Ok(read), Ok(expected)) => assert_eq!(read.callback_origins, expected, "{url} {more}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{url} {more}: {error}"),
            (found, _) => panic!("{url} {more}: {found:?}"),
        };
        let url = "https://b.example.com:8443/base";
        check(url, "", &other(), Ok(&["https://b.example.com:8443"]));
        check(
            "https://B.example.com:443/",
            "",
            &other(),
            Ok(&["https://b.example.com"]),
        );
        check(url, r#","callback_origins":[]"#, &other(), Ok(&[]));
        check(
            url,
            r#","callback_origins":["https://C.example.com/","https://d.example.com:1"]"#,
            &other(),
            Ok(&["https://c.example.com", "https://d.example.com:1"]),
        );
        // One that a callback may never go to is refused here already, the default too.
        check(
            url,
            r#","callback_origins":["https://10.0.0.1"]"#,
            &other(),
            Err("`https://10.0.0.1`: the address"),
        );
        check(
            url,
            r#","callback_origins":["http://c.example.com"]"#,
            &other(),
            Err("write https"),
        );
        check(
            url,
            r#","callback_origins":["https://c.example.com/a"]"#,
            &other(),
            Err("is no origin"),
        );
        check("http://b.example.com", "", &other(), Err("`a` has no callback_origins"));
        check(
            "http://b.example.com",
            "",
            &Environment::Other(String::new()),
            Err("BATON_ENVIRONMENT"),
        );
        check("https://orchestrator", "", &other(), Err("single label"));
        check("https://u@b.example.com", "", &other(), Err("a user or a password"));
        check("http://orchestrator", r#","callback_origins":[]"#, &other(), Ok(&[]));
        let local = "http://127.0.0.1:8788";
        check(local, "", &Environment::Development, Ok(&[local]));
        check(local, "", &other(), Err("write https"));
        check("http://10.0.0.1", "", &Environment::Development, Err("is private"));
        let many = |count: usize| format!(r#","callback_origins":{:?}"#, vec!["https://c.example.com"; count]);
        check(
            url,
            &many(CALLBACK_ORIGINS_MAX),
            &other(),
            Ok(&["https://c.example.com"; CALLBACK_ORIGINS_MAX]),
        );
        check(
            url,
            &many(CALLBACK_ORIGINS_MAX + 1),
            &other(),
            Err("has 9 callback_origins"),
        );
    }

    fn read(more: &[(&str, &str)]) -> Config {
        let value = |name: &str| more.iter().chain([&ORIGINS]).find(|(known, _)| *known == name);
        Config::read(|name| value(name).map(|(_, value)| (*value).to_owned())).expect("valid")
    }

    #[test]
    fn the_environment_is_strict_unless_it_is_development() {
        assert!(
            read(&[("BATON_ENVIRONMENT", "development")])
                .environment
                .is_development()
        );
        for name in ["", "production", "Development", "development ", "dev"] {
            let environment = read(&[("BATON_ENVIRONMENT", name)]).environment;
            assert_eq!(environment, Environment::Other(name.to_owned()));
            assert!(!environment.is_development());
        }
        assert_eq!(read(&[]).environment, Environment::Other(String::new()));
        let local = ("BATON_ORCHESTRATORS", r#"[{"id":"a","url":"http://127.0.0.1:8788"}]"#);
        check(&[ORIGINS, local, ("BATON_ENVIRONMENT", "development")], "ok");
        check(&[ORIGINS, local, ("BATON_ENVIRONMENT", "staging")], "write https");
        check(&[ORIGINS, local], "write https");
    }

    #[test]
    fn callback_rules_are_those_of_the_orchestrator() {
        let orchestrators = r#"[{"id":"a","url":"https://a.example.com"},{"id":"b","url":"https://b.example.com"}]"#;
        let config = read(&[("BATON_ORCHESTRATORS", orchestrators)]);
        assert_eq!(config.callback_rules("b").origins, ["https://b.example.com"]);
        assert!(config.callback_rules("c").origins.is_empty());
        assert!(!config.callback_rules("b").development);
        assert!(
            read(&[("BATON_ENVIRONMENT", "development")])
                .callback_rules("b")
                .development
        );
    }

    #[test]
    fn run_retention() {
        assert_eq!(read(&[]).run_retention_ms, 604_800_000);
        for (text, expected_ms) in [("1", 1_000), ("604800", 604_800_000), ("31536000", 31_536_000_000)] {
            assert_eq!(read(&[("BATON_RUN_RETENTION_S", text)]).run_retention_ms, expected_ms);
        }
        for text in [
            "",
            "0",
            "31536001",
            "-1",
            "+1",
            "01",
            "1.5",
            "7d",
            " 1",
            "18446744073709551616",
        ] {
            check(&[ORIGINS, ("BATON_RUN_RETENTION_S", text)], "BATON_RUN_RETENTION_S: `");
        }
    }
}
