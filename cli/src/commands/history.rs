//! `baton executions` and `baton metrics`: the history, for an operator.

use std::fmt::Write as _;
use std::time::Duration;

use baton::signature::Purpose;
use http::Method;
use serde_json::Value;

use crate::args::{Executions, Metrics};
use crate::commands::export;
use crate::id::{quoted, segment};
use crate::output::{Exit, Failure, Report, Style, text};
use crate::show::{self, moment};
use crate::signed::Caller;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Lists executions.
pub fn executions(args: &Executions, style: Style) -> Result<Report, Failure> {
    if let Some(format) = args.format {
        return export::run(args, format, style);
    }
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let answer = caller.ask(Method::GET, &target(args, args.limit), TIMEOUT)?;
    show::report(&answer, args.call.json, style, |body| {
        let rows = body["executions"]
            .as_array()
            .ok_or_else(|| show::unexpected(&answer.response, "list: it has no `executions`"))?;
        Ok((Exit::Done, describe(rows, &body["next"], style)))
    })
}

/// The path and query that list what is asked for, so many at once.
pub fn target(args: &Executions, limit: Option<u64>) -> String {
    with_query(
        "/executions",
        [
            ("agent", args.agent.clone()),
            ("run", args.run.clone()),
            ("orchestrator", args.orchestrator.clone()),
            ("outcome", args.outcome.clone()),
            ("route", args.route.clone()),
            ("from_ms", args.from_ms.map(|ms| ms.to_string())),
            ("to_ms", args.to_ms.map(|ms| ms.to_string())),
            ("limit", limit.map(|limit| limit.to_string())),
            ("cursor", args.cursor.clone()),
        ],
    )
}

fn describe(rows: &[Value], next: &Value, style: Style) -> String {
    if rows.is_empty() {
        return "no executions\n".to_owned();
    }
    let mut out = String::new();
    for row in rows {
        let outcome = match row["outcome"].as_str() {
            None => "under way".to_owned(),
            Some("completed" | "handed_off") => style.good(&text(&row["outcome"])),
            Some(_) => style.bad(&text(&row["outcome"])),
        };
        let error = row["error_code"]
            .as_str()
            .map(|_| format!("  {}", text(&row["error_code"])));
        let duration = row["duration_ms"].as_u64().map(|ms| format!("  {ms} ms"));
        let _ = writeln!(
            out,
            "{}  {}  {outcome}{}{}  run {}  step {}  attempt {}  {}",
            moment(&row["started_at_ms"]).unwrap_or_default(),
            style.heading(&text(&row["agent"])),
            error.unwrap_or_default(),
            duration.unwrap_or_default(),
            text(&row["run"]),
            text(&row["step"]),
            text(&row["attempt"]),
            text(&row["route"]),
        );
    }
    if next.is_string() {
        let _ = writeln!(out, "there are more: --cursor {}", quoted(&text(next)));
    }
    out
}

/// Shows what the executions of an agent come to.
pub fn metrics(args: &Metrics, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Operate, None)?;
    let target = with_query(
        &format!("/agents/{}/metrics", segment(&args.agent)),
        [
            ("window", args.window.clone()),
            ("until_ms", args.until_ms.map(|ms| ms.to_string())),
        ],
    );
    let answer = caller.ask(Method::GET, &target, TIMEOUT)?;
    show::report(&answer, args.call.json, style, |body| {
        if !body["count"].is_u64() {
            return Err(show::unexpected(&answer.response, "metrics: they have no `count`"));
        }
        Ok((Exit::Done, summary(body, style)))
    })
}

fn summary(body: &Value, style: Style) -> String {
    let share = |value: &Value| {
        value
            .as_f64()
            .map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
    };
    let count = |value: &Value| value.as_u64().map_or_else(|| "-".to_owned(), |count| count.to_string());
    let (outcomes, duration, tokens) = (&body["outcomes"], &body["duration_ms"], &body["tokens"]);
    let window = &body["window"];
    format!(
        "{}  {} to {}\n\
         executions  {} ended, {} under way\n\
         success     {}  ({} completed, {} handed off)\n\
         errors      {}  ({} failed, {} lost)\n\
         fallback    {}\n\
         duration    p50 {} ms  p95 {} ms  p99 {} ms\n\
         tokens      {} read, {} written\n\
         cost        {}\n\
         attempts    {} ended, {} of them after more than one execution\n",
        style.heading(&text(&body["agent"])),
        moment(&window["from_ms"]).unwrap_or_default(),
        moment(&window["to_ms"]).unwrap_or_default(),
        count(&body["count"]),
        count(&body["running"]),
        share(&body["success_rate"]),
        count(&outcomes["completed"]),
        count(&outcomes["handed_off"]),
        share(&body["error_rate"]),
        count(&outcomes["failed"]),
        count(&outcomes["lost"]),
        share(&body["fallback_share"]),
        count(&duration["p50"]),
        count(&duration["p95"]),
        count(&duration["p99"]),
        count(&tokens["input"]),
        count(&tokens["output"]),
        cost(&body["cost_micros"]),
        count(&body["attempts"]["count"]),
        count(&body["attempts"]["retried"]),
    )
}

/// A cost in units of the operator's currency, with all of its decimals: `-` where it is unknown.
fn cost(micros: &Value) -> String {
    const MILLION: u64 = 1_000_000;
    micros.as_u64().map_or_else(
        || "-".to_owned(),
        |micros| format!("{}.{:06}", micros / MILLION, micros % MILLION),
    )
}

/// A path with those parameters that have a value.
fn with_query<const N: usize>(path: &str, parameters: [(&str, Option<String>); N]) -> String {
    let pairs = parameters
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", segment(&value?))));
    let query = pairs.collect::<Vec<_>>().join("&");
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn queries() {
        assert_eq!(with_query("/executions", [("run", None)]), "/executions");
        let given = [
            ("run", Some("a b".to_owned())),
            ("limit", None),
            ("cursor", Some("1-x".to_owned())),
        ];
        assert_eq!(with_query("/executions", given), "/executions?run=a%20b&cursor=1-x");
    }

    #[test]
    fn lists() {
        let row = |outcome: Value, error: Value, duration: Value| {
            json!({"started_at_ms": 1_764_000_010_000_u64, "agent": "triage", "outcome": outcome, "error_code": error,
                "duration_ms": duration, "run": "r", "step": "s", "attempt": 1, "route": "orchestrated"})
        };
        let rows = [
            row(json!("failed"), json!("boom"), json!(7)),
            row(Value::Null, Value::Null, Value::Null),
        ];
        assert_eq!(
            describe(&rows, &json!("1-x"), Style::plain()),
            "2025-11-24T16:00:10Z  triage  failed  boom  7 ms  run r  step s  attempt 1  orchestrated\n\
             2025-11-24T16:00:10Z  triage  under way  run r  step s  attempt 1  orchestrated\n\
             there are more: --cursor 1-x\n"
        );
        assert_eq!(describe(&[], &Value::Null, Style::plain()), "no executions\n");
    }

    #[test]
    fn summaries() {
        let body = json!({"agent": "triage", "window": {"from_ms": 0, "to_ms": 1_764_000_010_000_u64}, "count": 4, "running": 1,
            "outcomes": {"completed": 2, "handed_off": 1, "failed": 1, "cancelled": 0, "lost": 0},
            "success_rate": 0.75, "error_rate": 0.25, "fallback_share": null,
            "duration_ms": {"p50": 5, "p95": 9, "p99": 9}, "tokens": {"input": null, "output": null}, "cost_micros": null,
            "attempts": {"count": 3, "retried": 1}});
        let shown = summary(&body, Style::plain());
        for line in [
            "executions  4 ended, 1 under way",
            "success     75.0 %  (2 completed, 1 handed off)",
            "fallback    -",
            "tokens      - read, - written",
            "cost        -",
        ] {
            assert!(shown.contains(line), "{shown}");
        }
        assert_eq!(cost(&json!(12_000_050)), "12.000050");
        assert_eq!(cost(&json!(0)), "0.000000");
    }
}
