//! Direct calls with an orchestrator: a real one, which is told to hang, to lie, to refuse, and is killed.

use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Instant;

use contract_tests::answer::Answer;
use contract_tests::gateway::Gateway;
use contract_tests::message::Message;
use contract_tests::orchestrator::Orchestrator;
use contract_tests::outside::wait_for;
use serde_json::{Value, json};

use super::{answered, call};
use crate::support::{alone_in, orchestrated};

/// Short, so that a lost registration is soon made anew, in milliseconds.
const LEASE_MS: u64 = 3_000;
/// What a customer gives, in milliseconds; half of it is the orchestrator's.
const DEADLINE_MS: u64 = 3_000;

/// So many calls must fail at the most before the breaker is open: it remembers as many calls as that.
const BAD_CALLS_MAX: usize = 200;

pub(super) struct World {
    pub(super) gateway: Gateway,
    pub(super) orchestrator: Orchestrator,
    pub(super) key: String,
}

/// The one world.
pub(super) fn world() -> MutexGuard<'static, World> {
    static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
    alone_in(&WORLD, World::start, World::mend)
}

impl World {
    fn start() -> Self {
        let (gateway, orchestrator, key) = orchestrated(LEASE_MS);
        let _ = orchestrator.wait_for_live();
        Self {
            gateway,
            orchestrator,
            key,
        }
    }

    fn ask(&self) -> Answer {
        let body = json!({ "input": { "text": "hi" }, "deadline_ms": DEADLINE_MS });
        call(&self.gateway, &self.key, "/agents/echo/query", &body).send()
    }

    /// The orchestrator is well, the gateway registered, and the breaker closed, with more good calls behind it than a test
    /// makes bad ones.
    fn mend(&self) {
        self.orchestrator.behave(&json!({}));
        for _ in 0..3 {
            wait_for("the orchestrator to coordinate", || {
                (answered(&self.ask())["route"]["by"] == "orchestrated").then_some(())
            });
        }
    }

    /// A call that the gateway answers by itself, for this reason, within its deadline.
    #[track_caller]
    fn falls_back(&self, reason: &str) -> Value {
        let begun = Instant::now();
        let body = answered(&self.ask());
        assert_eq!(body["route"]["reason"], reason, "{body}");
        assert_eq!(
            (&body["status"], &body["agent"]),
            (&json!("completed"), &json!("echo")),
            "{body}"
        );
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        assert!(took_ms <= DEADLINE_MS, "{took_ms} ms");
        body
    }

    /// The settlement of a run: there is one, and it tells of the answer that the customer got.
    #[track_caller]
    pub(super) fn is_settled(&self, answer: &Value) {
        let run = answer["run"].as_str().expect("a run");
        let settlement = self.orchestrator.wait_for_settlement(run);
        assert_eq!(settlement["reason"], answer["route"]["reason"], "{settlement}");
        let steps = settlement["steps"].as_array().expect("steps");
        assert_eq!(steps.len(), 1, "{settlement}");
        assert_eq!(steps[0]["answer"]["body"]["output"], answer["output"], "{settlement}");
        // And the operator sees that it was told.
        let shown = wait_for("the acknowledgement", || {
            let look = Message::new(&self.gateway, "GET", &format!("/operator/runs/reference/{run}"));
            let shown = look.signed(self.gateway.key("operator")).send().message(200, "run");
            (shown["settlement"]["status"] == "acknowledged").then_some(shown)
        });
        assert_eq!(shown["settlement"]["reason"], answer["route"]["reason"], "{shown}");
    }
}

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

#[test]
fn a_refusal_of_the_gateway_itself_is_not_passed_by() {
    let world = world();
    world.orchestrator.behave(&json!({ "runs": "status", "status": 401 }));
    let problem = world.ask().problem(503, "orchestrator-unavailable");
    assert!(
        problem["detail"].as_str().expect("a detail").contains("refused"),
        "{problem}"
    );
    wait_for("the operator's alarm", || {
        let events = world.gateway.events();
        let alarm = |event: &&Value| event["event"] == "alarm" && event["subject"] == "orchestrator";
        events.iter().find(alarm).map(|_| ())
    });
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
    crate::log::assert_logs(&world.gateway, "settlement");
    world.mend();
}

#[test]
fn with_an_empty_database_it_has_to_learn_of_the_gateway_again() {
    let mut world = world();
    world.orchestrator.restart_empty();
    let body = answered(&world.ask());
    if body["route"]["by"] == "fallback" {
        assert_eq!(body["route"]["reason"], "not-registered", "{body}");
        world.is_settled(&body);
    }
    world.mend();
}

#[test]
fn flapping_fails_no_call() {
    let world = world();
    for round in 0..12 {
        let behaviour = match round % 3 {
            0 => json!({ "runs": "status", "status": 503 }),
            1 => json!({}),
            _ => json!({ "runs": "garbage" }),
        };
        world.orchestrator.behave(&behaviour);
        let body = answered(&world.ask());
        assert_eq!(body["status"], "completed", "{body}");
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
