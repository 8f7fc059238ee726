//! A model's tools: other agents of the gateway. What the model writes as their input is checked like anybody's.

use serde_json::Value;

use super::super::underway::Underway;
use super::super::{Context, Failure, LocalBoxFuture, Stop, execute};
use super::wire::{ToolCall, ToolResult};
use crate::conversation::History;
use crate::invocation::before;
use crate::json::parse_strict;
use crate::manifest::{AgentManifest, JSON_DEPTH_MAX, ModelConfig};
use crate::schema::{LazySchema, VIOLATIONS_MAX};
use crate::telemetry::operation::{Doing, Upshot};

/// What a tool answers is given to the model up to this size, in bytes.
pub const RESULT_MAX_BYTES: usize = 64 * 1024;

/// Uses a tool. Whatever comes of it is told to the model, which decides what to do about it.
pub(super) async fn use_tool(config: &ModelConfig, call: &ToolCall, context: &Context<'_>) -> ToolResult {
    let declared = config.tools.contains(&call.name);
    let agent = context.team.agent(&call.name).filter(|_| declared);
    let (content, failed) = match agent {
        None => ("there is no such tool".to_owned(), true),
        Some(agent) => {
            context.journal.progress(format!("Asking {}", agent.title), None);
            let underway = Underway::begin(
                context,
                Doing::Tool {
                    agent: agent.id.clone(),
                },
            );
            let own = Context {
                traceparent: underway.span(),
                ..*context
            };
            match answer(agent, &call.arguments, &own).await {
                Ok(content) => {
                    underway.end(Upshot::default());
                    (content, false)
                }
                Err(Unusable { code, reason }) => {
                    underway.end(Upshot::failed(&code));
                    (reason, true)
                }
            }
        }
    };
    ToolResult {
        id: call.id.clone(),
        content,
        failed,
    }
}

/// Why a tool is of no use this time.
struct Unusable {
    /// For programs, and for what is told of it.
    code: String,
    /// For the model.
    reason: String,
}

impl Unusable {
    fn new(code: &str, reason: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            reason: reason.into(),
        }
    }
}

async fn answer(agent: &AgentManifest, arguments: &str, context: &Context<'_>) -> Result<String, Unusable> {
    let input = parse_strict(arguments.as_bytes(), JSON_DEPTH_MAX).map_err(|error| {
        let reason = format!("the input is not JSON: line {}, column {}", error.line, error.column);
        Unusable::new("tool-input-invalid", reason)
    })?;
    fits(&agent.input, &input, "the input").map_err(|reason| Unusable::new("tool-input-invalid", reason))?;
    let now_ms = context.host.now_ms();
    let deadline_at_ms = context.deadline_at_ms.min(now_ms + agent.deadline_ms);
    let journal = context.journal.inner();
    let own = Context {
        agent: &agent.id,
        deadline_at_ms,
        state: None,
        history: History::none(),
        journal: &journal,
        ..*context
    };
    let work: LocalBoxFuture<'_, Result<Value, Stop>> = Box::pin(execute(agent, &input, &own));
    let ended = before(work, context.host.sleep_ms(deadline_at_ms.saturating_sub(now_ms))).await;
    let output = match ended {
        Some(Ok(output)) => output,
        Some(Err(Stop::Failed(Failure { code, message, .. }))) => {
            let reason = format!("{code}: {message}");
            return Err(Unusable { code, reason });
        }
        Some(Err(Stop::HandOff(_))) => {
            let reason = "it hands over to somebody else, which a tool cannot";
            return Err(Unusable::new("tool-handed-off", reason));
        }
        None => return Err(Unusable::new("tool-timed-out", "it did not answer in time")),
    };
    let invalid = |reason: String| Unusable::new("tool-output-invalid", reason);
    fits(&agent.output, &output, "what it answered").map_err(invalid)?;
    let content = match output {
        Value::String(text) => text,
        other => other.to_string(),
    };
    if content.len() > RESULT_MAX_BYTES {
        return Err(invalid(format!("it answered more than {RESULT_MAX_BYTES} bytes")));
    }
    Ok(content)
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
