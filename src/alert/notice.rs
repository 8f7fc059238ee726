//! What an alert says to people.

use serde_json::{Map, Value};

use super::state::{AlertState, Say};
use crate::channel::{Notice, text_of};
use crate::signature::digest::hex_digest;
use crate::time::rfc3339_ms;

/// The notice of an alert for a channel. Its id is made of the alert, the firing and the moment: who made it, and how often,
/// does not change it.
pub(super) fn notice_of(
    (gateway, alert, watched): (&str, &str, &str),
    channel: &str,
    state: &AlertState,
    say: Say,
    now_ms: u64,
) -> Notice {
    let (kind, headline, since_ms) = match say {
        Say::Firing(since_ms) => ("alert.firing", "is firing", since_ms),
        Say::Repeated(since_ms) => ("alert.repeated", "is still firing", since_ms),
        Say::Resolved(since_ms) => ("alert.resolved", "is well again", since_ms),
    };
    let since = rfc3339_ms(since_ms);
    let digest = hex_digest(format!("{gateway}\n{alert}\n{channel}\n{kind}\n{}\n{now_ms}", state.firings).as_bytes());
    let mut data = Map::new();
    for (name, value) in [
        ("alert", Value::from(alert)),
        ("kind", watched.into()),
        ("value", state.value.into()),
        ("firing", state.firings.into()),
        ("since", since.as_str().into()),
    ] {
        data.insert(name.to_owned(), value);
    }
    Notice {
        id: format!("msg_{}", &digest[..32]),
        channel: channel.to_owned(),
        kind: kind.to_owned(),
        at_ms: now_ms,
        title: format!("{gateway}: {alert} {headline}"),
        text: text_of(&format!("{} It began at {since}.", state.text)),
        data,
    }
}
