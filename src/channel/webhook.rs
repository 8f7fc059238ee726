//! The kind `webhook`: the message `notice`, as Standard Webhooks has it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde_json::json;

use super::Notice;
use crate::signature::webhook;
use crate::time::rfc3339_ms;

/// A key has at least this many bytes, and at most [`KEY_MAX_BYTES`]: so Standard Webhooks has it.
pub const KEY_MIN_BYTES: usize = 24;
/// See [`KEY_MIN_BYTES`].
pub const KEY_MAX_BYTES: usize = 64;

/// The bytes of a key in the form in which Standard Webhooks hands it over; nothing where it is none.
#[must_use]
pub fn key_of(text: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
    (KEY_MIN_BYTES..=KEY_MAX_BYTES).contains(&bytes.len()).then_some(bytes)
}

pub(super) fn body(gateway: &str, notice: &Notice) -> Vec<u8> {
    let mut data = notice.data.clone();
    data.insert("gateway".into(), gateway.into());
    data.insert("title".into(), notice.title.as_str().into());
    data.insert("text".into(), notice.text.as_str().into());
    json!({
        "type": notice.kind,
        "id": notice.id,
        "timestamp": rfc3339_ms(notice.at_ms),
        "data": data,
    })
    .to_string()
    .into_bytes()
}

/// The header fields of Standard Webhooks; without a key there is no signature.
pub(super) fn sign(request: &mut http::Request<Vec<u8>>, key: Option<&[u8]>, id: &str, now_s: u64) {
    let signature = key.map(|key| webhook::sign(key, id, now_s, request.body()));
    let timestamp = now_s.to_string();
    let fields = [
        ("webhook-id", Some(id)),
        ("webhook-timestamp", Some(timestamp.as_str())),
        ("webhook-signature", signature.as_deref()),
    ];
    for (name, value) in fields {
        // Ids, numbers and base64: all of it may stand in a header field.
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            request.headers_mut().insert(name, value);
        }
    }
}
