//! An operator's session in a browser: a token that says who signed in and until when.
//!
//! Nothing of it is stored. The token has a MAC under a key that is derived from the operator's own, so it is void as soon
//! as that key is: taken out of the configuration, expired, or no longer for operators. What a token cannot do is end before
//! its time while the key is good; that is why it is short-lived.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::signature::keys::{Keyring, Scheme, Validity};
use crate::signature::{KeyRecord, Purpose, mac};

/// A session ends this long after it was used last, in seconds.
pub const SESSION_S: u64 = 15 * 60;

/// A session ends this long after the sign-in, however it is used, in seconds.
pub const SESSION_MAX_S: u64 = 8 * 60 * 60;

/// What the session's key is derived by: no signature of another kind is ever made under it.
const DOMAIN: &[u8] = b"baton-session-v1";

/// A browser that signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The operator's key.
    pub key_id: String,
    /// The orchestrator of that key.
    pub orchestrator: String,
    /// The agents that the key is for; `*` is all of them.
    pub agents: Vec<String>,
    /// When the operator signed in, in Unix seconds.
    pub begun_at_s: u64,
    /// The first second (Unix) in which the session is over, unless it is renewed.
    pub expires_at_s: u64,
    /// Tells sessions of one key apart. Without dots.
    id: String,
}

impl Session {
    /// A session that begins now. `id` is one that no other session has, without dots; it is no secret.
    #[must_use]
    pub fn begin(key: &KeyRecord, id: &str, now_s: u64) -> Self {
        Self {
            key_id: key.id.clone(),
            orchestrator: key.orchestrator.clone(),
            agents: key.agents.clone(),
            begun_at_s: now_s,
            expires_at_s: now_s + SESSION_S,
            id: id.to_owned(),
        }
    }

    /// The first second (Unix) in which the session is over even if it is used.
    #[must_use]
    pub fn ends_at_s(&self) -> u64 {
        self.begun_at_s + SESSION_MAX_S
    }

    /// The token of this session, under the operator's key.
    #[must_use]
    pub fn token(&self, key: &KeyRecord) -> String {
        let claims = format!("{}.{}.{}", self.begun_at_s, self.expires_at_s, self.id);
        let mac = mac::sign(&session_key(key.secret.bytes()), &signed(&claims, &self.key_id));
        format!("{claims}.{}.{}", URL_SAFE_NO_PAD.encode(mac), self.key_id)
    }

    /// The session of a token. Nothing where the token is not good now; nobody is told why.
    #[must_use]
    pub fn of_token(token: &str, keyring: &Keyring, now_s: u64) -> Option<Self> {
        const NOBODYS_KEY: [u8; 32] = [0; 32];
        let mut parts = token.splitn(5, '.');
        let (begun, expires, id) = (parts.next()?, parts.next()?, parts.next()?);
        let mac = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        // Last, for a key's id may have dots.
        let key_id = parts.next()?;
        // An unknown key costs the same work as a wrong MAC.
        let key = keyring.get(key_id);
        let secret = key.map_or(&NOBODYS_KEY[..], |key| key.secret.bytes());
        let claims = format!("{begun}.{expires}.{id}");
        let holds = mac::verify(&session_key(secret), &signed(&claims, key_id), &mac);
        let key = key.filter(|_| holds)?;
        let good =
            key.scheme == Scheme::Baton && key.validity(now_s) == Validity::Valid && key.allows(Purpose::Operate);
        let session = Self {
            begun_at_s: begun.parse().ok()?,
            expires_at_s: expires.parse().ok()?,
            ..Self::begin(key, id, now_s)
        };
        (good && now_s < session.expires_at_s).then_some(session)
    }

    /// The same session with its time prolonged by this use; nothing where that is not worth a new token.
    #[must_use]
    pub fn renewed(&self, now_s: u64) -> Option<Self> {
        let expires_at_s = (now_s + SESSION_S).min(self.ends_at_s());
        let worth_it = self.expires_at_s < now_s + SESSION_S / 2 && self.expires_at_s < expires_at_s;
        worth_it.then(|| Self {
            expires_at_s,
            ..self.clone()
        })
    }
}

fn session_key(secret: &[u8]) -> Vec<u8> {
    mac::sign(secret, DOMAIN)
}

/// What the MAC is of. The claims have no dots but those between them.
fn signed(claims: &str, key_id: &str) -> Vec<u8> {
    format!("{claims}.{key_id}").into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW_S: u64 = 1_800_000_000;

    /// A keyring with one key: for operators, with `member` of its record set to another value.
    fn keyring(member: &str, value: Value) -> Keyring {
        let mut record = json!({
            "id": "operator.1",
            "orchestrator": "acme",
            "purposes": ["operate"],
            "secret": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
        });
        record[member] = value;
        Keyring::parse(&json!([record]).to_string()).expect("a key")
    }

    fn plain() -> Keyring {
        keyring("orchestrator", "acme".into())
    }

    fn begun() -> (Session, String) {
        let keyring = plain();
        let key = keyring.get("operator.1").expect("the key");
        let session = Session::begin(key, "id", NOW_S);
        let token = session.token(key);
        (session, token)
    }

    #[test]
    fn a_token_is_its_session_until_it_expires() {
        let (session, token) = begun();
        let at = |now_s| Session::of_token(&token, &plain(), now_s);
        assert_eq!(at(NOW_S), Some(session.clone()));
        assert_eq!(at(NOW_S + SESSION_S - 1), Some(session));
        assert_eq!(at(NOW_S + SESSION_S), None);
    }

    #[test]
    fn a_changed_token_is_void() {
        let (_, token) = begun();
        let parts: Vec<_> = token.splitn(5, '.').collect();
        let with = |place: usize, text: &str| {
            let mut changed = parts.clone();
            changed[place] = text;
            changed.join(".")
        };
        let later = (NOW_S + SESSION_S + 1).to_string();
        for changed in [
            with(0, &later),
            with(1, &later),
            with(2, "other"),
            with(3, ""),
            with(3, &"A".repeat(43)),
            with(4, "operator.2"),
            parts[..4].join("."),
            format!("{token}x"),
            String::new(),
        ] {
            assert_eq!(Session::of_token(&changed, &plain(), NOW_S), None, "{changed}");
        }
    }

    #[test]
    fn a_token_is_void_when_its_key_is() {
        let (_, token) = begun();
        let check = |member: &str, value: Value, good: bool| {
            let keyring = keyring(member, value.clone());
            let found = Session::of_token(&token, &keyring, NOW_S);
            assert_eq!(found.is_some(), good, "{member}: {value}");
        };
        check("purposes", json!(["invoke", "operate"]), true);
        check("purposes", json!(["invoke", "register"]), false);
        check("not_after", json!(NOW_S + 1), true);
        check("not_after", json!(NOW_S), false);
        check("not_before", json!(NOW_S + 1), false);
        check("scheme", json!("standard-webhooks"), false);
        check("id", json!("operator.2"), false);
        check("secret", json!("CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg="), false);
        assert_eq!(Session::of_token(&token, &Keyring::default(), NOW_S), None);
    }

    #[test]
    fn a_mac_of_another_kind_makes_no_token() {
        let keyring = plain();
        let key = keyring.get("operator.1").expect("the key");
        let claims = format!("{NOW_S}.{}.id", NOW_S + SESSION_S);
        let mac = mac::sign(key.secret.bytes(), &signed(&claims, &key.id));
        let token = format!("{claims}.{}.{}", URL_SAFE_NO_PAD.encode(mac), key.id);
        assert_eq!(Session::of_token(&token, &keyring, NOW_S), None);
    }

    #[test]
    fn use_prolongs_a_session_to_its_end_and_no_further() {
        let (session, _) = begun();
        let renewed = |session: &Session, now_s| session.renewed(now_s).map(|renewed| renewed.expires_at_s);
        let half = NOW_S + SESSION_S / 2;
        assert_eq!(renewed(&session, half), None, "too early to be worth it");
        assert_eq!(renewed(&session, half + 1), Some(half + 1 + SESSION_S));
        let late = Session {
            expires_at_s: session.ends_at_s() - 1,
            ..session
        };
        let end = late.ends_at_s();
        assert_eq!(renewed(&late, end - 2), Some(end));
        let last = Session {
            expires_at_s: end,
            ..late
        };
        assert_eq!(renewed(&last, end - 1), None);
    }
}
