//! `baton run show`: a run at a glance.

use std::fmt::Write as _;

use baton::signature::Purpose;
use http::Method;
use serde_json::Value;

use super::{TIMEOUT, steps};
use crate::args::ShowRun;
use crate::id::{run_path, segment};
use crate::output::{Exit, Failure, Report, Style, text};
use crate::show::{self, moment};
use crate::signed::Caller;

/// A list shows this many of its last members; `--json` has all.
const LAST: usize = 10;

/// Fetches the run and shows it.
pub fn run(args: &ShowRun, style: Style) -> Result<Report, Failure> {
    let (purpose, path) = match &args.operator {
        Some(orchestrator) => {
            let path = format!("/operator/runs/{}/{}", segment(orchestrator), segment(&args.run));
            (Purpose::Operate, path)
        }
        None => (Purpose::Invoke, run_path(&args.run, "")),
    };
    let caller = Caller::new(&args.call, purpose, None)?;
    let answer = caller.ask(Method::GET, &path, TIMEOUT)?;
    show::report(&answer, args.call.json, style, |body| {
        if !body["run"].is_string() {
            return Err(show::unexpected(&answer.response, "run: it has no `run`"));
        }
        Ok((Exit::Done, describe(body, style)))
    })
}

fn describe(run: &Value, style: Style) -> String {
    let mut out = String::new();
    let agent = match &run["agent"] {
        Value::Null => String::new(),
        agent => format!("  with {}", text(agent)),
    };
    let _ = writeln!(out, "{}{agent}", style.heading(&format!("run {}", text(&run["run"]))));
    let times: Vec<_> = [
        ("created_at_ms", "created"),
        ("touched_at_ms", "touched"),
        ("expires_at_ms", "kept until"),
    ]
    .into_iter()
    .filter_map(|(name, says)| moment(&run[name]).map(|moment| format!("{says} {moment}")))
    .collect();
    let _ = writeln!(out, "{}", times.join("  "));

    let settlement = &run["settlement"];
    if settlement.is_object() {
        let status = text(&settlement["status"]);
        let status = match status.as_str() {
            "pending" | "acknowledged" => status.replace('_', " "),
            _ => style.bad(&status.replace('_', " ")),
        };
        let error = match &settlement["last_error"] {
            Value::Null => String::new(),
            error => format!("  {}", text(error)),
        };
        let _ = writeln!(
            out,
            "taken over {} ({})  settlement {status} after {} tries{error}",
            moment(&settlement["routed_at_ms"]).unwrap_or_default(),
            text(&settlement["reason"]),
            text(&settlement["tries"]),
        );
    }

    let state = &run["state"];
    if state.is_object() {
        let etag = text(&state["etag"]);
        let _ = writeln!(
            out,
            "\n{}  version {}  {} bytes  --if-match {}",
            style.heading("State"),
            text(&state["version"]),
            text(&state["bytes"]),
            etag.trim_matches('"')
        );
    } else {
        let _ = writeln!(out, "\n{}  none", style.heading("State"));
    }
    list(&mut out, &run["versions"], |version| {
        format!(
            "{:>6}  {:>8} bytes  {}  by {}",
            text(&version["version"]),
            text(&version["bytes"]),
            moment(&version["written_at_ms"]).unwrap_or_default(),
            text(&version["by"])
        )
    });

    let _ = writeln!(out, "\n{}", style.heading("Steps"));
    out.push_str(&steps::table(&run["steps"], style));

    if run["handoffs"].as_array().is_some_and(|handoffs| !handoffs.is_empty()) {
        let _ = writeln!(out, "\n{}", style.heading("Handoffs"));
        list(&mut out, &run["handoffs"], |handoff| {
            format!(
                "{}  {} to {}: {}",
                moment(&handoff["at_ms"]).unwrap_or_default(),
                text(&handoff["from"]),
                text(&handoff["agent"]),
                text(&handoff["reason"])
            )
        });
    }
    out
}

fn list(out: &mut String, members: &Value, line: impl Fn(&Value) -> String) {
    let members = members.as_array().map(Vec::as_slice).unwrap_or_default();
    let left_out = members.len().saturating_sub(LAST);
    if left_out > 0 {
        let _ = writeln!(out, "  {left_out} more: --json has all");
    }
    for member in &members[left_out..] {
        let _ = writeln!(out, "  {}", line(member));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_for_a_person() {
        let versions: Vec<_> = (1..=12)
            .map(|version| json!({"version":version,"bytes":9,"written_at_ms":1_764_000_010_000_u64,"by":"s1\u{1b}"}))
            .collect();
        let run = json!({"run":"r","agent":"redact","created_at_ms":1_764_000_010_000_u64,"expires_at_ms":1_764_604_810_000_u64,
            "state":{"version":12,"bytes":9,"etag":"\"12-ab\""},"versions":versions,
            "steps":[{"step":"s1","attempt":1,"agent":"triage","status":"ended","outcome":"completed"}],
            "settlement":{"status":"given_up","reason":"timeout","routed_at_ms":1_764_000_010_000_u64,"edition":1,"tries":3,
                "last_error":"422 schema-violated"},
            "handoffs":[{"from":"triage","agent":"redact","reason":"has names","at_ms":1_764_000_010_000_u64}]});
        let shown = describe(&run, Style::plain());
        for part in [
            "run r  with redact",
            "created 2025-11-24T16:00:10Z  kept until 2025-12-01T16:00:10Z",
            "taken over 2025-11-24T16:00:10Z (timeout)  settlement given up after 3 tries  422 schema-violated",
            "State  version 12  9 bytes  --if-match 12-ab",
            "  2 more: --json has all\n       3         9 bytes",
            "by s1\u{fffd}",
            "s1    1        triage  completed",
            "triage to redact: has names",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }

    #[test]
    fn anything_is_shown_without_a_panic() {
        let shown = describe(
            &json!({"run":"r","versions":[1],"steps":3,"handoffs":["x"]}),
            Style::plain(),
        );
        assert!(shown.contains("State  none"), "{shown}");
        describe(&json!([]), Style::plain());
    }
}
