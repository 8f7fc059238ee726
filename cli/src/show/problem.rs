//! Why the gateway refused.

use std::fmt::Write as _;

use http::HeaderMap;
use serde_json::Value;

use super::retry;
use crate::output::{Style, printable, text};

/// The problem in lines.
pub fn describe(body: &Value, status: u16, headers: &HeaderMap, style: Style) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{}  {status} {}: {}",
        style.bad("refused"),
        text(&body["code"]),
        text(&body["title"])
    );
    if body["detail"].is_string() {
        let _ = writeln!(out, "{}", text(&body["detail"]));
    }
    for error in body["errors"].as_array().into_iter().flatten() {
        let place = match error["instance"].as_str() {
            Some("") | None => "(the whole)".to_owned(),
            Some(pointer) => printable(pointer),
        };
        let _ = writeln!(
            out,
            "  {place}: {}  [{}]",
            text(&error["message"]),
            text(&error["schema"])
        );
    }
    let is_of_a_state = body["code"] != "overrides-conflict";
    match body["current_version"].as_u64().filter(|_| is_of_a_state) {
        Some(0) => out.push_str("there is no state yet: --create writes the first\n"),
        Some(version) => {
            let etag = text(&body["current_etag"]);
            let _ = writeln!(
                out,
                "the current state is version {version}, --if-match {}",
                etag.trim_matches('"')
            );
        }
        None => {}
    }
    let _ = writeln!(out, "{}", retry(body));
    for (name, says) in [
        ("accept-signature", "the gateway asks for the signature"),
        ("allow", "allowed here"),
    ] {
        if let Some(value) = headers.get(name) {
            let _ = writeln!(out, "{says}: {}", printable(&String::from_utf8_lossy(value.as_bytes())));
        }
    }
    if body["request_id"].is_string() {
        let _ = writeln!(out, "request id {}, as in the gateway's log", text(&body["request_id"]));
    }
    out
}
