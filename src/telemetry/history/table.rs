//! Executions as text for other programs: CSV (RFC 4180) and JSON Lines.

use serde_json::Value;

use super::ExecutionRow;

/// The columns of a CSV, in their order: the members of an execution as JSON has them.
pub const COLUMNS: [&str; 19] = [
    "id",
    "orchestrator",
    "run",
    "step",
    "attempt",
    "execution",
    "agent",
    "agent_version",
    "route",
    "outcome",
    "error_code",
    "started_at_ms",
    "duration_ms",
    "claimed_until_ms",
    "input_tokens",
    "output_tokens",
    "cost_micros",
    "trace_id",
    "span_id",
];

/// A line of names, and a line per execution.
#[must_use]
pub fn csv(rows: &[ExecutionRow]) -> String {
    let mut text = COLUMNS.join(",") + "\r\n";
    for row in rows {
        let row = serde_json::to_value(row).unwrap_or_default();
        let cells: Vec<_> = COLUMNS.iter().map(|column| cell(&row[*column])).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

/// A line of JSON per execution.
#[must_use]
pub fn json_lines(rows: &[ExecutionRow]) -> String {
    let lines = rows
        .iter()
        .map(|row| serde_json::to_string(row).unwrap_or_default() + "\n");
    lines.collect()
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text,
        other => return other.to_string(),
    };
    // Ids are callers' text: a spreadsheet must not take one for a formula.
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        "'"
    } else {
        ""
    };
    let quoted = text.contains(['"', ',', '\r', '\n']);
    match quoted {
        true => format!("\"{guard}{}\"", text.replace('"', "\"\"")),
        false => format!("{guard}{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::execution_named;
    use super::*;

    #[test]
    fn a_line_each() {
        let rows = [execution_named("r1"), execution_named("r2")];
        let csv = csv(&rows);
        let lines: Vec<_> = csv.split("\r\n").collect();
        assert_eq!((lines.len(), lines[3]), (4, ""));
        assert!(lines[0].starts_with("id,orchestrator,run,"), "{}", lines[0]);
        assert!(
            lines[1].contains(",acme,r1,s,1,1,triage,1.0.0,orchestrated,completed,,100,50,"),
            "{}",
            lines[1]
        );
        let json = json_lines(&rows);
        let read: Vec<ExecutionRow> = json
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(read, rows);
    }

    #[test]
    fn the_columns_are_the_members() {
        let row = serde_json::to_value(execution_named("r")).expect("JSON");
        let members: Vec<_> = row.as_object().expect("an object").keys().collect();
        assert_eq!(members, COLUMNS.iter().collect::<Vec<_>>());
    }

    #[test]
    fn cells() {
        let check = |text: &str, expected: &str| assert_eq!(cell(&text.into()), expected);
        check("plain", "plain");
        check("a,b", "\"a,b\"");
        check("a\"b", "\"a\"\"b\"");
        check("a\nb", "\"a\nb\"");
        check("=1+1", "'=1+1");
        check("@x,y", "\"'@x,y\"");
        assert_eq!(cell(&7.into()), "7");
        assert_eq!(cell(&Value::Null), "");
    }
}
