//! `baton verify`: which rule a captured message breaks.

use std::fmt::Write as _;

use baton::routes::{self, Access, Action};
use baton::signature::keys::{Scheme, Secret};
use baton::signature::profile::{self, REQUEST_TAG};
use baton::signature::{
    Binding, KeyRecord, Keyring, Origins, Policy, Purpose, Rejection, RequestView, verify, verify_response, webhook,
};
use http::{HeaderMap, Method, Response};

use crate::args::{Part, Verify};
use crate::capture::{self, Capture, CapturedRequest, CapturedResponse};
use crate::config;
use crate::environment::{self, rfc3339};
use crate::explain::{Evidence, explain};
use crate::input::Source;
use crate::output::{Exit, Failure, Report, Style, printable};

/// Judges a capture.
pub fn run(args: &Verify, style: Style) -> Result<Report, Failure> {
    let keyring = config::keyring(args.key.as_deref())?;
    let mut capture = read(&args.message)?;
    let request = match &args.request {
        Some(source) => Some(
            read(source)?
                .request
                .ok_or_else(|| Failure::usage(format!("{source} holds no request")))?,
        ),
        None => capture.request.take(),
    };
    let response = capture.response.take().filter(|_| args.part != Some(Part::Request));
    if args.part == Some(Part::Response) && response.is_none() {
        return Err(Failure::usage(format!("{} holds no response", args.message)));
    }
    if args.part == Some(Part::Request) && request.is_none() {
        return Err(Failure::usage(format!("{} holds no request", args.message)));
    }
    let Some(mut request) = request else {
        return Err(Failure::usage(
            "a response is bound to the request that it answers: give that with --request FILE",
        ));
    };
    let body = args.body.as_ref().map(Source::read).transpose()?;
    let now_s = args.at.unwrap_or_else(environment::now_s);
    let judge = Judge {
        keyring: &keyring,
        now_s,
        args,
        style,
    };
    match response {
        Some(mut response) => {
            response.body = body.unwrap_or(response.body);
            judge.response(&request, response)
        }
        None => {
            request.body = body.unwrap_or(request.body);
            judge.request(&request)
        }
    }
}

fn read(source: &Source) -> Result<Capture, Failure> {
    capture::parse(&source.read()?).map_err(|error| Failure::usage(format!("{source}: {error}")))
}

struct Judge<'a> {
    keyring: &'a Keyring,
    now_s: u64,
    args: &'a Verify,
    style: Style,
}

/// What the place that a request goes to asks of its signature.
struct Demand {
    purpose: Purpose,
    idempotency: bool,
    preconditions: bool,
    agent: Option<String>,
    /// Said where nothing is known about the place.
    note: Option<&'static str>,
}

impl Demand {
    /// By the gateway's own route table; whatever is not in it is taken for a call to an orchestrator.
    fn of(request: &CapturedRequest) -> Self {
        let method = Method::from_bytes(request.method.as_bytes()).unwrap_or(Method::POST);
        let has_effect = method != Method::GET && method != Method::HEAD;
        match routes::find(&method, &request.path) {
            Ok(found) => match found.route.access {
                Access::Signed { purpose, idempotency } => {
                    let is_step = found.route.action == Action::InvokeStep;
                    let agent = is_step.then(|| found.parameters.get("agent").to_owned());
                    Self {
                        purpose,
                        idempotency,
                        preconditions: found.route.has_preconditions(),
                        agent,
                        note: None,
                    }
                }
                Access::Open | Access::Page => Self {
                    purpose: Purpose::Invoke,
                    idempotency: false,
                    preconditions: false,
                    agent: None,
                    note: Some("this route is open: the gateway asks for no signature there"),
                },
                Access::MetricsToken => Self {
                    purpose: Purpose::Invoke,
                    idempotency: false,
                    preconditions: false,
                    agent: None,
                    note: Some(
                        "this route takes the secret BATON_METRICS_TOKEN: the gateway asks for no signature there",
                    ),
                },
                Access::ApiKey => Self {
                    purpose: Purpose::Invoke,
                    idempotency: false,
                    preconditions: false,
                    agent: None,
                    note: Some("this route takes an API key: the gateway asks for no signature there"),
                },
            },
            Err(_) => Self {
                purpose: Purpose::Register,
                idempotency: has_effect,
                preconditions: false,
                agent: None,
                note: Some(
                    "this is no route of the gateway: judged as its call to an orchestrator, with a key for `register`",
                ),
            },
        }
    }
}

impl Judge<'_> {
    fn request(&self, request: &CapturedRequest) -> Result<Report, Failure> {
        let demand = Demand::of(request);
        let (origins, authority) = self.origins(request)?;
        let view = view(request, &authority);
        let policy = Policy {
            keyring: self.keyring,
            origins: &origins,
            purpose: demand.purpose,
            idempotency: demand.idempotency,
            preconditions: demand.preconditions,
            webhook: demand.agent.as_deref().map(|agent| (agent, "steps")),
            now_s: self.now_s,
        };
        let verdict = verify(&view, &request.body, &policy).and_then(|verified| {
            demand
                .agent
                .as_deref()
                .map_or(Ok(()), |agent| verified.authorise(agent))
        });
        let evidence = self.evidence(&view, None, &request.headers, &request.body, &origins, &demand);
        let mut title = format!("request {} {}", request.method, request.path);
        if let Some(agent) = &demand.agent {
            let _ = write!(title, ", a step on `{agent}`");
        }
        let mut report = self.report(&title, verdict, &evidence);
        if let Some(note) = demand.note {
            report = report.note(format!("note: {note}"));
        }
        if self.args.origin.is_none() {
            report = report
                .note("note: @authority is as the request names it; give --origin to check it as the gateway does");
        }
        Ok(report.note("note: whether the nonce was used before only the gateway that received it can tell"))
    }

    fn response(&self, request: &CapturedRequest, response: CapturedResponse) -> Result<Report, Failure> {
        let demand = Demand::of(request);
        let (origins, authority) = self.origins(request)?;
        let view = view(request, &authority);
        let (key, nonce) = self.signer(&view, &demand)?;
        let CapturedResponse { status, headers, body } = response;
        let mut message = Response::new(body);
        *message.status_mut() =
            http::StatusCode::from_u16(status).map_err(|_| Failure::usage(format!("{status} is no status code")))?;
        *message.headers_mut() = headers;
        let verdict = verify_response(&message, &Binding::of(&view), &nonce, &key, self.now_s);
        let evidence = self.evidence(
            &view,
            Some(status),
            message.headers(),
            message.body(),
            &origins,
            &demand,
        );
        let title = format!("response {status} to {} {}", request.method, request.path);
        Ok(self.report(&title, verdict, &evidence))
    }

    /// The origins to check against, and the request's authority without its scheme's own port.
    fn origins(&self, request: &CapturedRequest) -> Result<(Origins, String), Failure> {
        let authority = request.authority.clone().unwrap_or_default();
        let given = self.args.origin.as_deref();
        let list = match given {
            Some(list) => list.to_owned(),
            None if authority.is_empty() => {
                return Err(Failure::usage("the captured request has no Host: give --origin"));
            }
            None => format!("http://{authority}"),
        };
        let origins = Origins::parse(&list).map_err(|error| {
            let whence = given.map_or("the captured request's Host", |_| "--origin");
            Failure::usage(format!(
                "{whence}: {}",
                error.to_string().trim_start_matches("BATON_ORIGINS: ")
            ))
        })?;
        // A capture with an absolute request target is rare; one without Host takes the origin's.
        let authority = if authority.is_empty() {
            origins
                .primary()
                .split_once("://")
                .map_or("", |(_, authority)| authority)
                .to_owned()
        } else {
            let port = if origins.primary().starts_with("https:") {
                ":443"
            } else {
                ":80"
            };
            authority.strip_suffix(port).unwrap_or(&authority).to_owned()
        };
        Ok((origins, authority))
    }

    /// The key and nonce of the request that a response answers.
    fn signer(&self, request: &RequestView<'_>, demand: &Demand) -> Result<(KeyRecord, String), Failure> {
        let unknown = |id: &str| Failure::usage(format!("the request names the key `{id}`, which --key does not have"));
        if let Some(id) = webhook::key_id(request.query).filter(|_| request.headers.contains_key("webhook-id")) {
            let record = self
                .keyring
                .get(id)
                .filter(|record| record.scheme == Scheme::StandardWebhooks);
            let mut key = record.ok_or_else(|| unknown(id))?.clone();
            let agent = demand.agent.as_deref().unwrap_or_default();
            let derived = webhook::derived_secret(key.secret.bytes(), &key.orchestrator, agent, "steps");
            key.secret = Secret::new(derived).map_err(|error| Failure::usage(error.to_string()))?;
            let nonce = request
                .headers
                .get("webhook-id")
                .and_then(|id| id.to_str().ok())
                .unwrap_or_default();
            return Ok((key, nonce.to_owned()));
        }
        let found = profile::find(request.headers, REQUEST_TAG).map_err(|rejection| {
            Failure::usage(format!(
                "the request that the response answers is not signed as it should be: {rejection}"
            ))
        })?;
        let id = found.parameters.key_id;
        let key = self.keyring.get(&id).ok_or_else(|| unknown(&id))?;
        Ok((key.clone(), found.parameters.nonce))
    }

    fn evidence<'e>(
        &'e self,
        request: &RequestView<'e>,
        status: Option<u16>,
        headers: &'e HeaderMap,
        body: &'e [u8],
        origins: &'e Origins,
        demand: &Demand,
    ) -> Evidence<'e> {
        Evidence {
            request: *request,
            status,
            headers,
            body,
            keyring: self.keyring,
            origins,
            purpose: demand.purpose,
            idempotency: demand.idempotency,
            preconditions: demand.preconditions,
            now_s: self.now_s,
        }
    }

    fn report(&self, title: &str, verdict: Result<(), Rejection>, evidence: &Evidence<'_>) -> Report {
        let mut out = format!("{}\n", printable(title));
        if let Some(found) = evidence.found() {
            let parameters = found.parameters;
            let _ = writeln!(
                out,
                "signed by {} at {}",
                printable(&parameters.key_id),
                rfc3339(parameters.created)
            );
        }
        let _ = writeln!(out, "judged as of {}", rfc3339(self.now_s));
        if self.args.show_base {
            let base = evidence.base().unwrap_or_else(|why| format!("(none: {why})"));
            let _ = writeln!(out, "\nsignature base\n{}", printable(&base));
        }
        out.push('\n');
        match verdict {
            Ok(()) => {
                let _ = writeln!(out, "{}", self.style.good("all rules hold"));
                Report::new(Exit::Done, out)
            }
            Err(rejection) => {
                let _ = writeln!(
                    out,
                    "{}: {}",
                    self.style.bad(rejection.code()),
                    sentence(rejection, evidence)
                );
                let explanation = explain(rejection, evidence);
                for (label, value) in &explanation.facts {
                    let _ = writeln!(out, "  {label:<18} {}", printable(value));
                }
                if !explanation.advice.is_empty() {
                    let _ = writeln!(out, "{}", explanation.advice);
                }
                Report::new(Exit::Bad, out)
            }
        }
    }
}

fn view<'a>(request: &'a CapturedRequest, authority: &'a str) -> RequestView<'a> {
    RequestView {
        method: &request.method,
        authority,
        path: &request.path,
        query: request.query.as_deref(),
        headers: &request.headers,
    }
}

/// The class's sentence; those that speak of requests are told anew for a response.
fn sentence(rejection: Rejection, evidence: &Evidence<'_>) -> String {
    match rejection {
        Rejection::Missing if evidence.status.is_some() => "the response is not signed".to_owned(),
        Rejection::Parameters if evidence.status.is_some() => {
            "the parameters must be created, nonce, keyid, alg and tag, each once, and no other".to_owned()
        }
        Rejection::Expired if evidence.status.is_some() => "the response was signed too long ago".to_owned(),
        Rejection::NotYetValid if evidence.status.is_some() => {
            "the response was signed in the future: check the clocks".to_owned()
        }
        other => other.to_string(),
    }
}
