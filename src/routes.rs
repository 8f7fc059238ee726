//! The one route table. The router, the OpenAPI document and the discovery manifest's endpoints are made
//! from it, so that none of them can tell another story.

use http::Method;

use crate::problem::Problem;
use crate::signature::Purpose;

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
}

/// The JSON Schemas of a route's messages, by their names in `src/wire/`.
#[derive(Debug, Clone, Copy)]
pub struct Messages {
    /// The body that it takes.
    pub request: Option<&'static str>,
    /// The body that it answers with 200.
    pub response: &'static str,
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

const INVOKE: Access = Access::Signed {
    purpose: Purpose::Invoke,
    idempotency: true,
};

const CHALLENGE: Access = Access::Signed {
    purpose: Purpose::Invoke,
    idempotency: false,
};

/// Every route.
pub const ROUTES: [Route; 5] = [
    Route {
        method: "GET",
        template: "/.well-known/baton.json",
        action: Action::Discovery,
        access: Access::Open,
        summary: "The discovery manifest: agents with their schemas, endpoints, limits and signature profile",
        messages: Messages {
            request: None,
            response: "discovery",
        },
    },
    Route {
        method: "GET",
        template: "/openapi.json",
        action: Action::OpenApi,
        access: Access::Open,
        summary: "This surface as an OpenAPI 3.1 document",
        messages: Messages {
            request: None,
            response: "openapi",
        },
    },
    Route {
        method: "GET",
        template: "/healthz",
        action: Action::Health,
        access: Access::Open,
        summary: "Whether the gateway can serve",
        messages: Messages {
            request: None,
            response: "health",
        },
    },
    Route {
        method: "POST",
        template: "/link/challenge",
        action: Action::Challenge,
        access: CHALLENGE,
        summary: "Proves to an orchestrator that this origin is the gateway that registers",
        messages: Messages {
            request: Some("challenge"),
            response: "challenge-answer",
        },
    },
    Route {
        method: "POST",
        template: "/agents/{agent}/steps",
        action: Action::InvokeStep,
        access: INVOKE,
        summary: "Invokes a step of a run on an agent, exactly once per idempotency key",
        messages: Messages {
            request: Some("step-invocation"),
            response: "step-outcome",
        },
    },
];

/// A route that fits a request, with the value of its parameter.
#[derive(Debug, Clone, Copy)]
pub struct Match<'a> {
    /// The row.
    pub route: &'static Route,
    /// What stands in place of `{agent}`.
    pub agent: Option<&'a str>,
}

/// Finds the route of a request. HEAD takes the route of GET.
///
/// # Errors
/// [`Problem::NotFound`], or [`Problem::MethodNotAllowed`] with what the path does answer to.
pub fn find<'a>(method: &Method, path: &'a str) -> Result<Match<'a>, Problem> {
    let wanted = if method == Method::HEAD { "GET" } else { method.as_str() };
    let mut allowed = Vec::new();
    for route in &ROUTES {
        let Some(agent) = fit(route.template, path) else {
            continue;
        };
        if route.method == wanted {
            return Ok(Match { route, agent });
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

/// Whether the path fits the template, and what its parameter is.
fn fit<'a>(template: &str, path: &'a str) -> Option<Option<&'a str>> {
    let mut parameter = None;
    let (mut expected, mut found) = (template.split('/'), path.split('/'));
    loop {
        match (expected.next(), found.next()) {
            (None, None) => return Some(parameter),
            (Some(name), Some(value)) if name.starts_with('{') && !value.is_empty() => {
                parameter = Some(value);
            }
            (Some(expected), Some(found)) if expected == found => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, path: &str, expected: Result<(Action, Option<&str>), &str>) {
        let found = find(&method, path);
        let found = found.as_ref().map(|found| (found.route.action, found.agent));
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{method} {path}"),
            (Err(Problem::MethodNotAllowed { allow }), Err(expected)) => assert_eq!(allow, expected, "{method} {path}"),
            (Err(Problem::NotFound), Err("")) => {}
            (found, expected) => panic!("{method} {path}: found {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn routes() {
        check(Method::GET, "/healthz", Ok((Action::Health, None)));
        check(Method::HEAD, "/healthz", Ok((Action::Health, None)));
        check(Method::POST, "/healthz", Err("GET, HEAD"));
        check(
            Method::POST,
            "/agents/triage/steps",
            Ok((Action::InvokeStep, Some("triage"))),
        );
        check(Method::GET, "/agents/triage/steps", Err("POST"));
        check(Method::OPTIONS, "/agents/triage/steps", Err("POST"));
        check(Method::POST, "/agents//steps", Err(""));
        check(Method::POST, "/agents/triage/steps/", Err(""));
        check(Method::GET, "/", Err(""));
    }
}
