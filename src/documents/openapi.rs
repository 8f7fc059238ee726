//! The OpenAPI 3.1 document: `/openapi.json`. Its schemas are those of `src/wire/`, unchanged: OpenAPI 3.1
//! speaks JSON Schema 2020-12.

use serde_json::{Map, Value, json};

use super::Document;
use super::discovery::visible;
use crate::manifest::{Team, Visibility};
use crate::problem::PROBLEM_JSON;
use crate::routes::{self, Access, Action, Route};
use crate::signature::profile::{DEPTH_MAX, GENERATION_MAX};
use crate::telemetry::history::{BUCKETS_MAX, EXECUTIONS_MAX, OUTCOMES, ROUTES as HISTORY_ROUTES};
use crate::wire;

/// Makes the document.
#[must_use]
pub fn openapi(team: &Team, origin: &str) -> Document {
    let mut paths = Map::new();
    for route in routes::described() {
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
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "__Host-baton-session",
                    "description": "An operator's session in a browser: docs/protocol.md",
                },
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key of a customer: docs/protocol.md",
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
            "default": {
                "description": "What went wrong",
                "content": {PROBLEM_JSON: {"schema": reference("problem")}},
            },
        },
    });
    operation["responses"][success(route)] = match route.messages.response {
        Some(response) => json!({
            "description": "Done",
            "content": {"application/json": {"schema": reference(response)}},
        }),
        None => json!({"description": "Done"}),
    };
    let last_event = match route.action {
        Action::InvokeStep | Action::StepStatus => Some("`outcome`"),
        Action::Query | Action::QueryAgent => Some("`answer` or `problem`"),
        _ => None,
    };
    if let Some(last) = last_event {
        let description = format!("Events, the last of which is {last}: docs/protocol.md");
        operation["responses"]["200"]["content"]["text/event-stream"] =
            json!({"schema": {"type": "string", "description": description}});
    }
    if route.action == Action::Executions {
        for (form, what) in [
            ("text/csv", "A line per execution"),
            ("application/jsonl", "A JSON object per line"),
        ] {
            operation["responses"]["200"]["content"][form] = json!({"schema": {"type": "string", "description": what}});
        }
    }
    // What makes something answers otherwise where it finds it made, or replaces it.
    match route.action {
        Action::HandOff => operation["responses"]["200"] = operation["responses"]["201"].clone(),
        Action::PutState => operation["responses"]["201"] = operation["responses"]["200"].clone(),
        Action::ReadState => operation["responses"]["304"] = json!({"description": "Not modified: with If-None-Match"}),
        _ => {}
    }
    if route.action == Action::InvokeStep {
        operation["responses"]["202"] = json!({
            "description": "Accepted: with Prefer: respond-async",
            "content": {"application/json": {"schema": reference("step-status")}},
        });
    }
    let mut parameters = Vec::new();
    // An operator changes also agents that nobody else sees.
    if route.template.contains("{agent}") && !route.changes_overrides() {
        let may = |visibility| route.action != Action::QueryAgent || visibility == Visibility::Public;
        let agents = visible(team).filter(|agent| may(agent.visibility));
        let ids: Vec<_> = agents.map(|agent| agent.id.as_str()).collect();
        parameters.push(json!({
            "name": "agent",
            "in": "path",
            "required": true,
            "schema": {"enum": ids},
        }));
    }
    for name in [
        "agent",
        "orchestrator",
        "run",
        "step",
        "delivery",
        "key",
        "letter",
        "version",
    ] {
        let is_listed = parameters.iter().any(|parameter: &Value| parameter["name"] == name);
        if route.template.contains(&format!("{{{name}}}")) && !is_listed {
            parameters.push(json!({
                "name": name,
                "in": "path",
                "required": true,
                "schema": {"type": "string"},
            }));
        }
    }
    parameters.extend(own_parameters(route.action));
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
    if route.is_fenced() {
        parameters.push(json!({
            "name": "Baton-Generation",
            "in": "header",
            "description": "The generation of the lease that the call belongs to; covered by the signature",
            "schema": {"type": "integer", "minimum": 1, "maximum": GENERATION_MAX},
        }));
        parameters.push(json!({
            "name": "Baton-Depth",
            "in": "header",
            "description": "How many gateways the call went through, where a gateway calls; covered by the signature",
            "schema": {"type": "integer", "minimum": 1, "maximum": DEPTH_MAX},
        }));
    }
    if route.access == Access::ApiKey {
        operation["security"] = json!([{"bearer": []}]);
    }
    if let Some(security) = operation["security"].as_array_mut().filter(|_| route.takes_session()) {
        security.push(json!({"session": []}));
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

/// The status of what goes well.
const fn success(route: &Route) -> &'static str {
    match route.action {
        Action::HandOff | Action::CreateApiKey => "201",
        Action::ForgetRun | Action::RevokeApiKey | Action::SignOut => "204",
        _ => "200",
    }
}

/// The parameters that one action alone has.
fn own_parameters(action: Action) -> Vec<Value> {
    let parameter = |name: &str, place: &str, description: &str, schema: Value| json!({"name": name, "in": place, "description": description, "schema": schema});
    let header = |name, description| parameter(name, "header", description, json!({"type": "string"}));
    match action {
        Action::PutState => vec![
            header("If-Match", "The ETag of the version that is replaced, or *"),
            header("If-None-Match", "* for the first version"),
        ],
        Action::PutOverride | Action::DeleteOverride | Action::RollBackOverrides => vec![header(
            "If-Match",
            "The ETag of the version that is changed: the number in quotes",
        )],
        Action::ReadState => vec![parameter(
            "version",
            "query",
            "Which version; without it the current one",
            json!({"type": "integer", "minimum": 1}),
        )],
        Action::InvokeStep => vec![header("Prefer", "respond-async, and wait=N in seconds")],
        Action::StepStatus => vec![
            header("Prefer", "wait=N, in seconds"),
            header(
                "Last-Event-ID",
                "The id of the last event that was read, to go on after it",
            ),
        ],
        Action::Metrics => vec![
            parameter(
                "window",
                "query",
                "How long a time, such as 15m, 24h (which it is without this) or 7d",
                json!({"type": "string"}),
            ),
            parameter(
                "until_ms",
                "query",
                "Its end, in Unix milliseconds; without this now",
                json!({"type": "integer", "minimum": 0}),
            ),
            parameter(
                "buckets",
                "query",
                "Into how many parts the window is divided; without this into none",
                json!({"type": "integer", "minimum": 1, "maximum": BUCKETS_MAX}),
            ),
        ],
        Action::Executions => {
            let text = |name, description| parameter(name, "query", description, json!({"type": "string"}));
            let moment =
                |name, description| parameter(name, "query", description, json!({"type": "integer", "minimum": 0}));
            vec![
                text("agent", "Of this agent"),
                text("run", "Of this run"),
                text("orchestrator", "Of this orchestrator's runs"),
                parameter("outcome", "query", "That ended like this", json!({"enum": OUTCOMES})),
                parameter(
                    "route",
                    "query",
                    "That were coordinated like this",
                    json!({"enum": HISTORY_ROUTES}),
                ),
                moment("from_ms", "That began at this moment or later, in Unix milliseconds"),
                moment("to_ms", "That began before this moment, in Unix milliseconds"),
                parameter(
                    "limit",
                    "query",
                    "How many at most",
                    json!({"type": "integer", "minimum": 1, "maximum": EXECUTIONS_MAX}),
                ),
                text("cursor", "The `next` of the page before"),
            ]
        }
        Action::DeadLetters | Action::ApiKeys | Action::Outbox => vec![
            parameter(
                "limit",
                "query",
                "How many at most",
                json!({"type": "integer", "minimum": 1, "maximum": 100}),
            ),
            parameter(
                "cursor",
                "query",
                "The `next` of the page before",
                json!({"type": "string"}),
            ),
        ],
        _ => Vec::new(),
    }
}

fn operation_id(route: &Route) -> String {
    match route.action {
        Action::OrderLink(command) => format!("{command:?}Link"),
        action => format!("{action:?}"),
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}
