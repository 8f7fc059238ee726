//! What the agents of the manifests reach outside, held against what an environment configures: providers of models, origins,
//! bound Workers, other gateways, secrets.

use std::collections::BTreeSet;

use baton::config::Config;
use baton::manifest::{AgentManifest, Exchange, HeaderValue, Implementation, ModelConfig, ServiceConfig, Team};

use super::Finding;
use super::configuration::{self, SECRETS, Secrets};
use super::deployment::Deployment;

const SERVICES: &str = "services";
const AI: &str = "ai";

/// Whether every agent reaches what it names. `secrets` is the text of `BATON_SECRETS`: nothing where it is not known here.
pub fn check(deployment: &Deployment<'_>, team: Option<&Team>, secrets: Option<&str>) -> Vec<Finding> {
    let read = |agents| configuration::read(deployment, Secrets { keys: None, agents });
    // What is wrong with the variables is said already; the secret is read here alone.
    let Ok(without_secrets) = read(None) else {
        return Vec::new();
    };
    let config = match secrets.map(|text| read(Some(text))) {
        None => without_secrets,
        Some(Ok(config)) => config,
        Some(Err(error)) => {
            let remedy = "correct it: until then the Worker refuses every request with gateway-misconfigured";
            return vec![Finding::error(SECRETS, error.to_string(), remedy)];
        }
    };
    let mut looked = Looked {
        deployment,
        config: &config,
        knows_secrets: secrets.is_some(),
        unseen: BTreeSet::new(),
        findings: Vec::new(),
    };
    for agent in team.into_iter().flat_map(|team| &team.agents) {
        looked.agent(agent);
    }
    let Looked {
        mut findings,
        mut unseen,
        ..
    } = looked;
    if secrets.is_none() {
        unseen.extend(configuration::model_keys(deployment));
    }
    if !unseen.is_empty() {
        let names: Vec<_> = unseen.iter().map(|name| format!("`{name}`")).collect();
        findings.push(Finding::note(
            format!("{SECRETS} of env.{}", deployment.name),
            format!("whether it has {} was not looked at", names.join(", ")),
            "give --secrets-file with a line for it",
        ));
    }
    findings
}

/// What an environment has, and what was found so far.
struct Looked<'a> {
    deployment: &'a Deployment<'a>,
    config: &'a Config,
    knows_secrets: bool,
    /// Secrets that agents name and nobody could look for.
    unseen: BTreeSet<String>,
    findings: Vec<Finding>,
}

impl Looked<'_> {
    fn agent(&mut self, agent: &AgentManifest) {
        match &agent.implementation {
            Implementation::Http { http } => {
                if let Err(reason) = self.config.connections.origin(&http.origin) {
                    self.lacks(agent, "/http/origin", reason, "BATON_HTTP_ORIGINS");
                }
                self.exchange(agent, "/http", &http.exchange);
            }
            Implementation::Service { service } => match service.as_ref() {
                ServiceConfig::Gateway(remote) => {
                    if self.config.connections.gateway(&remote.gateway).is_none() {
                        let reason = format!("the gateway `{}` is not in BATON_GATEWAYS", remote.gateway);
                        self.lacks(agent, "/service/gateway", reason, "BATON_GATEWAYS");
                    }
                }
                ServiceConfig::Worker(worker) => {
                    self.binding(agent, &worker.binding);
                    self.exchange(agent, "/service", &worker.exchange);
                }
            },
            Implementation::Model { model } => self.model(agent, model),
            Implementation::Rules { .. } | Implementation::Rust { .. } | Implementation::Workflow { .. } => {}
        }
    }

    fn lacks(&mut self, agent: &AgentManifest, pointer: &str, problem: String, variable: &str) {
        let remedy = format!(
            "add it to {variable} of env.{}, or correct the name: until then the agent fails with call-not-allowed",
            self.deployment.name
        );
        self.findings
            .push(Finding::error(place(agent, pointer), problem, remedy));
    }

    fn binding(&mut self, agent: &AgentManifest, name: &str) {
        let bindings = self.deployment.bindings();
        if bindings.iter().any(|own| own.kind == SERVICES && own.name == name) {
            return;
        }
        let env = self.deployment.name;
        self.findings.push(Finding::error(
            place(agent, "/service/binding"),
            format!("env.{env} has no service binding `{name}`"),
            format!("add [[env.{env}.{SERVICES}]] with binding = \"{name}\" and service = \"…\", the Worker's name"),
        ));
    }

    /// Workers AI, as a provider of `BATON_MODELS` names its binding.
    fn ai(&mut self, agent: &AgentManifest, name: &str) {
        let bindings = self.deployment.bindings();
        if bindings.iter().any(|own| own.kind == AI && own.name == name) {
            return;
        }
        let env = self.deployment.name;
        self.findings.push(Finding::error(
            place(agent, "/model"),
            format!("env.{env} does not bind Workers AI as `{name}`"),
            format!("add [env.{env}.{AI}] with binding = \"{name}\""),
        ));
    }

    fn exchange(&mut self, agent: &AgentManifest, under: &str, exchange: &Exchange) {
        for (field, value) in &exchange.headers {
            let HeaderValue::Secret(secret) = value else { continue };
            if !self.knows_secrets {
                self.unseen.insert(secret.name.clone());
            } else if self.config.connections.secret(&secret.name).is_none() {
                let reason = format!("the secret `{}` is not in {SECRETS}", secret.name);
                self.lacks(agent, &format!("{under}/headers/{field}"), reason, SECRETS);
            }
        }
    }

    /// A provider that is missing is one that others may stand in for.
    fn model(&mut self, agent: &AgentManifest, model: &ModelConfig) {
        let providers: BTreeSet<_> = model.models().map(|model| model.provider).collect();
        let (there, missing): (Vec<_>, Vec<_>) = providers
            .into_iter()
            .partition(|name| self.config.connections.provider(name).is_some());
        for name in &there {
            let provider = self.config.connections.provider(name);
            if let Some(binding) = provider.and_then(|provider| provider.binding.as_deref()) {
                self.ai(agent, binding);
            }
        }
        for name in missing {
            let place = place(agent, "/model");
            let problem = format!("the provider `{name}` is not in BATON_MODELS");
            let add = format!("add it to BATON_MODELS of env.{}", self.deployment.name);
            self.findings.push(if !there.is_empty() {
                let others = there.join(", ");
                Finding::warning(place, problem, format!("{add}: until then {others} alone is asked"))
            } else if agent.fallback.is_empty() {
                let remedy = format!("{add}: until then the agent fails with model-not-configured");
                Finding::error(place, problem, remedy)
            } else {
                let remedy = format!(
                    "{add}: until then customers get the agent's fallback, and steps fail with model-not-configured"
                );
                Finding::warning(place, problem, remedy)
            });
        }
    }
}

fn place(agent: &AgentManifest, pointer: &str) -> String {
    format!("{}.json#{pointer}", agent.id)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Severity::{self, Error, Note, Warning};
    use super::super::{assert_found, deployment};
    use super::*;

    const GOOD: &str = r#"
BATON_ORIGINS = "https://gw.acme.dev"
BATON_HTTP_ORIGINS = '{"crm":"https://crm.acme.dev"}'
BATON_GATEWAYS = '{"east":"https://east.acme.dev"}'
BATON_MODELS = '{"openai":{"key":"OPENAI_KEY"}}'
[[env.staging.services]]
binding = "CRM"
service = "crm"
"#;
    const SECRET_TEXT: &str = r#"{"OPENAI_KEY":"k","CRM_TOKEN":"t"}"#;

    fn agent(kind: &str, configuration: Value, more: Value) -> AgentManifest {
        let mut agent = json!({
            "id": "one", "version": "1.0.0", "title": "One", "description": "One.",
            "input": true, "output": true, "kind": kind,
        });
        agent[kind] = configuration;
        for (name, value) in more.as_object().into_iter().flatten() {
            agent[name] = value.clone();
        }
        serde_json::from_value(agent).expect("an agent")
    }

    fn http(origin: &str, secret: &str) -> AgentManifest {
        let headers = json!({"accept": "application/json", "authorization": {"$secret": secret}});
        let http = json!({"origin": origin, "method": "GET", "path": "/", "headers": headers});
        agent("http", http, json!({}))
    }

    fn bound(binding: &str, secret: &str) -> AgentManifest {
        let headers = json!({"authorization": {"$secret": secret}});
        let service = json!({"binding": binding, "method": "GET", "path": "/", "headers": headers});
        agent("service", service, json!({}))
    }

    fn remote(gateway: &str) -> AgentManifest {
        agent("service", json!({"gateway": gateway, "agent": "echo"}), json!({}))
    }

    fn model(provider: &str, others: &[&str], more: Value) -> AgentManifest {
        let named = |provider: &&str| json!({"provider": provider, "model": "m"});
        let others: Vec<_> = others.iter().map(named).collect();
        let model = json!({"provider": provider, "model": "m", "messages": [], "fallback_models": others});
        agent("model", model, more)
    }

    #[track_caller]
    fn found_in(variables: &str, agent: AgentManifest, secrets: Option<&str>, expected: &[(Severity, &str)]) {
        let config = deployment::read(&format!("[env.staging.vars]\n{variables}")).expect("TOML");
        let staging = Deployment::of("wrangler.toml", &config, "staging").expect("there");
        let mut team = Team::embedded().clone();
        team.agents = vec![agent];
        assert_found(&check(&staging, Some(&team), secrets), expected);
    }

    #[track_caller]
    fn found(agent: AgentManifest, expected: &[(Severity, &str)]) {
        found_in(GOOD, agent, Some(SECRET_TEXT), expected);
    }

    #[test]
    fn what_agents_name_is_configured() {
        found(http("crm", "CRM_TOKEN"), &[]);
        found(http("https://crm.acme.dev", "CRM_TOKEN"), &[]);
        found(
            http("erp", "CRM_TOKEN"),
            &[(
                Error,
                "one.json#/http/origin: the origin `erp` is not in BATON_HTTP_ORIGINS",
            )],
        );
        found(
            http("crm", "OTHER"),
            &[(
                Error,
                "one.json#/http/headers/authorization: the secret `OTHER` is not in BATON_SECRETS",
            )],
        );
        found(bound("CRM", "CRM_TOKEN"), &[]);
        found(
            bound("ERP", "OTHER"),
            &[
                (
                    Error,
                    "one.json#/service/binding: env.staging has no service binding `ERP`",
                ),
                (Error, "one.json#/service/headers/authorization: the secret `OTHER`"),
            ],
        );
        found(remote("east"), &[]);
        found(
            remote("west"),
            &[(
                Error,
                "one.json#/service/gateway: the gateway `west` is not in BATON_GATEWAYS",
            )],
        );
    }

    #[test]
    fn a_provider_that_is_missing_weighs_by_what_stands_in() {
        let answer = || json!({"fallback": {"answer": 1}});
        found(model("openai", &[], json!({})), &[]);
        found(
            model("mistral", &[], json!({})),
            &[(Error, "one.json#/model: the provider `mistral` is not in BATON_MODELS")],
        );
        found(
            model("mistral", &[], answer()),
            &[(Warning, "customers get the agent's fallback")],
        );
        found(
            model("mistral", &["openai"], json!({})),
            &[(Warning, "until then openai alone is asked")],
        );
        found(
            model("mistral", &["groq", "mistral"], json!({})),
            &[(Error, "`groq`"), (Error, "`mistral`")],
        );
    }

    #[test]
    fn secrets_that_are_not_known_are_named_once() {
        found_in(
            GOOD,
            http("crm", "CRM_TOKEN"),
            None,
            &[(
                Note,
                "BATON_SECRETS of env.staging: whether it has `CRM_TOKEN`, `OPENAI_KEY` was not looked at",
            )],
        );
        let no_models = GOOD.replace("BATON_MODELS", "BATON_MODEL");
        found_in(&no_models, remote("east"), None, &[]);
    }

    #[test]
    fn the_secret_itself_is_read() {
        let of = |secrets| move |expected: &[_]| found_in(GOOD, remote("east"), Some(secrets), expected);
        of("no")(&[(Error, "BATON_SECRETS: expected a JSON object")]);
        of("{}")(&[(
            Error,
            "`openai` has the key `OPENAI_KEY`, which is not in BATON_SECRETS",
        )]);
        of(SECRET_TEXT)(&[]);
        // A variable that is wrong is told of by the check of variables.
        found_in(&GOOD.replace("https://gw", "gw"), remote("west"), Some("no"), &[]);
    }

    #[test]
    fn workers_ai_wants_its_binding() {
        let model = json!({
            "provider": "workers-ai", "model": "@cf/meta/llama-3.1-8b-instruct", "instructions": "i",
            "messages": [{"role": "user", "content": "x"}],
        });
        let mut team = Team::embedded().clone();
        team.agents = vec![agent("model", model, json!({}))];
        let models = "BATON_ORIGINS = \"https://gw.acme.dev\"\nBATON_MODELS = '{\"workers-ai\":{}}'\n";
        let check = |binding: &str, expected: &[(Severity, &str)]| {
            let toml = format!("[env.staging.vars]\n{models}{binding}");
            let config = deployment::read(&toml).expect("TOML");
            let staging = Deployment::of("wrangler.toml", &config, "staging").expect("there");
            assert_found(&super::check(&staging, Some(&team), Some("{}")), expected);
        };
        check("[env.staging.ai]\nbinding = \"AI\"", &[]);
        check(
            "[env.staging.ai]\nbinding = \"OTHER\"",
            &[(Error, "env.staging does not bind Workers AI as `AI`")],
        );
    }
}
