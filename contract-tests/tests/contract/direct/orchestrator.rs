//! Direct calls with an orchestrator that answers, and with one that does whatever else it likes.

use contract_tests::outside::{fresh, wait_for};
use serde_json::json;

use super::world::world;
use super::{answered, call};

/// So many calls must fail at the most before the breaker is open: it remembers as many calls as that.
const BAD_CALLS_MAX: usize = 200;

#[test]
fn the_orchestrator_coordinates_while_it_answers() {
    let world = world();
    let body = answered(&world.ask());
    assert_eq!(
        body["route"],
        json!({ "by": "orchestrated", "orchestrator": "reference" })
    );
    let run = world
        .orchestrator
        .run(body["run"].as_str().expect("a run"))
        .expect("its run");
    assert_eq!(run["status"], "completed");
    assert_eq!(run["steps"][0]["outcome"]["output"], body["output"]);
    assert_eq!(run["steps"][0]["step"], "query");
}

#[test]
fn whatever_it_does_instead_of_answering_the_customer_is_answered_in_time() {
    let world = world();
    for (behaviour, reason) in [
        (json!({ "runs": "hang" }), "timeout"),
        (json!({ "runs": "slow", "delay_ms": 2_500 }), "timeout"),
        (json!({ "runs": "garbage" }), "malformed"),
        (json!({ "runs": "wrongly_signed" }), "unverified"),
        (json!({ "runs": "unsigned" }), "unverified"),
        (json!({ "runs": "status", "status": 500 }), "unavailable"),
        (json!({ "runs": "status", "status": 503 }), "unavailable"),
        (json!({ "runs": "status", "status": 429 }), "unavailable"),
        (json!({ "runs": "status", "status": 410 }), "malformed"),
    ] {
        world.mend();
        world.orchestrator.behave(&behaviour);
        let body = world.falls_back(reason);
        world.orchestrator.behave(&json!({}));
        world.is_settled(&body);
    }
}

#[test]
fn what_it_says_about_a_call_is_the_answer() {
    let world = world();
    for status in [400, 403, 404, 422] {
        world
            .orchestrator
            .behave(&json!({ "runs": "status", "status": status }));
        let problem = world.ask().problem(status, "orchestrator-declined");
        assert_eq!(problem["retryable"], false, "{problem}");
    }
}

/// The 409 of its own: it knows the run, as another call's.
#[test]
fn what_it_says_of_a_run_that_it_knows_is_the_answer() {
    let world = world();
    let key = format!("\"{}\"", fresh());
    let ask = |code: &str| {
        let body = json!({ "input": { "code": code } });
        let call = call(&world.gateway, &world.key, "/agents/fail/query", &body);
        call.line("idempotency-key", &key).send()
    };
    let first = answered(&ask("broken"));
    assert_eq!(
        (&first["status"], &first["route"]["by"]),
        (&json!("failed"), &json!("orchestrated")),
        "{first}"
    );
    let problem = ask("broken-otherwise").problem(409, "orchestrator-declined");
    assert_eq!(problem["retryable"], false, "{problem}");
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains("(idempotency-mismatch)"), "{detail}");
}

#[test]
fn a_refusal_of_the_gateway_itself_is_not_passed_by() {
    let world = world();
    world.orchestrator.behave(&json!({ "runs": "status", "status": 401 }));
    let problem = world.ask().problem(503, "orchestrator-unavailable");
    assert!(
        problem["detail"].as_str().expect("a detail").contains("refused"),
        "{problem}"
    );
    world.wait_for_alarm("orchestrator", "refuses the gateway's credentials");
}

#[test]
fn a_run_that_both_coordinate_has_one_effect() {
    let world = world();
    // It begins the run, and the customer does not wait for its answer.
    world.orchestrator.behave(&json!({ "runs": "hang", "start_run": true }));
    let body = world.falls_back("timeout");
    let run = body["run"].as_str().expect("a run");
    let theirs = wait_for("the orchestrator's own end of the run", || {
        let run = world.orchestrator.run(run)?;
        (run["steps"][0]["outcome"]["status"] == "completed").then_some(run)
    });
    assert_eq!(
        theirs["steps"][0]["outcome"]["output"]["executed_at_ms"],
        body["output"]["executed_at_ms"]
    );
    world.orchestrator.behave(&json!({}));
    world.is_settled(&body);
}

#[test]
fn killed_it_is_not_missed_and_when_it_is_back_all_is_settled() {
    let mut world = world();
    world.orchestrator.kill_hard();
    // How many failures it takes depends on the good calls that other tests have made just before.
    let mut answers = vec![answered(&world.ask())];
    while answers[answers.len() - 1]["route"]["reason"] != "breaker-open" && answers.len() < BAD_CALLS_MAX {
        answers.push(answered(&world.ask()));
    }
    for body in &answers {
        assert_eq!(body["route"]["by"], "fallback", "{body}");
        assert_eq!(body["status"], "completed", "{body}");
    }
    assert_eq!(answers[0]["route"]["reason"], "unreachable");
    // After so many it is not even asked.
    assert_eq!(answers[answers.len() - 1]["route"]["reason"], "breaker-open");
    // What is to be settled survives the gateway.
    world.gateway.kill_hard();
    world.gateway.restart();
    world.orchestrator.start();
    for body in &answers {
        world.is_settled(body);
    }
    world.mend();
}

#[test]
fn with_an_empty_database_it_has_to_learn_of_the_gateway_again() {
    let mut world = world();
    // It does not register the gateway again before it is told to.
    let refusing = json!({ "registration": "status", "registration_status": 503 });
    world.orchestrator.start_behaving(refusing);
    world.orchestrator.restart_empty();
    world.orchestrator.start_behaving(json!({}));
    let bodies: Vec<_> = (0..3).map(|_| world.falls_back("not-registered")).collect();
    world.mend();
    for body in &bodies {
        world.is_settled(body);
    }
}

#[test]
fn flapping_fails_no_call() {
    let world = world();
    let mut bodies = Vec::new();
    for round in 0..12 {
        let behaviour = match round % 3 {
            0 => json!({ "runs": "status", "status": 503 }),
            1 => json!({}),
            _ => json!({ "runs": "garbage" }),
        };
        world.orchestrator.behave(&behaviour);
        let body = answered(&world.ask());
        assert_eq!(body["status"], "completed", "{body}");
        bodies.push(body);
    }
    world.orchestrator.behave(&json!({}));
    bodies.retain(|body| body["route"]["by"] == "fallback");
    // Two of three rounds are bad ones.
    assert!(bodies.len() >= 8, "{bodies:?}");
    for body in &bodies {
        world.is_settled(body);
    }
}

#[test]
fn text_goes_the_same_way() {
    let world = world();
    let text = json!({ "text": "Which category is this: I was charged twice?" });
    let body = answered(&call(&world.gateway, &world.key, "/query", &text).send());
    assert_eq!(body["route"]["by"], "orchestrated", "{body}");
    assert_eq!(
        (&body["choice"]["agent"], &body["output"]["category"]),
        (&json!("triage"), &json!("support"))
    );
}

#[test]
fn what_is_not_an_answer_of_the_orchestrator_is_checked_here_first() {
    let world = world();
    let before = world.orchestrator.handed_on();
    assert!(!before.is_empty(), "calls of `mend`");
    let wrong = json!({ "input": {} });
    call(&world.gateway, &world.key, "/agents/triage/query", &wrong)
        .send()
        .problem(422, "schema-violated");
    assert_eq!(world.orchestrator.handed_on(), before);
}
