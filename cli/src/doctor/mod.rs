//! What is missing in a deployment: checks of what is configured, and of the gateway that runs.
//!
//! Each check is a function of what it looks at, and of the time where that counts; the command reads the files and makes
//! the calls.

pub mod bindings;
pub mod channels;
pub mod clock;
pub mod configuration;
pub mod connections;
pub mod deployment;
pub mod keys;
pub mod links;
pub mod live;
pub mod models;
pub mod queue;
pub mod reach;
pub mod secrets;
pub mod variables;

use std::fmt::Write as _;

use baton::manifest::Finding as ManifestFinding;
use serde_json::{Value, json};

use crate::output::{Style, printable};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It does not work, or it is not safe.
    Error,
    /// It works, and somebody will be surprised.
    Warning,
    /// What could not be looked at.
    Note,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing that a person should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// File and place in it, or an address.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// It does not work, or it is not safe.
    pub fn error(place: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            place: place.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// It works, and somebody will be surprised.
    pub fn warning(place: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(place, problem, remedy)
        }
    }

    /// What could not be looked at.
    pub fn note(place: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            severity: Severity::Note,
            ..Self::error(place, problem, remedy)
        }
    }

    /// What the check of the manifests found: the build refuses it.
    pub fn of_manifest(finding: &ManifestFinding) -> Self {
        Self::error(
            format!("{}#{}", finding.file.display(), finding.pointer),
            finding.reason.clone(),
            "correct the manifest: the build refuses it",
        )
    }
}

/// What was looked at, and what was found.
#[derive(Debug, Default)]
pub struct Diagnosis {
    /// The checks that were made, for people.
    pub checked: Vec<String>,
    findings: Vec<Finding>,
}

impl Diagnosis {
    /// Takes the findings of a check.
    pub fn add(&mut self, check: impl Into<String>, findings: impl IntoIterator<Item = Finding>) {
        self.checked.push(check.into());
        self.findings.extend(findings);
    }

    /// How many findings are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    }

    /// The findings, the gravest first; among equals in the order of the checks.
    fn in_order(&self) -> Vec<&Finding> {
        let mut findings: Vec<_> = self.findings.iter().collect();
        findings.sort_by_key(|finding| finding.severity);
        findings
    }

    /// For a person.
    pub fn describe(&self, style: Style) -> String {
        let mut out = String::new();
        for finding in self.in_order() {
            let name = format!("{:<8}", finding.severity.name());
            let name = match finding.severity {
                Severity::Error => style.bad(&name),
                Severity::Warning | Severity::Note => style.heading(&name),
            };
            let _ = writeln!(out, "{name} {}", printable(&finding.place));
            let _ = writeln!(out, "         {}", printable(&finding.problem));
            let _ = writeln!(out, "      -> {}\n", printable(&finding.remedy));
        }
        let _ = writeln!(out, "Checked: {}.", self.checked.join(", "));
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        let summary = format!("{}, {}", counted(errors, "error"), counted(warnings, "warning"));
        let summary = if errors == 0 {
            style.good(&summary)
        } else {
            style.bad(&summary)
        };
        let _ = writeln!(out, "{summary}");
        out
    }

    /// For a program.
    pub fn as_json(&self) -> Value {
        let finding = |finding: &&Finding| {
            json!({
                "severity": finding.severity.name(),
                "where": finding.place,
                "what": finding.problem,
                "do": finding.remedy,
            })
        };
        json!({
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "checked": self.checked,
            "findings": self.in_order().iter().map(finding).collect::<Vec<_>>(),
        })
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Fails unless the findings are exactly these: of each the severity, and words of its place, problem or remedy.
#[cfg(test)]
#[track_caller]
fn assert_found(findings: &[Finding], expected: &[(Severity, &str)]) {
    let shown: Vec<_> = findings
        .iter()
        .map(|finding| format!("{}: {}: {}", finding.place, finding.problem, finding.remedy))
        .collect();
    assert_eq!(findings.len(), expected.len(), "{shown:#?}");
    for ((finding, text), (severity, words)) in findings.iter().zip(&shown).zip(expected) {
        assert_eq!(finding.severity, *severity, "{text}");
        assert!(text.contains(words), "expected `{words}` in `{text}`");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_come_first() {
        let mut diagnosis = Diagnosis::default();
        diagnosis.add("one", [Finding::note("a", "b", "c"), Finding::warning("d", "e", "f")]);
        diagnosis.add(
            "two",
            [Finding::error("g", "h\u{1b}[2K", "i"), Finding::error("j", "k", "l")],
        );
        let shown = diagnosis.describe(Style::plain());
        assert_eq!(
            shown,
            "error    g\n         h\u{fffd}[2K\n      -> i\n\n\
             error    j\n         k\n      -> l\n\n\
             warning  d\n         e\n      -> f\n\n\
             note     a\n         b\n      -> c\n\n\
             Checked: one, two.\n2 errors, 1 warning\n"
        );
        let json = diagnosis.as_json();
        assert_eq!((&json["errors"], &json["warnings"]), (&json!(2), &json!(1)));
        assert_eq!(
            json["findings"][1],
            json!({"severity": "error", "where": "j", "what": "k", "do": "l"})
        );
    }
}
