//! Handoffs: of a run to an agent, and of an agent to the next one.

use contract_tests::answer::Answer;
use contract_tests::gateway::shared;
use contract_tests::mac::content_digest;
use contract_tests::message::Message;
use contract_tests::outside::fresh;
use serde_json::{Value, json};

use super::calls::{
    assert_no_state, create, described, ended, fresh_script, get, outcome_in_background, overwrite, scripted, state,
};
use crate::support::{invoke, key};

/// A handoff under this idempotency key, not signed.
fn handoff(agent: &str, idempotency_key: &str, body: &Value) -> Message {
    Message::post(&shared(), &format!("/agents/{agent}/handoffs"), body).idempotency_key(idempotency_key)
}

#[track_caller]
fn send(agent: &str, idempotency_key: &str, body: &Value) -> Answer {
    handoff(agent, idempotency_key, body).signed(key("first")).send()
}

fn body(run: &str) -> Value {
    json!({ "run": run, "from": "the front desk", "reason": "it is about \u{e4} script" })
}

fn with(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}

#[test]
fn a_receipt_says_what_was_handed_over() {
    let run = fresh();
    let state_of_run = json!({ "count": 1 });
    let answer = send("script", "h1", &with(body(&run), "state", state_of_run.clone()));
    let receipt = answer.message(201, "handoff-receipt");
    assert!(!answer.is_replayed());
    assert_eq!((&receipt["run"], &receipt["agent"]), (&json!(run), &json!("script")));
    assert_eq!(
        (&receipt["from"], &receipt["reason"]),
        (&body(&run)["from"], &body(&run)["reason"])
    );
    assert_eq!(receipt["version"], 1);
    let kept = get(&run, "/state").signed(key("first")).send();
    assert_eq!(receipt["digest"], content_digest(&kept.response.body));
    assert_eq!(kept.json(), state_of_run);
    assert_eq!(receipt.get("step"), None);

    let run = described(&run);
    assert_eq!(run["agent"], "script");
    let handoffs = run["handoffs"].as_array().expect("handoffs");
    assert_eq!(handoffs.len(), 1);
    for (shown, member) in [
        ("handoff", "handoff"),
        ("agent", "agent"),
        ("from", "from"),
        ("reason", "reason"),
        ("version", "version"),
        ("at_ms", "accepted_at_ms"),
        ("traceparent", "traceparent"),
    ] {
        assert_eq!(handoffs[0][shown], receipt[member], "{shown}");
    }
    assert_eq!(
        run["versions"][0]["by"],
        format!("handoff {}", receipt["handoff"].as_str().expect("text"))
    );
}

#[test]
fn a_state_that_the_run_keeps_is_handed_over_in_the_version_that_is_meant() {
    let run = fresh();
    let receipt = send("script", "h0", &body(&run)).message(201, "handoff-receipt");
    assert_eq!((receipt.get("version"), receipt.get("digest")), (None, None));
    let problem = send("script", "h1", &with(body(&run), "version", 1.into())).problem(412, "state-conflict");
    assert_eq!(problem["current_version"], 0);

    let _ = create(&run, &json!({ "count": 1 }));
    let receipt = send("script", "h2", &body(&run)).message(201, "handoff-receipt");
    assert_eq!(receipt["version"], 1);
    let current = overwrite(&run, &json!({ "count": 2 }));
    let receipt = send("script", "h3", &with(body(&run), "version", 2.into())).message(201, "handoff-receipt");
    assert_eq!(receipt["version"], 2);

    let new = with(body(&run), "state", json!({ "count": 3 }));
    for stale in [
        with(body(&run), "version", 1.into()),
        with(new.clone(), "version", 1.into()),
    ] {
        let answer = send("script", "h4", &stale);
        let problem = answer.problem(412, "state-conflict");
        assert!(answer.is_signed());
        assert_eq!(problem["current_version"], 2);
        assert_eq!(answer.header("etag"), Some(current.as_str()));
    }
    let receipt = send("script", "h4", &with(new, "version", 2.into())).message(201, "handoff-receipt");
    assert_eq!(receipt["version"], 3);
    assert_eq!(state(&run), json!({ "count": 3 }));
    assert_eq!(described(&run)["handoffs"].as_array().map(Vec::len), Some(4));
}

#[test]
fn a_state_that_the_agent_does_not_understand_is_not_handed_over() {
    let run = fresh();
    let wrong = with(body(&run), "state", json!({ "count": "many" }));
    let problem = send("script-strict", "h1", &wrong).problem(422, "schema-violated");
    assert_eq!(problem["errors"][0]["instance"], "/state/count");
    get(&run, "").signed(key("first")).send().problem(404, "run-unknown");

    let _ = create(&run, &json!({}));
    let problem = send("script-strict", "h1", &body(&run)).problem(422, "schema-violated");
    assert_eq!(problem["errors"][0]["instance"], "/state");
    let run = described(&run);
    assert_eq!(
        (run.get("agent"), run["handoffs"].as_array().map(Vec::len)),
        (None, Some(0))
    );
}

#[test]
fn the_agent_begins_with_the_first_step() {
    let run = fresh();
    let step = json!({ "step": "s1", "input": { "actions": [{ "merge_state": { "more": true } }] } });
    let whole = with(with(body(&run), "state", json!({ "count": 1 })), "step", step);
    let receipt = send("script", "h1", &whole).message(201, "handoff-receipt");
    let first = &receipt["step"];
    assert_eq!(
        (&first["step"], &first["idempotency_key"]),
        (&json!("s1"), &json!("h1"))
    );
    assert_eq!(
        (&first["background"], &first["agent"]),
        (&json!(true), &json!("script"))
    );
    assert_eq!(receipt["version"], 1);
    let ended = ended(&json!({ "run": run, "step": "s1" }));
    let outcome = &ended["answer"]["body"];
    assert_eq!(outcome["status"], "completed", "{outcome}");
    // It works on what was handed over.
    assert_eq!(outcome["output"]["state"], json!({ "count": 1 }));
    assert_eq!(outcome["state_version"], 2);
    assert_eq!(state(&run), json!({ "count": 1, "more": true }));

    // The same again: the same receipt, with how far the step is by now, and nothing is done twice.
    let again = send("script", "h1", &whole);
    assert!(again.is_replayed());
    let mut repeated = again.message(200, "handoff-receipt");
    assert_eq!(repeated["step"], ended);
    repeated["step"] = receipt["step"].clone();
    assert_eq!(repeated, receipt);
    let described = described(&run);
    assert_eq!(described["handoffs"].as_array().map(Vec::len), Some(1));
    assert_eq!(described["state"]["version"], 2);
}

#[test]
fn a_handoff_is_accepted_in_whole_or_not_at_all() {
    let run = fresh();
    let _ = invoke("script", &scripted(&run, "s1", json!([]))).completed();
    let whole = |step: Value| with(with(body(&run), "state", json!({ "count": 1 })), "step", step);
    // The step is known with another input.
    let step = json!({ "step": "s1", "input": { "actions": [{ "delta": "x" }] } });
    send("script", "h1", &whole(step)).problem(422, "step-reused");
    let problem = send("script", "h1", &whole(json!({ "step": "s2", "input": {} }))).problem(422, "schema-violated");
    assert_eq!(problem["errors"][0]["instance"], "/step/input");
    assert_no_state(&run);
    assert_eq!(described(&run)["handoffs"].as_array().map(Vec::len), Some(0));
    assert_eq!(described(&run)["steps"].as_array().map(Vec::len), Some(1));

    let receipt = send("script", "h1", &body(&run)).message(201, "handoff-receipt");
    // The key is taken: for another agent, reason, state or step.
    for (agent, other) in [
        ("script-again", body(&run)),
        ("script", with(body(&run), "reason", "another".into())),
        ("script", with(body(&run), "state", json!({}))),
        (
            "script",
            with(body(&run), "step", json!({ "step": "s2", "input": { "actions": [] } })),
        ),
    ] {
        let answer = send(agent, "h1", &other);
        answer.problem(422, "idempotency-key-reused");
        assert!(answer.is_signed());
    }
    let again = send("script", "h1", &body(&run));
    assert_eq!(again.message(200, "handoff-receipt"), receipt);
    assert_no_state(&run);
}

#[test]
fn who_may_not_hand_over_does_not() {
    let run = fresh();
    send("no-such-agent", "h1", &body(&run)).problem(404, "agent-unknown");
    let message = handoff("script", "h1", &body(&run));
    message.clone().send().problem(401, "signature-missing");
    message
        .clone()
        .signed(key("narrow"))
        .send()
        .problem(403, "key-not-allowed");
    message
        .clone()
        .signed(key("register"))
        .send()
        .problem(403, "key-not-allowed");
    let no_key = message.without("idempotency-key").uncover("idempotency-key");
    assert_eq!(no_key.signed(key("first")).send().status(), 401);
    for wrong in [
        json!({ "run": run, "from": "tests" }),
        with(body(&run), "from", "".into()),
        with(body(&run), "reason", "x".repeat(1_001).into()),
        with(body(&run), "version", 0.into()),
        with(body(&run), "more", 1.into()),
    ] {
        send("script", "h1", &wrong).problem(422, "schema-violated");
    }
    get(&run, "").signed(key("first")).send().problem(404, "run-unknown");
}

#[test]
fn an_agent_hands_off_to_one_that_its_manifest_names() {
    let next = json!({ "agent": "script-again", "reason": "too much", "input": { "actions": [] } });
    let body = fresh_script(json!([{ "merge_state": { "count": 1 } }, { "hand_off": next }]));
    let run = body["run"].as_str().expect("text");
    let outcome = invoke("script", &body).outcome();
    assert_eq!(outcome["status"], "handed_off", "{outcome}");
    assert_eq!(outcome["handoff"], next);
    assert_eq!((outcome.get("output"), outcome.get("hops")), (None, None));
    assert_eq!(outcome["state_version"], 1);
    assert_eq!(state(run), json!({ "count": 1 }));
    assert_eq!(described(run)["steps"][0]["outcome"], "handed_off");
    // Its caller carries it out.
    let step = json!({ "step": "s2", "input": outcome["handoff"]["input"] });
    let handoff =
        json!({ "run": run, "from": "script", "reason": outcome["handoff"]["reason"], "step": step, "version": 1 });
    let _ = send("script-again", "h1", &handoff).message(201, "handoff-receipt");
    let ended = ended(&json!({ "run": run, "step": "s2" }));
    assert_eq!(ended["answer"]["body"]["output"]["state"], json!({ "count": 1 }));

    let next = json!({ "agent": "echo", "reason": "it is not named" });
    let mut body = fresh_script(json!([{ "merge_state": { "count": 1 } }, { "hand_off": next }]));
    for follow in [false, true] {
        body["step"] = format!("follow {follow}").into();
        body["follow_handoffs"] = follow.into();
        check_failed(&invoke("script", &body).outcome(), "handoff-not-declared");
    }
    assert_no_state(body["run"].as_str().expect("text"));
}

#[track_caller]
fn check_failed(outcome: &Value, code: &str) {
    assert_eq!(outcome["status"], "failed", "{outcome}");
    assert_eq!(outcome["error"]["code"], code, "{outcome}");
    assert_eq!(outcome["error"]["retryable"], false, "{outcome}");
}

/// A script that hands off with this input for the next agent.
fn to(agent: &str, actions: Value) -> Value {
    json!({ "hand_off": { "agent": agent, "reason": format!("for {agent}"), "input": { "actions": actions } } })
}

#[test]
fn the_gateway_follows_handoffs_where_it_is_asked_to() {
    let last = json!([{ "merge_state": { "last": true } }]);
    let second = json!([{ "merge_state": { "count": 2 } }, to("script-strict", last)]);
    let first = json!([{ "merge_state": { "count": 1 } }, to("script-again", second)]);
    for background in [false, true] {
        let body = with(fresh_script(first.clone()), "follow_handoffs", true.into());
        let outcome = if background {
            outcome_in_background("script", &body)
        } else {
            invoke("script", &body).completed()
        };
        assert_eq!(outcome["status"], "completed", "{outcome}");
        // The step stays the one of the agent that was asked; the last one answered, and saw what those before it did.
        assert_eq!(outcome["agent"], "script");
        assert_eq!(outcome["output"]["state"], json!({ "count": 2 }));
        let hops = outcome["hops"].as_array().expect("hops");
        let told: Vec<_> = hops
            .iter()
            .map(|hop| (hop["agent"].as_str(), hop["reason"].as_str()))
            .collect();
        let expected = [("script", "for script-again"), ("script-again", "for script-strict")];
        assert_eq!(told, expected.map(|(agent, reason)| (Some(agent), Some(reason))));
        // Each agent has a span, the first one that of the step; those that went on are linked.
        let links = outcome["trace"]["links"].as_array().expect("links");
        assert_ne!(
            hops[0]["traceparent"], outcome["trace"]["traceparent"],
            "a span of its own"
        );
        assert_eq!((links.len(), &links[0]), (2, &hops[1]["traceparent"]));
        assert!(!links.contains(&hops[0]["traceparent"]) && links[0] != links[1]);
        // All at once, as one version.
        assert_eq!(outcome["state_version"], 1);
        assert_eq!(
            state(body["run"].as_str().expect("text")),
            json!({ "count": 2, "last": true })
        );
    }
}

#[test]
fn a_handoff_that_cannot_be_followed_fails_and_writes_nothing() {
    let back = to("script", json!([]));
    let change = json!({ "merge_state": { "note": "changed" } });
    for (actions, code) in [
        (json!([change, to("script-again", json!([back]))]), "handoff-cycle"),
        (
            json!([change, to("script-again", json!([1]))]),
            "handoff-input-violated",
        ),
        (
            json!([change, to("script-again", json!([to("script-strict", json!([]))]))]),
            "handoff-state-violated",
        ),
    ] {
        let body = with(fresh_script(actions), "follow_handoffs", true.into());
        let outcome = invoke("script", &body).outcome();
        check_failed(&outcome, code);
        assert_no_state(body["run"].as_str().expect("text"));
    }
}

/// Whether handoffs are followed is part of the call: under the same key it is another one.
#[test]
fn a_call_that_follows_handoffs_is_another_call() {
    let body = fresh_script(json!([to("script-again", json!([]))]));
    assert_eq!(invoke("script", &body).outcome()["status"], "handed_off");
    let following = with(body, "follow_handoffs", true.into());
    invoke("script", &following).problem(422, "idempotency-key-reused");
}
