//! Steps on the state of their run.

use contract_tests::mac::content_digest;
use contract_tests::outside::fresh;
use serde_json::{Value, json};

use super::calls::{
    assert_no_state, create, described, ended, fresh_script, get, in_background, outcome_in_background, overwrite,
    scripted, state, wait_until_running, while_waiting,
};
use crate::support::{invoke, invoke_as, key};

/// How long a step takes during which somebody else writes, in milliseconds.
const MEANWHILE_MS: u64 = 2_500;

#[track_caller]
fn check_failed(outcome: &Value, code: &str, retryable: bool) {
    assert_eq!(outcome["status"], "failed", "{outcome}");
    assert_eq!(outcome["error"]["code"], code, "{outcome}");
    assert_eq!(outcome["error"]["retryable"], retryable, "{outcome}");
    for member in ["output", "state", "state_version", "state_digest"] {
        assert_eq!(outcome.get(member), None, "{outcome}");
    }
}

#[test]
fn a_state_that_the_caller_brings_along_goes_back_with_the_outcome() {
    let mut body = fresh_script(json!([{ "merge_state": { "a": null, "count": 2 } }]));
    body["state"] = json!({ "a": 1, "b": [1] });
    let outcome = invoke("script", &body).completed();
    assert_eq!(outcome["output"]["state"], body["state"]);
    assert_eq!(outcome["state"], json!({ "b": [1], "count": 2 }));
    assert_eq!(
        (outcome.get("state_version"), outcome.get("state_digest")),
        (None, None)
    );
    assert_no_state(body["run"].as_str().expect("text"));

    // What the run keeps is neither seen nor touched.
    let run = fresh();
    let _ = create(&run, &json!({ "count": 7 }));
    let mut body = scripted(&run, "s1", json!([{ "replace_state": { "count": 1 } }]));
    body["state"] = json!({});
    let outcome = invoke("script", &body).completed();
    assert_eq!(outcome["output"]["state"], json!({}));
    assert_eq!(outcome["state"], json!({ "count": 1 }));
    assert_eq!(state(&run), json!({ "count": 7 }));
}

#[test]
fn a_new_state_of_a_kept_one_is_the_next_version() {
    let run = fresh();
    let step = |id: &str, actions: Value| invoke("script", &scripted(&run, id, actions));
    let first = step(
        "s1",
        json!([{ "merge_state": { "a": { "b": 1, "c": 2 }, "count": 1 } }]),
    )
    .completed();
    assert_eq!(first["output"]["state"], Value::Null);
    assert_eq!((&first["state_version"], first.get("state")), (&json!(1), None));

    let second = step("s2", json!([{ "merge_state": { "a": { "b": null } } }])).completed();
    assert_eq!(
        second["output"]["state"],
        json!({ "a": { "b": 1, "c": 2 }, "count": 1 })
    );
    assert_eq!(second["state_version"], 2);
    assert_eq!(state(&run), json!({ "a": { "c": 2 }, "count": 1 }));
    let answer = get(&run, "/state").signed(key("first")).send();
    assert_eq!(second["state_digest"], content_digest(&answer.response.body));

    let third = step("s3", json!([{ "replace_state": { "count": 3 } }])).completed();
    assert_eq!(third["state_version"], 3);
    assert_eq!(state(&run), json!({ "count": 3 }));

    let fourth = step("s4", json!([])).completed();
    assert_eq!(fourth["output"]["state"], json!({ "count": 3 }));
    assert_eq!((fourth.get("state_version"), fourth.get("state")), (None, None));

    // A repeated call gets the stored answer, and writes nothing.
    let again = step("s3", json!([{ "replace_state": { "count": 3 } }]));
    assert!(again.is_replayed());
    assert_eq!(again.completed(), third);

    let run = described(&run);
    let by: Vec<_> = run["versions"].as_array().expect("versions").iter().collect();
    let by: Vec<_> = by.iter().filter_map(|version| version["by"].as_str()).collect();
    assert_eq!(by, ["step s1", "step s2", "step s3"]);
    let steps = run["steps"].as_array().expect("steps");
    assert!(steps.iter().all(|step| step["outcome"] == "completed"), "{run}");
    assert_eq!(steps.len(), 4);
}

#[test]
fn a_step_may_name_the_version_that_it_is_about() {
    let run = fresh();
    let at = |version: u64, id: &str| {
        let mut body = scripted(&run, id, json!([{ "merge_state": { "count": version } }]));
        body["state_version"] = version.into();
        invoke("script", &body)
    };
    let problem = at(1, "s1").problem(412, "state-conflict");
    assert_eq!(problem["current_version"], 0);
    let etag = create(&run, &json!({ "a": 1 }));
    let outcome = at(1, "s1").completed();
    assert_eq!(
        (&outcome["output"]["state"], &outcome["state_version"]),
        (&json!({ "a": 1 }), &json!(2))
    );
    let answer = at(1, "s2");
    let problem = answer.problem(412, "state-conflict");
    assert_eq!(problem["current_version"], 2);
    assert_ne!(problem["current_etag"], etag);
    assert_eq!(answer.header("etag"), problem["current_etag"].as_str());
    assert!(answer.is_signed());
    // What was executed keeps its answer, whatever is current by now.
    assert!(at(1, "s1").is_replayed());
    // What was refused was not executed, and may come again.
    assert_eq!(at(2, "s2").completed()["state_version"], 3);

    let mut both = scripted(&run, "s3", json!([]));
    both["state_version"] = 3.into();
    both["state"] = json!({});
    invoke("script", &both).problem(422, "schema-violated");
}

#[test]
fn a_step_that_does_not_complete_writes_nothing() {
    let run = fresh();
    let _ = create(&run, &json!({ "count": 1 }));
    let change = json!({ "merge_state": { "count": 2 } });
    let fail = json!({ "fail": { "code": "no-luck" } });
    let busy = json!({ "fail": { "code": "busy", "retry_after_ms": 1 } });
    let wrong = json!({ "merge_state": { "count": "two" } });
    for (id, actions, code, retryable) in [
        ("s1", json!([change, fail]), "no-luck", false),
        ("s2", json!([change, busy]), "busy", true),
        ("s3", json!([wrong]), "output-schema-violated", false),
    ] {
        let plain = scripted(&run, id, actions.clone());
        check_failed(&invoke("script", &plain).outcome(), code, retryable);
        let id = format!("{id} in the background");
        check_failed(
            &outcome_in_background("script", &scripted(&run, &id, actions)),
            code,
            retryable,
        );
    }
    let mut late = scripted(&run, "late", json!([change, { "sleep_ms": 5_000 }]));
    late["deadline_ms"] = 100.into();
    invoke("script", &late).problem(504, "deadline-exceeded");

    let large = json!({ "replace_state": { "text": "x".repeat(1024 * 1024) } });
    let large = scripted(&run, "large", json!([large]));
    check_failed(&invoke("script", &large).outcome(), "state-too-large", false);

    assert_eq!(state(&run), json!({ "count": 1 }));
    assert_eq!(described(&run)["state"]["version"], 1);
}

#[test]
fn a_kept_state_that_the_agent_does_not_understand_is_not_given_to_it() {
    let run = fresh();
    let _ = create(&run, &json!({ "count": "many" }));
    let outcome = invoke("script", &scripted(&run, "s1", json!([]))).outcome();
    check_failed(&outcome, "state-schema-violated", false);
}

#[test]
fn a_patch_is_applied_to_what_somebody_else_wrote_meanwhile() {
    let actions = json!([{ "merge_state": { "mine": 1 } }, { "sleep_ms": MEANWHILE_MS }]);
    let body = fresh_script(actions.clone());
    let run = body["run"].as_str().expect("text");
    let _ = create(run, &json!({ "count": 1 }));
    let answer = while_waiting("script", &body, || {
        let _ = overwrite(run, &json!({ "count": 2, "theirs": 1 }));
    });
    let outcome = answer.completed();
    // It saw the old one.
    assert_eq!(outcome["output"]["state"], json!({ "count": 1 }));
    assert_eq!(outcome["state_version"], 3);
    assert_eq!(state(run), json!({ "count": 2, "mine": 1, "theirs": 1 }));

    let body = fresh_script(actions);
    let run = body["run"].as_str().expect("text");
    let _ = in_background("script", &body).send().message(202, "step-status");
    wait_until_running(&body);
    let _ = create(run, &json!({ "theirs": 1 }));
    let outcome = ended(&body)["answer"]["body"].clone();
    assert_eq!(outcome["state_version"], 2, "{outcome}");
    assert_eq!(state(run), json!({ "mine": 1, "theirs": 1 }));
}

#[test]
fn a_whole_state_does_not_undo_what_somebody_else_wrote_meanwhile() {
    let check = |version: Option<u64>, change: Value, background: bool| {
        let mut body = fresh_script(json!([change, { "sleep_ms": MEANWHILE_MS }]));
        let run = body["run"].as_str().expect("text").to_owned();
        let _ = create(&run, &json!({ "count": 1 }));
        if let Some(version) = version {
            body["state_version"] = version.into();
        }
        let meanwhile = || {
            let _ = overwrite(&run, &json!({ "count": 2 }));
        };
        let outcome = if background {
            let _ = in_background("script", &body).send().message(202, "step-status");
            wait_until_running(&body);
            meanwhile();
            ended(&body)["answer"]["body"].clone()
        } else {
            while_waiting("script", &body, meanwhile).outcome()
        };
        // A version that was named never comes back.
        check_failed(&outcome, "state-conflict", version.is_none());
        assert_eq!(state(&run), json!({ "count": 2 }));
        (body, run)
    };
    let replace = json!({ "replace_state": { "count": 10 } });
    let merge = json!({ "merge_state": { "count": 10 } });
    std::thread::scope(|scope| {
        scope.spawn(|| check(None, replace.clone(), true));
        scope.spawn(|| check(Some(1), merge.clone(), false));
        scope.spawn(|| check(Some(1), merge.clone(), true));
    });
    // A further attempt sees the new state.
    let (mut body, run) = check(None, replace, false);
    body["attempt"] = 2.into();
    let outcome = invoke_as(&fresh(), "script", &body).completed();
    assert_eq!(outcome["output"]["state"], json!({ "count": 2 }));
    assert_eq!(
        (&outcome["state_version"], state(&run)),
        (&json!(3), json!({ "count": 10 }))
    );
}

/// A row of the storage holds two megabytes at most.
#[test]
fn an_input_that_is_larger_than_a_row_runs_in_the_background_too() {
    let mut body = fresh_script(json!([{ "merge_state": { "count": 1 } }]));
    body["input"]["padding"] = "x".repeat(3 * 1024 * 1024).into();
    let outcome = outcome_in_background("script", &body);
    assert_eq!(outcome["status"], "completed", "{outcome}");
    assert_eq!(state(body["run"].as_str().expect("text")), json!({ "count": 1 }));
}
