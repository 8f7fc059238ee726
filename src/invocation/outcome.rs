//! The outcome of a step: what came of it, in the form that goes over the wire.

use serde::Serialize;
use serde_json::Value;

use super::Body;
use crate::agent::{Answer, Failure, Retry};
use crate::manifest::AgentManifest;

/// An outcome is at most this large; a larger output is the agent's failure. Half of what a row can hold, in bytes.
pub const OUTCOME_MAX_BYTES: usize = 1024 * 1024;

/// The outcome of a step, as it goes over the wire.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    status: &'static str,
    run: String,
    step: String,
    attempt: u32,
    agent: String,
    agent_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<OutcomeError>,
    usage: Usage,
    trace: Trace,
}

#[derive(Debug, Serialize)]
pub(super) struct OutcomeError {
    code: String,
    message: String,
    pub(super) retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Usage {
    duration_ms: u64,
}

#[derive(Debug, Serialize)]
struct Trace {
    traceparent: String,
}

impl Outcome {
    pub(super) fn new(
        agent: &AgentManifest,
        body: &Body,
        result: Result<Answer, Failure>,
        duration_ms: u64,
        traceparent: String,
    ) -> Self {
        let mut outcome = Self {
            status: "completed",
            run: body.run.clone(),
            step: body.step.clone(),
            attempt: body.attempt,
            agent: agent.id.clone(),
            agent_version: agent.version.clone(),
            output: None,
            state: None,
            error: None,
            usage: Usage { duration_ms },
            trace: Trace { traceparent },
        };
        match result {
            Ok(answer) => {
                outcome.output = Some(answer.output);
                outcome.state = answer.state;
            }
            Err(failure) => outcome.fail(failure),
        }
        outcome
    }

    fn fail(&mut self, failure: Failure) {
        let retry_after_ms = match failure.retry {
            Retry::Never => None,
            Retry::After { ms } => Some(ms),
        };
        self.status = "failed";
        self.output = None;
        self.state = None;
        self.error = Some(OutcomeError {
            code: failure.code,
            message: failure.message,
            retryable: retry_after_ms.is_some(),
            retry_after_ms,
        });
    }

    /// The outcome, or a failure in its place where it is too large to keep.
    pub(super) fn bounded(mut self) -> Self {
        let bytes = self.to_json().len();
        if bytes > OUTCOME_MAX_BYTES {
            let message = format!("the outcome has {bytes} bytes, at most {OUTCOME_MAX_BYTES} are allowed");
            self.fail(Failure::terminal("output-too-large", message));
        }
        self
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// An answer that breaks the agent's own schema is the agent's failure, not the caller's.
pub(super) fn check_answer(agent: &AgentManifest, answer: Answer) -> Result<Answer, Failure> {
    let state = agent.state.as_ref().zip(answer.state.as_ref());
    let parts = [("output", &agent.output, &answer.output)]
        .into_iter()
        .chain(state.map(|(schema, state)| ("state", schema, state)));
    for (name, schema, value) in parts {
        let place = match schema.get() {
            Ok(schema) => schema.violations(value, 1).into_iter().next(),
            Err(_) => {
                return Err(Failure::terminal(
                    "schema-unusable",
                    format!("the agent's {name} schema does not compile"),
                ));
            }
        };
        if let Some(violation) = place {
            let message = format!(
                "the agent's {name} breaks its own schema at `{}`: {}",
                violation.instance, violation.message
            );
            return Err(Failure::terminal("output-schema-violated", message));
        }
    }
    Ok(answer)
}
