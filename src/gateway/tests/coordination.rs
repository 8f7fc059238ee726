//! Who coordinates a direct call: one of several orchestrators, the gateway beside one, and the classifier before that.

use super::direct::{World, completed};
use super::object::after_polls;
use super::*;
use crate::config::Orchestrator;
use crate::platform::Unanswered;
use crate::run::status::{AskStep, StepStatus};
use crate::run::{Asked, Told};

/// A world with a second orchestrator, `p`, that may invoke these agents.
fn with_a_second(agents: &[&str]) -> World {
    let mut world = World::new();
    let secret = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    let mut keys: Vec<Value> = world
        .bench
        .config
        .keyring
        .iter()
        .map(signature::keys::record_to_json)
        .collect();
    keys.extend([
        json!({"id": "p-register", "orchestrator": "p", "purposes": ["register"], "secret": secret}),
        json!({"id": "p-invoke", "orchestrator": "p", "purposes": ["invoke"], "secret": secret, "agents": agents}),
    ]);
    world.bench.config.keyring = Keyring::parse(&Value::from(keys).to_string()).expect("keys");
    world.bench.config.orchestrators.push(Orchestrator {
        id: "p".into(),
        url: "https://p.example".into(),
        callback_origins: Vec::new(),
        fallback_when_refused: false,
        telemetry_url: None,
        max_concurrent_steps: None,
    });
    world
}

/// Nobody is at the first one's address.
fn without_the_first(world: World) -> World {
    let second = world.bench.platform.orchestrator.take().expect("an orchestrator");
    let answer = move |request: &http::Request<Vec<u8>>| match request.uri().host() {
        Some("o.example") => Err(Unanswered::Failed("no connection".into())),
        _ => second(request),
    };
    *world.bench.platform.orchestrator.borrow_mut() = Some(Box::new(answer));
    world
}

fn sent(world: &World) -> Vec<String> {
    let sent = world.bench.platform.sent.borrow();
    let hosts = sent
        .iter()
        .filter_map(|url| url.strip_prefix("https://")?.split('.').next());
    hosts.map(str::to_owned).collect()
}

/// Changes what the manifest of an agent says about direct calls.
fn declare(world: &mut World, agent: &str, change: impl Fn(&mut crate::manifest::Direct)) {
    let mut agents = world.bench.team.agents.iter_mut();
    change(&mut agents.find(|known| known.id == agent).expect(agent).direct);
}

fn step_of(world: &World, orchestrator: &str, run: &Value) -> Option<Box<StepStatus>> {
    let asked = Asked {
        claimant: "test".into(),
        nonce: None,
        named: None,
        question: AskStep { step: "query".into() },
    };
    let run = RunName::new(orchestrator, run.as_str().expect("a run"));
    match block_on(world.bench.platform.ask(&run, &asked)) {
        Ok(Told::Answer(status)) => status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_that_the_first_was_not_handed_goes_to_the_second() {
    let world = without_the_first(with_a_second(&["*"]).with(completed));
    let (status, body) = world.triage();
    let tried = json!([{"orchestrator": "o", "reason": "unreachable"}]);
    assert_eq!(
        (status, &body["route"]),
        (200, &json!({"by": "orchestrated", "orchestrator": "p", "tried": tried}))
    );
    assert_eq!(sent(&world), ["o", "p"]);
    // Should the first have heard of it all the same, it can do nothing with it.
    let late = Call::step(json!({"run": body["run"], "step": "query", "input": {"text": "I cannot log in"}}));
    world.bench.check(&late, 409, "run-taken-over");
}

#[test]
fn a_call_that_the_first_may_have_begun_stays_with_it() {
    for says in [
        (|_: &Value| (503, json!({}))) as super::direct::Says,
        |_| (504, json!({})),
        |_| (200, json!({"hello": "world"})),
    ] {
        let world = with_a_second(&["*"]).with(says);
        let (status, body) = world.triage();
        assert_eq!((status, &body["route"]["by"]), (200, &json!("fallback")));
        assert_eq!(body["route"]["orchestrator"], "o");
        assert_eq!(sent(&world), ["o"]);
    }
}

#[test]
fn a_repeated_call_stays_with_whom_it_was_passed_on_to() {
    let world = without_the_first(with_a_second(&["*"]).with(completed));
    let ask = |world: &World| {
        world
            .ask(
                "/agents/triage/query",
                &json!({"text": "I cannot log in"}),
                Some("mine"),
            )
            .1
    };
    assert_eq!(ask(&world)["route"]["orchestrator"], "p");
    // The first one is back: the run is not its any more.
    let world = world.with(completed);
    assert_eq!(ask(&world)["route"]["orchestrator"], "p");
    assert_eq!(sent(&world), ["o", "p", "p"]);
}

#[test]
fn only_those_are_asked_that_may_invoke_the_agent() {
    let mut world = with_a_second(&["redact"]).with(|_| (409, json!({"code": "gateway-not-registered"})));
    assert_eq!(world.triage().1["route"]["reason"], "not-registered");
    assert_eq!(sent(&world), ["o"]);
    // Of two, none: the gateway has nobody to ask.
    let keys: Vec<Value> = world
        .bench
        .config
        .keyring
        .iter()
        .map(signature::keys::record_to_json)
        .collect();
    let keys = Value::from(keys)
        .to_string()
        .replace("\"agents\":[\"*\"]", "\"agents\":[\"redact\"]");
    world.bench.config.keyring = Keyring::parse(&keys).expect("keys");
    assert_eq!(world.triage().1["route"], json!({"by": "local"}));
    declare(&mut world, "triage", |direct| direct.fallback = false);
    let (status, body) = world.triage();
    assert_eq!((status, body["code"].as_str()), (503, Some("orchestrator-unavailable")));
    assert_eq!(sent(&world), ["o"]);
}

#[test]
fn a_hedge_that_ends_first_has_the_run() {
    let mut world = World::new().with(completed);
    declare(&mut world, "triage", |direct| direct.hedge_after_ms = Some(10));
    world.bench.platform.thinks.set(true);
    let (status, body) = world.triage();
    assert_eq!((status, &body["route"]["reason"]), (200, &json!("hedged")), "{body}");
    let step = |step: &str| Call::step(json!({"run": body["run"], "step": step, "input": {"text": "I cannot log in"}}));
    let (status, same, _) = world.bench.call(&step("query"));
    assert_eq!((status, &same["output"]), (200, &body["output"]));
    world.bench.check(&step("another"), 409, "run-taken-over");
    // That is nothing against the orchestrator, unless it had been slow by then.
    for _ in 0..2 * crate::breaker::SAMPLES_MIN {
        assert_eq!(world.triage().1["route"]["reason"], "hedged");
    }
    world.bench.platform.slowness_ms.set(2_000);
    for _ in 0..crate::breaker::SAMPLES_MIN {
        assert_eq!(world.triage().1["route"]["reason"], "hedged");
    }
    assert_eq!(world.triage().1["route"]["reason"], "breaker-open");
}

#[test]
fn a_hedge_that_is_not_needed_leaves_the_run_alone() {
    let mut world = World::new().with(completed);
    declare(&mut world, "triage", |direct| direct.hedge_after_ms = Some(10));
    let (_, body) = world.triage();
    assert_eq!(body["route"]["by"], "orchestrated");
    assert!(step_of(&world, "o", &body["run"]).is_none());
}

#[test]
fn what_does_not_complete_is_no_reason_to_take_the_run() {
    let mut world = World::new().with(completed);
    declare(&mut world, "fail", |direct| direct.hedge_after_ms = Some(10));
    world.bench.platform.thinks.set(true);
    let request = world.request("/agents/fail/query", &json!({"input": {"code": "broken"}}), None);
    let (response, _) = after_polls(2, world.bench.handling(&request));
    let Body::Whole(body) = response.into_body() else {
        panic!("a stream")
    };
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["route"]["by"], "orchestrated", "{body}");
    let step = step_of(&world, "o", &body["run"]).expect("the hedge's step");
    assert_eq!(step.answer.expect("its answer").body["status"], "failed");
    let another = Call::step(json!({"run": body["run"], "step": "another", "input": {"text": "I cannot log in"}}));
    assert_eq!(world.bench.call(&another).0, 200, "the run is the orchestrator's");
}

#[test]
fn an_orchestrator_that_declines_ends_the_hedge() {
    let mut world = World::new().with(|_| (403, json!({"code": "no", "detail": "why"})));
    declare(&mut world, "script", |direct| direct.hedge_after_ms = Some(10));
    world.bench.platform.thinks.set(true);
    let body = json!({"input": {"actions": ["await_cancellation"]}});
    let request = world.request("/agents/script/query", &body, Some("mine"));
    let (response, record) = after_polls(2, world.bench.handling(&request));
    assert_eq!(
        (response.status().as_u16(), record.problem),
        (403, Some("orchestrator-declined"))
    );
    let runs: Vec<String> = world.bench.platform.runs.borrow().keys().cloned().collect();
    let run = runs[0].strip_prefix("1:o/").expect("a run of the orchestrator's");
    let step = step_of(&world, "o", &json!(run)).expect("the hedge's step");
    assert_eq!(step.answer.expect("its answer").body["status"], "cancelled");
}

/// A world whose router is unsure of everything and asks an agent that says this.
fn with_a_classifier(says: &Value) -> World {
    let mut world = World::new().with(completed);
    let team = &mut world.bench.team;
    let rules = json!({"rules": [{"name": "any", "when": true, "then": says}]});
    let sort = json!({
        "id": "sort", "version": "1.0.0", "title": "S", "description": "Sorts.", "kind": "rules", "rules": rules,
        "input": {"type": "object", "required": ["text", "agents"]}, "output": true, "visibility": "internal",
    });
    team.agents.push(serde_json::from_value(sort).expect("an agent"));
    team.gateway.routing.classifier = Some("sort".into());
    team.gateway.routing.confidence_min = 0.5;
    world
}

#[test]
fn the_classifier_chooses_where_the_phrases_do_not() {
    let verdict = json!({"agent": "redact", "confidence": 0.75, "reason": "It has names."});
    let check = |says: &Value, text: &str, deadline_ms: u64, agent: &str, words: &str| {
        let world = with_a_classifier(says);
        let body = json!({"text": text, "deadline_ms": deadline_ms});
        let (status, body) = world.ask("/query", &body, Some("mine"));
        assert_eq!((status, &body["choice"]["agent"]), (200, &json!(agent)), "{body}");
        let reason = body["choice"]["reason"].as_str().expect("a reason");
        assert!(reason.contains(words), "{reason}");
        assert_eq!(body["route"]["by"], "orchestrated", "{body}");
    };
    check(
        &verdict,
        "Hello there",
        5_000,
        "redact",
        "The classifier `sort` says: It has names.",
    );
    check(&verdict, "Please summarize this report", 5_000, "summarize", "Found");
    check(
        &json!("what?"),
        "Hello there",
        5_000,
        "front-desk",
        "no {agent, confidence, reason}",
    );
    check(
        &json!({"agent": "sort", "confidence": 1, "reason": "Me."}),
        "Hello there",
        5_000,
        "front-desk",
        "none of the agents",
    );
    check(
        &json!("{{ input.none }}"),
        "Hello there",
        5_000,
        "front-desk",
        "no verdict (rule-failed)",
    );
    check(
        &verdict,
        "Hello there",
        200,
        "front-desk",
        "did not answer within 50 ms",
    );
}

#[test]
fn the_same_call_gets_the_same_verdict() {
    let world = with_a_classifier(&json!({"agent": "summarize", "confidence": 1, "reason": "It is long."}));
    let ask = |text: &str| world.ask("/query", &json!({ "text": text }), Some("mine"));
    assert_eq!(ask("Hello there").1["choice"]["agent"], "summarize");
    assert_eq!(ask("Hello there").1["choice"]["agent"], "summarize");
    let (status, body) = ask("Hello you");
    assert_eq!((status, body["code"].as_str()), (422, Some("idempotency-key-reused")));
}
