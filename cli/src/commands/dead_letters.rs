//! `baton dead-letters`: the callbacks that were given up, for an operator.

use std::fmt::Write as _;
use std::time::Duration;

use baton::signature::Purpose;
use http::Method;
use serde_json::Value;

use crate::args::{DeadLetters, ListDeadLetters, ResendDeadLetter};
use crate::id::{list_path, quoted, segment};
use crate::output::{Exit, Failure, Report, Style, text};
use crate::show::{self, moment};
use crate::signed::Caller;

const PATH: &str = "/operator/dead-letters";
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the command.
pub fn run(command: &DeadLetters, style: Style) -> Result<Report, Failure> {
    match command {
        DeadLetters::List(args) => list(args, style),
        DeadLetters::Resend(args) => resend(args, style),
    }
}

fn list(args: &ListDeadLetters, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let target = list_path(PATH, &args.page);
    let answer = caller.ask(Method::GET, &target, TIMEOUT)?;
    show::report(&answer, args.call.json, style, |body| {
        let letters = body["dead_letters"]
            .as_array()
            .ok_or_else(|| show::unexpected(&answer.response, "list: it has no `dead_letters`"))?;
        Ok((Exit::Done, describe(letters, &body["next"], style)))
    })
}

fn describe(letters: &[Value], next: &Value, style: Style) -> String {
    if letters.is_empty() {
        return "no callback was given up\n".to_owned();
    }
    let mut out = String::new();
    for letter in letters {
        let _ = writeln!(
            out,
            "{}  {}  run {}  step {}  of {}",
            style.heading(&text(&letter["delivery"])),
            moment(&letter["dead_at_ms"]).unwrap_or_default(),
            text(&letter["run"]),
            text(&letter["step"]),
            text(&letter["orchestrator"])
        );
        let _ = writeln!(
            out,
            "  {}  {} tries, the last: {}",
            text(&letter["url"]),
            text(&letter["tries"]),
            text(&letter["last_error"])
        );
    }
    if next.is_string() {
        let _ = writeln!(out, "there are more: --cursor {}", quoted(&text(next)));
    }
    out
}

fn resend(args: &ResendDeadLetter, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let target = format!("{PATH}/{}/resend", segment(&args.delivery));
    let answer = caller.ask(Method::POST, &target, TIMEOUT)?;
    show::report(&answer, args.call.json, style, |body| {
        if !body["status"].is_string() {
            return Err(show::unexpected(&answer.response, "delivery: it has no `status`"));
        }
        let line = format!("{}  {}\n", style.good(&text(&body["status"])), text(&body["delivery"]));
        Ok((Exit::Done, line))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists() {
        let letters = [
            json!({"delivery":"msg_1","orchestrator":"acme","run":"r","step":"s","url":"https://o.example.com/done",
            "tries":42,"last_error":"503\u{1b}","dead_at_ms":1_764_000_010_000_u64}),
        ];
        let shown = describe(&letters, &json!("a b"), Style::plain());
        assert_eq!(
            shown,
            "msg_1  2025-11-24T16:00:10Z  run r  step s  of acme\n  https://o.example.com/done  42 tries, the last: 503\u{fffd}\nthere are more: --cursor 'a b'\n"
        );
        assert_eq!(
            describe(&[], &Value::Null, Style::plain()),
            "no callback was given up\n"
        );
    }
}
