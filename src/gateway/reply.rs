//! An answer on its way out.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::documents::{Document, is_known};
use crate::overrides::snapshot::etag;
use crate::problem::{PROBLEM_JSON, Problem};
use crate::routes::{Access, Route};
use crate::run::StoredAnswer;
use crate::signature::{IDEMPOTENCY_REPLAYED, profile};

const ACCEPT_SIGNATURE: HeaderName = HeaderName::from_static("accept-signature");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An answer before it is signed.
pub(super) struct Reply {
    status: StatusCode,
    content_type: &'static str,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    fn new(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Self {
        Self {
            status,
            content_type,
            headers: HeaderMap::new(),
            body,
        }
    }

    pub(super) fn json(value: &Value) -> Self {
        Self::new(StatusCode::OK, "application/json", value.to_string().into_bytes())
    }

    /// Something that serialises; all of ours does.
    pub(super) fn of(value: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self::json(&serde_json::to_value(value).map_err(|_| Problem::Internal)?))
    }

    /// JSON text as it was written.
    pub(super) fn text(text: String) -> Self {
        Self::new(StatusCode::OK, "application/json", text.into_bytes())
    }

    /// A file of the page.
    pub(super) fn file(content_type: &'static str, content: &'static str) -> Self {
        Self::new(StatusCode::OK, content_type, content.as_bytes().to_vec())
    }

    /// Text of another media type.
    pub(super) fn table(content_type: &'static str, text: String) -> Self {
        Self::new(StatusCode::OK, content_type, text.into_bytes())
    }

    /// The head of a stream.
    pub(super) fn event_stream() -> Self {
        Self::new(StatusCode::OK, "text/event-stream", Vec::new())
    }

    pub(super) fn no_content() -> Self {
        Self::new(StatusCode::NO_CONTENT, "", Vec::new())
    }

    /// What a reader who has this version already gets.
    pub(super) fn not_modified(etag: &str) -> Self {
        Self::new(StatusCode::NOT_MODIFIED, "", Vec::new()).with(ETAG, etag)
    }

    pub(super) fn document(document: &Document, request: &HeaderMap, caching: Option<&str>) -> Self {
        let etag = document.etag();
        let reply = if has(request, &etag) {
            Self::not_modified(&etag)
        } else {
            Self::text(document.body.clone()).with(ETAG, &etag)
        };
        match caching {
            Some(caching) => reply.with(CACHE_CONTROL, caching),
            None => reply,
        }
    }

    pub(super) fn stored(answer: StoredAnswer, replayed: bool) -> Self {
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
        let content_type = if status.is_success() {
            "application/json"
        } else {
            PROBLEM_JSON
        };
        Self::new(status, content_type, answer.body.into_bytes()).replayed(replayed)
    }

    pub(super) fn of_problem(problem: &Problem, request_id: &str) -> Self {
        let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = problem.to_json(request_id).to_string().into_bytes();
        let mut reply = Self::new(status, PROBLEM_JSON, body);
        if let Some(retry_after_ms) = problem.retry_after_ms() {
            reply = reply.with(RETRY_AFTER, &retry_after_ms.div_ceil(1_000).max(1).to_string());
        }
        match problem {
            Problem::MethodNotAllowed { allow } => reply.with(ALLOW, allow),
            Problem::StateConflict(conflict) => match &conflict.current_etag {
                Some(etag) => reply.with(ETAG, etag),
                None => reply,
            },
            Problem::OverridesConflict { current } => reply.with(ETAG, &etag(*current)),
            Problem::ApiKeyMissing | Problem::MetricsTokenInvalid => {
                reply.with(WWW_AUTHENTICATE, "Bearer realm=\"baton\"")
            }
            Problem::ApiKeyInvalid => reply.with(WWW_AUTHENTICATE, "Bearer realm=\"baton\", error=\"invalid_token\""),
            Problem::RateLimited { rate, .. } => reply.rate(rate),
            Problem::TooManySteps { limit } => reply.all_slots_taken(*limit),
            _ => reply,
        }
    }

    /// A problem with what a client needs to sign the next request right.
    pub(super) fn problem(problem: &Problem, route: &Route, request_id: &str) -> Self {
        let reply = Self::of_problem(problem, request_id);
        if reply.status != StatusCode::UNAUTHORIZED || matches!(route.access, Access::ApiKey | Access::MetricsToken) {
            return reply;
        }
        let idempotency = matches!(route.access, Access::Signed { idempotency: true, .. });
        let accepted = profile::accept_signature(route.messages.request.is_some(), idempotency);
        reply
            .with(ACCEPT_SIGNATURE, &accepted)
            .with(WWW_AUTHENTICATE, "Signature realm=\"baton\"")
    }

    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Marked as what an earlier request came to, if it is.
    pub(super) fn replayed(self, replayed: bool) -> Self {
        if replayed {
            self.with(HeaderName::from_static(IDEMPOTENCY_REPLAYED), "true")
        } else {
            self
        }
    }

    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(super) fn into_response(self, request_id: &str) -> http::Response<Vec<u8>> {
        let mut reply = self.with(REQUEST_ID, request_id);
        if !reply.content_type.is_empty() {
            let content_type = reply.content_type;
            reply = reply.with(CONTENT_TYPE, content_type);
        }
        if !reply.headers.contains_key(CACHE_CONTROL) {
            // A digest covers the bytes that we send: nobody on the way may compress them.
            reply = reply.with(CACHE_CONTROL, "no-store, no-transform");
        }
        let mut response = http::Response::new(reply.body);
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        response
    }
}

/// Whether a reader has what is under this entity tag already.
pub(super) fn has(request: &HeaderMap, etag: &str) -> bool {
    let field = request.get(IF_NONE_MATCH).and_then(|field| field.to_str().ok());
    field.is_some_and(|field| is_known(etag, field))
}
