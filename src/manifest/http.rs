//! A call of somebody else's HTTP API, declared: the configuration of kind `http`, and of a bound Worker's of kind `service`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::kept::Kept;
use super::{Template, TemplateError};
use crate::json::escape_token;

/// How long a call of kind `http` may take, in milliseconds, unless its manifest says otherwise.
pub const HTTP_TIMEOUT_MS: u64 = 10_000;
/// The largest answer of a call of kind `http` in bytes, unless its manifest says otherwise.
pub const RESPONSE_MAX_BYTES: usize = 256 * 1024;
/// The most further tries of a call that a manifest may allow.
pub const RETRIES_MAX: u32 = 5;

/// What a request is made of.
const REQUEST_ROOTS: [&str; 2] = ["input", "state"];
/// What an output is made of: the answer's `body`, its `status`, and what the request was made of.
const OUTPUT_ROOTS: [&str; 4] = ["body", "status", "input", "state"];

/// The configuration of kind `http`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpConfig {
    /// Where it goes: a name of the variable `BATON_HTTP_ORIGINS`, or an origin such as `https://crm.example.com`. No input
    /// changes it.
    pub origin: String,
    /// What is sent there, and what the answers mean.
    #[serde(flatten)]
    pub exchange: Exchange,
}

/// A request, and what its answers mean, wherever it goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// The method.
    pub method: Method,
    /// The path: literal segments and templates. What a template makes stays within its segment.
    pub path: String,
    /// The query, written like `then` of a rule. A field that becomes null is left out, an array repeats its field.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub query: Map<String, Value>,
    /// Header fields, by their names in lower case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderValue>,
    /// The body, written like `then` of a rule, sent as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// The output that a good answer makes, written like `then` of a rule over `body` and `status`. Without it the answer's
    /// body is the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// What other statuses mean.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub statuses: BTreeMap<String, StatusRule>,
    /// How long one try may take, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// So many further tries there are where that may help. Only for methods that may be repeated.
    #[serde(default)]
    pub retries: u32,
    /// The largest answer in bytes.
    #[serde(default = "response_max_bytes")]
    pub response_max_bytes: usize,
    #[serde(skip)]
    compiled: Kept<HttpTemplates>,
}

fn timeout_ms() -> u64 {
    HTTP_TIMEOUT_MS
}

fn response_max_bytes() -> usize {
    RESPONSE_MAX_BYTES
}

/// The method of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "RFC 9110 says what they are")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// As it goes over the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether a request may be sent again when nobody knows what became of it (RFC 9110 section 9.2.2).
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        matches!(self, Self::Get | Self::Put | Self::Delete)
    }
}

/// The value of a header field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HeaderValue {
    /// A template over the input and the state.
    Text(String),
    /// A secret by its name, which the gateway puts in when it sends.
    Secret(SecretReference),
}

/// A secret by its name in `BATON_SECRETS`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretReference {
    /// The name.
    #[serde(rename = "$secret")]
    pub name: String,
    /// What stands before the secret, such as `Bearer `.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

/// What a status means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusRule {
    /// It is an answer: this is the output, written like the usual one.
    Output(Value),
    /// It is a failure, other than the usual one.
    Failure(StatusFailure),
}

/// How an agent fails by a status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusFailure {
    /// The failure's code.
    pub code: String,
    /// The same for people.
    pub message: String,
    /// When another attempt may succeed, in milliseconds; left out where none will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// The templates of a call, compiled.
#[derive(Debug)]
pub struct HttpTemplates {
    /// The segments of the path.
    pub path: Vec<Template>,
    /// The fields of the query.
    pub query: Vec<(String, Template)>,
    /// The header fields that are no secrets.
    pub headers: Vec<(String, Template)>,
    /// The body.
    pub body: Option<Template>,
    /// The usual output.
    pub output: Option<Template>,
    /// The outputs of other statuses.
    pub outputs: Vec<(String, Template)>,
}

impl Exchange {
    /// The templates, compiled once.
    ///
    /// # Errors
    /// What [`Template::compile`] says, with the pointer within the configuration; never for a manifest that passed its check.
    pub fn templates(&self) -> Result<&HttpTemplates, &TemplateError> {
        self.compiled.get(|| self.compile())
    }

    fn compile(&self) -> Result<HttpTemplates, TemplateError> {
        let segments = self.path.trim_start_matches('/').split('/');
        let segments = segments.filter(|_| self.path != "/");
        let headers = self.headers.iter().filter_map(|(name, value)| match value {
            HeaderValue::Text(text) => Some((name, text.as_str().into())),
            HeaderValue::Secret(_) => None,
        });
        let outputs = self.statuses.iter().filter_map(|(status, rule)| match rule {
            StatusRule::Output(template) => Some((status, template)),
            StatusRule::Failure(_) => None,
        });
        let optional = |value: &Option<Value>, at: &str, roots: &[&str]| {
            let value = value.as_ref();
            value.map(|value| compile(value, at, roots)).transpose()
        };
        Ok(HttpTemplates {
            path: segments
                .map(|segment| compile(&segment.into(), "/path", &REQUEST_ROOTS))
                .collect::<Result<_, _>>()?,
            query: self
                .query
                .iter()
                .map(|(name, value)| named(name, value, "/query", "", &REQUEST_ROOTS))
                .collect::<Result<_, _>>()?,
            headers: headers
                .map(|(name, value)| named(name, &value, "/headers", "", &REQUEST_ROOTS))
                .collect::<Result<_, _>>()?,
            body: optional(&self.body, "/body", &REQUEST_ROOTS)?,
            output: optional(&self.output, "/output", &OUTPUT_ROOTS)?,
            outputs: outputs
                .map(|(status, value)| named(status, value, "/statuses", "/output", &OUTPUT_ROOTS))
                .collect::<Result<_, _>>()?,
        })
    }
}

fn compile(value: &Value, at: &str, roots: &[&str]) -> Result<Template, TemplateError> {
    Template::compile_over(roots, value).map_err(|error| TemplateError {
        pointer: format!("{at}{}", error.pointer),
        reason: error.reason,
    })
}

fn named(
    name: &str,
    value: &Value,
    under: &str,
    after: &str,
    roots: &[&str],
) -> Result<(String, Template), TemplateError> {
    let at = format!("{under}/{}{after}", escape_token(name));
    Ok((name.to_owned(), compile(value, &at, roots)?))
}
