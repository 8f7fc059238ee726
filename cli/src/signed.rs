//! One signed call: signed, sent, captured where that is asked for, and its answer as far as it can be trusted.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use baton::signature::{KeyRecord, Purpose, Rejection, Sent, Stamp, sign_request};
use http::header::ACCEPT;
use http::{Method, Request, Response};

use crate::args::CallOptions;
use crate::output::{Exit, Failure, printable};
use crate::transport::Opened;
use crate::{capture, config, environment, transport};

/// What a plain answer may be.
const JSON: &str = "application/json, application/problem+json";

/// Who calls which gateway.
pub struct Caller {
    gateway: String,
    key: KeyRecord,
    show_request: bool,
    capture: Option<PathBuf>,
}

impl Caller {
    /// Takes the gateway and the key that a call's options name; `agent` is the one that the call invokes.
    pub fn new(options: &CallOptions, purpose: Purpose, agent: Option<&str>) -> Result<Self, Failure> {
        let gateway = config::gateway(options.gateway.as_deref())?;
        let keyring = config::keyring(options.key.as_deref())?;
        let key = config::signing_key(&keyring, purpose, agent, environment::now_s())?;
        Ok(Self {
            gateway,
            key: key.clone(),
            show_request: options.show_request,
            capture: options.capture.clone(),
        })
    }

    /// Begins a request to a canonical path of the gateway, with its query.
    pub fn request(&self, method: Method, target: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{target}", self.gateway))
            .header(ACCEPT, JSON)
    }

    /// Ends a request that has no body.
    pub fn without_body(builder: http::request::Builder) -> Result<Request<Vec<u8>>, Failure> {
        finish(builder, Vec::new())
    }

    /// Ends a request whose body is JSON text.
    pub fn with_json(builder: http::request::Builder, body: Vec<u8>) -> Result<Request<Vec<u8>>, Failure> {
        finish(builder.header(http::header::CONTENT_TYPE, "application/json"), body)
    }

    /// The usual call: no body, a plain answer.
    pub fn ask(&self, method: Method, target: &str, timeout: Duration) -> Result<Answer, Failure> {
        self.call(Self::without_body(self.request(method, target))?, timeout)
    }

    /// Signs, sends, reads and verifies.
    pub fn call(&self, mut request: Request<Vec<u8>>, timeout: Duration) -> Result<Answer, Failure> {
        let sent = self.sign(&mut request)?;
        let response = transport::send(request, timeout)?;
        self.judge(&sent, response)
    }

    /// Signs and sends a request whose answer is read as it comes.
    pub fn open(&self, mut request: Request<Vec<u8>>, silence: Duration) -> Result<(Sent, Opened), Failure> {
        let sent = self.sign(&mut request)?;
        Ok((sent, transport::open(request, silence)?))
    }

    /// Says how far an answer to what was sent can be trusted.
    pub fn judge(&self, sent: &Sent, response: Response<Vec<u8>>) -> Result<Answer, Failure> {
        if let Some(folder) = &self.capture {
            save(folder, "response.http", &capture::response_text(&response))?;
        }
        let verified = sent.verify(&response, environment::now_s());
        let trust = trust(&response, verified, &self.key)?;
        Ok(Answer { response, trust })
    }

    fn sign(&self, request: &mut Request<Vec<u8>>) -> Result<Sent, Failure> {
        let stamp = Stamp {
            created_s: environment::now_s(),
            nonce: environment::nonce()?,
        };
        let sent = sign_request(request, &self.key, stamp)
            .map_err(|error| Failure::usage(format!("the request cannot be signed: {error}")))?;
        let text = capture::request_text(request);
        if let Some(folder) = &self.capture {
            save(folder, "request.http", &text)?;
        }
        if self.show_request {
            let text = printable(&String::from_utf8_lossy(&text).replace('\r', ""));
            let _ = writeln!(std::io::stderr(), "{text}");
        }
        Ok(sent)
    }
}

fn finish(builder: http::request::Builder, body: Vec<u8>) -> Result<Request<Vec<u8>>, Failure> {
    builder
        .body(body)
        .map_err(|error| Failure::usage(format!("the request cannot be made: {error}")))
}

/// `Idempotency-Key` as the wire has it: a structured string.
pub fn idempotency_key(key: &str) -> Result<String, Failure> {
    let max = baton::signature::profile::IDEMPOTENCY_KEY_MAX_BYTES;
    if !(1..=max).contains(&key.len()) {
        return Err(Failure::usage(format!(
            "--idempotency-key: a key has 1 to {max} bytes, this one has {}: give another",
            key.len()
        )));
    }
    baton::signature::structured::serialise_string(key)
        .map_err(|error| Failure::usage(format!("--idempotency-key: {error}")))
}

/// An answer that may be shown.
pub struct Answer {
    /// The answer.
    pub response: Response<Vec<u8>>,
    /// How far it can be trusted.
    pub trust: Trust,
}

/// How far an answer can be trusted.
pub enum Trust {
    /// Its signature holds, under this key.
    Signed(String),
    /// A refusal of a caller that the gateway does not know: it cannot sign that.
    Unsigned,
    /// Answers to customers are not signed: they are as good as the connection.
    Connection,
}

/// Only a 4xx may come unsigned: an unsigned success proves nothing, and an unsigned 5xx is the network's.
fn trust(response: &Response<Vec<u8>>, verified: Result<(), Rejection>, key: &KeyRecord) -> Result<Trust, Failure> {
    let status = response.status();
    match verified {
        Ok(()) => Ok(Trust::Signed(key.id.clone())),
        Err(Rejection::Missing) if status.is_client_error() => Ok(Trust::Unsigned),
        Err(Rejection::Missing) if status.is_redirection() => Err(Failure::new(
            Exit::Transport,
            format!(
                "the answer {status} leads elsewhere ({}), which is not followed: a signature is bound to its address. Give the gateway's own origin with --gateway",
                header(response, "location")
            ),
        )),
        Err(Rejection::Missing) => Err(Failure::new(
            Exit::Transport,
            format!(
                "the answer {status} is not signed, so it proves nothing about the step: is a Baton gateway there? Its log may say more"
            ),
        )),
        Err(rejection) => Err(Failure::new(
            Exit::Transport,
            format!(
                "the signature of the answer {status} does not hold ({}): {rejection}\n  Take the exchange with --capture DIR and see `baton verify --request DIR/request.http DIR/response.http`",
                rejection.code()
            ),
        )),
    }
}

fn header(response: &Response<Vec<u8>>, name: &str) -> String {
    response.headers().get(name).map_or_else(
        || "-".to_owned(),
        |value| printable(&String::from_utf8_lossy(value.as_bytes())),
    )
}

fn save(folder: &Path, name: &str, text: &[u8]) -> Result<(), Failure> {
    let path = folder.join(name);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| Failure::usage(format!("cannot write {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_may_come_unsigned() {
        let json = format!(
            r#"{{"id":"k","orchestrator":"o","purposes":["invoke"],"secret":"{}="}}"#,
            "A".repeat(43)
        );
        let key = baton::signature::Keyring::parse_record(&json).expect("a key");
        let check = |status: u16, verified, expected: Option<&str>| {
            let response = Response::builder().status(status).body(Vec::new()).expect("a response");
            match (trust(&response, verified, &key), expected) {
                (Ok(_), None) => {}
                (Err(failure), Some(expected)) => {
                    assert_eq!(failure.exit, Exit::Transport);
                    assert!(failure.to_string().contains(expected), "{failure}");
                }
                (found, _) => panic!("{status}: {}", found.is_ok()),
            }
        };
        check(200, Ok(()), None);
        check(401, Err(Rejection::Missing), None);
        check(200, Err(Rejection::Missing), Some("is not signed"));
        check(503, Err(Rejection::Missing), Some("is not signed"));
        check(302, Err(Rejection::Missing), Some("leads elsewhere"));
        check(401, Err(Rejection::Invalid), Some("signature-invalid"));
    }

    #[test]
    fn idempotency_keys() {
        assert_eq!(idempotency_key("a \"b\"").ok().as_deref(), Some(r#""a \"b\"""#));
        assert!(idempotency_key("ä").is_err());
        assert!(idempotency_key("").is_err());
        assert!(idempotency_key(&"a".repeat(257)).is_err());
    }
}
