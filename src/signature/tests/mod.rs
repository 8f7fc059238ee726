//! The profile under attack.
//!
//! Messages are signed here by a second implementation that only joins text, so that a fault in `base` or
//! `structured` cannot cancel itself out between signing and verifying.

mod attacks;
mod keys;
mod limits;
mod parameters;
mod properties;
mod responses;
mod vectors;
mod webhooks;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::keys::{Keyring, Purpose};
use super::{Origins, Policy, Rejection, RequestView, Verified, digest, mac, verify};

/// Runs one check per line, each as a test of its own: `name: message => expected;`.
macro_rules! checks {
    ($($name:ident: $message:expr => $expected:expr;)*) => {
        $(
            #[test]
            fn $name() {
                crate::signature::tests::check(&$message, $expected);
            }
        )*
    };
}
use checks;

const NOW_S: u64 = 1_764_000_010;
const CREATED_S: u64 = 1_764_000_000;
const BODY: &[u8] = br#"{"run":"run_01","step":"s1","attempt":1,"input":{"text":"hi"}}"#;
const KEY: [u8; 32] = [1; 32];
const OTHER_KEY: [u8; 32] = [2; 32];

/// One key of every kind. All but `second` and `other` have the secret [`KEY`].
fn keyring() -> Keyring {
    let record = |id: &str, secret: &[u8], purpose: &str, more: &str| {
        format!(
            r#"{{"id":"{id}","orchestrator":"acme","purposes":["{purpose}"],"secret":"{}"{more}}}"#,
            STANDARD.encode(secret)
        )
    };
    let records = [
        record("first", &KEY, "invoke", r#","agents":["summarizer","triage"]"#),
        record("second", &OTHER_KEY, "invoke", ""),
        record("expired", &KEY, "invoke", &format!(r#","not_after":{NOW_S}"#)),
        record("last-second", &KEY, "invoke", &format!(r#","not_after":{}"#, NOW_S + 1)),
        record("future", &KEY, "invoke", &format!(r#","not_before":{}"#, NOW_S + 1)),
        record("first-second", &KEY, "invoke", &format!(r#","not_before":{NOW_S}"#)),
        record("register", &KEY, "register", ""),
        record("hooks", &KEY, "invoke", r#","scheme":"standard-webhooks""#),
        record("hooks-register", &KEY, "register", r#","scheme":"standard-webhooks""#),
    ];
    Keyring::parse(&format!("[{}]", records.join(","))).expect("a keyring")
}

/// A request as its sender and an attacker can shape it.
#[derive(Debug, Clone)]
struct Message {
    method: String,
    authority: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Component identifiers as they stand in `Signature-Input`, quotes included.
    components: Vec<String>,
    /// Signature parameters as they stand there.
    parameters: Vec<(String, String)>,
}

/// A valid step, signed under the key `first`.
fn signed() -> Message {
    step().sign()
}

/// A valid step before it is signed.
fn step() -> Message {
    let components = [
        "@method",
        "@authority",
        "@path",
        "@query",
        "content-type",
        "content-digest",
        "idempotency-key",
    ];
    let parameters = [
        ("created", "1764000000"),
        ("expires", "1764000300"),
        ("nonce", "\"b3k2pp5k7z-50gnwp.yemd\""),
        ("keyid", "\"first\""),
        ("alg", "\"hmac-sha256\""),
        ("tag", "\"baton-request-v1\""),
    ];
    Message {
        method: "POST".into(),
        authority: "gw.example.com".into(),
        path: "/agents/summarizer/steps".into(),
        query: None,
        headers: vec![
            ("content-type".into(), "application/json".into()),
            ("content-digest".into(), digest::content_digest(BODY)),
            ("idempotency-key".into(), "\"run_01/s1\"".into()),
        ],
        body: BODY.to_vec(),
        components: components.map(|name| format!("\"{name}\"")).to_vec(),
        parameters: parameters.map(|(name, value)| (name.into(), value.into())).to_vec(),
    }
}

/// A valid call without body and without effect, before it is signed.
fn read() -> Message {
    let mut message = step()
        .uncover("content-type")
        .uncover("content-digest")
        .uncover("idempotency-key");
    message.headers.clear();
    message.method("GET").body(b"")
}

impl Message {
    fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    fn authority(mut self, authority: &str) -> Self {
        self.authority = authority.into();
        self
    }

    fn path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    fn query(mut self, query: &str) -> Self {
        self.query = Some(query.into());
        self
    }

    fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// Adds a line, also where the field is there already.
    fn line(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Takes all lines of a field away.
    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| own != name);
        self
    }

    fn header(self, name: &str, value: &str) -> Self {
        self.without(name).line(name, value)
    }

    /// Covers one more component, given as it stands in `Signature-Input`.
    fn cover(mut self, identifier: &str) -> Self {
        self.components.push(identifier.into());
        self
    }

    fn uncover(mut self, name: &str) -> Self {
        self.components.retain(|own| *own != format!("\"{name}\""));
        self
    }

    /// Sets a parameter in its place, or at the end.
    fn parameter(mut self, name: &str, value: &str) -> Self {
        match self.parameters.iter_mut().find(|(own, _)| own == name) {
            Some(parameter) => parameter.1 = value.into(),
            None => self.parameters.push((name.into(), value.into())),
        }
        self
    }

    fn without_parameter(mut self, name: &str) -> Self {
        self.parameters.retain(|(own, _)| own != name);
        self
    }

    fn key(self, id: &str) -> Self {
        self.parameter("keyid", &format!("\"{id}\""))
    }

    fn window(self, created_s: u64, expires_s: u64) -> Self {
        self.parameter("created", &created_s.to_string())
            .parameter("expires", &expires_s.to_string())
    }

    fn sign(self) -> Self {
        self.sign_as("sig1", &KEY)
    }

    /// Adds a signature under this label, beside those that are there.
    fn sign_as(self, label: &str, key: &[u8]) -> Self {
        let params = signature_params(&self.components, &self.parameters);
        let base = base_text(&self.components, &params, |identifier| self.value(identifier));
        let mac = STANDARD.encode(mac::sign(key, base.as_bytes()));
        self.append("signature-input", &format!("{label}={params}"))
            .append("signature", &format!("{label}=:{mac}:"))
    }

    /// Appends to a field as the next member of its list.
    fn append(mut self, name: &str, member: &str) -> Self {
        match self.headers.iter_mut().find(|(own, _)| own == name) {
            Some(line) => line.1 = format!("{}, {member}", line.1),
            None => self.headers.push((name.into(), member.into())),
        }
        self
    }

    /// Replaces text within a field.
    fn edit(mut self, name: &str, from: &str, to: &str) -> Self {
        let line = self.headers.iter_mut().find(|(own, _)| own == name).expect("the field");
        assert!(line.1.contains(from), "{name}: {} has no {from}", line.1);
        line.1 = line.1.replacen(from, to, 1);
        self
    }

    fn get(&self, name: &str) -> &str {
        let line = self.headers.iter().find(|(own, _)| own == name);
        line.map_or("", |(_, value)| value)
    }

    fn value(&self, identifier: &str) -> String {
        match identifier.trim_matches('"') {
            "@method" => self.method.clone(),
            "@authority" => self.authority.clone(),
            "@path" => self.path.clone(),
            "@query" => format!("?{}", self.query.as_deref().unwrap_or_default()),
            name => {
                let lines = self.headers.iter().filter(|(own, _)| own == name);
                lines.map(|(_, value)| value.trim()).collect::<Vec<_>>().join(", ")
            }
        }
    }

    fn header_map(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().expect("a header name");
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
        }
        map
    }

    /// Verifies as the steps route does.
    fn verify(&self) -> Result<Verified, Rejection> {
        self.verify_with(|_| {})
    }

    /// Verifies under a policy that differs from that of the steps route.
    fn verify_with(&self, change: impl FnOnce(&mut Policy<'_>)) -> Result<Verified, Rejection> {
        let keyring = keyring();
        let origins = Origins::parse("https://gw.example.com,https://other.example.com").expect("origins");
        let mut policy = Policy {
            keyring: &keyring,
            origins: &origins,
            purpose: Purpose::Invoke,
            idempotency: !self.method.starts_with("GET"),
            preconditions: false,
            webhook: Some(("summarizer", "steps")),
            now_s: NOW_S,
        };
        change(&mut policy);
        let headers = self.header_map();
        let view = RequestView {
            method: &self.method,
            authority: &self.authority,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &headers,
        };
        verify(&view, &self.body, &policy)
    }
}

fn signature_params(components: &[String], parameters: &[(String, String)]) -> String {
    let parameters: String = parameters
        .iter()
        .map(|(name, value)| format!(";{name}={value}"))
        .collect();
    format!("({}){parameters}", components.join(" "))
}

fn base_text(components: &[String], params: &str, value: impl Fn(&str) -> String) -> String {
    let lines: String = components
        .iter()
        .map(|identifier| format!("{identifier}: {}\n", value(identifier)))
        .collect();
    format!("{lines}\"@signature-params\": {params}")
}

fn check(message: &Message, expected: Result<(), Rejection>) {
    assert_eq!(message.verify().map(|_| ()), expected, "{message:#?}");
}

fn check_at(now_s: u64, message: &Message, expected: Result<(), Rejection>) {
    let found = message.verify_with(|policy| policy.now_s = now_s).map(|_| ());
    assert_eq!(found, expected, "at {now_s}: {message:#?}");
}
