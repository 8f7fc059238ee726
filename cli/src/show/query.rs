//! What a direct call came to, and how it was routed.

use std::fmt::Write as _;

use serde_json::Value;

use super::{outcome, retry, stand_ins};
use crate::output::{Exit, Style, printable, text};

/// The answer in lines.
pub fn describe(answer: &Value, style: Style) -> String {
    let status = text(&answer["status"]);
    let status = if outcome::exit(answer) == Some(Exit::Done) {
        style.good(&status)
    } else {
        style.bad(&status)
    };
    let mut out = format!("{status}  {}  run {}", text(&answer["agent"]), text(&answer["run"]));
    if let Some(ms) = answer["usage"]["duration_ms"].as_u64() {
        let _ = write!(out, "  {ms} ms");
    }
    out.push('\n');
    let error = &answer["error"];
    if error.is_object() {
        let _ = writeln!(out, "{}: {}", text(&error["code"]), text(&error["message"]));
        let _ = writeln!(out, "{}", retry(error));
    }
    if let Some(output) = answer.get("output") {
        let output = printable(&format!("{output:#}"));
        let _ = writeln!(out, "{}\n{output}", style.heading("output"));
    }
    let _ = writeln!(out, "route: {}", route(&answer["route"], style));
    let choice = &answer["choice"];
    if choice.is_object() {
        let _ = writeln!(
            out,
            "chosen by the router: {}, confidence {}: {}",
            text(&choice["agent"]),
            confidence(&choice["confidence"]),
            text(&choice["reason"])
        );
    }
    out.push_str(&stand_ins::describe(answer));
    if answer["trace"]["traceparent"].is_string() {
        let _ = writeln!(out, "trace {}", text(&answer["trace"]["traceparent"]));
    }
    out
}

/// Who coordinated the call, and why nobody else.
fn route(route: &Value, style: Style) -> String {
    let mut line = coordinated(route);
    if route["degraded"] == true {
        line.push_str(&style.bad("; it stays so until the gateway's operator acts"));
    }
    line
}

fn coordinated(route: &Value) -> String {
    match route["by"].as_str() {
        Some("orchestrated") => format!("orchestrated by {}", text(&route["orchestrator"])),
        Some("fallback") => {
            let detail = match &route["detail"] {
                Value::Null => String::new(),
                detail => format!(": {}", text(detail)),
            };
            format!("fallback ({}{detail})", text(&route["reason"]))
        }
        Some("local") => "local (the gateway has no orchestrator)".to_owned(),
        Some("stored") => "stored (this call was answered before, nothing ran again)".to_owned(),
        _ => text(&route["by"]),
    }
}

/// As `baton route explain` writes it.
fn confidence(value: &Value) -> String {
    value
        .as_f64()
        .map_or_else(|| text(value), |confidence| format!("{confidence:.2}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn routes() {
        let check = |json: Value, expected: &str| assert_eq!(route(&json, Style::plain()), expected, "{json}");
        check(
            json!({"by":"orchestrated","orchestrator":"reference"}),
            "orchestrated by reference",
        );
        let fallback = json!({"by":"fallback","orchestrator":"reference","reason":"timeout","detail":"no answer within 5000 ms","degraded":false});
        check(fallback, "fallback (timeout: no answer within 5000 ms)");
        check(
            json!({"by":"fallback","reason":"refused","degraded":true}),
            "fallback (refused); it stays so until the gateway's operator acts",
        );
        check(json!({"by":"local"}), "local (the gateway has no orchestrator)");
        check(
            json!({"by":"stored"}),
            "stored (this call was answered before, nothing ran again)",
        );
        check(
            json!({"by":"stored","degraded":true}),
            "stored (this call was answered before, nothing ran again); it stays so until the gateway's operator acts",
        );
        check(json!({"by":"new\u{1b}"}), "new\u{fffd}");
    }

    #[test]
    fn anything_is_shown_without_a_panic() {
        describe(&json!({}), Style::plain());
        describe(
            &json!({"failed":[1],"route":2,"choice":{},"usage":3,"error":{}}),
            Style::plain(),
        );
    }

    #[test]
    fn a_stranger_cannot_move_the_cursor() {
        let esc = "\u{1b}[2K";
        let answer = json!({"status":esc,"agent":esc,"run":esc,"output":esc,"error":{"code":esc,"message":esc},
            "route":{"by":"fallback","reason":esc,"detail":esc},"choice":{"agent":esc,"confidence":esc,"reason":esc},
            "failed":[{"agent":esc,"code":esc,"message":esc}],"trace":{"traceparent":esc}});
        let shown = describe(&answer, Style::plain());
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }
}
