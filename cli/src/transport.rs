//! One HTTP exchange: no redirects, bounded in time and size, and a status is an answer, not an error.

use std::time::Duration;

use http::{Method, Request, Response};
use ureq::tls::{RootCerts, TlsConfig};

use crate::output::{Exit, Failure};

/// An answer is read up to this size.
pub const ANSWER_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Time for the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends a request and reads the whole answer within `timeout`.
///
/// Redirects are not followed: a signature is bound to the address that it was made for.
pub fn send(request: Request<Vec<u8>>, timeout: Duration) -> Result<Response<Vec<u8>>, Failure> {
    let limits = Limits {
        total: Some(timeout),
        ..Limits::default()
    };
    run(request, limits)?.read()
}

/// Sends a request whose answer is read as it comes. `silence` bounds the wait for the next byte, not the whole.
pub fn open(request: Request<Vec<u8>>, silence: Duration) -> Result<Opened, Failure> {
    let limits = Limits {
        silence: Some(silence),
        ..Limits::default()
    };
    run(request, limits)
}

/// An answer whose head has come.
pub struct Opened {
    /// With the body still on its way.
    pub response: Response<ureq::Body>,
    place: String,
    limits: Limits,
}

impl Opened {
    /// Reads the rest.
    pub fn read(self) -> Result<Response<Vec<u8>>, Failure> {
        let (parts, mut body) = self.response.into_parts();
        let bytes = body
            .with_config()
            .limit(ANSWER_MAX_BYTES)
            .read_to_vec()
            .map_err(|error| transport_failure(&error, &self.place, self.limits))?;
        Ok(Response::from_parts(parts, bytes))
    }
}

/// How long an exchange may take.
#[derive(Debug, Clone, Copy, Default)]
struct Limits {
    total: Option<Duration>,
    silence: Option<Duration>,
}

fn run(request: Request<Vec<u8>>, limits: Limits) -> Result<Opened, Failure> {
    let host = request.uri().host().unwrap_or_default().to_owned();
    let place = format!(
        "{}://{}",
        request.uri().scheme_str().unwrap_or("http"),
        authority(&request)
    );
    let mut config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        // The system's own certificates: a gateway may stand behind a company's authority.
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_global(limits.total)
        .timeout_per_read(limits.silence)
        .user_agent(concat!("baton/", env!("CARGO_PKG_VERSION")));
    // A proxy cannot reach this machine's own addresses.
    if is_loopback(&host) {
        config = config.proxy(None);
    }
    let agent = ureq::Agent::new_with_config(config.build());
    // An empty body of a POST is one of length 0; of other methods, none at all.
    let without_body = request.body().is_empty() && request.method() != Method::POST;
    let result = if without_body {
        agent.run(request.map(|_| ()))
    } else {
        agent.run(request)
    };
    match result {
        Ok(response) => Ok(Opened {
            response,
            place,
            limits,
        }),
        Err(error) => Err(transport_failure(&error, &place, limits)),
    }
}

fn authority<B>(request: &Request<B>) -> String {
    request.uri().authority().map(ToString::to_string).unwrap_or_default()
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn transport_failure(error: &ureq::Error, place: &str, limits: Limits) -> Failure {
    use std::io::ErrorKind;
    let sentence = match error {
        ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            format!("nothing listens at {place}: start the gateway (`cargo xtask dev`), or name another with --gateway")
        }
        ureq::Error::Io(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => {
            format!("{place} closed the connection before it answered: look at the gateway's log")
        }
        ureq::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
            format!("no secure connection to {place}: {error}: this system must trust its certificate")
        }
        ureq::Error::Io(error) => format!("no connection to {place}: {error}: check the address and the network"),
        ureq::Error::ConnectionFailed => format!("no connection to {place}: check the address and the network"),
        ureq::Error::HostNotFound => format!("no such host in {place}: check the address"),
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => format!(
            "no connection to {place} within {} s: check the address and the network",
            CONNECT_TIMEOUT.as_secs()
        ),
        ureq::Error::Timeout(_) => {
            let limit = limits.total.or(limits.silence).unwrap_or_default();
            format!("{place} did not answer within {} s", limit.as_secs())
        }
        ureq::Error::BodyExceedsLimit(_) => format!("{place} sent an answer larger than {ANSWER_MAX_BYTES} bytes"),
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => format!("no secure connection to {place}: {error}"),
        error => format!("the call to {place} failed: {error}"),
    };
    Failure::new(Exit::Transport, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses() {
        let check = |host: &str, expected: bool| assert_eq!(is_loopback(host), expected, "{host}");
        check("127.0.0.1", true);
        check("[::1]", true);
        check("localhost", true);
        check("localhost.example.com", false);
        check("10.0.0.1", false);
    }
}
