//! Whether the queue that telemetry goes through is whole, where an environment has one: whoever hands over and whoever takes
//! are configured apart.

use baton::config::TELEMETRY;
use serde_json::{Map, Value};

use super::Finding;
use super::deployment::Deployment;

const PRODUCERS: &str = "queues.producers";
const CONSUMERS: &str = "queues.consumers";

/// The platform gives a consumer at most this many messages at once.
const BATCH_MAX: u64 = 100;
/// It gathers them for at most this long, in seconds.
const GATHERING_MAX_S: u64 = 60;
/// It delivers a message again at most this often; fewer are a loss sooner.
const RETRIES_MAX: u64 = 100;

type Table = Map<String, Value>;

/// Both sides of the queue. Without one there is nothing to find.
pub fn check(deployment: &Deployment<'_>) -> Vec<Finding> {
    let producers = tables(deployment, "producers");
    let consumers = tables(deployment, "consumers");
    let handed_over = producers.iter().find(|own| text(own, "binding") == Some(TELEMETRY));
    let queue = handed_over.and_then(|own| text(own, "queue"));
    let mut findings = Vec::new();
    if handed_over.is_some() && queue.is_none() {
        findings.push(Finding::error(
            deployment.at(&format!("{PRODUCERS} {TELEMETRY}")),
            "it names no queue",
            "write queue = \"…\", as `wrangler queues create` made it",
        ));
    }
    if let Some(queue) = queue
        && !consumers.iter().any(|own| text(own, "queue") == Some(queue))
    {
        findings.push(Finding::error(
            deployment.at(CONSUMERS),
            format!("nobody takes what is handed over to `{queue}`: no telemetry would arrive, and no history"),
            format!("add [[env.{}.{CONSUMERS}]] with queue = \"{queue}\"", deployment.name),
        ));
    }
    for own in &consumers {
        let name = text(own, "queue").unwrap_or("?");
        if Some(name) != queue {
            findings.push(Finding::warning(
                deployment.at(&format!("{CONSUMERS} {name}")),
                format!("nothing is handed over to it: {PRODUCERS} has no {TELEMETRY} with this queue"),
                "right while it is emptied; then remove it, or add the producer",
            ));
        }
        findings.extend(consumer(deployment, name, own));
    }
    findings
}

fn consumer(deployment: &Deployment<'_>, name: &str, own: &Table) -> Vec<Finding> {
    let place = |key: &str| deployment.at(&format!("{CONSUMERS} {name} {key}"));
    let number = |key: &str| own.get(key).and_then(Value::as_u64);
    let mut findings = Vec::new();
    for (key, max) in [
        ("max_batch_size", BATCH_MAX),
        ("max_batch_timeout", GATHERING_MAX_S),
        ("max_retries", RETRIES_MAX),
    ] {
        if let Some(value) = number(key).filter(|value| *value > max) {
            findings.push(Finding::error(
                place(key),
                format!("it is {value}, and the platform allows {max}"),
                format!("write {key} = {max}, or less"),
            ));
        }
    }
    if number("max_retries").is_none_or(|retries| retries < RETRIES_MAX) {
        findings.push(Finding::warning(
            place("max_retries"),
            "what the consumer cannot deal with is given up soon: such as while the gateway is misconfigured",
            format!("write max_retries = {RETRIES_MAX}"),
        ));
    }
    match text(own, "dead_letter_queue") {
        None => findings.push(Finding::warning(
            place("dead_letter_queue"),
            "it has none: what the consumer cannot deal with is deleted in the end",
            format!("`wrangler queues create {name}-dead`, then write dead_letter_queue = \"{name}-dead\""),
        )),
        Some(dead) if dead == name => findings.push(Finding::error(
            place("dead_letter_queue"),
            "it is the queue itself",
            format!("write another one: dead_letter_queue = \"{name}-dead\""),
        )),
        Some(_) => {}
    }
    let consumes = |other: &Deployment<'_>| {
        tables(other, "consumers")
            .iter()
            .any(|theirs| text(theirs, "queue") == Some(name))
    };
    if let Some(other) = deployment.siblings().find(consumes) {
        findings.push(Finding::error(
            deployment.at(&format!("{CONSUMERS} {name}")),
            format!(
                "env.{} consumes it, too: a queue has one consumer, and one history",
                other.name
            ),
            "give each environment its own",
        ));
    }
    findings
}

fn tables<'a>(deployment: &Deployment<'a>, side: &str) -> Vec<&'a Table> {
    let queues = deployment.own("queues");
    let tables = queues.and_then(|queues| queues.get(side)?.as_array());
    tables.into_iter().flatten().filter_map(Value::as_object).collect()
}

fn text<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    table.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::super::{Severity, assert_found, deployment};
    use super::*;

    const GOOD: &str = r#"
[[env.staging.queues.producers]]
binding = "TELEMETRY"
queue = "own"
[[env.staging.queues.consumers]]
queue = "own"
max_batch_size = 100
max_batch_timeout = 60
max_retries = 100
dead_letter_queue = "dead"
[env.production]
"#;

    #[track_caller]
    fn found(change: (&str, &str), expected: &[(Severity, &str)]) {
        assert!(GOOD.contains(change.0), "{}", change.0);
        let config = deployment::read(&GOOD.replacen(change.0, change.1, 1)).expect("TOML");
        let staging = Deployment::of("wrangler.toml", &config, "staging").expect("there");
        assert_found(&check(&staging), expected);
    }

    #[test]
    fn what_the_documentation_says_is_whole() {
        let documented = include_str!("../../../docs/telemetry.md");
        let block = documented.split("```toml\n").find(|block| block.starts_with("[[env."));
        let block = block.and_then(|block| block.split("```").next()).expect("a block");
        let config = deployment::read(block).expect("TOML");
        let production = Deployment::of("docs/telemetry.md", &config, "production").expect("there");
        assert_eq!(tables(&production, "consumers").len(), 1);
        assert_found(&check(&production), &[]);
    }

    #[test]
    fn both_sides_belong_together() {
        use Severity::{Error, Warning};
        found(("own", "own"), &[]);
        found((GOOD, "[env.staging]"), &[]);
        found(
            ("queue = \"own\"", "queue = \"another\""),
            &[
                (Error, "nobody takes what is handed over to `another`"),
                (Warning, "nothing is handed over"),
            ],
        );
        found(
            ("queue = \"own\"\n", ""),
            &[(Error, "it names no queue"), (Warning, "nothing is handed over")],
        );
        found(("TELEMETRY", "OTHER"), &[(Warning, "producers has no TELEMETRY")]);
        found(
            (
                "[env.production]",
                "[[env.production.queues.consumers]]\nqueue = \"own\"",
            ),
            &[(Error, "env.production consumes it, too")],
        );
    }

    #[test]
    fn the_consumer() {
        use Severity::{Error, Warning};
        found(
            ("max_batch_size = 100", "max_batch_size = 101"),
            &[(Error, "it is 101")],
        );
        found(
            ("max_batch_timeout = 60", "max_batch_timeout = 61"),
            &[(Error, "it is 61")],
        );
        found(("max_retries = 100", "max_retries = 101"), &[(Error, "it is 101")]);
        found(
            ("max_retries = 100", "max_retries = 99"),
            &[(Warning, "is given up soon")],
        );
        found(("max_retries = 100\n", ""), &[(Warning, "is given up soon")]);
        found(
            ("dead_letter_queue = \"dead\"\n", ""),
            &[(Warning, "is deleted in the end")],
        );
        found(("\"dead\"", "\"own\""), &[(Error, "it is the queue itself")]);
    }
}
