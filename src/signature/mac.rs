//! HMAC-SHA256 (RFC 2104), made and compared in constant time by the `hmac` crate.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The MAC of these bytes.
#[must_use]
pub fn sign(key: &[u8], message: &[u8]) -> Vec<u8> {
    new(key, message).finalize().into_bytes().to_vec()
}

/// Whether this is the MAC of these bytes; takes the same time wherever the two differ.
#[must_use]
pub fn verify(key: &[u8], message: &[u8], mac: &[u8]) -> bool {
    new(key, message).verify_slice(mac).is_ok()
}

/// Whether one of these is the MAC of these bytes. They are hashed once, however many candidates there are, and every
/// candidate is compared, whichever holds.
#[must_use]
pub fn verify_any(key: &[u8], message: &[u8], macs: &[Vec<u8>]) -> bool {
    let computed = new(key, message);
    macs.iter()
        .fold(false, |held, mac| computed.clone().verify_slice(mac).is_ok() | held)
}

fn new(key: &[u8], message: &[u8]) -> Hmac<Sha256> {
    // HMAC takes a key of any length: a longer one is hashed, a shorter one padded.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!());
    mac.update(message);
    mac
}
