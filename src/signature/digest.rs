//! `Content-Digest` (RFC 9530), with `sha-256` alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sfv::BareItem;
use sha2::{Digest as _, Sha256};

use super::structured::{Item, Member, parse_dictionary};

/// The value of a `Content-Digest` field for these bytes: `sha-256=:…:`.
#[must_use]
pub fn content_digest(bytes: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(bytes)))
}

/// The SHA-256 of these bytes in hexadecimal digits.
#[must_use]
pub fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the field holds exactly one digest, `sha-256`, and it is that of these bytes.
#[must_use]
pub fn matches(field: &str, bytes: &[u8]) -> bool {
    let Ok(members) = parse_dictionary(field) else {
        return false;
    };
    match members.as_slice() {
        [
            (
                name,
                Member::Item(Item {
                    value: BareItem::ByteSequence(digest),
                    parameters,
                }),
            ),
        ] => name == "sha-256" && parameters.is_empty() && digest.as_slice() == Sha256::digest(bytes).as_slice(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_right_sha256_matches() {
        let check = |field: &str, expected: bool| assert_eq!(matches(field, b"hi"), expected, "{field}");
        let right = content_digest(b"hi");
        check(&right, true);
        check(&content_digest(b"ho"), false);
        check(&format!("{right}, sha-512=:AAAA:"), false);
        check(&format!("{right}, {right}"), false);
        check(&right.replace("sha-256", "sha-512"), false);
        check(&right.replace(':', ""), false);
        check("", false);
    }
}
