//! Channels: where notifications and alerts go.

use serde::{Deserialize, Serialize};

use super::SecretReference;

/// A gateway has at most this many channels.
pub const CHANNELS_MAX: usize = 16;

/// A channel, as `gateway.json` declares it under its id. Its address is a secret: whoever knows it can write there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelConfig {
    /// What it understands.
    pub kind: ChannelKind,
    /// The URL, by its name in `BATON_SECRETS`. Its origin must be one of `BATON_HTTP_ORIGINS`.
    pub url: SecretReference,
    /// The secret that its messages are signed with, in the form `whsec_…`, by its name in `BATON_SECRETS`; unsigned where
    /// there is none. For the kind `webhook` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretReference>,
}

/// What a channel understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    /// The message `notice`, with the header fields of Standard Webhooks.
    Webhook,
    /// An incoming webhook of Slack, or of what takes the same.
    Slack,
}
