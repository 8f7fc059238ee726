//! Reading a step, and claiming it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::caller::Caller;
use super::execution::Executed;
use super::telling::Teller;
use super::{Executor, before, check, read_message, satisfies};
use crate::agent::{Cancellation, Journal, LocalBoxFuture};
use crate::config::Config;
use crate::conversation::ConversationName;
use crate::manifest::workflow::place_max_bytes;
use crate::manifest::{AgentManifest, RetryPolicy, Team};
use crate::outgoing::check_url;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::run::call::{Call, StateSource};
use crate::run::ledger::{Claim, ClaimRequest, Commit};
use crate::run::settlement::Takeover;
use crate::run::status::{IsOver, StepStatus};
use crate::run::work::{COMMIT_GRACE_MS, Execution};
use crate::run::{RUN_ID_MAX_BYTES, RunName, StoredAnswer};
use crate::schema::Violation;
use crate::signature::digest::hex_digest;

/// How often whoever executes a step in a Worker looks whether it was cancelled, in milliseconds.
const CANCEL_LOOK_MS: u64 = 1_000;
/// How often a new state is tried to be written on top of what somebody else wrote meanwhile.
const REBASES_MAX: usize = 5;

/// How a caller wants its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It waits: the Worker executes the step.
    Waiting,
    /// It comes back for it, or is called back: the run's object executes the step.
    Background,
}

/// The body of a step invocation, its shape checked by `step-invocation.schema.json`.
#[derive(Debug, Deserialize)]
struct Body {
    run: String,
    #[serde(flatten)]
    step: StepBody,
}

/// What is asked of a step, whatever run it is in.
#[derive(Debug, Deserialize)]
pub struct StepBody {
    step: String,
    #[serde(default = "first_attempt")]
    attempt: u32,
    input: Value,
    state: Option<Value>,
    state_version: Option<u64>,
    deadline_ms: Option<u64>,
    callback: Option<CallbackBody>,
    #[serde(default)]
    follow_handoffs: bool,
    /// The id of a conversation of the caller's own.
    conversation: Option<String>,
    /// The conversation of the customer for whom the gateway itself asks: never part of a message.
    #[serde(skip)]
    customers: Option<ConversationName>,
    /// What a customer wrote, of which the input was made. Not part of the message.
    #[serde(skip)]
    text: Option<String>,
}

impl StepBody {
    /// A step of a direct call: the gateway itself asks for it.
    #[must_use]
    pub fn direct(step: &str, attempt: u32, (input, text): (Value, Option<&str>), deadline_ms: u64) -> Self {
        Self {
            step: step.to_owned(),
            attempt,
            input,
            state: None,
            state_version: None,
            deadline_ms: Some(deadline_ms),
            callback: None,
            follow_handoffs: false,
            conversation: None,
            customers: None,
            text: text.map(str::to_owned),
        }
    }

    /// The same as part of a customer's conversation.
    #[must_use]
    pub fn within(mut self, conversation: Option<&ConversationName>) -> Self {
        self.customers = conversation.cloned();
        self
    }
}

#[derive(Debug, Deserialize)]
struct CallbackBody {
    url: String,
}

const fn first_attempt() -> u32 {
    1
}

/// An invocation that was read: body, input and state fit their schemas.
pub struct Invocation<'a, P> {
    caller: &'a Caller<'a, P>,
    team: &'a Team,
    /// What is asked of the run.
    pub request: ClaimRequest,
}

/// An attempt that is ours to execute.
pub struct Claimed<'a, P> {
    caller: &'a Caller<'a, P>,
    team: &'a Team,
    run: RunName,
    execution: Execution,
    /// Whether the run is to be told what the agent tells.
    listened: bool,
}

/// What a claim came to, where it was no problem.
pub enum Progress<'a, P> {
    /// Execute it.
    Claimed(Box<Claimed<'a, P>>),
    /// The run's object executes it, or will.
    Accepted(Box<StepStatus>),
    /// It was executed before.
    Answered(StoredAnswer),
}

impl<'a, P: Platform> Invocation<'a, P> {
    /// Reads the body of a verified request.
    ///
    /// # Errors
    /// What is wrong with the JSON, with the message, with the input or with the state.
    pub fn read(
        agent: &AgentManifest,
        (team, config): (&'a Team, &Config),
        caller: &'a Caller<'a, P>,
        bytes: &[u8],
        mode: Mode,
    ) -> Result<Self, Problem> {
        let value = read_message("step-invocation", bytes, team.gateway.limits.json_depth_max)?;
        let body: Body = serde_json::from_value(value).map_err(|_| Problem::Internal)?;
        let key = caller.verified()?.idempotency_key().ok_or(Problem::Internal)?;
        check_id(&body.run, "/run")?;
        let request = Self::prepare(agent, (team, config), caller, (&body.run, body.step, ""), key, mode)?;
        Ok(Self { caller, team, request })
    }

    /// A step of a direct call, which the gateway itself asks for. It is tried once: a customer waits, and those that stand
    /// in for the agent are not to come too late.
    ///
    /// # Errors
    /// What is wrong with the input.
    pub fn direct(
        agent: &AgentManifest,
        (team, config): (&'a Team, &Config),
        caller: &'a Caller<'a, P>,
        (run, body): (&str, StepBody),
        (takeover, mode): (Option<Takeover>, Mode),
    ) -> Result<Self, Problem> {
        let key = format!("{run}/{}/{}", body.step, body.attempt);
        let request = Self::prepare(agent, (team, config), caller, (run, body, ""), &key, mode)?;
        let retry = RetryPolicy {
            max_attempts: 1,
            ..request.retry
        };
        let call = Call {
            tries_max: 1,
            ..request.call
        };
        let request = ClaimRequest {
            takeover,
            retry,
            call,
            ..request
        };
        Ok(Self { caller, team, request })
    }

    /// What is to be asked of a run to have a step executed. `at` is the JSON Pointer to the step in its message.
    ///
    /// # Errors
    /// What is wrong with the input, the state or the callback.
    pub fn prepare(
        agent: &AgentManifest,
        (team, config): (&Team, &Config),
        caller: &Caller<'_, P>,
        (run, body, at): (&str, StepBody, &str),
        idempotency_key: &str,
        mode: Mode,
    ) -> Result<ClaimRequest, Problem> {
        let limits = &team.gateway.limits;
        check_id(&body.step, &format!("{at}/step"))?;
        if let Some(conversation) = &body.conversation {
            check_id(conversation, &format!("{at}/conversation"))?;
        }
        let mut violations = check(&agent.input, &body.input, &format!("{at}/input"))?;
        if let (Some(schema), Some(state)) = (&agent.state, &body.state) {
            violations.extend(check(schema, state, &format!("{at}/state"))?);
        }
        satisfies(violations)?;
        if let Some(callback) = &body.callback {
            let orchestrator = caller.orchestrator();
            let now_s = caller.platform.now_ms() / 1_000;
            check_url(&callback.url, config.callback_rules(orchestrator)).map_err(|refusal| {
                Problem::CallbackNotAllowed {
                    reason: refusal.to_string(),
                }
            })?;
            if config.keyring.callback_keys(orchestrator, now_s).is_empty() {
                return Err(Problem::CallbackNotAllowed {
                    reason: "no valid key of purpose `callback` is configured for this orchestrator".into(),
                });
            }
        }
        let workflow = agent.is_workflow();
        if workflow {
            check_workflow(agent, team, &body, at)?;
        }
        let fingerprint = fingerprint(agent, &body)?;
        let cap_ms = agent.deadline_ms.min(limits.deadline_max_ms);
        let deadline_ms = body.deadline_ms.map_or(cap_ms, |wanted| wanted.min(cap_ms));
        let state = match (body.state, body.state_version) {
            (Some(state), _) => StateSource::Inline(state),
            (None, Some(version)) => StateSource::Version(version),
            // Whoever the run is handed on to may have a state where this agent has none.
            (None, None) if agent.state.is_some() || body.follow_handoffs => StateSource::Kept,
            (None, None) => StateSource::None,
        };
        let own = body
            .conversation
            .map(|id| ConversationName::of_orchestrator(caller.orchestrator(), &id));
        let conversation = body.customers.or(own);
        Ok(ClaimRequest {
            using: caller.using(run),
            idempotency_key: idempotency_key.to_owned(),
            fingerprint,
            agent_version: agent.version.clone(),
            retry: agent.retry.clone(),
            notifications: agent.notifications.clone(),
            hold_ms: deadline_ms + COMMIT_GRACE_MS,
            background: mode == Mode::Background || workflow,
            workflow,
            callback_url: body.callback.map(|callback| callback.url),
            hedge: false,
            parent_span: caller.parent_span(),
            takeover: None,
            call: Call {
                run: run.to_owned(),
                step: body.step,
                attempt: body.attempt,
                agent: agent.id.clone(),
                input: body.input,
                state,
                conversation,
                deadline_ms,
                follow_handoffs: body.follow_handoffs,
                tries_max: agent.retry.max_attempts,
                text: body.text,
                traceparent: caller.traceparent(),
                request_id: caller.occasion.request_id.clone(),
                behalf: caller.behalf(),
            },
        })
    }

    /// The same, begun beside the run's orchestrator.
    #[must_use]
    pub fn as_hedge(mut self) -> Self {
        self.request.hedge = true;
        if let Some(agent) = self.team.agent(&self.request.call.agent) {
            // The step is the orchestrator's, which may try again.
            self.request.call.tries_max = agent.retry.max_attempts;
        }
        self
    }

    /// Claims the attempt in the run's ledger.
    ///
    /// # Errors
    /// When the attempt is not ours to execute, or the ledger does not answer.
    pub async fn claim(self) -> Result<Progress<'a, P>, Problem> {
        let run = self.request.using.name.clone();
        let mut request = self.request;
        // Who executes it here keeps the call: the run's object needs it only where it is to execute it.
        let bare = request.call.bare();
        let call = (!request.background).then(|| std::mem::replace(&mut request.call, bare));
        match (self.caller.ask(&run, request).await?, call) {
            (
                Claim::Granted {
                    ordinal,
                    generation,
                    kept,
                    listened,
                    conversation,
                },
                Some(mut call),
            ) => Ok(Progress::Claimed(Box::new(Claimed {
                caller: self.caller,
                team: self.team,
                run,
                execution: Execution {
                    ordinal,
                    generation,
                    call: {
                        call.conversation = call.conversation.or(conversation);
                        call
                    },
                    kept,
                    used_ms: 0,
                    accepted_at_ms: None,
                },
                listened,
            }))),
            (Claim::Accepted(status), _) => Ok(Progress::Accepted(status)),
            (Claim::Answered(answer), _) => Ok(Progress::Answered(answer)),
            (refused, _) => Err(refusal(refused)),
        }
    }
}

/// The problem that a claim which was not granted is.
#[must_use]
pub fn refusal(claim: Claim) -> Problem {
    match claim {
        Claim::InFlight { retry_after_ms } => Problem::InFlight { retry_after_ms },
        Claim::KeyMismatch => Problem::IdempotencyMismatch,
        // A first step of a handoff whose key was used for a step before.
        Claim::StepMismatch | Claim::Answered(_) => Problem::StepMismatch,
        Claim::AttemptOutdated { latest } => Problem::AttemptOutdated { latest },
        Claim::StateConflict(conflict) => Problem::StateConflict(conflict),
        Claim::RunFull => Problem::RunFull,
        Claim::RunBusy => Problem::RunBusy,
        Claim::TakenOver => Problem::RunTakenOver,
        Claim::Granted { .. } | Claim::Accepted(_) => Problem::Internal,
    }
}

/// The id of a run, a step or a conversation is text without control characters, as the schemas say, of so many bytes, as they cannot say.
pub(crate) fn check_id(id: &str, at: &str) -> Result<(), Problem> {
    if id.len() <= RUN_ID_MAX_BYTES {
        return Ok(());
    }
    satisfies(vec![Violation {
        instance: at.to_owned(),
        schema: "/maxLength".to_owned(),
        message: format!("An id has {RUN_ID_MAX_BYTES} bytes at most, in UTF-8."),
    }])
}

/// What a workflow cannot do: its calls work on the state that the run keeps, and their steps' ids go on from its own.
fn check_workflow(agent: &AgentManifest, team: &Team, body: &StepBody, at: &str) -> Result<(), Problem> {
    let mut violations = Vec::new();
    let mut violation = |member: &str, message: String| {
        violations.push(Violation {
            instance: format!("{at}/{member}"),
            schema: String::new(),
            message,
        });
    };
    for (member, is_there) in [
        ("state", body.state.is_some()),
        ("state_version", body.state_version.is_some()),
    ] {
        if is_there {
            let message = "A workflow works on the state that the run keeps, as its agents find it: leave this out.";
            violation(member, message.to_owned());
        }
    }
    let step_max_bytes = RUN_ID_MAX_BYTES.saturating_sub(place_max_bytes(agent, &|id| team.agent(id)));
    if body.step.len() > step_max_bytes {
        let message = format!(
            "A step of this workflow has an id of {step_max_bytes} bytes at most: its calls' ids go on from it."
        );
        violation("step", message);
    }
    satisfies(violations)
}

/// What must be the same for a call to be the same call. The deadline is not part of it: a retry has less time left. Nor is
/// the callback, nor what the gateway itself keeps.
fn fingerprint(agent: &AgentManifest, body: &StepBody) -> Result<String, Problem> {
    let mut call = json!({
        "agent": agent.id,
        "input": body.input,
        "state": body.state,
    });
    if let Some(version) = body.state_version {
        call["state_version"] = version.into();
    }
    if let Some(conversation) = &body.conversation {
        call["conversation"] = conversation.as_str().into();
    }
    if body.follow_handoffs {
        call["follow_handoffs"] = true.into();
    }
    let canonical = serde_json_canonicalizer::to_vec(&call).map_err(|_| Problem::Internal)?;
    Ok(hex_digest(&canonical))
}

impl<P: Platform> Claimed<'_, P> {
    /// Runs the agent under the deadline, and commits what came of it to the run's ledger. Only then may the answer leave.
    ///
    /// # Errors
    /// When the claim was lost meanwhile, or the ledger does not answer.
    pub async fn execute(self) -> Result<StoredAnswer, Problem> {
        let Self {
            caller,
            team,
            run,
            execution,
            listened,
        } = self;
        let teller = Teller::new(caller, &run, &execution);
        let over = CancelledFromAfar {
            caller,
            run: &run,
            question: IsOver {
                ordinal: execution.ordinal,
                generation: execution.generation,
            },
        };
        let journal = Journal::default();
        let executor = Executor {
            team,
            host: caller.platform,
            cancellation: &over,
            journal: &journal,
            // A workflow is executed where its run is kept.
            ledger: None,
        };
        let executed = if listened {
            let executed = before(executor.execute(execution), teller.tell_all(&journal)).await;
            teller.tell_the_rest(&journal).await;
            // Who tells all never ends.
            executed.ok_or(Problem::Internal)?
        } else {
            executor.execute(execution).await
        };
        commit(executed, async |request| caller.ask(&run, request).await).await
    }
}

/// Commits what was executed. Where somebody else has written the state meanwhile, what can be is done again on top of it.
async fn commit(
    mut executed: Executed<'_>,
    ask: impl AsyncFn(crate::run::ledger::CommitRequest) -> Result<Commit, Problem>,
) -> Result<StoredAnswer, Problem> {
    for _ in 0..REBASES_MAX {
        let request = executed.commit_request();
        let answer = request.answer.clone();
        match ask(request).await? {
            Commit::Stored => return Ok(answer),
            Commit::Cancelled(answer) => return Ok(answer),
            Commit::Lost | Commit::Again => return Err(Problem::ClaimLost),
            Commit::StateConflict(kept) => executed = executed.rebased(kept),
        }
    }
    Err(Problem::StorageUnavailable)
}

/// Whether a step was cancelled, for a Worker that executes it: it asks the run's object now and then. Most steps end before
/// it has asked once.
struct CancelledFromAfar<'a, P> {
    caller: &'a Caller<'a, P>,
    run: &'a RunName,
    question: IsOver,
}

impl<P: Platform> Cancellation for CancelledFromAfar<'_, P> {
    fn cancelled(&self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {
            loop {
                self.caller.platform.sleep_ms(CANCEL_LOOK_MS).await;
                // An object that does not answer cancels nothing.
                if let Ok(true) = self.caller.ask(self.run, self.question.clone()).await {
                    return;
                }
            }
        })
    }
}
