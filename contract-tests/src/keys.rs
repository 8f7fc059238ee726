//! Key records as gateway, orchestrator and callers share them.

use serde_json::{Value, json};

use crate::mac::{base64, raw_mac};
use crate::outside::random;

/// A key with its record.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// Its secret bytes.
    pub secret: Vec<u8>,
    record: Value,
}

impl Key {
    /// A new one for this orchestrator and purpose (`invoke` or `register`), for all agents.
    #[must_use]
    pub fn new(id: &str, orchestrator: &str, purpose: &str) -> Self {
        let secret = random::<32>().to_vec();
        let record = json!({
            "id": id,
            "orchestrator": orchestrator,
            "purposes": [purpose],
            "agents": ["*"],
            "secret": base64(&secret),
        });
        Self {
            id: id.to_owned(),
            secret,
            record,
        }
    }

    /// The same with a member of its record set to another value.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.record[member] = value.into();
        self
    }

    /// The record, as it stands in `BATON_KEYS`.
    #[must_use]
    pub fn record(&self) -> &Value {
        &self.record
    }

    /// The secret of a Standard Webhooks sender for one agent and action, as `docs/protocol.md` derives it.
    #[must_use]
    pub fn webhook_secret(&self, agent: &str, action: &str) -> Vec<u8> {
        let orchestrator = self.record["orchestrator"].as_str().unwrap_or_default();
        let parts = ["baton-webhook-v1", orchestrator, agent, action];
        let label: String = parts.iter().map(|part| format!("{}:{part},", part.len())).collect();
        raw_mac(&self.secret, label.as_bytes())
    }
}

/// The keys of a gateway or of an orchestrator.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// These keys.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// The key with this id.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[track_caller]
    pub fn get(&self, id: &str) -> &Key {
        let found = self.0.iter().find(|key| key.id == id);
        found.unwrap_or_else(|| panic!("the test has no key `{id}`"))
    }

    /// The value of `BATON_KEYS`.
    #[must_use]
    pub fn to_json(&self) -> String {
        Value::from_iter(self.0.iter().map(|key| key.record.clone())).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mac::mac;

    /// The test vector of docs/protocol.md, section 5.
    #[test]
    fn a_webhook_secret_is_derived_as_documented() {
        let mut key = Key::new("hooks", "acme", "invoke");
        key.secret = (0..32).collect();
        let secret = key.webhook_secret("triage", "steps");
        assert_eq!(base64(&secret), "s8H4Jr0PZm6XX6xr6fg0I6Nu935uec6X9y3dXtNybNs=");
        let text = r#"msg_01.1764000000.{"run":"run_01","step":"s1","input":{"text":"hi"}}"#;
        assert_eq!(
            mac(&secret, text.as_bytes()),
            "s/FaQ7g3BXayXmBQ12WmQGn0VMNj8A49khRpzB7GVeY="
        );
    }
}
