//! What the operator configured for agents that reach the outside: origins by name, providers of models, secrets.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::outgoing::{Refusal, check_origin};

/// At most this many secrets, origins or providers are configured, each.
pub const CONNECTIONS_MAX: usize = 64;
/// A secret has at most this many bytes.
pub const SECRET_MAX_BYTES: usize = 4096;
/// A name of a secret, an origin or a provider has at most this many bytes.
pub const NAME_MAX_BYTES: usize = 63;

/// A secret that agents send in a header field. Nothing shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text, to be sent to whom it is for.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Which API a provider of models speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Api {
    /// `POST /responses` of OpenAI.
    OpenaiResponses,
    /// `POST /chat/completions` of OpenAI and all that are compatible with it.
    OpenaiChat,
    /// `POST /messages` of Anthropic.
    Anthropic,
}

/// A provider of models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// What it speaks.
    pub api: Api,
    /// Its origin, checked.
    pub origin: String,
    /// The path under which its API is, without a slash at the end.
    pub path: String,
    /// The key that it wants; nothing for one that wants none.
    pub key: Option<Secret>,
}

/// What is configured.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    /// Whether http and loopback are allowed: on a developer's machine alone.
    pub development: bool,
    /// `BATON_HTTP_ORIGINS`, checked.
    origins: BTreeMap<String, String>,
    /// `BATON_MODELS`
    providers: BTreeMap<String, Provider>,
    /// `BATON_SECRETS`
    secrets: BTreeMap<String, Secret>,
}

/// What is wrong with the configuration. Never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum ConnectionError {
    #[error(
        "{variable}: expected {expected}, at most {CONNECTIONS_MAX} entries: wrong at line {line}, column {column}"
    )]
    Form {
        variable: &'static str,
        expected: &'static str,
        line: usize,
        column: usize,
    },
    #[error("{variable}: {count} entries, at most {CONNECTIONS_MAX} are allowed")]
    TooMany { variable: &'static str, count: usize },
    #[error("{variable}: `{name}` is no name: write 1 to {NAME_MAX_BYTES} letters, digits, hyphens and underscores")]
    Name { variable: &'static str, name: String },
    #[error(
        "BATON_SECRETS: the value of `{0}` cannot stand in a header field: write 1 to {SECRET_MAX_BYTES} visible ASCII characters"
    )]
    Secret(String),
    #[error("{variable}: `{name}`: {refusal}")]
    Origin {
        variable: &'static str,
        name: String,
        refusal: Refusal,
    },
    #[error("BATON_MODELS: `{0}` needs `{1}`: only `openai` and `anthropic` have one by default")]
    ProviderIncomplete(String, &'static str),
    #[error("BATON_MODELS: `{0}` has the key `{1}`, which is not in BATON_SECRETS")]
    ProviderKey(String, String),
    #[error("BATON_MODELS: the base_url of `{0}` has a query or a fragment: leave them out")]
    ProviderUrl(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderEntry {
    api: Option<Api>,
    base_url: Option<String>,
    key: Option<String>,
}

impl Connections {
    /// Reads the configuration. `variable` answers the value of a variable or secret.
    ///
    /// # Errors
    /// Names the variable, what is wrong with it and what to write instead. Never shows a secret.
    pub fn read(variable: impl Fn(&str) -> Option<String>, development: bool) -> Result<Self, ConnectionError> {
        let text = |name| variable(name).unwrap_or_else(|| "{}".to_owned());
        let mut read = Self {
            development,
            ..Self::default()
        };
        let secrets: BTreeMap<String, String> = entries(
            "BATON_SECRETS",
            r#"a JSON object such as {"CRM_TOKEN": "…"}"#,
            &text("BATON_SECRETS"),
        )?;
        for (name, value) in secrets {
            let fits = (1..=SECRET_MAX_BYTES).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic());
            if !fits {
                return Err(ConnectionError::Secret(name));
            }
            read.secrets.insert(name, Secret(value));
        }
        let origins: BTreeMap<String, String> = entries(
            "BATON_HTTP_ORIGINS",
            r#"a JSON object such as {"crm": "https://crm.example.com"}"#,
            &text("BATON_HTTP_ORIGINS"),
        )?;
        for (name, origin) in origins {
            let checked = check_origin(&origin, development).map_err(|refusal| ConnectionError::Origin {
                variable: "BATON_HTTP_ORIGINS",
                name: name.clone(),
                refusal,
            })?;
            read.origins.insert(name, checked);
        }
        let providers: BTreeMap<String, ProviderEntry> = entries(
            "BATON_MODELS",
            r#"a JSON object such as {"openai": {"key": "OPENAI_KEY"}}, with "api" and "base_url" where they differ"#,
            &text("BATON_MODELS"),
        )?;
        for (name, entry) in providers {
            let provider = read.provider_of(&name, entry)?;
            read.providers.insert(name, provider);
        }
        Ok(read)
    }

    /// Nothing is configured.
    #[must_use]
    pub fn none() -> &'static Self {
        static NONE: Connections = Connections {
            development: false,
            origins: BTreeMap::new(),
            providers: BTreeMap::new(),
            secrets: BTreeMap::new(),
        };
        &NONE
    }

    /// The origin that a manifest means: a name of `BATON_HTTP_ORIGINS`, or an origin as it stands.
    ///
    /// # Errors
    /// A sentence: the name is not configured, or the origin may not be called.
    pub fn origin(&self, written: &str) -> Result<String, String> {
        if written.contains("://") {
            return check_origin(written, self.development).map_err(|refusal| refusal.to_string());
        }
        let known = self.origins.get(written).cloned();
        known.ok_or_else(|| format!("the origin `{written}` is not in BATON_HTTP_ORIGINS"))
    }

    /// The secret of this name.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name)
    }

    /// The provider of this name.
    #[must_use]
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.get(name)
    }

    fn provider_of(&self, name: &str, entry: ProviderEntry) -> Result<Provider, ConnectionError> {
        let usual = match name {
            "openai" => Some((Api::OpenaiResponses, "https://api.openai.com/v1")),
            "anthropic" => Some((Api::Anthropic, "https://api.anthropic.com/v1")),
            _ => None,
        };
        let incomplete = |field| ConnectionError::ProviderIncomplete(name.to_owned(), field);
        let api = entry
            .api
            .or(usual.map(|(api, _)| api))
            .ok_or_else(|| incomplete("api"))?;
        let base = entry.base_url.or(usual.map(|(_, base)| base.to_owned()));
        let base = base.ok_or_else(|| incomplete("base_url"))?;
        if base.contains(['?', '#']) {
            return Err(ConnectionError::ProviderUrl(name.to_owned()));
        }
        let after_scheme = base.find("://").map_or(0, |at| at + 3);
        let path_at = base[after_scheme..]
            .find('/')
            .map_or(base.len(), |at| after_scheme + at);
        let (origin, path) = base.split_at(path_at);
        let origin = check_origin(origin, self.development).map_err(|refusal| ConnectionError::Origin {
            variable: "BATON_MODELS",
            name: name.to_owned(),
            refusal,
        })?;
        let key = entry.key.map(|key| {
            let secret = self.secrets.get(&key).cloned();
            secret.ok_or(ConnectionError::ProviderKey(name.to_owned(), key))
        });
        Ok(Provider {
            api,
            origin,
            path: path.trim_end_matches('/').to_owned(),
            key: key.transpose()?,
        })
    }
}

fn entries<T: DeserializeOwned>(
    variable: &'static str,
    expected: &'static str,
    json: &str,
) -> Result<BTreeMap<String, T>, ConnectionError> {
    // serde's own words could quote a secret.
    let read: BTreeMap<String, T> = serde_json::from_str(json).map_err(|error| ConnectionError::Form {
        variable,
        expected,
        line: error.line(),
        column: error.column(),
    })?;
    if read.len() > CONNECTIONS_MAX {
        let count = read.len();
        return Err(ConnectionError::TooMany { variable, count });
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_name = |name: &str| (1..=NAME_MAX_BYTES).contains(&name.len()) && name.bytes().all(fits);
    match read.keys().find(|name| !is_name(name)) {
        Some(name) => Err(ConnectionError::Name {
            variable,
            name: name.clone(),
        }),
        None => Ok(read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)], development: bool) -> Result<Connections, ConnectionError> {
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Connections::read(|name| value(name).map(|(_, value)| (*value).to_owned()), development)
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
}
