//! The one route table. The router, the OpenAPI document and the discovery manifest's endpoints are made
//! from it, so that none of them can tell another story.

mod table;

use http::Method;
use percent_encoding::percent_decode_str;

use crate::link::Command;
use crate::problem::Problem;
use crate::signature::Purpose;

pub use self::table::ROUTES;

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `GET /healthz`
    Health,
    /// `GET /.well-known/baton.json`
    Discovery,
    /// `GET /openapi.json`
    OpenApi,
    /// `POST /link/challenge`
    Challenge,
    /// `POST /agents/{agent}/steps`
    InvokeStep,
    /// `POST /agents/{agent}/handoffs`
    HandOff,
    /// `GET /runs/{run}`
    DescribeRun,
    /// `DELETE /runs/{run}`
    ForgetRun,
    /// `GET /runs/{run}/state`
    ReadState,
    /// `PUT /runs/{run}/state`
    PutState,
    /// `GET /runs/{run}/steps/{step}`
    StepStatus,
    /// `POST /runs/{run}/steps/{step}/cancel`
    CancelStep,
    /// `GET /operator/runs/{orchestrator}/{run}`
    OperatorRun,
    /// `GET /operator/dead-letters`
    DeadLetters,
    /// `POST /operator/dead-letters/{delivery}/resend`
    Resend,
    /// `GET /`
    Page,
    /// `GET /page/{file}`
    PageFile,
    /// `POST /session`
    SignIn,
    /// `GET /session`
    Session,
    /// `DELETE /session`
    SignOut,
    /// `POST /query`
    Query,
    /// `POST /agents/{agent}/query`
    QueryAgent,
    /// `DELETE /conversations/{conversation}`
    EraseConversation,
    /// `GET /operator/conversations/{owner}/{conversation}`
    OperatorConversation,
    /// `DELETE /operator/conversations/{owner}/{conversation}`
    OperatorEraseConversation,
    /// `POST /operator/api-keys`
    CreateApiKey,
    /// `GET /operator/api-keys`
    ApiKeys,
    /// `DELETE /operator/api-keys/{key}`
    RevokeApiKey,
    /// `GET /metrics`
    Scrape,
    /// `GET /agents/{agent}/metrics`
    Metrics,
    /// `GET /executions`
    Executions,
    /// `GET /operator/outbox`
    Outbox,
    /// `POST /operator/outbox/{letter}/resend`
    ResendEvent,
    /// `GET /operator/overrides`
    Overrides,
    /// `PUT /operator/overrides/{agent}`
    PutOverride,
    /// `DELETE /operator/overrides/{agent}`
    DeleteOverride,
    /// `GET /operator/overrides/versions`
    OverrideVersions,
    /// `GET /operator/overrides/versions/{version}`
    OverrideVersion,
    /// `POST /operator/overrides/rollback`
    RollBackOverrides,
    /// `GET /operator/alerts`
    Alerts,
    /// `GET /operator/links`
    Links,
    /// `GET /operator/links/{orchestrator}`
    Link,
    /// `POST /operator/links/{orchestrator}/` and the command
    OrderLink(Command),
    /// `POST /operator/links/{orchestrator}/breaker`
    SetBreaker,
}

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Open,
    /// Whoever signs with a key of this purpose.
    Signed {
        /// The purpose.
        purpose: Purpose,
        /// Whether the call has an effect, and so must carry an idempotency key.
        idempotency: bool,
    },
    /// Whoever presents an API key of a customer: `Authorization: Bearer`. Web pages may, too, where
    /// `BATON_CORS_ORIGINS` names their origin. Answers are not signed: the caller has no key to verify them with.
    ApiKey,
    /// A Prometheus, with the token of `BATON_METRICS_TOKEN`: `Authorization: Bearer`. It is the operator's own business,
    /// and no part of what the documents describe.
    MetricsToken,
    /// Anyone with a browser: files of the operator's page. They are no part of what the documents describe.
    Page,
}

/// The JSON Schemas of a route's messages, by their names in `src/wire/`.
#[derive(Debug, Clone, Copy)]
pub struct Messages {
    /// The body that it takes.
    pub request: Option<&'static str>,
    /// The body that it answers with; none where it answers without one.
    pub response: Option<&'static str>,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// GET answers HEAD as well.
    pub method: &'static str,
    /// Segments in braces are parameters.
    pub template: &'static str,
    /// What it does.
    pub action: Action,
    /// Who may call it.
    pub access: Access,
    /// One line for people.
    pub summary: &'static str,
    /// What goes over the wire.
    pub messages: Messages,
}

impl Route {
    /// Whether the call's effect depends on `If-Match` and `If-None-Match`, so that a signature must cover them.
    #[must_use]
    pub fn has_preconditions(&self) -> bool {
        self.action == Action::PutState || self.changes_overrides()
    }

    /// Whether the call makes a new version of the overrides.
    #[must_use]
    pub fn changes_overrides(&self) -> bool {
        matches!(
            self.action,
            Action::PutOverride | Action::DeleteOverride | Action::RollBackOverrides
        )
    }

    /// Whether the answer says what the gateway is, so that it must not be behind what an orchestrator was told.
    #[must_use]
    pub fn describes_the_gateway(&self) -> bool {
        matches!(self.action, Action::Discovery | Action::OpenApi | Action::Challenge)
    }

    /// Whether a browser may make the call with an operator's session in the place of a signature or an API key. Not to
    /// begin another session: its end would be put off without the key.
    #[must_use]
    pub fn takes_session(&self) -> bool {
        match self.access {
            Access::Signed { purpose, .. } => purpose == Purpose::Operate && self.action != Action::SignIn,
            Access::ApiKey => self.action == Action::QueryAgent,
            Access::Open | Access::Page | Access::MetricsToken => false,
        }
    }

    /// Whether the call has an effect on a run, so that it may name the lease that it belongs to.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        matches!(
            self.action,
            Action::InvokeStep | Action::HandOff | Action::PutState | Action::CancelStep | Action::ForgetRun
        )
    }
}

/// The routes that the documents describe: all but the page's, and the scraper's.
pub fn described() -> impl Iterator<Item = &'static Route> {
    ROUTES
        .iter()
        .filter(|route| !matches!(route.access, Access::Page | Access::MetricsToken))
}

/// A route that fits a request, with the values of its parameters.
#[derive(Debug, Clone)]
pub struct Match {
    /// The row.
    pub route: &'static Route,
    /// The parameters' names with what stands in their places, decoded.
    pub parameters: Parameters,
}

/// The parameters of a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(&'static str, String)>);

impl Parameters {
    /// What stands in the place of this parameter; empty where the route has none of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Finds the route of a request. HEAD takes the route of GET.
///
/// # Errors
/// [`Problem::NotFound`], or [`Problem::MethodNotAllowed`] with what the path does answer to.
pub fn find(method: &Method, path: &str) -> Result<Match, Problem> {
    let wanted = if method == Method::HEAD { "GET" } else { method.as_str() };
    let mut allowed = Vec::new();
    for route in &ROUTES {
        let Some(parameters) = fit(route.template, path) else {
            continue;
        };
        if route.method == wanted {
            return Ok(Match { route, parameters });
        }
        allowed.push(route.method);
        if route.method == "GET" {
            allowed.push("HEAD");
        }
    }
    if allowed.is_empty() {
        return Err(Problem::NotFound);
    }
    Err(Problem::MethodNotAllowed {
        allow: allowed.join(", "),
    })
}

/// Whether the path fits the template, and what its parameters are.
fn fit(template: &'static str, path: &str) -> Option<Parameters> {
    let mut parameters = Parameters::default();
    let (mut expected, mut found) = (template.split('/'), path.split('/'));
    loop {
        match (expected.next(), found.next()) {
            (None, None) => return Some(parameters),
            (Some(name), Some(value)) if name.starts_with('{') && !value.is_empty() => {
                let value = percent_decode_str(value).decode_utf8().ok()?;
                parameters.0.push((name.trim_matches(['{', '}']), value.into_owned()));
            }
            (Some(expected), Some(found)) if expected == found => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, path: &str, expected: Result<(Action, &str), &str>) {
        let found = find(&method, path);
        let found = found.as_ref().map(|found| {
            let values: Vec<_> = found.parameters.0.iter().map(|(_, value)| value.as_str()).collect();
            (found.route.action, values.join("|"))
        });
        let expected = expected.map(|(action, values)| (action, values.to_owned()));
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{method} {path}"),
            (Err(Problem::MethodNotAllowed { allow }), Err(expected)) => assert_eq!(allow, expected, "{method} {path}"),
            (Err(Problem::NotFound), Err("")) => {}
            (found, expected) => panic!("{method} {path}: found {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn routes() {
        check(Method::GET, "/healthz", Ok((Action::Health, "")));
        check(Method::HEAD, "/healthz", Ok((Action::Health, "")));
        check(Method::POST, "/healthz", Err("GET, HEAD"));
        check(Method::POST, "/agents/triage/steps", Ok((Action::InvokeStep, "triage")));
        check(Method::GET, "/agents/triage/steps", Err("POST"));
        check(Method::OPTIONS, "/agents/triage/steps", Err("POST"));
        check(Method::POST, "/agents//steps", Err(""));
        check(Method::POST, "/agents/triage/steps/", Err(""));
        check(Method::GET, "/", Ok((Action::Page, "")));
        check(Method::GET, "/page/main.js", Ok((Action::PageFile, "main.js")));
        check(Method::GET, "/page/a/b", Err(""));
        check(Method::PUT, "/session", Err("POST, GET, HEAD, DELETE"));
        check(Method::PUT, "/runs/a%2Fb%C3%A4/state", Ok((Action::PutState, "a/bä")));
        check(Method::POST, "/runs/r/steps/s/cancel", Ok((Action::CancelStep, "r|s")));
        check(Method::HEAD, "/runs/r", Ok((Action::DescribeRun, "r")));
        check(Method::PATCH, "/runs/r", Err("GET, HEAD, DELETE"));
        check(Method::GET, "/runs/%FF", Err(""));
        let of_nobody = "/operator/runs/:gateway/dir_1";
        check(Method::GET, of_nobody, Ok((Action::OperatorRun, ":gateway|dir_1")));
        check(Method::GET, "/operator/runs/r", Err(""));
        check(Method::POST, "/query", Ok((Action::Query, "")));
        check(Method::POST, "/agents/a/query", Ok((Action::QueryAgent, "a")));
        check(Method::DELETE, "/conversations/c", Ok((Action::EraseConversation, "c")));
        let of_key = "/operator/conversations/key:k/c";
        check(Method::GET, of_key, Ok((Action::OperatorConversation, "key:k|c")));
        check(
            Method::DELETE,
            of_key,
            Ok((Action::OperatorEraseConversation, "key:k|c")),
        );
        check(Method::GET, "/operator/api-keys", Ok((Action::ApiKeys, "")));
        check(Method::GET, "/metrics", Ok((Action::Scrape, "")));
        check(Method::GET, "/agents/a/metrics", Ok((Action::Metrics, "a")));
        check(Method::GET, "/executions", Ok((Action::Executions, "")));
        check(Method::GET, "/operator/outbox", Ok((Action::Outbox, "")));
        check(
            Method::POST,
            "/operator/outbox/l/resend",
            Ok((Action::ResendEvent, "l")),
        );
        check(Method::POST, "/operator/api-keys", Ok((Action::CreateApiKey, "")));
        check(Method::DELETE, "/operator/api-keys/k", Ok((Action::RevokeApiKey, "k")));
        check(Method::DELETE, "/operator/api-keys", Err("POST, GET, HEAD"));
        check(Method::GET, "/operator/links/acme", Ok((Action::Link, "acme")));
        check(
            Method::POST,
            "/operator/links/acme/drain",
            Ok((Action::OrderLink(Command::Drain), "acme")),
        );
        check(Method::GET, "/operator/links/acme/breaker", Err("POST"));
        check(
            Method::PUT,
            "/operator/overrides/triage",
            Ok((Action::PutOverride, "triage")),
        );
        check(
            Method::GET,
            "/operator/overrides/versions",
            Ok((Action::OverrideVersions, "")),
        );
        check(
            Method::GET,
            "/operator/overrides/versions/7",
            Ok((Action::OverrideVersion, "7")),
        );
        check(
            Method::POST,
            "/operator/overrides/rollback",
            Ok((Action::RollBackOverrides, "")),
        );
        check(Method::POST, "/operator/overrides/triage", Err("PUT, DELETE"));
    }
}
