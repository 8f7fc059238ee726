//! Runs: steps on gateways, one after the other, to their end or to the deadline.
//!
//! Nothing about a run is kept in memory alone. A process that is killed in the middle finds its runs in the database and
//! goes on with the same idempotency keys, so that no step has a second effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Orchestrator;
use crate::error::Problem;
use crate::invoke::{Decision, Reply, decide, give_up, idempotency_key, invoke, transport};
use crate::json;
use crate::model::{Invocation, Progress, Run};
use crate::outside;
use crate::store::{NewRun, NewStep, Pending, StepEnd, StoreError};

/// A run has at most this many steps.
pub const STEPS_MAX: usize = 32;
/// At most this many runs are under way at once.
pub const RUNS_AT_ONCE_MAX: usize = 64;
/// A run's id has at most this many bytes.
pub const RUN_ID_MAX_BYTES: usize = 64;
/// How long a run may take where its caller does not say, in milliseconds.
pub const DEADLINE_DEFAULT_MS: u64 = 60_000;
/// How long a run may take at most, in milliseconds.
pub const DEADLINE_MAX_MS: u64 = 300_000;
/// One call waits this long for its answer, in milliseconds. A step that takes longer is asked for again.
const CALL_MAX_MS: u64 = 30_000;

/// What asks for a run: one step with `agent` and `input`, or several as `steps`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// The id that the run is to have; random where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The agent of a run with one step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The input of a run with one step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// The steps of a run with several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<StepRequest>>,
    /// How long the run may take, in milliseconds. Each step is sent with it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// A step to invoke.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRequest {
    /// The agent.
    pub agent: String,
    /// Its input.
    pub input: Value,
}

/// One of the places for a run that is under way; free again when it is dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(under_way: &Arc<AtomicUsize>) -> Self {
        under_way.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(under_way))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Begins a run and drives it to its end: 200, or 202 where the process stops before that.
///
/// # Errors
/// When the request is malformed, an agent is unknown, the id is taken, or too many runs are under way.
pub fn create(app: &Orchestrator, body: &[u8]) -> Result<(u16, Value), Problem> {
    let request: RunRequest = json::parse(body)?;
    let now_ms = outside::now_ms();
    let new = plan(request, now_ms, &outside::token())?;
    for step in &new.steps {
        if !app.store.knows_agent(&step.agent)? {
            return Err(Problem::UnknownAgent {
                agent: step.agent.clone(),
            });
        }
    }
    let place = Place::take(&app.runs_under_way);
    if app.runs_under_way.load(Ordering::Relaxed) > RUNS_AT_ONCE_MAX {
        return Err(Problem::TooManyRuns {
            limit: RUNS_AT_ONCE_MAX,
        });
    }
    if !app.store.create_run(&new, now_ms)? {
        return Err(Problem::RunExists { run: new.run });
    }
    drive(app, &new.run, new.deadline_at_ms)?;
    drop(place);
    let run = app.store.run(&new.run)?.ok_or(Problem::UnknownRun)?;
    let status = if run.status == Progress::Running { 202 } else { 200 };
    Ok((status, json!(run)))
}

/// Goes on with a run that an earlier process began.
pub fn resume(app: &Orchestrator, run: &Run) {
    let _place = Place::take(&app.runs_under_way);
    app.log
        .event(outside::now_ms(), "run_resumed", json!({ "run": run.run }));
    if let Err(error) = drive(app, &run.run, run.deadline_at_ms) {
        let facts = json!({ "run": run.run, "cause": error.cause() });
        app.log.event(outside::now_ms(), "run_stuck", facts);
    }
}

/// Makes a run of what was asked for.
fn plan(request: RunRequest, now_ms: u64, token: &str) -> Result<NewRun, Problem> {
    let invalid = |reason: &str| Problem::Invalid { reason: reason.into() };
    let steps = match (request.agent, request.input, request.steps) {
        (Some(agent), Some(input), None) => vec![StepRequest { agent, input }],
        (None, None, Some(steps)) if (1..=STEPS_MAX).contains(&steps.len()) => steps,
        (None, None, Some(_)) => return Err(invalid("steps must hold 1 to 32 of them")),
        _ => return Err(invalid("send either agent and input, or steps")),
    };
    let run = request.run.unwrap_or_else(|| format!("run_{token}"));
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if run.is_empty() || run.len() > RUN_ID_MAX_BYTES || !run.bytes().all(fits) {
        return Err(invalid(
            "run must be 1 to 64 letters, digits, dots, hyphens or underscores",
        ));
    }
    if request
        .deadline_ms
        .is_some_and(|deadline_ms| !(1..=DEADLINE_MAX_MS).contains(&deadline_ms))
    {
        return Err(invalid("deadline_ms must be 1 to 300000"));
    }
    let new_step = |(index, step): (usize, StepRequest)| {
        let id = format!("s{}", index + 1);
        NewStep {
            members: members(&run, &id, &step.input, request.deadline_ms),
            step: id,
            agent: step.agent,
            input: step.input,
        }
    };
    Ok(NewRun {
        steps: steps.into_iter().enumerate().map(new_step).collect(),
        deadline_at_ms: now_ms + request.deadline_ms.unwrap_or(DEADLINE_DEFAULT_MS),
        run,
    })
}

/// The members of a step's body that stay the same over its attempts.
fn members(run: &str, step: &str, input: &Value, deadline_ms: Option<u64>) -> String {
    let deadline = deadline_ms.map_or(String::new(), |deadline_ms| format!(",\"deadline_ms\":{deadline_ms}"));
    format!(
        "\"run\":{},\"step\":{},\"input\":{input}{deadline}",
        json!(run),
        json!(step)
    )
}

/// Invokes the run's steps until all have ended, one has failed, the deadline has passed or the process stops.
fn drive(app: &Orchestrator, run: &str, deadline_at_ms: u64) -> Result<(), StoreError> {
    while let Some(mut step) = app.store.pending_step(run)? {
        let mut failures = 0;
        loop {
            if app.stop.requested() {
                return Ok(());
            }
            let left_ms = deadline_at_ms.saturating_sub(outside::now_ms());
            let (invocation, decision) = if left_ms == 0 {
                (
                    None,
                    give_up(
                        "run-deadline-passed",
                        "the run's deadline passed before the step ended",
                        false,
                    ),
                )
            } else {
                let (invocation, reply) = call(app, run, &step, left_ms)?;
                let decision = decide(reply, step.attempt, failures, outside::jitter_permille());
                (Some(invocation), decision)
            };
            let (end, pause_ms) = match decision {
                Decision::End {
                    completed,
                    verified,
                    outcome,
                } => {
                    let end = StepEnd::Ended {
                        completed,
                        verified,
                        outcome,
                    };
                    app.store.record(run, &step.step, invocation.as_ref(), Some(&end))?;
                    break;
                }
                Decision::Again { after_ms, failure } => {
                    failures += u32::from(failure);
                    (None, after_ms)
                }
                Decision::NextAttempt { after_ms } => {
                    failures = 0;
                    step.attempt += 1;
                    (Some(StepEnd::NextAttempt), after_ms)
                }
            };
            app.store.record(run, &step.step, invocation.as_ref(), end.as_ref())?;
            app.stop
                .wait_ms(pause_ms.min(deadline_at_ms.saturating_sub(outside::now_ms())));
        }
    }
    app.store.finish_run(run, outside::now_ms())?;
    app.log.event(outside::now_ms(), "run_finished", json!({ "run": run }));
    Ok(())
}

/// Calls the gateway that is live now: after a pause it may be another one.
fn call(app: &Orchestrator, run: &str, step: &Pending, left_ms: u64) -> Result<(Invocation, Reply), StoreError> {
    let sent_at_ms = outside::now_ms();
    let gateway = app.store.live_with_agent(&step.agent, sent_at_ms)?;
    let key = app.invoke_key(sent_at_ms).filter(|key| key.allows_agent(&step.agent));
    let (mut invocation, reply) = match (gateway, key) {
        (Some(gateway), Some(key)) => {
            let time_out = Duration::from_millis(left_ms.min(CALL_MAX_MS));
            invoke(&app.client, key, &gateway, (run, step), time_out)
        }
        (gateway, _) => {
            let (code, detail) = match gateway {
                None => ("gateway-missing", "no live gateway offers the agent"),
                Some(_) => ("invoke-key-missing", "no valid key of ours may invoke the agent"),
            };
            let invocation = Invocation {
                problem: Some(code.into()),
                detail: Some(detail.into()),
                ..Invocation::default()
            };
            (invocation, transport(code, detail.into()))
        }
    };
    invocation.attempt = step.attempt;
    invocation.idempotency_key = idempotency_key(run, &step.step, step.attempt);
    invocation.sent_at_ms = sent_at_ms;
    invocation.duration_ms = outside::now_ms().saturating_sub(sent_at_ms);
    app.log.event(
        outside::now_ms(),
        "invoked",
        json!({
            "run": run, "step": step.step, "agent": step.agent, "attempt": invocation.attempt,
            "http_status": invocation.http_status, "verified": invocation.verified, "outcome": invocation.outcome,
            "replayed": invocation.replayed, "problem": invocation.problem, "duration_ms": invocation.duration_ms,
        }),
    );
    Ok((invocation, reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: Value, expected: &str) {
        let request = serde_json::from_value(request).expect("a request");
        let found = match plan(request, 1_000, "token") {
            Err(problem) => problem.to_string(),
            Ok(new) => {
                let steps: Vec<_> = new
                    .steps
                    .iter()
                    .map(|step| format!("{}:{}", step.step, step.agent))
                    .collect();
                format!("{} until {}: {}", new.run, new.deadline_at_ms, steps.join(" "))
            }
        };
        assert!(found.contains(expected), "{found}, expected {expected}");
    }

    #[test]
    fn plans() {
        check(json!({ "agent": "a", "input": {} }), "run_token until 61000: s1:a");
        check(
            json!({ "agent": "a", "input": {}, "run": "r.1", "deadline_ms": 5 }),
            "r.1 until 1005: s1:a",
        );
        check(
            json!({ "steps": [{ "agent": "a", "input": 1 }, { "agent": "b", "input": 2 }] }),
            "s1:a s2:b",
        );
        check(json!({ "steps": [] }), "1 to 32");
        check(json!({ "agent": "a" }), "either agent and input");
        check(
            json!({ "agent": "a", "input": 1, "steps": [] }),
            "either agent and input",
        );
        check(json!({ "agent": "a", "input": {}, "run": "a/b" }), "run must be");
        check(
            json!({ "agent": "a", "input": {}, "run": "x".repeat(65) }),
            "run must be",
        );
        check(json!({ "agent": "a", "input": {}, "deadline_ms": 0 }), "deadline_ms");
        check(
            json!({ "agent": "a", "input": {}, "deadline_ms": 300_001 }),
            "deadline_ms",
        );
    }

    #[test]
    fn attempts_differ_in_their_number_alone() {
        let mut step = Pending {
            step: "s1".into(),
            agent: "a".into(),
            attempt: 1,
            members: members("r", "s1", &json!({ "b": 0.1, "a": [1] }), Some(500)),
        };
        let first = step.body();
        assert_eq!(
            first,
            r#"{"attempt":1,"run":"r","step":"s1","input":{"b":0.1,"a":[1]},"deadline_ms":500}"#
        );
        step.attempt = 2;
        assert_eq!(step.body(), first.replace("\"attempt\":1", "\"attempt\":2"));
    }

    #[test]
    fn places_come_free() {
        let under_way = Arc::new(AtomicUsize::new(0));
        let place = Place::take(&under_way);
        assert_eq!(under_way.load(Ordering::Relaxed), 1);
        drop(place);
        assert_eq!(under_way.load(Ordering::Relaxed), 0);
    }
}
