//! The gateway: one request in, one response out, and a record of it for the log.
//!
//! [`Gateway::admit`] looks at the head alone, so that `edge` need not read a body that no route wants;
//! [`Gateway::handle`] does the rest. Neither knows what platform it runs on.

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use crate::config::Config;
use crate::documents::{Document, discovery, health, openapi};
use crate::invocation::{Invocation, Occasion, Progress, read_message};
use crate::manifest::{AgentManifest, Team, Visibility};
use crate::platform::Platform;
use crate::problem::{PROBLEM_JSON, Problem};
use crate::routes::{self, Access, Action, Route};
use crate::run::StoredAnswer;
use crate::signature::{self, IDEMPOTENCY_REPLAYED, Policy, Purpose, Rejection, RequestView, Verified, sign_response};

/// An open document may be kept for a minute before a client asks again.
const OPEN_DOCUMENT_CACHING: &str = "public, max-age=60";
const ACCEPT_SIGNATURE: HeaderName = HeaderName::from_static("accept-signature");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A gateway: its agents and its configuration.
#[derive(Debug, Clone, Copy)]
pub struct Gateway<'a> {
    /// What it declares.
    pub team: &'a Team,
    /// What it is configured with.
    pub config: &'a Config,
}

/// A request whose head fits a route.
#[derive(Debug, Clone)]
pub struct Admitted {
    route: &'static Route,
    agent: Option<String>,
    /// The body must not be larger than this, in bytes.
    pub body_max_bytes: usize,
}

/// What the log tells of a request. Never a secret, never a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The route's template.
    pub route: Option<&'static str>,
    /// The agent that was asked for, where there is one of that name.
    pub agent: Option<String>,
    /// The key that signed, once that is proved.
    pub key_id: Option<String>,
    /// How a step ended.
    pub outcome: Option<String>,
    /// The problem's code.
    pub problem: Option<&'static str>,
    /// Whether the answer was a stored one.
    pub replayed: bool,
}

/// A response and its record.
pub type Handled = (http::Response<Vec<u8>>, Record);

/// An answer on its way out.
struct Reply {
    status: StatusCode,
    content_type: &'static str,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Gateway<'_> {
    /// Finds the route of a request by its head, and how large its body may be.
    ///
    /// # Errors
    /// 404, 405, 413 where the length is announced, 415.
    pub fn admit(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<Admitted, Problem> {
        let found = routes::find(method, path)?;
        let default_max_bytes = self.team.gateway.limits.body_max_bytes;
        let agent = found.agent.and_then(|id| self.team.agent(id));
        let max_bytes = agent.map_or(default_max_bytes, |agent| self.team.body_max_bytes(agent));
        let body_max_bytes = match found.route.messages.request {
            Some(_) => usize::try_from(max_bytes).unwrap_or(usize::MAX),
            None => 0,
        };
        if found.route.messages.request.is_some() && !is_json(headers) {
            return Err(Problem::UnsupportedMediaType);
        }
        let announced = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|bytes| bytes > body_max_bytes) {
            return Err(Problem::BodyTooLarge {
                max_bytes: body_max_bytes,
            });
        }
        Ok(Admitted {
            route: found.route,
            agent: found.agent.map(str::to_owned),
            body_max_bytes,
        })
    }

    /// Answers a request that was admitted.
    pub async fn handle<P: Platform>(
        &self,
        admitted: &Admitted,
        request: &http::Request<Vec<u8>>,
        occasion: &Occasion,
        platform: &P,
    ) -> Handled {
        let mut record = Record {
            route: Some(admitted.route.template),
            ..Record::default()
        };
        let (reply, caller) = match self.verify(admitted, request, platform.now_ms() / 1_000) {
            Ok(caller) => {
                record.key_id = caller.as_ref().map(|caller| caller.key_id().to_owned());
                let answered = self
                    .act(admitted, request, caller.as_ref(), occasion, platform, &mut record)
                    .await;
                (answered, caller)
            }
            Err(rejection) => (Err(rejection.into()), None),
        };
        // Whoever sends a captured request again is not its caller, and gets nothing signed that answers it.
        let captured = matches!(reply, Err(Problem::Rejected(Rejection::Replayed)));
        let reply = reply.unwrap_or_else(|problem| {
            record.problem = Some(problem.code());
            Reply::problem(&problem, admitted.route, &occasion.request_id)
        });
        let mut response = reply.into_response(&occasion.request_id);
        if let Some(caller) = caller.filter(|_| !captured) {
            sign_response(&mut response, &caller, platform.now_ms() / 1_000);
        }
        if request.method() == Method::HEAD {
            response.body_mut().clear();
        }
        (response, record)
    }

    /// The answer to a request that was not admitted, or whose body was too large.
    #[must_use]
    pub fn refuse(problem: &Problem, request_id: &str) -> Handled {
        let record = Record {
            problem: Some(problem.code()),
            ..Record::default()
        };
        let reply = Reply::of_problem(problem, request_id);
        (reply.into_response(request_id), record)
    }

    /// Verifies the caller where the route, or an operator who closed the documents, asks for it.
    fn verify(
        &self,
        admitted: &Admitted,
        request: &http::Request<Vec<u8>>,
        now_s: u64,
    ) -> Result<Option<Verified>, Rejection> {
        let closed =
            !self.team.gateway.discovery.public && matches!(admitted.route.action, Action::Discovery | Action::OpenApi);
        let (purpose, idempotency) = match admitted.route.access {
            Access::Open if closed => (Purpose::Invoke, false),
            Access::Open => return Ok(None),
            Access::Signed { purpose, idempotency } => (purpose, idempotency),
        };
        let webhook = match admitted.route.action {
            Action::InvokeStep => admitted.agent.as_deref().map(|agent| (agent, "steps")),
            _ => None,
        };
        let policy = Policy {
            keyring: &self.config.keyring,
            origins: &self.config.origins,
            purpose,
            idempotency,
            webhook,
            now_s,
        };
        let view = RequestView::of(request).map_err(|_| Rejection::Authority)?;
        signature::verify(&view, request.body(), &policy).map(Some)
    }

    async fn act<P: Platform>(
        &self,
        admitted: &Admitted,
        request: &http::Request<Vec<u8>>,
        caller: Option<&Verified>,
        occasion: &Occasion,
        platform: &P,
        record: &mut Record,
    ) -> Result<Reply, Problem> {
        match (admitted.route.action, caller) {
            (Action::Health, _) => Ok(Reply::document(&health(self.team), request.headers(), Some("no-cache"))),
            (Action::Discovery, _) => Ok(Reply::document(&self.discovery(), request.headers(), public(caller))),
            (Action::OpenApi, _) => {
                let document = openapi::openapi(self.team, self.config.origins.primary());
                Ok(Reply::document(&document, request.headers(), public(caller)))
            }
            (Action::Challenge, Some(_)) => self.answer_challenge(request.body()),
            (Action::InvokeStep, Some(caller)) => {
                let agent = self.agent_for(admitted, caller)?;
                record.agent = Some(agent.id.clone());
                self.invoke(agent, caller, request, occasion, platform, record).await
            }
            (Action::Challenge | Action::InvokeStep, None) => Err(Rejection::Missing.into()),
        }
    }

    /// The agent that a caller asks for, if it may.
    fn agent_for(&self, admitted: &Admitted, caller: &Verified) -> Result<&AgentManifest, Problem> {
        let id = admitted.agent.as_deref().unwrap_or_default();
        caller.authorise(id)?;
        let agent = self.team.agent(id).ok_or(Problem::UnknownAgent)?;
        if agent.visibility == Visibility::Internal {
            return Err(Problem::UnknownAgent);
        }
        Ok(agent)
    }

    async fn invoke<P: Platform>(
        &self,
        agent: &AgentManifest,
        caller: &Verified,
        request: &http::Request<Vec<u8>>,
        occasion: &Occasion,
        platform: &P,
        record: &mut Record,
    ) -> Result<Reply, Problem> {
        let limits = &self.team.gateway.limits;
        let invocation = Invocation::read(agent, limits, caller, occasion, request.body())?;
        let answer = match invocation.claim(platform).await? {
            Progress::Claimed(claimed) => claimed.execute(platform).await.commit(platform).await?,
            Progress::Answered(answer) => {
                record.replayed = true;
                answer
            }
        };
        record.outcome = outcome_of(&answer);
        if answer.status != 200 {
            // The one problem that is an attempt's answer, and so is kept.
            let deadline_ms = agent.deadline_ms;
            record.problem = Some(Problem::DeadlineExceeded { deadline_ms }.code());
        }
        Ok(Reply::stored(answer, record.replayed))
    }

    fn answer_challenge(&self, body: &[u8]) -> Result<Reply, Problem> {
        let message = read_message("challenge", body, self.team.gateway.limits.json_depth_max)?;
        if message["gateway"] != self.team.gateway.id.as_str() {
            return Err(Problem::NotFound);
        }
        Ok(Reply::json(&json!({
            "gateway": self.team.gateway.id,
            "challenge": message["challenge"],
            "manifest_digest": self.discovery().digest,
        })))
    }

    /// The discovery manifest of this gateway.
    #[must_use]
    pub fn discovery(&self) -> Document {
        discovery::discovery(self.team, self.config.origins.primary())
    }
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

    fn json(value: &Value) -> Self {
        Self::new(StatusCode::OK, "application/json", value.to_string().into_bytes())
    }

    fn document(document: &Document, request: &HeaderMap, caching: Option<&str>) -> Self {
        let known = request
            .get(IF_NONE_MATCH)
            .and_then(|field| field.to_str().ok())
            .is_some_and(|field| document.is_known(field));
        let mut reply = if known {
            Self::new(StatusCode::NOT_MODIFIED, "", Vec::new())
        } else {
            Self::new(StatusCode::OK, "application/json", document.body.clone().into_bytes())
        };
        reply.header(ETAG, &document.etag());
        if let Some(caching) = caching {
            reply.header(CACHE_CONTROL, caching);
        }
        reply
    }

    fn stored(answer: StoredAnswer, replayed: bool) -> Self {
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
        let content_type = if status.is_success() {
            "application/json"
        } else {
            PROBLEM_JSON
        };
        let mut reply = Self::new(status, content_type, answer.body.into_bytes());
        if replayed {
            reply.header(HeaderName::from_static(IDEMPOTENCY_REPLAYED), "true");
        }
        reply
    }

    fn of_problem(problem: &Problem, request_id: &str) -> Self {
        let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = problem.to_json(request_id).to_string().into_bytes();
        let mut reply = Self::new(status, PROBLEM_JSON, body);
        if let Some(retry_after_ms) = problem.retry_after_ms() {
            reply.header(RETRY_AFTER, &retry_after_ms.div_ceil(1_000).max(1).to_string());
        }
        if let Problem::MethodNotAllowed { allow } = problem {
            reply.header(ALLOW, allow);
        }
        reply
    }

    /// A problem with what a client needs to sign the next request right.
    fn problem(problem: &Problem, route: &Route, request_id: &str) -> Self {
        let mut reply = Self::of_problem(problem, request_id);
        if reply.status == StatusCode::UNAUTHORIZED {
            let idempotency = matches!(route.access, Access::Signed { idempotency: true, .. });
            let accepted = signature::profile::accept_signature(route.messages.request.is_some(), idempotency);
            reply.header(ACCEPT_SIGNATURE, &accepted);
            reply.header(WWW_AUTHENTICATE, "Signature realm=\"baton\"");
        }
        reply
    }

    fn header(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
    }

    fn into_response(mut self, request_id: &str) -> http::Response<Vec<u8>> {
        self.header(REQUEST_ID, request_id);
        if !self.content_type.is_empty() {
            self.header(CONTENT_TYPE, self.content_type);
        }
        if !self.headers.contains_key(CACHE_CONTROL) {
            // A digest covers the bytes that we send: nobody on the way may compress them.
            self.header(CACHE_CONTROL, "no-store, no-transform");
        }
        let mut response = http::Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// How an open document may be kept. A closed one is its caller's alone, and not kept at all.
fn public(caller: Option<&Verified>) -> Option<&'static str> {
    caller.is_none().then_some(OPEN_DOCUMENT_CACHING)
}

/// Whether the media type is JSON, whatever its parameters.
fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|field| field.to_str().ok())
        .and_then(|field| field.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// How the step ended, for the log: a stored answer is text.
fn outcome_of(answer: &StoredAnswer) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Status {
        status: Value,
    }
    let status: Status = serde_json::from_str(&answer.body).ok()?;
    status.status.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests;
