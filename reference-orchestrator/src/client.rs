//! HTTP towards gateways: bounded in time and size, no redirects, no proxy.

use std::time::Duration;

use baton::signature::{KeyRecord, Rejection, Stamp, sign_request};
use ureq::http::{Request, Response};

use crate::outside;

/// An answer's body has at most this many bytes.
pub const ANSWER_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// A connection stands after this time, or not at all.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Makes calls.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
}

/// A signed request, but for its signature.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// Where to.
    pub url: &'a str,
    /// JSON; empty where there is no body.
    pub body: &'a str,
    /// The idempotency key, where there is one.
    pub idempotency_key: Option<&'a str>,
    /// Any other headers.
    pub headers: &'a [(&'static str, &'a str)],
}

/// An answer to a signed request.
#[derive(Debug)]
pub struct Answer {
    /// The answer as it came.
    pub response: Response<Vec<u8>>,
    /// Whether it is the gateway's: the signature holds, and answers this very request.
    pub verified: Result<(), Rejection>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The request cannot be signed: the origin is none.
    #[error("the request cannot be signed: {0}")]
    Unsigned(String),
    /// No connection, no answer in time, or too large an answer.
    #[error("no answer: {0}")]
    Transport(String),
}

impl Default for Client {
    fn default() -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A redirect leads away from the origin that is being proved.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_connect(Some(CONNECT_MAX))
            // A kept connection to a gateway that restarted would fail the next call for no reason of its own.
            .max_idle_connections(0)
            .build();
        Self { agent: config.into() }
    }
}

impl Client {
    /// Signs a request anew, sends it and verifies the answer.
    ///
    /// # Errors
    /// When there is no answer. An answer whose signature does not hold is one.
    pub fn send_signed(&self, call: Call<'_>, key: &KeyRecord, time_out: Duration) -> Result<Answer, CallError> {
        let mut request = Request::builder().method(call.method).uri(call.url);
        if !call.body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        if let Some(idempotency_key) = call.idempotency_key {
            request = request.header("idempotency-key", format!("\"{idempotency_key}\""));
        }
        for (name, value) in call.headers {
            request = request.header(*name, *value);
        }
        let unsigned = |reason: &dyn ToString| CallError::Unsigned(reason.to_string());
        let mut request = request
            .body(call.body.as_bytes().to_vec())
            .map_err(|error| unsigned(&error))?;
        let stamp = Stamp {
            created_s: outside::now_ms() / 1_000,
            nonce: outside::token(),
        };
        let sent = sign_request(&mut request, key, stamp).map_err(|error| unsigned(&error))?;
        // Without a body it must be one that has none by its type: the client refuses even an empty one with a GET.
        let response = read(if request.body().is_empty() {
            self.run(request.map(|_| ()), time_out)
        } else {
            self.run(request, time_out)
        })?;
        let verified = sent.verify(&response, outside::now_ms() / 1_000);
        Ok(Answer { response, verified })
    }

    fn run(
        &self,
        request: Request<impl ureq::AsSendBody>,
        time_out: Duration,
    ) -> Result<Response<ureq::Body>, ureq::Error> {
        let configured = self
            .agent
            .configure_request(request)
            .timeout_global(Some(time_out))
            .build();
        self.agent.run(configured)
    }

    /// Gets a public document.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&self, url: &str, time_out: Duration) -> Result<Response<Vec<u8>>, CallError> {
        read(
            self.agent
                .get(url)
                .config()
                .timeout_global(Some(time_out))
                .build()
                .call(),
        )
    }
}

fn read(answer: Result<Response<ureq::Body>, ureq::Error>) -> Result<Response<Vec<u8>>, CallError> {
    let transport = |error: ureq::Error| CallError::Transport(error.to_string());
    let (parts, mut body) = answer.map_err(transport)?.into_parts();
    let bytes = body
        .with_config()
        .limit(ANSWER_MAX_BYTES)
        .read_to_vec()
        .map_err(transport)?;
    Ok(Response::from_parts(parts, bytes))
}
