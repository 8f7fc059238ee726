//! The outcome of a step: what came of it, in the form that goes over the wire.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::attempt::Attempt;
use crate::agent::{Failure, HandOff, Retry, Spent};

/// An outcome is at most this large; a larger output is the agent's failure. Half of what a row can hold, in bytes.
pub const OUTCOME_MAX_BYTES: usize = 1024 * 1024;

/// The outcome of a step, as it goes over the wire.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    status: Status,
    run: String,
    step: String,
    attempt: u32,
    agent: String,
    agent_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handoff: Option<HandOff>,
    #[serde(flatten)]
    state: NewState,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<OutcomeError>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hops: Vec<Hop>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<Failed>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stand_ins: Vec<StandIn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_by: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stand_in: bool,
    usage: Usage,
    trace: Trace,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Completed,
    Failed,
    Cancelled,
    HandedOff,
}

/// The new state, if there is one.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NewState {
    /// The state itself, where the caller brought the old one along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Value>,
    /// Its version, where the run keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_version: Option<u64>,
    /// Its digest, as in `Content-Digest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_digest: Option<String>,
}

/// An agent that another one followed within the same execution: it handed off to it, or it failed and the other one stands
/// in.
#[derive(Debug, Clone, Serialize)]
pub struct Hop {
    /// Who was at work.
    pub agent: String,
    /// Why the other one went on.
    pub reason: String,
    /// The code of the failure, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its span.
    pub traceparent: String,
    /// To whom.
    pub to: String,
    /// How long it worked, in milliseconds.
    pub duration_ms: u64,
}

/// An agent that was to answer and did not, where somebody was to stand in for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Who.
    pub agent: String,
    /// Why, for programs.
    pub code: String,
    /// Why, for people.
    pub message: String,
}

impl Failed {
    /// The failure of an agent.
    #[must_use]
    pub fn new(agent: String, failure: &Failure) -> Self {
        Self {
            agent,
            code: failure.code.clone(),
            message: failure.message.clone(),
        }
    }
}

/// A call of a workflow that somebody stood in for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StandIn {
    /// The call, by its place in the workflow.
    pub call: String,
    /// The agent that was asked.
    pub agent: String,
    /// Why it gave no answer.
    pub code: String,
    /// The agent that answered; nothing where it was the answer that the manifest has ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<String>,
}

/// Who answered in the place of the agent that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoodIn {
    /// Another agent: the output is by its schema.
    Agent(String),
    /// Nobody: the output is the answer that the agent's manifest has ready.
    Answer,
}

#[derive(Debug, Clone, Serialize)]
struct OutcomeError {
    code: String,
    message: String,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

#[derive(Debug, Clone, Serialize)]
struct Usage {
    duration_ms: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    spent: Option<Spent>,
}

#[derive(Debug, Clone, Serialize)]
struct Trace {
    traceparent: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<String>,
}

/// What every outcome says of its step.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The run's id.
    pub run: &'a str,
    /// The step's id.
    pub step: &'a str,
    /// Which attempt of it.
    pub attempt: u32,
    /// The agent that was asked for.
    pub agent: &'a str,
    /// Its version.
    pub agent_version: &'a str,
    /// The step's own span.
    pub traceparent: &'a str,
    /// How long the execution took, in milliseconds.
    pub duration_ms: u64,
}

/// The version that a step was to work on is not the current one any more. The same step can never succeed: it names that
/// version.
#[must_use]
pub fn outdated() -> Failure {
    let message = "the state is not at the version that the step names any more: nothing was written; read what is current, and \
                   invoke a new step";
    Failure::terminal("state-conflict", message)
}

impl Outcome {
    /// An outcome to be filled in; `cancelled` if it is not.
    #[must_use]
    pub fn about(about: About<'_>) -> Self {
        Self {
            status: Status::Cancelled,
            run: about.run.to_owned(),
            step: about.step.to_owned(),
            attempt: about.attempt,
            agent: about.agent.to_owned(),
            agent_version: about.agent_version.to_owned(),
            output: None,
            handoff: None,
            state: NewState::default(),
            error: None,
            hops: Vec::new(),
            failed: Vec::new(),
            stand_ins: Vec::new(),
            answered_by: None,
            stand_in: false,
            usage: Usage {
                duration_ms: about.duration_ms,
                spent: None,
            },
            trace: Trace {
                traceparent: about.traceparent.to_owned(),
                links: Vec::new(),
            },
        }
    }

    /// The same, of an attempt in the ledger.
    pub(super) fn of(attempt: &Attempt, run: &str, duration_ms: u64) -> Self {
        Self::about(About {
            run,
            step: &attempt.step,
            attempt: attempt.attempt,
            agent: &attempt.agent,
            agent_version: &attempt.agent_version,
            traceparent: &attempt.traceparent,
            duration_ms,
        })
    }

    /// The agent did its work.
    #[must_use]
    pub fn completed(mut self, output: Value, state: NewState) -> Self {
        self.status = Status::Completed;
        self.output = Some(output);
        self.state = state;
        self
    }

    /// The agent hands the run over to another one. Its span is linked to the next one's by whoever goes on.
    #[must_use]
    pub fn handed_off(mut self, handoff: HandOff, state: NewState) -> Self {
        self.status = Status::HandedOff;
        self.handoff = Some(handoff);
        self.state = state;
        self
    }

    /// The step failed. Nothing that it would have changed counts.
    #[must_use]
    pub fn failed(mut self, failure: Failure) -> Self {
        let retry_after_ms = match failure.retry {
            Retry::Never => None,
            Retry::After { ms } => Some(ms),
        };
        self.status = Status::Failed;
        self.output = None;
        self.answered_by = None;
        self.stand_in = false;
        self.handoff = None;
        self.state = NewState::default();
        self.error = Some(OutcomeError {
            code: failure.code,
            message: failure.message,
            retryable: retry_after_ms.is_some(),
            retry_after_ms,
        });
        self
    }

    /// What models took for it.
    #[must_use]
    pub fn with_spent(mut self, spent: Option<Spent>) -> Self {
        self.usage.spent = spent;
        self
    }

    /// The agents that handed off on the way, and the spans of those that went on.
    #[must_use]
    pub fn with_hops(mut self, hops: Vec<Hop>, links: Vec<String>) -> Self {
        self.trace.links = links;
        self.hops = hops;
        self
    }

    /// The agents that failed, where somebody was to stand in for them.
    #[must_use]
    pub fn with_failed(mut self, failed: Vec<Failed>) -> Self {
        self.failed = failed;
        self
    }

    /// The calls of a workflow that somebody stood in for.
    #[must_use]
    pub fn with_stand_ins(mut self, stand_ins: Vec<StandIn>) -> Self {
        self.stand_ins = stand_ins;
        self
    }

    /// Whose output it is, where it is not that of the agent that was asked.
    #[must_use]
    pub fn answered_by(mut self, stood_in: Option<StoodIn>) -> Self {
        self.stand_in = stood_in == Some(StoodIn::Answer);
        self.answered_by = match stood_in {
            Some(StoodIn::Agent(agent)) => Some(agent),
            Some(StoodIn::Answer) | None => None,
        };
        self
    }

    /// The outcome, or a failure in its place where it is too large to keep.
    #[must_use]
    pub fn bounded(self) -> Self {
        let bytes = self.to_json().len();
        if bytes <= OUTCOME_MAX_BYTES {
            return self;
        }
        let message = format!("the outcome has {bytes} bytes, at most {OUTCOME_MAX_BYTES} are allowed");
        self.failed(Failure::terminal("output-too-large", message))
    }

    /// Whether the step failed.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.status == Status::Failed
    }

    /// Whether a further attempt may succeed, and when at the earliest, in milliseconds.
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.error.as_ref().and_then(|error| error.retry_after_ms)
    }

    /// As a body.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
