//! Runs: what is asked for, and how it begins. [`crate::drive`] brings it to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::Orchestrator;
use crate::callbacks;
use crate::drive::drive;
use crate::error::Problem;
use crate::json;
use crate::model::{Mode, Progress, Run};
use crate::outside;
use crate::store::{NewRun, NewStep};

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
    /// How its steps are invoked where they do not say so themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The state that the gateway is to keep for the run: put before the first step, which then finds it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub state: Option<Value>,
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
    /// How it is invoked, where not as the run says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

/// A member that is there, even as `null`: that is a state, too.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// One of the places for a run that is under way; free again when it is dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

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

/// Takes a place for one more run.
///
/// # Errors
/// When too many runs are under way.
pub fn enter(app: &Orchestrator) -> Result<Place, Problem> {
    let place = Place::take(&app.runs_under_way);
    if app.runs_under_way.load(Ordering::Relaxed) > RUNS_AT_ONCE_MAX {
        return Err(Problem::TooManyRuns {
            limit: RUNS_AT_ONCE_MAX,
        });
    }
    Ok(place)
}

/// Begins a run and drives it to its end: 200, or 202 where the process stops before that.
///
/// # Errors
/// When the request is malformed, an agent is unknown, the id is taken, or too many runs are under way.
pub fn create(app: &Orchestrator, body: &[u8]) -> Result<(u16, Value), Problem> {
    let request: RunRequest = json::parse(body)?;
    let now_ms = outside::now_ms();
    let callback_url = format!("{}{}", app.origins.primary(), callbacks::PATH);
    let new = plan(request, now_ms, &outside::token(), &callback_url)?;
    for step in &new.steps {
        if !app.store.knows_agent(&step.agent)? {
            return Err(Problem::UnknownAgent {
                agent: step.agent.clone(),
            });
        }
    }
    let place = enter(app)?;
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
fn plan(request: RunRequest, now_ms: u64, token: &str, callback_url: &str) -> Result<NewRun, Problem> {
    let invalid = |reason: &str| Problem::Invalid { reason: reason.into() };
    let steps = match (request.agent, request.input, request.steps) {
        (Some(agent), Some(input), None) => vec![StepRequest {
            agent,
            input,
            mode: None,
        }],
        (None, None, Some(steps)) if (1..=STEPS_MAX).contains(&steps.len()) => steps,
        (None, None, Some(_)) => return Err(invalid("steps must hold 1 to 32 of them")),
        _ => return Err(invalid("send either agent and input, or steps")),
    };
    let run = request.run.unwrap_or_else(|| format!("run_{token}"));
    check_run_id(&run)?;
    if request
        .deadline_ms
        .is_some_and(|deadline_ms| !(1..=DEADLINE_MAX_MS).contains(&deadline_ms))
    {
        return Err(invalid("deadline_ms must be 1 to 300000"));
    }
    let new_step = |(index, step): (usize, StepRequest)| {
        let id = format!("s{}", index + 1);
        let mode = step.mode.or(request.mode).unwrap_or_default();
        let callback_url = (mode == Mode::Async).then_some(callback_url);
        NewStep {
            members: members(&run, &id, &step.input, request.deadline_ms, callback_url),
            step: id,
            agent: step.agent,
            input: step.input,
            mode,
        }
    };
    Ok(NewRun {
        steps: steps.into_iter().enumerate().map(new_step).collect(),
        deadline_at_ms: now_ms + request.deadline_ms.unwrap_or(DEADLINE_DEFAULT_MS),
        state: request.state.map(|state| state.to_string()),
        run,
    })
}

/// Checks a run's id.
///
/// # Errors
/// [`Problem::Invalid`].
pub fn check_run_id(run: &str) -> Result<(), Problem> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    // It stands in paths, where `.` and `..` mean something else.
    let dots = run == "." || run == "..";
    if run.is_empty() || run.len() > RUN_ID_MAX_BYTES || !run.bytes().all(fits) || dots {
        let reason = "run must be 1 to 64 letters, digits, dots, hyphens or underscores, and not `.` or `..`".into();
        return Err(Problem::Invalid { reason });
    }
    Ok(())
}

/// The members of a step's body that stay the same over its attempts.
#[must_use]
pub fn members(run: &str, step: &str, input: &Value, deadline_ms: Option<u64>, callback_url: Option<&str>) -> String {
    let callback = callback_url.map_or(String::new(), |url| format!(",\"callback\":{}", json!({ "url": url })));
    let deadline = deadline_ms.map_or(String::new(), |deadline_ms| format!(",\"deadline_ms\":{deadline_ms}"));
    format!(
        "\"run\":{},\"step\":{},\"input\":{input}{deadline}{callback}",
        json!(run),
        json!(step)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Pending;

    fn check(request: Value, expected: &str) {
        let request = json::parse(request.to_string().as_bytes());
        let found = match request.and_then(|request| plan(request, 1_000, "token", "http://o/callbacks")) {
            Err(problem) => problem.to_string(),
            Ok(new) => {
                let steps: Vec<_> = new
                    .steps
                    .iter()
                    .map(|step| match step.members.contains("http://o/callbacks") {
                        true => format!("{}:{}:{:?}", step.step, step.agent, step.mode),
                        false => format!("{}:{}", step.step, step.agent),
                    })
                    .collect();
                let state = new.state.map_or(String::new(), |state| format!(" with {state}"));
                format!("{} until {}: {}{state}", new.run, new.deadline_at_ms, steps.join(" "))
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
        check(
            json!({ "steps": [{ "agent": "a", "input": 1, "mode": "sync" }, { "agent": "b", "input": 2 }], "mode": "async" }),
            "s1:a s2:b:Async",
        );
        check(json!({ "agent": "a", "input": 1, "mode": "later" }), "later");
        check(
            json!({ "agent": "a", "input": 1, "state": { "b": 0.1, "a": 1 } }),
            r#" with {"b":0.1,"a":1}"#,
        );
        check(json!({ "agent": "a", "input": 1, "state": null }), " with null");
        check(json!({ "agent": "a", "input": 1, "run": ".." }), "run must be");
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
            mode: Mode::Async,
            accepted_by: None,
            traceparent: None,
            members: members(
                "r",
                "s1",
                &json!({ "b": 0.1, "a": [1] }),
                Some(500),
                Some("http://o/callbacks"),
            ),
        };
        let first = step.body();
        assert_eq!(
            first,
            r#"{"attempt":1,"run":"r","step":"s1","input":{"b":0.1,"a":[1]},"deadline_ms":500,"callback":{"url":"http://o/callbacks"}}"#
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
