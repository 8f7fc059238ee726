//! The channels and alerts of `gateway.json`, held against the secrets and variables of an environment.

use baton::channel;
use baton::manifest::{Team, Watch};

use super::Finding;
use super::configuration::{self, SECRETS, Secrets};
use super::deployment::Deployment;

/// Whether every channel can be told, and every alert can be looked at. `secrets` is the text of `BATON_SECRETS`: nothing
/// where it is not known here.
pub fn check(deployment: &Deployment<'_>, team: &Team, secrets: Option<&str>) -> Vec<Finding> {
    let known = Secrets {
        keys: None,
        agents: secrets,
    };
    // What is wrong with the variables and with the secret is said already.
    let Ok(config) = configuration::read(deployment, known) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (id, channel) in &team.gateway.channels {
        let place = format!("gateway.json#/channels/{id}");
        if secrets.is_none() {
            let names: Vec<_> = std::iter::once(&channel.url).chain(&channel.key).collect();
            let names: Vec<_> = names.iter().map(|secret| format!("`{}`", secret.name)).collect();
            let problem = format!("whether {SECRETS} has {} was not looked at", names.join(" and "));
            findings.push(Finding::note(
                place,
                problem,
                "give --secrets-file, or look with `wrangler secret list`",
            ));
        } else if let Err(error) = channel::check(channel, &config.connections) {
            let remedy = format!(
                "correct {SECRETS}, or BATON_HTTP_ORIGINS; until then what the channel is told waits for a day, and is given up"
            );
            findings.push(Finding::error(place, error.to_string(), remedy));
        }
    }
    for (id, alert) in &team.gateway.alerts {
        if let Watch::LeaseLost {
            orchestrator: Some(orchestrator),
        } = &alert.watch
            && !config.orchestrators.iter().any(|known| known.id == *orchestrator)
        {
            findings.push(Finding::warning(
                format!("gateway.json#/alerts/{id}/orchestrator"),
                format!("there is no `{orchestrator}` in BATON_ORCHESTRATORS: the alert never fires"),
                "correct the name, or leave it out for any orchestrator",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Severity, assert_found, deployment};
    use super::*;

    fn team() -> Team {
        let gateway = json!({
            "id": "g", "version": "1.0.0", "title": "G", "description": "G.",
            "channels": {"ops": {"kind": "webhook", "url": {"$secret": "OPS_URL"}, "key": {"$secret": "OPS_KEY"}}},
            "alerts": {
                "lease": {"kind": "lease_lost", "orchestrator": "acme", "channels": ["ops"]},
                "other": {"kind": "lease_lost", "orchestrator": "others", "channels": ["ops"]},
            },
        });
        serde_json::from_value(json!({"gateway": gateway, "agents": []})).expect("a team")
    }

    #[track_caller]
    fn found(secrets: Option<&str>, expected: &[(Severity, &str)]) {
        let toml = r#"
            [env.staging.vars]
            BATON_ENVIRONMENT = "staging"
            BATON_ORIGINS = "https://gw.acme.dev"
            BATON_ORCHESTRATORS = '[{"id":"acme","url":"https://plans.acme.dev"}]'
            BATON_HTTP_ORIGINS = '{"hooks":"https://hooks.acme.dev"}'
        "#;
        let config = deployment::read(toml).expect("TOML");
        let staging = Deployment::of("wrangler.toml", &config, "staging").expect("there");
        assert_found(&check(&staging, &team(), secrets), expected);
    }

    const OTHERS: (Severity, &str) = (Severity::Warning, "there is no `others` in BATON_ORCHESTRATORS");

    #[test]
    fn channels_have_their_secrets_and_origins() {
        use Severity::{Error, Note};
        let with = |url: &str| {
            let key = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
            json!({"OPS_URL": url, "OPS_KEY": key}).to_string()
        };
        found(None, &[(Note, "has `OPS_URL` and `OPS_KEY` was not looked at"), OTHERS]);
        found(
            Some("{}"),
            &[(Error, "the secret `OPS_URL` is not in BATON_SECRETS"), OTHERS],
        );
        // The check of connections tells it.
        found(Some("no"), &[]);
        found(Some(&with("https://hooks.acme.dev/x")), &[OTHERS]);
        found(
            Some(&with("https://elsewhere.acme.dev/x")),
            &[(Error, "is not one of BATON_HTTP_ORIGINS"), OTHERS],
        );
    }
}
