//! `baton run steps`: the steps of a run, as a table.

use std::fmt::Write as _;

use baton::signature::Purpose;
use http::Method;
use serde_json::Value;

use super::TIMEOUT;
use crate::args::ShowSteps;
use crate::id::run_path;
use crate::output::{Exit, Failure, Report, Style, text};
use crate::show;
use crate::signed::Caller;

/// Fetches the run and lists its steps.
pub fn run(args: &ShowSteps, style: Style) -> Result<Report, Failure> {
    let caller = Caller::new(&args.call, Purpose::Invoke, None)?;
    let answer = caller.ask(Method::GET, &run_path(&args.run, ""), TIMEOUT)?;
    show::report(&answer, args.call.json, style, |body| {
        if !body["steps"].is_array() {
            return Err(show::unexpected(&answer.response, "run: it has no `steps`"));
        }
        Ok((Exit::Done, table(&body["steps"], style)))
    })
}

const COLUMNS: [&str; 4] = ["step", "attempt", "agent", "status"];

/// The table of a run's steps.
pub fn table(steps: &Value, style: Style) -> String {
    let rows: Vec<[String; 4]> = steps
        .as_array()
        .into_iter()
        .flatten()
        .map(|step| {
            // How it ended says that it ended.
            let status = if step["outcome"].is_null() {
                &step["status"]
            } else {
                &step["outcome"]
            };
            [&step["step"], &step["attempt"], &step["agent"], status].map(text)
        })
        .collect();
    if rows.is_empty() {
        return "  none\n".to_owned();
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].as_str());
        cells.chain([COLUMNS[column]]).map(|cell| cell.chars().count()).max()
    };
    let widths = [0, 1, 2].map(|column| width(column).unwrap_or_default());
    let line = |row: [&str; 4]| {
        let [step, attempt, agent] = widths;
        format!(
            "{:<step$}  {:<attempt$}  {:<agent$}  {}",
            row[0], row[1], row[2], row[3]
        )
    };
    let mut out = String::new();
    let _ = writeln!(out, "  {}", style.heading(&line(COLUMNS)));
    for row in &rows {
        let _ = writeln!(out, "  {}", line(row.each_ref().map(String::as_str)));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables() {
        let steps = json!([
            {"step":"s1","attempt":1,"agent":"triage","status":"ended","outcome":"completed"},
            {"step":"längere","attempt":12,"agent":"redact","status":"running"},
            7
        ]);
        assert_eq!(
            table(&steps, Style::plain()),
            "  step     attempt  agent   status\n\
             \x20 s1       1        triage  completed\n\
             \x20 längere  12       redact  running\n\
             \x20 -        -        -       -\n"
        );
        assert_eq!(table(&json!([]), Style::plain()), "  none\n");
    }
}
