//! Calls that name the generation of a lease.

use super::*;
use crate::link::KnownLease;

const GENERATION: HeaderName = HeaderName::from_static("baton-generation");

fn under(generation: u64, call: Call) -> Call {
    call.with(GENERATION, &generation.to_string())
}

fn of_step(run: &str, step: &str) -> Call {
    Call::step(json!({"run": run, "step": step, "input": {"text": "I cannot log in"}}))
}

#[test]
fn an_older_generation_is_refused() {
    let bench = Bench::new();
    assert_eq!(bench.call(&under(2, of_step("r", "a"))).0, 200);
    let (status, problem, _) = bench.call(&under(1, of_step("r", "b")));
    assert_eq!((status, &problem["code"]), (409, &json!("generation-outdated")));
    assert_eq!(
        (&problem["known_generation"], &problem["retryable"]),
        (&json!(2), &json!(false))
    );
    // Nothing was executed: another input under the same step is no other call.
    let fresh = Call::step(json!({"run": "r", "step": "b", "input": {"text": "another"}}));
    assert_eq!(bench.call(&under(2, fresh)).0, 200);
    // A run that has not seen the later one, and a call that names none.
    assert_eq!(bench.call(&under(1, of_step("other", "a"))).0, 200);
    assert_eq!(bench.call(&of_step("r", "c")).0, 200);
}

#[test]
fn a_stored_answer_is_given_under_every_generation() {
    let bench = Bench::new();
    let (_, first, _) = bench.call(&under(1, of_step("r", "a")));
    assert_eq!(bench.call(&under(2, of_step("r", "b"))).0, 200);
    let (status, again, record) = bench.call(&under(1, of_step("r", "a")));
    assert_eq!((status, again, record.replayed), (200, first, true));
}

#[test]
fn every_call_with_an_effect_is_fenced() {
    let bench = Bench::new();
    assert_eq!(bench.call(&under(2, of_step("r", "a"))).0, 200);
    let mut state = Call::new("PUT", "/runs/r/state").with(IF_NONE_MATCH, "*");
    state.body = "1".into();
    let mut handoff = Call::new("POST", "/agents/triage/handoffs");
    handoff.body = json!({"run": "r", "from": "me", "reason": "why"}).to_string();
    handoff.key = "h".into();
    let cancel = Call::new("POST", "/runs/r/steps/a/cancel");
    let delete = Call::new("DELETE", "/runs/r");
    for call in [state, handoff, cancel, delete] {
        bench.check(&under(1, call), 409, "generation-outdated");
    }
    // To look is no effect.
    assert_eq!(bench.call(&under(1, Call::new("GET", "/runs/r"))).0, 200);
}

#[test]
fn the_gateways_own_lease_counts_for_runs_that_saw_none() {
    let bench = Bench::new();
    let lease = |granted, ended| {
        bench.platform.lease.replace(Some(KnownLease {
            granted,
            ended,
            refused: false,
            signing_keyid: None,
        }));
    };
    lease(3, false);
    bench.check(&under(2, of_step("r", "a")), 409, "generation-outdated");
    assert_eq!(bench.call(&under(3, of_step("r", "a"))).0, 200);
    // A lease that ended here may not have ended there: the orchestrator's clock decides.
    lease(3, true);
    assert_eq!(bench.call(&under(3, of_step("r", "b"))).0, 200);
    assert_eq!(bench.call(&under(4, of_step("r", "c"))).0, 200);
}

#[test]
fn what_is_no_generation_is_refused_before_anything_is_read() {
    let bench = Bench::new();
    let mut call = of_step("r", "a").with(GENERATION, "0");
    call.body = "{".into();
    let (request, _) = bench.sign(&call);
    let (response, record) = bench.handle(&request);
    assert_eq!(
        (response.status().as_u16(), record.problem),
        (400, Some("generation-invalid"))
    );
}
