//! `baton doctor`, on configurations; in `running`, against gateways of prepared answers.

#[path = "../common/mod.rs"]
mod common;
mod running;

use std::path::{Path, PathBuf};

use common::{Run, baton, baton_in, file, folder};
use serde_json::{Value, json};

const CONFIGURATION: &str = r#"
name = "desk"
[triggers]
crons = ["*/5 * * * *"]
[observability]
enabled = true
[[migrations]]
tag = "v1"
new_sqlite_classes = ["RunObject", "LinkObject", "ClientObject", "OverridesObject", "ConversationObject"]
[env.staging]
routes = [{ pattern = "agents.acme.dev", custom_domain = true }]
[env.staging.vars]
BATON_ENVIRONMENT = "staging"
BATON_ORIGINS = "https://agents.acme.dev"
BATON_ORCHESTRATORS = '[{"id":"acme","url":"https://plans.acme.dev"}]'
BATON_MODELS = '{"openai":{}}'
[[env.staging.durable_objects.bindings]]
name = "RUNS"
class_name = "RunObject"
[[env.staging.durable_objects.bindings]]
name = "LINKS"
class_name = "LinkObject"
[[env.staging.durable_objects.bindings]]
name = "CLIENTS"
class_name = "ClientObject"
[[env.staging.durable_objects.bindings]]
name = "OVERRIDES_WRITER"
class_name = "OverridesObject"

[[env.staging.durable_objects.bindings]]
name = "CONVERSATIONS"
class_name = "ConversationObject"
[[env.staging.d1_databases]]
binding = "HISTORY"
database_name = "history"
database_id = "4c1f9a52-0000-4000-8000-5bb1d3a1c0de"
[[env.staging.kv_namespaces]]
binding = "OVERRIDES"
id = "6f1e9a5240008000"
[[env.staging.kv_namespaces]]
binding = "CACHE"
id = "7a2e9a5240008000"
"#;

/// The repository, whose manifests and configuration are looked at as well.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository")
}

/// A folder with this configuration.
fn deployment(name: &str, configuration: &str) -> PathBuf {
    let folder = folder(name);
    file(&folder, "wrangler.toml", configuration);
    folder
}

fn doctor(folder: &Path, more: &[&str]) -> Run {
    let manifests = repository().join("manifests");
    let manifests = manifests.to_str().expect("a path");
    baton_in(folder, &[&["doctor", "--manifests", manifests], more].concat(), "")
}

fn new_key(purpose: &str, more: &[&str]) -> Value {
    let run = baton(
        &[
            &["keys", "new", "--orchestrator", "acme", "--purpose", purpose, "--json"],
            more,
        ]
        .concat(),
    );
    serde_json::from_str(&run.stdout).expect("a record")
}

fn findings(run: &Run) -> Vec<Value> {
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    report["findings"].as_array().expect("a list").clone()
}

#[test]
fn nothing_is_missing() {
    let folder = deployment("doctor-good", CONFIGURATION);
    doctor(&folder, &[]).expect(0, &["staging: variables", "0 errors, 0 warnings"]);
    let run = doctor(&folder, &["--env", "staging", "--json"]).expect(0, &[]);
    assert_eq!(findings(&run), Vec::<Value>::new());
}

#[test]
fn what_is_missing_is_told_by_weight() {
    let worse = CONFIGURATION
        .replace(
            "4c1f9a52-0000-4000-8000-5bb1d3a1c0de",
            "00000000-0000-0000-0000-000000000000",
        )
        .replace("crons = [\"*/5 * * * *\"]", "crons = []")
        .replace("BATON_ORIGINS = \"https", "BATON_ORIGINS = \"http");
    let folder = deployment("doctor-bad", &worse);
    let run = doctor(&folder, &["--env", "staging"]).expect(
        1,
        &["is not https", "`wrangler d1 create history`", "2 errors, 1 warning"],
    );
    let order = [
        "env.staging.vars.BATON_ORIGINS",
        "d1_databases HISTORY database_id",
        "triggers.crons",
    ];
    let places: Vec<_> = order.iter().map(|place| run.stdout.find(place)).collect();
    assert!(
        places.is_sorted() && places.iter().all(Option::is_some),
        "{}",
        run.stdout
    );
    let run = doctor(&folder, &["--json"]).expect(1, &[]);
    let first = &findings(&run)[0];
    assert_eq!(first["severity"], "error");
    for key in ["where", "what", "do"] {
        assert!(first[key].as_str().is_some_and(|text| !text.is_empty()), "{first}");
    }
}

#[test]
fn manifests_are_checked_as_well() {
    let folder = deployment("doctor-manifests", CONFIGURATION);
    file(&folder, "gateway.json", "{}");
    let run = baton_in(&folder, &["doctor", "--manifests", "."], "");
    run.expect(1, &["gateway.json#", "the build refuses it"]);
}

/// What stands in this repository is a template: a person fills in addresses and ids. Agents without a model have a
/// fallback.
#[test]
fn the_repositorys_environments_lack_placeholders_alone() {
    let run = baton_in(repository(), &["doctor", "--json"], "").expect(1, &[]);
    let findings = findings(&run);
    for finding in &findings {
        let is_placeholder = finding["what"]
            .as_str()
            .is_some_and(|what| what.contains("placeholder"));
        let is_model = finding["what"] == "the provider `openai` is not in BATON_MODELS";
        let expected = if is_model { "warning" } else { "error" };
        assert!(
            (is_placeholder || is_model) && finding["severity"] == expected,
            "{finding:#}"
        );
    }
    for name in ["development", "staging", "production"] {
        let place = format!("wrangler.toml env.{name}.");
        let own = findings
            .iter()
            .filter(|finding| finding["where"].as_str().is_some_and(|at| at.starts_with(&place)));
        assert!(own.count() >= 2, "{name}: {findings:#?}");
    }
}

#[test]
fn keys_are_held_against_the_environment() {
    let folder = deployment("doctor-keys", CONFIGURATION);
    let check = |keys: &[Value], code: i32, said: &[&str]| {
        let secrets = format!("# keys\nBATON_KEYS='{}'\n", json!(keys));
        file(&folder, "staging.vars", &secrets);
        let run = doctor(&folder, &["--env", "staging", "--secrets-file", "staging.vars"]).expect(code, said);
        for key in keys {
            let secret = key["secret"].as_str().expect("text");
            assert!(
                !run.stdout.contains(secret) && !run.stderr.contains(secret),
                "a secret is shown"
            );
        }
    };
    let all: Vec<_> = ["invoke", "register", "callback", "operate"]
        .map(|purpose| new_key(purpose, &["--valid-for", "90d"]))
        .into();
    check(&all, 0, &["staging: keys", "0 errors, 0 warnings"]);
    check(&all[1..], 1, &["`acme` has no key of the purpose `invoke`"]);
    check(&[], 1, &["every signed call is refused"]);
    let soon = new_key("invoke", &["--valid-for", "3d"]);
    check(
        &[&[soon], &all[1..]].concat(),
        0,
        &["put the next one beside it", "0 errors, 1 warning"],
    );
    // The keys of `cargo xtask dev` in the same checkout.
    file(&folder, ".dev.vars", format!("BATON_KEYS='{}'\n", json!([all[0]])));
    check(&all, 1, &["it is a key of a developer's machine"]);
}

#[test]
fn the_secrets_of_models_are_looked_for() {
    let configuration = CONFIGURATION.replace(r#"{"openai":{}}"#, r#"{"openai":{"key":"OPENAI_KEY"}}"#);
    let folder = deployment("doctor-secrets", &configuration);
    doctor(&folder, &["--env", "staging"]).expect(0, &["whether it has `OPENAI_KEY` was not looked at", "0 errors"]);
    let keys: Vec<_> = ["invoke", "register", "callback", "operate"]
        .map(|purpose| new_key(purpose, &[]))
        .into();
    let keys = json!(keys);
    let check = |file_text: String, code: i32, said: &[&str]| {
        file(&folder, "staging.vars", file_text);
        let run = doctor(&folder, &["--env", "staging", "--secrets-file", "staging.vars"]).expect(code, said);
        assert!(!run.stdout.contains("sk-1"), "a secret is shown");
    };
    // The array of keys says nothing of other secrets; a file of secrets without them does.
    check(
        keys.to_string(),
        0,
        &["`OPENAI_KEY` was not looked at", "0 errors, 0 warnings"],
    );
    check(
        format!("BATON_KEYS='{keys}'\n"),
        1,
        &["`openai` has the key `OPENAI_KEY`, which is not in BATON_SECRETS"],
    );
    let secrets = r#"BATON_SECRETS='{"OPENAI_KEY":"sk-1"}'"#;
    check(
        format!("BATON_KEYS='{keys}'\n{secrets}\n"),
        0,
        &["0 errors, 0 warnings"],
    );
}

#[test]
fn wrong_arguments_are_explained() {
    let folder = deployment("doctor-arguments", CONFIGURATION);
    doctor(&folder, &["--env", "stagin"]).expect(2, &["no environment `stagin`, only: staging"]);
    doctor(&folder, &["--config", "nowhere.toml"]).expect(2, &["nowhere.toml", "no such file"]);
    doctor(&folder, &["--secrets-file", "a"]).expect(2, &["--env"]);
    doctor(&folder, &["--key", "a"]).expect(2, &["URL"]);
    doctor(&folder, &["agents.acme.dev"]).expect(2, &["no gateway's address"]);
    file(&folder, "wrangler.toml", "[env");
    doctor(&folder, &[]).expect(2, &["wrangler.toml is no TOML"]);
}
