//! How a step ended.

use std::fmt::Write as _;

use serde_json::Value;

use super::{retry, stand_ins};
use crate::output::{Exit, Style, printable, text};

/// How a command ends that shows this outcome; none if it is no outcome.
pub fn exit(outcome: &Value) -> Option<Exit> {
    match outcome["status"].as_str()? {
        // A handoff is the agent's decision, not its failure.
        "completed" | "handed_off" => Some(Exit::Done),
        _ => Some(Exit::Bad),
    }
}

/// The outcome in lines.
pub fn describe(outcome: &Value, replayed: bool, style: Style) -> String {
    let mut out = String::new();
    let status = text(&outcome["status"]);
    let status = if exit(outcome) == Some(Exit::Done) {
        style.good(&status)
    } else {
        style.bad(&status)
    };
    let _ = writeln!(
        out,
        "{status}  {}  run {}  step {}  attempt {}  {} ms",
        text(&outcome["agent"]),
        text(&outcome["run"]),
        text(&outcome["step"]),
        text(&outcome["attempt"]),
        text(&outcome["usage"]["duration_ms"]),
    );
    let hops = outcome["hops"].as_array().into_iter().flatten();
    for hop in hops.filter(|hop| hop["error"].is_null()) {
        let _ = writeln!(out, "{} handed on: {}", text(&hop["agent"]), text(&hop["reason"]));
    }
    let error = &outcome["error"];
    if error.is_object() {
        let _ = writeln!(out, "{}: {}", text(&error["code"]), text(&error["message"]));
        let _ = writeln!(out, "{}", retry(error));
    }
    let handoff = &outcome["handoff"];
    if handoff.is_object() {
        let _ = writeln!(
            out,
            "hands off to {}: {}",
            text(&handoff["agent"]),
            text(&handoff["reason"])
        );
    }
    let parts = [
        ("input", handoff.get("input")),
        ("output", outcome.get("output")),
        ("state", outcome.get("state")),
    ];
    for (name, value) in parts {
        if let Some(value) = value {
            let _ = writeln!(out, "{}\n{}", style.heading(name), printable(&format!("{value:#}")));
        }
    }
    if !outcome["state_version"].is_null() {
        let _ = writeln!(
            out,
            "state version {}  {}",
            text(&outcome["state_version"]),
            text(&outcome["state_digest"])
        );
    }
    out.push_str(&stand_ins::describe(outcome));
    if replayed {
        let _ = writeln!(out, "stored answer: this step had run before, nothing ran again");
    }
    if outcome["trace"]["traceparent"].is_string() {
        let _ = writeln!(out, "trace {}", text(&outcome["trace"]["traceparent"]));
    }
    for link in outcome["trace"]["links"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "linked {}", text(link));
    }
    out
}
