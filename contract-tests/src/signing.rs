//! Signing by joining text: an implementation of its own, of both schemes.

use baton::signature::{Keyring, Stamp, sign_request};
use serde_json::Value;

use crate::keys::Key;
use crate::mac::mac;
use crate::message::Message;
use crate::outside::{fresh, now_s};

/// How long the requests of the tests are valid, in seconds.
const WINDOW_S: u64 = 120;

/// Who signed a request, as far as its answer depends on it.
#[derive(Debug, Clone)]
pub struct Signer {
    /// The key's id.
    pub key_id: String,
    /// What the answer is signed with.
    pub secret: Vec<u8>,
    /// The nonce that the answer repeats; under Standard Webhooks the delivery's id.
    pub nonce: String,
}

impl Message {
    /// With all parameters of the profile, made now, under this key and a fresh nonce.
    #[must_use]
    pub fn stamped(self, key: &Key) -> Self {
        let now_s = now_s();
        self.window(now_s, now_s + WINDOW_S)
            .parameter("nonce", &format!("\"{}\"", fresh()))
            .parameter("keyid", &format!("\"{}\"", key.id))
            .parameter("alg", "\"hmac-sha256\"")
            .parameter("tag", "\"baton-request-v1\"")
    }

    /// Stamped and signed, in the place of a signature that is there.
    #[must_use]
    pub fn signed(self, key: &Key) -> Self {
        self.without("signature-input")
            .without("signature")
            .stamped(key)
            .signed_as("sig1", key)
    }

    /// Adds a signature by the components and parameters as they are, beside those that are there.
    #[must_use]
    pub fn signed_as(mut self, label: &str, key: &Key) -> Self {
        let params: String = self
            .parameters
            .iter()
            .map(|(name, value)| format!(";{name}={value}"))
            .collect();
        let params = format!("({}){params}", self.components.join(" "));
        let base = signature_base(&self.components, &params, |identifier| self.component(identifier));
        let mac = mac(&key.secret, base.as_bytes());
        let text = |name: &str| {
            let found = self.parameters.iter().find(|(own, _)| own == name);
            found.map_or(String::new(), |(_, value)| value.trim_matches('"').to_owned())
        };
        self.signer = Some(Signer {
            key_id: text("keyid"),
            secret: key.secret.clone(),
            nonce: text("nonce"),
        });
        self.append("signature-input", &format!("{label}={params}"))
            .append("signature", &format!("{label}=:{mac}:"))
    }

    /// Signed by the signer that Baton publishes, `baton::signature`.
    ///
    /// # Panics
    /// When it refuses to sign.
    #[must_use]
    pub fn signed_by_baton(mut self, key: &Key) -> Self {
        let records = Keyring::parse(&Value::from_iter([key.record().clone()]).to_string()).expect("a key record");
        let record = records.get(&key.id).expect("the record");
        let query = self.query.as_ref().map_or(String::new(), |query| format!("?{query}"));
        let mut request = http::Request::builder()
            .method(self.method.as_str())
            .uri(format!("http://{}{}{query}", self.authority, self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(self.body.clone()).expect("a request");
        let nonce = fresh();
        let stamp = Stamp {
            created_s: now_s(),
            nonce: nonce.clone(),
        };
        sign_request(&mut request, record, stamp).expect("what the profile covers is there");
        self.signer = Some(Signer {
            key_id: key.id.clone(),
            secret: key.secret.clone(),
            nonce,
        });
        ["content-digest", "signature-input", "signature"]
            .into_iter()
            .filter_map(|name| Some((name, request.headers().get(name)?.to_str().ok()?)))
            .fold(self, |message, (name, value)| message.header(name, value))
    }

    /// Signed as a Standard Webhooks delivery to this agent's steps. The id is the idempotency key.
    #[must_use]
    pub fn delivered(self, key: &Key, agent: &str, id: &str, timestamp_s: u64) -> Self {
        let secret = key.webhook_secret(agent, "steps");
        let text = [format!("{id}.{timestamp_s}.").as_bytes(), &self.body].concat();
        let signature = format!("v1,{}", mac(&secret, &text));
        let mut message = self
            .without("content-digest")
            .without("idempotency-key")
            .query(&format!("key_id={}", key.id))
            .header("webhook-id", id)
            .header("webhook-timestamp", &timestamp_s.to_string())
            .header("webhook-signature", &signature);
        message.signer = Some(Signer {
            key_id: key.id.clone(),
            secret,
            nonce: id.to_owned(),
        });
        message
    }
}

/// The signature base of RFC 9421 section 2.5: a line for each component, and one for the parameters.
#[must_use]
pub fn signature_base(components: &[String], params: &str, value: impl Fn(&str) -> String) -> String {
    let lines: String = components
        .iter()
        .map(|identifier| format!("{identifier}: {}\n", value(identifier)))
        .collect();
    format!("{lines}\"@signature-params\": {params}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::repository;

    /// The vectors were computed by neither of the two implementations.
    #[test]
    fn the_vectors_come_out() {
        let file = repository().join("contract-tests/vectors/signature.json");
        let vectors: Value = serde_json::from_slice(&std::fs::read(file).expect("the vectors")).expect("JSON");
        let key = baton_key(vectors["key_base64"].as_str().expect("a key"));
        let cases = vectors["cases"].as_array().expect("cases");
        assert!(cases.len() > 1);
        for case in cases {
            let base = case["base"].as_str().expect("a base");
            let found = mac(&key, base.as_bytes());
            let signature = case["signature"].as_str().expect("a signature");
            assert_eq!(found, signature, "{}", case["name"]);
            // The base again, from its own lines: this is how bases are joined here.
            let lines: Vec<_> = base
                .lines()
                .map(|line| line.split_once(": ").expect("a component"))
                .collect();
            let (last, components) = lines.split_last().expect("lines");
            let names: Vec<_> = components.iter().map(|(name, _)| (*name).to_owned()).collect();
            let joined = signature_base(&names, last.1, |name| {
                let found = components.iter().find(|(own, _)| *own == name);
                found.expect("a component").1.to_owned()
            });
            assert_eq!(joined, base, "{}", case["name"]);
        }
    }

    fn baton_key(text: &str) -> Vec<u8> {
        use base64::Engine as _;
        let standard = base64::engine::general_purpose::STANDARD;
        standard.decode(text).expect("base64")
    }
}
