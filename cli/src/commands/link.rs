//! `baton link`: the links to orchestrators, for an operator.

use std::fmt::Write as _;
use std::time::Duration;

use baton::signature::Purpose;
use http::Method;
use serde_json::{Value, json};

use crate::args::{CallOptions, Link, LinkBreaker, LinkOrder, LinkStatus};
use crate::id::segment;
use crate::output::{Exit, Failure, Report, Style, text};
use crate::show;
use crate::signed::Caller;

const PATH: &str = "/operator/links";
/// Longer than the gateway waits for the orchestrator.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the command.
pub fn run(command: &Link, style: Style) -> Result<Report, Failure> {
    match command {
        Link::Status(args) => status(args, style),
        Link::Register(args) => order(args, "register", &["registered", "degraded", "registering"], style),
        Link::Drain(args) => order(args, "drain", &["draining", "deregistered"], style),
        Link::Deregister(args) => order(args, "deregister", &["deregistered"], style),
        Link::Breaker(args) => breaker(args, style),
    }
}

fn status(args: &LinkStatus, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let target = args
        .orchestrator
        .as_ref()
        .map_or_else(|| PATH.to_owned(), |id| path(id, ""));
    let answer = caller.ask(Method::GET, &target, TIMEOUT)?;
    show::report(&answer, args.call.json, style, |body| {
        let links = match (&args.orchestrator, body["links"].as_array()) {
            (Some(_), _) => std::slice::from_ref(body),
            (None, Some(links)) => links,
            (None, None) => return Err(show::unexpected(&answer.response, "list: it has no `links`")),
        };
        if links.is_empty() {
            return Ok((Exit::Done, "no orchestrator is configured\n".to_owned()));
        }
        Ok((Exit::Done, links.iter().map(|link| describe(link, style)).collect()))
    })
}

/// Sends a command. It came to what it should if the link is in one of these states then.
fn order(args: &LinkOrder, command: &str, fine: &[&str], style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let id = match the_one(args.orchestrator.as_deref(), &args.call, &caller, style)? {
        Ok(id) => id,
        Err(refused) => return Ok(refused),
    };
    let answer = caller.ask(Method::POST, &path(&id, command), TIMEOUT)?;
    show::report(&answer, args.call.json, style, |link| {
        let is_fine = link["state"].as_str().is_some_and(|state| fine.contains(&state));
        let exit = if is_fine { Exit::Done } else { Exit::Bad };
        Ok((exit, describe(link, style)))
    })
}

fn breaker(args: &LinkBreaker, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let id = match the_one(args.orchestrator.as_deref(), &args.call, &caller, style)? {
        Ok(id) => id,
        Err(refused) => return Ok(refused),
    };
    let body = json!({ "state": args.state.name() });
    let request = caller.request(Method::POST, &path(&id, "breaker"));
    let answer = caller.call(Caller::with_json(request, body.to_string().into_bytes())?, TIMEOUT)?;
    show::report(&answer, args.call.json, style, |link| {
        Ok((Exit::Done, describe(link, style)))
    })
}

/// The orchestrator that is named, or the only one that there is; a report where the gateway does not tell which.
fn the_one(
    named: Option<&str>,
    call: &CallOptions,
    caller: &Caller,
    style: Style,
) -> Result<Result<String, Report>, Failure> {
    if let Some(id) = named {
        return Ok(Ok(id.to_owned()));
    }
    let list = caller.ask(Method::GET, PATH, TIMEOUT)?;
    let body: Value = serde_json::from_slice(list.response.body()).unwrap_or_default();
    let Some(links) = body["links"].as_array() else {
        let unexpected = |_: &Value| Err(show::unexpected(&list.response, "list: it has no `links`"));
        return show::report(&list, call.json, style, unexpected).map(Err);
    };
    let ids: Vec<_> = links.iter().map(|link| text(&link["orchestrator"])).collect();
    match ids.as_slice() {
        [one] => Ok(Ok(one.clone())),
        [] => Err(Failure::usage(
            "the gateway has no orchestrator: set BATON_ORCHESTRATORS",
        )),
        some => Err(Failure::usage(format!(
            "the gateway has several orchestrators: name one of {}",
            some.join(", ")
        ))),
    }
}

fn path(id: &str, rest: &str) -> String {
    let slash = if rest.is_empty() { "" } else { "/" };
    format!("{PATH}/{}{slash}{rest}", segment(id))
}

fn describe(link: &Value, style: Style) -> String {
    let state = text(&link["state"]);
    let state = match state.as_str() {
        "refused" | "degraded" | "unregistered" => style.bad(&state),
        _ => state,
    };
    let mut out = format!(
        "{}  {state}  {}\n",
        style.heading(&text(&link["orchestrator"])),
        text(&link["url"])
    );
    if link["registration"].is_string() {
        let _ = writeln!(
            out,
            "  registration {}  generation {}  its lease lasts {}",
            text(&link["registration"]),
            text(&link["generation"]),
            seconds(&link["lease_left_ms"])
        );
    }
    if link["next_in_ms"].is_u64() {
        let _ = writeln!(out, "  next call in {}", seconds(&link["next_in_ms"]));
    }
    if link["last_error"].is_string() {
        let _ = writeln!(
            out,
            "  {} failed, the last: {}",
            text(&link["failures"]),
            text(&link["last_error"])
        );
    }
    let breaker = &link["breaker"];
    let _ = write!(out, "  breaker {}", text(&breaker["state"]));
    if breaker["forced"] == true {
        out.push_str(", held by an operator");
    }
    if breaker["probe_in_ms"].is_u64() {
        let _ = write!(out, ", a probe may pass in {}", seconds(&breaker["probe_in_ms"]));
    }
    out.push('\n');
    out
}

/// A duration for people, rounded up.
fn seconds(ms: &Value) -> String {
    format!("{} s", ms.as_u64().unwrap_or_default().div_ceil(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_described() {
        let check = |link: Value, expected: &str| assert_eq!(describe(&link, Style::plain()), expected);
        check(
            json!({
                "orchestrator": "acme", "url": "https://acme.example", "state": "degraded", "registration": "reg_1",
                "generation": 7, "lease_left_ms": 40_001, "next_in_ms": 0, "failures": 2, "last_error": "503 sick",
                "breaker": {"state": "open", "forced": false, "probe_in_ms": 1_000},
            }),
            "acme  degraded  https://acme.example\n  registration reg_1  generation 7  its lease lasts 41 s\n  \
             next call in 0 s\n  2 failed, the last: 503 sick\n  breaker open, a probe may pass in 1 s\n",
        );
        check(
            json!({
                "orchestrator": "acme", "url": "https://acme.example", "state": "deregistered", "failures": 0,
                "breaker": {"state": "closed", "forced": true},
            }),
            "acme  deregistered  https://acme.example\n  breaker closed, held by an operator\n",
        );
    }
}
