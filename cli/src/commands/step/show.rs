//! A step's answer for a person, or as it came.

use std::fmt::Write as _;

use baton::signature::IDEMPOTENCY_REPLAYED;
use http::Response;
use serde_json::Value;

use super::Trust;
use crate::output::{Exit, Failure, Report, Style, printable, text};

/// The report of an answer: an outcome with 200, a problem otherwise.
pub fn answer(response: &Response<Vec<u8>>, trust: &Trust, json: bool, style: Style) -> Result<Report, Failure> {
    let body = serde_json::from_slice::<Value>(response.body())
        .ok()
        .filter(Value::is_object);
    let status = response.status();
    let Some(body) = body else {
        // A refusal without a body of ours, by something on the way.
        return Err(Failure::new(
            if status.is_client_error() {
                Exit::Refused
            } else {
                Exit::Transport
            },
            format!("the answer {status} has no JSON object as its body: is a Baton gateway there?"),
        ));
    };
    let exit = match body["status"].as_str() {
        _ if !status.is_success() => Exit::Refused,
        Some("completed") => Exit::Done,
        Some(_) => Exit::Bad,
        None => {
            return Err(Failure::new(
                Exit::Transport,
                format!("the answer {status} is no outcome: it has no `status`"),
            ));
        }
    };
    if json {
        let text = String::from_utf8_lossy(response.body());
        let report = Report::new(exit, format!("{}\n", text.trim_end()));
        return Ok(match trust {
            Trust::Signed(_) => report,
            Trust::Unsigned => report.note(UNSIGNED),
        });
    }
    let mut text = if status.is_success() {
        outcome(&body, response, style)
    } else {
        problem(&body, response, style)
    };
    let _ = match trust {
        Trust::Signed(key) => writeln!(text, "signature verified with key {key}"),
        Trust::Unsigned => writeln!(text, "{UNSIGNED}"),
    };
    Ok(Report::new(exit, text))
}

const UNSIGNED: &str =
    "the answer is not signed: the gateway did not recognise the caller, so anyone on the way could have written it";

fn outcome(body: &Value, response: &Response<Vec<u8>>, style: Style) -> String {
    let mut out = String::new();
    let status = text(&body["status"]);
    let status = if status == "completed" {
        style.good(&status)
    } else {
        style.bad(&status)
    };
    let _ = writeln!(
        out,
        "{status}  {}  run {}  step {}  attempt {}  {} ms",
        text(&body["agent"]),
        text(&body["run"]),
        text(&body["step"]),
        text(&body["attempt"]),
        text(&body["usage"]["duration_ms"]),
    );
    if let Some(error) = body["error"].as_object() {
        let _ = writeln!(
            out,
            "{}: {}",
            text(&body["error"]["code"]),
            text(&body["error"]["message"])
        );
        let _ = writeln!(out, "{}", retry(error.get("retryable"), error.get("retry_after_ms")));
    }
    for part in ["output", "state"] {
        if let Some(value) = body.get(part) {
            let _ = writeln!(out, "{}\n{}", style.heading(part), printable(&format!("{value:#}")));
        }
    }
    if response
        .headers()
        .get(IDEMPOTENCY_REPLAYED)
        .is_some_and(|value| value == "true")
    {
        let _ = writeln!(out, "stored answer: this step had run before, nothing ran again");
    }
    if body["trace"]["traceparent"].is_string() {
        let _ = writeln!(out, "trace {}", text(&body["trace"]["traceparent"]));
    }
    out
}

fn problem(body: &Value, response: &Response<Vec<u8>>, style: Style) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{}  {} {}: {}",
        style.bad("refused"),
        response.status().as_u16(),
        text(&body["code"]),
        text(&body["title"])
    );
    if body["detail"].is_string() {
        let _ = writeln!(out, "{}", text(&body["detail"]));
    }
    for error in body["errors"].as_array().into_iter().flatten() {
        let place = match error["instance"].as_str() {
            Some("") | None => "(the whole)".to_owned(),
            Some(pointer) => printable(pointer),
        };
        let _ = writeln!(
            out,
            "  {place}: {}  [{}]",
            text(&error["message"]),
            text(&error["schema"])
        );
    }
    let _ = writeln!(out, "{}", retry(body.get("retryable"), body.get("retry_after_ms")));
    for (name, says) in [
        ("accept-signature", "the gateway asks for the signature"),
        ("allow", "allowed here"),
    ] {
        if let Some(value) = response.headers().get(name) {
            let _ = writeln!(out, "{says}: {}", printable(&String::from_utf8_lossy(value.as_bytes())));
        }
    }
    if body["request_id"].is_string() {
        let _ = writeln!(out, "request id {}, as in the gateway's log", text(&body["request_id"]));
    }
    out
}

fn retry(retryable: Option<&Value>, retry_after_ms: Option<&Value>) -> String {
    match (
        retryable.and_then(Value::as_bool),
        retry_after_ms.and_then(Value::as_u64),
    ) {
        (Some(true), Some(wait)) => format!("may be tried again after {wait} ms"),
        (Some(true), None) => "may be tried again".to_owned(),
        _ => "trying again as it is will not help".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(status: u16, body: &Value, expected_exit: Exit, expected: &[&str]) {
        let response = Response::builder()
            .status(status)
            .header(IDEMPOTENCY_REPLAYED, "true")
            .body(body.to_string().into_bytes())
            .expect("a response");
        let (exit, shown) = match answer(&response, &Trust::Signed("k1".into()), false, Style::plain()) {
            Ok(report) => (report.exit, report.text),
            Err(failure) => (failure.exit, failure.to_string()),
        };
        assert_eq!(exit, expected_exit, "{shown}");
        for part in expected {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }

    #[test]
    fn outcomes() {
        let completed = json!({"status":"completed","run":"r","step":"s","attempt":1,"agent":"triage",
            "output":{"team":"support\u{1b}"},"usage":{"duration_ms":3},"trace":{"traceparent":"00-a-b-01"}});
        check(
            200,
            &completed,
            Exit::Done,
            &[
                "completed  triage  run r  step s  attempt 1  3 ms",
                "\"team\": \"support\\u001b\"",
                "stored answer",
                "trace 00-a-b-01",
                "signature verified with key k1",
            ],
        );
        let failed = json!({"status":"failed","error":{"code":"no-rule-matched","message":"none","retryable":true,"retry_after_ms":500}});
        check(
            200,
            &failed,
            Exit::Bad,
            &["failed", "no-rule-matched: none", "again after 500 ms"],
        );
    }

    #[test]
    fn problems() {
        let problem = json!({"status":422,"code":"input-invalid","title":"Input","detail":"It is wrong.","retryable":false,"request_id":"q1",
            "errors":[{"instance":"/text","schema":"/properties/text/minLength","message":"too short"},{"instance":"","schema":"/required","message":"missing"}]});
        check(
            422,
            &problem,
            Exit::Refused,
            &[
                "refused  422 input-invalid: Input",
                "It is wrong.",
                "/text: too short  [/properties/text/minLength]",
                "(the whole): missing",
                "will not help",
                "request id q1",
            ],
        );
    }

    #[test]
    fn what_is_no_answer_of_ours() {
        check(200, &json!([]), Exit::Transport, &["no JSON object"]);
        check(200, &json!({}), Exit::Transport, &["no outcome"]);
        check(404, &json!("x"), Exit::Refused, &["404 Not Found has no JSON object"]);
    }
}
