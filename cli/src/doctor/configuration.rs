//! An environment's configuration, read by the Worker's own code: as a whole, or one variable without the others.

use std::cell::RefCell;
use std::collections::BTreeSet;

use baton::config::{Config, ConfigError};
use serde_json::{Map, Value};

use super::deployment::Deployment;
use super::variables::{ENVIRONMENT, KEYS, ORIGINS};

/// The secret with what agents and channels send: keys, tokens, addresses.
pub const SECRETS: &str = "BATON_SECRETS";
const MODELS: &str = "BATON_MODELS";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Stands in where another variable than the origins is looked at.
const ANY_ORIGIN: &str = "https://gateway.invalid";
/// Stands in for a secret that is not known here.
const ANY_SECRET: &str = "unknown";

/// Variables that the Worker takes or refuses by another one.
const READ_WITH: [(&str, &str); 4] = [
    ("OTEL_METRICS_EXPORTER", ENDPOINT),
    ("OTEL_LOGS_EXPORTER", ENDPOINT),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", ENDPOINT),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", ENDPOINT),
];

/// The texts of the secrets, as far as they are known here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Secrets<'a> {
    /// `BATON_KEYS`
    pub keys: Option<&'a str>,
    /// `BATON_SECRETS`. Where it is not known, something stands in for each secret that `BATON_MODELS` names.
    pub agents: Option<&'a str>,
}

/// The configuration as the Worker reads it, with these secrets.
///
/// # Errors
/// Why the Worker would refuse it.
pub fn read(deployment: &Deployment<'_>, secrets: Secrets<'_>) -> Result<Config, ConfigError> {
    Config::read(|name| match name {
        KEYS => secrets.keys.map(str::to_owned),
        SECRETS => Some(secrets.agents.map_or_else(|| stand_ins(deployment), str::to_owned)),
        name => deployment.variable(name).map(str::to_owned),
    })
}

/// The names that the Worker asks for.
pub fn asked_for() -> BTreeSet<String> {
    let asked = RefCell::new(BTreeSet::new());
    // Nothing that is missing is refused, beside the origins; so it asks for all.
    let read = Config::read(|name| {
        asked.borrow_mut().insert(name.to_owned());
        (name == ORIGINS).then(|| ANY_ORIGIN.to_owned())
    });
    drop(read);
    asked.into_inner()
}

/// Why the Worker refuses this variable, read without those that it has nothing to do with.
pub fn refusal(deployment: &Deployment<'_>, name: &str) -> Option<String> {
    let with = READ_WITH.iter().find(|(own, _)| *own == name).map(|(_, with)| *with);
    let read = Config::read(|asked| match asked {
        asked if asked == name || asked == ENVIRONMENT || Some(asked) == with => {
            deployment.variable(asked).map(str::to_owned)
        }
        ORIGINS => Some(ANY_ORIGIN.to_owned()),
        SECRETS => Some(stand_ins(deployment)),
        _ => None,
    });
    let refusal = read.err()?.to_string();
    // What is wrong with the other one is told of that.
    let is_its_own = with.is_none_or(|with| self::refusal(deployment, with).as_ref() != Some(&refusal));
    is_its_own.then_some(refusal)
}

/// The secrets with keys of providers, by their names in `BATON_SECRETS`.
pub fn model_keys(deployment: &Deployment<'_>) -> BTreeSet<String> {
    let text = deployment.variable(MODELS).unwrap_or_default();
    let providers: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    let key = |provider: &Value| Some(provider.get("key")?.as_str()?.to_owned());
    providers.values().filter_map(key).collect()
}

/// A text of `BATON_SECRETS` with every secret that another variable names.
fn stand_ins(deployment: &Deployment<'_>) -> String {
    let secrets = model_keys(deployment)
        .into_iter()
        .map(|name| (name, Value::from(ANY_SECRET)));
    Value::Object(secrets.collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::deployment;
    use super::*;

    #[track_caller]
    fn refused(variables: &str, name: &str, expected: Option<&str>) {
        let toml = format!("[env.staging.vars]\n{variables}");
        let config = deployment::read(&toml).expect("TOML");
        let staging = Deployment::of("wrangler.toml", &config, "staging").expect("there");
        let refusal = refusal(&staging, name);
        match expected {
            None => assert_eq!(refusal, None),
            Some(words) => assert!(refusal.as_ref().is_some_and(|text| text.contains(words)), "{refusal:?}"),
        }
    }

    #[test]
    fn what_belongs_together_is_read_together() {
        let endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT = 'https://otlp.acme.dev'\n";
        let in_the_clear = "OTEL_EXPORTER_OTLP_ENDPOINT = 'http://otlp.acme.dev'\n";
        for name in ["OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"] {
            let exporter = format!("{name} = 'otlp'\n");
            let alone = format!("{name}: `otlp` is sent to OTEL_EXPORTER_OTLP_ENDPOINT");
            refused(&exporter, name, Some(&alone));
            refused(&format!("{exporter}{endpoint}"), name, None);
            // Told of the endpoint, and not once more of each that goes there.
            refused(&format!("{exporter}{in_the_clear}"), name, None);
            refused(&format!("{exporter}{in_the_clear}"), ENDPOINT, Some("is in the clear"));
        }
        let protocol = format!("OTEL_EXPORTER_OTLP_PROTOCOL = 'grpc'\n{endpoint}");
        refused(&protocol, "OTEL_EXPORTER_OTLP_PROTOCOL", Some("speaks no gRPC"));
        let timeout = format!("OTEL_EXPORTER_OTLP_TIMEOUT = '0'\n{endpoint}");
        refused(&timeout, "OTEL_EXPORTER_OTLP_TIMEOUT", Some("no number"));
        refused(&timeout, ENDPOINT, None);
    }

    #[test]
    fn the_secrets_of_models_are_not_known_from_the_variables() {
        refused(r#"BATON_MODELS = '{"openai":{"key":"OPENAI_KEY"}}'"#, MODELS, None);
        refused(
            r#"BATON_MODELS = '{"local":{"key":"A"}}'"#,
            MODELS,
            Some("`local` needs `api`"),
        );
        refused("BATON_MODELS = '[]'", MODELS, Some("expected a JSON object"));
    }
}
