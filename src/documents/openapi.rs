//! The OpenAPI 3.1 document: `/openapi.json`. Its schemas are those of `src/wire/`, unchanged: OpenAPI 3.1
//! speaks JSON Schema 2020-12.

use serde_json::{Map, Value, json};

use super::Document;
use super::discovery::visible;
use crate::manifest::Team;
use crate::problem::PROBLEM_JSON;
use crate::routes::{Access, ROUTES, Route};
use crate::wire;

/// Makes the document.
#[must_use]
pub fn openapi(team: &Team, origin: &str) -> Document {
    let mut paths = Map::new();
    for route in &ROUTES {
        let path = paths.entry(route.template).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = operation(team, route);
    }
    let schemas: Map<_, _> = wire::SCHEMAS
        .iter()
        .filter_map(|(name, _)| Some(((*name).to_owned(), wire::schema(name)?)))
        .collect();
    Document::new(&json!({
        "openapi": "3.1.0",
        "info": {
            "title": team.gateway.title,
            "description": team.gateway.description,
            "version": team.gateway.version,
        },
        "servers": [{"url": origin}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Signature",
                    "description": "HTTP Message Signature (RFC 9421) in the profile baton-request-v1: docs/protocol.md",
                },
            },
        },
    }))
}

fn operation(team: &Team, route: &Route) -> Value {
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "responses": {
            "200": {
                "description": "Done",
                "content": {"application/json": {"schema": reference(route.messages.response)}},
            },
            "default": {
                "description": "What went wrong",
                "content": {PROBLEM_JSON: {"schema": reference("problem")}},
            },
        },
    });
    let mut parameters = Vec::new();
    if route.template.contains("{agent}") {
        let ids: Vec<_> = visible(team).map(|agent| agent.id.as_str()).collect();
        parameters.push(json!({
            "name": "agent",
            "in": "path",
            "required": true,
            "schema": {"enum": ids},
        }));
    }
    if let Access::Signed { idempotency, .. } = route.access {
        operation["security"] = json!([{"signature": []}]);
        if idempotency {
            parameters.push(json!({
                "name": "Idempotency-Key",
                "in": "header",
                "required": true,
                "description": "A structured string, in quotes: \"run_01/s1\"",
                "schema": {"type": "string"},
            }));
        }
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(request) = route.messages.request {
        operation["requestBody"] = json!({
            "required": true,
            "content": {"application/json": {"schema": reference(request)}},
        });
    }
    operation
}

fn operation_id(route: &Route) -> String {
    format!("{:?}", route.action)
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}
