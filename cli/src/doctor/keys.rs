//! Whether the keys are those that the environment needs, and for how long.

use baton::config::Config;
use baton::manifest::Team;
use baton::signature::keys::{Scheme, Validity};
use baton::signature::{KeyRecord, Keyring, Purpose};

use super::{Finding, Severity};
use crate::config::purpose_name;
use crate::environment::rfc3339;

/// The end of the last key of its kind is told this long before, in seconds: two weeks.
pub const ENDS_SOON_S: u64 = 14 * 24 * 60 * 60;
/// `cargo xtask dev` begins the ids of its keys so.
const DEVELOPMENT_PREFIX: &str = "dev-";

/// What the keys are held against.
pub struct Expected<'a> {
    /// The environment's configuration, as the Worker reads it, with the keys.
    pub config: &'a Config,
    /// The agents that there are, where the manifests could be read.
    pub team: Option<&'a Team>,
    /// The keys of the developer's machine.
    pub development: &'a Keyring,
    /// Unix seconds.
    pub now_s: u64,
}

/// The records: for each orchestrator one of each purpose, valid for a while, and none from a developer's machine.
pub fn check(place: &str, expected: &Expected<'_>) -> Vec<Finding> {
    let Expected { config, now_s, .. } = *expected;
    let mut findings = Vec::new();
    for orchestrator in &config.orchestrators {
        let id = Some(orchestrator.id.as_str());
        let mut need = |severity, purpose, without: &str| {
            findings.extend(check_need(
                place,
                &config.keyring,
                (id, purpose),
                now_s,
                (severity, without),
            ));
        };
        need(Severity::Error, Purpose::Invoke, "its calls are refused");
        need(
            Severity::Error,
            Purpose::Register,
            "the gateway cannot register with it",
        );
        if !orchestrator.callback_origins.is_empty() {
            need(
                Severity::Warning,
                Purpose::Callback,
                "its steps with a callback are refused",
            );
        }
    }
    for gateway in config.connections.gateways() {
        let without = (Severity::Error, "agents that call it fail with call-not-allowed");
        findings.extend(check_need(
            place,
            &config.keyring,
            (Some(gateway), Purpose::Call),
            now_s,
            without,
        ));
    }
    let without = (Severity::Warning, "nobody can look at dead letters or make API keys");
    findings.extend(check_need(
        place,
        &config.keyring,
        (None, Purpose::Operate),
        now_s,
        without,
    ));
    for record in config.keyring.iter() {
        findings.extend(check_record(place, record, expected));
    }
    findings
}

/// That there is a key of this purpose, of one orchestrator or of any, and that it does not end soon.
fn check_need(
    place: &str,
    keyring: &Keyring,
    (orchestrator, purpose): (Option<&str>, Purpose),
    now_s: u64,
    (severity, without): (Severity, &str),
) -> Option<Finding> {
    let keys: Vec<_> = keyring
        .iter()
        .filter(|key| key.scheme == Scheme::Baton && key.allows(purpose))
        .filter(|key| orchestrator.is_none_or(|id| key.orchestrator == id))
        .collect();
    let name = purpose_name(purpose);
    let whose = orchestrator.map_or_else(String::new, |id| format!("`{id}` has "));
    let finding = |severity, problem: String, remedy: &str| {
        let owner = orchestrator.map_or_else(String::new, |id| format!(" --orchestrator {id}"));
        let remedy = format!("{remedy}`baton keys new --purpose {name}{owner} --valid-for 90d`");
        Some(Finding {
            severity,
            ..Finding::error(place, problem, remedy)
        })
    };
    if keys.is_empty() {
        return finding(
            severity,
            format!("{whose}no key of the purpose `{name}`: {without}"),
            "",
        );
    }
    if !keys.iter().any(|key| key.validity(now_s) == Validity::Valid) {
        let begins_s = keys
            .iter()
            .filter_map(|key| key.not_before)
            .filter(|begin| *begin > now_s)
            .min();
        let when = match begins_s {
            Some(begins_s) => format!("the next begins {}", rfc3339(begins_s)),
            None => "all have ended".to_owned(),
        };
        let problem = format!("{whose}no key of the purpose `{name}` that is valid now, {when}: {without}");
        return finding(severity, problem, "");
    }
    // One without an end leaves nothing to tell.
    let ends_s = keys
        .iter()
        .map(|key| key.not_after)
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .max()?;
    if ends_s.saturating_sub(now_s) >= ENDS_SOON_S {
        return None;
    }
    let problem = format!(
        "{whose}no key of the purpose `{name}` from {} on: then {without}",
        rfc3339(ends_s)
    );
    finding(Severity::Warning, problem, "put the next one beside it: ")
}

fn check_record(place: &str, record: &KeyRecord, expected: &Expected<'_>) -> Vec<Finding> {
    let config = expected.config;
    let place = format!("{place} {}", record.id);
    let mut findings = Vec::new();
    let from_development = record.id.starts_with(DEVELOPMENT_PREFIX)
        || expected.development.iter().any(|known| known.secret == record.secret);
    if from_development && !config.environment.is_development() {
        findings.push(Finding::error(
            &place,
            "it is a key of a developer's machine: whoever has that checkout can sign",
            "make a new one with `baton keys new`, and remove this one",
        ));
    }
    if record.validity(expected.now_s) == Validity::Expired {
        findings.push(Finding::warning(
            &place,
            format!("it ended {}", rfc3339(record.not_after.unwrap_or_default())),
            "remove it",
        ));
    }
    let is_known = config.orchestrators.iter().any(|known| known.id == record.orchestrator);
    let for_a_link = record.allows(Purpose::Register) || record.allows(Purpose::Callback);
    if for_a_link && !is_known {
        findings.push(Finding::warning(
            &place,
            format!(
                "`{}` is not in BATON_ORCHESTRATORS: the key is never used",
                record.orchestrator
            ),
            "correct one of the two, or remove the key",
        ));
    }
    if record.allows(Purpose::Call) && config.connections.gateway(&record.orchestrator).is_none() {
        findings.push(Finding::warning(
            &place,
            format!(
                "`{}` is not in BATON_GATEWAYS: the key is never used",
                record.orchestrator
            ),
            "correct one of the two, or remove the key",
        ));
    }
    if let Some(team) = expected.team {
        let unknown = record.agents.iter().filter(|id| *id != "*" && team.agent(id).is_none());
        findings.extend(unknown.map(|id| {
            let problem = format!("it may invoke `{id}`, and there is no such agent");
            Finding::warning(&place, problem, "correct `agents` of the record")
        }));
    }
    findings
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use super::super::assert_found;
    use super::*;
    use Severity::{Error, Warning};

    const NOW_S: u64 = 1_764_000_000;

    fn record(byte: u8, purpose: &str, more: Value) -> Value {
        let mut record = json!({
            "id": format!("acme-{purpose}"), "orchestrator": "acme", "purposes": [purpose],
            "secret": STANDARD.encode([byte; 32]),
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            record[name] = value.clone();
        }
        record
    }

    /// Four good keys, of which the first is changed.
    fn keys(more: Value) -> Vec<Value> {
        vec![
            record(1, "invoke", more),
            record(2, "register", json!({})),
            record(3, "callback", json!({})),
            record(4, "operate", json!({})),
        ]
    }

    #[track_caller]
    fn found_in(environment: &str, orchestrators: &str, keys: &[Value], expected: &[(Severity, &str)]) {
        let keys = json!(keys).to_string();
        let config = Config::read(|name| {
            let value = match name {
                "BATON_KEYS" => &keys,
                "BATON_ORIGINS" => "https://agents.acme.dev",
                "BATON_ENVIRONMENT" => environment,
                "BATON_ORCHESTRATORS" => orchestrators,
                _ => return None,
            };
            Some(value.to_owned())
        });
        let development = json!([record(9, "invoke", json!({}))]).to_string();
        let expected_of = Expected {
            config: &config.expect("a configuration"),
            team: Some(baton::manifest::Team::embedded()),
            development: &Keyring::parse(&development).expect("keys"),
            now_s: NOW_S,
        };
        assert_found(&check("BATON_KEYS", &expected_of), expected);
    }

    const ACME: &str = r#"[{"id":"acme","url":"https://plans.acme.dev"}]"#;

    #[track_caller]
    fn found(more: Value, expected: &[(Severity, &str)]) {
        found_in("staging", ACME, &keys(more), expected);
    }

    #[test]
    fn one_of_each_purpose() {
        found(json!({}), &[]);
        let all = keys(json!({}));
        found_in(
            "staging",
            ACME,
            &all[1..],
            &[(
                Error,
                "`acme` has no key of the purpose `invoke`: its calls are refused: `baton keys new --purpose invoke --orchestrator acme",
            )],
        );
        found_in(
            "staging",
            ACME,
            &[&all[..1], &all[2..]].concat(),
            &[(Error, "cannot register")],
        );
        found_in(
            "staging",
            ACME,
            &[&all[..2], &all[3..]].concat(),
            &[(Warning, "with a callback are refused")],
        );
        let none = r#"[{"id":"acme","url":"https://plans.acme.dev","callback_origins":[]}]"#;
        found_in("staging", none, &[&all[..2], &all[3..]].concat(), &[]);
        found_in(
            "staging",
            ACME,
            &all[..3],
            &[(Warning, "nobody can look at dead letters")],
        );
        found(
            json!({"scheme": "standard-webhooks"}),
            &[(Error, "no key of the purpose `invoke`")],
        );
    }

    #[test]
    fn their_time() {
        found(json!({"not_after": NOW_S + ENDS_SOON_S}), &[]);
        found(
            json!({"not_after": NOW_S + ENDS_SOON_S - 1}),
            &[(
                Warning,
                "no key of the purpose `invoke` from 2025-12-08T15:59:59Z on: then its calls are refused",
            )],
        );
        found(
            json!({"not_after": NOW_S}),
            &[
                (Error, "that is valid now, all have ended"),
                (Warning, "acme-invoke: it ended 2025-11-24T16:00:00Z"),
            ],
        );
        found(
            json!({"not_before": NOW_S + 1}),
            &[(Error, "the next begins 2025-11-24T16:00:01Z")],
        );
        // The next one stands ready.
        let mut rotated = keys(json!({"not_after": NOW_S + 10}));
        rotated.push(record(5, "invoke", json!({"id": "next", "not_before": NOW_S + 5})));
        found_in("staging", ACME, &rotated, &[]);
    }

    #[test]
    fn other_gateways_are_called_with_keys_of_their_own() {
        let found = |keys: &[Value], expected: &[(Severity, &str)]| {
            let json = json!(keys).to_string();
            let config = Config::read(|name| match name {
                "BATON_KEYS" => Some(json.clone()),
                "BATON_ORIGINS" => Some("https://agents.acme.dev".to_owned()),
                "BATON_GATEWAYS" => Some(r#"{"east": "https://agents.east.dev"}"#.to_owned()),
                _ => None,
            });
            let expected_of = Expected {
                config: &config.expect("a configuration"),
                team: None,
                development: &Keyring::default(),
                now_s: NOW_S,
            };
            assert_found(&check("BATON_KEYS", &expected_of), expected);
        };
        let operate = record(4, "operate", json!({}));
        let call = |gateway: &str| record(5, "call", json!({"id": "c", "orchestrator": gateway}));
        found(&[operate.clone(), call("east")], &[]);
        found(
            &[operate.clone(), call("west")],
            &[
                (
                    Error,
                    "`east` has no key of the purpose `call`: agents that call it fail with call-not-allowed: `baton keys new --purpose call --orchestrator east",
                ),
                (Warning, "c: `west` is not in BATON_GATEWAYS"),
            ],
        );
    }

    #[test]
    fn whose_they_are() {
        found(
            json!({"id": "dev-invoke-1"}),
            &[(Error, "dev-invoke-1: it is a key of a developer's machine")],
        );
        let copied = json!({"secret": STANDARD.encode([9; 32])});
        found(copied.clone(), &[(Error, "it is a key of a developer's machine")]);
        found_in("development", ACME, &keys(copied), &[]);
        found(
            json!({"agents": ["triage", "triag"]}),
            &[(Warning, "`triag`, and there is no such agent")],
        );
        let mut all = keys(json!({}));
        all.push(record(6, "register", json!({"id": "k", "orchestrator": "acne"})));
        found_in(
            "staging",
            ACME,
            &all,
            &[(Warning, "k: `acne` is not in BATON_ORCHESTRATORS")],
        );
    }
}
