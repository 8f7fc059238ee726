//! Settlements: a gateway that could not reach the orchestrator ran a run by itself, and tells afterwards what it did.
//!
//! The orchestrator writes each one down once. It agrees where it has no outcome of its own or an equal one; where it went on
//! by itself to another, it says so, and people have to look.

use std::collections::HashSet;

use baton::signature::{Verified, digest};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::Problem;
use crate::handed::check_step_id;
use crate::kept::read_answer;
use crate::runs::check_run_id;
use crate::store::{NewSettlement, Settled, SettledStep, StoredAnswer};
use crate::{Orchestrator, json, outside};

/// A settlement has at most this many steps, and as many versions of the state.
pub const ENTRIES_MAX: usize = 256;
/// The reason, an id or a digest in a settlement has at most this many bytes.
pub const TEXT_MAX_BYTES: usize = 512;

/// What a gateway sends. What it has besides is for others.
#[derive(Debug, Deserialize)]
struct Settlement {
    run: String,
    gateway: String,
    reason: String,
    routed_at_ms: u64,
    steps: Vec<Step>,
    #[serde(default)]
    state: Vec<Version>,
}

#[derive(Debug, Deserialize)]
struct Step {
    step: String,
    attempt: u32,
    agent: String,
    call_digest: String,
    answer: Value,
}

#[derive(Debug, Deserialize)]
struct Version {
    version: u64,
    digest: String,
}

/// Writes a settlement of this run down: status and body of the answer, the same for each repetition.
///
/// # Errors
/// When it is malformed, its idempotency key stood for another one, or the orchestrator went on by itself.
pub fn settle(app: &Orchestrator, run: &str, caller: &Verified, body: &[u8]) -> Result<(u16, Value), Problem> {
    let settlement: Settlement = json::parse(body)?;
    let idempotency_key = caller.idempotency_key().unwrap_or_default();
    check(&settlement, run, idempotency_key)?;
    let mut steps: Vec<SettledStep> = Vec::new();
    for step in &settlement.steps {
        caller.authorise(&step.agent)?;
        steps.push(settled_step(step)?);
    }
    let shown_steps = settlement.steps.iter().map(|step| {
        json!({
            "step": step.step, "attempt": step.attempt, "agent": step.agent, "call_digest": step.call_digest,
            "answer": step.answer,
        })
    });
    let versions = settlement.state.iter();
    let now_ms = outside::now_ms();
    let new = NewSettlement {
        idempotency_key,
        body_digest: &digest::content_digest(body),
        run,
        gateway: &settlement.gateway,
        reason: &settlement.reason,
        routed_at_ms: settlement.routed_at_ms,
        shown_steps: shown_steps.collect(),
        state: versions
            .map(|one| json!({ "version": one.version, "digest": one.digest }))
            .collect(),
        steps: latest_attempts(steps),
    };
    let settled = app.store.settle(&new, is_same, now_ms)?;
    // Whoever drives the run stops: the gateway has brought it to its end.
    app.stop.ring();
    let facts = json!({
        "run": run, "gateway": settlement.gateway, "reason": settlement.reason, "settled": settled == Settled::Agreed,
    });
    app.log.event(now_ms, "settlement", facts);
    match settled {
        Settled::Agreed => Ok((200, json!({ "run": run, "settled": true }))),
        Settled::Conflict(reason) => Err(Problem::RunConflict { reason }),
        Settled::KeyReused => Err(Problem::RunMismatch),
    }
}

fn check(settlement: &Settlement, run: &str, idempotency_key: &str) -> Result<(), Problem> {
    let invalid = |reason: String| Err(Problem::Invalid { reason });
    check_run_id(&settlement.run)?;
    if settlement.run != run {
        return invalid("run must be the run of the path".into());
    }
    let number = idempotency_key.strip_prefix(run);
    let number = number.and_then(|rest| rest.strip_prefix("/settlement/"));
    if !number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())) {
        return invalid(format!("the Idempotency-Key must be {run}/settlement/ and a number"));
    }
    if settlement.steps.len() > ENTRIES_MAX || settlement.state.len() > ENTRIES_MAX {
        return invalid(format!("steps and state must each have at most {ENTRIES_MAX} entries"));
    }
    let digests = settlement.state.iter().map(|version| &version.digest);
    let steps = settlement.steps.iter();
    let texts = [&settlement.gateway, &settlement.reason].into_iter().chain(digests);
    for text in texts.chain(steps.flat_map(|step| [&step.agent, &step.call_digest])) {
        if !(1..=TEXT_MAX_BYTES).contains(&text.len()) {
            return invalid(format!("texts must have 1 to {TEXT_MAX_BYTES} bytes"));
        }
    }
    // More does not fit the database, nor any calendar.
    if i64::try_from(settlement.routed_at_ms).is_err() {
        return invalid("routed_at_ms must be Unix milliseconds".into());
    }
    Ok(())
}

fn settled_step(step: &Step) -> Result<SettledStep, Problem> {
    check_step_id(&step.step)?;
    let invalid = |reason: &str| Problem::Invalid { reason: reason.into() };
    if step.attempt == 0 {
        return Err(invalid("attempt counts from 1"));
    }
    let answer = read_answer(&step.answer).ok_or_else(|| invalid("answer must have a status and a body"))?;
    let outcome = outcome(&answer);
    Ok(SettledStep {
        step: step.step.clone(),
        attempt: step.attempt,
        agent: step.agent.clone(),
        completed: outcome["status"] == "completed",
        outcome,
    })
}

/// The outcome that an answer comes to: itself, or a failure where it is a problem.
fn outcome(answer: &StoredAnswer) -> Value {
    let body = &answer.body;
    if body["status"].is_string() {
        return body.clone();
    }
    let code = body["code"].as_str().unwrap_or("answer-invalid");
    let message = body["detail"].as_str().unwrap_or_default();
    json!({ "status": "failed", "error": { "code": code, "message": message, "retryable": false } })
}

/// Each step once, with its latest attempt, in the order in which the steps came first.
fn latest_attempts(steps: Vec<SettledStep>) -> Vec<SettledStep> {
    let mut seen = HashSet::new();
    let firsts: Vec<_> = steps.iter().filter(|step| seen.insert(&step.step)).collect();
    let latest = |step: &String| {
        steps
            .iter()
            .filter(|one| one.step == *step)
            .max_by_key(|one| one.attempt)
    };
    firsts.iter().filter_map(|first| latest(&first.step)).cloned().collect()
}

/// Whether two outcomes of a step say the same: status, output, and the code of an error. The rest is about the execution.
#[must_use]
pub fn is_same(one: &Value, other: &Value) -> bool {
    one["status"] == other["status"]
        && one["output"] == other["output"]
        && one["error"]["code"] == other["error"]["code"]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_the_same_by_what_they_say() {
        let check = |one: Value, other: Value, same: bool| assert_eq!(is_same(&one, &other), same, "{one} {other}");
        let completed = json!({ "status": "completed", "output": { "a": 1, "b": 2 }, "executions": 1 });
        check(
            completed.clone(),
            json!({ "status": "completed", "output": { "b": 2, "a": 1 }, "executions": 2 }),
            true,
        );
        check(
            completed.clone(),
            json!({ "status": "completed", "output": { "a": 1 } }),
            false,
        );
        check(
            completed,
            json!({ "status": "failed", "error": { "code": "busy" } }),
            false,
        );
        let failed = |code: &str| json!({ "status": "failed", "error": { "code": code, "message": code } });
        check(failed("busy"), failed("busy"), true);
        check(failed("busy"), failed("broken"), false);
    }

    #[test]
    fn a_problem_is_a_failure_and_the_latest_attempt_counts() {
        let step = |step: &str, attempt, status: u16, body: Value| {
            let step = Step {
                step: step.into(),
                attempt,
                agent: "a".into(),
                call_digest: "sha-256=:x:".into(),
                answer: json!({ "status": status, "body": body }),
            };
            settled_step(&step)
        };
        let late = json!({ "status": 504, "code": "deadline-exceeded", "detail": "late" });
        let steps = vec![
            step("s1", 1, 504, late).expect("a step"),
            step("s2", 1, 200, json!({ "status": "completed" })).expect("a step"),
            step("s1", 2, 200, json!({ "status": "completed" })).expect("a step"),
        ];
        assert_eq!(steps[0].outcome["error"]["code"], "deadline-exceeded");
        let latest = latest_attempts(steps);
        let facts: Vec<_> = latest
            .iter()
            .map(|step| (step.step.as_str(), step.attempt, step.completed))
            .collect();
        assert_eq!(facts, [("s1", 2, true), ("s2", 1, true)]);
        assert!(step("s1", 0, 200, json!({})).is_err());
        assert!(step("", 1, 200, json!({})).is_err());
    }
}
