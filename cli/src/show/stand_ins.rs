//! Who failed, and who or what stands in.

use std::fmt::Write as _;

use serde_json::Value;

use crate::output::text;

/// What an outcome, or the answer to a direct call, says of it, in lines; nothing where nobody stood in.
pub fn describe(answer: &Value) -> String {
    let mut out = String::new();
    for failed in answer["failed"].as_array().into_iter().flatten() {
        let _ = writeln!(
            out,
            "failed: {} ({}: {})",
            text(&failed["agent"]),
            text(&failed["code"]),
            text(&failed["message"])
        );
    }
    for stand_in in answer["stand_ins"].as_array().into_iter().flatten() {
        let (call, agent, code) = (&stand_in["call"], &stand_in["agent"], &stand_in["code"]);
        let who = stand_in["answered_by"].as_str().unwrap_or("the answer of its manifest");
        let _ = writeln!(
            out,
            "call {}: {} failed ({}), {who} stands in",
            text(call),
            text(agent),
            text(code)
        );
    }
    if answer["answered_by"].is_string() {
        let _ = writeln!(out, "{} stands in", text(&answer["answered_by"]));
    }
    if answer["stand_in"] == true {
        out.push_str("the answer stands in that the agent's manifest has ready\n");
    }
    out
}
