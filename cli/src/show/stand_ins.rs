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
    if answer["answered_by"].is_string() {
        let _ = writeln!(out, "{} stands in", text(&answer["answered_by"]));
    }
    if answer["stand_in"] == true {
        out.push_str("the answer stands in that the agent's manifest has ready\n");
    }
    out
}
