//! Runs that a gateway hands on: `POST /runs`, signed.
//!
//! A client came to the gateway; the orchestrator plans. Here it plans one step, with the ids that the gateway chose, on that
//! very gateway, and its answer is what came of it. The gateway may ask again, so a run is begun once and answered alike.

use std::sync::Arc;

use baton::signature::{Verified, digest};
use baton::telemetry::trace_context::TraceContext;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::drive::{DEADLINE_PASSED, drive};
use crate::error::Problem;
use crate::model::{Mode, Progress, Run};
use crate::runs::{self, DEADLINE_MAX_MS, Place};
use crate::store::{Handed, NewRun, NewStep};
use crate::{Orchestrator, json, outside};

/// A step's id has at most this many bytes.
pub const STEP_ID_MAX_BYTES: usize = 128;
/// How often a repeated call looks whether its run has ended, in milliseconds.
const LOOK_EVERY_MS: u64 = 20;
/// A run that ends at its deadline is written down within this time, in milliseconds: a repeated call waits for that.
const LATE_MAX_MS: u64 = 500;

/// What a gateway sends to hand a run on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandedRun {
    /// The run's id, which is the call's idempotency key, too.
    pub run: String,
    /// The gateway's id: the step is invoked there.
    pub gateway: String,
    /// The agent.
    pub agent: String,
    /// The step's id.
    pub step: String,
    /// The agent's input.
    pub input: Value,
    /// How long the run may take from now on, in milliseconds.
    pub deadline_ms: u64,
}

/// A gateway's call that hands a run on.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Whose it is.
    pub caller: &'a Verified,
    /// Its head.
    pub parts: &'a Parts,
    /// Its body.
    pub body: &'a [u8],
}

/// A run that is under way, or has ended.
struct Begun {
    run: String,
    deadline_at_ms: u64,
    /// Where this call began it: it is this call's to drive.
    place: Option<Place>,
}

/// Takes a run, drives it, and answers with its outcome: status and body.
///
/// # Errors
/// When the request is malformed, the gateway is not registered, the id stands for another run, or the deadline passes.
pub fn take(app: &Orchestrator, call: Call<'_>) -> Result<(u16, Value), Problem> {
    let begun = begin(app, call)?;
    if let Some(place) = begun.place {
        drive(app, &begun.run, begun.deadline_at_ms)?;
        drop(place);
    }
    let give_up_at_ms = begun.deadline_at_ms.saturating_add(LATE_MAX_MS);
    loop {
        let run = app.store.run(&begun.run)?.ok_or(Problem::UnknownRun)?;
        if run.status != Progress::Running {
            return answer(&run);
        }
        if outside::now_ms() >= give_up_at_ms {
            return Err(Problem::DeadlineExceeded);
        }
        if app.stop.wait_ms(LOOK_EVERY_MS) {
            return Err(Problem::Stopping);
        }
    }
}

/// Takes a run whose answer nobody waits for. That it cannot be begun is for the log.
pub fn take_in_background(app: &Arc<Orchestrator>, call: Call<'_>) {
    let begun = match begin(app, call) {
        Ok(begun) => begun,
        Err(problem) => {
            let facts = json!({ "problem": problem.code(), "reason": problem.to_string() });
            return app.log.event(outside::now_ms(), "run_not_begun", facts);
        }
    };
    let Some(place) = begun.place else { return };
    let app = Arc::clone(app);
    std::thread::spawn(move || {
        if let Err(error) = drive(&app, &begun.run, begun.deadline_at_ms) {
            let facts = json!({ "run": begun.run, "cause": error.cause() });
            app.log.event(outside::now_ms(), "run_stuck", facts);
        }
        drop(place);
    });
}

fn begin(app: &Orchestrator, call: Call<'_>) -> Result<Begun, Problem> {
    let Call { caller, parts, body } = call;
    let request: HandedRun = json::parse(body)?;
    check(&request, caller.idempotency_key().unwrap_or_default())?;
    caller.authorise(&request.agent)?;
    let now_ms = outside::now_ms();
    let body_digest = digest::content_digest(body);
    // Before the registration is looked for: what ended is answered even when the gateway has gone.
    if let Some(begun) = again(app, &request.run, &body_digest)? {
        return Ok(begun);
    }
    let live = app.store.live_gateway(&request.gateway, now_ms)?;
    // The run would wait for a gateway that takes no new steps.
    let Some(registration) = live.filter(|live| !live.is_draining()) else {
        let gateway = request.gateway;
        return Err(Problem::GatewayNotRegistered { gateway });
    };
    if !registration.agents.contains(&request.agent) {
        let agent = request.agent;
        return Err(Problem::UnknownAgent { agent });
    }
    let place = runs::enter(app)?;
    let gateway = request.gateway.clone();
    let new = plan(request, now_ms);
    let traceparent = parts.headers.get("traceparent").and_then(|field| field.to_str().ok());
    let handed = Handed {
        gateway: &gateway,
        body_digest: &body_digest,
        // One that cannot be read begins a new trace, as the standard says.
        traceparent: traceparent.filter(|span| TraceContext::parse(span).is_some()),
    };
    if app.store.create_handed_run(&new, handed, now_ms)? {
        let facts = json!({ "run": new.run, "gateway": gateway });
        app.log.event(now_ms, "run_handed_on", facts);
        return Ok(Begun {
            run: new.run,
            deadline_at_ms: new.deadline_at_ms,
            place: Some(place),
        });
    }
    // The same call at the same time, or a run of somebody else.
    again(app, &new.run, &body_digest)?.ok_or(Problem::RunExists { run: new.run })
}

/// The run that an earlier call began.
fn again(app: &Orchestrator, run: &str, body_digest: &str) -> Result<Option<Begun>, Problem> {
    match app.store.handed_run(run)? {
        None => Ok(None),
        Some(known) if known.body_digest == body_digest => Ok(Some(Begun {
            run: run.to_owned(),
            deadline_at_ms: known.deadline_at_ms,
            place: None,
        })),
        Some(_) => Err(Problem::RunMismatch),
    }
}

fn check(request: &HandedRun, idempotency_key: &str) -> Result<(), Problem> {
    let invalid = |reason: &str| Err(Problem::Invalid { reason: reason.into() });
    runs::check_run_id(&request.run)?;
    if idempotency_key != request.run {
        return invalid("the Idempotency-Key must be the run's id");
    }
    check_step_id(&request.step)?;
    if !(1..=DEADLINE_MAX_MS).contains(&request.deadline_ms) {
        return invalid("deadline_ms must be 1 to 300000");
    }
    Ok(())
}

/// Checks a step's id as gateways take it.
///
/// # Errors
/// [`Problem::Invalid`].
pub fn check_step_id(step: &str) -> Result<(), Problem> {
    let dots = step == "." || step == "..";
    if !(1..=STEP_ID_MAX_BYTES).contains(&step.len()) || step.chars().any(char::is_control) || dots {
        let reason = "step must be 1 to 128 bytes without control characters, and not `.` or `..`".into();
        return Err(Problem::Invalid { reason });
    }
    Ok(())
}

fn plan(request: HandedRun, now_ms: u64) -> NewRun {
    let HandedRun {
        run,
        agent,
        step,
        input,
        deadline_ms,
        ..
    } = request;
    NewRun {
        deadline_at_ms: now_ms.saturating_add(deadline_ms),
        state: None,
        steps: vec![NewStep {
            members: runs::members(&run, &step, &input, Some(deadline_ms), None),
            step,
            agent,
            input,
            mode: Mode::Sync,
        }],
        run,
    }
}

/// The answer for a run that ended: always the same.
fn answer(run: &Run) -> Result<(u16, Value), Problem> {
    let step = run.steps.first().ok_or(Problem::Internal)?;
    // A settlement that knows nothing of the step ends it without an outcome.
    let outcome = step.outcome.clone().unwrap_or_else(|| {
        let message = "the gateway settled the run without this step";
        let error = json!({ "code": "run-settled", "message": message, "retryable": false });
        json!({ "status": "failed", "error": error })
    });
    if !step.verified && outcome["error"]["code"] == DEADLINE_PASSED {
        return Err(Problem::DeadlineExceeded);
    }
    let status = match step.status {
        Progress::Completed => "completed",
        _ => "failed",
    };
    Ok((
        200,
        json!({ "run": run.run, "status": status, "outcome": outcome, "verified": step.verified }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_on_has_its_limits() {
        let check_one = |change: &dyn Fn(&mut HandedRun), expected: &str| {
            let mut request = HandedRun {
                run: "r.1".into(),
                gateway: "g".into(),
                agent: "a".into(),
                step: "s".into(),
                input: json!(null),
                deadline_ms: 1,
            };
            change(&mut request);
            let found = check(&request, &request.run).map_or_else(|problem| problem.to_string(), |()| "ok".into());
            assert!(found.contains(expected), "{found}, expected {expected}");
        };
        check_one(&|_| {}, "ok");
        check_one(&|request| request.run = "x".repeat(64), "ok");
        check_one(&|request| request.run = "x".repeat(65), "run must be");
        check_one(&|request| request.run = "a/b".into(), "run must be");
        check_one(&|request| request.step = "s".repeat(128), "ok");
        check_one(&|request| request.step = "s".repeat(129), "step must be");
        check_one(&|request| request.step.clear(), "step must be");
        check_one(&|request| request.deadline_ms = 0, "deadline_ms");
        check_one(&|request| request.deadline_ms = 300_000, "ok");
        check_one(&|request| request.deadline_ms = 300_001, "deadline_ms");
    }

    #[test]
    fn the_step_carries_exactly_what_was_given() {
        let request: HandedRun = json::parse(
            br#"{"run":"r","gateway":"g","agent":"a","step":"ask","input":{"b":0.1,"a":null},"deadline_ms":500}"#,
        )
        .expect("a request");
        let new = plan(request, 1_000);
        assert_eq!(new.deadline_at_ms, 1_500);
        assert_eq!(
            new.steps[0].members,
            r#""run":"r","step":"ask","input":{"b":0.1,"a":null},"deadline_ms":500"#
        );
        let missing = json::parse::<HandedRun>(br#"{"run":"r","gateway":"g","agent":"a","step":"s","deadline_ms":5}"#);
        assert!(missing.expect_err("a refusal").to_string().contains("input"));
    }
}
