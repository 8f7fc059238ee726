//! What the schema of manifests cannot say about channels, notifications and alerts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::check_variables::FUNCTIONS;
use super::notification::{NOTIFICATION_NAMES, NotifiedOutcome};
use super::{AgentManifest, ChannelKind, GatewayManifest, Notification, Template};

/// What `error` has.
const OF_ERROR: [&str; 3] = ["code", "message", "retryable"];

/// Checks an agent's notifications by themselves: pointers within the manifest, and what is wrong there.
pub(super) fn alone(agent: &AgentManifest) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    for (index, rule) in agent.notifications.iter().enumerate() {
        let at = format!("/notifications/{index}");
        if !names.insert(&rule.name) {
            let reason = format!("another notification is named `{}` already", rule.name);
            problems.push((format!("{at}/name"), reason));
        }
        if let Some(condition) = &rule.condition {
            let at = format!("{at}/condition");
            match condition.references() {
                Ok(references) => {
                    problems.extend(wrong_references(agent, rule, references).map(|reason| (at.clone(), reason)));
                }
                Err(reason) => problems.push((at, reason)),
            }
        }
        let at = format!("{at}/message");
        match Template::compile_over(NOTIFICATION_NAMES, &rule.message.as_str().into()) {
            Ok(template) => {
                let references = template.references().into_iter().map(|reference| reference.path);
                problems.extend(wrong_references(agent, rule, references).map(|reason| (at.clone(), reason)));
            }
            Err(error) => problems.push((at, error.reason)),
        }
    }
    problems
}

fn wrong_references(
    agent: &AgentManifest,
    rule: &Notification,
    references: impl IntoIterator<Item = Vec<String>>,
) -> impl Iterator<Item = String> {
    let references = references.into_iter();
    references.filter_map(|path| reference_problem(agent, rule, &path))
}

/// What is wrong with a reference such as `output.text`: it must be to what is there with every outcome of the rule, and
/// declared.
fn reference_problem(agent: &AgentManifest, rule: &Notification, path: &[String]) -> Option<String> {
    let root = path.first()?.as_str();
    let only = |wanted: NotifiedOutcome| rule.outcomes.iter().all(|outcome| *outcome == wanted);
    match root {
        "output" if !only(NotifiedOutcome::Completed) => Some(
            "uses `output`, which is there with the outcome `completed` alone: make a rule for that one".to_owned(),
        ),
        "error" if !only(NotifiedOutcome::Failed) => {
            Some("uses `error`, which is there with the outcome `failed` alone: make a rule for that one".to_owned())
        }
        "output" => {
            let declared = agent.output.document().get("properties").and_then(Value::as_object)?;
            let name = path.get(1)?;
            let missing = !declared.contains_key(name);
            missing.then(|| format!("uses `output.{name}`, which the schema of the output does not declare"))
        }
        "error" => {
            let name = path.get(1)?;
            let missing = !OF_ERROR.contains(&name.as_str());
            missing.then(|| format!("uses `error.{name}`; there are {}", OF_ERROR.join(", ")))
        }
        name if NOTIFICATION_NAMES.contains(&name) || FUNCTIONS.contains(&name) => None,
        _ => {
            let names = NOTIFICATION_NAMES.join("`, `");
            Some(format!(
                "uses `{root}`, which is not there: notifications see `{names}`"
            ))
        }
    }
}

/// Checks an agent's notifications against the gateway.
pub(super) fn in_gateway(agent: &AgentManifest, gateway: &GatewayManifest) -> Vec<(String, String)> {
    let rules = agent.notifications.iter().enumerate();
    let problems = rules.filter_map(|(index, rule)| {
        let reason = unknown_channel(&rule.channel, gateway)?;
        Some((format!("/notifications/{index}/channel"), reason))
    });
    problems.collect()
}

/// Checks the gateway's channels and alerts.
pub(super) fn of_gateway(gateway: &GatewayManifest, by_id: &BTreeMap<&str, &AgentManifest>) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    for (id, channel) in &gateway.channels {
        if channel.kind == ChannelKind::Slack && channel.key.is_some() {
            let reason = "Slack checks no signature: leave it out, its URL is the secret";
            problems.push((format!("/channels/{id}/key"), reason.to_owned()));
        }
    }
    for (id, alert) in &gateway.alerts {
        for (index, channel) in alert.channels.iter().enumerate() {
            if let Some(reason) = unknown_channel(channel, gateway) {
                problems.push((format!("/alerts/{id}/channels/{index}"), reason));
            }
        }
        if let Some(agent) = alert.watch.agent().filter(|agent| !by_id.contains_key(agent)) {
            problems.push((format!("/alerts/{id}/agent"), format!("there is no agent `{agent}`")));
        }
    }
    problems
}

fn unknown_channel(id: &str, gateway: &GatewayManifest) -> Option<String> {
    if gateway.channels.contains_key(id) {
        return None;
    }
    let known: Vec<_> = gateway.channels.keys().map(String::as_str).collect();
    Some(match known.as_slice() {
        [] => format!("there is no channel `{id}`: gateway.json declares none in `channels`"),
        known => format!("there is no channel `{id}`; gateway.json declares {}", known.join(", ")),
    })
}
