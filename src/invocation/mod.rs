//! A step's way through: verified, read, claimed, executed, committed.
//!
//! Each stage is a type that only the stage before it can make, so that no step can skip one: what is
//! executed was claimed, what is claimed was read under a schema, and what was read was verified.

mod containment;
mod outcome;

pub(crate) use self::containment::before;
pub use self::outcome::OUTCOME_MAX_BYTES;

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use self::containment::contained;
use self::outcome::{Outcome, check_answer};
use crate::agent::{self, Context};
use crate::json::parse_strict;
use crate::manifest::{AgentManifest, GatewayLimits};
use crate::platform::{Platform, StorageUnavailable};
use crate::problem::Problem;
use crate::run::message::Nonce;
use crate::run::{Claim, ClaimRequest, Commit, CommitRequest, RunName, StoredAnswer};
use crate::schema::{LazySchema, VIOLATIONS_MAX, Violation};
use crate::signature::Verified;
use crate::telemetry::trace_context::TraceContext;

/// How much longer than the deadline a claim is held: time for the commit, in milliseconds.
pub const COMMIT_GRACE_MS: u64 = 5_000;
/// How much longer a nonce is remembered than the request could be accepted: the run's object may run on another machine,
/// whose clock is ahead. In milliseconds.
const NONCE_MARGIN_MS: u64 = 60_000;

/// What surrounds a request and is not part of it.
#[derive(Debug, Clone)]
pub struct Occasion {
    /// Names this request in the log and in problems.
    pub request_id: String,
    /// Fresh random bytes.
    pub random: [u8; 24],
    /// Where the caller is in its trace, if it said so.
    pub trace: Option<TraceContext>,
}

/// The body of a step invocation, its shape checked by `step-invocation.schema.json`.
#[derive(Debug, Deserialize)]
struct Body {
    run: String,
    step: String,
    #[serde(default = "first_attempt")]
    attempt: u32,
    input: Value,
    state: Option<Value>,
    deadline_ms: Option<u64>,
}

const fn first_attempt() -> u32 {
    1
}

/// An invocation that was read: body, input and state fit their schemas.
pub struct Invocation<'a> {
    agent: &'a AgentManifest,
    verified: &'a Verified,
    occasion: &'a Occasion,
    idempotency_key: &'a str,
    body: Body,
    deadline_ms: u64,
}

/// An attempt that is ours to execute.
pub struct Claimed<'a> {
    invocation: Invocation<'a>,
    run: RunName,
    generation: u32,
}

/// What a claim came to, where it was no problem.
pub enum Progress<'a> {
    /// Execute it.
    Claimed(Box<Claimed<'a>>),
    /// It was executed before.
    Answered(StoredAnswer),
}

/// An attempt that was executed, and what it came to.
pub struct Executed<'a> {
    claimed: Claimed<'a>,
    answer: StoredAnswer,
    retryable: bool,
}

impl<'a> Invocation<'a> {
    /// Reads the body of a verified request.
    ///
    /// # Errors
    /// What is wrong with the JSON, with the message, with the input or with the state.
    pub fn read(
        agent: &'a AgentManifest,
        limits: &GatewayLimits,
        verified: &'a Verified,
        occasion: &'a Occasion,
        bytes: &[u8],
    ) -> Result<Self, Problem> {
        let value = read_message("step-invocation", bytes, limits.json_depth_max)?;
        let body: Body = serde_json::from_value(value).map_err(|_| Problem::Internal)?;
        let mut violations = check(&agent.input, &body.input, "/input")?;
        if let (Some(schema), Some(state)) = (&agent.state, &body.state) {
            violations.extend(check(schema, state, "/state")?);
        }
        if !violations.is_empty() {
            violations.truncate(VIOLATIONS_MAX);
            return Err(Problem::SchemaViolated { violations });
        }
        let cap_ms = agent.deadline_ms.min(limits.deadline_max_ms);
        let deadline_ms = body.deadline_ms.map_or(cap_ms, |wanted| wanted.min(cap_ms));
        let idempotency_key = verified.idempotency_key().ok_or(Problem::Internal)?;
        Ok(Self {
            agent,
            verified,
            occasion,
            idempotency_key,
            body,
            deadline_ms,
        })
    }

    /// What must be the same for a call to be the same call. The deadline is not part of it: a retry has less time left.
    fn fingerprint(&self) -> Result<String, Problem> {
        let call = json!({
            "agent": self.agent.id,
            "input": self.body.input,
            "state": self.body.state,
        });
        let canonical = serde_json_canonicalizer::to_vec(&call).map_err(|_| Problem::Internal)?;
        Ok(Sha256::digest(canonical)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect())
    }

    /// Claims the attempt in the run's ledger.
    ///
    /// # Errors
    /// When the attempt is not ours to execute, or the ledger does not answer.
    pub async fn claim<P: Platform>(self, platform: &P) -> Result<Progress<'a>, Problem> {
        let run = RunName::new(self.verified.orchestrator(), &self.body.run);
        let nonce = self.verified.nonce().map(|(nonce, expires_at_s)| Nonce {
            value: format!("{}/{nonce}", self.verified.key_id()),
            expires_at_ms: expires_at_s * 1_000 + NONCE_MARGIN_MS,
        });
        let request = ClaimRequest {
            claimant: self.occasion.request_id.clone(),
            step: self.body.step.clone(),
            attempt: self.body.attempt,
            idempotency_key: self.idempotency_key.to_owned(),
            fingerprint: self.fingerprint()?,
            nonce,
            hold_ms: self.deadline_ms + COMMIT_GRACE_MS,
        };
        match platform.claim(&run, &request).await? {
            Claim::Granted { generation } => Ok(Progress::Claimed(Box::new(Claimed {
                invocation: self,
                run,
                generation,
            }))),
            Claim::Answered(answer) => Ok(Progress::Answered(answer)),
            Claim::InFlight { retry_after_ms } => Err(Problem::InFlight { retry_after_ms }),
            Claim::NonceReplayed => Err(crate::signature::Rejection::Replayed.into()),
            Claim::KeyMismatch => Err(Problem::IdempotencyMismatch),
            Claim::StepMismatch => Err(Problem::StepMismatch),
            Claim::AttemptOutdated { latest } => Err(Problem::AttemptOutdated { latest }),
        }
    }
}

impl<'a> Claimed<'a> {
    /// Runs the agent under the deadline. Whatever comes of it is an answer.
    pub async fn execute<P: Platform>(self, platform: &P) -> Executed<'a> {
        let Invocation {
            agent,
            occasion,
            ref body,
            deadline_ms,
            ..
        } = self.invocation;
        let started_at_ms = platform.now_ms();
        let trace = TraceContext::child_of(occasion.trace.as_ref(), &occasion.random);
        let traceparent = trace.traceparent();
        let context = Context {
            run: &body.run,
            step: &body.step,
            attempt: body.attempt,
            deadline_at_ms: started_at_ms + deadline_ms,
            state: body.state.as_ref(),
            traceparent: Some(&traceparent),
            host: platform,
        };
        let execution = contained(agent::execute(agent, &body.input, &context));
        let Some(result) = before(execution, platform.sleep_ms(deadline_ms)).await else {
            let problem = Problem::DeadlineExceeded { deadline_ms };
            let answer = StoredAnswer {
                status: problem.status(),
                body: problem.to_json(&occasion.request_id).to_string(),
            };
            return Executed {
                claimed: self,
                answer,
                retryable: problem.retryable(),
            };
        };
        let result = result.and_then(|answer| check_answer(agent, answer));
        let duration_ms = platform.now_ms().saturating_sub(started_at_ms);
        let outcome = Outcome::new(agent, body, result, duration_ms, traceparent).bounded();
        let retryable = outcome.error.as_ref().is_some_and(|error| error.retryable);
        let answer = StoredAnswer {
            status: 200,
            body: outcome.to_json(),
        };
        Executed {
            claimed: self,
            answer,
            retryable,
        }
    }
}

impl Executed<'_> {
    /// Commits the answer to the run's ledger. Only then may it leave.
    ///
    /// # Errors
    /// When the claim was lost meanwhile, or the ledger does not answer.
    pub async fn commit<P: Platform>(self, platform: &P) -> Result<StoredAnswer, Problem> {
        let request = CommitRequest {
            idempotency_key: self.claimed.invocation.idempotency_key.to_owned(),
            generation: self.claimed.generation,
            answer: self.answer,
            retryable: self.retryable,
        };
        match platform.commit(&self.claimed.run, &request).await? {
            Commit::Stored => Ok(request.answer),
            Commit::Lost => Err(Problem::ClaimLost),
        }
    }
}

impl From<StorageUnavailable> for Problem {
    fn from(_: StorageUnavailable) -> Self {
        Self::StorageUnavailable
    }
}

/// Reads a message: strict JSON that fits the schema of its name in `src/wire/`.
///
/// # Errors
/// What is wrong with it, and where.
pub fn read_message(schema: &'static str, bytes: &[u8], depth_max: usize) -> Result<Value, Problem> {
    let value = parse_strict(bytes, depth_max).map_err(|error| Problem::MalformedJson {
        reason: error.to_string(),
    })?;
    let schema = crate::wire::compiled(schema).ok_or(Problem::Internal)?;
    let violations = check(schema, &value, "")?;
    if violations.is_empty() {
        Ok(value)
    } else {
        Err(Problem::SchemaViolated { violations })
    }
}

/// The violations of a part of the body, placed within the whole.
fn check(schema: &LazySchema, value: &Value, at: &str) -> Result<Vec<Violation>, Problem> {
    let schema = schema.get().map_err(|_| Problem::Misconfigured)?;
    let mut violations = schema.violations(value, VIOLATIONS_MAX);
    for violation in &mut violations {
        violation.instance.insert_str(0, at);
    }
    Ok(violations)
}
