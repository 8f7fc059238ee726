//! `baton step`: a signed step, and its answer as far as it can be trusted.

mod show;

use std::path::Path;
use std::time::Duration;

use baton::signature::{KeyRecord, Rejection, Stamp, path, sign_request};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response};
use serde_json::{Map, Value};

use crate::args::Step;
use crate::output::{Exit, Failure, Report, Style, printable};
use crate::{capture, config, environment, transport};

/// An answer may take this much longer than the step's deadline, for the way there and back.
const GRACE: Duration = Duration::from_secs(10);

/// Signs, sends, verifies and shows.
pub fn run(args: &Step, style: Style) -> Result<Report, Failure> {
    let call = Call::new(args)?;
    let gateway = config::gateway(args.gateway.as_deref())?;
    let keyring = config::keyring(args.key.as_deref())?;
    let key = config::invoking_key(&keyring, &args.agent, environment::now_s())?;

    let mut request = call.request(&gateway, &args.agent)?;
    let stamp = Stamp {
        created_s: environment::now_s(),
        nonce: environment::nonce()?,
    };
    let sent = sign_request(&mut request, key, stamp)
        .map_err(|error| Failure::usage(format!("the request cannot be signed: {error}")))?;
    let request_text = capture::request_text(&request);
    if let Some(folder) = &args.capture {
        save(folder, "request.http", &request_text)?;
    }
    let mut report = Report::new(Exit::Done, "");
    if args.show_request {
        report = report.note(printable(&String::from_utf8_lossy(&request_text).replace('\r', "")));
    }

    let timeout = Duration::from_millis(args.deadline_ms.unwrap_or(baton::manifest::DEADLINE_MAX_MS)) + GRACE;
    let response = transport::send(request, timeout).map_err(|failure| call.how_to_ask_again(&failure, args))?;
    if let Some(folder) = &args.capture {
        save(folder, "response.http", &capture::response_text(&response))?;
    }
    let verified = sent.verify(&response, environment::now_s());
    let trust = trust(&response, verified, key)?;
    let shown = show::answer(&response, &trust, args.json, style)?;
    report.exit = shown.exit;
    report.text = shown.text;
    report.notes.push_str(&shown.notes);
    Ok(report)
}

/// What is asked for, its defaults filled in.
struct Call {
    run: String,
    step: String,
    idempotency_key: String,
    body: Vec<u8>,
}

impl Call {
    fn new(args: &Step) -> Result<Self, Failure> {
        let run = args
            .run
            .clone()
            .map_or_else(|| environment::random_id().map(|id| format!("run_{id}")), Ok)?;
        let step = args
            .step
            .clone()
            .map_or_else(|| environment::random_id().map(|id| format!("step_{id}")), Ok)?;
        let mut body = Map::new();
        body.insert("run".to_owned(), run.clone().into());
        body.insert("step".to_owned(), step.clone().into());
        body.insert("attempt".to_owned(), args.attempt.into());
        body.insert("input".to_owned(), args.input.read("--input")?);
        if let Some(state) = &args.state {
            body.insert("state".to_owned(), state.read("--state")?);
        }
        if let Some(deadline_ms) = args.deadline_ms {
            body.insert("deadline_ms".to_owned(), deadline_ms.into());
        }
        let idempotency_key = args
            .idempotency_key
            .clone()
            .unwrap_or_else(|| default_key(&run, &step, args.attempt));
        let body = Value::Object(body).to_string().into_bytes();
        Ok(Self {
            run,
            step,
            idempotency_key,
            body,
        })
    }

    fn request(&self, gateway: &str, agent: &str) -> Result<Request<Vec<u8>>, Failure> {
        let target = format!("/agents/{agent}/steps");
        if agent.contains('/') || !path::is_canonical(&target) {
            return Err(Failure::usage(format!(
                "`{agent}` is no agent's id: `baton discover` lists the agents of a gateway"
            )));
        }
        let key = baton::signature::structured::serialise_string(&self.idempotency_key)
            .map_err(|error| Failure::usage(format!("--idempotency-key: {error}")))?;
        Request::post(format!("{gateway}{target}"))
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, application/problem+json")
            .header("idempotency-key", key)
            .body(self.body.clone())
            .map_err(|error| Failure::usage(format!("{gateway}{target}: {error}")))
    }

    /// A call that got no answer may have had its effect: the same call again gets the stored answer.
    fn how_to_ask_again(&self, failure: &Failure, args: &Step) -> Failure {
        let message = failure.to_string();
        let message = message.trim_start_matches("error: ");
        let key = args
            .idempotency_key
            .as_ref()
            .map(|key| format!(" --idempotency-key {}", quoted(key)))
            .unwrap_or_default();
        Failure::new(
            failure.exit,
            format!(
                "{message}\n  To ask again without a second effect, add: --run {} --step {}{key}",
                quoted(&self.run),
                quoted(&self.step)
            ),
        )
    }
}

/// One key per attempt: the gateway takes a key that comes with another attempt for a mistake.
fn default_key(run: &str, step: &str, attempt: u32) -> String {
    if attempt == 1 {
        format!("{run}/{step}")
    } else {
        format!("{run}/{step}/{attempt}")
    }
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// How far an answer can be trusted.
enum Trust {
    /// Its signature holds, under this key.
    Signed(String),
    /// A refusal of a caller that the gateway does not know: it cannot sign that.
    Unsigned,
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
    fn an_attempt_has_its_own_key() {
        assert_eq!(default_key("r", "s", 1), "r/s");
        assert_eq!(default_key("r", "s", 2), "r/s/2");
    }

    #[test]
    fn what_is_suggested_can_be_pasted() {
        assert_eq!(quoted("run_01"), "run_01");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

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
}
