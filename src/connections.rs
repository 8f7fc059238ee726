//! What the operator configured for agents that reach the outside: origins by name, providers of models, other gateways,
//! secrets.

mod prices;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::prices::PriceEntry;
pub use self::prices::{COST_MAX_MICROS, PRICE_MAX, PRICES_MAX, Price};
use crate::outgoing::{Refusal, check_origin};
use crate::signature::{KeyRecord, Keyring, Purpose};

/// At most this many secrets, origins, providers or gateways are configured, each.
pub const CONNECTIONS_MAX: usize = 64;
/// The origin of OpenAI's own API.
pub const OPENAI_ORIGIN: &str = "https://api.openai.com";
/// A secret has at most this many bytes.
pub const SECRET_MAX_BYTES: usize = 4096;
/// A name of a secret, an origin, a provider or a gateway has at most this many bytes.
pub const NAME_MAX_BYTES: usize = 63;

/// The name of a provider that is Workers AI where nothing else is said.
const WORKERS_AI: &str = "workers-ai";
/// The binding of Workers AI where none is named.
pub const AI_BINDING: &str = "AI";
/// What stands in the URL of a request to it. No name server knows it (RFC 2606).
const WORKERS_AI_ORIGIN: &str = "https://workers-ai.invalid";

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Api {
    /// `POST /responses` of OpenAI.
    OpenaiResponses,
    /// `POST /chat/completions` of OpenAI and all that are compatible with it.
    OpenaiChat,
    /// `POST /messages` of Anthropic.
    Anthropic,
    /// Workers AI, by its binding and without an address.
    WorkersAi,
}

impl Api {
    /// Whose API it is, as telemetry names it: what is compatible with it has the same name.
    #[must_use]
    pub const fn family(self) -> &'static str {
        match self {
            Self::OpenaiResponses | Self::OpenaiChat => "openai",
            Self::Anthropic => "anthropic",
            Self::WorkersAi => "cloudflare",
        }
    }
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
    /// The binding that runs its models, in the place of an address: of Workers AI alone.
    pub binding: Option<String>,
    /// What its models cost, by their names, as far as the operator says.
    pub prices: BTreeMap<String, Price>,
}

impl Provider {
    /// What so many tokens of a model cost, in millionths of the operator's unit of currency; nothing without a price.
    #[must_use]
    pub fn cost_micros(&self, model: &str, input_tokens: u64, output_tokens: u64) -> Option<u64> {
        let price = self.prices.get(model)?;
        Some(price.cost_micros(input_tokens, output_tokens))
    }
}

/// Another gateway, whose agents are called by signed steps.
#[derive(Debug, Clone)]
pub struct OtherGateway {
    /// Its name in `BATON_GATEWAYS`.
    pub name: String,
    /// Its origin, checked.
    pub origin: String,
    /// The keys of the purpose `call` that bear its name.
    keys: Keyring,
}

impl OtherGateway {
    /// The key to sign with: of those valid now (`now_s` in Unix seconds), the one that became valid last.
    #[must_use]
    pub fn key(&self, now_s: u64) -> Option<&KeyRecord> {
        self.keys.signing_key(&self.name, Purpose::Call, now_s)
    }
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
    /// `BATON_GATEWAYS`
    gateways: BTreeMap<String, OtherGateway>,
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
    #[error("BATON_MODELS: `{0}` needs `{1}`: only `openai`, `anthropic` and `workers-ai` have one by default")]
    ProviderIncomplete(String, &'static str),
    #[error(
        "BATON_MODELS: `{0}`: Workers AI has a `binding` and neither `base_url` nor `key`; every other provider has no `binding`"
    )]
    ProviderBound(String),
    #[error("BATON_MODELS: `{0}` has the key `{1}`, which is not in BATON_SECRETS")]
    ProviderKey(String, String),
    #[error("BATON_MODELS: the base_url of `{0}` has a query or a fragment: leave them out")]
    ProviderUrl(String),
    #[error("BATON_MODELS: `{provider}`, price of `{model}`: `{member}` must be {expected}, per million tokens", expected = prices::EXPECTED)]
    Price {
        provider: String,
        model: String,
        member: &'static str,
    },
    #[error("BATON_MODELS: `{provider}` has {count} prices, at most {PRICES_MAX} are allowed")]
    TooManyPrices { provider: String, count: usize },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderEntry {
    api: Option<Api>,
    base_url: Option<String>,
    key: Option<String>,
    binding: Option<String>,
    #[serde(default)]
    prices: BTreeMap<String, PriceEntry>,
}

impl Connections {
    /// Reads the configuration. `variable` answers the value of a variable or secret; other gateways are called with keys of
    /// `keyring`.
    ///
    /// # Errors
    /// Names the variable, what is wrong with it and what to write instead. Never shows a secret.
    pub fn read(
        variable: impl Fn(&str) -> Option<String>,
        keyring: &Keyring,
        development: bool,
    ) -> Result<Self, ConnectionError> {
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
        read.origins = origins(
            "BATON_HTTP_ORIGINS",
            r#"a JSON object such as {"crm": "https://crm.example.com"}"#,
            &text("BATON_HTTP_ORIGINS"),
            development,
        )?;
        let gateways = origins(
            "BATON_GATEWAYS",
            r#"a JSON object such as {"east": "https://agents.example.com"}"#,
            &text("BATON_GATEWAYS"),
            development,
        )?;
        for (name, origin) in gateways {
            let keys = keyring.held_by(&name, Purpose::Call);
            let gateway = OtherGateway {
                name: name.clone(),
                origin,
                keys,
            };
            read.gateways.insert(name, gateway);
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
            gateways: BTreeMap::new(),
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

    /// All origins of `BATON_HTTP_ORIGINS`, checked.
    #[must_use]
    pub fn origins(&self) -> Vec<String> {
        self.origins.values().cloned().collect()
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

    /// The gateway of this name.
    #[must_use]
    pub fn gateway(&self, name: &str) -> Option<&OtherGateway> {
        self.gateways.get(name)
    }

    /// The names of the other gateways.
    pub fn gateways(&self) -> impl Iterator<Item = &str> {
        self.gateways.keys().map(String::as_str)
    }

    fn provider_of(&self, name: &str, entry: ProviderEntry) -> Result<Provider, ConnectionError> {
        let usual = match name {
            "openai" => Some((Api::OpenaiResponses, format!("{OPENAI_ORIGIN}/v1"))),
            "anthropic" => Some((Api::Anthropic, "https://api.anthropic.com/v1".to_owned())),
            _ => None,
        };
        if entry.api == Some(Api::WorkersAi) || entry.api.is_none() && name == WORKERS_AI {
            return bound(name, entry);
        }
        if entry.binding.is_some() {
            return Err(ConnectionError::ProviderBound(name.to_owned()));
        }
        let usual = usual.as_ref();
        let incomplete = |field| ConnectionError::ProviderIncomplete(name.to_owned(), field);
        let api = entry
            .api
            .or(usual.map(|(api, _)| *api))
            .ok_or_else(|| incomplete("api"))?;
        let base = entry.base_url.or(usual.map(|(_, base)| base.clone()));
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
            binding: None,
            prices: prices::check(name, entry.prices)?,
        })
    }
}

/// Workers AI, which is called by its binding.
fn bound(name: &str, entry: ProviderEntry) -> Result<Provider, ConnectionError> {
    if entry.base_url.is_some() || entry.key.is_some() {
        return Err(ConnectionError::ProviderBound(name.to_owned()));
    }
    Ok(Provider {
        api: Api::WorkersAi,
        origin: WORKERS_AI_ORIGIN.to_owned(),
        path: String::new(),
        key: None,
        binding: Some(entry.binding.unwrap_or_else(|| AI_BINDING.to_owned())),
        prices: prices::check(name, entry.prices)?,
    })
}

/// Origins by name, each checked.
fn origins(
    variable: &'static str,
    expected: &'static str,
    json: &str,
    development: bool,
) -> Result<BTreeMap<String, String>, ConnectionError> {
    let written: BTreeMap<String, String> = entries(variable, expected, json)?;
    let check = |(name, origin): (String, String)| match check_origin(&origin, development) {
        Ok(origin) => Ok((name, origin)),
        Err(refusal) => Err(ConnectionError::Origin {
            variable,
            name,
            refusal,
        }),
    };
    written.into_iter().map(check).collect()
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
mod tests;
