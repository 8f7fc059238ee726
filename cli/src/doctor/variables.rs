//! The variables of an environment, each read by the Worker's own code.

use std::collections::BTreeSet;

use baton::signature::Origins;
use serde_json::Value;

use super::Finding;
use super::configuration::{self, refusal};
use super::deployment::Deployment;

/// The variable of the keys.
pub const KEYS: &str = "BATON_KEYS";
/// What the Worker reads that no file of the project may hold.
const SECRETS: [&str; 4] = [
    KEYS,
    configuration::SECRETS,
    "BATON_METRICS_TOKEN",
    "OTEL_EXPORTER_OTLP_HEADERS",
];
/// The variable that says which environment it is.
pub const ENVIRONMENT: &str = "BATON_ENVIRONMENT";
/// The variable of the gateway's own addresses.
pub const ORIGINS: &str = "BATON_ORIGINS";
const ORCHESTRATORS: &str = "BATON_ORCHESTRATORS";
const DEVELOPMENT: &str = "development";
const PREFIX: &str = "BATON_";

/// Names that stand in examples and belong to nobody (RFC 2606, RFC 6761).
const EXAMPLE_DOMAINS: [&str; 4] = ["example", "example.com", "example.net", "example.org"];

/// Every variable: whether it is there, whether the Worker takes it, and whether it is meant.
pub fn check(deployment: &Deployment<'_>) -> Vec<Finding> {
    let known = configuration::asked_for();
    let own = deployment.own("vars").and_then(Value::as_object);
    let mut findings = Vec::new();
    for (name, value) in own.into_iter().flatten() {
        let place = deployment.at(&format!("vars.{name}"));
        if SECRETS.contains(&name.as_str()) {
            findings.push(Finding::error(
                place,
                "secrets stand in a file that others read, and in the account as plain text",
                format!("make new ones, remove it here, and `wrangler secret put {name}`"),
            ));
        } else if name.starts_with(PREFIX) && !known.contains(name) {
            findings.push(Finding::warning(
                place,
                "the Worker reads no variable of this name",
                format!("correct the name; it reads {}", list(&known)),
            ));
        } else if known.contains(name) && !value.is_string() {
            findings.push(Finding::error(
                place,
                "it is no text, and the Worker reads text",
                "write it in quotes",
            ));
        }
    }
    for name in &known {
        if !SECRETS.contains(&name.as_str())
            && let Some(problem) = refusal(deployment, name)
        {
            let place = deployment.at(&format!("vars.{name}"));
            let remedy = "correct it: until then the Worker refuses every request with gateway-misconfigured";
            findings.push(Finding::error(place, problem, remedy));
        }
    }
    findings.extend(not_repeated(deployment));
    findings.extend(environment(deployment));
    findings.extend(origins(deployment));
    findings.extend(orchestrators(deployment));
    findings
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Variables above that the environment lacks. The origins are refused already.
fn not_repeated(deployment: &Deployment<'_>) -> Vec<Finding> {
    let above = deployment.above("vars").and_then(Value::as_object);
    let own = deployment.own("vars");
    let missing = above
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != ORIGINS && own.and_then(|own| own.get(name.as_str())).is_none());
    missing
        .map(|(name, _)| {
            Finding::warning(
                deployment.at("vars"),
                format!("{name} stands above and not here: variables are not inherited"),
                "set it here as well",
            )
        })
        .collect()
}

fn environment(deployment: &Deployment<'_>) -> Option<Finding> {
    let place = deployment.at(&format!("vars.{ENVIRONMENT}"));
    let name = deployment.name;
    match deployment.variable(ENVIRONMENT) {
        Some(set) if set == name => None,
        Some(DEVELOPMENT) => Some(Finding::error(
            place,
            "`development` allows callbacks by http and to loopback, and this is another environment",
            format!("write {ENVIRONMENT} = \"{name}\""),
        )),
        Some(set) => Some(Finding::warning(
            place,
            format!("it is `{set}`, and the environment is `{name}`"),
            format!("write {ENVIRONMENT} = \"{name}\""),
        )),
        // Told already, where it stands above.
        None => None,
    }
}

fn is_development(deployment: &Deployment<'_>) -> bool {
    deployment.variable(ENVIRONMENT) == Some(DEVELOPMENT)
}

/// The origins that the Worker would take, in its spelling.
pub fn own_origins(deployment: &Deployment<'_>) -> Vec<String> {
    let list = deployment.variable(ORIGINS).unwrap_or_default();
    let read = |entry: &str| Some(Origins::parse(entry).ok()?.primary().to_owned());
    list.split(',').filter_map(read).collect()
}

fn origins(deployment: &Deployment<'_>) -> Vec<Finding> {
    let place = deployment.at(&format!("vars.{ORIGINS}"));
    let mut findings = Vec::new();
    let list = deployment.variable(ORIGINS).unwrap_or_default();
    for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        if let Some(placeholder) = placeholder(entry) {
            findings.push(Finding::error(
                &place,
                format!("`{entry}` has the placeholder {placeholder}"),
                "write the address that callers use: the account's workers.dev subdomain, or a domain with a route",
            ));
        } else if entry.starts_with("http://") && !is_development(deployment) {
            findings.push(Finding::error(
                &place,
                format!("`{entry}` is not https: API keys and bodies could be read on the way"),
                "write https",
            ));
        }
    }
    findings
}

fn orchestrators(deployment: &Deployment<'_>) -> Vec<Finding> {
    let place = deployment.at(&format!("vars.{ORCHESTRATORS}"));
    let Some(text) = deployment.variable(ORCHESTRATORS) else {
        return vec![Finding::warning(
            place,
            "no orchestrator is configured: the gateway registers with nobody",
            "set it, or set it to [] where customers alone call",
        )];
    };
    // Read as text: where a placeholder is the reason for a refusal, that is the better word.
    let entries: Vec<Value> = serde_json::from_str(text).unwrap_or_default();
    let mut findings = Vec::new();
    for entry in &entries {
        let id = entry["id"].as_str().unwrap_or("?");
        let callbacks = entry["callback_origins"].as_array();
        let urls = std::iter::once(&entry["url"]).chain(callbacks.into_iter().flatten());
        for url in urls.filter_map(Value::as_str) {
            if let Some(placeholder) = placeholder(url) {
                findings.push(Finding::error(
                    &place,
                    format!("`{id}` has `{url}` with the placeholder {placeholder}"),
                    "write the orchestrator's address",
                ));
            } else if url.starts_with("http://") && !is_development(deployment) {
                findings.push(Finding::warning(
                    &place,
                    format!("`{id}` has `{url}`, which is not https: what is sent there could be read on the way"),
                    "write https",
                ));
            }
        }
    }
    findings
}

/// The part of a URL that nobody has replaced yet.
fn placeholder(url: &str) -> Option<String> {
    if let Some(start) = url.find("YOUR-") {
        let rest = &url[start..];
        let end = rest
            .find(|c: char| !c.is_ascii_uppercase() && c != '-')
            .unwrap_or(rest.len());
        return Some(rest[..end].to_owned());
    }
    let uri: http::Uri = url.parse().ok()?;
    let host = uri.host()?;
    let reserved = EXAMPLE_DOMAINS
        .into_iter()
        .find(|domain| host == *domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')));
    reserved.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::{Severity, assert_found, deployment};
    use super::*;

    const GOOD: &str = r#"
[vars]
BATON_ENVIRONMENT = "development"
BATON_ORIGINS = "http://127.0.0.1:8787"
[env.staging.vars]
BATON_ENVIRONMENT = "staging"
BATON_ORIGINS = "https://agents.acme.dev"
BATON_ORCHESTRATORS = '[{"id":"acme","url":"https://plans.acme.dev"}]'
"#;

    #[track_caller]
    fn found(change: (&str, &str), expected: &[(Severity, &str)]) {
        assert!(GOOD.contains(change.0), "{}", change.0);
        // From the end: what stands above has the same names.
        let (before, after) = GOOD.rsplit_once(change.0).expect("there");
        let config = deployment::read(&format!("{before}{}{after}", change.1)).expect("TOML");
        let staging = Deployment::of("wrangler.toml", &config, "staging").expect("there");
        assert_found(&check(&staging), expected);
    }

    const ORIGIN: &str = "https://agents.acme.dev";
    const URL: &str = "https://plans.acme.dev";

    #[test]
    fn what_is_there() {
        use Severity::{Error, Warning};
        found((ORIGIN, ORIGIN), &[]);
        found(
            ("BATON_ORIGINS = \"https://agents.acme.dev\"\n", ""),
            &[(Error, "BATON_ORIGINS is not set")],
        );
        found(
            ("BATON_ORIGINS =", "BATON_KEYS = '[]'\nBATON_ORIGINS ="),
            &[(Error, "others read")],
        );
        found(
            (
                "BATON_ORIGINS =",
                "OTEL_EXPORTER_OTLP_HEADERS = 'x-api-key=a'\nBATON_ORIGINS =",
            ),
            &[(Error, "`wrangler secret put OTEL_EXPORTER_OTLP_HEADERS`")],
        );
        found(
            ("BATON_ORIGINS =", "OTEL_LOGS_EXPORTER = 'otlp'\nBATON_ORIGINS ="),
            &[(Error, "vars.OTEL_LOGS_EXPORTER: OTEL_LOGS_EXPORTER: `otlp` is sent to")],
        );
        found(
            ("BATON_ORIGINS =", "BATON_ORIGIN = \"a\"\nBATON_ORIGINS ="),
            &[(Warning, "reads BATON_CORS_ORIGINS, BATON_ENVIRONMENT, BATON_GATEWAYS")],
        );
        found(
            ("BATON_ORIGINS =", "BATON_RUN_RETENTION_S = 60\nBATON_ORIGINS ="),
            &[(Error, "it is no text")],
        );
        found(
            ("BATON_ORIGINS =", "BATON_RUN_RETENTION_S = \"0\"\nBATON_ORIGINS ="),
            &[(Error, "`0` is no number of seconds")],
        );
        found(
            ("BATON_ENVIRONMENT = \"staging\"\n", ""),
            &[(Warning, "BATON_ENVIRONMENT stands above and not here")],
        );
        found(("\"staging\"", "\"production\""), &[(Warning, "it is `production`")]);
        found(("\"staging\"", "\"development\""), &[(Error, "callbacks by http")]);
    }

    #[test]
    fn origins() {
        use Severity::Error;
        found(
            (ORIGIN, "https://baton.YOUR-SUBDOMAIN.workers.dev"),
            &[(Error, "the placeholder YOUR-SUBDOMAIN")],
        );
        found(
            (ORIGIN, "https://agents.acme.dev, https://gw.example.com"),
            &[(Error, "placeholder example.com")],
        );
        found((ORIGIN, "http://agents.acme.dev"), &[(Error, "is not https")]);
        found(
            (ORIGIN, "https://agents.acme.dev/base"),
            &[(Error, "`https://agents.acme.dev/base` is no origin")],
        );
        found((ORIGIN, "https://notexample.com"), &[]);
    }

    #[test]
    fn orchestrators() {
        use Severity::{Error, Warning};
        found(
            (URL, "https://plans.example"),
            &[(Error, "does not resolve"), (Error, "placeholder example")],
        );
        found((URL, "https://example.org/base"), &[(Error, "placeholder example.org")]);
        found((URL, "plans"), &[(Error, "`acme` has the URL `plans`")]);
        found(("\"url\"", "\"callback_origins\":[],\"url\""), &[]);
        found(
            ("\"url\":\"https:", "\"callback_origins\":[],\"url\":\"http:"),
            &[(Warning, "`http://plans.acme.dev`, which is not https")],
        );
        found(
            (
                "BATON_ORCHESTRATORS = '[{\"id\":\"acme\",\"url\":\"https://plans.acme.dev\"}]'",
                "",
            ),
            &[(Warning, "registers with nobody")],
        );
        found(("[{\"id\":\"acme\",\"url\":\"https://plans.acme.dev\"}]", "[]"), &[]);
    }

    #[test]
    fn the_origins_in_the_workers_spelling() {
        let toml = "[env.staging.vars]\nBATON_ORIGINS = \"https://GW.acme.dev:443/,no\"";
        let config = deployment::read(toml).expect("TOML");
        let staging = Deployment::of("w", &config, "staging").expect("there");
        assert_eq!(own_origins(&staging), ["https://gw.acme.dev"]);
    }
}
