//! A step followed as it runs: its reports as they come, its outcome as far as it can be trusted.

use std::io::{BufReader, Write as _};
use std::time::Duration;

use baton::signature::Sent;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Request, Response};
use serde_json::Value;

use crate::output::{Exit, Failure, printable};
use crate::signed::{Answer, Caller, Trust};
use crate::sse;
use crate::transport::Opened;

/// The gateway lets hear of itself every 3 seconds: after ten such times nobody is there any more.
pub const SILENCE: Duration = Duration::from_secs(30);
/// A stream is given up when it broke this often without any news in between.
const BREAKS_MAX: u32 = 5;
/// The wait before connecting again, until the stream says another.
const RETRY: Duration = Duration::from_secs(1);
/// And at most.
const RETRY_MAX: Duration = Duration::from_secs(30);

pub const EVENT_STREAM: &str = "text/event-stream";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Follows a step until its outcome, over as many connections as it takes. `request` makes the request anew for
/// each of them; `command` is what a person types to go on by hand.
///
/// A gateway that answers plainly is answered to plainly: a refusal, for example, is no stream.
pub fn follow(
    caller: &Caller,
    request: impl Fn() -> Result<Request<Vec<u8>>, Failure>,
    mut last_event_id: Option<String>,
    command: &str,
) -> Result<Answer, Failure> {
    let mut live = Live::default();
    let mut retry = RETRY;
    let mut breaks = 0;
    loop {
        let mut request = request()?;
        prepare(&mut request, last_event_id.as_deref())?;
        let cause = match connect(caller, request) {
            // A gateway that starts anew, for example, says so; the step goes on.
            Ok(Connected::Answered(answer)) if breaks > 0 && answer.response.status().is_server_error() => {
                format!("the gateway answered {}", answer.response.status())
            }
            Ok(Connected::Answered(answer)) => return Ok(answer),
            Ok(Connected::Stream(sent, opened)) => {
                let mut reader = sse::Reader::new(BufReader::new(opened.response.into_body().into_reader()));
                let cause = loop {
                    match reader.next() {
                        Ok(Some(event)) if event.name == "outcome" => {
                            live.end_line();
                            return outcome(caller, &sent, &event.data);
                        }
                        Ok(Some(event)) => live.show(&event),
                        Ok(None) => break "it ended before the outcome".to_owned(),
                        Err(error) => break error.to_string(),
                    }
                };
                if reader.last_id.is_some() && reader.last_id != last_event_id {
                    breaks = 0;
                    last_event_id = reader.last_id;
                }
                retry = reader.retry.unwrap_or(retry).min(RETRY_MAX);
                cause
            }
            // What never worked is told at once: a wrong address does not get better.
            Err(failure) if breaks == 0 => return Err(failure),
            Err(failure) => failure.message().to_owned(),
        };
        breaks += 1;
        live.end_line();
        if breaks >= BREAKS_MAX {
            return Err(given_up(&cause, last_event_id.as_deref(), command));
        }
        live.line(&format!("the stream broke ({}): taking it up again", printable(&cause)));
        std::thread::sleep(retry);
    }
}

fn prepare(request: &mut Request<Vec<u8>>, last_event_id: Option<&str>) -> Result<(), Failure> {
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static(EVENT_STREAM));
    if let Some(id) = last_event_id {
        let id = HeaderValue::from_bytes(id.as_bytes())
            .map_err(|_| Failure::usage("--last-event-id: an event's id has no control characters"))?;
        headers.insert(LAST_EVENT_ID, id);
    }
    Ok(())
}

/// What a connection turned out to be.
enum Connected {
    Stream(Box<Sent>, Opened),
    Answered(Answer),
}

fn connect(caller: &Caller, request: Request<Vec<u8>>) -> Result<Connected, Failure> {
    let (sent, opened) = caller.open(request, SILENCE)?;
    if is_stream(&opened.response) {
        Ok(Connected::Stream(Box::new(sent), opened))
    } else {
        let response = opened.read()?;
        caller.judge(&sent, response).map(Connected::Answered)
    }
}

/// Whether an answer is a stream of events.
pub fn is_stream<B>(response: &Response<B>) -> bool {
    response.status().is_success()
        && response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.split(';').next().is_some_and(|kind| kind.trim() == EVENT_STREAM))
}

/// The outcome is an HTTP response of its own, and verified as one.
fn outcome(caller: &Caller, sent: &Sent, data: &str) -> Result<Answer, Failure> {
    let response = response(data).map_err(|what| {
        Failure::new(
            Exit::Transport,
            format!("the stream's last event is no answer: {what}: is a Baton gateway there?"),
        )
    })?;
    let answer = caller.judge(sent, response)?;
    match answer.trust {
        Trust::Signed(_) => Ok(answer),
        // The gateway knew the caller, or there would be no stream: it can sign whatever it answers.
        Trust::Unsigned | Trust::Connection => Err(Failure::new(
            Exit::Transport,
            "the outcome in the stream is not signed, so it proves nothing about the step",
        )),
    }
}

fn response(data: &str) -> Result<Response<Vec<u8>>, String> {
    let value =
        baton::json::parse_strict(data.as_bytes(), baton::json::DEPTH_LIMIT).map_err(|error| error.to_string())?;
    let status = value["status"].as_u64().and_then(|status| u16::try_from(status).ok());
    let body = value["body"].as_str().ok_or("it has no `body` of text")?;
    let headers = value["headers"].as_object().ok_or("it has no `headers`")?;
    let mut builder = Response::builder().status(status.ok_or("it has no `status`")?);
    for (name, value) in headers {
        let value = value.as_str().ok_or("a header field is no text")?;
        builder = builder.header(name, value);
    }
    builder
        .body(body.as_bytes().to_vec())
        .map_err(|error| error.to_string())
}

fn given_up(cause: &str, last_event_id: Option<&str>, command: &str) -> Failure {
    let from = last_event_id
        .map(|id| format!(" --last-event-id {}", crate::id::quoted(&printable(id))))
        .unwrap_or_default();
    Failure::new(
        Exit::Transport,
        format!(
            "the stream broke {BREAKS_MAX} times in a row: {}\n  The step runs on. To follow it again: {command}{from}",
            printable(cause)
        ),
    )
}

/// What comes while a step runs. It is not signed: it goes to standard error, never where a script takes an
/// outcome from.
#[derive(Default)]
pub struct Live {
    within_line: bool,
}

impl Live {
    /// Shows an event as it comes.
    pub fn show(&mut self, event: &sse::Event) {
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        match event.name.as_str() {
            "started" => match data["execution"].as_u64() {
                Some(execution) if execution > 1 => self.line(&format!("begun again: execution {execution}")),
                _ => self.line("begun"),
            },
            "route" => self.line(&route(&data)),
            "progress" => self.line(&progress(&data)),
            "delta" => {
                if let Some(text) = data["text"].as_str().filter(|text| !text.is_empty()) {
                    self.write(&printable(text));
                    self.within_line = !text.ends_with('\n');
                }
            }
            // Of a later time.
            _ => {}
        }
    }

    fn line(&mut self, text: &str) {
        self.end_line();
        self.write(&format!("{text}\n"));
    }

    /// Ends a line that was begun: something else comes now.
    pub fn end_line(&mut self) {
        if std::mem::take(&mut self.within_line) {
            self.write("\n");
        }
    }

    fn write(&self, text: &str) {
        // Nobody reads it any more: no reason to stop, the outcome goes elsewhere.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

fn progress(data: &Value) -> String {
    let message = data["message"].as_str().map(printable).unwrap_or_default();
    match data["fraction"].as_f64() {
        Some(fraction) => format!("{:>3.0} %  {message}", fraction.clamp(0.0, 1.0) * 100.0),
        None => message,
    }
}

/// Which way a direct call goes from now on.
fn route(data: &Value) -> String {
    let text = |name: &str| data[name].as_str().map(printable).unwrap_or_default();
    match data["by"].as_str() {
        Some("orchestrated") => format!("{} coordinates", text("orchestrator")),
        Some("fallback") => format!(
            "the gateway coordinates, in the place of {} ({}: {})",
            text("orchestrator"),
            text("reason"),
            text("detail")
        ),
        Some("local") => "the gateway coordinates".to_owned(),
        Some("stored") => "answered before".to_owned(),
        _ => format!("route: {}", text("by")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_event_is_a_response() {
        let data =
            json!({"status":200,"headers":{"content-type":"application/json","signature":"x"},"body":"{\"a\":\"ä\"}"});
        let found = response(&data.to_string()).expect("a response");
        assert_eq!((found.status().as_u16(), found.headers().len()), (200, 2));
        assert_eq!(found.body(), "{\"a\":\"ä\"}".as_bytes());

        let check = |data: &str, expected: &str| {
            let error = response(data).expect_err(data);
            assert!(error.contains(expected), "{data}: {error}");
        };
        check("", "line 1");
        check("[]", "no `body`");
        check(r#"{"status":200,"body":"","body":"","headers":{}}"#, "twice");
        check(r#"{"status":200,"body":""}"#, "no `headers`");
        check(r#"{"body":"","headers":{}}"#, "no `status`");
        check(r#"{"status":7,"body":"","headers":{}}"#, "status");
        check(r#"{"status":200,"body":"","headers":{"a":1}}"#, "no text");
        check(r#"{"status":200,"body":"","headers":{"a b":"1"}}"#, "header name");
    }

    #[test]
    fn reports() {
        let check = |data: Value, expected: &str| assert_eq!(progress(&data), expected);
        check(json!({"message":"half\u{1b}","fraction":0.5}), " 50 %  half\u{fffd}");
        check(json!({"message":"on","fraction":7}), "100 %  on");
        check(json!({"message":"on"}), "on");
        check(json!({}), "");
    }

    #[test]
    fn routes() {
        let check = |data: Value, expected: &str| assert_eq!(route(&data), expected);
        check(json!({"by":"orchestrated","orchestrator":"acme"}), "acme coordinates");
        check(
            json!({"by":"fallback","orchestrator":"acme","reason":"timeout","detail":"no\u{1b} answer"}),
            "the gateway coordinates, in the place of acme (timeout: no\u{fffd} answer)",
        );
        check(json!({"by":"local"}), "the gateway coordinates");
        check(json!({"by":"stored"}), "answered before");
        check(json!({"by":"new"}), "route: new");
    }

    #[test]
    fn how_to_go_on() {
        let failure = given_up("reset", Some("1.2"), "baton run watch r s");
        assert_eq!(failure.exit, Exit::Transport);
        let said = failure.to_string();
        assert!(said.contains("baton run watch r s --last-event-id 1.2"), "{said}");
    }
}
