//! Channels: how a notice, of a step that ended or of an alert, is told to people.
//!
//! [`request`] makes the request of one try; `edge` sends it. A notice keeps its id over all tries, so that a receiver can
//! tell a repeated one.

mod slack;
#[cfg(test)]
mod tests;
mod webhook;

use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::connections::{Connections, Secret};
use crate::manifest::{ChannelConfig, ChannelKind};
use crate::outgoing::{Refusal, Rules, check_url};

pub use self::slack::{SECTION_MAX_UNITS, escaped};
pub use self::webhook::{KEY_MAX_BYTES, KEY_MIN_BYTES, key_of};

/// A notice's text is cut at this length, in characters.
pub const NOTICE_TEXT_MAX_CHARS: usize = 3_000;

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The same over all tries.
    pub id: String,
    /// Which channel.
    pub channel: String,
    /// `notification`, `alert.firing`, `alert.repeated` or `alert.resolved`.
    pub kind: String,
    /// When it happened, in Unix milliseconds.
    pub at_ms: u64,
    /// What it is about, in a line.
    pub title: String,
    /// What is told, at most [`NOTICE_TEXT_MAX_CHARS`].
    pub text: String,
    /// The same for programs: ids, codes and numbers.
    pub data: Map<String, Value>,
}

/// A text, as much of it as is told.
#[must_use]
pub fn text_of(text: &str) -> String {
    text.chars().take(NOTICE_TEXT_MAX_CHARS).collect()
}

/// Why a channel cannot be told as it is configured. Shows no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum ChannelError {
    #[error("there is no channel `{0}` in gateway.json any more")]
    Unknown(String),
    #[error("the secret `{0}` is not in BATON_SECRETS")]
    NoSecret(String),
    #[error("the URL in the secret `{name}`: {refusal}")]
    Url { name: String, refusal: Refusal },
    #[error("the URL in the secret `{name}`: its origin {origin} is not one of BATON_HTTP_ORIGINS")]
    OriginNotAllowed { name: String, origin: String },
    #[error(
        "the secret `{0}` is no key of Standard Webhooks: write `whsec_` and the base64 of {KEY_MIN_BYTES} to {KEY_MAX_BYTES} bytes"
    )]
    Key(String),
}

/// Where a channel's messages go and what they are signed with, or what is wrong with that.
///
/// # Errors
/// A sentence for the operator.
pub fn check(channel: &ChannelConfig, connections: &Connections) -> Result<(String, Option<Vec<u8>>), ChannelError> {
    let secret = |name: &str| -> Result<&Secret, ChannelError> {
        let found = connections.secret(name);
        found.ok_or_else(|| ChannelError::NoSecret(name.to_owned()))
    };
    let name = &channel.url.name;
    let origins = connections.origins();
    let rules = Rules {
        development: connections.development,
        origins: &origins,
    };
    let target = check_url(secret(name)?.text(), rules).map_err(|refusal| match refusal {
        Refusal::OriginNotAllowed { origin, .. } => ChannelError::OriginNotAllowed {
            name: name.clone(),
            origin,
        },
        refusal => ChannelError::Url {
            name: name.clone(),
            refusal,
        },
    })?;
    let key = match &channel.key {
        Some(key) => {
            let bytes = key_of(secret(&key.name)?.text());
            Some(bytes.ok_or_else(|| ChannelError::Key(key.name.clone()))?)
        }
        None => None,
    };
    Ok((target.url, key))
}

/// The request of one try at `now_s`, in Unix seconds.
///
/// # Errors
/// What [`check`] says.
pub fn request(
    channel: &ChannelConfig,
    connections: &Connections,
    gateway: &str,
    notice: &Notice,
    now_s: u64,
) -> Result<http::Request<Vec<u8>>, ChannelError> {
    let (url, key) = check(channel, connections)?;
    let mut request = http::Request::new(match channel.kind {
        ChannelKind::Webhook => webhook::body(gateway, notice),
        ChannelKind::Slack => slack::body(notice),
    });
    *request.method_mut() = http::Method::POST;
    // The guard composed it of characters that a URI may have.
    *request.uri_mut() = url.parse().map_err(|_| ChannelError::Url {
        name: channel.url.name.clone(),
        refusal: Refusal::NotAbsolute,
    })?;
    let json = http::HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, json);
    if channel.kind == ChannelKind::Webhook {
        webhook::sign(&mut request, key.as_deref(), &notice.id, now_s);
    }
    Ok(request)
}
