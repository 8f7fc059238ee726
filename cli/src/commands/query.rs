//! `baton query`: a customer's call, and how it was routed.

use std::time::Duration;

use baton::access::key::PresentedKey;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use serde_json::{Value, json};

use crate::args::Query;
use crate::commands::step::agent_path;
use crate::follow::EVENT_STREAM;
use crate::id::quoted;
use crate::listen::listen;
use crate::output::{Exit, Failure, Report, Style};
use crate::signed::{Answer, Trust, idempotency_key};
use crate::{config, environment, show, transport};

/// An answer may take this much longer than the call's deadline, for the way there and back.
const GRACE: Duration = Duration::from_secs(10);

/// Sends and shows.
pub fn run(args: &Query, style: Style) -> Result<Report, Failure> {
    let body = wanted(args)?;
    let path = match &args.agent {
        Some(agent) => agent_path(agent, "query")?,
        None => "/query".to_owned(),
    };
    let bearer = bearer(args.api_key.as_deref())?;
    let gateway = config::gateway(args.gateway.as_deref())?;
    let key = args.idempotency_key.clone().map_or_else(environment::random_id, Ok)?;
    let accepted = match args.stream {
        true => EVENT_STREAM,
        false => "application/json, application/problem+json",
    };
    let request = Request::post(format!("{gateway}{path}"))
        .header(ACCEPT, accepted)
        .header(CONTENT_TYPE, "application/json")
        .header(AUTHORIZATION, bearer)
        .header("idempotency-key", idempotency_key(&key)?)
        .body(body.to_string().into_bytes())
        .map_err(|error| Failure::usage(format!("the request cannot be made: {error}")))?;
    let patience = Duration::from_millis(args.deadline.unwrap_or(baton::manifest::DEADLINE_MAX_MS));
    let sent = match args.stream {
        true => listen(request),
        false => transport::send(request, patience + GRACE),
    };
    let response = sent
        .and_then(here)
        .map_err(|failure| how_to_ask_again(&failure, &key))?;
    let trust = Trust::Connection;
    show::query(&Answer { response, trust }, args.json, style)
}

/// What the arguments ask for.
fn wanted(args: &Query) -> Result<Value, Failure> {
    let mut body = match (&args.text, &args.input, &args.agent) {
        (Some(text), None, _) if !text.is_empty() => json!({ "text": text }),
        (None, Some(input), Some(_)) => json!({ "input": input.read("--input")? }),
        (None, Some(_), None) => {
            return Err(Failure::usage(
                "an input is for one agent: name it with --agent ID, or ask in words: baton query 'I was charged twice'",
            ));
        }
        _ => {
            return Err(Failure::usage(
                "nothing is asked: write what you ask in words, such as `baton query 'I was charged twice'`, or give an agent its input, such as `baton query --agent triage --input '{\"text\":\"I was charged twice\"}'`",
            ));
        }
    };
    if let Some(deadline_ms) = args.deadline {
        body["deadline_ms"] = deadline_ms.into();
    }
    Ok(body)
}

/// The value of `Authorization`. No error repeats the key.
fn bearer(key: Option<&str>) -> Result<HeaderValue, Failure> {
    let key = key.filter(|key| !key.is_empty()).ok_or_else(|| {
        Failure::usage(
            "no API key is known: set BATON_API_KEY, or give --api-key; an operator makes one with `baton api-keys create NAME`",
        )
    })?;
    let wrong = || {
        Failure::usage(
            "--api-key or BATON_API_KEY holds no API key: give the whole text that `baton api-keys create` printed, which begins with `baton_`",
        )
    };
    PresentedKey::parse(key).ok_or_else(wrong)?;
    let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| wrong())?;
    value.set_sensitive(true);
    Ok(value)
}

/// The answer, unless it sends the call elsewhere.
fn here(response: Response<Vec<u8>>) -> Result<Response<Vec<u8>>, Failure> {
    let status = response.status();
    if status.is_redirection() {
        return Err(Failure::new(
            Exit::Transport,
            format!(
                "the answer {status} leads elsewhere, which is not followed: the API key is for this gateway alone. Give the gateway's own origin with --gateway"
            ),
        ));
    }
    Ok(response)
}

/// A call that got no answer may have had its effect: the same call again gets the stored answer.
fn how_to_ask_again(failure: &Failure, key: &str) -> Failure {
    Failure::new(
        failure.exit,
        format!(
            "{}\n  To ask again without a second effect, add: --idempotency-key {}",
            failure.message(),
            quoted(key)
        ),
    )
}
