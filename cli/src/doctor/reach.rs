//! Whether the platform brings callers to the Worker under its origins, and wakes it.

use serde_json::Value;

use super::Finding;
use super::deployment::Deployment;
use super::variables::{ORIGINS, own_origins};

/// Origins without a route, and a Worker that nothing wakes.
pub fn check(deployment: &Deployment<'_>) -> Vec<Finding> {
    let mut findings: Vec<_> = own_origins(deployment)
        .iter()
        .filter_map(|origin| origin_without_a_way(deployment, origin))
        .collect();
    let crons = deployment
        .inherited("triggers")
        .and_then(|triggers| triggers["crons"].as_array());
    if crons.is_none_or(Vec::is_empty) {
        findings.push(Finding::warning(
            deployment.at("triggers.crons"),
            "nothing wakes a link that has lost its alarm: the registration may end",
            "write crons = [\"*/5 * * * *\"]",
        ));
    }
    if deployment.inherited("observability").map(|value| &value["enabled"]) != Some(&Value::Bool(true)) {
        findings.push(Finding::warning(
            deployment.at("observability"),
            "the platform keeps no log: alarms are seen by `wrangler tail` alone",
            "write enabled = true",
        ));
    }
    findings
}

fn origin_without_a_way(deployment: &Deployment<'_>, origin: &str) -> Option<Finding> {
    let uri: http::Uri = origin.parse().ok()?;
    let host = uri.host()?;
    let place = deployment.at(&format!("vars.{ORIGINS}"));
    if host.ends_with(".workers.dev") {
        let name = worker_name(deployment);
        // Left out it is on, unless there is a route.
        let is_on = match deployment.inherited("workers_dev") {
            Some(set) => *set == Value::Bool(true),
            None => patterns(deployment).is_empty(),
        };
        if !is_on {
            return Some(Finding::error(
                deployment.at("workers_dev"),
                format!("it is off, so nobody reaches {origin}"),
                "write workers_dev = true, or take another origin",
            ));
        }
        // The address of a Worker begins with its name.
        return (host.split('.').next() != Some(&name)).then(|| {
            Finding::error(
                place,
                format!("`{origin}` is not this Worker's address: its name is `{name}`"),
                format!("write https://{name}.…, or change `name`"),
            )
        });
    }
    let patterns = patterns(deployment);
    (!patterns.iter().any(|pattern| serves(pattern, host))).then(|| {
        Finding::warning(
            place,
            format!("no route here leads from {host} to this Worker"),
            format!(
                "write routes = [{{ pattern = \"{host}\", custom_domain = true }}], unless a route was made in the dashboard"
            ),
        )
    })
}

/// The name under which wrangler deploys: the environment's own, else that above with the environment's behind it.
fn worker_name(deployment: &Deployment<'_>) -> String {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    match deployment.own("name") {
        Some(name) => text(Some(name)),
        None => format!("{}-{}", text(deployment.above("name")), deployment.name),
    }
}

fn patterns<'a>(deployment: &Deployment<'a>) -> Vec<&'a str> {
    let pattern = |route: &'a Value| route.as_str().or_else(|| route["pattern"].as_str());
    let several = deployment.inherited("routes").and_then(Value::as_array);
    let one = deployment.inherited("route");
    several.into_iter().flatten().chain(one).filter_map(pattern).collect()
}

/// Whether a route's pattern, such as `agents.acme.dev/*` or `*.acme.dev/*`, has this host, in whatever case it is written.
fn serves(pattern: &str, host: &str) -> bool {
    let pattern = pattern.split_once("://").map_or(pattern, |(_, rest)| rest);
    let own = pattern.split('/').next().unwrap_or_default().to_ascii_lowercase();
    match own.strip_prefix('*') {
        Some(end) => host.ends_with(end),
        None => own == *host,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Severity, assert_found, deployment};
    use super::*;

    #[track_caller]
    fn found(origins: &str, above: &str, own: &str, expected: &[(Severity, &str)]) {
        let toml = format!(
            "name = \"baton\"\n{above}\n[triggers]\ncrons = [\"* * * * *\"]\n[observability]\nenabled = true\n\
             [env.staging]\n{own}\n[env.staging.vars]\nBATON_ORIGINS = \"{origins}\"\n"
        );
        let config = deployment::read(&toml).expect("TOML");
        let staging = Deployment::of("wrangler.toml", &config, "staging").expect("there");
        assert_found(&check(&staging), expected);
    }

    #[test]
    fn the_platforms_own_domain() {
        use Severity::Error;
        let (on, named) = ("workers_dev = true", "name = \"desk\"");
        found("https://desk.acme.workers.dev", on, named, &[]);
        found("https://baton-staging.acme.workers.dev", on, "", &[]);
        found(
            "https://baton.acme.workers.dev",
            on,
            named,
            &[(Error, "its name is `desk`")],
        );
        found("https://desk.acme.workers.dev", "", named, &[]);
        let off = &[(Error, "workers_dev: it is off")];
        found("https://desk.acme.workers.dev", "workers_dev = false", named, off);
        found(
            "https://desk.acme.workers.dev",
            "route = \"agents.acme.dev/*\"",
            named,
            off,
        );
    }

    #[test]
    fn routes() {
        use Severity::Warning;
        let none = &[(Warning, "no route here leads from agents.acme.dev")];
        let origin = "https://agents.acme.dev";
        found(origin, "", "", none);
        found(
            origin,
            "",
            "routes = [{ pattern = \"agents.acme.dev\", custom_domain = true }]",
            &[],
        );
        found(origin, "", "route = \"*.acme.dev/*\"", &[]);
        found(origin, "routes = [\"https://agents.acme.dev/*\"]", "", &[]);
        found(origin, "routes = [\"Agents.ACME.dev/*\"]", "", &[]);
        found(origin, "", "route = \"other.acme.dev/*\"", none);
    }

    #[test]
    fn what_wakes_and_what_is_kept() {
        let config = deployment::read("[env.staging]\n[env.staging.triggers]\ncrons = []").expect("TOML");
        let staging = Deployment::of("wrangler.toml", &config, "staging").expect("there");
        use Severity::Warning;
        assert_found(
            &check(&staging),
            &[
                (Warning, "env.staging.triggers.crons"),
                (Warning, "env.staging.observability"),
            ],
        );
    }
}
