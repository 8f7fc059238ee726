//! `baton alerts`: the alerts that a gateway declares, for an operator.

use std::fmt::Write as _;
use std::time::Duration;

use baton::signature::Purpose;
use http::Method;
use serde_json::Value;

use crate::args::Alerts;
use crate::output::{Exit, Failure, Report, Style, text};
use crate::show::{self, moment};
use crate::signed::Caller;

const PATH: &str = "/operator/alerts";
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs the command.
pub fn run(args: &Alerts, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let answer = caller.ask(Method::GET, PATH, TIMEOUT)?;
    show::report(&answer, args.call.json, style, |body| match body["alerts"].as_array() {
        Some(alerts) => Ok((exit(alerts), describe(alerts, style))),
        None => Err(show::unexpected(&answer.response, "list of alerts: it has no `alerts`")),
    })
}

fn exit(alerts: &[Value]) -> Exit {
    match alerts.iter().any(|alert| alert["state"] == "firing") {
        true => Exit::Bad,
        false => Exit::Done,
    }
}

fn describe(alerts: &[Value], style: Style) -> String {
    if alerts.is_empty() {
        return "gateway.json declares no alerts\n".to_owned();
    }
    let mut out = String::new();
    for alert in alerts {
        let state = text(&alert["state"]);
        let state = match state.as_str() {
            "well" => style.good(&state),
            _ => style.bad(&state),
        };
        let since = moment(&alert["since_ms"]).map(|since| format!(" since {since}"));
        let _ = writeln!(
            out,
            "{}  {state}{}  {}",
            style.heading(&text(&alert["alert"])),
            since.unwrap_or_default(),
            text(&alert["kind"]),
        );
        match moment(&alert["looked_at_ms"]) {
            Some(looked_at) => {
                let _ = writeln!(out, "  {looked_at}  {}", text(&alert["text"]));
            }
            None => out.push_str("  not looked at yet: the cron trigger does it\n"),
        }
        if alert["last_error"].is_string() {
            let _ = writeln!(
                out,
                "  {} notices wait, {} were lost: {}",
                text(&alert["waiting"]),
                text(&alert["lost"]),
                text(&alert["last_error"]),
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shows_how_each_stands() {
        let well = json!({"alert": "leases", "kind": "lease_lost", "state": "well"});
        let firing = json!({
            "alert": "errors", "kind": "error_rate", "state": "firing", "since_ms": 1_764_000_010_000_u64,
            "looked_at_ms": 1_764_000_020_000_u64, "text": "9 of 10 failed.", "waiting": 1, "lost": 2, "last_error": "status 503",
        });
        let alerts = [well, firing];
        assert_eq!(
            describe(&alerts, Style::plain()),
            "leases  well  lease_lost\n  not looked at yet: the cron trigger does it\n\
             errors  firing since 2025-11-24T16:00:10Z  error_rate\n  2025-11-24T16:00:20Z  9 of 10 failed.\n  \
             1 notices wait, 2 were lost: status 503\n"
        );
        assert_eq!((exit(&alerts), exit(&alerts[..1])), (Exit::Bad, Exit::Done));
        assert_eq!(describe(&[], Style::plain()), "gateway.json declares no alerts\n");
    }
}
