//! `baton overrides`: what is changed of agents without a deployment, for an operator.

use std::fmt::Write as _;
use std::time::Duration;

use baton::overrides::snapshot::etag;
use baton::signature::Purpose;
use http::Method;
use http::header::IF_MATCH;
use serde_json::{Map, Value, json};

use crate::args::{Base, CallOptions, OverrideHistory, Overrides, RollBack, SetOverride, ShowOverrides, UnsetOverride};
use crate::id::segment;
use crate::input::read_text;
use crate::output::{Exit, Failure, Report, Style, text};
use crate::show::{self, moment};
use crate::signed::{Answer, Caller};

const PATH: &str = "/operator/overrides";
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the command.
pub fn run(command: &Overrides, style: Style) -> Result<Report, Failure> {
    match command {
        Overrides::Show(args) => show_version(args, style),
        Overrides::Set(args) => set(args, style),
        Overrides::Unset(args) => unset(args, style),
        Overrides::History(args) => history(args, style),
        Overrides::Rollback(args) => roll_back(args, style),
    }
}

fn show_version(args: &ShowOverrides, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let target = match args.version {
        Some(version) => format!("{PATH}/versions/{version}"),
        None => PATH.to_owned(),
    };
    told(&caller.ask(Method::GET, &target, TIMEOUT)?, &args.call, style)
}

fn set(args: &SetOverride, style: Style) -> Result<Report, Failure> {
    let given = given(args)?;
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let path = format!("{PATH}/{}", segment(&args.agent));
    let current = match current(&caller, &args.base, &args.call, style)? {
        Ok(current) => current,
        Err(refused) => return Ok(refused),
    };
    let mut wanted = current.body["overrides"][&args.agent]
        .as_object()
        .cloned()
        .unwrap_or_default();
    wanted.extend(given);
    let request = caller
        .request(Method::PUT, &path)
        .header(IF_MATCH, etag(current.version));
    let body = Value::Object(wanted).to_string().into_bytes();
    let answer = caller.call(Caller::with_json(request, body)?, TIMEOUT)?;
    told(&answer, &args.call, style)
}

/// What the arguments change.
fn given(args: &SetOverride) -> Result<Map<String, Value>, Failure> {
    let mut given = match &args.change {
        Some(change) => match change.read("--change")? {
            Value::Object(members) => members,
            _ => {
                return Err(Failure::usage(
                    "--change: write a JSON object, such as {\"enabled\":false}",
                ));
            }
        },
        None => Map::new(),
    };
    if let Some(path) = &args.prompt {
        given.insert("prompt".to_owned(), read_text(path)?.into());
    }
    if args.on || args.off {
        given.insert("enabled".to_owned(), args.on.into());
    }
    Ok(given)
}

fn unset(args: &UnsetOverride, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let current = match current(&caller, &args.base, &args.call, style)? {
        Ok(current) => current,
        Err(refused) => return Ok(refused),
    };
    let path = format!("{PATH}/{}", segment(&args.agent));
    let request = caller
        .request(Method::DELETE, &path)
        .header(IF_MATCH, etag(current.version));
    let answer = caller.call(Caller::without_body(request)?, TIMEOUT)?;
    told(&answer, &args.call, style)
}

fn roll_back(args: &RollBack, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let current = match current(&caller, &args.base, &args.call, style)? {
        Ok(current) => current,
        Err(refused) => return Ok(refused),
    };
    let to = match args.version {
        Some(version) => version,
        None => current
            .version
            .checked_sub(1)
            .ok_or_else(|| Failure::usage("there never was an override: there is nothing to go back to"))?,
    };
    let request = caller
        .request(Method::POST, &format!("{PATH}/rollback"))
        .header(IF_MATCH, etag(current.version));
    let body = json!({ "version": to }).to_string().into_bytes();
    let answer = caller.call(Caller::with_json(request, body)?, TIMEOUT)?;
    told(&answer, &args.call, style)
}

fn history(args: &OverrideHistory, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let answer = caller.ask(Method::GET, &format!("{PATH}/versions"), TIMEOUT)?;
    show::report(&answer, args.call.json, style, |body| {
        let versions = body["versions"]
            .as_array()
            .ok_or_else(|| show::unexpected(&answer.response, "list: it has no `versions`"))?;
        if versions.is_empty() {
            return Ok((Exit::Done, "there never was an override\n".to_owned()));
        }
        Ok((
            Exit::Done,
            versions.iter().map(|version| line(version, style)).collect(),
        ))
    })
}

/// The version that a change is made of, as the gateway has it.
struct Current {
    version: u64,
    body: Value,
}

/// Asks for it; a report where the gateway does not tell it.
fn current(caller: &Caller, base: &Base, call: &CallOptions, style: Style) -> Result<Result<Current, Report>, Failure> {
    let answer = caller.ask(Method::GET, PATH, TIMEOUT)?;
    let body: Value = serde_json::from_slice(answer.response.body()).unwrap_or_default();
    match body["version"]
        .as_u64()
        .filter(|_| answer.response.status().is_success())
    {
        Some(version) => Ok(Ok(Current {
            version: base.if_version.unwrap_or(version),
            body,
        })),
        None => told(&answer, call, style).map(Err),
    }
}

fn told(answer: &Answer, call: &CallOptions, style: Style) -> Result<Report, Failure> {
    show::report(answer, call.json, style, |body| {
        if !body["overrides"].is_object() {
            return Err(show::unexpected(
                &answer.response,
                "version of overrides: it has no `overrides`",
            ));
        }
        let ignored = body["ignored"].as_array().is_some_and(|ignored| !ignored.is_empty());
        let exit = if ignored { Exit::Bad } else { Exit::Done };
        Ok((exit, describe(body, style)))
    })
}

fn describe(body: &Value, style: Style) -> String {
    let mut out = if body["change"].is_object() {
        line(body, style)
    } else {
        "there never was an override\n".to_owned()
    };
    let overrides = body["overrides"].as_object().into_iter().flatten();
    for (agent, value) in overrides {
        let _ = writeln!(out, "{}  {}", style.heading(agent), text(value));
    }
    let ignored = body["ignored"].as_array().into_iter().flatten();
    for one in ignored {
        let _ = writeln!(
            out,
            "{}: that of {} does not hold with what is deployed",
            style.bad("ignored"),
            text(&one["agent"])
        );
        for error in one["errors"].as_array().into_iter().flatten() {
            let _ = writeln!(out, "  {}: {}", text(&error["instance"]), text(&error["message"]));
        }
    }
    out
}

/// One version in a line.
fn line(version: &Value, style: Style) -> String {
    let change = &version["change"];
    let what = match change["kind"].as_str() {
        Some("set") => format!("set {}", text(&change["agent"])),
        Some("unset") => format!("unset {}", text(&change["agent"])),
        Some("roll-back") => format!("rollback to {}", text(&change["to"])),
        _ => text(change),
    };
    format!(
        "{}  {}  {what}  by {}\n",
        style.heading(&format!("version {}", text(&version["version"]))),
        moment(&version["at_ms"]).unwrap_or_default(),
        text(&version["by"])
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn set_args(arguments: &[&str]) -> Result<SetOverride, clap::Error> {
        let command = ["baton", "overrides", "set", "support"].iter().chain(arguments);
        match Args::try_parse_from(command)?.command {
            Command::Overrides(Overrides::Set(args)) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_given_is_put_together() {
        let check = |arguments: &[&str], expected: Value| {
            let args = set_args(arguments).unwrap_or_else(|error| panic!("{error}"));
            let given = given(&args).unwrap_or_else(|failure| panic!("{failure}"));
            assert_eq!(Value::Object(given), expected);
        };
        check(&["--off"], json!({"enabled": false}));
        check(&["--on"], json!({"enabled": true}));
        check(
            &["--change", r#"{"deadline_ms":500}"#, "--off"],
            json!({"deadline_ms": 500, "enabled": false}),
        );
        assert!(set_args(&[]).is_err(), "nothing would change");
        assert!(set_args(&["--on", "--off"]).is_err());
        let list = set_args(&["--change", "[1]"]).unwrap_or_else(|error| panic!("{error}"));
        assert!(given(&list).is_err());
    }

    #[test]
    fn every_command_is_read() {
        for arguments in [
            &["show", "--version", "7"][..],
            &["unset", "triage", "--if-version", "7"],
            &["rollback"],
            &["rollback", "0", "--if-version", "7"],
            &["history", "--json"],
        ] {
            let command = ["baton", "overrides"].iter().chain(arguments);
            assert!(Args::try_parse_from(command).is_ok(), "{arguments:?}");
        }
    }

    #[test]
    fn versions_are_described() {
        let check = |body: Value, expected: &str| assert_eq!(describe(&body, Style::plain()), expected);
        check(
            json!({"version": 0, "overrides": {}, "ignored": []}),
            "there never was an override\n",
        );
        check(
            json!({
                "version": 3, "at_ms": 1_764_000_010_000_u64, "by": "ops", "change": {"kind": "roll-back", "to": 1},
                "overrides": {"triage": {"enabled": false}},
                "ignored": [{"agent": "triage", "errors": [{"instance": "/enabled", "message": "No."}]}],
            }),
            "version 3  2025-11-24T16:00:10Z  rollback to 1  by ops\ntriage  {\"enabled\":false}\n\
             ignored: that of triage does not hold with what is deployed\n  /enabled: No.\n",
        );
        let set = json!({"version": 1, "at_ms": 0, "by": "ops", "change": {"kind": "set", "agent": "a"}});
        assert_eq!(
            line(&set, Style::plain()),
            "version 1  1970-01-01T00:00:00Z  set a  by ops\n"
        );
    }
}
