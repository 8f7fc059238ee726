//! A model's tools: other agents of the gateway. What the model writes as their input is checked like anybody's.

use serde_json::Value;

use super::super::child::{observed, work};
use super::super::{Context, Failure};
use super::wire::{ToolCall, ToolResult};
use crate::json::parse_strict;
use crate::manifest::{AgentManifest, JSON_DEPTH_MAX, ModelConfig};
use crate::telemetry::operation::Doing;

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
            let what = Doing::Tool {
                agent: agent.id.clone(),
            };
            match observed(what, context, async |own| answer(agent, &call.arguments, own).await).await {
                Ok(content) => (content, false),
                Err(Failure { code, message, .. }) => (format!("{code}: {message}"), true),
            }
        }
    };
    ToolResult {
        id: call.id.clone(),
        content,
        failed,
    }
}

async fn answer(agent: &AgentManifest, arguments: &str, context: &Context<'_>) -> Result<String, Failure> {
    let input = parse_strict(arguments.as_bytes(), JSON_DEPTH_MAX).map_err(|error| {
        let message = format!("the input is not JSON: line {}, column {}", error.line, error.column);
        Failure::terminal("call-input-invalid", message)
    })?;
    let content = match work(agent, &input, context).await? {
        Value::String(text) => text,
        other => other.to_string(),
    };
    if content.len() > RESULT_MAX_BYTES {
        let message = format!("it answered more than {RESULT_MAX_BYTES} bytes");
        return Err(Failure::terminal("call-output-invalid", message));
    }
    Ok(content)
}
