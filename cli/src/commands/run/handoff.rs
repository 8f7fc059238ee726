//! `baton run handoff`: hands a run over to an agent.

use std::fmt::Write as _;

use baton::signature::Purpose;
use http::Method;
use serde_json::{Map, Value, json};

use super::TIMEOUT;
use crate::args::Handoff;
use crate::commands::step::{agent_path, default_key};
use crate::id::quoted;
use crate::output::{Exit, Failure, Report, Style, text};
use crate::signed::{Caller, idempotency_key};
use crate::{environment, show};

/// Hands over, and shows the receipt.
pub fn run(args: &Handoff, style: Style) -> Result<Report, Failure> {
    let body = body(args)?;
    let key = match (&args.idempotency_key, &args.step) {
        (Some(key), _) => key.clone(),
        // The step runs under this key: `baton step` with the same run and step then gets its answer.
        (None, Some(step)) => default_key(&args.run, step, args.attempt),
        (None, None) => format!("handoff_{}", environment::random_id()?),
    };
    let caller = Caller::new(&args.call, Purpose::Invoke, Some(&args.to))?;
    let builder = caller
        .request(Method::POST, &agent_path(&args.to, "handoffs")?)
        .header("idempotency-key", idempotency_key(&key)?);
    let request = Caller::with_json(builder, body.to_string().into_bytes())?;
    let answer = caller.call(request, TIMEOUT).map_err(|failure| {
        Failure::new(
            failure.exit,
            format!(
                "{}\n  To ask again without a second effect, add: --idempotency-key {}",
                failure.message(),
                quoted(&key)
            ),
        )
    })?;
    let replayed = answer.response.headers().contains_key("idempotency-replayed");
    let report = show::report(&answer, args.call.json, style, |body| {
        receipt(body, replayed, style)
            .ok_or_else(|| show::unexpected(&answer.response, "handoff's receipt: it has no `handoff`"))
    })?;
    match &args.step {
        Some(step) if report.exit == Exit::Done && !args.call.json => Ok(report.note(format!(
            "to follow it: baton run watch {} {}",
            quoted(&args.run),
            quoted(step)
        ))),
        _ => Ok(report),
    }
}

fn body(args: &Handoff) -> Result<Value, Failure> {
    let mut body = Map::new();
    body.insert("run".to_owned(), args.run.clone().into());
    body.insert("from".to_owned(), args.from.clone().into());
    body.insert("reason".to_owned(), args.reason.clone().into());
    if let Some(state) = &args.state {
        body.insert("state".to_owned(), state.read("--state")?);
    }
    if let Some(version) = args.version {
        body.insert("version".to_owned(), version.into());
    }
    if let (Some(step), Some(input)) = (&args.step, &args.input) {
        let mut first = Map::new();
        first.insert("step".to_owned(), step.clone().into());
        first.insert("attempt".to_owned(), args.attempt.into());
        first.insert("input".to_owned(), input.read("--input")?);
        if let Some(deadline_ms) = args.deadline_ms {
            first.insert("deadline_ms".to_owned(), deadline_ms.into());
        }
        if let Some(url) = &args.callback {
            first.insert("callback".to_owned(), json!({"url": url}));
        }
        if args.follow_handoffs {
            first.insert("follow_handoffs".to_owned(), true.into());
        }
        body.insert("step".to_owned(), first.into());
    }
    Ok(body.into())
}

fn receipt(body: &Value, replayed: bool, style: Style) -> Option<(Exit, String)> {
    body["handoff"].as_str()?;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{}  run {}  from {}  to {}  {}",
        style.good("handed over"),
        text(&body["run"]),
        text(&body["from"]),
        text(&body["agent"]),
        text(&body["handoff"])
    );
    if !body["version"].is_null() {
        let _ = writeln!(
            out,
            "state version {}  {}",
            text(&body["version"]),
            text(&body["digest"])
        );
    }
    if body["step"].is_object()
        && let Ok((_, lines)) = show::status(&body["step"], style)
    {
        out.push_str(&lines);
    }
    if replayed {
        out.push_str("stored receipt: the run had been handed over before, nothing was done again\n");
    }
    if body["traceparent"].is_string() {
        let _ = writeln!(out, "trace {}", text(&body["traceparent"]));
    }
    Some((Exit::Done, out))
}
