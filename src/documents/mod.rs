//! The documents that describe the gateway, all made from the route table and the manifests.

pub mod discovery;
pub mod openapi;

use serde_json::{Value, json};

use crate::manifest::Team;
use crate::signature::digest::content_digest;

/// A document's bytes and its digest, from which its `ETag` comes.
#[derive(Debug, Clone)]
pub struct Document {
    /// JSON text.
    pub body: String,
    /// As in `Content-Digest`.
    pub digest: String,
}

impl Document {
    fn new(value: &Value) -> Self {
        let body = value.to_string();
        let digest = content_digest(body.as_bytes());
        Self { body, digest }
    }

    /// A strong entity tag (RFC 9110 section 8.8.3).
    #[must_use]
    pub fn etag(&self) -> String {
        format!(
            "\"{}\"",
            self.digest.trim_start_matches("sha-256=:").trim_end_matches(':')
        )
    }
}

/// Whether an `If-None-Match` says that the client has what is under this entity tag.
#[must_use]
pub fn is_known(etag: &str, if_none_match: &str) -> bool {
    let mut known = if_none_match.split(',').map(str::trim);
    // Weak comparison (RFC 9110 section 13.1.2).
    known.any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

/// What `GET /healthz` answers: that the gateway can serve, and which one it is.
#[must_use]
pub fn health(team: &Team) -> Document {
    Document::new(&json!({
        "status": "ok",
        "gateway": team.gateway.id,
        "version": team.gateway.version,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditional_requests() {
        let document = Document::new(&json!({"a": 1}));
        let etag = document.etag();
        let check = |field: &str, known: bool| assert_eq!(is_known(&etag, field), known, "{field}");
        check(&etag, true);
        check(&format!("W/{etag}"), true);
        check(&format!("\"x\", {etag}"), true);
        check("*", true);
        check("\"x\"", false);
        check("", false);
    }
}
