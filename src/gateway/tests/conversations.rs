//! Conversations through the gateway: whose they are, and which turn is whose.

use super::direct::World;
use super::*;
use crate::agent::{Cancellation, Journal, LocalBoxFuture};
use crate::conversation::{Ask, ConversationName};
use crate::invocation::Executor;
use crate::manifest::Memory;
use crate::run::call::{self, StateSource};
use crate::run::work::Execution;

/// The bench's `echo` remembers.
fn remembering(mut bench: Bench) -> Bench {
    let echo = bench.team.agents.iter_mut().find(|agent| agent.id == "echo");
    echo.expect("the fixture").memory = Some(Memory::default());
    bench
}

fn step_of(run: &str, input: &Value) -> Call {
    let body = json!({"run": run, "step": "s", "input": input, "conversation": "c"});
    Call {
        path: "/agents/echo/steps".into(),
        ..Call::step(body)
    }
}

/// What was said in the conversation `c` of this owner, as an operator sees it.
fn said(bench: &Bench, owner: &str) -> Vec<String> {
    let signer = bench.signer.replace("operator");
    let (_, kept, _) = bench.call(&Call::new("GET", &format!("/operator/conversations/{owner}/c")));
    bench.signer.set(signer);
    let turns = kept["turns"].as_array().map(Vec::as_slice).unwrap_or_default();
    turns.iter().map(|turn| turn["said"].to_string()).collect()
}

#[test]
fn no_caller_reaches_anothers_conversation() {
    let mut world = World::new();
    world.bench = remembering(world.bench);
    let ask = |world: &World, input: Value| {
        let body = json!({"input": input, "conversation": "c"});
        let (status, body) = world.ask("/agents/echo/query", &body, None);
        assert_eq!((status, &body["status"]), (200, &json!("completed")), "{body}");
    };
    let first = world.becomes_another_customer();
    ask(&world, json!("the first customer"));
    let second = world.becomes_another_customer();
    ask(&world, json!("the second customer"));
    world.bench.call(&step_of("r", &json!("the orchestrator")));
    for (owner, expected) in [
        (format!("key:{first}"), "the first customer"),
        (format!("key:{second}"), "the second customer"),
        ("orchestrator:o".to_owned(), "the orchestrator"),
    ] {
        assert_eq!(said(&world.bench, &owner).len(), 1, "{owner}");
        assert!(said(&world.bench, &owner)[0].contains(expected), "{owner}");
    }
}

#[test]
fn the_ids_of_a_run_that_was_forgotten_may_be_used_for_something_else() {
    let bench = remembering(Bench::new());
    let output = |input: Value| bench.call(&step_of("r", &input)).1["output"]["input"].clone();
    assert_eq!(output(json!("one")), "one");
    bench.send(&Call::new("DELETE", "/runs/r"));
    assert_eq!(output(json!("two")), "two");
    assert_eq!(said(&bench, "orchestrator:o").len(), 2);
    // The same again is the same turn, whatever the order of its members.
    for input in [json!({"a": 1, "b": 2}), json!({"b": 2, "a": 1})] {
        bench.send(&Call::new("DELETE", "/runs/r"));
        output(input);
    }
    assert_eq!(said(&bench, "orchestrator:o").len(), 3);
}

/// Never cancelled.
struct Uncancelled;

impl Cancellation for Uncancelled {
    fn cancelled(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_step_in_the_background_that_was_accepted_before_an_erasure_leaves_nothing_behind() {
    let bench = remembering(Bench::new());
    let name = ConversationName::of_orchestrator("o", "c");
    let journal = Journal::default();
    let executor = Executor {
        team: &bench.team,
        host: &bench.platform,
        cancellation: &Uncancelled,
        journal: &journal,
        ledger: None,
    };
    let execute = |generation: u32, accepted_at_ms: u64| {
        let execution = Execution {
            ordinal: 1,
            generation,
            call: call::Call {
                run: "r".into(),
                step: "s".into(),
                attempt: 1,
                agent: "echo".into(),
                input: json!("secret"),
                state: StateSource::None,
                conversation: Some(name.clone()),
                behalf: call::Behalf::default(),
                deadline_ms: 1_000,
                follow_handoffs: false,
                tries_max: 1,
                text: None,
                traceparent: String::new(),
                request_id: String::new(),
            },
            kept: None,
            used_ms: 0,
            accepted_at_ms: Some(accepted_at_ms),
        };
        let answer = block_on(executor.execute(execution)).commit_request().answer;
        assert!(answer.body.contains("secret"), "{}", answer.body);
    };
    let now_ms = bench.platform.now_ms();
    execute(1, now_ms - 1);
    assert_eq!(said(&bench, "orchestrator:o").len(), 1);
    block_on(bench.platform.conversations().ask(&name, &Ask::Erase)).expect("it is erased");
    execute(2, now_ms - 1);
    assert_eq!(said(&bench, "orchestrator:o"), Vec::<String>::new());
    execute(3, now_ms);
    assert_eq!(said(&bench, "orchestrator:o").len(), 1);
}
