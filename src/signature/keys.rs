//! Key records: who may sign what, with which secret, and when.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::profile::SKEW_MAX_S;

/// A key is at least this many random bytes.
pub const SECRET_MIN_BYTES: usize = 32;
/// At most this many records may be configured.
pub const KEY_RECORDS_MAX: usize = 64;
/// A key id is at most this many bytes.
pub const KEY_ID_MAX_BYTES: usize = 128;

/// What a key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// An orchestrator's calls to the gateway: steps, handoffs, the origin challenge.
    Invoke,
    /// The gateway's calls to an orchestrator: registration and lease.
    Register,
    /// The gateway's callbacks to a receiver that an orchestrator named: Standard Webhooks. The receiver is given the
    /// secret as `whsec_...`, so a key for this is for nothing else.
    Callback,
    /// An operator's calls to the gateway: dead letters.
    Operate,
    /// The gateway's calls to another gateway, which takes them as those of an orchestrator: steps. The record's
    /// `orchestrator` is the name that `BATON_GATEWAYS` has for that gateway.
    Call,
}

/// How a request under this key is signed. The record decides, never the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Scheme {
    /// RFC 9421 in the profile `baton-request-v1`.
    #[default]
    #[serde(rename = "baton-request-v1")]
    Baton,
    /// Standard Webhooks v1, with a secret derived per agent and action.
    #[serde(rename = "standard-webhooks")]
    StandardWebhooks,
}

/// Secret bytes. They are never shown, not even by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes secret bytes as they are.
    ///
    /// # Errors
    /// When there are fewer than [`SECRET_MIN_BYTES`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, KeyError> {
        if bytes.len() < SECRET_MIN_BYTES {
            return Err(KeyError::SecretTooShort(bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// The bytes, for a MAC.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes in standard base64, for a file that only its owner reads.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// One key as configured in the secret `BATON_KEYS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The `keyid` that a signature names.
    pub id: String,
    /// The orchestrator that holds this key.
    pub orchestrator: String,
    /// What the key may sign; nothing where it is empty.
    pub purposes: Vec<Purpose>,
    /// The agents that it may invoke; `*` is all of them.
    pub agents: Vec<String>,
    /// How requests under it are signed.
    pub scheme: Scheme,
    /// Unix seconds before which the key is not valid.
    pub not_before: Option<u64>,
    /// Unix seconds from which on the key is no longer valid.
    pub not_after: Option<u64>,
    /// The shared secret.
    pub secret: Secret,
}

impl KeyRecord {
    /// Whether the key may sign for this purpose.
    #[must_use]
    pub fn allows(&self, purpose: Purpose) -> bool {
        self.purposes.contains(&purpose)
    }

    /// Whether the key may invoke this agent.
    #[must_use]
    pub fn allows_agent(&self, agent: &str) -> bool {
        self.agents.iter().any(|id| id == "*" || id == agent)
    }

    /// Where `now_s` (Unix seconds) lies in the key's validity.
    #[must_use]
    pub fn validity(&self, now_s: u64) -> Validity {
        if self.not_before.is_some_and(|start| now_s < start) {
            Validity::NotYetValid
        } else if self.not_after.is_some_and(|end| now_s >= end) {
            Validity::Expired
        } else {
            Validity::Valid
        }
    }
}

/// Where a moment lies in a key's validity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Before `not_before`.
    NotYetValid,
    /// Between the two.
    Valid,
    /// At or after `not_after`.
    Expired,
}

/// The wire form of a record: what stands in `BATON_KEYS`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRecord {
    id: String,
    orchestrator: String,
    purposes: Vec<Purpose>,
    #[serde(default = "all_agents")]
    agents: Vec<String>,
    #[serde(default)]
    scheme: Scheme,
    secret: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_after: Option<u64>,
}

fn all_agents() -> Vec<String> {
    vec!["*".to_owned()]
}

impl TryFrom<WireRecord> for KeyRecord {
    type Error = KeyError;

    fn try_from(wire: WireRecord) -> Result<Self, KeyError> {
        if wire.id.is_empty() || wire.id.len() > KEY_ID_MAX_BYTES {
            return Err(KeyError::Id(wire.id.len()));
        }
        // It stands in a structured string, and under Standard Webhooks in a query.
        if !wire
            .id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~:@/".contains(&b))
        {
            return Err(KeyError::IdCharacters(wire.id));
        }
        if wire.orchestrator.is_empty() {
            return Err(KeyError::InRecord(wire.id, Box::new(KeyError::NoOrchestrator)));
        }
        let in_record = |error: KeyError| KeyError::InRecord(wire.id.clone(), Box::new(error));
        let bytes = STANDARD
            .decode(&wire.secret)
            .map_err(|_| in_record(KeyError::SecretEncoding))?;
        let secret = Secret::new(bytes).map_err(in_record)?;
        check_purposes(&wire.purposes).map_err(in_record)?;
        if let (Some(start), Some(end)) = (wire.not_before, wire.not_after)
            && end <= start
        {
            return Err(in_record(KeyError::EmptyValidity));
        }
        Ok(Self {
            id: wire.id,
            orchestrator: wire.orchestrator,
            purposes: wire.purposes,
            agents: wire.agents,
            scheme: wire.scheme,
            not_before: wire.not_before,
            not_after: wire.not_after,
            secret,
        })
    }
}

/// Checks that the purposes go together in one record.
///
/// # Errors
/// [`KeyError::CallbackAlone`] where there is another beside `callback`.
pub fn check_purposes(purposes: &[Purpose]) -> Result<(), KeyError> {
    let callback = purposes.contains(&Purpose::Callback);
    if callback && purposes.iter().any(|purpose| *purpose != Purpose::Callback) {
        return Err(KeyError::CallbackAlone);
    }
    Ok(())
}

/// The keys that a gateway or an orchestrator holds.
#[derive(Debug, Clone, Default)]
pub struct Keyring(Vec<KeyRecord>);

impl Keyring {
    /// Reads the JSON array of the secret `BATON_KEYS`.
    ///
    /// # Errors
    /// Names the record and what is wrong with it; never shows a secret.
    pub fn parse(json: &str) -> Result<Self, KeyError> {
        let wire: Vec<WireRecord> =
            serde_json::from_str(json).map_err(|error| KeyError::Json(error.line(), error.column()))?;
        if wire.len() > KEY_RECORDS_MAX {
            return Err(KeyError::TooMany(wire.len()));
        }
        let records = wire
            .into_iter()
            .map(KeyRecord::try_from)
            .collect::<Result<Vec<_>, _>>()?;
        for (index, record) in records.iter().enumerate() {
            for other in &records[..index] {
                if other.id == record.id {
                    return Err(KeyError::Duplicate(record.id.clone()));
                }
                // Under another id the receiver of a callback would hold a key for something else after all.
                let callback = record.allows(Purpose::Callback) || other.allows(Purpose::Callback);
                if callback && other.secret == record.secret {
                    return Err(KeyError::CallbackSecretShared(other.id.clone(), record.id.clone()));
                }
            }
        }
        Ok(Self(records))
    }

    /// Reads one record, as `baton keys new` prints it.
    ///
    /// # Errors
    /// As [`Keyring::parse`].
    pub fn parse_record(json: &str) -> Result<KeyRecord, KeyError> {
        let wire: WireRecord =
            serde_json::from_str(json).map_err(|error| KeyError::Json(error.line(), error.column()))?;
        wire.try_into()
    }

    /// The record of this key id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&KeyRecord> {
        self.0.iter().find(|record| record.id == id)
    }

    /// The key to sign with: of those valid now, the one that became valid last, so that a rotation moves to the new key by
    /// itself. While a receiver whose clock is behind may not yet take a new key, the old one signs.
    #[must_use]
    pub fn signing_key(&self, orchestrator: &str, purpose: Purpose, now_s: u64) -> Option<&KeyRecord> {
        self.0
            .iter()
            .filter(|record| record.orchestrator == orchestrator && record.allows(purpose))
            .filter(|record| record.scheme == Scheme::Baton)
            .filter(|record| record.validity(now_s) == Validity::Valid)
            .max_by_key(|record| {
                let since_s = record.not_before.unwrap_or_default();
                (since_s + SKEW_MAX_S <= now_s, since_s)
            })
    }

    /// The key to sign the gateway's own calls to an orchestrator with: the one that the orchestrator asks for, where that
    /// is valid now, and else as [`Keyring::signing_key`] chooses.
    #[must_use]
    pub fn register_key(&self, orchestrator: &str, asked: Option<&str>, now_s: u64) -> Option<&KeyRecord> {
        let asked = asked.and_then(|id| self.get(id)).filter(|record| {
            record.orchestrator == orchestrator
                && record.allows(Purpose::Register)
                && record.scheme == Scheme::Baton
                && record.validity(now_s) == Validity::Valid
        });
        asked.or_else(|| self.signing_key(orchestrator, Purpose::Register, now_s))
    }

    /// The records of this orchestrator that have this purpose.
    #[must_use]
    pub fn held_by(&self, orchestrator: &str, purpose: Purpose) -> Self {
        let held = |record: &&KeyRecord| record.orchestrator == orchestrator && record.allows(purpose);
        Self(self.0.iter().filter(held).cloned().collect())
    }

    /// The keys that sign a callback to this orchestrator's receivers: all that are valid now, in the order configured.
    /// During a rotation a delivery has a signature of each, so that a receiver takes it with the old secret and with
    /// the new one.
    #[must_use]
    pub fn callback_keys(&self, orchestrator: &str, now_s: u64) -> Vec<&KeyRecord> {
        self.0
            .iter()
            .filter(|record| record.orchestrator == orchestrator && record.allows(Purpose::Callback))
            .filter(|record| record.validity(now_s) == Validity::Valid)
            .collect()
    }

    /// Whether this orchestrator has a key with which it may invoke the agent now.
    #[must_use]
    pub fn may_invoke(&self, orchestrator: &str, agent: &str, now_s: u64) -> bool {
        let mut own = self.0.iter().filter(|record| record.orchestrator == orchestrator);
        own.any(|record| {
            record.allows(Purpose::Invoke) && record.allows_agent(agent) && record.validity(now_s) == Validity::Valid
        })
    }

    /// All records, in the order configured.
    pub fn iter(&self) -> impl Iterator<Item = &KeyRecord> {
        self.0.iter()
    }
}

/// The record as JSON, secret included: for a file or a secret store, never for a log.
#[must_use]
pub fn record_to_json(record: &KeyRecord) -> serde_json::Value {
    let wire = WireRecord {
        id: record.id.clone(),
        orchestrator: record.orchestrator.clone(),
        purposes: record.purposes.clone(),
        agents: record.agents.clone(),
        scheme: record.scheme,
        secret: record.secret.to_base64(),
        not_before: record.not_before,
        not_after: record.not_after,
    };
    serde_json::to_value(wire).unwrap_or_default()
}

/// What is wrong with configured keys. Messages never contain key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum KeyError {
    #[error("not a JSON array of key records: wrong at line {0}, column {1} (make one with `baton keys new`)")]
    Json(usize, usize),
    #[error("{0} key records, at most {KEY_RECORDS_MAX} are allowed")]
    TooMany(usize),
    #[error("two key records have the id `{0}`: give each its own")]
    Duplicate(String),
    #[error("a key id has {0} bytes: it must have 1 to {KEY_ID_MAX_BYTES}")]
    Id(usize),
    #[error("the key id {0:?} has a character other than ASCII letters, digits and -._~:@/")]
    IdCharacters(String),
    #[error("key record `{0}`: {1}")]
    InRecord(String, Box<KeyError>),
    #[error("`orchestrator` is empty: name the orchestrator that holds the key")]
    NoOrchestrator,
    #[error("the secret is not standard base64")]
    SecretEncoding,
    #[error("the secret has {0} bytes, at least {SECRET_MIN_BYTES} random bytes are needed")]
    SecretTooShort(usize),
    #[error("`not_after` is not later than `not_before`")]
    EmptyValidity,
    #[error(
        "`callback` stands beside another purpose: the secret is given to webhook receivers as `whsec_...`, so it may sign nothing else: make a key of its own with `baton keys new --purpose callback`"
    )]
    CallbackAlone,
    #[error(
        "the key records `{0}` and `{1}` have the same secret, and one of them is for `callback`: webhook receivers are given that secret, so no other record may have it: make a new key with `baton keys new --purpose callback`"
    )]
    CallbackSecretShared(String, String),
}

#[cfg(test)]
mod tests;
