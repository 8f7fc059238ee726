//! Who and what stands in for an agent that fails, within its step.

use super::*;
use crate::agent::{Cancellation, Journal, LocalBoxFuture};
use crate::invocation::Executor;
use crate::manifest::{AgentManifest, Fallback};
use crate::run::call::{self, StateSource};
use crate::run::work::Execution;

/// A bench whose agent has another fallback.
fn with_fallback(agent: &str, agents: &[&str], answer: Option<Value>) -> Bench {
    with(agent, |manifest| {
        manifest.fallback = Fallback {
            agents: agents.iter().map(|id| (*id).to_owned()).collect(),
            answer,
        };
    })
}

fn with(agent: &str, change: impl FnOnce(&mut AgentManifest)) -> Bench {
    let mut bench = Bench::new();
    let found = bench.team.agents.iter_mut().find(|manifest| manifest.id == agent);
    change(found.expect("the agent"));
    bench
}

fn step_of(agent: &str, input: Value) -> Call {
    let mut call = Call::step(json!({"run": "r", "step": "s", "input": input}));
    call.path = format!("/agents/{agent}/steps");
    call
}

/// The outcome of a step, which is one by its schema.
fn outcome(bench: &Bench, call: &Call) -> Value {
    let (status, outcome, _) = bench.call(call);
    assert_eq!(status, 200, "{outcome}");
    let schema = crate::wire::compiled("step-outcome").expect("the schema");
    assert_eq!(schema.get().expect("compiles").violations(&outcome, 9), []);
    outcome
}

fn text<'a>(of: &'a Value, member: &str) -> &'a str {
    of[member].as_str().expect("text")
}

fn failed(outcome: &Value) -> Vec<(&str, &str)> {
    let failed = outcome["failed"].as_array().map(Vec::as_slice).unwrap_or_default();
    failed
        .iter()
        .map(|one| (text(one, "agent"), text(one, "code")))
        .collect()
}

#[test]
fn agents_stand_in_one_after_the_other() {
    let outcome = outcome(&Bench::new(), &step_of("brittle-chain", json!({"code": "broken"})));
    assert_eq!(outcome["status"], "completed");
    assert_eq!(
        (&outcome["agent"], &outcome["answered_by"]),
        (&json!("brittle-chain"), &json!("echo"))
    );
    assert_eq!(outcome["output"]["input"], json!({"code": "broken"}));
    assert_eq!(
        failed(&outcome),
        [("brittle-chain", "broken"), ("brittle-static", "broken")]
    );
    let hops: Vec<_> = outcome["hops"].as_array().expect("hops").iter().collect();
    let told: Vec<_> = hops
        .iter()
        .map(|hop| (&hop["agent"], &hop["to"], &hop["error"]))
        .collect();
    assert_eq!(
        told,
        [
            (&json!("brittle-chain"), &json!("brittle-static"), &json!("broken")),
            (&json!("brittle-static"), &json!("echo"), &json!("broken")),
        ]
    );
    assert_eq!((outcome.get("stand_in"), outcome.get("error")), (None, None));
}

#[test]
fn then_the_answer_that_is_ready_does() {
    let outcome = outcome(&Bench::new(), &step_of("brittle-static", json!({"code": "broken"})));
    assert_eq!(
        (&outcome["status"], &outcome["output"]),
        (&json!("completed"), &json!({"attempt": 0}))
    );
    assert_eq!((&outcome["stand_in"], outcome.get("answered_by")), (&json!(true), None));
    assert_eq!(failed(&outcome), [("brittle-static", "broken")]);
}

#[test]
fn where_all_fail_the_step_fails() {
    let bench = with_fallback("brittle", &["brittle-static"], None);
    let outcome = outcome(&bench, &step_of("brittle", json!({"code": "broken"})));
    assert_eq!(
        (&outcome["status"], &outcome["error"]["code"]),
        (&json!("failed"), &json!("broken"))
    );
    assert_eq!(failed(&outcome), [("brittle", "broken"), ("brittle-static", "broken")]);
}

#[test]
fn an_agent_without_a_fallback_fails_as_ever() {
    let outcome = outcome(&Bench::new(), &step_of("fail", json!({"code": "broken"})));
    assert_eq!((&outcome["status"], outcome.get("failed")), (&json!("failed"), None));
}

#[test]
fn while_a_further_try_may_help_nobody_stands_in() {
    let bench = with("brittle-static", |agent| agent.retry.max_attempts = 2);
    let attempt = |attempt: u32| {
        let mut call = step_of("brittle-static", json!({"code": "busy", "retry_after_ms": 1}));
        let mut body: Value = serde_json::from_str(&call.body).expect("JSON");
        body["attempt"] = attempt.into();
        call.body = body.to_string();
        call.key = format!("r/s/{attempt}");
        outcome(&bench, &call)
    };
    let first = attempt(1);
    assert_eq!(
        (&first["status"], &first["error"]["retryable"]),
        (&json!("failed"), &json!(true))
    );
    assert_eq!(first.get("failed"), None);
    let second = attempt(2);
    assert_eq!(second["stand_in"], true, "{second}");
    // What no further try would mend is answered at once.
    let bench = with("brittle-static", |agent| agent.retry.max_attempts = 2);
    let terminal = outcome(&bench, &step_of("brittle-static", json!({"code": "broken"})));
    assert_eq!(terminal["stand_in"], true, "{terminal}");
}

#[test]
fn an_agent_that_failed_for_good_is_not_tried_again_for_a_stand_ins_sake() {
    let asked = |agents: &[&str]| {
        let bench = with("bad-output", |agent| {
            agent.retry.max_attempts = 3;
            agent.fallback.agents = agents.iter().map(|id| (*id).to_owned()).collect();
        });
        outcome(
            &bench,
            &step_of("bad-output", json!({"code": "busy", "retry_after_ms": 1})),
        )
    };
    let stood_in = asked(&["fail", "echo"]);
    assert_eq!(stood_in["answered_by"], "echo", "{stood_in}");
    assert_eq!(
        failed(&stood_in),
        [("bad-output", "output-schema-violated"), ("fail", "busy")]
    );
    // A further try would begin with the one that cannot succeed.
    let all_fail = asked(&["fail"]);
    let error = (&all_fail["error"]["code"], &all_fail["error"]["retryable"]);
    assert_eq!(error, (&json!("busy"), &json!(false)), "{all_fail}");
}

#[test]
fn one_that_takes_another_input_is_passed_over() {
    let bench = with_fallback("brittle", &["triage", "echo"], None);
    let outcome = outcome(&bench, &step_of("brittle", json!({"code": "broken"})));
    assert_eq!(outcome["answered_by"], "echo");
    assert_eq!(
        failed(&outcome),
        [("brittle", "broken"), ("triage", "input-not-accepted")]
    );
    assert_eq!(
        outcome["hops"].as_array().map(Vec::len),
        Some(1),
        "who did not work is no hop"
    );
}

#[test]
fn what_a_failed_agent_did_to_the_state_does_not_count() {
    let bench = with_fallback("script", &["script-again"], None);
    let actions = json!({"actions": [{"merge_state": {"x": 1}}, {"fail": {"code": "no"}}]});
    let mut call = step_of("script", actions);
    call.body = call.body.replacen('{', r#"{"state":{"count":7},"#, 1);
    let all_fail = outcome(&bench, &call);
    // The one that stands in is told to fail as well.
    assert_eq!((&all_fail["status"], all_fail.get("state")), (&json!("failed"), None));

    let bench = with_fallback("script", &["echo"], None);
    let outcome = outcome(&bench, &call);
    assert_eq!(outcome["output"]["state"], json!({"count": 7}), "the state as it was");
    assert_eq!(outcome.get("state"), None);
}

#[test]
fn a_panic_is_a_failure_for_which_somebody_stands_in() {
    let bench = with_fallback("panic", &["echo"], None);
    let outcome = outcome(&bench, &step_of("panic", json!({"panic": true})));
    assert_eq!(
        (&outcome["answered_by"], failed(&outcome)),
        (&json!("echo"), vec![("panic", "agent-panicked")])
    );
}

/// Cancelled from the beginning, or never.
struct Cancelled(bool);

impl Cancellation for Cancelled {
    fn cancelled(&self) -> LocalBoxFuture<'_, ()> {
        if self.0 {
            Box::pin(std::future::ready(()))
        } else {
            Box::pin(std::future::pending())
        }
    }
}

/// The answer of `script`, which has an answer ready and waits until it is cancelled. Every wait of the bench is over at once,
/// so that its deadline has passed.
fn waiting(fallback: Option<Value>, cancelled: bool) -> Value {
    let bench = with_fallback("script", &["echo"], fallback);
    let journal = Journal::default();
    let executor = Executor {
        team: &bench.team,
        host: &bench.platform,
        cancellation: &Cancelled(cancelled),
        journal: &journal,
        ledger: None,
    };
    let execution = Execution {
        ordinal: 1,
        generation: 1,
        call: call::Call {
            run: "r".into(),
            step: "s".into(),
            attempt: 1,
            agent: "script".into(),
            input: json!({"actions": ["await_cancellation", {"fail": {"code": "late"}}]}),
            state: StateSource::None,
            conversation: None,
            deadline_ms: 1_000,
            follow_handoffs: false,
            tries_max: 1,
            text: None,
            traceparent: String::new(),
            request_id: String::new(),
            behalf: call::Behalf::default(),
        },
        kept: None,
        used_ms: 0,
        accepted_at_ms: None,
    };
    let executed = block_on(executor.execute(execution));
    serde_json::from_str(&executed.commit_request().answer.body).expect("JSON")
}

#[test]
fn the_answer_that_is_ready_is_in_time() {
    assert_eq!(waiting(None, false)["code"], "deadline-exceeded");
    let outcome = waiting(Some(json!({"state": null, "executed_at_ms": 0})), false);
    let told = (&outcome["stand_in"], failed(&outcome));
    assert_eq!(told, (&json!(true), vec![("script", "deadline-exceeded")]));
}

#[test]
fn nobody_stands_in_for_a_cancelled_step() {
    let outcome = waiting(Some(json!({"state": null, "executed_at_ms": 0})), true);
    assert_eq!(outcome["error"]["code"], "late", "{outcome}");
    assert_eq!((outcome.get("failed"), outcome.get("stand_in")), (None, None));
}

#[test]
fn a_customers_text_is_put_in_another_form_for_who_stands_in() {
    let mut world = super::direct::World::new();
    let brittle = world.bench.team.agents.iter_mut().find(|agent| agent.id == "brittle");
    brittle.expect("the fixture").fallback.agents = vec!["triage".to_owned()];
    let (status, body) = world.ask("/agents/brittle/query", &json!({"text": "I cannot log in"}), None);
    assert_eq!(
        (status, &body["agent"], &body["output"]["category"]),
        (200, &json!("triage"), &json!("support"))
    );
    assert_eq!(failed(&body), [("brittle", "brittle")]);
    // Its own input is all that there is where the customer gave one.
    let (_, body) = world.ask("/agents/brittle/query", &json!({"input": {"code": "broken"}}), None);
    assert_eq!(failed(&body), [("brittle", "broken"), ("triage", "input-not-accepted")]);
    assert_eq!(body["status"], "failed");
}

#[test]
fn the_answer_that_is_ready_is_not_for_a_step_that_the_orchestrator_cancelled() {
    let world = super::direct::World::new().with(super::direct::completed);
    let text = json!({"text": "I cannot log in"});
    let (_, handed_on) = world.ask("/agents/triage/query", &text, Some("again"));
    let run = handed_on["run"].as_str().expect("a run");
    let step = Call::step(json!({"run": run, "step": crate::direct::STEP, "input": text}));
    let prefer = HeaderName::from_static("prefer");
    assert_eq!(world.bench.call(&step.with(prefer, "respond-async")).0, 202);
    let mut cancel = Call::new("POST", &format!("/runs/{run}/steps/{}/cancel", crate::direct::STEP));
    cancel.key = "cancel".into();
    assert_eq!(world.bench.call(&cancel).0, 200);
    let world = world.with(|_| (503, json!({})));
    let (status, body) = world.ask("/agents/triage/query", &text, Some("again"));
    assert_eq!(
        (status, &body["status"], body.get("stand_in")),
        (200, &json!("cancelled"), None),
        "{body}"
    );
}
