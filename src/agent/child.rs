//! An agent that works within another one's step: what an agent in Rust calls, and a model's tool. It has no step of its own:
//! it is executed again whenever the step is, and what it used is the step's.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::underway::Underway;
use super::{Context, Failure, LocalBoxFuture, Stop, execute, misconfigured, registry};
use crate::conversation::History;
use crate::invocation::before;
use crate::manifest::AgentManifest;
use crate::schema::{LazySchema, VIOLATIONS_MAX};
use crate::telemetry::operation::{Doing, Upshot};

/// So many agents may wait for one another within a step: a circle ends there.
pub const CHILD_DEPTH_MAX: usize = 8;
/// The wait before a step is tried again whose child did not answer in time, in milliseconds.
const AGAIN_MS: u64 = 0;

impl Context<'_> {
    /// Has another agent of the gateway do a part of the work, and waits for its output. Input and output are checked against
    /// its schemas. It has no state, remembers no conversation, and its own deadline or what is left of this step's.
    ///
    /// # Errors
    /// What the agent says. `call-not-possible`: there is no such agent, or it is a workflow, which needs a step of its own.
    /// `call-input-invalid` and `call-output-invalid`: a schema is broken. `call-handed-off`: it wants somebody else to do the
    /// work. `call-timed-out`: it did not answer in time. `call-too-deep`: [`CHILD_DEPTH_MAX`] agents wait already.
    pub async fn call<I: Serialize, O: DeserializeOwned>(&self, agent: &str, input: &I) -> Result<O, Failure> {
        let known = self.team.agent(agent).filter(|known| !known.is_workflow());
        let Some(known) = known else {
            let message = format!("there is no agent `{agent}` that can be called: a workflow needs a step of its own");
            return Err(Failure::terminal("call-not-possible", message));
        };
        let input = serde_json::to_value(input).map_err(|_| misconfigured("an input that is not JSON"))?;
        let what = Doing::Call {
            agent: known.id.clone(),
        };
        let output = observed(what, self, async |own| work(known, &input, own).await).await?;
        registry::read(&output).map_err(|_| {
            let message = format!("the output of `{agent}` is not of the type that is expected of it");
            Failure::terminal("call-output-invalid", message)
        })
    }
}

/// Does something as an operation of its own, in whose span it is done.
pub(super) async fn observed<T>(
    what: Doing,
    context: &Context<'_>,
    work: impl AsyncFnOnce(&Context<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let underway = Underway::begin(context, what);
    let own = Context {
        traceparent: underway.span(),
        ..*context
    };
    let done = work(&own).await;
    let upshot = done.as_ref().err().map(|failure| Upshot::failed(&failure.code));
    underway.end(upshot.unwrap_or_default());
    done
}

/// Has an agent work, and checks what goes in and comes out.
pub(super) async fn work(agent: &AgentManifest, input: &Value, context: &Context<'_>) -> Result<Value, Failure> {
    if context.depth >= CHILD_DEPTH_MAX {
        let message =
            format!("{CHILD_DEPTH_MAX} agents wait for one another, which is the most: do they call in a circle?");
        return Err(Failure::terminal("call-too-deep", message));
    }
    fits(&agent.input, input, "the input").map_err(|reason| Failure::terminal("call-input-invalid", reason))?;
    let now_ms = context.host.now_ms();
    let deadline_at_ms = context.deadline_at_ms.min(now_ms + agent.deadline_ms);
    let journal = context.journal.inner();
    let own = Context {
        agent: &agent.id,
        deadline_at_ms,
        state: None,
        history: History::none(),
        depth: context.depth + 1,
        journal: &journal,
        ..*context
    };
    let work: LocalBoxFuture<'_, Result<Value, Stop>> = Box::pin(execute(agent, input, &own));
    let output = match before(work, context.host.sleep_ms(deadline_at_ms.saturating_sub(now_ms))).await {
        Some(Ok(output)) => output,
        Some(Err(Stop::Failed(failure))) => return Err(failure),
        Some(Err(Stop::HandOff(_))) => {
            let message = "it hands over to somebody else, which an agent cannot that is called within a step";
            return Err(Failure::terminal("call-handed-off", message));
        }
        None => {
            return Err(Failure::retryable(
                "call-timed-out",
                "it did not answer in time",
                AGAIN_MS,
            ));
        }
    };
    fits(&agent.output, &output, "what it answered")
        .map_err(|reason| Failure::terminal("call-output-invalid", reason))?;
    Ok(output)
}

fn fits(schema: &LazySchema, value: &Value, what: &str) -> Result<(), String> {
    let schema = schema.get().map_err(ToString::to_string)?;
    let violations = schema.violations(value, VIOLATIONS_MAX);
    let lines: Vec<_> = violations
        .iter()
        .map(|violation| format!("{what} is wrong at `{}`: {}", violation.instance, violation.message))
        .collect();
    if lines.is_empty() {
        Ok(())
    } else {
        Err(lines.join("\n"))
    }
}

#[cfg(test)]
mod tests;
