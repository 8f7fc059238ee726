//! What `wrangler deploy` would do in each environment of wrangler.toml, with a Worker that is built already; and what
//! `baton doctor` says of a gateway that runs.

use std::fs;
use std::process::Command;

use contract_tests::command_line::Run;
use contract_tests::environment::{Environment, repository};
use contract_tests::folder::Folder;
use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::message::Message;
use contract_tests::outside::wait_for;
use serde_json::{Map, Value, json};

/// The deployed configuration, all environments with it, with this build's entry file in the place of the release's.
fn configuration(environment: &Environment) -> Map<String, Value> {
    let toml = fs::read_to_string(repository().join("wrangler.toml")).expect("wrangler.toml");
    let mut configuration: Map<String, Value> = toml::from_str(&toml).expect("TOML");
    let built = fs::read_to_string(&environment.config).expect("the configuration of the tests");
    let built: Value = serde_json::from_str(&built).expect("JSON");
    configuration["main"] = built["main"].clone();
    // It would build the release.
    configuration.remove("build");
    configuration
}

/// The queue as docs/telemetry.md has it, to be copied.
fn documented_queue() -> Value {
    let documented = fs::read_to_string(repository().join("docs/telemetry.md")).expect("docs/telemetry.md");
    let block = documented.split("```toml\n").find(|block| block.starts_with("[[env."));
    let block = block
        .and_then(|block| block.split("```").next())
        .expect("a block of TOML");
    toml::from_str(block).expect("TOML")
}

#[test]
fn every_environment_can_be_deployed() {
    let environment = Environment::get();
    let folder = Folder::new("deploy");
    let mut configuration = configuration(environment);
    // One with a queue, the others without: it is optional.
    configuration["env"]["production"]["queues"] = documented_queue()["env"]["production"]["queues"].clone();
    // And one with Workers AI.
    configuration["env"]["staging"]["ai"] = json!({"binding": "AI"});
    let file = folder.write("wrangler.json", Value::from(configuration.clone()).to_string());
    let environments = configuration["env"].as_object().expect("environments");
    let mut names: Vec<_> = environments.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["development", "production", "staging"]);
    for name in names {
        let mut wrangler = Command::new(&environment.node);
        wrangler
            .arg(&environment.wrangler)
            .args(["deploy", "--dry-run", "--env", name, "--config"])
            .arg(&file)
            .args(["--outdir", name])
            .env("WRANGLER_SEND_METRICS", "false")
            .env("CLOUDFLARE_CF_FETCH_ENABLED", "false");
        let run = Run::of(&mut wrangler, folder.path()).expect(0);
        let said = format!("{}{}", run.stdout, run.stderr);
        // wrangler goes on after what it does not know, or what an environment lacks, with a heading such as
        // `WARNING Processing wrangler.json configuration`.
        let is_doubtful = |line: &str| line.contains("WARNING") && line.contains("configuration");
        assert!(!said.lines().any(is_doubtful), "{name}: {said}");
        for binding in [
            "env.RUNS (RunObject)",
            "env.LINKS (LinkObject)",
            "env.CLIENTS (ClientObject)",
            "env.CONVERSATIONS (ConversationObject)",
            "env.OVERRIDES_WRITER (OverridesObject)",
            "env.OVERRIDES (00000000000000000000000000000000)",
            "env.CACHE (00000000000000000000000000000000)",
        ] {
            assert!(said.contains(binding), "{name} lacks {binding}: {said}");
        }
        let history = format!("env.HISTORY (baton-history-{name})");
        assert!(said.contains(&history), "{name} lacks {history}: {said}");
        assert!(
            said.contains(&format!("env.BATON_ENVIRONMENT (\"{name}\")")),
            "{name}: {said}"
        );
        let queue = format!("env.TELEMETRY (baton-telemetry-{name})");
        assert_eq!(said.contains(&queue), name == "production", "{name}: {said}");
        let module = folder.join(name).join("index.js");
        assert!(module.is_file(), "{name}: no Worker was bundled: {said}");
    }
}

fn keys() -> Keys {
    Keys::new([
        Key::new("first", "acme", "invoke"),
        Key::new("operator", "acme", "operate"),
    ])
}

/// What the doctor says of a gateway without an orchestrator.
#[track_caller]
fn examined(history: bool, code: i32) -> Value {
    let gateway = Gateway::start(Options {
        keys: keys(),
        history,
        ..Options::default()
    });
    diagnosed(&gateway, code)
}

/// What the doctor says of a gateway, with an operator's and an orchestrator's key.
#[track_caller]
fn diagnosed(gateway: &Gateway, code: i32) -> Value {
    let folder = Folder::new("doctor");
    let records: Vec<_> = ["operator", "first"].map(|id| gateway.key(id).record().clone()).into();
    let keys = folder.write("keys.json", Value::from(records).to_string());
    let mut doctor = Command::new(&Environment::get().cli);
    doctor
        .args(["doctor", &gateway.origin(), "--json", "--key"])
        .arg(keys)
        .arg("--manifests")
        .arg(repository().join("manifests"));
    let run = Run::of(&mut doctor, folder.path()).expect(code);
    serde_json::from_str(&run.stdout).expect("JSON")
}

#[test]
fn the_doctor_finds_nothing_in_a_gateway_that_runs_well() {
    let report = examined(true, 0);
    let findings = report["findings"].as_array().expect("a list");
    // This build has the tests' agents, and `manifests/` has not; and workerd leaves `Date` to what stands before it.
    assert_eq!(findings.len(), 2, "{report:#}");
    assert_eq!(findings[1]["what"], "the answer has no Date");
    let what = findings[0]["what"].as_str().expect("a sentence");
    assert!(
        what.contains("echo is only there") && !what.contains("triage"),
        "{report:#}"
    );
}

#[test]
fn the_doctor_finds_a_database_without_its_tables() {
    let report = examined(false, 1);
    assert_eq!(report["errors"], 1, "{report:#}");
    let finding = &report["findings"][0];
    let place = finding["where"].as_str().expect("a place");
    assert!(
        place.ends_with("/operator/dead-letters?limit=1, signed with key operator"),
        "{report:#}"
    );
    assert!(
        finding["do"]
            .as_str()
            .is_some_and(|what| what.contains("d1 migrations apply")),
        "{report:#}"
    );
}

#[test]
fn the_doctor_tells_how_the_links_stand() {
    let gateway = Gateway::start(Options {
        keys: keys(),
        // Nobody listens there.
        orchestrators: vec![Configured::new("acme", "http://127.0.0.1:9")],
        ..Options::default()
    });
    let order = |message: Message| message.signed(gateway.key("operator")).send().message(200, "link");
    // There is no key to register with.
    wait_for("the link to be refused", || {
        let link = order(Message::new(&gateway, "GET", "/operator/links/acme"));
        (link["state"] == "refused").then_some(())
    });
    let held = order(Message::post(
        &gateway,
        "/operator/links/acme/breaker",
        &json!({ "state": "open" }),
    ));
    assert_eq!(held["breaker"]["forced"], true);
    let report = diagnosed(&gateway, 1);
    let findings = report["findings"].as_array().expect("a list").iter();
    let of_links: Vec<_> = findings
        .filter(|finding| {
            let place = finding["where"].as_str().unwrap_or_default();
            place.ends_with("/operator/links, acme")
        })
        .map(|finding| (&finding["severity"], finding["do"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(of_links.len(), 2, "{report:#}");
    let expected = [("error", "link register acme"), ("warning", "link breaker auto acme")];
    for ((severity, remedy), (expected, command)) in of_links.iter().zip(expected) {
        assert!(*severity == expected && remedy.contains(command), "{report:#}");
    }
}
