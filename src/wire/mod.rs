//! The wire's message schemas: one JSON Schema per message, used to check what comes in, published
//! in the OpenAPI document, and checked against what goes out by the tests.

use std::sync::OnceLock;

use serde_json::Value;

use crate::schema::LazySchema;

macro_rules! schemas {
    ($($name:literal),* $(,)?) => {
        /// Every schema's name and text.
        pub const SCHEMAS: &[(&str, &str)] = &[
            $(($name, include_str!(concat!($name, ".schema.json")))),*
        ];
    };
}

schemas![
    "agent-metrics",
    "agent-override",
    "alerts",
    "api-key-created",
    "api-key-request",
    "api-keys",
    "breaker-order",
    "callback",
    "challenge",
    "challenge-answer",
    "conversation",
    "dead-letters",
    "discovery",
    "executions",
    "handoff",
    "handoff-receipt",
    "health",
    "lease",
    "link",
    "links",
    "notice",
    "openapi",
    "outbox",
    "outbox-resent",
    "override-rollback",
    "override-versions",
    "overrides",
    "problem",
    "query",
    "query-answer",
    "registration",
    "renewal",
    "resent",
    "run",
    "state",
    "state-receipt",
    "step-invocation",
    "step-outcome",
    "step-status",
    "run-request",
    "run-answer",
    "session",
    "settlement",
    "settlement-answer",
];

/// The schema of a message.
#[must_use]
pub fn schema(name: &str) -> Option<Value> {
    let (_, text) = SCHEMAS.iter().find(|(known, _)| *known == name)?;
    serde_json::from_str(text).ok()
}

/// The compiled schema of a message, compiled when it is first used. Within a request only.
#[must_use]
pub fn compiled(name: &str) -> Option<&'static LazySchema> {
    static COMPILED: OnceLock<Vec<(&'static str, LazySchema)>> = OnceLock::new();
    let all = COMPILED.get_or_init(|| {
        let schemas = SCHEMAS
            .iter()
            .map(|(name, _)| (*name, schema(name).unwrap_or_default()));
        schemas.map(|(name, schema)| (name, LazySchema::new(schema))).collect()
    });
    all.iter().find(|(known, _)| *known == name).map(|(_, schema)| schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ROUTES;

    #[test]
    fn every_schema_is_json_and_every_route_has_its_schemas() {
        for (name, _) in SCHEMAS {
            assert!(schema(name).is_some(), "{name} is no JSON");
        }
        for route in &ROUTES {
            for name in route.messages.request.into_iter().chain(route.messages.response) {
                assert!(schema(name).is_some(), "{}: no schema {name}", route.template);
            }
        }
    }
}
