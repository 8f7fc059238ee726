//! `baton outbox`: events that wait for a destination, and events that were given up, for an operator.

use std::fmt::Write as _;
use std::time::Duration;

use baton::signature::Purpose;
use http::Method;
use serde_json::Value;

use crate::args::{ListOutbox, Outbox, ResendEvent};
use crate::id::{list_path, quoted, segment};
use crate::output::{Exit, Failure, Report, Style, text};
use crate::show::{self, moment};
use crate::signed::Caller;

const PATH: &str = "/operator/outbox";
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs the command.
pub fn run(command: &Outbox, style: Style) -> Result<Report, Failure> {
    match command {
        Outbox::List(args) => list(args, style),
        Outbox::Resend(args) => resend(args, style),
    }
}

fn list(args: &ListOutbox, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let answer = caller.ask(Method::GET, &list_path(PATH, &args.page), TIMEOUT)?;
    show::report(&answer, args.call.json, style, |body| {
        let (Some(waiting), Some(letters)) = (body["waiting"].as_array(), body["dead_letters"].as_array()) else {
            return Err(show::unexpected(
                &answer.response,
                "outbox: it has no `waiting` or `dead_letters`",
            ));
        };
        Ok((Exit::Done, describe(waiting, letters, &body["next"], style)))
    })
}

/// Whose events wait: a run's, or what is on its way through the queue.
fn whose(lag: &Value) -> String {
    let named = |name: &str| lag[name].as_str().is_some_and(|text| !text.is_empty());
    let orchestrator = text(&lag["orchestrator"]);
    match (named("run"), named("orchestrator")) {
        (true, _) => format!("run {}  of {orchestrator}", text(&lag["run"])),
        (false, true) => format!("many runs  of {orchestrator}"),
        (false, false) => "many runs".to_owned(),
    }
}

fn describe(waiting: &[Value], letters: &[Value], next: &Value, style: Style) -> String {
    let mut out = String::new();
    if waiting.is_empty() {
        out.push_str("no events wait for a destination\n");
    }
    for lag in waiting {
        let error = lag["last_error"]
            .as_str()
            .map(|_| format!(": {}", text(&lag["last_error"])));
        let _ = writeln!(
            out,
            "{}  {}{}  {} events since {}  {}",
            style.heading(&text(&lag["destination"])),
            style.bad(&text(&lag["health"])),
            error.unwrap_or_default(),
            text(&lag["waiting"]),
            moment(&lag["oldest_at_ms"]).unwrap_or_default(),
            whose(lag),
        );
    }
    if letters.is_empty() {
        out.push_str("no event was given up\n");
    }
    for letter in letters {
        let _ = writeln!(
            out,
            "{}  {}  {}  run {}  of {}\n  {}",
            style.heading(&text(&letter["letter"])),
            moment(&letter["dead_at_ms"]).unwrap_or_default(),
            text(&letter["event"]),
            text(&letter["run"]),
            text(&letter["orchestrator"]),
            text(&letter["reason"]),
        );
    }
    if next.is_string() {
        let _ = writeln!(out, "there are more: --cursor {}", quoted(&text(next)));
    }
    out
}

fn resend(args: &ResendEvent, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let target = format!("{PATH}/{}/resend", segment(&args.letter));
    let answer = caller.ask(Method::POST, &target, TIMEOUT)?;
    show::report(&answer, args.call.json, style, |body| match body["status"].as_str() {
        Some("delivered") => Ok((
            Exit::Done,
            format!("{}  {}\n", style.good("delivered"), text(&body["letter"])),
        )),
        Some("dead") => {
            let line = format!(
                "{}  {}: {}\n",
                style.bad("dead"),
                text(&body["letter"]),
                text(&body["reason"])
            );
            Ok((Exit::Bad, line))
        }
        _ => Err(show::unexpected(&answer.response, "event: it has no `status`")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whose_events_wait() {
        let check = |orchestrator: &str, run: &str, expected: &str| {
            assert_eq!(whose(&json!({"orchestrator": orchestrator, "run": run})), expected);
        };
        check("acme", "r", "run r  of acme");
        check("acme", "", "many runs  of acme");
        check("", "", "many runs");
    }

    #[test]
    fn lists() {
        let waiting = [
            json!({"destination": "otlp", "orchestrator": "acme", "run": "r", "health": "paused", "waiting": 3,
            "oldest_at_ms": 1_764_000_010_000_u64, "last_error": "status 401", "dropped": 0}),
        ];
        let letters = [
            json!({"letter": "evt_1.otlp", "destination": "otlp", "orchestrator": "acme", "run": "r",
            "event": "attempt_ended", "at_ms": 1, "reason": "status 400", "dead_at_ms": 1_764_000_010_000_u64}),
        ];
        assert_eq!(
            describe(&waiting, &letters, &json!("7-x"), Style::plain()),
            "otlp  paused: status 401  3 events since 2025-11-24T16:00:10Z  run r  of acme\n\
             evt_1.otlp  2025-11-24T16:00:10Z  attempt_ended  run r  of acme\n  status 400\n\
             there are more: --cursor 7-x\n"
        );
        assert_eq!(
            describe(&[], &[], &Value::Null, Style::plain()),
            "no events wait for a destination\nno event was given up\n"
        );
    }
}
