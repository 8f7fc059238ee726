//! `baton route explain`: the router's choice for a text, and what made it.

use std::fmt::Write as _;

use baton::routing::classifier::{Routed, consider};
use baton::routing::{By, Candidate, Choice, Match, candidates, route};
use serde_json::json;

use super::manifest;
use crate::args::ExplainRoute;
use crate::output::{Exit, Failure, Report, Style};

const NOBODY: &str = "No phrase speaks clearly enough for an agent, and gateway.json has no routing.default.";

/// Chooses among all agents that customers may call with a text.
pub fn explain(args: &ExplainRoute, style: Style) -> Result<Report, Failure> {
    let team = match manifest::load(&args.manifests)? {
        Ok(team) => team,
        Err(findings) => return Ok(findings),
    };
    let choice = route(&team, &args.text, |_| true);
    let classifier = match consider(&team, &args.text, |_| true) {
        Routed::Unclear(unclear) => Some(unclear.classifier.id.as_str()),
        Routed::Chosen(_) | Routed::Nobody => None,
    };
    let exit = if choice.is_some() { Exit::Done } else { Exit::Bad };
    let text = if args.json {
        let mut value = match &choice {
            Some(choice) => json!(choice),
            None => json!({"agent": null, "reason": NOBODY, "candidates": candidates(&team, &args.text, |_| true)}),
        };
        if let Some(classifier) = classifier {
            value["classifier"] = classifier.into();
        }
        format!("{value:#}\n")
    } else {
        let chosen = match &choice {
            Some(choice) => describe(Some(choice), &choice.candidates, style),
            None => describe(None, &candidates(&team, &args.text, |_| true), style),
        };
        let asked = classifier.map(|id| {
            format!(
                "The classifier {} would be asked, which this command does not do. Without a usable verdict of it:\n\n",
                style.good(id)
            )
        });
        asked.unwrap_or_default() + &chosen
    };
    Ok(Report::new(exit, text))
}

fn describe(choice: Option<&Choice>, candidates: &[Candidate], style: Style) -> String {
    let mut out = String::new();
    match choice {
        Some(choice) => {
            let by = match choice.by {
                By::Keywords => "by its phrases",
                By::Classifier => "by the classifier",
                By::Default => "by default",
            };
            let agent = style.good(&choice.agent);
            let _ = writeln!(
                out,
                "{agent}, {by}, confidence {}\n{}",
                choice.confidence, choice.reason
            );
        }
        None => {
            let _ = writeln!(out, "{}\n{NOBODY}", style.bad("no agent"));
        }
    }
    let _ = writeln!(out, "\n{}", style.heading("Candidates"));
    if candidates.is_empty() {
        out.push_str("  none: no public agent has `direct.text`\n");
    }
    let width = candidates
        .iter()
        .map(|candidate| candidate.agent.len())
        .max()
        .unwrap_or(0);
    for Candidate { agent, score, matches } in candidates {
        let phrases: Vec<_> = matches.iter().map(phrase).collect();
        let phrases = if phrases.is_empty() {
            "-".to_owned()
        } else {
            phrases.join(", ")
        };
        let _ = writeln!(out, "  {agent:<width$}  {score:>6}  {phrases}");
    }
    out
}

/// A phrase with what it adds to the score: `"refund*" +3`, `"error" +2 (negated: not counted)`.
fn phrase(found: &Match) -> String {
    let sign = if found.against { '-' } else { '+' };
    let negated = if found.negated { " (negated: not counted)" } else { "" };
    format!("\"{}\" {sign}{}{negated}", found.phrase, found.weight)
}
