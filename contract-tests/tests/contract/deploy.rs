//! What `wrangler deploy` would do in each environment of wrangler.toml, with a Worker that is built already.

use std::fs;
use std::process::Command;

use contract_tests::command_line::Run;
use contract_tests::environment::{Environment, repository};
use contract_tests::folder::Folder;
use serde_json::{Map, Value};

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

#[test]
fn every_environment_can_be_deployed() {
    let environment = Environment::get();
    let folder = Folder::new("deploy");
    let configuration = configuration(environment);
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
        // wrangler goes on after what it does not know, or what an environment lacks.
        assert!(!said.contains("WARNING"), "{name}: {said}");
        for binding in [
            "env.RUNS (RunObject)",
            "env.LINKS (LinkObject)",
            "env.CLIENTS (ClientObject)",
        ] {
            assert!(said.contains(binding), "{name} lacks {binding}: {said}");
        }
        let history = format!("env.HISTORY (baton-history-{name})");
        assert!(said.contains(&history), "{name} lacks {history}: {said}");
        assert!(
            said.contains(&format!("env.BATON_ENVIRONMENT (\"{name}\")")),
            "{name}: {said}"
        );
        let module = folder.join(name).join("index.js");
        assert!(module.is_file(), "{name}: no Worker was bundled: {said}");
    }
}
