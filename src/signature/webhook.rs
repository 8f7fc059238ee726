//! Standard Webhooks v1: for senders that know no RFC 9421, where a key record says so.
//!
//! Its signature covers id, time and body, but not where they are sent. So each agent and action has a
//! secret of its own, derived from the key: a body signed for one endpoint opens no other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::mac;
use super::profile::{IDEMPOTENCY_KEY_MAX_BYTES, single};
use super::rejection::Rejection;

/// A delivery's time may differ from ours by this much, both ways, in seconds.
pub const TOLERANCE_S: u64 = 300;
/// A delivery carries at most this many signatures.
pub const SIGNATURES_MAX: usize = 8;
/// The query parameter that names the key record: the sender configures a URL and a secret, nothing else.
pub const KEY_ID_PARAMETER: &str = "key_id";

/// The headers of a delivery.
#[derive(Debug, Clone)]
pub struct Delivery<'a> {
    /// `webhook-id`: the same over retries.
    pub id: &'a str,
    /// `webhook-timestamp` in Unix seconds.
    pub timestamp_s: u64,
    macs: Vec<Vec<u8>>,
}

impl Delivery<'_> {
    /// Whether one of the signatures holds for this body. All are tried, whichever holds.
    #[must_use]
    pub fn verify(&self, secret: &[u8], body: &[u8]) -> bool {
        mac::verify_any(secret, &message(self.id, self.timestamp_s, body), &self.macs)
    }
}

/// Reads the headers of a delivery.
///
/// # Errors
/// [`Rejection::Malformed`] and its like.
pub fn find(headers: &HeaderMap) -> Result<Delivery<'_>, Rejection> {
    let field = |name| single(headers, name)?.ok_or(Rejection::Missing);
    let id = field("webhook-id")?;
    // What is signed is `id.time.body`: with a full stop in the id, one text could be read in two ways.
    let fits = |b: u8| b.is_ascii_graphic() && b != b'.';
    if id.is_empty() || id.len() > IDEMPOTENCY_KEY_MAX_BYTES || !id.bytes().all(fits) {
        return Err(Rejection::Malformed);
    }
    let timestamp_s = seconds(field("webhook-timestamp")?).ok_or(Rejection::Malformed)?;
    let signatures: Vec<_> = field("webhook-signature")?.split(' ').collect();
    if signatures.len() > SIGNATURES_MAX {
        return Err(Rejection::TooManyLabels);
    }
    // Other versions, such as `v1a`, are passed over: the standard says so. A `v1` that does not decode is an error: so
    // end header lines that a runtime joined with `, `.
    let macs = signatures
        .into_iter()
        .filter_map(|signature| signature.strip_prefix("v1,"))
        .map(|mac| STANDARD.decode(mac).map_err(|_| Rejection::Malformed))
        .collect::<Result<_, _>>()?;
    Ok(Delivery { id, timestamp_s, macs })
}

/// Unix seconds in their one spelling: the number is signed, so `+5` or `05` would be signed as `5`.
fn seconds(text: &str) -> Option<u64> {
    text.parse().ok().filter(|seconds: &u64| seconds.to_string() == text)
}

/// The key record that the URL names, where it names exactly one: the query is not signed.
#[must_use]
pub fn key_id(query: Option<&str>) -> Option<&str> {
    let mut ids = query?
        .split('&')
        .filter_map(|pair| pair.strip_prefix(KEY_ID_PARAMETER)?.strip_prefix('='));
    let id = ids.next()?;
    ids.next().is_none().then_some(id)
}

/// Checks the delivery's time.
///
/// # Errors
/// [`Rejection::Expired`] or [`Rejection::NotYetValid`].
pub const fn check_timestamp(timestamp_s: u64, now_s: u64) -> Result<(), Rejection> {
    if timestamp_s.saturating_add(TOLERANCE_S) < now_s {
        Err(Rejection::Expired)
    } else if timestamp_s > now_s.saturating_add(TOLERANCE_S) {
        Err(Rejection::NotYetValid)
    } else {
        Ok(())
    }
}

/// The secret of one agent and action under a key. Each part is prefixed by its length, so that no two
/// triples read the same.
#[must_use]
pub fn derived_secret(key: &[u8], orchestrator: &str, agent: &str, action: &str) -> Vec<u8> {
    let parts = ["baton-webhook-v1", orchestrator, agent, action];
    let label: String = parts.iter().map(|part| format!("{}:{part},", part.len())).collect();
    mac::sign(key, label.as_bytes())
}

/// The `webhook-signature` of a body.
#[must_use]
pub fn sign(secret: &[u8], id: &str, timestamp_s: u64, body: &[u8]) -> String {
    format!(
        "v1,{}",
        STANDARD.encode(mac::sign(secret, &message(id, timestamp_s, body)))
    )
}

/// The `webhook-signature` of a body under several secrets, separated by a space: a receiver that holds one of them
/// takes it.
#[must_use]
pub fn sign_all<'a>(secrets: impl IntoIterator<Item = &'a [u8]>, id: &str, timestamp_s: u64, body: &[u8]) -> String {
    let signatures: Vec<_> = secrets
        .into_iter()
        .map(|secret| sign(secret, id, timestamp_s, body))
        .collect();
    signatures.join(" ")
}

/// A secret in the form in which the two sides of Standard Webhooks hand it over.
#[must_use]
pub fn given_secret(secret: &[u8]) -> String {
    format!("whsec_{}", STANDARD.encode(secret))
}

fn message(id: &str, timestamp_s: u64, body: &[u8]) -> Vec<u8> {
    [format!("{id}.{timestamp_s}.").as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_at_the_edge() {
        let check = |timestamp, expected: Result<(), Rejection>| {
            assert_eq!(check_timestamp(timestamp, 10_000), expected, "{timestamp}");
        };
        check(10_000 - TOLERANCE_S, Ok(()));
        check(10_000 - TOLERANCE_S - 1, Err(Rejection::Expired));
        check(10_000 + TOLERANCE_S, Ok(()));
        check(10_000 + TOLERANCE_S + 1, Err(Rejection::NotYetValid));
        check(u64::MAX, Err(Rejection::NotYetValid));
    }

    #[test]
    fn a_secret_is_bound_to_agent_and_action() {
        let one = derived_secret(b"key", "o", "agent", "steps");
        for (orchestrator, agent, action) in [
            ("p", "agent", "steps"),
            ("o", "agen", "tsteps"),
            ("o", "agent", "cancel"),
        ] {
            assert_ne!(one, derived_secret(b"key", orchestrator, agent, action));
        }
    }

    #[test]
    fn one_of_several_secrets_is_enough() {
        let (old, new): (&[u8], &[u8]) = (b"old secret", b"new secret");
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "msg_01".parse().expect("a value"));
        headers.insert("webhook-timestamp", "5".parse().expect("a value"));
        let both = sign_all([old, new], "msg_01", 5, b"{}");
        headers.insert("webhook-signature", both.parse().expect("a value"));
        let delivery = find(&headers).expect("a delivery");
        assert!(delivery.verify(old, b"{}"));
        assert!(delivery.verify(new, b"{}"));
        assert!(!delivery.verify(b"another secret", b"{}"));
        assert_eq!(sign_all([old], "msg_01", 5, b"{}"), sign(old, "msg_01", 5, b"{}"));
        assert_eq!(sign_all([], "msg_01", 5, b"{}"), "");
    }

    #[test]
    fn the_given_form() {
        assert_eq!(given_secret(&[0, 1, 2]), "whsec_AAEC");
    }

    #[test]
    fn the_key_is_named_in_the_url() {
        assert_eq!(key_id(Some("a=b&key_id=k1")), Some("k1"));
        assert_eq!(key_id(Some("xkey_id=k1")), None);
        assert_eq!(key_id(Some("key_id=k1&key_id=k2")), None);
        assert_eq!(key_id(None), None);
    }
}
