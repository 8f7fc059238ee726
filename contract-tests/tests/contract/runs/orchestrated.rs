//! The reference orchestrator drives steps in the background, and a run with a state.

use contract_tests::gateway::{Configured, Gateway, Options};
use contract_tests::keys::{Key, Keys};
use contract_tests::orchestrator::Orchestrator;
use contract_tests::outside::fresh;
use serde_json::json;

#[test]
fn an_orchestrator_is_called_back_and_hands_the_state_from_step_to_step() {
    let keys = Keys::new(["invoke", "register", "callback"].map(|purpose| Key::new(purpose, "reference", purpose)));
    let mut orchestrator = Orchestrator::new("reference", &keys, 60_000);
    orchestrator.start();
    let gateway = Gateway::start(Options {
        keys,
        orchestrators: vec![Configured::new("reference", &orchestrator.url())],
        ..Options::default()
    });
    let _ = orchestrator.wait_for_live();
    let run = fresh();
    let merge = |count: u32| json!({ "actions": [{ "merge_state": { "count": count } }] });
    let finished = orchestrator.post(
        "/runs",
        Some(&json!({
            "run": run, "mode": "async", "state": { "count": 1 },
            "steps": [{ "agent": "script", "input": merge(2) }, { "agent": "script", "input": merge(3), "mode": "sync" }],
        })),
        200,
    );
    assert_eq!(finished["status"], "completed", "{finished}");
    let steps = finished["steps"].as_array().expect("steps");
    // However it came first, by callback or by the backstop's poll, it counts once.
    assert!(
        ["callback", "poll"].contains(&steps[0]["via"].as_str().expect("text")),
        "{finished}"
    );
    assert_eq!(steps[1]["via"], "answer");
    assert!(steps.iter().all(|step| step["verified"] == true), "{finished}");
    assert_eq!(steps[0]["outcome"]["output"]["state"], json!({ "count": 1 }));
    assert_eq!(steps[1]["outcome"]["output"]["state"], json!({ "count": 2 }));
    assert_eq!(
        (&steps[0]["state_version"], &steps[1]["state_version"]),
        (&2.into(), &3.into())
    );
    drop(gateway);
}
