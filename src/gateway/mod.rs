//! The gateway: one request in, one response out, and a record of it for the log.
//!
//! [`Gateway::admit`] looks at the head alone, so that `edge` need not read a body that no route wants;
//! [`Gateway::handle`] does the rest. Neither knows what platform it runs on.

mod access;
mod alerts;
mod api_keys;
mod choice;
mod conversations;
mod cors;
mod description;
mod direct;
mod history;
mod links;
mod live;
mod operator;
mod outbox;
mod overrides;
mod page;
mod preferences;
mod reply;
mod runs;
mod scrape;
mod session;
mod slots;
mod steps;
mod stream;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

pub use self::api_keys::API_KEYS_MAX;
pub use self::history::{WINDOW_DEFAULT_MS, WINDOW_MAX_MS};
pub use self::live::LiveCall;
pub use self::operator::DEAD_LETTERS_MAX;
pub use self::outbox::OUTBOX_LETTERS_MAX;
pub use self::preferences::WAIT_MAX_S;
pub use self::stream::{KEEP_ALIVE_MS, Stream};

use self::reply::Reply;
use self::session::Known;
use crate::config::Config;
use crate::documents::{Document, discovery, health, openapi};
use crate::invocation::{Caller, Occasion, read_message};
use crate::link::Order;
use crate::manifest::{AgentManifest, MANIFEST_MAX_BYTES, Team, Visibility};
use crate::platform::Platform;
use crate::problem::Problem;
use crate::routes::{self, Access, Action, Parameters, Route};
use crate::run::state::STATE_MAX_BYTES;
use crate::run::{RunName, StoredAnswer};
use crate::signature::{self, Policy, Purpose, Rejection, RequestView, Verified, sign_response};
use crate::telemetry::trace_context::TraceContext;

/// An open document may be kept for a minute before a client asks again.
const OPEN_DOCUMENT_CACHING: &str = "public, max-age=60";

/// A gateway: its agents and its configuration.
#[derive(Debug, Clone, Copy)]
pub struct Gateway<'a> {
    /// Its agents, as operators have changed them: one request sees one version.
    pub team: &'a Team,
    /// Its agents as they were deployed.
    pub declared: &'a Team,
    /// What it is configured with.
    pub config: &'a Config,
}

/// A request whose head fits a route.
#[derive(Debug, Clone)]
pub struct Admitted {
    route: &'static Route,
    parameters: Parameters,
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
    /// How a direct call was routed.
    pub direct_route: Option<&'static str>,
    /// The problem's code.
    pub problem: Option<&'static str>,
    /// Whether the answer was a stored one.
    pub replayed: bool,
    /// The request's span, once its caller is known.
    pub span: Option<TraceContext>,
}

/// A response and its record.
pub type Handled = (http::Response<Body>, Record);

/// The body of a response.
#[derive(Debug, Clone)]
pub enum Body {
    /// In one piece, signed where the caller is known.
    Whole(Vec<u8>),
    /// Server-sent events. Their last one is signed.
    Stream(Box<Stream>),
    /// Server-sent events of a direct call, which is answered while they are sent. None is signed.
    Live(Box<LiveCall>),
}

/// What came of a request.
enum Acted {
    Reply(Reply),
    Stream(Box<Stream>),
    /// The head of the stream, and the call.
    Live(Reply, Box<LiveCall>),
}

impl Gateway<'_> {
    /// Finds the route of a request by its head, and how large its body may be.
    ///
    /// # Errors
    /// 404, 405, 413 where the length is announced, 415.
    pub fn admit(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<Admitted, Problem> {
        let found = routes::find(method, path)?;
        let takes_body = found.route.messages.request.is_some();
        let body_max_bytes = match found.route.action {
            _ if !takes_body => 0,
            Action::PutState => STATE_MAX_BYTES,
            Action::PutOverride => MANIFEST_MAX_BYTES,
            _ => {
                let agent = self.team.agent(found.parameters.get("agent"));
                let max_bytes = agent.map_or(self.team.gateway.limits.body_max_bytes, |agent| {
                    self.team.body_max_bytes(agent)
                });
                usize::try_from(max_bytes).unwrap_or(usize::MAX)
            }
        };
        if takes_body && !is_json(headers) {
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
            parameters: found.parameters,
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
        let (acted, known) = match self.identify(admitted, request, platform.now_ms() / 1_000) {
            Ok(known) => {
                record.key_id = known.key_id().map(str::to_owned);
                record.span = known.key_id().map(|_| occasion.span());
                let caller = known.identity().map(|identity| Caller {
                    identity,
                    occasion,
                    retention_ms: self.config.run_retention_ms,
                    sampler: self.config.telemetry.sampler,
                    platform,
                });
                let acted = match admitted.route.access {
                    Access::ApiKey => {
                        let session = known.session();
                        self.serve(admitted, request, session, (occasion, platform), &mut record)
                            .await
                    }
                    Access::Page => page::answer(admitted, request.headers()),
                    Access::MetricsToken => self.scrape(request.headers(), platform).await,
                    Access::Open if admitted.route.action == Action::Session => {
                        let now_s = platform.now_ms() / 1_000;
                        Ok(Acted::Reply(self.describe_session(request, now_s)))
                    }
                    _ => self.act(admitted, request, caller.as_ref(), &mut record).await,
                };
                (acted, known)
            }
            Err(problem) => (Err(problem), Known::Nobody),
        };
        // Whoever sends a captured request again is not its caller, and gets nothing signed that answers it.
        let captured = matches!(acted, Err(Problem::Rejected(Rejection::Replayed)));
        let reply = match acted {
            Ok(Acted::Stream(stream)) => return (streamed(stream, &occasion.request_id), record),
            Ok(Acted::Live(head, call)) => {
                let head = head.into_response(&occasion.request_id);
                return (head.map(|_| Body::Live(call)), record);
            }
            Ok(Acted::Reply(reply)) => reply,
            Err(problem) => {
                record.problem = Some(problem.code());
                Reply::problem(&problem, admitted.route, &occasion.request_id)
            }
        };
        let now_s = platform.now_ms() / 1_000;
        let reply = match known.session().filter(|_| admitted.route.action != Action::SignOut) {
            Some(session) => self.renew(reply, session, request, now_s),
            None => reply,
        };
        let mut response = reply.into_response(&occasion.request_id);
        if let Known::Signed(caller) = known
            && !captured
        {
            sign_response(&mut response, &caller, now_s);
        }
        if request.method() == Method::HEAD {
            response.body_mut().clear();
        }
        (response.map(Body::Whole), record)
    }

    /// The answer to a request that was not admitted, or whose body was too large.
    #[must_use]
    pub fn refuse(problem: &Problem, request_id: &str) -> Handled {
        let record = Record {
            problem: Some(problem.code()),
            ..Record::default()
        };
        let reply = Reply::of_problem(problem, request_id);
        (reply.into_response(request_id).map(Body::Whole), record)
    }

    /// The answer to a browser that asks whether a web page may call a route with an API key; nothing for every other
    /// request.
    #[must_use]
    pub fn preflight(&self, method: &Method, path: &str, headers: &HeaderMap, request_id: &str) -> Option<Handled> {
        let route = cors::shared(routes::find, method, path, headers).filter(|_| *method == Method::OPTIONS)?;
        let record = Record {
            route: Some(route.template),
            ..Record::default()
        };
        let reply = cors::preflight(&self.config.cors_origins, route, headers);
        Some((reply.into_response(request_id).map(Body::Whole), record))
    }

    /// Lets web pages of the configured origins read an answer, whatever it is, on a route that takes API keys. To be done
    /// to every answer.
    pub fn share(&self, method: &Method, path: &str, headers: &HeaderMap, response: &mut http::Response<Body>) {
        if cors::shared(routes::find, method, path, headers).is_some() {
            cors::share(&self.config.cors_origins, headers, response.headers_mut());
        }
    }

    /// Verifies the caller where the route, or an operator who closed the documents, asks for it.
    fn verify(
        &self,
        admitted: &Admitted,
        request: &http::Request<Vec<u8>>,
        now_s: u64,
    ) -> Result<Option<Verified>, Rejection> {
        let (purpose, idempotency) = match admitted.route.access {
            Access::Open if self.is_closed(admitted.route) => (Purpose::Invoke, false),
            // Of a customer it is the key that counts: `authenticate`.
            Access::Open | Access::ApiKey | Access::Page | Access::MetricsToken => return Ok(None),
            Access::Signed { purpose, idempotency } => (purpose, idempotency),
        };
        let webhook = match admitted.route.action {
            Action::InvokeStep => Some((admitted.parameters.get("agent"), "steps")),
            _ => None,
        };
        let policy = Policy {
            keyring: &self.config.keyring,
            origins: &self.config.origins,
            purpose,
            idempotency,
            preconditions: admitted.route.has_preconditions(),
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
        caller: Option<&Caller<'_, P>>,
        record: &mut Record,
    ) -> Result<Acted, Problem> {
        let parameter = |name| admitted.parameters.get(name);
        let reply = |reply| Ok(Acted::Reply(reply));
        let caching = caller.is_none().then_some(OPEN_DOCUMENT_CACHING);
        match admitted.route.action {
            Action::Health => return reply(Reply::document(&health(self.team), request.headers(), Some("no-cache"))),
            Action::Discovery => return reply(Reply::document(&self.discovery(), request.headers(), caching)),
            Action::OpenApi => {
                let document = openapi::openapi(self.team, self.config.origins.primary());
                return reply(Reply::document(&document, request.headers(), caching));
            }
            _ => {}
        }
        let caller = caller.ok_or(Rejection::Missing)?;
        let step = (parameter("run"), parameter("step"));
        match admitted.route.action {
            Action::Health
            | Action::Discovery
            | Action::OpenApi
            | Action::Query
            | Action::QueryAgent
            | Action::EraseConversation
            | Action::Page
            | Action::PageFile
            | Action::Scrape
            | Action::Session => Err(Problem::Internal),
            Action::SignIn => self.sign_in(caller, request).await,
            Action::SignOut => self.sign_out(request),
            Action::Challenge => reply(self.answer_challenge(request.body())?),
            Action::InvokeStep | Action::HandOff => {
                let agent = self.agent_for(parameter("agent"), caller.verified()?)?;
                record.agent = Some(agent.id.clone());
                if admitted.route.action == Action::HandOff {
                    self.hand_off(agent, caller, request).await
                } else {
                    self.invoke(agent, caller, request, record).await
                }
            }
            Action::DescribeRun => self.describe(caller, &caller.run(parameter("run"))).await,
            Action::OperatorRun => {
                let run = RunName::new(parameter("orchestrator"), parameter("run"));
                self.describe(caller, &run).await
            }
            Action::ForgetRun => self.forget(caller, parameter("run")).await,
            Action::ReadState => self.read_state(caller, parameter("run"), request).await,
            Action::PutState => self.put_state(caller, parameter("run"), request).await,
            Action::StepStatus => self.step_status(caller, step, request).await,
            Action::CancelStep => self.cancel(caller, step).await,
            Action::DeadLetters => self.dead_letters(caller, request.uri().query()).await,
            Action::Resend => self.resend(caller, parameter("delivery")).await,
            Action::Metrics => self.metrics(caller, parameter("agent"), request.uri().query()).await,
            Action::Executions => self.executions(caller, request).await,
            Action::Outbox => self.outbox(caller, request.uri().query()).await,
            Action::ResendEvent => self.resend_event(caller, parameter("letter")).await,
            Action::CreateApiKey => self.create_api_key(caller, request.body()).await,
            Action::ApiKeys => self.api_keys(caller, request.uri().query()).await,
            Action::RevokeApiKey => self.revoke_api_key(caller, parameter("key")).await,
            Action::OperatorConversation => {
                let name = (parameter("owner"), parameter("conversation"));
                self.conversation(caller, name).await
            }
            Action::OperatorEraseConversation => {
                let name = (parameter("owner"), parameter("conversation"));
                self.erase_conversation_of(caller, name).await
            }
            Action::Overrides => self.overrides(caller).await,
            Action::PutOverride => self.put_override(caller, parameter("agent"), request).await,
            Action::DeleteOverride => {
                let agent = parameter("agent");
                self.delete_override(caller, agent, request.headers()).await
            }
            Action::OverrideVersions => self.override_versions(caller).await,
            Action::OverrideVersion => self.override_version(caller, parameter("version")).await,
            Action::RollBackOverrides => self.roll_back_overrides(caller, request).await,
            Action::Alerts => self.alerts(caller).await,
            Action::Links => self.links(caller).await,
            Action::Link => self.link(caller, parameter("orchestrator")).await,
            Action::OrderLink(command) => {
                let order = Order::Link(command);
                self.order_link(caller, parameter("orchestrator"), order).await
            }
            Action::SetBreaker => {
                let id = parameter("orchestrator");
                self.set_breaker(caller, id, request.body()).await
            }
        }
    }

    /// The agent that a caller asks for, if it may.
    fn agent_for(&self, id: &str, caller: &Verified) -> Result<&AgentManifest, Problem> {
        caller.authorise(id)?;
        self.visible_agent(id, |visibility| visibility != Visibility::Internal)
    }

    /// The agent of this id, where `may_see` says so of its visibility.
    fn visible_agent(&self, id: &str, may_see: impl Fn(Visibility) -> bool) -> Result<&AgentManifest, Problem> {
        let is_visible = |agent: &&AgentManifest| may_see(agent.visibility);
        if let Some(agent) = self.team.agent(id).filter(is_visible) {
            return Ok(agent);
        }
        // Whoever may not see it is not told that it was switched off either.
        let is_off = self.team.overridden.disabled.contains(id);
        Err(match self.declared.agent(id).filter(is_visible) {
            Some(_) if is_off => Problem::AgentDisabled,
            _ => Problem::UnknownAgent,
        })
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

/// The response whose body is a stream. It is not signed: nobody knows yet what it will say. Its last event is.
fn streamed(stream: Box<Stream>, request_id: &str) -> http::Response<Body> {
    let mut response = Reply::event_stream().into_response(request_id).map(Body::Whole);
    *response.body_mut() = Body::Stream(stream);
    response
}

/// A path's segment, percent-encoded in the one way that is canonical.
pub(crate) fn segment(text: &str) -> String {
    const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, &RESERVED).to_string()
}

/// Whether the media type is JSON, whatever its parameters.
fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|field| field.to_str().ok())
        .and_then(|field| field.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// How the step ended, for the log. A stored problem is told as a problem.
fn outcome_of(answer: &StoredAnswer) -> Option<String> {
    (answer.status == 200).then(|| answer.ending())
}

#[cfg(test)]
mod tests;
