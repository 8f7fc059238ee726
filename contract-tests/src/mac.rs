//! HMAC, digests and base64, taken from the crates that have them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// HMAC-SHA256 in base64.
///
/// # Panics
/// Never: HMAC takes a key of any length.
#[must_use]
pub fn mac(key: &[u8], text: &[u8]) -> String {
    STANDARD.encode(raw_mac(key, text))
}

/// HMAC-SHA256.
///
/// # Panics
/// Never: HMAC takes a key of any length.
#[must_use]
pub fn raw_mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// The value of `Content-Digest`.
#[must_use]
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// Base64 with padding.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
