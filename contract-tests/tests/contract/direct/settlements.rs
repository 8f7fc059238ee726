//! What the gateway tells of a run that it took over: once, also where the acknowledgement is lost, in order, and without
//! overwriting what the orchestrator holds.

use std::process::Command;

use contract_tests::command_line::Run;
use contract_tests::environment::Environment;
use contract_tests::folder::Folder;
use contract_tests::gateway::Gateway;
use contract_tests::outside::wait_for;
use serde_json::{Value, json};

use super::world::world;
use super::{answered, call};

#[test]
fn a_settlement_whose_acknowledgement_is_lost_is_told_again_and_counts_once() {
    let mut world = world();
    // It takes what it is told, and its answer comes too late for a gateway that is killed meanwhile.
    let late = json!({ "runs": "slow", "calls": "all", "delay_ms": 12_000 });
    world.orchestrator.behave(&late);
    let body = world.falls_back("timeout");
    let run = body["run"].as_str().expect("a run");
    let first = world.orchestrator.wait_for_settlement(run);
    assert_eq!(world.run(&body)["settlement"]["status"], "pending");
    world.gateway.kill_hard();
    world.orchestrator.behave(&json!({}));
    world.gateway.restart();
    world.is_settled(&body);
    assert_eq!(world.orchestrator.settlements(run), [first]);
    let tries = world.run(&body)["settlement"]["tries"].as_u64();
    assert!(tries >= Some(2), "{tries:?}");
}

#[test]
fn an_orchestrator_that_holds_another_outcome_keeps_it() {
    let mut world = world();
    // It executes the run, tells the gateway nothing of it, and takes no settlement yet.
    let silent = json!({ "runs": "status", "status": 503, "calls": "all", "start_run": true });
    world.orchestrator.behave(&silent);
    let body = world.falls_back("unavailable");
    let run = body["run"].as_str().expect("a run");
    wait_for("the orchestrator's own end of the run", || {
        let theirs = world.orchestrator.run(run)?;
        (theirs["steps"][0]["outcome"]["status"] == "completed").then_some(())
    });
    // One step has one effect, whoever asks. So that they differ, its memory has to be changed.
    world.orchestrator.kill_hard();
    let another = "UPDATE steps SET outcome = json_set(outcome, '$.output', 'another') WHERE run =";
    assert_eq!(world.orchestrator.change(&format!("{another} '{run}'")), 1);
    world.orchestrator.start();

    let shown = world.wait_for_settlement(&body, "conflict");
    let reason = "came to another outcome here";
    let said = shown["settlement"]["last_error"].as_str().expect("why");
    assert!(said.contains(reason), "{said}");
    world.wait_for_alarm("settlement", &format!("run {run}: the orchestrator went on by itself"));
    let printed = run_show(&world.gateway, run);
    assert!(
        printed.contains("settlement conflict") && printed.contains(reason),
        "{printed}"
    );
    // Both are kept, and it is not told again.
    let theirs = world.orchestrator.run(run).expect("its run");
    assert_eq!(theirs["steps"][0]["outcome"]["output"], "another");
    assert_eq!(shown["steps"][0]["outcome"], "completed", "{shown}");
    let settlements = theirs["settlements"].as_array().expect("settlements");
    assert_eq!(settlements.len(), 1, "{theirs}");
    assert_eq!(settlements[0]["settled"], false, "{theirs}");
    assert!(
        settlements[0]["conflict"].as_str().expect("why").contains(reason),
        "{theirs}"
    );
}

/// What `baton run show` prints.
fn run_show(gateway: &Gateway, run: &str) -> String {
    let folder = Folder::new("conflict");
    let mut command = Command::new(&Environment::get().cli);
    command
        .args(["run", "show", run])
        .env("BATON_GATEWAY", gateway.origin())
        .env(
            "BATON_KEY_FILE",
            folder.write("key.json", gateway.key("invoke").record().to_string()),
        );
    Run::of(&mut command, folder.path()).expect(0).stdout
}

#[test]
fn the_versions_of_the_state_are_told_in_their_order() {
    let world = world();
    world.orchestrator.behave(&json!({ "runs": "status", "status": 503 }));
    let second = json!([{ "merge_state": { "count": 2 } }]);
    let next = json!({ "agent": "script-again", "reason": "more to count", "input": { "actions": second } });
    let input = json!({ "actions": [{ "replace_state": { "count": 1 } }, { "hand_off": next }] });
    let body = answered(
        &call(
            &world.gateway,
            &world.key,
            "/agents/script/query",
            &json!({ "input": input }),
        )
        .send(),
    );
    assert_eq!(
        (&body["agent"], &body["status"], &body["route"]["reason"]),
        (&json!("script-again"), &json!("completed"), &json!("unavailable")),
        "{body}"
    );
    world.orchestrator.behave(&json!({}));
    let settlement = world.settlement(&body);
    let of = |list: &Value, member: &str| -> Vec<Value> {
        let list = list.as_array().expect("a list");
        list.iter().map(|one| one[member].clone()).collect()
    };
    assert_eq!(of(&settlement["steps"], "step"), ["query", "query-hop-1"]);
    assert_eq!(of(&settlement["state"], "version"), [1, 2]);
    let kept = &world.run(&body)["versions"];
    assert_eq!(of(&settlement["state"], "digest"), of(kept, "digest"), "{kept}");
}
