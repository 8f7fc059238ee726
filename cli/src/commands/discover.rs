//! `baton discover`: what a gateway offers, for a person.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::args::Discover;
use crate::output::{Exit, Failure, Report, Style, printable, text};
use crate::{config, transport};

const PATH: &str = "/.well-known/baton.json";
const TIMEOUT: Duration = Duration::from_secs(30);
/// A summary of a schema names at most this many properties.
const PROPERTIES_MAX: usize = 8;

/// Fetches the discovery manifest and shows it.
pub fn run(args: &Discover, style: Style) -> Result<Report, Failure> {
    let gateway = config::gateway(args.gateway.as_deref())?;
    let request = http::Request::get(format!("{gateway}{PATH}"))
        .header("accept", "application/json")
        .body(Vec::new())
        .map_err(|error| Failure::usage(format!("{gateway}: {error}")))?;
    let response = transport::send(request, TIMEOUT)?;
    let status = response.status();
    if !status.is_success() {
        return Err(Failure::new(
            Exit::Refused,
            format!("{gateway}{PATH} answered {status}: is a Baton gateway there, and is its discovery public?"),
        ));
    }
    let manifest: Value = serde_json::from_slice(response.body()).map_err(|error| {
        Failure::new(
            Exit::Transport,
            format!("{gateway}{PATH} is not JSON ({error}): is a Baton gateway there?"),
        )
    })?;
    if args.json {
        let body = String::from_utf8_lossy(response.body());
        return Ok(Report::new(Exit::Done, format!("{}\n", body.trim_end())));
    }
    Ok(Report::new(Exit::Done, describe(&manifest, style)))
}

fn describe(manifest: &Value, style: Style) -> String {
    let gateway = &manifest["gateway"];
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} {} · {}",
        style.heading(&text(&gateway["title"])),
        text(&gateway["version"]),
        text(&gateway["origin"])
    );
    if gateway["description"].is_string() {
        let _ = writeln!(out, "{}", text(&gateway["description"]));
    }
    let _ = writeln!(
        out,
        "gateway {}, protocol {}",
        text(&gateway["id"]),
        text(&manifest["protocol"])
    );

    let _ = writeln!(out, "\n{}", style.heading("Agents"));
    for agent in items(&manifest["agents"]) {
        let _ = writeln!(
            out,
            "  {} {} · {}",
            style.heading(&text(&agent["id"])),
            text(&agent["version"]),
            text(&agent["title"])
        );
        let _ = writeln!(out, "    {}", text(&agent["description"]));
        for part in ["input", "output", "state"] {
            if !agent[part].is_null() {
                let _ = writeln!(out, "    {part:<8} {}", summary(&agent[part]));
            }
        }
        let _ = writeln!(out, "    deadline {} ms", text(&agent["deadline_ms"]));
    }

    let _ = writeln!(out, "\n{}", style.heading("Endpoints"));
    for endpoint in items(&manifest["endpoints"]) {
        let path = text(&endpoint["path"]);
        let (method, access) = (text(&endpoint["method"]), text(&endpoint["access"]));
        let _ = writeln!(
            out,
            "  {method:<6} {path:<26} {access:<6} {}",
            text(&endpoint["summary"])
        );
    }

    let _ = writeln!(out, "\n{}", style.heading("Limits"));
    for (name, value) in manifest["limits"].as_object().into_iter().flatten() {
        let _ = writeln!(out, "  {:<30} {}", printable(name), text(value));
    }
    out
}

/// An object's properties, with `?` where they may be left out: `text: string, language?: string`.
fn summary(schema: &Value) -> String {
    let Some(properties) = schema["properties"]
        .as_object()
        .filter(|properties| !properties.is_empty())
    else {
        return if schema["type"].is_null() {
            "any JSON".to_owned()
        } else {
            kind(schema)
        };
    };
    let required: Vec<_> = items(&schema["required"]).filter_map(Value::as_str).collect();
    let mut parts: Vec<_> = properties
        .iter()
        .take(PROPERTIES_MAX)
        .map(|(name, property)| {
            let optional = if required.contains(&name.as_str()) { "" } else { "?" };
            format!("{}{optional}: {}", printable(name), kind(property))
        })
        .collect();
    if properties.len() > PROPERTIES_MAX {
        parts.push(format!("and {} more", properties.len() - PROPERTIES_MAX));
    }
    parts.join(", ")
}

fn kind(schema: &Value) -> String {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values.iter().take(PROPERTIES_MAX).map(text).collect();
        return values.join(" | ");
    }
    match &schema["type"] {
        Value::String(name) if name == "array" && schema["items"]["type"].is_string() => {
            format!("array of {}", text(&schema["items"]["type"]))
        }
        Value::String(name) => printable(name),
        Value::Array(names) => names.iter().map(text).collect::<Vec<_>>().join(" | "),
        _ => "any".to_owned(),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_in_a_line() {
        let check = |schema: Value, expected: &str| assert_eq!(summary(&schema), expected, "{schema}");
        check(
            json!({"type":"object","required":["a"],"properties":{"a":{"type":"string"},"b":{"enum":["x",1]}}}),
            "a: string, b?: x | 1",
        );
        check(
            json!({"type":"object","properties":{"a":{"type":"array","items":{"type":"integer"}}}}),
            "a?: array of integer",
        );
        check(
            json!({"properties":{"a":{"type":["string","null"]},"b":{"$ref":"#/$defs/b"}}}),
            "a?: string | null, b?: any",
        );
        check(json!({"type":"string"}), "string");
        check(json!(true), "any JSON");
        let many: serde_json::Map<_, _> = (0..10).map(|n| (format!("p{n}"), json!({"type":"null"}))).collect();
        assert!(summary(&json!({"properties": many})).ends_with(", and 2 more"));
    }

    #[test]
    fn a_manifest_for_a_person() {
        let manifest = json!({
            "protocol": "baton/1",
            "gateway": {"id": "gw", "title": "Desk", "version": "1.0.0", "origin": "http://gw"},
            "agents": [{"id": "triage", "version": "1.2.0", "title": "Triage", "description": "Sorts\u{1b}[2K.",
                "input": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}},
                "output": true, "deadline_ms": 5000}],
            "endpoints": [{"method": "POST", "path": "/agents/{agent}/steps", "access": "signed", "summary": "Invokes"}],
            "limits": {"body_max_bytes": 1_048_576}
        });
        let shown = describe(&manifest, Style::plain());
        for part in [
            "Desk 1.0.0 · http://gw",
            "triage 1.2.0 · Triage",
            "input    text: string",
            "output   any JSON",
            "deadline 5000 ms",
            "body_max_bytes",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }

    #[test]
    fn anything_is_shown_without_a_panic() {
        describe(&json!([1, "x"]), Style::plain());
        describe(&json!({"agents": [1], "limits": 3}), Style::plain());
    }
}
