//! What an agent in Rust asks of somebody else's API: one request, to an origin that the operator has named.

use super::call::{Call, not_allowed};
use super::outside::Destination;
use super::underway::Underway;
use super::{Context, Failure, misconfigured};
use crate::connections::Secret;
use crate::telemetry::operation::{Doing, Upshot};

/// How long an answer may take from beginning to end, in milliseconds, where the step has so much left.
pub const FETCH_MAX_MS: u64 = 30_000;
/// An answer's body has at most this many bytes: 1 MiB.
pub const FETCH_MAX_BYTES: usize = 1024 * 1024;

impl Context<'_> {
    /// Sends a request to an origin by its name in `BATON_HTTP_ORIGINS`, and reads the answer, whatever its status. The
    /// request's URI is a path, with a query if need be: where it goes is the operator's to say and nobody else's. No
    /// redirect is followed, and nothing is sent twice: whether that may be is the agent's to know.
    ///
    /// # Errors
    /// `call-not-allowed`: the origin is not configured, or the URI is none that may be called. `http-breaker-open`,
    /// `http-timed-out` ([`FETCH_MAX_MS`]) and `http-unreachable`, which may be over later. `http-answer-too-large`: more than
    /// [`FETCH_MAX_BYTES`].
    pub async fn fetch(
        &self,
        origin: &str,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Vec<u8>>, Failure> {
        let named = Some(origin).filter(|origin| !origin.contains("://"));
        let named = named.ok_or_else(|| not_allowed("an origin is called by its name in BATON_HTTP_ORIGINS"))?;
        let base = self.host.outside().connections().origin(named);
        let base = base.map_err(|reason| not_allowed(&reason))?;
        let request = absolute(&base, request)?;
        let left_ms = self.deadline_at_ms.saturating_sub(self.host.now_ms());
        let call = Call {
            context: self,
            to: Destination::Origin(&base),
            breaker: format!("rust {} {origin}", self.agent),
            silence_max_ms: FETCH_MAX_MS.min(left_ms),
            whole_max_ms: FETCH_MAX_MS.min(left_ms),
            wait_max_ms: 0,
        };
        let read = async |mut incoming: super::Incoming| {
            let body = call.body(&mut incoming, FETCH_MAX_BYTES).await?;
            Ok((incoming.status, incoming.headers, body))
        };
        let underway = Underway::begin(
            self,
            Doing::Request {
                method: request.method().to_string(),
                host: request.uri().host().unwrap_or_default().to_owned(),
            },
        );
        let answered = call.once(&request, read, |(status, ..)| *status >= 500).await;
        let answered = answered.map_err(|missed| missed.failure(FETCH_MAX_MS.min(left_ms)));
        underway.end(match &answered {
            Ok((status, ..)) => Upshot {
                status: Some(*status),
                error: (*status >= 400).then(|| status.to_string()),
                ..Upshot::default()
            },
            Err(failure) => Upshot::failed(&failure.code),
        });
        let (status, headers, body) = answered?;
        let body = body.ok_or_else(|| {
            let message = format!("the answer has more than {FETCH_MAX_BYTES} bytes, which is the most");
            Failure::terminal("http-answer-too-large", message)
        })?;
        let mut response = http::Response::new(body);
        *response.status_mut() = http::StatusCode::from_u16(status).map_err(misconfigured)?;
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// A secret of `BATON_SECRETS`, for a request's header field. It must not come into an output, a failure or the log.
    ///
    /// # Errors
    /// `call-not-allowed`: the operator has configured none of this name.
    pub fn secret(&self, name: &str) -> Result<&Secret, Failure> {
        let secret = self.host.outside().connections().secret(name);
        secret.ok_or_else(|| not_allowed(&format!("the secret `{name}` is not in BATON_SECRETS")))
    }
}

/// The same request, to this origin.
fn absolute(base: &str, mut request: http::Request<Vec<u8>>) -> Result<http::Request<Vec<u8>>, Failure> {
    let uri = request.uri();
    if uri.authority().is_some() || !uri.path().starts_with('/') {
        return Err(not_allowed(&format!(
            "`{uri}` is no path: write `/customers/5`, and name the origin beside it"
        )));
    }
    // Whoever sends it would resolve them, and call another path than the one that was checked.
    let is_dots = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    if uri.path().split('/').any(is_dots) {
        return Err(not_allowed(
            "the path has a segment of dots: percent-encode what comes from an input",
        ));
    }
    let whole = format!("{base}{uri}").parse();
    *request.uri_mut() = whole.map_err(|_| not_allowed("the path is none of a URL"))?;
    Ok(request)
}

#[cfg(test)]
mod tests;
