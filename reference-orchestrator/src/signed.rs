//! The signed surface: verify, remember the nonce, carry out, sign the answer. In this order, and nothing before it.

use std::sync::Arc;

use baton::signature::profile::accept_signature;
use baton::signature::{Policy, Purpose, Rejection, RequestView, Verified, sign_response, verify};
use http::request::Parts;
use http::{Response, header};
use serde_json::Value;

use crate::Orchestrator;
use crate::behaviour::{self, Way};
use crate::error::{PROBLEM_JSON, Problem};
use crate::{handed, outside, registration, settlements};

/// What a gateway asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `POST /gateways`
    Register,
    /// `PUT /gateways/{registration}/lease`
    Renew(String),
    /// `DELETE /gateways/{registration}`
    Deregister(String),
    /// `POST /runs`
    Run,
    /// `POST /runs/{run}/settlement`
    Settle(String),
}

/// An answer, with what the log line says of it.
#[derive(Debug)]
pub struct Answered {
    /// The answer, signed where the caller is known.
    pub response: Response<Vec<u8>>,
    /// The key that the caller signed with.
    pub key_id: Option<String>,
    /// Why it was refused.
    pub problem: Option<Problem>,
}

/// Answers a gateway's request; or does with it what it was told to do instead ([`crate::behaviour`]).
#[must_use]
pub fn answer(app: &Arc<Orchestrator>, call: &Call, parts: &Parts, body: &[u8], request_id: &str) -> Answered {
    let caller = match admit(app, parts, body) {
        Ok(caller) => caller,
        Err(problem) => {
            let mut response = problem_response(&problem, request_id);
            if problem.status() == 401 {
                accept(&mut response, !body.is_empty());
            }
            return Answered {
                response,
                key_id: None,
                problem: Some(problem),
            };
        }
    };
    let told = app.behaviour.now();
    let way = told.way(call);
    if *call == Call::Run && told.start_run && matches!(way.0, Way::Hang | Way::Garbage | Way::Status) {
        let caller = &caller;
        handed::take_in_background(app, handed::Call { caller, parts, body });
    }
    let result = behaviour::instead(app, way).unwrap_or_else(|| {
        let (status, body) = carry_out(app, call, &caller, parts, body)?;
        Ok(json_response(status, &body))
    });
    let (mut response, problem) = match result {
        Ok(response) => (response, None),
        Err(problem) => (problem_response(&problem, request_id), Some(problem)),
    };
    if way.0 == Way::Slow {
        app.stop.wait_ms(told.delay_ms);
    }
    if way.0 != Way::Unsigned {
        sign_response(&mut response, &caller, outside::now_ms() / 1_000);
    }
    if way.0 == Way::WronglySigned {
        behaviour::forge(&mut response);
    }
    Answered {
        response,
        key_id: Some(caller.key_id().to_owned()),
        problem,
    }
}

/// Lets a request in. What fails here is answered unsigned: nobody knows yet who asks. That holds for a replayed request as
/// well, which anyone may have captured.
fn admit(app: &Orchestrator, parts: &Parts, body: &[u8]) -> Result<Verified, Problem> {
    let now_s = outside::now_ms() / 1_000;
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
    if hosts.next().is_some() {
        return Err(Rejection::DuplicateHeader.into());
    }
    let view = RequestView {
        method: parts.method.as_str(),
        authority: &host.to_ascii_lowercase(),
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: &parts.headers,
    };
    let policy = Policy {
        keyring: &app.keyring,
        origins: &app.origins,
        purpose: Purpose::Register,
        idempotency: true,
        preconditions: false,
        webhook: None,
        now_s,
    };
    let caller = verify(&view, body, &policy)?;
    // The file may hold keys of other orchestrators, too.
    if caller.orchestrator() != app.id {
        return Err(Rejection::KeyNotAllowed.into());
    }
    if let Some((nonce, expires_at_s)) = caller.nonce()
        && !app.store.use_nonce(caller.key_id(), nonce, expires_at_s, now_s)?
    {
        return Err(Rejection::Replayed.into());
    }
    Ok(caller)
}

fn carry_out(
    app: &Orchestrator,
    call: &Call,
    caller: &Verified,
    parts: &Parts,
    body: &[u8],
) -> Result<(u16, Value), Problem> {
    match call {
        Call::Register => {
            check_media_type(parts)?;
            registration::register(app, caller, body)
        }
        Call::Renew(registration) => {
            check_media_type(parts)?;
            registration::renew(app, registration, body)
        }
        Call::Deregister(registration) => registration::deregister(app, registration),
        Call::Run => {
            check_media_type(parts)?;
            handed::take(app, handed::Call { caller, parts, body })
        }
        Call::Settle(run) => {
            check_media_type(parts)?;
            settlements::settle(app, run, caller, body)
        }
    }
}

/// Checks that a body is JSON by its own word.
///
/// # Errors
/// [`Problem::MediaType`].
pub fn check_media_type(parts: &Parts) -> Result<(), Problem> {
    let field = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|field| field.to_str().ok())
        .unwrap_or_default();
    let essence = field.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Problem::MediaType)
    }
}

/// A problem as an unsigned answer.
#[must_use]
pub fn problem_response(problem: &Problem, request_id: &str) -> Response<Vec<u8>> {
    let body = problem.to_json(request_id).to_string().into_bytes();
    response(problem.status(), PROBLEM_JSON, body)
}

/// JSON as an unsigned answer; `null` is no body at all.
#[must_use]
pub fn json_response(status: u16, body: &Value) -> Response<Vec<u8>> {
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    // A 204 has a type as well: a signature over an answer always covers one.
    response(status, "application/json", body)
}

/// An answer with a body.
#[must_use]
pub fn response(status: u16, media_type: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

/// Tells a caller how to sign.
fn accept(response: &mut Response<Vec<u8>>, with_body: bool) {
    let headers = response.headers_mut();
    if let Ok(value) = accept_signature(with_body, true).parse() {
        headers.insert("accept-signature", value);
    }
    let realm = header::HeaderValue::from_static("Signature realm=\"baton\"");
    headers.insert(header::WWW_AUTHENTICATE, realm);
}
