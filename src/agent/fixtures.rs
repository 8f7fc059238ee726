//! Agents for the contract tests, which misbehave in ways that real ones should not. Never in a release.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Agent, Context, Failure, HandOff, Retry, Stop};

/// No configuration: `{}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Answers its input and when it ran, so that a stored answer can be told from another execution.
pub(super) struct Echo;

impl Agent for Echo {
    const NAME: &'static str = "echo";
    type Config = Nothing;
    type Input = Value;
    type Output = Value;

    fn new(_: Nothing) -> Result<Self, String> {
        Ok(Echo)
    }

    async fn run(&self, input: Value, context: &Context<'_>) -> Result<Value, Stop> {
        Ok(json!({
            "input": input,
            "state": context.state,
            "run": context.run,
            "step": context.step,
            "attempt": context.attempt,
            "executed_at_ms": context.host.now_ms(),
        }))
    }
}

/// Panics when it is told to; the panic must stay in its own request.
pub(super) struct Panic;

#[derive(Deserialize)]
pub(super) struct PanicInput {
    panic: bool,
}

impl Agent for Panic {
    const NAME: &'static str = "panic";
    type Config = Nothing;
    type Input = PanicInput;
    type Output = Value;

    fn new(_: Nothing) -> Result<Self, String> {
        Ok(Panic)
    }

    async fn run(&self, input: PanicInput, _: &Context<'_>) -> Result<Value, Stop> {
        assert!(!input.panic, "the input told the agent to panic");
        Ok(json!({"panicked": false}))
    }
}

/// Waits on the platform for as long as it is told to.
pub(super) struct Sleep;

#[derive(Deserialize)]
pub(super) struct SleepInput {
    ms: u64,
}

#[derive(Serialize)]
pub(super) struct SleepOutput {
    slept_ms: u64,
    executed_at_ms: u64,
}

impl Agent for Sleep {
    const NAME: &'static str = "sleep";
    type Config = Nothing;
    type Input = SleepInput;
    type Output = SleepOutput;

    fn new(_: Nothing) -> Result<Self, String> {
        Ok(Sleep)
    }

    async fn run(&self, input: SleepInput, context: &Context<'_>) -> Result<SleepOutput, Stop> {
        let executed_at_ms = context.host.now_ms();
        context.host.sleep_ms(input.ms).await;
        Ok(SleepOutput {
            slept_ms: input.ms,
            executed_at_ms,
        })
    }
}

/// Answers what its own output schema does not allow.
pub(super) struct BadOutput;

impl Agent for BadOutput {
    const NAME: &'static str = "bad-output";
    type Config = Nothing;
    type Input = Value;
    type Output = Value;

    fn new(_: Nothing) -> Result<Self, String> {
        Ok(BadOutput)
    }

    async fn run(&self, _: Value, _: &Context<'_>) -> Result<Value, Stop> {
        Ok(json!({"count": "many", "extra": true}))
    }
}

/// Fails as it is told to.
pub(super) struct Fail;

#[derive(Deserialize)]
pub(super) struct FailInput {
    code: String,
    retry_after_ms: Option<u64>,
    /// Succeeds from this attempt on.
    until_attempt: Option<u32>,
}

impl Agent for Fail {
    const NAME: &'static str = "fail";
    type Config = Nothing;
    type Input = FailInput;
    type Output = Value;

    fn new(_: Nothing) -> Result<Self, String> {
        Ok(Fail)
    }

    async fn run(&self, input: FailInput, context: &Context<'_>) -> Result<Value, Stop> {
        if input.until_attempt.is_some_and(|attempt| context.attempt >= attempt) {
            return Ok(json!({"attempt": context.attempt}));
        }
        Err(Failure {
            code: input.code,
            message: "the input told the agent to fail".to_owned(),
            retry: input.retry_after_ms.map_or(Retry::Never, |ms| Retry::After { ms }),
        }
        .into())
    }
}

/// Does what its input says, action by action.
pub(super) struct Script;

#[derive(Deserialize)]
pub(super) struct ScriptInput {
    #[serde(default)]
    actions: Vec<Action>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Progress(String),
    Delta(String),
    SleepMs(u64),
    /// Writes this into the operator's log.
    Log(String),
    /// Waits until the step is cancelled, and says so.
    AwaitCancellation,
    ReplaceState(Value),
    MergeState(Value),
    HandOff(HandOff),
    Fail {
        code: String,
        retry_after_ms: Option<u64>,
    },
}

#[derive(Serialize)]
pub(super) struct ScriptOutput {
    /// The state that the agent saw.
    state: Option<Value>,
    executed_at_ms: u64,
    deadline_at_ms: u64,
    cancelled: bool,
}

impl Agent for Script {
    const NAME: &'static str = "script";
    type Config = Nothing;
    type Input = ScriptInput;
    type Output = ScriptOutput;

    fn new(_: Nothing) -> Result<Self, String> {
        Ok(Script)
    }

    async fn run(&self, input: ScriptInput, context: &Context<'_>) -> Result<ScriptOutput, Stop> {
        let mut output = ScriptOutput {
            state: context.state.cloned(),
            executed_at_ms: context.host.now_ms(),
            deadline_at_ms: context.deadline_at_ms,
            cancelled: false,
        };
        for action in input.actions {
            match action {
                Action::Progress(message) => context.journal.progress(message, None),
                Action::Delta(text) => context.journal.delta(&text),
                Action::SleepMs(duration_ms) => context.host.sleep_ms(duration_ms).await,
                Action::Log(message) => context.log(&message, &json!({})),
                Action::AwaitCancellation => {
                    context.cancellation.cancelled().await;
                    output.cancelled = true;
                }
                Action::ReplaceState(state) => context.journal.replace_state(state),
                Action::MergeState(patch) => context.journal.merge_state(patch),
                Action::HandOff(handoff) => return Err(handoff.into()),
                Action::Fail { code, retry_after_ms } => {
                    let message = "the input told the agent to fail";
                    return Err(match retry_after_ms {
                        Some(ms) => Failure::retryable(&code, message, ms).into(),
                        None => Failure::terminal(&code, message).into(),
                    });
                }
            }
        }
        Ok(output)
    }
}
