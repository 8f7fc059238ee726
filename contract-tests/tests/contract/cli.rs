//! `baton`, the command for people, against the real gateway.

use std::path::Path;
use std::process::Command;

use contract_tests::command_line::Run;
use contract_tests::environment::Environment;
use contract_tests::folder::Folder;
use contract_tests::gateway::{Gateway, shared};
use contract_tests::keys::Key;
use contract_tests::outside::fresh;
use contract_tests::schemas::assert_fits;
use serde_json::Value;

use crate::support::key;

/// Runs `baton` in an empty folder of its own, with the gateway and a key file from the environment.
fn baton(folder: &Folder, key_id: &str, arguments: &[&str]) -> Run {
    baton_at(&shared(), folder, key(key_id), arguments)
}

/// The same with another gateway.
pub fn baton_at(gateway: &Gateway, folder: &Folder, key: &Key, arguments: &[&str]) -> Run {
    let key_file = folder.write("key.json", key.record().to_string());
    let mut command = Command::new(&Environment::get().cli);
    command
        .args(arguments)
        .env("BATON_GATEWAY", gateway.origin())
        .env("BATON_KEY_FILE", key_file);
    Run::of(&mut command, folder.path())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.stdout))
}

#[test]
fn discover_shows_what_the_gateway_offers() {
    let folder = Folder::new("cli");
    let shown = baton(&folder, "first", &["discover"]).expect(0);
    for expected in [
        "triage",
        "summarize",
        "/agents/{agent}/steps",
        "body_max_bytes",
        &shared().origin(),
    ] {
        assert!(shown.stdout.contains(expected), "no {expected} in:\n{}", shown.stdout);
    }
    let manifest = baton(&folder, "first", &["discover", &shared().origin(), "--json"]).expect(0);
    assert_fits("discovery", &json(&manifest));
}

#[test]
fn discover_says_when_no_gateway_is_there() {
    let folder = Folder::new("cli");
    let nobody = format!("http://127.0.0.1:{}", contract_tests::ports::free_port());
    let run = baton(&folder, "first", &["discover", &nobody]).expect(4);
    assert!(run.stderr.contains(&nobody), "{}", run.stderr);
}

#[test]
fn step_signs_sends_and_verifies() {
    let folder = Folder::new("cli");
    let input = r#"{"text":"I was charged twice"}"#;
    let shown = baton(&folder, "first", &["step", "triage", "--input", input]).expect(0);
    for expected in ["completed", "triage", "support", "signature verified with key first"] {
        assert!(shown.stdout.contains(expected), "no {expected} in:\n{}", shown.stdout);
    }
    let outcome = baton(&folder, "first", &["step", "triage", "--input", input, "--json"]).expect(0);
    assert_fits("step-outcome", &json(&outcome));
}

#[test]
fn step_again_says_that_nothing_ran_again() {
    let folder = Folder::new("cli");
    let input = folder.write("input.json", r#"{"a":1}"#);
    let run = fresh();
    let arguments = ["step", "echo", "--input", text(&input), "--run", &run, "--step", "s1"];
    let first = baton(&folder, "first", &arguments).expect(0);
    assert!(!first.stdout.contains("stored answer"), "{}", first.stdout);
    let second = baton(&folder, "first", &arguments).expect(0);
    assert!(second.stdout.contains("stored answer"), "{}", second.stdout);
}

#[test]
fn step_ends_with_a_code_for_each_kind_of_answer() {
    let folder = Folder::new("cli");
    let failed = baton(&folder, "first", &["step", "fail", "--input", r#"{"code":"no-luck"}"#]).expect(1);
    assert!(failed.stdout.contains("no-luck"), "{}", failed.stdout);
    let refused = baton(&folder, "first", &["step", "triage", "--input", r#"{"text":1}"#]).expect(3);
    assert!(refused.stdout.contains("/input/text"), "{}", refused.stdout);
    let unknown = baton(&folder, "first", &["step", "no-such-agent", "--input", "{}"]).expect(3);
    assert!(unknown.stdout.contains("agent-unknown"), "{}", unknown.stdout);
}

#[test]
fn verify_judges_a_captured_exchange() {
    let folder = Folder::new("cli");
    let captured = folder.join("captured");
    let capture = ["step", "echo", "--input", "{}", "--capture", text(&captured)];
    let _ = baton(&folder, "first", &capture).expect(0);
    let (request, response) = (captured.join("request.http"), captured.join("response.http"));

    let origin = shared().origin();
    let _ = baton(&folder, "first", &["verify", "--origin", &origin, text(&request)]).expect(0);
    let judge_response = ["verify", "--request", text(&request), text(&response)];
    let _ = baton(&folder, "first", &judge_response).expect(0);

    // Under another key, for another origin, or changed, it does not hold, and the rule is named.
    let _ = baton(&folder, "second", &["verify", text(&request)]).expect(1);
    let elsewhere = ["verify", "--origin", "https://gateway.example.com", text(&request)];
    let run = baton(&folder, "first", &elsewhere).expect(1);
    assert!(run.stdout.contains("authority-unknown"), "{}{}", run.stdout, run.stderr);
    let whole = std::fs::read(&response).expect("the captured response");
    let changed = String::from_utf8(whole)
        .expect("text")
        .replace("completed", "completeD");
    let changed = folder.write("changed.http", changed);
    let run = baton(
        &folder,
        "first",
        &["verify", "--request", text(&request), text(&changed)],
    )
    .expect(1);
    assert!(
        run.stdout.contains("content-digest-invalid"),
        "{}{}",
        run.stdout,
        run.stderr
    );
}
