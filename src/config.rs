//! The gateway's configuration, read from variables and secrets that `edge` hands over.

use serde::Deserialize;

use crate::signature::keys::KeyError;
use crate::signature::origins::OriginError;
use crate::signature::{Keyring, Origins};

/// At most this many orchestrators may be configured.
pub const ORCHESTRATORS_MAX: usize = 16;

/// An orchestrator's id is at most this long.
pub const ORCHESTRATOR_ID_MAX_BYTES: usize = 64;

/// An orchestrator that this gateway registers with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orchestrator {
    /// The id that key records name.
    pub id: String,
    /// Base URL, without a trailing slash.
    pub url: String,
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
        "BATON_ORCHESTRATORS: expected a JSON array of {{\"id\", \"url\"}}, at most {ORCHESTRATORS_MAX}: wrong at line {0}, column {1}"
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
        Ok(Self {
            keyring: Keyring::parse(&keys)?,
            origins: Origins::parse(&origins)?,
            orchestrators: read_orchestrators(&orchestrators)?,
        })
    }
}

fn read_orchestrators(json: &str) -> Result<Vec<Orchestrator>, ConfigError> {
    let mut orchestrators: Vec<Orchestrator> =
        serde_json::from_str(json).map_err(|error| ConfigError::Orchestrators(error.line(), error.column()))?;
    if orchestrators.len() > ORCHESTRATORS_MAX {
        return Err(ConfigError::TooManyOrchestrators(orchestrators.len()));
    }
    for orchestrator in &mut orchestrators {
        // It names a Durable Object and stands in a query.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=ORCHESTRATOR_ID_MAX_BYTES).contains(&orchestrator.id.len()) || !orchestrator.id.bytes().all(fits) {
            return Err(ConfigError::OrchestratorId(orchestrator.id.clone()));
        }
        let uri: Option<http::Uri> = orchestrator.url.parse().ok();
        let absolute = uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some() && uri.query().is_none()
        });
        if !absolute {
            return Err(ConfigError::OrchestratorUrl(
                orchestrator.id.clone(),
                orchestrator.url.clone(),
            ));
        }
        orchestrator.url = orchestrator.url.trim_end_matches('/').to_owned();
    }
    Ok(orchestrators)
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

    #[test]
    fn reading() {
        let origins = ("BATON_ORIGINS", "http://127.0.0.1:8787");
        check(&[], "BATON_ORIGINS is not set");
        check(&[origins], "ok");
        check(&[origins, ("BATON_KEYS", "no")], "BATON_KEYS: ");
        check(&[("BATON_ORIGINS", "gw")], "`gw` is no origin");
        check(
            &[origins, ("BATON_ORCHESTRATORS", r#"[{"id":"a","url":"http://b/"}]"#)],
            "ok",
        );
        check(
            &[origins, ("BATON_ORCHESTRATORS", r#"[{"id":"a","url":"b"}]"#)],
            "`a` has the URL `b`",
        );
        check(&[origins, ("BATON_ORCHESTRATORS", "{")], "line 1");
        let named = |id: &str| format!(r#"[{{"id":"{id}","url":"http://b"}}]"#);
        check(
            &[
                origins,
                ("BATON_ORCHESTRATORS", &named(&"a".repeat(ORCHESTRATOR_ID_MAX_BYTES))),
            ],
            "ok",
        );
        for id in ["", "a b", "a&b", &"a".repeat(ORCHESTRATOR_ID_MAX_BYTES + 1)] {
            check(&[origins, ("BATON_ORCHESTRATORS", &named(id))], "is no id");
        }
        let one = r#"{"id":"a","url":"http://b"}"#;
        let many = |count: usize| format!("[{}]", vec![one; count].join(","));
        check(&[origins, ("BATON_ORCHESTRATORS", &many(ORCHESTRATORS_MAX))], "ok");
        check(
            &[origins, ("BATON_ORCHESTRATORS", &many(ORCHESTRATORS_MAX + 1))],
            "17 orchestrators",
        );
    }

    #[test]
    fn a_trailing_slash_is_dropped() {
        let read = read_orchestrators(r#"[{"id":"a","url":"http://b/base/"}]"#).expect("valid");
        assert_eq!(read[0].url, "http://b/base");
    }
}
