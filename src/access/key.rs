//! API keys of customers: their text, their record, and what their object decides.
//!
//! The text is `baton_<id>_<secret>`: an id that is no secret and finds the record, and 256 random bits. Only SHA-256 of the
//! secret is kept. A slow hash is for passwords, which can be guessed; nobody guesses 256 random bits, so a slow one would
//! add nothing but work to each call.

use std::hint::black_box;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Admission;
use super::bucket::{RateLimit, RatePolicy, TokenBucket};

/// An id has this many hexadecimal digits.
pub const KEY_ID_CHARS: usize = 16;

/// A secret has this many bytes.
pub const SECRET_BYTES: usize = 32;

/// A name has at most this many characters.
pub const NAME_MAX_CHARS: usize = 128;

/// A key names at most this many agents.
pub const AGENTS_MAX: usize = 64;

/// The text of a new key, which is shown once and never kept.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(String);

impl KeyText {
    /// The text of the key of this id with this secret.
    #[must_use]
    pub fn new(id: &str, secret: &[u8; SECRET_BYTES]) -> Self {
        Self(format!("baton_{id}_{}", URL_SAFE_NO_PAD.encode(secret)))
    }

    /// The text, for the one answer that shows it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for KeyText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("KeyText(…)")
    }
}

/// SHA-256 of a secret, as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretDigest(String);

impl SecretDigest {
    /// Of this secret.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        Self(hex(&Sha256::digest(secret)))
    }

    /// What no secret has.
    fn of_nobody() -> Self {
        Self("-".repeat(64))
    }

    /// Whether the two are the same, in the same time wherever they differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        let (one, other) = (self.0.as_bytes(), other.0.as_bytes());
        let differences = one.iter().zip(other).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
        one.len() == other.len() && differences == 0
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The id of the key that this request of an operator makes. It is made from the request's nonce, so that the request, sent
/// again by whoever captured it, finds the id taken and learns no key.
#[must_use]
pub fn key_id(signer: &str, nonce: &str) -> String {
    let digest = Sha256::digest(format!("baton api key {}:{signer}/{nonce}", signer.len()));
    hex(&digest[..KEY_ID_CHARS / 2])
}

/// Whether this is how an id looks.
#[must_use]
pub fn is_key_id(text: &str) -> bool {
    text.len() == KEY_ID_CHARS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A key as a caller presents it: its secret is known by its digest alone from here on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentedKey {
    /// Which key it claims to be.
    pub id: String,
    /// What proves it.
    pub secret: SecretDigest,
}

impl PresentedKey {
    /// Reads a key's text; nothing where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix("baton_")?.split_once('_')?;
        let bytes: [u8; SECRET_BYTES] = URL_SAFE_NO_PAD.decode(secret).ok()?.try_into().ok()?;
        is_key_id(id).then(|| Self {
            id: id.to_owned(),
            secret: SecretDigest::of(&bytes),
        })
    }
}

/// A key's record, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Names it.
    pub id: String,
    /// Whose it is, for people.
    pub name: String,
    /// The agents that it may call; `*` alone is all of them.
    pub agents: Vec<String>,
    /// When it was made, in Unix milliseconds.
    pub created_at_ms: u64,
    /// From when on it is refused, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// Since when it is refused, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at_ms: Option<u64>,
    /// How often it may call.
    pub rate: RateLimit,
}

impl ApiKey {
    /// Whether it is neither revoked nor expired.
    #[must_use]
    pub fn is_valid(&self, now_ms: u64) -> bool {
        self.revoked_at_ms.is_none() && self.expires_at_ms.is_none_or(|expires_at_ms| now_ms < expires_at_ms)
    }
}

/// What a key's object keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyState {
    /// The record.
    pub key: ApiKey,
    /// What a caller must present.
    pub secret: SecretDigest,
    /// How often it may call now.
    pub bucket: TokenBucket,
}

impl KeyState {
    /// Of a key that was just made.
    #[must_use]
    pub fn new(key: ApiKey, secret: SecretDigest) -> Self {
        let bucket = TokenBucket::full(key.rate, key.created_at_ms);
        Self { key, secret, bucket }
    }

    /// Decides about a call, and takes it from the bucket. `kept` has changed where the answer is not
    /// [`Admission::Invalid`]. A key that is not known is compared like every other.
    pub fn admit(kept: Option<&mut Self>, presented: &SecretDigest, now_ms: u64) -> Admission {
        let nobody = SecretDigest::of_nobody();
        let expected = kept.as_ref().map_or(&nobody, |kept| &kept.secret);
        let matches = expected.matches(presented);
        let Some(kept) = kept.filter(|kept| matches && kept.key.is_valid(now_ms)) else {
            return Admission::Invalid;
        };
        let limit = kept.key.rate;
        match kept.bucket.take(limit, now_ms) {
            Ok(()) => Admission::Admitted {
                key: kept.key.clone(),
                rate: kept.bucket.rate(RatePolicy::Key, limit),
            },
            Err(retry_after_ms) => Admission::Limited {
                rate: kept.bucket.rate(RatePolicy::Key, limit),
                retry_after_ms,
            },
        }
    }

    /// Keeps a new key. Safe to repeat: the same key is kept as it is, with what became of it since. Answers what is kept
    /// now; nothing where another key has its id.
    pub fn put(kept: &mut Option<Self>, new: Self) -> Option<ApiKey> {
        let kept = kept.get_or_insert_with(|| new.clone());
        kept.secret.matches(&new.secret).then(|| kept.key.clone())
    }

    /// Revokes the key, if there is one. The first time counts. Answers the record.
    pub fn revoke(kept: Option<&mut Self>, now_ms: u64) -> Option<ApiKey> {
        let kept = kept?;
        kept.key.revoked_at_ms.get_or_insert(now_ms);
        Some(kept.key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef";
    const SECRET: [u8; SECRET_BYTES] = [0xff; SECRET_BYTES];

    fn state() -> KeyState {
        let key = ApiKey {
            id: ID.into(),
            name: "Acme".into(),
            agents: vec!["*".into()],
            created_at_ms: 1_000,
            expires_at_ms: Some(9_000),
            revoked_at_ms: None,
            rate: RateLimit {
                burst: 2,
                per_minute: 60,
            },
        };
        KeyState::new(key, SecretDigest::of(&SECRET))
    }

    #[test]
    fn text_and_back() {
        let text = KeyText::new(ID, &SECRET);
        assert_eq!(text.reveal(), format!("baton_{ID}_{}8", "_".repeat(42)));
        let presented = PresentedKey::parse(text.reveal()).expect("a key");
        assert_eq!(presented.id, ID);
        assert!(presented.secret.matches(&SecretDigest::of(&SECRET)));
        assert!(!format!("{text:?}").contains("____"));
    }

    #[test]
    fn what_is_no_key() {
        let secret = "A".repeat(43);
        for (text, expected) in [
            (format!("baton_{ID}_{secret}"), true),
            (format!("Baton_{ID}_{secret}"), false),
            (format!("baton_{ID}{secret}"), false),
            (format!("baton_{}_{secret}", ID.to_uppercase()), false),
            (format!("baton_{}_{secret}", &ID[1..]), false),
            (format!("baton_{ID}0_{secret}"), false),
            (format!("baton_{ID}_{secret}="), false),
            (format!("baton_{ID}_{secret}A"), false),
            (format!("baton_{ID}_{}", &secret[1..]), false),
            // The last character has bits that no byte takes.
            (format!("baton_{ID}_{}B", &secret[1..]), false),
            (format!("baton_{ID}_{}+", &secret[1..]), false),
            (format!(" baton_{ID}_{secret}"), false),
            (String::new(), false),
        ] {
            assert_eq!(PresentedKey::parse(&text).is_some(), expected, "{text}");
        }
    }

    #[test]
    fn digests_differ_in_any_place() {
        let digest = SecretDigest::of(&SECRET);
        assert!(digest.matches(&digest.clone()));
        for place in 0..64 {
            let mut other = digest.0.clone().into_bytes();
            other[place] ^= 1;
            let other = SecretDigest(String::from_utf8(other).expect("ASCII"));
            assert!(!digest.matches(&other), "{place}");
        }
        assert!(!digest.matches(&SecretDigest(digest.0[..63].into())));
        assert!(!SecretDigest::of_nobody().matches(&SecretDigest::of(&[0; 32])));
    }

    #[test]
    fn ids_come_from_the_nonce() {
        let id = key_id("operator", "nonce-0123456789");
        assert!(is_key_id(&id));
        assert_eq!(id, key_id("operator", "nonce-0123456789"));
        assert_ne!(id, key_id("operator", "nonce-0123456780"));
        assert_ne!(key_id("a", "b/c"), key_id("a/b", "c"));
    }

    #[test]
    fn a_key_is_admitted_until_its_bucket_is_empty() {
        let mut kept = state();
        let secret = SecretDigest::of(&SECRET);
        for left in [1, 0] {
            match KeyState::admit(Some(&mut kept), &secret, 1_000) {
                Admission::Admitted { key, rate } => {
                    assert_eq!((key.id.as_str(), rate.remaining, rate.limit), (ID, left, 2));
                }
                other => panic!("{other:?}"),
            }
        }
        match KeyState::admit(Some(&mut kept), &secret, 1_000) {
            Admission::Limited { rate, retry_after_ms } => assert_eq!((rate.remaining, retry_after_ms), (0, 1_000)),
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            KeyState::admit(Some(&mut kept), &secret, 2_000),
            Admission::Admitted { .. }
        ));
    }

    #[test]
    fn what_is_not_good_is_invalid_and_changes_nothing() {
        let secret = SecretDigest::of(&SECRET);
        let check = |change: &dyn Fn(&mut KeyState), presented: &SecretDigest, now_ms, expected| {
            let mut kept = state();
            change(&mut kept);
            let before = kept.clone();
            let invalid = KeyState::admit(Some(&mut kept), presented, now_ms) == Admission::Invalid;
            assert_eq!(invalid, expected, "{before:?} {now_ms}");
            assert_eq!(kept == before, expected);
        };
        check(&|_| (), &secret, 8_999, false);
        check(&|_| (), &secret, 9_000, true);
        check(&|kept| kept.key.expires_at_ms = None, &secret, u64::MAX, false);
        check(&|_| (), &SecretDigest::of(&[0; 32]), 2_000, true);
        check(&|kept| kept.key.revoked_at_ms = Some(1), &secret, 2_000, true);
        assert_eq!(KeyState::admit(None, &secret, 2_000), Admission::Invalid);
    }

    #[test]
    fn putting_and_revoking_are_safe_to_repeat() {
        let mut kept = None;
        assert_eq!(KeyState::put(&mut kept, state()), Some(state().key));
        assert_eq!(
            KeyState::revoke(kept.as_mut(), 5).expect("a key").revoked_at_ms,
            Some(5)
        );
        assert_eq!(
            KeyState::revoke(kept.as_mut(), 6).expect("a key").revoked_at_ms,
            Some(5)
        );
        // A late repetition of its making does not bring it back to life.
        assert_eq!(KeyState::put(&mut kept, state()).expect("it").revoked_at_ms, Some(5));
        let other = KeyState {
            secret: SecretDigest::of(&[1; 32]),
            ..state()
        };
        let before = kept.clone();
        assert_eq!(KeyState::put(&mut kept, other), None);
        assert_eq!(kept, before);
        assert_eq!(KeyState::revoke(None, 5), None);
    }
}
