//! What the schema of manifests cannot say about calls of HTTP APIs.

use serde_json::Value;

use super::{Exchange, HttpConfig, Method, StatusRule};
use crate::json::escape_token;

/// Header fields that the platform sets, or that say how a message is framed or where it goes.
const RESERVED_FIELDS: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Checks the configuration by itself: pointers within `http`, and what is wrong there.
pub(super) fn problems(http: &HttpConfig) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    // Where it will run is not known here: a developer's machine may call itself.
    if http.origin.contains("://")
        && let Err(refusal) = crate::outgoing::check_origin(&http.origin, true)
    {
        problems.push(("/origin".to_owned(), refusal.to_string()));
    }
    problems.extend(exchange_problems(&http.exchange));
    problems
}

/// The same of what is sent and answered, wherever it goes.
pub(super) fn exchange_problems(http: &Exchange) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut found = |at: &str, reason: &str| problems.push((at.to_owned(), reason.to_owned()));
    for segment in http.path.trim_start_matches('/').split('/') {
        if http.path != "/" && matches!(segment, "" | "." | "..") {
            found("/path", "a segment is empty, or `.`, or `..`");
        }
    }
    if http.path.contains(['?', '#']) {
        found("/path", "has a `?` or a `#`: the fields of a query stand in `query`");
    }
    for name in http.headers.keys() {
        if RESERVED_FIELDS.contains(&name.as_str()) {
            found(
                &format!("/headers/{}", escape_token(name)),
                "the gateway sets this field by itself",
            );
        }
    }
    if http.body.is_some() && http.method == Method::Get {
        found("/body", "a GET has no body");
    }
    if http.retries > 0 && !http.method.is_idempotent() {
        let reason = format!(
            "a {} must not be sent again by itself: `retry` of the agent does it where that is safe",
            http.method.name()
        );
        found("/retries", &reason);
    }
    let parts = [("/body", http.body.as_ref()), ("/output", http.output.as_ref())];
    let query = http.query.iter().map(|(_, value)| ("/query", Some(value)));
    let outputs = http.statuses.values().map(|rule| match rule {
        StatusRule::Output(template) => ("/statuses", Some(template)),
        StatusRule::Failure(_) => ("/statuses", None),
    });
    for (at, value) in parts.into_iter().chain(query).chain(outputs) {
        if value.is_some_and(names_a_secret) {
            found(at, "a secret may stand in a header field alone");
        }
    }
    if let Err(error) = http.templates() {
        found(&error.pointer, &error.reason);
    }
    problems
}

fn names_a_secret(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.contains_key("$secret") || object.values().any(names_a_secret),
        Value::Array(items) => items.iter().any(names_a_secret),
        _ => false,
    }
}
