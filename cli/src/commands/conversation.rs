//! `baton conversation`: what is kept of conversations, for an operator.

use std::fmt::Write as _;
use std::time::Duration;

use baton::signature::Purpose;
use http::{Method, StatusCode};
use serde_json::Value;

use crate::args::{Conversation, OneConversation};
use crate::id::segment;
use crate::output::{Exit, Failure, Report, Style, text};
use crate::show::{self, moment};
use crate::signed::Caller;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the command.
pub fn run(command: &Conversation, style: Style) -> Result<Report, Failure> {
    match command {
        Conversation::Show(args) => show(args, style),
        Conversation::Erase(args) => erase(args, style),
    }
}

fn show(args: &OneConversation, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let answer = caller.ask(Method::GET, &path(args), TIMEOUT)?;
    show::report(&answer, args.call.json, style, |body| {
        Ok((Exit::Done, describe(body, style)))
    })
}

fn erase(args: &OneConversation, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let answer = caller.ask(Method::DELETE, &path(args), TIMEOUT)?;
    if answer.response.status() == StatusCode::NO_CONTENT {
        let report = Report::new(Exit::Done, "");
        return Ok(if args.call.json {
            report
        } else {
            report.note("nothing of the conversation is kept; its runs have a retention of their own")
        });
    }
    show::report(&answer, args.call.json, style, |_| {
        Err(show::unexpected(&answer.response, "answer to an erasure"))
    })
}

fn path(args: &OneConversation) -> String {
    let (owner, conversation) = (segment(&args.owner()), segment(&args.conversation));
    format!("/operator/conversations/{owner}/{conversation}")
}

fn describe(body: &Value, style: Style) -> String {
    let mut out = format!(
        "{} of {}  until {}  {} under way\n",
        style.heading(&text(&body["conversation"])),
        text(&body["owner"]),
        moment(&body["expires_at_ms"]).unwrap_or_default(),
        text(&body["waiting"]),
    );
    // Writing to a string does not fail.
    if !body["summary"].is_null() {
        let _ = writeln!(out, "  summary: {}", text(&body["summary"]));
    }
    for turn in body["turns"].as_array().into_iter().flatten() {
        let number = text(&turn["number"]);
        let _ = writeln!(out, "  {number}  said: {}", text(&turn["said"]));
        let _ = writeln!(out, "  {number}  {}: {}", text(&turn["agent"]), text(&turn["output"]));
    }
    out
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;
    use crate::args::{Args, Command};

    fn path_of(arguments: &[&str]) -> Option<String> {
        let line = ["baton", "conversation", "show", "a/b"].iter().chain(arguments);
        match Args::try_parse_from(line).ok()?.command {
            Command::Conversation(Conversation::Show(args)) => Some(path(&args)),
            _ => None,
        }
    }

    #[test]
    fn a_conversation_has_one_owner() {
        let check = |arguments: &[&str], owner: Option<&str>| {
            let expected = owner.map(|owner| format!("/operator/conversations/{owner}/a%2Fb"));
            assert_eq!(path_of(arguments), expected, "{arguments:?}");
        };
        check(&["--api-key-id", "k"], Some("key%3Ak"));
        check(&["--orchestrator", "acme"], Some("orchestrator%3Aacme"));
        check(&[], None);
        check(&["--api-key-id", "k", "--orchestrator", "acme"], None);
    }

    #[test]
    fn what_is_kept() {
        let turn = json!({"number": 2, "agent": "a", "said": "Hi", "output": {"n": 1}, "at_ms": 1});
        let body = json!({
            "owner": "key:k", "conversation": "c", "turns": [turn], "waiting": 0, "summary": "Before",
            "expires_at_ms": 1_764_000_010_000_u64
        });
        let expected = "c of key:k  until 2025-11-24T16:00:10Z  0 under way\n  summary: Before\n  2  said: Hi\n  2  a: {\"n\":1}\n";
        assert_eq!(describe(&body, Style::plain()), expected);
    }
}
