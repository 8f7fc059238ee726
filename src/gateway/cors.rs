//! Cross-origin calls of web pages (CORS, in the Fetch standard): of routes that take API keys, and of no others.
//!
//! It protects nobody from anything but scripts in browsers: who may call is the key's.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::reply::Reply;
use crate::access::CorsOrigins;
use crate::problem::Problem;
use crate::routes::{Access, Match, Route};

/// What a page may send. `Accept` and the like need no permission.
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, Idempotency-Key, Prefer, Last-Event-ID, traceparent";

/// What a page may read. The rest is for browsers, or readable anyway.
const EXPOSED_HEADERS: &str = "Baton-Route, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id";

/// A browser asks again after this long, in seconds.
const MAX_AGE_S: &str = "600";

/// A finder of routes.
type Find = fn(&Method, &str) -> Result<Match, Problem>;

/// The route of a request, or of the one that a preflight asks about, if it takes API keys.
pub(super) fn shared(find: Find, method: &Method, path: &str, headers: &HeaderMap) -> Option<&'static Route> {
    let asked = if *method == Method::OPTIONS {
        let asked = headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        Method::from_bytes(asked.as_bytes()).ok()?
    } else {
        method.clone()
    };
    let found = find(&asked, path).ok()?;
    (found.route.access == Access::ApiKey).then_some(found.route)
}

/// The answer to a browser that asks whether a page may call this route: `OPTIONS` with an `Origin`. It costs no token, for
/// it has no key and no effect. A page that may not is told nothing: the browser does not call then.
pub(super) fn preflight(origins: &CorsOrigins, route: &Route, headers: &HeaderMap) -> Reply {
    let reply = Reply::no_content();
    match origin(headers).and_then(|origin| origins.allow(origin)) {
        Some(_) => reply
            .with(ACCESS_CONTROL_ALLOW_METHODS, route.method)
            .with(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS)
            .with(ACCESS_CONTROL_MAX_AGE, MAX_AGE_S),
        None => reply,
    }
}

/// Lets a page of an allowed origin read an answer. `Vary` is there for all others as well: caches must not mix them up.
pub(super) fn share(origins: &CorsOrigins, request: &HeaderMap, response: &mut HeaderMap) {
    if *origins == CorsOrigins::Exactly(Vec::new()) {
        return;
    }
    response.append(VARY, HeaderValue::from_static("Origin"));
    let Some(allow) = origin(request).and_then(|origin| origins.allow(origin)) else {
        return;
    };
    let mut put = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.insert(name, value);
        }
    };
    put(ACCESS_CONTROL_ALLOW_ORIGIN, allow);
    put(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
}

fn origin(headers: &HeaderMap) -> Option<&str> {
    headers.get(ORIGIN)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::{Action, Messages, Parameters};

    const PAGE: &str = "https://app.example.com";

    static QUERY: Route = Route {
        method: "POST",
        template: "/query",
        action: Action::Health,
        access: Access::ApiKey,
        summary: "",
        messages: Messages {
            request: None,
            response: None,
        },
    };

    static OPEN: Route = Route {
        access: Access::Open,
        ..QUERY
    };

    fn find(method: &Method, path: &str) -> Result<Match, Problem> {
        let route = match (method.as_str(), path) {
            ("POST", "/query") => &QUERY,
            ("POST", "/open") => &OPEN,
            _ => return Err(Problem::NotFound),
        };
        Ok(Match {
            route,
            parameters: Parameters::default(),
        })
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        fields.collect()
    }

    #[test]
    fn only_routes_that_take_keys_are_shared() {
        let check = |method: Method, path: &str, asked: Option<&'static str>, expected| {
            let fields: Vec<_> = asked
                .map(|asked| ("access-control-request-method", asked))
                .into_iter()
                .collect();
            let found = shared(find, &method, path, &headers(&fields));
            assert_eq!(found.is_some(), expected, "{method} {path} {asked:?}");
        };
        check(Method::POST, "/query", None, true);
        check(Method::OPTIONS, "/query", Some("POST"), true);
        check(Method::OPTIONS, "/query", None, false);
        check(Method::OPTIONS, "/query", Some("DELETE"), false);
        check(Method::OPTIONS, "/query", Some("no method"), false);
        check(Method::OPTIONS, "/open", Some("POST"), false);
        check(Method::POST, "/open", None, false);
        check(Method::POST, "/nothing", None, false);
    }

    fn answered(origins: &str, page: Option<&'static str>) -> (HeaderMap, u16) {
        let origins = CorsOrigins::parse(origins).expect("origins");
        let request = headers(&page.map(|page| ("origin", page)).into_iter().collect::<Vec<_>>());
        let mut response = preflight(&origins, &QUERY, &request).into_response("r");
        share(&origins, &request, response.headers_mut());
        let status = response.status().as_u16();
        (std::mem::take(response.headers_mut()), status)
    }

    #[test]
    fn preflights() {
        let check = |origins: &str, page, allow: Option<&str>, vary: bool| {
            let (fields, status) = answered(origins, page);
            assert_eq!(status, 204);
            let field = |name: HeaderName| fields.get(name).map(|value| value.to_str().expect("text"));
            assert_eq!(field(ACCESS_CONTROL_ALLOW_ORIGIN), allow, "{origins} {page:?}");
            assert_eq!(field(ACCESS_CONTROL_ALLOW_METHODS), allow.map(|_| "POST"));
            assert_eq!(field(ACCESS_CONTROL_ALLOW_HEADERS), allow.map(|_| ALLOWED_HEADERS));
            assert_eq!(field(ACCESS_CONTROL_EXPOSE_HEADERS), allow.map(|_| EXPOSED_HEADERS));
            assert_eq!(field(VARY), vary.then_some("Origin"), "{origins} {page:?}");
        };
        check("", Some(PAGE), None, false);
        check(PAGE, Some(PAGE), Some(PAGE), true);
        check(PAGE, Some("https://other.example.com"), None, true);
        check(PAGE, Some("null"), None, true);
        check(PAGE, None, None, true);
        check("*", Some(PAGE), Some("*"), true);
    }
}
