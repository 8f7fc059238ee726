//! A run as it is told to whoever may look at it: everything but its contents.

use serde_json::{Value, json};

use super::reply::Reply;
use super::{Acted, Gateway};
use crate::invocation::Caller;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::run::RunName;
use crate::run::status::{Describe, Description};

impl Gateway<'_> {
    pub(super) async fn describe<P: Platform>(&self, caller: &Caller<'_, P>, run: &RunName) -> Result<Acted, Problem> {
        let description = caller.ask(run, Describe).await?;
        let description = description.ok_or(Problem::RunUnknown)?;
        Ok(Acted::Reply(Reply::json(&described(&description))))
    }
}

fn described(description: &Description) -> Value {
    let Description {
        run,
        versions,
        steps,
        handoffs,
        settlement,
    } = description;
    let mut body = json!({
        "run": run.name.run,
        "created_at_ms": run.created_at_ms,
        "touched_at_ms": run.touched_at_ms,
        "expires_at_ms": run.expires_at_ms(),
    });
    if let Some(agent) = &run.agent {
        body["agent"] = agent.as_str().into();
    }
    if let Some(current) = versions.last() {
        body["state"] = json!({
            "version": current.version,
            "digest": current.digest,
            "bytes": current.bytes,
            "etag": current.etag,
        });
    }
    if let Some(settlement) = settlement {
        body["settlement"] = json!({
            "status": settlement.status.name(),
            "reason": settlement.takeover.reason,
            "routed_at_ms": settlement.routed_at_ms,
            "edition": settlement.edition,
            "tries": settlement.tries,
        });
        if let Some(error) = &settlement.last_error {
            body["settlement"]["last_error"] = error.as_str().into();
        }
    }
    let versions = versions.iter().map(|version| {
        json!({
            "version": version.version,
            "digest": version.digest,
            "bytes": version.bytes,
            "written_at_ms": version.written_at_ms,
            "by": version.by,
        })
    });
    body["versions"] = versions.collect();
    let steps = steps.iter().map(|(attempt, outcome)| {
        let mut step = json!({
            "step": attempt.step,
            "attempt": attempt.attempt,
            "agent": attempt.agent,
            "status": attempt.phase,
        });
        if let Some(outcome) = outcome {
            step["outcome"] = outcome.as_str().into();
        }
        step
    });
    body["steps"] = steps.collect();
    let handoffs = handoffs.iter().map(|handoff| {
        let mut shown = json!({
            "handoff": handoff.handoff,
            "agent": handoff.agent,
            "from": handoff.from,
            "reason": handoff.reason,
            "at_ms": handoff.accepted_at_ms,
            "traceparent": handoff.traceparent,
        });
        if let Some(version) = handoff.version {
            shown["version"] = version.into();
        }
        shown
    });
    body["handoffs"] = handoffs.collect();
    body
}
