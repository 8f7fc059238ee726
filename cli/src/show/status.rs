//! Where a step stands.

use std::fmt::Write as _;

use http::HeaderMap;
use serde_json::Value;

use super::{outcome, problem};
use crate::environment;
use crate::output::{Exit, Failure, Style, text};

/// A step's status in lines and, once the step has ended, its answer with the exit that goes with it.
pub fn status(body: &Value, style: Style) -> Result<(Exit, String), Failure> {
    if !body["status"].is_string() {
        return Err(Failure::new(
            Exit::Transport,
            "the answer is no step's status: it has no `status`",
        ));
    }
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{}  {}  run {}  step {}  attempt {}",
        style.heading(&text(&body["status"])),
        text(&body["agent"]),
        text(&body["run"]),
        text(&body["step"]),
        text(&body["attempt"])
    );
    let mut times = Vec::new();
    for (name, says) in [
        ("accepted_at_ms", "accepted"),
        ("started_at_ms", "begun"),
        ("ended_at_ms", "ended"),
    ] {
        if let Some(moment) = moment(&body[name]) {
            times.push(format!("{says} {moment}"));
        }
    }
    if body["background"] == true {
        times.push("in the background".to_owned());
    }
    // Once is what everybody expects.
    if body["executions"].as_u64().is_some_and(|count| count > 1) {
        times.push(format!("begun {} times", text(&body["executions"])));
    }
    if !times.is_empty() {
        let _ = writeln!(out, "{}", times.join("  "));
    }
    let callback = &body["callback"];
    if callback.is_object() {
        let _ = write!(
            out,
            "callback {}: {} after {} tries",
            text(&callback["id"]),
            text(&callback["status"]),
            text(&callback["tries"])
        );
        if callback["last_error"].is_string() {
            let _ = write!(out, ", the last: {}", text(&callback["last_error"]));
        }
        out.push('\n');
    }
    let mut exit = Exit::Done;
    if body["answer"].is_object() {
        let (answered, lines) = answer(&body["answer"], style);
        exit = answered;
        let _ = write!(out, "\n{lines}");
    }
    if body["late_answer"].is_object() {
        let (_, lines) = answer(&body["late_answer"], style);
        let _ = write!(out, "\nafter it was cancelled the agent still answered:\n{lines}");
    }
    Ok((exit, out))
}

/// An answer as the gateway keeps it: an outcome or a problem, with its HTTP status.
fn answer(answer: &Value, style: Style) -> (Exit, String) {
    let body = &answer["body"];
    match answer["status"].as_u64().and_then(|status| u16::try_from(status).ok()) {
        Some(status) if !(200..300).contains(&status) => {
            let lines = problem::describe(body, status, &HeaderMap::new(), style);
            (Exit::Refused, lines)
        }
        _ => {
            let exit = outcome::exit(body).unwrap_or(Exit::Bad);
            (exit, outcome::describe(body, false, style))
        }
    }
}

/// Unix milliseconds as a date.
pub fn moment(unix_ms: &Value) -> Option<String> {
    unix_ms.as_u64().map(|ms| environment::rfc3339(ms / 1000))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(body: &Value, expected_exit: Exit, expected: &[&str]) {
        let (exit, shown) = status(body, Style::plain()).expect("a status");
        assert_eq!(exit, expected_exit, "{shown}");
        for part in expected {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }

    #[test]
    fn steps_under_way_and_ended() {
        let running = json!({"run":"r","step":"s","attempt":2,"agent":"triage","status":"running","executions":2,
            "background":true,"accepted_at_ms":1_764_000_010_123_u64,"started_at_ms":1_764_000_011_000_u64,
            "callback":{"id":"msg_1","status":"pending","tries":2,"last_error":"503"}});
        check(
            &running,
            Exit::Done,
            &[
                "running  triage  run r  step s  attempt 2",
                "accepted 2025-11-24T16:00:10Z  begun 2025-11-24T16:00:11Z  in the background  begun 2 times",
                "callback msg_1: pending after 2 tries, the last: 503",
            ],
        );
        let ended = |status: u16, body: Value| json!({"status":"ended","run":"r","step":"s","attempt":1,"agent":"triage","answer":{"status":status,"body":body}});
        check(
            &ended(200, json!({"status":"completed","output":1})),
            Exit::Done,
            &["completed", "output\n1"],
        );
        check(&ended(200, json!({"status":"handed_off"})), Exit::Done, &["handed_off"]);
        check(&ended(200, json!({"status":"failed"})), Exit::Bad, &["failed"]);
        check(
            &ended(504, json!({"code":"deadline-exceeded"})),
            Exit::Refused,
            &["refused  504 deadline-exceeded"],
        );
        let mut late = ended(200, json!({"status":"cancelled"}));
        late["late_answer"] = json!({"status":200,"body":{"status":"completed"}});
        check(&late, Exit::Bad, &["cancelled", "the agent still answered:\ncompleted"]);
        assert!(status(&json!({"answer":1}), Style::plain()).is_err());
    }
}
