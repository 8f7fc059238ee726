//! What happened in a run, as its outbox keeps it: made in the transaction of the change that it tells of, with the ids of
//! its spans, so that telling it twice is telling it once. Never an input, an output, a state or a reason in a caller's words.

use serde::{Deserialize, Serialize};

use super::operation::Operation;
use super::trace_context::TraceContext;
use crate::link::Change;
use crate::signature::digest::hex_digest;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Unique, and the same whenever the event is told.
    pub id: String,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// The owner of the run, or whose link it is.
    pub orchestrator: String,
    /// The run's id; [`LINK_OUTBOX`](crate::link::LINK_OUTBOX) where it is a link's.
    pub run: String,
    /// The span of what it belongs to: the step's own, or the request's.
    pub traceparent: String,
    /// The caller's span, in 16 hexadecimal digits; nothing where the trace begins here.
    pub parent_span: Option<String>,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// An agent began to work on an attempt.
    ExecutionBegan {
        /// Whose execution.
        subject: Subject,
        /// Its number within the attempt, from 1.
        execution: u32,
        /// When its claim ends at the latest, in Unix milliseconds.
        claimed_until_ms: u64,
    },
    /// It ended, whether its answer counts or the attempt is executed again.
    ExecutionEnded {
        /// Whose execution.
        subject: Subject,
        /// Its number within the attempt, from 1.
        execution: u32,
        /// When its claim would have ended, in Unix milliseconds.
        claimed_until_ms: u64,
        /// When it began, in Unix milliseconds.
        started_at_ms: u64,
        /// How it ended.
        ending: Ending,
        /// The agents that handed off within it, in their order.
        hops: Vec<Hop>,
        /// What it used.
        usage: Usage,
        /// What its agents had others do.
        #[serde(default)]
        operations: Vec<Operation>,
    },
    /// An attempt has its answer.
    AttemptEnded {
        /// Which attempt.
        subject: Subject,
        /// When it was accepted, in Unix milliseconds.
        accepted_at_ms: u64,
        /// How often it was executed.
        executions: u32,
        /// The answer's HTTP status.
        status: u16,
        /// How it ended.
        ending: Ending,
    },
    /// The run went to another agent by a request of its own.
    HandedOff {
        /// The handoff's id.
        handoff: String,
        /// To whom.
        agent: String,
        /// By whom.
        from: String,
        /// The span of what the run had done last.
        after: Option<String>,
        /// Whether the same request began a step: the request's span is the step's then.
        with_step: bool,
    },
    /// The gateway coordinates the run in its orchestrator's place.
    TakenOver {
        /// Why, as a code.
        reason: String,
    },
    /// An orchestrator coordinated a direct call to its answer. Where the gateway did, the call's step says so.
    Routed {
        /// The agent that the call was for.
        agent: String,
        /// Those that were to coordinate it before, in their order.
        tried: Vec<String>,
        /// When it came, in Unix milliseconds.
        accepted_at_ms: u64,
        /// What it came to: a step's outcome.
        outcome: String,
    },
    /// A callback arrived, or was given up.
    CallbackEnded {
        /// Its `webhook-id`.
        delivery: String,
        /// The host that it went to.
        host: String,
        /// How often it was tried.
        tries: u32,
        /// Since when it was tried, in Unix milliseconds.
        since_ms: u64,
        /// Whether it arrived.
        delivered: bool,
    },
    /// The link to an orchestrator changed: an event of the link's own outbox, and of no run.
    LinkChanged(Change),
    /// What was done in the orchestrator's place was settled with it, or was given up.
    SettlementEnded {
        /// How often it was tried.
        tries: u32,
        /// Since when the gateway coordinates, in Unix milliseconds.
        since_ms: u64,
        /// `acknowledged`, `conflict` or `given_up`.
        status: String,
    },
}

/// Which attempt of a step, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The attempt's place in its run.
    pub ordinal: u32,
    /// The step's id.
    pub step: String,
    /// The attempt's number.
    pub attempt: u32,
    /// The agent that was asked for.
    pub agent: String,
    /// In which version.
    pub agent_version: String,
    /// The step of the workflow that called it, if one did.
    #[serde(default)]
    pub parent: Option<String>,
    /// Who coordinated it.
    pub route: Route,
    /// Whether nobody waited for its answer in the request.
    pub background: bool,
}

/// Who coordinated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// The orchestrator.
    #[default]
    Orchestrated,
    /// The gateway, in the orchestrator's place.
    Fallback,
    /// The gateway: there is no orchestrator.
    Local,
}

impl Route {
    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Orchestrated => "orchestrated",
            Self::Fallback => "fallback",
            Self::Local => "local",
        }
    }
}

/// How something ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// `completed`, `handed_off`, `failed`, `cancelled`, or `lost` where whoever executed it died.
    pub outcome: String,
    /// Why it failed, as a code.
    pub error_code: Option<String>,
}

impl Ending {
    /// Whoever executed it died, or did not come to its end in time.
    #[must_use]
    pub fn lost() -> Self {
        Self {
            outcome: "lost".into(),
            error_code: Some("attempt-lost".into()),
        }
    }

    /// Whether something went wrong.
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(self.outcome.as_str(), "failed" | "lost")
    }
}

/// An agent that another one followed within an execution: it handed off to it, or it failed and the other one stands in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
// What an earlier version of the gateway answered has less.
#[serde(default)]
pub struct Hop {
    /// Who was at work.
    pub agent: String,
    /// The code of its failure, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it worked, in milliseconds.
    pub duration_ms: u64,
    /// Who went on.
    pub to: String,
}

/// What an execution used, as far as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens that the models read.
    #[serde(default)]
    pub input_tokens: Option<u64>,
    /// Tokens that the models wrote.
    #[serde(default)]
    pub output_tokens: Option<u64>,
    /// What they cost, in millionths of the operator's unit of currency.
    #[serde(default)]
    pub cost_micros: Option<u64>,
    /// Whether no model was asked: the answer was kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
}

impl What {
    /// In a word, as it is written.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ExecutionBegan { .. } => "execution_began",
            Self::ExecutionEnded { .. } => "execution_ended",
            Self::AttemptEnded { .. } => "attempt_ended",
            Self::HandedOff { .. } => "handed_off",
            Self::TakenOver { .. } => "taken_over",
            Self::Routed { .. } => "routed",
            Self::CallbackEnded { .. } => "callback_ended",
            Self::SettlementEnded { .. } => "settlement_ended",
            Self::LinkChanged(_) => "link_changed",
        }
    }
}

impl Event {
    /// Whether it is told whatever the sampling: something went wrong, or the orchestrator was missed.
    #[must_use]
    pub fn is_notable(&self) -> bool {
        match &self.what {
            What::ExecutionEnded {
                subject, ending, hops, ..
            } => ending.is_error() || subject.route == Route::Fallback || hops.iter().any(|hop| hop.error.is_some()),
            What::AttemptEnded { subject, ending, .. } => ending.is_error() || subject.route == Route::Fallback,
            // Of a link there are few, and no head of a trace to decide about them.
            What::TakenOver { .. } | What::LinkChanged(_) => true,
            What::CallbackEnded { delivered, .. } => !delivered,
            What::SettlementEnded { status, .. } => status != "acknowledged",
            What::Routed { outcome, tried, .. } => outcome == "failed" || !tried.is_empty(),
            What::ExecutionBegan { .. } | What::HandedOff { .. } => false,
        }
    }
}

/// The id of the event with this number in its run. The time keeps it apart from one of an earlier run of the same name.
#[must_use]
pub fn event_id(run_object: &str, number: u64, at_ms: u64) -> String {
    let digest = hex_digest(format!("{run_object}\nevent/{number}\n{at_ms}").as_bytes());
    format!("evt_{}", &digest[..32])
}

/// The span of the agent that is at work in this execution, after so many hops. It is known before the execution has
/// ended: what the agent calls names it as its parent.
#[must_use]
pub fn agent_span(step: &TraceContext, execution: u32, hops: usize) -> TraceContext {
    step.within(&format!("execution/{execution}/{hops}"))
}
