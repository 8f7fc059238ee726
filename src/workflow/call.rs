//! One call of a workflow: its tries, its execution, its end.

use std::cell::Cell;

use serde_json::{Value, json};

use super::interpret::{Halt, Running};
use super::port::Ledger;
use crate::agent::{Cancellation, Failure, Journal, LocalBoxFuture, Retry};
use crate::backoff::backoff_ms;
use crate::invocation::Executor;
use crate::manifest::AgentManifest;
use crate::manifest::workflow::CallNode;
use crate::run::StoredAnswer;
use crate::run::child::{Child, ChildClaim, Hold};
use crate::run::ledger::Commit;
use crate::run::outcome::StandIn;
use crate::run::work::Execution;
use crate::signature::digest::hex_digest;
use crate::telemetry::trace_context::TraceContext;

/// So many calls that somebody stood in for are named in a workflow's outcome.
pub const STAND_INS_MAX: usize = 64;

/// What one try of a call came to.
enum Try {
    Completed(Value, Vec<StandIn>),
    Failed(Failure),
    /// It had failed before, and so had the wait after it.
    Overtaken,
}

impl Running<'_> {
    /// Calls an agent, as often as the node allows.
    pub(super) async fn call(&self, node: &CallNode, input: Value, place: &str) -> Result<Value, Halt> {
        let agent = self.executor.team.agent(&node.call);
        let agent =
            agent.ok_or_else(|| Failure::terminal("agent-unknown", format!("there is no agent `{}`", node.call)))?;
        check_input(agent, &input, place)?;
        let call = json!({ "agent": agent.id, "input": input });
        let canonical = serde_json_canonicalizer::to_vec(&call)
            .map_err(|_| Failure::terminal("workflow-data", format!("`{place}`: the input is no plain JSON")))?;
        let fingerprint = hex_digest(&canonical);
        let tries_max = node.retry.max_attempts.max(1);
        let mut number = 1;
        loop {
            let claim = self.claim_of(agent, &input, (place, &fingerprint), (number, number >= tries_max));
            let failure = match self.attempt(agent, &claim).await? {
                Try::Completed(output, stand_ins) => {
                    self.stood_in(place, stand_ins);
                    return Ok(output);
                }
                Try::Overtaken if number < tries_max => {
                    number += 1;
                    continue;
                }
                // The manifest allowed more before.
                Try::Overtaken => {
                    return Err(crate::run::child::changed(&format!("`{place}` was tried more often")).into());
                }
                Try::Failed(failure) => failure,
            };
            match failure.retry {
                Retry::After { ms } if number < tries_max => {
                    // Spread by the call itself: the same for whoever interprets it, different from run to run.
                    let seed = hex_digest(format!("{}/{}/{number}", self.execution.call.run, claim.step).as_bytes());
                    let jitter = u32::from_str_radix(&seed[..8], 16).unwrap_or_default();
                    let wait_ms = backoff_ms(node.retry.backoff_ms, node.retry.backoff_max_ms, number, jitter).max(ms);
                    self.tell(format!(
                        "{place}: failed with `{}`, again in {wait_ms} ms",
                        failure.code
                    ));
                    self.executor.host.sleep_ms(wait_ms).await;
                    number += 1;
                }
                retry => {
                    let message = format!(
                        "`{place}`, a call of `{}`: {}: {}",
                        agent.id, failure.code, failure.message
                    );
                    let failure = Failure::terminal("workflow-call-failed", message);
                    return Err(Halt::Failed(Failure { retry, ..failure }));
                }
            }
        }
    }

    /// Takes down who stood in for a call; of a workflow that was called, for its own calls.
    fn stood_in(&self, place: &str, stand_ins: Vec<StandIn>) {
        let mut all = self.stand_ins.borrow_mut();
        let room = STAND_INS_MAX.saturating_sub(all.len());
        all.extend(stand_ins.into_iter().take(room).map(|stand_in| StandIn {
            call: match stand_in.call.as_str() {
                "" => place.to_owned(),
                inner => format!("{place}/{inner}"),
            },
            ..stand_in
        }));
    }

    fn claim_of(
        &self,
        agent: &AgentManifest,
        input: &Value,
        (place, fingerprint): (&str, &str),
        (number, is_last): (u32, bool),
    ) -> ChildClaim {
        let call = &self.execution.call;
        let own = TraceContext::parse(self.span);
        let span = own
            .as_ref()
            .map(|own| own.within(&format!("{place}#{}.{number}", call.attempt)));
        let left_ms = self.deadline_at_ms.saturating_sub(self.executor.host.now_ms());
        ChildClaim {
            parent: self.hold(),
            step: format!("{}/{place}", call.step),
            number,
            is_last,
            agent: agent.id.clone(),
            agent_version: agent.version.clone(),
            workflow: agent.is_workflow(),
            notifications: agent.notifications.clone(),
            input: input.clone(),
            fingerprint: fingerprint.to_owned(),
            conversation: call.conversation.clone(),
            accepted_at_ms: self.execution.accepted_at_ms,
            deadline_ms: agent.deadline_ms.min(left_ms),
            traceparent: span.map_or_else(|| self.span.to_owned(), |span| span.traceparent()),
            parent_span: own.map(|own| own.span_id().to_owned()),
            request_id: call.request_id.clone(),
            behalf: call.behalf.clone(),
        }
    }

    async fn attempt(&self, agent: &AgentManifest, claim: &ChildClaim) -> Result<Try, Halt> {
        let answer = match self.ledger.claim(claim)? {
            Child::Granted(execution) => {
                let answer = self.execute(*execution).await?;
                if answer.status != 200 && claim.deadline_ms < agent.deadline_ms {
                    // It had what was left of the workflow's time, so that is over as well: and ends all of this. The
                    // clock is not asked: it may be a moment behind the timer.
                    std::future::pending::<()>().await;
                }
                answer
            }
            Child::Answered(answer) => answer,
            Child::Overtaken => return Ok(Try::Overtaken),
            Child::Refused(failure) => return Ok(Try::Failed(failure)),
            Child::Over => return Err(Halt::Interrupted),
        };
        Ok(read(&answer))
    }

    async fn execute(&self, execution: Execution) -> Result<StoredAnswer, Halt> {
        let hold = Hold {
            ordinal: execution.ordinal,
            generation: execution.generation,
        };
        let awaited = Awaited {
            ledger: self.ledger,
            parent: self.hold(),
            child: hold,
            ended: Cell::new(false),
        };
        // The steps' readers follow the workflow: what a call tells is not kept.
        let journal = Journal::default();
        let executor = Executor {
            cancellation: &awaited,
            journal: &journal,
            ..*self.executor
        };
        let mut executed = executor.execute(execution).await;
        loop {
            let request = executed.commit_request();
            let commit = self.ledger.commit(&request)?;
            match commit {
                Commit::StateConflict(kept) => executed = executed.rebased(kept),
                Commit::Stored => {
                    awaited.ended.set(true);
                    return Ok(request.answer);
                }
                Commit::Cancelled(answer) => {
                    awaited.ended.set(true);
                    return Ok(answer);
                }
                // Another execution of the workflow has taken it over.
                Commit::Lost | Commit::Again => return Err(Halt::Interrupted),
            }
        }
    }
}

/// A call that is under way. Let go before its end, it is cancelled: its branch has lost, or the workflow is over.
struct Awaited<'a> {
    ledger: &'a dyn Ledger,
    parent: Hold,
    child: Hold,
    ended: Cell<bool>,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if !self.ended.get() {
            self.ledger.abandon(self.parent, self.child);
        }
    }
}

impl Cancellation for Awaited<'_> {
    fn cancelled(&self) -> LocalBoxFuture<'_, ()> {
        self.ledger.over(self.child)
    }
}

fn check_input(agent: &AgentManifest, input: &Value, place: &str) -> Result<(), Failure> {
    let fault = |message: String| {
        Failure::terminal(
            "workflow-data",
            format!("`{place}`, a call of `{}`: {message}", agent.id),
        )
    };
    let schema = agent
        .input
        .get()
        .map_err(|_| fault("its input schema does not compile".to_owned()))?;
    match schema.violations(input, 1).into_iter().next() {
        None => Ok(()),
        Some(violation) => Err(fault(format!(
            "the input that was made for it does not fit its schema at `{}`: {}",
            violation.instance, violation.message
        ))),
    }
}

/// Reads an answer: an outcome, or the one problem that is kept, a deadline that passed.
/// Who stood in, by the outcome of a call: in its own place, or within it.
fn stand_ins(outcome: &mut Value) -> Vec<StandIn> {
    let answered_by = outcome["answered_by"].as_str().map(str::to_owned);
    let mut stand_ins: Vec<StandIn> = serde_json::from_value(outcome["stand_ins"].take()).unwrap_or_default();
    if answered_by.is_some() || outcome["stand_in"] == true {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        stand_ins.push(StandIn {
            call: String::new(),
            agent: text(&outcome["agent"]),
            code: text(&outcome["failed"][0]["code"]),
            answered_by,
        });
    }
    stand_ins
}

fn read(answer: &StoredAnswer) -> Try {
    let Some(mut outcome) = answer.outcome() else {
        return Try::Failed(Failure::retryable(
            "deadline-exceeded",
            "the agent did not finish in time",
            0,
        ));
    };
    let text = |outcome: &Value, pointer: &str| {
        outcome
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    match outcome["status"].as_str().unwrap_or_default() {
        "completed" => {
            let stand_ins = stand_ins(&mut outcome);
            Try::Completed(outcome["output"].take(), stand_ins)
        }
        "failed" => {
            let failure = Failure::terminal(&text(&outcome, "/error/code"), text(&outcome, "/error/message"));
            let retry = match outcome["error"]["retryable"].as_bool() {
                Some(true) => Retry::After {
                    ms: outcome["error"]["retry_after_ms"].as_u64().unwrap_or(0),
                },
                _ => Retry::Never,
            };
            Try::Failed(Failure { retry, ..failure })
        }
        "handed_off" => {
            let message = format!(
                "it hands off to the workflow `{}`; call that instead",
                text(&outcome, "/handoff/agent")
            );
            Try::Failed(Failure::terminal("handed-off", message))
        }
        _ => Try::Failed(Failure::terminal("cancelled", "its step was cancelled")),
    }
}
