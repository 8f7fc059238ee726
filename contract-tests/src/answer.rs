//! An answer, verified by text alone.

use serde_json::Value;

use crate::http1::Response;
use crate::mac::{content_digest, mac};
use crate::message::Message;
use crate::outside::now_s;
use crate::schemas::assert_fits;
use crate::signing::{Signer, signature_base};

/// Clocks may differ by this much, and an answer is this old at most, in seconds.
const CREATED_TOLERANCE_S: u64 = 360;

/// An answer to a request. If it is signed, its signature holds, and is about this very request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The request.
    pub request: Message,
    /// The answer as it came.
    pub response: Response,
}

impl Answer {
    /// Takes an answer that is not signed, or whose signature holds.
    ///
    /// # Panics
    /// When it does not hold.
    #[must_use]
    #[track_caller]
    pub fn verified(request: Message, response: Response) -> Self {
        let answer = Self { request, response };
        if answer.is_signed() {
            answer
                .verify()
                .unwrap_or_else(|reason| panic!("the answer's signature: {reason}\n{answer:#?}"));
        }
        answer
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.status
    }

    /// A header that occurs at most once.
    #[must_use]
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.header(name)
    }

    /// Whether it is signed.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.header("signature").is_some()
    }

    /// Whether it is marked as a stored one.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        self.header("idempotency-replayed") == Some("true")
    }

    /// The body as text, for a failure.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.response.body).into_owned()
    }

    /// The body.
    ///
    /// # Panics
    /// When it is no JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.response.body)
            .unwrap_or_else(|error| panic!("status {}: {error}: {}", self.status(), self.text()))
    }

    /// The outcome of a step: 200, signed, by the schema.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    #[track_caller]
    pub fn outcome(&self) -> Value {
        assert_eq!(self.status(), 200, "{}", self.text());
        assert!(self.is_signed(), "an outcome that is not signed: {self:#?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        let outcome = self.json();
        assert_fits("step-outcome", &outcome);
        outcome
    }

    /// The outcome of a step that completed.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    #[track_caller]
    pub fn completed(&self) -> Value {
        let outcome = self.outcome();
        assert_eq!(outcome["status"], "completed", "{outcome}");
        outcome
    }

    /// The message of this name: signed, by its schema.
    ///
    /// # Panics
    /// When it is another answer.
    #[must_use]
    #[track_caller]
    pub fn message(&self, status: u16, name: &str) -> Value {
        assert_eq!(self.status(), status, "expected {name}: {}", self.text());
        assert!(self.is_signed(), "{name} that is not signed: {self:#?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        let message = self.json();
        assert_fits(name, &message);
        message
    }

    /// A problem of this status and code, by the schema, whose id is that of the response.
    ///
    /// # Panics
    /// When it is another answer.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status(), status, "expected {code}: {}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_fits("problem", &problem);
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["type"], format!("urn:baton:problem:{code}"), "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"), "{problem}");
        problem
    }

    /// A problem that was stored: it carries the id of the request that came to it.
    ///
    /// # Panics
    /// When it is another answer.
    #[track_caller]
    pub fn problem_of_stored(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status(), status, "expected {code}: {}", self.text());
        assert!(self.is_replayed(), "{self:#?}");
        let problem = self.json();
        assert_fits("problem", &problem);
        assert_eq!(problem["code"], code, "{problem}");
        problem
    }

    /// Whether the signature holds: rebuilt from the response's own text and what was sent.
    fn verify(&self) -> Result<(), String> {
        let Some(Signer { key_id, secret, nonce }) = &self.request.signer else {
            return Err("a signed answer to a request that was not signed".into());
        };
        let field = |name: &str| self.header(name).unwrap_or_default();
        let params = field("signature-input")
            .strip_prefix("baton=")
            .ok_or("Signature-Input has another label")?;
        let (list, rest) = params
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .ok_or("Signature-Input holds no list")?;
        let components: Vec<String> = list.split(' ').map(str::to_owned).collect();
        self.check_coverage(&components)?;

        let created = rest
            .strip_prefix(";created=")
            .and_then(|rest| rest.split(';').next()?.parse::<u64>().ok())
            .ok_or("no `created` at the beginning")?;
        if created.abs_diff(now_s()) > CREATED_TOLERANCE_S {
            return Err(format!("created at {created}, now it is {}", now_s()));
        }
        let expected = format!(
            ";created={created};nonce=\"{nonce}\";alg=\"hmac-sha256\";keyid=\"{key_id}\";tag=\"baton-response-v1\""
        );
        if rest != expected {
            return Err(format!("the parameters are {rest}, expected {expected}"));
        }

        let base = signature_base(&components, params, |identifier| self.component(identifier));
        if field("signature") != format!("baton=:{}:", mac(secret, base.as_bytes())) {
            return Err(format!("another MAC than that of:\n{base}"));
        }
        // What HEAD answers with is the head of what GET would.
        if self.request.method != "HEAD" && field("content-digest") != content_digest(&self.response.body) {
            return Err("Content-Digest is not that of the body".into());
        }
        Ok(())
    }

    fn check_coverage(&self, components: &[String]) -> Result<(), String> {
        let mut required = vec!["\"@status\"".to_owned(), "\"content-digest\"".to_owned()];
        required.extend(["@method", "@authority", "@path", "@query"].map(|name| format!("\"{name}\";req")));
        for name in ["content-type", "idempotency-replayed", "etag", "location"] {
            if self.header(name).is_some() {
                required.push(format!("\"{name}\""));
            }
        }
        for name in ["content-digest", "idempotency-key"] {
            if !self.request.get(name).is_empty() {
                required.push(format!("\"{name}\";req"));
            }
        }
        for identifier in &required {
            if components.iter().filter(|own| *own == identifier).count() != 1 {
                return Err(format!("{identifier} is not covered once"));
            }
        }
        Ok(())
    }

    fn component(&self, identifier: &str) -> String {
        if let Some(name) = identifier.strip_suffix(";req") {
            return self.request.component(name);
        }
        match identifier.trim_matches('"') {
            "@status" => self.status().to_string(),
            name => self.header(name).unwrap_or_default().to_owned(),
        }
    }
}
