//! Answers for a person, or as they came.

mod outcome;
mod problem;
mod query;
mod stand_ins;
mod status;

use baton::signature::IDEMPOTENCY_REPLAYED;
use http::{HeaderMap, Response, StatusCode};
use serde_json::Value;

use crate::output::{Exit, Failure, Report, Style};
use crate::signed::{Answer, Trust};

pub use status::{moment, status};

/// The report of any answer whose body is a JSON object: a problem is shown as one, what the call was for as
/// `describe` has it. With `json` the body is printed as it came; the exit is the same.
pub fn report(
    answer: &Answer,
    json: bool,
    style: Style,
    describe: impl FnOnce(&Value) -> Result<(Exit, String), Failure>,
) -> Result<Report, Failure> {
    let Answer { response, trust } = answer;
    let body = object(response)?;
    let status = response.status();
    let (exit, mut text) = if status.is_success() {
        describe(&body)?
    } else {
        (
            Exit::Refused,
            problem::describe(&body, status.as_u16(), response.headers(), style),
        )
    };
    if json {
        let body = String::from_utf8_lossy(response.body());
        let report = Report::new(exit, format!("{}\n", body.trim_end()));
        return Ok(match trust {
            Trust::Signed(_) | Trust::Connection => report,
            Trust::Unsigned => report.note(UNSIGNED),
        });
    }
    match trust {
        Trust::Signed(key) => text.push_str(&format!("signature verified with key {key}\n")),
        Trust::Unsigned => text.push_str(&format!("{UNSIGNED}\n")),
        Trust::Connection => {}
    }
    Ok(Report::new(exit, text))
}

const UNSIGNED: &str =
    "the answer is not signed: the gateway did not recognise the caller, so anyone on the way could have written it";

/// The report of a step's answer: an outcome, or the step's status where the gateway does not wait for it.
pub fn step(answer: &Answer, json: bool, style: Style) -> Result<Report, Failure> {
    let response = &answer.response;
    report(answer, json, style, |body| {
        // Only a status counts the executions.
        if response.status() == StatusCode::ACCEPTED || !body["executions"].is_null() {
            return status(body, style);
        }
        let exit = outcome::exit(body).ok_or_else(|| unexpected(response, "outcome: it has no `status`"))?;
        Ok((exit, outcome::describe(body, is_replayed(response.headers()), style)))
    })
}

/// The report of a direct call's answer.
pub fn query(answer: &Answer, json: bool, style: Style) -> Result<Report, Failure> {
    report(answer, json, style, |body| {
        let exit = outcome::exit(body).filter(|_| body["route"].is_object());
        let exit =
            exit.ok_or_else(|| unexpected(&answer.response, "answer to a query: it has no `status` or `route`"))?;
        Ok((exit, query::describe(body, style)))
    })
}

/// The failure of an answer that is signed and all the same not what was asked for.
pub fn unexpected(response: &Response<Vec<u8>>, what: &str) -> Failure {
    Failure::new(
        Exit::Transport,
        format!("the answer {} is no {what}", response.status()),
    )
}

fn object(response: &Response<Vec<u8>>) -> Result<Value, Failure> {
    let body = serde_json::from_slice::<Value>(response.body())
        .ok()
        .filter(Value::is_object);
    // A refusal without a body of ours, by something on the way.
    body.ok_or_else(|| {
        let status = response.status();
        let exit = if status.is_client_error() {
            Exit::Refused
        } else {
            Exit::Transport
        };
        Failure::new(
            exit,
            format!("the answer {status} has no JSON object as its body: is a Baton gateway there?"),
        )
    })
}

/// Whether an answer is what an earlier request came to.
pub fn is_replayed(headers: &HeaderMap) -> bool {
    headers.get(IDEMPOTENCY_REPLAYED).is_some_and(|value| value == "true")
}

/// What an error says of trying again.
fn retry(error: &Value) -> String {
    match (error["retryable"].as_bool(), error["retry_after_ms"].as_u64()) {
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
        let trust = Trust::Signed("k1".into());
        let (exit, shown) = match step(&Answer { response, trust }, false, Style::plain()) {
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
    fn outcomes_of_runs() {
        let common = json!({"run":"r","step":"s","attempt":1,"agent":"triage","usage":{"duration_ms":3}});
        let with = |more: Value| {
            let mut outcome = common.clone();
            for (name, value) in more.as_object().expect("an object") {
                outcome[name] = value.clone();
            }
            outcome
        };
        check(
            200,
            &with(
                json!({"status":"completed","output":1,"state_version":3,"state_digest":"sha-256=:AA==:",
                "hops":[{"agent":"redact","reason":"has names","traceparent":"00-a-c-01"}],
                "trace":{"traceparent":"00-a-b-01","links":["00-d-e-01"]}}),
            ),
            Exit::Done,
            &[
                "state version 3  sha-256=:AA==:",
                "redact handed on: has names",
                "trace 00-a-b-01",
                "linked 00-d-e-01",
            ],
        );
        let failed = json!([{"agent":"triage","code":"busy","message":"Later."}]);
        check(
            200,
            &with(
                json!({"status":"completed","output":1,"failed":failed,"answered_by":"redact",
                "hops":[{"agent":"triage","reason":"Later.","error":"busy","traceparent":"00-a-c-01"}]}),
            ),
            Exit::Done,
            &["failed: triage (busy: Later.)\nredact stands in"],
        );
        check(
            200,
            &with(json!({"status":"completed","output":1,"failed":failed,"stand_in":true})),
            Exit::Done,
            &["failed: triage (busy: Later.)\nthe answer stands in"],
        );
        check(
            200,
            &with(json!({"status":"cancelled"})),
            Exit::Bad,
            &["cancelled  triage  run r"],
        );
        check(
            200,
            &with(json!({"status":"handed_off","handoff":{"agent":"redact","reason":"has names","input":{"a":1}}})),
            Exit::Done,
            &["handed_off  triage", "hands off to redact: has names", "\"a\": 1"],
        );
    }

    #[test]
    fn accepted() {
        let status = json!({"run":"r","step":"s","attempt":1,"agent":"triage","status":"accepted","executions":0});
        check(
            202,
            &status,
            Exit::Done,
            &["accepted  triage  run r  step s  attempt 1"],
        );
        let running = json!({"run":"r","step":"s","attempt":1,"agent":"triage","status":"running","executions":1});
        check(
            200,
            &running,
            Exit::Done,
            &["running  triage  run r  step s  attempt 1"],
        );
        check(202, &json!({}), Exit::Transport, &["no step's status"]);
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
        let conflict = json!({"status":412,"code":"state-conflict","title":"Conflict","current_version":4,"current_etag":"\"4-ab\""});
        check(
            412,
            &conflict,
            Exit::Refused,
            &["the current state is version 4, --if-match 4-ab"],
        );
        let conflict = json!({"status":412,"code":"state-conflict","title":"Conflict","current_version":0});
        check(412, &conflict, Exit::Refused, &["there is no state yet"]);
    }

    #[test]
    fn what_is_no_answer_of_ours() {
        check(200, &json!([]), Exit::Transport, &["no JSON object"]);
        check(200, &json!({}), Exit::Transport, &["no outcome"]);
        check(404, &json!("x"), Exit::Refused, &["404 Not Found has no JSON object"]);
    }
}
